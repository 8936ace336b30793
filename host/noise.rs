//! Gumbel noise, every number a hash of a seed, its row and its column.

use crate::hash::mix;
use crate::map;
use crate::math::ln;

/// `logits + noise` in place, where row `r` has the noise of row `first_row + r`.
pub fn add_gumbel(logits: &mut [f32], columns: usize, seed: u32, first_row: u32) {
    let rows = logits.chunks_mut(columns).enumerate();
    map(rows.collect(), |(row, logits): (usize, &mut [f32])| {
        let key = row_key(seed, first_row.wrapping_add(row as u32));
        for (column, logit) in logits.iter_mut().enumerate() {
            *logit += gumbel(key, column as u32);
        }
    });
}

/// What all the noise of a row comes from.
pub fn row_key(seed: u32, row: u32) -> u32 {
    mix(seed ^ mix(row))
}

fn gumbel(key: u32, column: u32) -> f32 {
    -exponential(uniform(mix(key.wrapping_add(column)))).ln()
}

/// A number between 0 and 1 of a hash: 23 bits and a half, so never 0 and never 1.
#[inline(always)]
pub fn uniform(hash: u32) -> f32 {
    ((hash >> 9) as f32 + 0.5) / (1 << 23) as f32
}

/// `-ln(1 - v)`. Near 1 a GPU's logarithm is good to some 2^-21 only, which is more than the
/// logarithm itself where the noise is largest; there the first terms of the series are exact.
#[inline(always)]
pub fn exponential(v: f32) -> f32 {
    let series = v * (1.0 + v * (0.5 + v * (1.0 / 3.0 + v * 0.25)));
    let logarithm = -ln(1.0 - v);
    if v < SMALL { series } else { logarithm }
}

/// Below it the series is taken.
pub const SMALL: f32 = 1.0 / 64.0;
