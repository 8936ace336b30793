//! Random numbers that are hashes of a place: every device has the same ones, and none is stored.

/// Spreads every bit of the input over the whole output.
#[inline(always)]
pub fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// One dropout mask.
#[derive(Debug, Clone, Copy)]
pub struct Drop {
    pub(super) key: u32,
    /// Hashes below it are dropped.
    pub(super) threshold: u32,
    /// What is kept grows by this.
    pub(super) scale: f32,
}

impl Drop {
    /// Drops a share of `prob`.
    pub(super) fn new(key: u32, prob: f64) -> Self {
        let threshold = (prob * 2f64.powi(32)) as u32;
        Drop { key, threshold, scale: (1.0 / (1.0 - prob)) as f32 }
    }

    /// What the value at a place is multiplied by.
    #[inline(always)]
    pub(super) fn factor(self, place: u32) -> f32 {
        if mix(self.key.wrapping_add(place)) >= self.threshold { self.scale } else { 0.0 }
    }
}
