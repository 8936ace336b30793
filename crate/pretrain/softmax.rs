//! The generator's softmax over the vocabulary: its loss, its gradients and a sample, in blocks
//! of rows.
//!
//! The logits of all drawn tokens would be the largest tensor of the run (297 MB for ELECTRA-Small
//! at 128 x 128), above what a GPU may bind at once. A block is done with before the next one
//! starts: the loss is a sum over rows, so the gradients of its logits are known on the way
//! forward, and only their sums stay.

use burn::tensor::{IndexingUpdateOp, Int, Tensor};

use crate::heads::GeneratorHead;
use crate::kernels::add_gumbel;
use crate::kernels::vocabulary::{BLOCK_BYTES, Draw, DrawNoise, VocabularyInputs, vocabulary};

/// Where the noise of a sample comes from.
#[derive(Debug, Clone)]
pub enum Noise {
    /// Row `r` of the batch has the noise of row `first_row + r`.
    Seed { seed: u32, first_row: u32 },
    /// As given, `[rows, vocab]`.
    Given(Box<Tensor<2>>),
}

/// How replacements are drawn.
#[derive(Debug, Clone)]
pub struct Sampling {
    pub temperature: f64,
    /// Never the original.
    pub disallow_correct: bool,
    pub noise: Noise,
}

/// The rows that the softmax runs on, one a token to guess. All tensors are without autodiff.
#[derive(Debug, Clone)]
pub struct Rows {
    /// `[rows, embedding]`
    pub hidden: Tensor<2>,
    /// The original tokens, `[rows]`.
    pub targets: Tensor<1, Int>,
    /// The weight of each row in the loss, `[rows]`.
    pub weights: Tensor<1>,
    /// 1 where the text gets the sample, 0 where it keeps the original, `[rows]`.
    pub replaced: Tensor<1, Int>,
}

/// What the softmax gave.
#[derive(Debug, Clone)]
pub struct Guesses {
    /// Σ weight × cross entropy, `[1]`.
    pub loss: Tensor<1>,
    /// 1 where the most likely token is the original, `[rows]`.
    pub correct: Tensor<1, Int>,
    /// A draw from the softmax, `[rows]`.
    pub samples: Tensor<1, Int>,
    /// The log-probability of the token that now stands there, `[rows]`.
    pub log_probs: Tensor<1>,
    /// Of the loss, where asked for.
    pub gradients: Option<Gradients>,
}

/// The gradients of the loss.
#[derive(Debug, Clone)]
pub struct Gradients {
    /// `[rows, embedding]`
    pub hidden: Tensor<2>,
    /// `[vocab, embedding]`
    pub table: Tensor<2>,
    /// `[vocab]`
    pub bias: Tensor<1>,
}

/// What a generator gave, laid out as the batch. Nothing here but `backward` knows of autodiff.
#[derive(Debug, Clone)]
pub struct Generated {
    /// `[1]`
    pub gen_loss: Tensor<1>,
    /// Tokens that were guessed in the whole update: what `gen_loss` is a mean over.
    pub guessed: f64,
    /// Its gradients are those of the loss, `[1]`.
    pub backward: Option<Tensor<1>>,
    /// 1 where its first choice is the original, `[batch, drawn]`.
    pub correct: Tensor<2, Int>,
    /// What it puts in place of drawn tokens, `[batch, drawn]`.
    pub samples: Tensor<2, Int>,
    /// The same at their tokens, as [`super::batch::MaskedBatch::at_tokens`] has it, `[batch, seq]`.
    pub samples_at: Tensor<2, Int>,
    /// The log-probability of the token that now stands there, `[batch, seq]`, where every token
    /// was guessed.
    pub log_probs: Option<Tensor<2>>,
}

/// The generator's head, whose softmax is tied to a table of words.
#[derive(Debug)]
pub struct TiedSoftmax<'a> {
    pub head: &'a GeneratorHead,
    /// `[vocab, embedding]`
    pub table: Tensor<2>,
}

impl TiedSoftmax<'_> {
    /// The softmax of each row, and the term that carries its gradients (see `objective.rs`); the
    /// other arguments are those of [`Rows`], `weights` as shares of the `total`.
    ///
    /// # Shapes
    /// - hidden: `[batch * drawn, hidden]`
    /// - targets, weights, replaced: `[batch, drawn]`
    pub fn guess(
        &self,
        hidden: Tensor<2>,
        targets: &Tensor<2, Int>,
        (weights, total): (&Tensor<2>, f64),
        replaced: Tensor<2, Int>,
        sampling: &Sampling,
    ) -> (Guesses, Option<Tensor<1>>) {
        let targets = targets.clone().inner().flatten(0, 1);
        let weights = weights.clone().inner().flatten(0, 1) / total;
        let replaced = replaced.flatten(0, 1);
        let hidden = self.head.transform(hidden); // [rows, embedding]
        let (table, bias) = (self.table.clone(), self.head.bias.val());
        let rows = Rows { hidden: hidden.clone().inner(), targets, weights, replaced };
        let learns = hidden.is_autodiff();
        let guesses = guess(&rows, &table.clone().inner(), &bias.clone().inner(), sampling, learns);
        let backward = guesses.gradients.as_ref().map(|gradients| {
            (hidden * gradients.hidden.clone()).sum()
                + (table * gradients.table.clone()).sum()
                + (bias * gradients.bias.clone()).sum()
        });
        (guesses, backward)
    }
}

/// The softmax of `hidden · tableᵀ + bias`.
///
/// # Shapes
/// - table: `[vocab, embedding]`, bias: `[vocab]`
pub fn guess(
    rows: &Rows,
    table: &Tensor<2>,
    bias: &Tensor<1>,
    sampling: &Sampling,
    with_gradients: bool,
) -> Guesses {
    let Sampling { temperature, disallow_correct, noise } = sampling.clone();
    let draw = Draw { temperature: temperature as f32, disallow_correct };
    let inputs = VocabularyInputs {
        hidden: rows.hidden.clone().into_dispatch(),
        table: table.clone().into_dispatch(),
        bias: bias.clone().into_dispatch(),
        targets: rows.targets.clone().into_dispatch(),
        weights: rows.weights.clone().into_dispatch(),
        replaced: rows.replaced.clone().into_dispatch(),
        noise: match noise {
            Noise::Seed { seed, first_row } => DrawNoise::Seed { seed, first_row },
            Noise::Given(noise) => DrawNoise::Given(noise.into_dispatch()),
        },
    };
    let (outputs, gradients) = vocabulary(inputs, draw, with_gradients);
    let gradients = gradients.map(|gradients| Gradients {
        hidden: Tensor::from_dispatch(gradients.hidden),
        table: Tensor::from_dispatch(gradients.table),
        bias: Tensor::from_dispatch(gradients.bias),
    });
    Guesses {
        loss: Tensor::from_dispatch(outputs.loss),
        correct: Tensor::from_dispatch(outputs.correct),
        samples: Tensor::from_dispatch(outputs.samples),
        log_probs: Tensor::from_dispatch(outputs.log_probs),
        gradients,
    }
}

/// Rows of one block.
pub(super) fn block_rows(vocab: usize) -> usize {
    (BLOCK_BYTES / (4 * vocab)).max(1)
}

impl Sampling {
    pub(super) fn narrow(&self, start: usize, length: usize) -> Sampling {
        let noise = match &self.noise {
            Noise::Seed { seed, first_row } => {
                Noise::Seed { seed: *seed, first_row: first_row.wrapping_add(start as u32) }
            }
            Noise::Given(noise) => {
                Noise::Given(Box::new((**noise).clone().narrow(0, start, length)))
            }
        };
        Sampling { noise, ..self.clone() }
    }

    /// Draws a token for every row of `logits`, `[rows, vocab]`, from its softmax: the largest logit
    /// once Gumbel noise is added to each.
    pub fn draw(&self, logits: Tensor<2>, targets: Tensor<2, Int>) -> Tensor<1, Int> {
        let mut logits = logits;
        if self.disallow_correct {
            let never = targets.clone().float() * 0.0 - 1000.0; // the reference's number
            logits = logits.scatter(1, targets, never, IndexingUpdateOp::Add);
        }
        if self.temperature != 1.0 {
            logits = logits / self.temperature;
        }
        let noisy = match &self.noise {
            Noise::Seed { seed, first_row } => add_gumbel(logits, *seed, *first_row),
            Noise::Given(noise) => logits + (**noise).clone(),
        };
        noisy.argmax(1).squeeze_dim(1)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData, activation};

    use super::*;

    /// Operation by operation: what both forms of the one operation must equal.
    fn plain(
        rows: &Rows,
        table: &Tensor<2>,
        bias: &Tensor<1>,
        sampling: &Sampling,
        with_gradients: bool,
    ) -> Guesses {
        let ([count, _], [vocab, _]) = (rows.hidden.dims(), table.dims());
        let mut blocks = Vec::new();
        let mut sums: Option<(Tensor<2>, Tensor<1>)> = None;
        for start in (0..count).step_by(block_rows(vocab)) {
            let rows = rows.narrow(start, block_rows(vocab).min(count - start));
            let logits = rows.hidden.clone().matmul(table.clone().transpose())
                + bias.clone().unsqueeze::<2>(); // [block, vocab]
            let (block, slope) = guess_block(&rows, logits, &sampling.narrow(start, rows.len()));
            let mut hidden = None;
            if with_gradients {
                hidden = Some(slope.clone().matmul(table.clone())); // [block, embedding]
                let table = slope.clone().transpose().matmul(rows.hidden);
                let bias = slope.sum_dim(0).squeeze_dim(0);
                sums = Some(match sums {
                    Some((tables, biases)) => (tables + table, biases + bias),
                    None => (table, bias),
                });
            }
            blocks.push((block, hidden));
        }
        join(blocks, sums)
    }

    impl Rows {
        fn len(&self) -> usize {
            self.targets.dims()[0]
        }

        fn narrow(&self, start: usize, length: usize) -> Rows {
            Rows {
                hidden: self.hidden.clone().narrow(0, start, length),
                targets: self.targets.clone().narrow(0, start, length),
                weights: self.weights.clone().narrow(0, start, length),
                replaced: self.replaced.clone().narrow(0, start, length),
            }
        }
    }

    /// One block, and the gradient of its loss with respect to its logits, `[block, vocab]`.
    fn guess_block(rows: &Rows, logits: Tensor<2>, sampling: &Sampling) -> (Guesses, Tensor<2>) {
        let column = |ids: &Tensor<1, Int>| ids.clone().unsqueeze_dim::<2>(1); // [block, 1]
        let targets = column(&rows.targets);
        let samples = sampling.draw(logits.clone(), targets.clone());
        let (largest, likeliest) = logits.clone().max_dim_with_indices(1);
        let exp = (logits.clone() - largest.clone()).exp();
        let sum = exp.clone().sum_dim(1);
        let log_sum = largest + sum.clone().log(); // [block, 1]
        let log_prob = |ids| logits.clone().gather(1, ids) - log_sum.clone();
        let present = rows.targets.clone() * (rows.replaced.clone() * -1 + 1)
            + samples.clone() * rows.replaced.clone();
        let weights = rows.weights.clone().unsqueeze_dim::<2>(1);
        let loss = (log_prob(targets.clone()) * weights.clone() * -1.0).sum();
        let slope = (exp * (weights.clone() / sum)).scatter(
            1,
            targets.clone(),
            weights * -1.0,
            IndexingUpdateOp::Add,
        );
        let guesses = Guesses {
            loss,
            correct: likeliest.equal(targets).int().squeeze_dim(1),
            samples,
            log_probs: log_prob(column(&present)).squeeze_dim(1),
            gradients: None,
        };
        (guesses, slope)
    }

    fn join(
        blocks: Vec<(Guesses, Option<Tensor<2>>)>,
        sums: Option<(Tensor<2>, Tensor<1>)>,
    ) -> Guesses {
        let (blocks, hidden): (Vec<_>, Vec<_>) = blocks.into_iter().unzip();
        let hidden: Vec<_> = hidden.into_iter().flatten().collect();
        let gradients =
            sums.map(|(table, bias)| Gradients { hidden: Tensor::cat(hidden, 0), table, bias });
        let of =
            |part: fn(&Guesses) -> Tensor<1>| Tensor::cat(blocks.iter().map(part).collect(), 0);
        let ids = |part: fn(&Guesses) -> Tensor<1, Int>| {
            Tensor::cat(blocks.iter().map(part).collect(), 0)
        };
        Guesses {
            loss: of(|block| block.loss.clone()).sum(),
            correct: ids(|block| block.correct.clone()),
            samples: ids(|block| block.samples.clone()),
            log_probs: of(|block| block.log_probs.clone()),
            gradients,
        }
    }

    fn wave(shape: [usize; 2], phase: f32) -> Tensor<2> {
        let value =
            |i: usize| ((i as f32 * 0.37 + phase).sin() * 1.5 * (1.0 + i as f32 / 1e4)).sin();
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(value).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    /// WebGPU promises 128 MiB a binding; ELECTRA-Small at 128 x 128 draws 2 432 tokens.
    #[test]
    fn no_block_is_larger_than_a_binding() {
        for vocab in [61, 8000, 30522, 250_002] {
            let bytes = block_rows(vocab) * vocab * 4;
            assert!(
                bytes <= BLOCK_BYTES && 2 * bytes > BLOCK_BYTES.min(2432 * vocab * 4),
                "{vocab}"
            );
        }
        assert!(BLOCK_BYTES < 128 << 20 && block_rows(30522) < 2432);
    }

    fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_into_vec().unwrap()
    }

    fn ids(tensor: Tensor<1, Int>) -> Vec<i32> {
        tensor.into_data().try_into_vec().unwrap()
    }

    fn close(ours: Vec<f32>, plain: Vec<f32>, what: &str) {
        let largest = plain.iter().fold(1e-3f32, |largest, x| largest.max(x.abs()));
        assert_eq!(ours.len(), plain.len(), "{what}");
        let far = |(a, b): &(&f32, &f32)| (*a - *b).is_nan() || (*a - *b).abs() > 2e-5 * largest;
        assert_eq!(ours.iter().zip(&plain).find(far), None, "{what}");
    }

    /// Rows and words that fill no panel, rows without weight, and every way to draw.
    fn check(device: &Device, sizes: &[[usize; 3]], draws: usize) {
        let on = |tensor: &Tensor<2>| tensor.clone().to_device(device);
        let ids_on = |tensor: &Tensor<1, Int>| tensor.clone().to_device(device);
        for &[count, vocab, width] in sizes {
            let (hidden, table) = (wave([count, width], 0.0), wave([vocab, width], 1.0));
            let bias: Tensor<1> = wave([1, vocab], 2.0).squeeze_dim(0);
            let whole = |values: Vec<i32>| {
                Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &Device::flex())
            };
            let weights: Vec<f32> = (0..count).map(|i| (i % 4) as f32 * 0.1).collect();
            let rows = Rows {
                hidden,
                targets: whole((0..count).map(|i| (i * 7919 % vocab) as i32).collect()),
                weights: Tensor::from_data(TensorData::new(weights, [count]), &Device::flex()),
                replaced: whole((0..count).map(|i| (i % 2) as i32).collect()),
            };
            let there = Rows {
                hidden: on(&rows.hidden),
                targets: ids_on(&rows.targets),
                weights: rows.weights.clone().to_device(device),
                replaced: ids_on(&rows.replaced),
            };
            let (table_there, bias_there) = (on(&table), bias.clone().to_device(device));
            let given = Noise::Given(Box::new(wave([count, vocab], 3.0)));
            let seeded = Noise::Seed { seed: 5, first_row: 11 };
            let every = [
                (1.0, false, seeded.clone()),
                (0.7, true, seeded),
                (1.0, true, given.clone()),
                (1.5, false, given),
            ];
            for (temperature, disallow_correct, noise) in every.into_iter().take(draws) {
                let noise_there = match &noise {
                    Noise::Given(noise) => Noise::Given(Box::new(on(noise))),
                    seeded => seeded.clone(),
                };
                let sampling = Sampling { temperature, disallow_correct, noise };
                let sampling_there = Sampling { noise: noise_there, ..sampling.clone() };
                let what = format!("{count} x {vocab} x {width}, {temperature}");
                let ours =
                    |learns| guess(&there, &table_there, &bias_there, &sampling_there, learns);
                let right = plain(&rows, &table, &bias, &sampling, true);
                for learns in [true, false] {
                    let ours = ours(learns);
                    assert_eq!(ids(ours.samples), ids(right.samples.clone()), "{what}");
                    assert_eq!(ids(ours.correct), ids(right.correct.clone()), "{what}");
                    close(numbers(ours.loss), numbers(right.loss.clone()), &what);
                    close(numbers(ours.log_probs), numbers(right.log_probs.clone()), &what);
                    assert_eq!(ours.gradients.is_some(), learns);
                }
                let (ours, right) = (ours(true).gradients.unwrap(), right.gradients.unwrap());
                close(numbers(ours.hidden), numbers(right.hidden), &what);
                close(numbers(ours.table), numbers(right.table), &what);
                close(numbers(ours.bias), numbers(right.bias), &what);
            }
        }
    }

    const SIZES: [[usize; 3]; 4] = [[1, 40, 5], [7, 61, 16], [33, 600, 8], [50, 2500, 24]];

    #[test]
    fn one_operation_equals_the_plain_ones() {
        check(&Device::flex(), &SIZES, 4);
    }

    /// Also in two blocks, the last one short.
    #[test]
    #[ignore = "needs a GPU, of which lavapipe is one: cargo test --lib gpu -- --ignored"]
    fn on_a_gpu_too_it_equals_the_plain_ones() {
        let gpu = crate::kernels::gpu_for_tests();
        check(&gpu, &SIZES, 4);
        check(&gpu, &[[66, 131_072, 3]], 1);
    }

    /// Several blocks, against the softmax of all rows at once.
    #[test]
    fn blocks_add_up_to_the_whole() {
        let vocab = 5000;
        let count = 2 * block_rows(vocab) + 3;
        let (hidden, table, bias) =
            (wave([count, 8], 0.0), wave([vocab, 8], 1.0), wave([1, vocab], 2.0));
        let targets: Vec<i32> = (0..count).map(|i| (i * 7919 % vocab) as i32).collect();
        let targets =
            Tensor::<1, Int>::from_data(TensorData::new(targets, [count]), &Device::flex());
        let rows = Rows {
            hidden: hidden.clone(),
            targets: targets.clone(),
            weights: Tensor::full([count], 1.0 / count as f32, &Device::flex()),
            replaced: Tensor::zeros([count], &Device::flex()),
        };
        let noise = Noise::Seed { seed: 1, first_row: 0 };
        let sampling = Sampling { temperature: 1.0, disallow_correct: false, noise };
        let flat = bias.clone().squeeze_dim(0);
        let both = [plain, guess].map(|way| way(&rows, &table, &flat, &sampling, true));
        let logits = hidden.matmul(table.transpose()) + bias;
        let log_probs = activation::log_softmax(logits.clone(), 1);
        let expected = log_probs.gather(1, targets.unsqueeze_dim(1)).mean().neg();
        let drawn = add_gumbel(logits, 1, 0).argmax(1).squeeze_dim::<1>(1);
        for guesses in both {
            let off: f32 = (guesses.loss - expected.clone()).abs().into_scalar();
            assert!(off < 1e-4, "{off}");
            let differ: i32 = drawn.clone().not_equal(guesses.samples).int().sum().into_scalar();
            assert_eq!(differ, 0);
            let gradients = guesses.gradients.unwrap();
            assert_eq!((gradients.hidden.dims(), gradients.table.dims()), ([count, 8], [vocab, 8]));
            // A softmax moves probability about: over a row its gradient sums to nothing.
            let total: f32 = gradients.bias.sum().into_scalar();
            assert!(total.abs() < 1e-5, "{total}");
        }
    }
}
