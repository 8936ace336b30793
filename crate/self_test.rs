//! Does this GPU compute what the CPU computes?
//!
//! Drivers and shader compilers have given silently wrong results, and in a browser a kernel
//! that fails validation is only logged and skipped. So before a GPU is trusted, it takes a few
//! training steps of a small ELECTRA beside the CPU; natively a softmax over words too, which only
//! pre-training has.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use serde::Serialize;

use crate::batch::{Features, Target, Width, collate};
use crate::config::ElectraConfig;
use crate::error::{Error, Result};
use crate::heads::{Architecture, Electra};
use crate::kernels::DropoutMasks;
use crate::optim::{Optimizer, OptimizerConfig};
#[cfg(not(target_family = "wasm"))]
use crate::pretrain::softmax::{self, Noise, Rows, Sampling};
use crate::pretrained;
use crate::tasks::classification;

/// How far the GPU was from the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SelfTest {
    /// The largest relative difference of a loss.
    pub loss_error: f64,
    /// The largest absolute difference of a weight after the steps, or of a gradient of the softmax
    /// over words.
    pub weight_error: f64,
}

const STEPS: usize = 2;
const LABELS: usize = 3;
/// Each step moves a weight by up to the learning rate, so a wrong gradient shows far above this.
const LEARNING_RATE: f64 = 1e-2;
const LIMIT: f64 = 1e-3;
/// Its masks are hashes of integers that wrap round, which nothing else here has.
const DROPOUT: f64 = 0.1;

/// Trains on the device and on the CPU and compares.
///
/// # Errors
/// They disagree, or the device fails.
pub async fn self_test(device: &Device) -> Result<SelfTest> {
    let (found, expected) = (compute(device).await?, compute(&Device::flex()).await?);
    let pairs = found.losses.iter().zip(&expected.losses);
    let loss_error = largest(pairs.map(|(a, b)| f64::from((a - b).abs() / b.abs())));
    let pairs = found.values.iter().zip(&expected.values);
    let weight_error = largest(pairs.map(|(a, b)| f64::from((a - b).abs())));
    let test = SelfTest { loss_error, weight_error };
    if test.loss_error < LIMIT && test.weight_error < LIMIT {
        return Ok(test);
    }
    let problem = format!(
        "it computes wrong results (loss off by {loss_error:.1e}, weights by {weight_error:.1e})"
    );
    Err(Error::new("GPU self-test", problem).fix("Use the CPU, or update the graphics driver."))
}

/// The largest, where not-a-number counts as infinitely large.
fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |max, x| if x.is_nan() { f64::INFINITY } else { max.max(x) })
}

/// What is compared.
struct Computed {
    losses: Vec<f32>,
    /// Weights after the steps, gradients.
    values: Vec<f32>,
}

async fn compute(device: &Device) -> Result<Computed> {
    #[cfg_attr(target_family = "wasm", expect(unused_mut))]
    let mut computed = train(&config(DROPOUT), device).await?;
    #[cfg(not(target_family = "wasm"))]
    guess(device, &mut computed).await?;
    Ok(computed)
}

async fn train(config: &ElectraConfig, device: &Device) -> Result<Computed> {
    let architecture = Architecture::SequenceClassification;
    let autodiff = device.clone().autodiff();
    let mut model = pretrained::fresh(config, architecture, 1, &autodiff);
    let optimizer = OptimizerConfig {
        learning_rate: LEARNING_RATE,
        total_steps: 2 * STEPS,
        // Adam divides by the gradient's size: where that is nearly nothing, a difference of
        // rounding would become one of direction.
        epsilon: 1e-3,
        ..OptimizerConfig::default()
    };
    let mut optimizer = Optimizer::new(optimizer);
    let mut losses = Vec::new();
    for step in 0..STEPS {
        let (next, loss) = update(model, &mut optimizer, step, &autodiff).await?;
        model = next;
        losses.push(loss);
    }
    let weights = pretrained::tensors(&model.valid()).await?;
    Ok(Computed { losses, values: weights.into_values().flat_map(|t| t.values).collect() })
}

async fn update(
    model: Electra,
    optimizer: &mut Optimizer,
    step: usize,
    device: &Device,
) -> Result<(Electra, f32)> {
    let examples: Vec<Features> = (0..3).map(|row| example(row + 3 * step)).collect();
    let examples: Vec<&Features> = examples.iter().collect();
    let batch = collate(&examples, 4, 16, Width { labels: LABELS, per_token: false }, device);
    let mut dropout = DropoutMasks::seeded(step as u64);
    let logits = model.training_logits(&batch.inputs, batch.targets.clone(), &mut dropout);
    let loss = classification::loss(logits, batch.targets, batch.examples);
    let grads = GradientsParams::from_grads(loss.backward(), &model);
    let (model, _) = optimizer.update(model, grads);
    Ok((model, read(loss.inner()).await?[0]))
}

async fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let data = tensor.into_data_async().await;
    let data = data.map_err(|e| Error::new("GPU self-test", format!("{e:?}")))?;
    Ok(data.try_into_vec::<f32>().expect("floats are f32"))
}

/// The softmax over words, as a generator learns and draws from it.
#[cfg(not(target_family = "wasm"))]
async fn guess(device: &Device, computed: &mut Computed) -> Result<()> {
    // No multiples of a tile.
    const ROWS: usize = 37;
    const WORDS: usize = 150;
    const WIDTH: usize = 24;
    let wave = |count: usize, step: f32| (0..count).map(|i| (i as f32 * step).sin()).collect();
    let floats = |values: Vec<f32>| Tensor::<1>::from_data(values.as_slice(), device);
    let ids = |step| {
        let ids: Vec<i32> = (0..ROWS).map(|row| (row * step % WORDS) as i32).collect();
        Tensor::from_data(ids.as_slice(), device)
    };
    let rows = Rows {
        hidden: floats(wave(ROWS * WIDTH, 0.7)).reshape([ROWS, WIDTH]),
        targets: ids(31),
        weights: Tensor::ones([ROWS], device),
        replaced: Tensor::ones([ROWS], device),
    };
    let table = floats(wave(WORDS * WIDTH, 1.3)).reshape([WORDS, WIDTH]);
    let noise = Noise::Seed { seed: 1, first_row: 0 };
    let sampling = Sampling { temperature: 1.0, disallow_correct: false, noise };
    let guesses = softmax::guess(&rows, &table, &floats(wave(WORDS, 0.3)), &sampling, true);
    let gradients = guesses.gradients.expect("they were asked for");
    // The log-probabilities are those of the words that were drawn: another draw shows.
    computed.losses.push(read(guesses.loss).await?[0]);
    for values in [guesses.log_probs, gradients.bias] {
        computed.values.extend(read(values).await?);
    }
    for values in [gradients.hidden, gradients.table] {
        computed.values.extend(read(values).await?);
    }
    Ok(())
}

/// Small, but with every operation of a real one.
fn config(dropout: f64) -> ElectraConfig {
    let mut config = ElectraConfig {
        vocab_size: 50,
        embedding_size: 16,
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 64,
        hidden_dropout_prob: dropout,
        attention_probs_dropout_prob: dropout,
        max_position_embeddings: 16,
        initializer_range: 0.2,
        ..ElectraConfig::default()
    };
    config.set_labels(&["0", "1", "2"].map(String::from));
    config
}

fn example(row: usize) -> Features {
    let length = 5 + 4 * (row % 3);
    let input_ids = (0..length).map(|i| ((row * 17 + i * 7) % 49 + 1) as u32).collect();
    let token_type_ids = (0..length).map(|i| u32::from(i > length / 2)).collect();
    let attention_mask = vec![1; length];
    Features { row, input_ids, token_type_ids, attention_mask, target: Target::Class(row % LABELS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_agrees_with_itself() {
        let test = pollster::block_on(self_test(&Device::flex())).unwrap();
        assert_eq!(test, SelfTest { loss_error: 0.0, weight_error: 0.0 });
    }

    #[test]
    fn values_are_dropped_out() {
        let losses =
            |dropout| pollster::block_on(train(&config(dropout), &Device::flex())).unwrap().losses;
        assert_ne!(losses(DROPOUT), losses(0.0));
    }

    #[test]
    fn not_a_number_is_the_largest_error() {
        assert_eq!(largest([1.0, f64::NAN, 2.0].into_iter()), f64::INFINITY);
    }
}
