//! Random numbers that are hashes of a place: every device has the same ones, and none is stored.

use crate::{CHUNK, map};

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
    pub key: u32,
    /// Hashes below it are dropped.
    pub threshold: u32,
    /// What is kept grows by this.
    pub scale: f32,
}

impl Drop {
    /// Drops a share of `prob`.
    pub fn new(key: u32, prob: f64) -> Self {
        let threshold = (prob * 2f64.powi(32)) as u32;
        Drop { key, threshold, scale: (1.0 / (1.0 - prob)) as f32 }
    }

    /// What the value at a place is multiplied by.
    #[inline(always)]
    pub fn factor(self, place: u32) -> f32 {
        if mix(self.key.wrapping_add(place)) >= self.threshold { self.scale } else { 0.0 }
    }
}

/// Zeroes a share of the values and scales the others up.
pub fn drop_out(values: &mut [f32], drop: Drop) {
    map(values.chunks_mut(CHUNK).enumerate().collect(), |(chunk, values): (usize, &mut [f32])| {
        let first = chunk * CHUNK;
        for (i, value) in values.iter_mut().enumerate() {
            *value *= drop.factor((first + i) as u32);
        }
    });
}
