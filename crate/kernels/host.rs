//! Sharing rows out over the cores.

/// Elements that are worth a thread's while.
pub const CHUNK: usize = 1 << 14;

/// Runs `work` on every item, in parallel where there are threads, and keeps the order.
#[cfg(not(target_family = "wasm"))]
pub fn map<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
    use rayon::prelude::*;
    items.into_par_iter().map(|item| wide(|| work(item))).collect()
}

/// Runs `work` compiled for wide vector registers where the processor has them; a program for
/// any x86-64 would use four lanes of what may be sixteen.
#[cfg(not(target_family = "wasm"))]
#[inline(always)]
fn wide<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn with_avx2<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { with_avx2(work) };
    }
    work()
}

/// Runs `work` on every item.
#[cfg(target_family = "wasm")]
pub fn map<T, R>(items: Vec<T>, work: impl Fn(T) -> R) -> Vec<R> {
    items.into_iter().map(work).collect()
}

/// Σ f(i), in eight running sums so that the compiler can use vector registers.
#[inline]
pub fn sum(length: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut sums = [0f32; 8];
    let whole = length - length % 8;
    for start in (0..whole).step_by(8) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += f(start + lane);
        }
    }
    (whole..length).fold(sums.iter().sum(), |sum, i| sum + f(i))
}
