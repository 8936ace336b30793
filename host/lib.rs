//! ELECTRA's arithmetic on a CPU, in plain Rust on slices: an encoder layer with its gradients, `x W + b`,
//! the softmax over words, Adam. Natively and in WebAssembly, without Burn, which `crate/kernels/` joins it to.
//!
//! A crate of its own so that the page's engine can compile it for speed and all else for size. Here is
//! what its loops are made of: sharing rows out over the cores, functions compiled for wide registers,
//! parts of a matrix that threads may write at once, memory that is used again.
//!
//! `unsafe` stands here and in `product.rs` alone.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Range;

pub mod adam;
pub mod hash;
pub mod layer;
pub mod layout;
pub mod linear;
pub mod loss;
pub mod math;
pub mod noise;
pub mod norm;
mod product;
mod rows;
#[cfg(not(target_family = "wasm"))]
pub mod vocabulary;

/// Elements that are worth a thread's while.
const CHUNK: usize = 1 << 14;

/// Runs `work` on every item, in parallel where there are threads, and keeps the order. For a single one no
/// thread is woken.
#[cfg(not(target_family = "wasm"))]
fn map<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
    use rayon::prelude::*;
    if items.len() < 2 {
        return items.into_iter().map(|item| wide(|| work(item))).collect();
    }
    items.into_par_iter().with_max_len(1).map(|item| wide(|| work(item))).collect()
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
fn map<T, R>(items: Vec<T>, work: impl Fn(T) -> R) -> Vec<R> {
    items.into_iter().map(work).collect()
}

/// Compiles a function twice, once for wide vector registers, and calls the one that the
/// processor can run: what `wide` does for a closure, where the closure is small enough for the
/// compiler to put it there.
macro_rules! vectorized {
    ($(#[$doc:meta])* $visible:vis fn $name:ident($($arg:ident: $kind:ty),* $(,)?)
        $(-> $out:ty)? $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)] // the slices and sizes of one loop
        $visible fn $name($($arg: $kind),*) $(-> $out)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn plain($($arg: $kind),*) $(-> $out)? $body

            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx2") {
                #[target_feature(enable = "avx2")]
                #[allow(clippy::too_many_arguments)]
                fn with_avx2($($arg: $kind),*) $(-> $out)? {
                    plain($($arg),*)
                }
                // SAFETY: the processor has what the function is compiled for.
                return unsafe { with_avx2($($arg),*) };
            }
            plain($($arg),*)
        }
    };
}
use vectorized;

/// Σ f(i), in running sums, one a lane, so that the compiler can use vector registers.
#[inline(always)]
fn lanes<const LANES: usize>(length: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut sums = [0f32; LANES];
    let whole = length - length % LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += f(start + lane);
        }
    }
    (whole..length).fold(sums.iter().sum(), |sum, i| sum + f(i))
}

thread_local! {
    static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Gives `work` so many floats that it may write over; what they hold is left from before.
fn scratch<R>(length: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut floats = SCRATCH.take();
    if floats.len() < length {
        floats.resize(length, 0.0);
    }
    let result = work(&mut floats[..length]);
    SCRATCH.set(floats);
    result
}

/// Some rows of some columns of a matrix. Blocks that are cut out of one matrix do not overlap,
/// so each may be written by a thread of its own.
struct Block<'a> {
    first: *mut f32,
    rows: usize,
    columns: usize,
    /// Elements from a row to the next.
    stride: usize,
    matrix: PhantomData<&'a mut [f32]>,
}

// SAFETY: a block is an exclusive borrow of its elements, as `&mut [f32]` is.
unsafe impl Send for Block<'_> {}

impl<'a> Block<'a> {
    /// All of a matrix of so many columns.
    fn whole(matrix: &'a mut [f32], columns: usize) -> Self {
        let rows = matrix.len() / columns;
        Block { first: matrix.as_mut_ptr(), rows, columns, stride: columns, matrix: PhantomData }
    }

    fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows);
        // SAFETY: the row lies in the matrix, and the block alone borrows its columns of it.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(row * self.stride), self.columns) }
    }

    /// Some of its columns.
    fn columns(&mut self, columns: Range<usize>) -> Block<'_> {
        assert!(columns.start <= columns.end && columns.end <= self.columns);
        // SAFETY: these columns lie in the block.
        let first = unsafe { self.first.add(columns.start) };
        Block { first, columns: columns.len(), matrix: PhantomData, ..*self }
    }

    /// Cuts it into blocks of at most so many rows and columns, from left to right and then down.
    fn cut(self, rows: usize, columns: usize) -> Vec<Block<'a>> {
        let mut blocks = Vec::new();
        for top in (0..self.rows).step_by(rows) {
            for left in (0..self.columns).step_by(columns) {
                // SAFETY: the corner lies in the block.
                let first = unsafe { self.first.add(top * self.stride + left) };
                let (rows, columns) = (rows.min(self.rows - top), columns.min(self.columns - left));
                blocks.push(Block { first, rows, columns, matrix: PhantomData, ..self });
            }
        }
        blocks
    }
}

/// Cuts matrices of as many rows each, given with their widths, into the same blocks of rows.
fn row_blocks<const N: usize>(
    rows: usize,
    at_once: usize,
    matrices: [(&mut [f32], usize); N],
) -> Vec<[&mut [f32]; N]> {
    let mut parts = matrices.map(|(matrix, width)| matrix.chunks_mut(at_once * width));
    let mut block = |i: usize| parts[i].next().expect("all have as many rows");
    (0..rows.div_ceil(at_once)).map(|_| std::array::from_fn(&mut block)).collect()
}
