//! The generator's softmax over the vocabulary: what it gives and, in the same go, its gradients.
//!
//! Logits lie a word a row, in panels of 16 of the rows that are guessed: `[R / 16, V, 16]`. So products
//! read the table as it is, and a row's softmax has a lane of a vector register to itself. Sums are
//! added in an order that depends on the sizes alone. Letters: `R` rows, `V` words, `E` embedding.

use crate::hash::mix;
use crate::layout::PANEL;
use crate::noise::{exponential, row_key, uniform};
use crate::product::{Panels, View, pack, packed_len, product};
use crate::{Block, map, math, rows, vectorized};

/// Logits at once, in bytes: those of all rows would be the largest thing in the run, and more than
/// the 128 MiB that WebGPU binds.
pub const BLOCK_BYTES: usize = 32 << 20;

/// Words whose part of the table stays in a core's cache.
const WORDS: usize = 256;

/// Words that one thread takes the gradients of: each such part has a sum of its own for the gradient
/// of the hidden states.
const PART: usize = 8 * WORDS;

/// How a word is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    pub temperature: f32,
    /// Never the target.
    pub disallow_correct: bool,
}

/// What goes in.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// `[R, E]`
    pub hidden: &'a [f32],
    /// `[V, E]`
    pub table: &'a [f32],
    /// `[V]`
    pub bias: &'a [f32],
    /// Of each row.
    pub targets: &'a [i32],
    /// Of each row in the loss.
    pub weights: &'a [f32],
    pub noise: Noise<'a>,
    pub draw: Draw,
}

/// Of a draw.
#[derive(Clone, Copy)]
pub enum Noise<'a> {
    /// Row `r` has that of row `first_row + r`.
    Seed { seed: u32, first_row: u32 },
    /// `[R, V]`
    Given(&'a [f32]),
}

impl<'a> Input<'a> {
    fn rows(&self) -> usize {
        self.targets.len()
    }

    fn width(&self) -> usize {
        self.hidden.len() / self.rows()
    }

    fn vocab(&self) -> usize {
        self.bias.len()
    }

    /// So many rows, from `first` on.
    fn narrow(&self, first: usize, count: usize) -> Self {
        let rows = |values: &'a [f32], width: usize| &values[first * width..][..count * width];
        let noise = match self.noise {
            Noise::Seed { seed, first_row } => {
                Noise::Seed { seed, first_row: first_row.wrapping_add(first as u32) }
            }
            Noise::Given(noise) => Noise::Given(rows(noise, self.vocab())),
        };
        Input {
            hidden: rows(self.hidden, self.width()),
            targets: &self.targets[first..][..count],
            weights: rows(self.weights, 1),
            noise,
            ..*self
        }
    }

    /// The words from `first` on, at most so many, and their part of the table.
    fn words(&self, first: usize, count: usize) -> View<'a> {
        let (count, width) = (count.min(self.vocab() - first), self.width());
        View::whole(&self.table[first * width..][..count * width], width)
    }
}

/// What a row gave.
#[derive(Debug, Clone, Copy, Default)]
pub struct Guess {
    /// The likeliest word, the first of several.
    pub likeliest: i32,
    /// A draw from the softmax.
    pub sample: i32,
    /// The log-probabilities of the target and of the sample.
    pub of_target: f32,
    pub of_sample: f32,
}

/// Of `Σ weight × cross entropy`.
#[derive(Default)]
pub struct Gradients {
    /// `[R, E]`
    pub hidden: Vec<f32>,
    /// `[V, E]`
    pub table: Vec<f32>,
    /// `[V]`
    pub bias: Vec<f32>,
}

/// The softmax of each row, in blocks of rows. The gradients are empty where none are wanted.
pub fn guess(input: &Input, with_gradients: bool) -> (Vec<Guess>, Gradients) {
    let mut gradients = Gradients::default();
    if with_gradients {
        gradients.table = vec![0.0; input.table.len()];
        gradients.bias = vec![0.0; input.bias.len()];
    }
    let mut guesses = Vec::new();
    let at_once = rows_at_once(input.rows(), input.vocab());
    for first in (0..input.rows()).step_by(at_once) {
        let block = input.narrow(first, at_once.min(input.rows() - first));
        let mut logits = logits(&block);
        guesses.extend(rows_of(&block, &mut logits));
        if with_gradients {
            let hidden = back(&block, &logits, &mut gradients);
            gradients.hidden.extend(hidden);
        }
    }
    (guesses, gradients)
}

/// Rows of a block: whole panels, and blocks as equal as can be.
fn rows_at_once(rows: usize, vocab: usize) -> usize {
    let most = (BLOCK_BYTES / (4 * vocab * PANEL)).max(1);
    let panels = rows.div_ceil(PANEL);
    panels.div_ceil(panels.div_ceil(most)) * PANEL
}

/// `table hiddenᵀ`, without the bias.
fn logits(input: &Input) -> Vec<f32> {
    let (count, width, vocab) = (input.rows(), input.width(), input.vocab());
    let mut hidden = vec![0.0; packed_len(width, count)];
    pack(View::whole(input.hidden, width).transposed(), &mut hidden);
    let mut logits = vec![0.0; packed_len(vocab, count)];
    let mut pieces: Vec<Vec<Block>> = Vec::new();
    pieces.resize_with(vocab.div_ceil(WORDS), Vec::new);
    for panel in logits.chunks_mut(vocab * PANEL) {
        let blocks = Block::whole(panel, PANEL).cut(WORDS, PANEL);
        pieces.iter_mut().zip(blocks).for_each(|(piece, block)| piece.push(block));
    }
    map(pieces.into_iter().enumerate().collect(), |(number, blocks): (usize, Vec<Block>)| {
        let words = input.words(number * WORDS, WORDS);
        for (mut block, hidden) in blocks.into_iter().zip(hidden.chunks(width * PANEL)) {
            product(words, Panels::new(hidden, width, PANEL), &mut block, false);
        }
    });
    logits
}

/// The softmax of each row; logits become the gradients of the loss with respect to them.
fn rows_of(input: &Input, logits: &mut [f32]) -> Vec<Guess> {
    let panels = logits.chunks_mut(input.vocab() * PANEL).enumerate().collect();
    let guesses = map(panels, |(number, panel): (usize, &mut [f32])| {
        let first = number * PANEL;
        let count = PANEL.min(input.rows() - first);
        let mut lanes = Lanes::default();
        for lane in 0..count {
            let row = first + lane;
            lanes.target[lane] = input.targets[row];
            lanes.weight[lane] = input.weights[row];
            if let Noise::Seed { seed, first_row } = input.noise {
                lanes.key[lane] = row_key(seed, first_row.wrapping_add(row as u32));
            }
        }
        let noise = match input.noise {
            Noise::Given(noise) => Some(&noise[first * input.vocab()..]),
            Noise::Seed { .. } => None,
        };
        let (logits, _) = panel.as_chunks_mut();
        softmax(logits, input.bias, &mut lanes, input.draw, noise, count);
        (0..count).map(|lane| lanes.guess(lane)).collect::<Vec<_>>()
    });
    guesses.concat()
}

/// Rows side by side.
#[derive(Default)]
struct Lanes {
    target: [i32; PANEL],
    weight: [f32; PANEL],
    /// Of the noise.
    key: [u32; PANEL],
    likeliest: [i32; PANEL],
    sample: [i32; PANEL],
    of_target: [f32; PANEL],
    of_sample: [f32; PANEL],
}

impl Lanes {
    fn guess(&self, lane: usize) -> Guess {
        Guess {
            likeliest: self.likeliest[lane],
            sample: self.sample[lane],
            of_target: self.of_target[lane],
            of_sample: self.of_sample[lane],
        }
    }
}

vectorized! {
/// From `logits - bias` to the gradient of the loss. `noise` is that of the first row on.
fn softmax(
    logits: &mut [[f32; PANEL]],
    bias: &[f32],
    lanes: &mut Lanes,
    draw: Draw,
    noise: Option<&[f32]>,
    count: usize,
) {
    let mut top = [f32::NEG_INFINITY; PANEL];
    for (word, (x, bias)) in logits.iter_mut().zip(bias).enumerate() {
        for lane in 0..PANEL {
            x[lane] += bias;
            let larger = x[lane] > top[lane];
            top[lane] = if larger { x[lane] } else { top[lane] };
            lanes.likeliest[lane] = if larger { word as i32 } else { lanes.likeliest[lane] };
        }
    }
    let at_target: [f32; PANEL] =
        std::array::from_fn(|lane| logits[lanes.target[lane] as usize][lane] - top[lane]);
    if let Some(noise) = noise {
        draw_given(logits, lanes, draw, &top, noise, count);
    }
    // Σ exp is one sum a few words, and the sum of those.
    let mut sum = [0f32; PANEL];
    let over = 1.0 / draw.temperature;
    let mut best = [-1f32; PANEL];
    for (part, logits) in logits.chunks_mut(WORDS).enumerate() {
        let mut own = [0f32; PANEL];
        for (i, x) in logits.iter_mut().enumerate() {
            let word = (part * WORDS + i) as i32;
            for lane in 0..PANEL {
                let from_top = x[lane] - top[lane];
                let e = math::exp(from_top);
                own[lane] += e;
                x[lane] = e;
                if noise.is_none() {
                    let sharpened = if over == 1.0 { e } else { math::exp(from_top * over) };
                    // The largest of logit - ln(exponential), both sides through exp.
                    let bits = mix(lanes.key[lane].wrapping_add(word as u32));
                    let score = sharpened / exponential(uniform(bits));
                    let never = draw.disallow_correct && word == lanes.target[lane];
                    let better = !never && score > best[lane];
                    best[lane] = if better { score } else { best[lane] };
                    lanes.sample[lane] = if better { word } else { lanes.sample[lane] };
                    lanes.of_sample[lane] = if better { from_top } else { lanes.of_sample[lane] };
                }
            }
        }
        rows::add(&mut sum, &own);
    }
    let mut factor = [0f32; PANEL];
    for lane in 0..PANEL {
        let log_sum = sum[lane].ln();
        lanes.of_target[lane] = at_target[lane] - log_sum;
        lanes.of_sample[lane] -= log_sum;
        factor[lane] = lanes.weight[lane] / sum[lane];
    }
    for x in logits.iter_mut() {
        for lane in 0..PANEL {
            x[lane] *= factor[lane];
        }
    }
    for lane in 0..PANEL {
        logits[lanes.target[lane] as usize][lane] -= lanes.weight[lane];
    }
}
}

/// Draws with the noise of a test.
fn draw_given(
    logits: &[[f32; PANEL]],
    lanes: &mut Lanes,
    draw: Draw,
    top: &[f32; PANEL],
    noise: &[f32],
    count: usize,
) {
    let vocab = logits.len();
    for lane in 0..count {
        let mut best = f32::NEG_INFINITY;
        for (word, x) in logits.iter().enumerate() {
            let never = draw.disallow_correct && word as i32 == lanes.target[lane];
            let score = x[lane] / draw.temperature + noise[lane * vocab + word];
            if !never && score > best {
                best = score;
                lanes.sample[lane] = word as i32;
                lanes.of_sample[lane] = x[lane] - top[lane];
            }
        }
    }
}

/// The gradient of the hidden states; adds those of the table and its bias.
fn back(input: &Input, slopes: &[f32], grads: &mut Gradients) -> Vec<f32> {
    let (count, width, vocab) = (input.rows(), input.width(), input.vocab());
    // Each panel's rows, `[16, E]`, packed.
    let hidden: Vec<Vec<f32>> = input
        .hidden
        .chunks(PANEL * width)
        .map(|rows| {
            let mut packed = vec![0.0; packed_len(rows.len() / width, width)];
            pack(View::whole(rows, width), &mut packed);
            packed
        })
        .collect();
    let parts = grads.table.chunks_mut(PART * width).zip(grads.bias.chunks_mut(PART)).enumerate();
    let sums = map(parts.collect(), |(part, (table, bias)): (usize, (&mut [f32], &mut [f32]))| {
        // `[R / 16, E, 16]`
        let mut sum = vec![0.0; packed_len(width, count)];
        let pieces = table.chunks_mut(WORDS * width).zip(bias.chunks_mut(WORDS)).enumerate();
        for (piece, (table, bias)) in pieces {
            let first = part * PART + piece * WORDS;
            let words = input.words(first, WORDS);
            let mut by_lane = vec![0f32; bias.len() * PANEL];
            let mut table = Block::whole(table, width);
            let panels =
                slopes.chunks(vocab * PANEL).zip(&hidden).zip(sum.chunks_mut(width * PANEL));
            for ((slopes, hidden), sum) in panels {
                let slopes = &slopes[first * PANEL..][..bias.len() * PANEL];
                rows::add(&mut by_lane, slopes);
                let rows = hidden.len() / packed_len(1, width);
                let own = View::strided(slopes, [bias.len(), rows], PANEL);
                product(own, Panels::new(hidden, rows, width), &mut table, true);
                let slopes = Panels::new(slopes, bias.len(), PANEL);
                product(words.transposed(), slopes, &mut Block::whole(sum, PANEL), true);
            }
            for (bias, lanes) in bias.iter_mut().zip(by_lane.chunks(PANEL)) {
                *bias += lanes.iter().sum::<f32>();
            }
        }
        sum
    });
    let mut total = vec![0.0; packed_len(width, count)];
    sums.iter().for_each(|sum| rows::add(&mut total, sum));
    let value = |row: usize, i: usize| total[(row / PANEL * width + i) * PANEL + row % PANEL];
    (0..count).flat_map(|row| (0..width).map(move |i| (row, i))).map(|(r, i)| value(r, i)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(count: usize, phase: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * 0.73 + phase).sin()).collect()
    }

    /// The tests of `crate/pretrain/softmax.rs` hold all of it to plain operations; this one is small enough
    /// for a sanitizer.
    #[test]
    fn losses_and_gradients_equal_the_definition_for_odd_sizes() {
        for (rows, vocab, width) in [(1, 3, 1), (17, 300, 9), (33, 2100, 5)] {
            let (hidden, table) = (wave(rows * width, 0.0), wave(vocab * width, 1.0));
            let (bias, weights) = (wave(vocab, 2.0), wave(rows, 3.0));
            let targets: Vec<i32> = (0..rows).map(|row| (row * 7 % vocab) as i32).collect();
            let input = Input {
                hidden: &hidden,
                table: &table,
                bias: &bias,
                targets: &targets,
                weights: &weights,
                noise: Noise::Seed { seed: 5, first_row: 0 },
                draw: Draw { temperature: 1.0, disallow_correct: true },
            };
            let (guesses, gradients) = guess(&input, true);
            let mut of_bias = vec![0f64; vocab];
            for (row, guess) in guesses.iter().enumerate() {
                let word = |word: usize| -> f64 {
                    let terms = (0..width).map(|i| {
                        f64::from(hidden[row * width + i]) * f64::from(table[word * width + i])
                    });
                    terms.sum::<f64>() + f64::from(bias[word])
                };
                let logits: Vec<f64> = (0..vocab).map(word).collect();
                let log_sum = logits.iter().map(|x| x.exp()).sum::<f64>().ln();
                let target = targets[row] as usize;
                assert!((logits[target] - log_sum - f64::from(guess.of_target)).abs() < 1e-4);
                let sample = guess.sample as usize;
                assert!(sample != target || vocab == 1);
                assert!((logits[sample] - log_sum - f64::from(guess.of_sample)).abs() < 1e-4);
                for (i, of_bias) in of_bias.iter_mut().enumerate() {
                    let hit = f64::from(u8::from(i == target));
                    *of_bias += f64::from(weights[row]) * ((logits[i] - log_sum).exp() - hit);
                }
            }
            let far = |(a, b): (&f32, &f64)| (f64::from(*a) - b).abs() > 1e-5;
            assert!(!gradients.bias.iter().zip(&of_bias).any(far), "{rows} {vocab} {width}");
            let along = |grad: &[f32], of: &[f32]| -> f64 {
                grad.iter().zip(of).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            // Σ slope · (h · t) is one number by the rows and by the words.
            let (by_rows, by_words) =
                (along(&gradients.hidden, &hidden), along(&gradients.table, &table));
            assert!((by_rows - by_words).abs() < 1e-3 * by_rows.abs().max(1.0));
        }
    }
}
