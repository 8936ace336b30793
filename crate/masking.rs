//! Which tokens the generator has to guess: drawn on the host from a seed, anew every time an
//! example comes by. Most drawn tokens are masked, some stay as they are: so they are called *drawn*
//! here, not masked.
//!
//! Follows `mask()` in `pretrain/pretrain_helpers.py` of google-research/electra, but draws
//! without replacement (its issue 41); a switch gives the reference's way.

use std::collections::BTreeSet;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::tokenizer::SpecialIds;

/// How tokens are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Masking {
    /// The share of tokens that are drawn; `[CLS]` and `[SEP]` count as tokens here.
    pub mask_prob: f64,
    pub with_replacement: bool,
    /// The most that are drawn from one example: the reference's `max_predictions_per_seq`.
    pub max_predictions: usize,
}

/// A drawn token stays as it is this often, and is `[MASK]` otherwise, as in the reference. It is
/// never a random one, as some are in BERT: random tokens are what the discriminator looks for.
const KEPT: f64 = 0.15;

/// The tokens drawn from one example, in the order of the draw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drawn {
    pub positions: Vec<usize>,
    /// For each of them: is the generator's input `[MASK]` there, or the token itself?
    pub masked: Vec<bool>,
}

impl Drawn {
    /// How many tokens these are: one may be drawn twice.
    pub fn distinct(&self) -> usize {
        self.positions.iter().collect::<BTreeSet<_>>().len()
    }
}

impl Masking {
    /// The half percent on top is the reference's (`configure_pretraining.py`).
    pub fn new(mask_prob: f64, with_replacement: bool, max_seq_length: usize) -> Self {
        let max_predictions = ((mask_prob + 0.005) * max_seq_length as f64) as usize;
        Masking { mask_prob, with_replacement, max_predictions: max_predictions.max(1) }
    }

    /// Draws from an example without padding, from a seed of its own.
    pub fn draw(&self, input_ids: &[u32], special: SpecialIds, seed: u64) -> Drawn {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut candidates = candidates(input_ids, special);
        let count = self.count(input_ids.len());
        let positions = if candidates.is_empty() {
            Vec::new()
        } else if self.with_replacement {
            let mut any = || candidates[below(&mut rng, candidates.len())];
            (0..count).map(|_| any()).collect()
        } else {
            let count = count.min(candidates.len());
            // The first steps of a Fisher-Yates shuffle.
            for i in 0..count {
                let other = i + below(&mut rng, candidates.len() - i);
                candidates.swap(i, other);
            }
            candidates.truncate(count);
            candidates
        };
        let masked = positions.iter().map(|_| !rng.random_bool(KEPT)).collect();
        Drawn { positions, masked }
    }

    /// How many are drawn from that many tokens; a half is rounded to even, as TensorFlow does.
    fn count(&self, tokens: usize) -> usize {
        let share = (self.mask_prob * tokens as f64).round_ties_even() as usize;
        share.min(self.max_predictions).max(1)
    }
}

/// The positions that may be drawn: `[UNK]` is one.
pub fn candidates(input_ids: &[u32], special: SpecialIds) -> Vec<usize> {
    let never = [special.pad, special.cls, special.sep, special.mask];
    (0..input_ids.len()).filter(|i| !never.contains(&input_ids[*i])).collect()
}

/// 32 bits on every machine: a `usize` draws differently in a browser.
fn below(rng: &mut impl Rng, limit: usize) -> usize {
    rng.random_range(0..limit as u32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECIAL: SpecialIds = SpecialIds { pad: 0, unk: 1, cls: 2, sep: 3, mask: 4 };

    fn example(length: usize) -> Vec<u32> {
        let middle = (0..length - 2).map(|i| if i == 5 { 1 } else { 10 + i as u32 });
        [2].into_iter().chain(middle).chain([3]).collect()
    }

    fn draws(masking: Masking, times: u64) -> Vec<Drawn> {
        let ids = example(128);
        (0..times).map(|seed| masking.draw(&ids, SPECIAL, seed)).collect()
    }

    /// 19 for 128 tokens at 15 %, 79 and 130 for 512 at 15 and 25 %.
    #[test]
    fn max_predictions_are_the_reference_s() {
        let max = |prob, length| Masking::new(prob, false, length).max_predictions;
        assert_eq!([max(0.15, 128), max(0.15, 512), max(0.25, 512)], [19, 79, 130]);
        let masking = Masking::new(0.15, false, 512);
        assert_eq!([128, 512, 3].map(|tokens| masking.count(tokens)), [19, 77, 1]);
    }

    #[test]
    fn without_replacement_every_token_is_drawn_once() {
        for drawn in draws(Masking::new(0.15, false, 128), 200) {
            let mut positions = drawn.positions.clone();
            positions.sort_unstable();
            positions.dedup();
            assert_eq!(positions.len(), 19);
            assert!(positions.iter().all(|p| *p > 0 && *p < 127));
        }
    }

    /// 126 candidates drawn 19 times: 17.7 of them on average, 13.8 % of 128 tokens.
    #[test]
    fn with_replacement_fewer_tokens_are_drawn() {
        let drawn = draws(Masking::new(0.15, true, 128), 4000);
        let distinct = drawn.iter().map(|drawn| {
            assert_eq!(drawn.positions.len(), 19);
            drawn.distinct()
        });
        let share = distinct.sum::<usize>() as f64 / 4000.0 / 128.0;
        assert!((share - 0.138).abs() < 0.001, "{share}");
    }

    #[test]
    fn most_are_masked_and_the_rest_stays() {
        let drawn = draws(Masking::new(0.15, false, 128), 2000);
        let masked = drawn.iter().flat_map(|d| &d.masked).filter(|masked| **masked).count();
        let share = masked as f64 / (2000.0 * 19.0);
        assert!((share - 0.85).abs() < 0.006, "{share}");
    }

    #[test]
    fn every_token_is_as_likely_as_the_others() {
        let mut counts = [0usize; 128];
        let drawn = draws(Masking::new(0.15, false, 128), 5000);
        drawn.iter().flat_map(|d| &d.positions).for_each(|p| counts[*p] += 1);
        let mean = 5000.0 * 19.0 / 126.0;
        let far = counts[1..127].iter().find(|count| (**count as f64 / mean - 1.0).abs() > 0.2);
        assert_eq!((counts[0], counts[127], far), (0, 0, None));
    }

    #[test]
    fn an_example_with_nothing_to_draw_gives_nothing() {
        let drawn = Masking::new(0.15, false, 128).draw(&[2, 3], SPECIAL, 0);
        assert_eq!(drawn, Drawn::default());
        let drawn = Masking::new(0.9, false, 128).draw(&[2, 7, 4, 3], SPECIAL, 0);
        assert_eq!(drawn.positions, [1]);
    }
}
