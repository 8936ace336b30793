//! What ELECTRA was compared with and grew into: research variants, off by default. Nothing of the
//! usual run is here, and a reader who wants that can pass this file by.
//!
//! - `uniform_generator`: replacements are drawn evenly, with no generator (Clark et al. 2020,
//!   section 3.4).
//! - `two_tower_generator`: a network from left to right and one from right to left guess every
//!   token from both sides, without masks.
//! - The objective `electric`: with two towers, the discriminator's logits are energies (Clark et
//!   al. 2020b), so that its score of a text is a pseudo-likelihood.
//! - `disentangled_embeddings`: the discriminator adds tables of its own to the generator's, and
//!   its gradient stops there (DeBERTaV3, section 3.3: GDES).

use std::collections::BTreeMap;

use burn::module::Module;
use burn::nn::Embedding;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::batch::{MaskedBatch, Totals};
use super::softmax::{Generated, Sampling, TiedSoftmax, block_rows};
use crate::config::ElectraConfig;
use crate::kernels::DropoutMasks;
use crate::model::{Embeddings, Encoder, Inputs, additive_mask, table};
use crate::pretrained::HostTensor;

// ---------------------------------------------------------------------------------------------
// No generator

/// Replacements from the whole vocabulary alike; the loss is that of knowing nothing.
pub fn evenly(vocab: usize, batch: &MaskedBatch, totals: Totals, sampling: &Sampling) -> Generated {
    let shape = batch.positions.dims();
    let targets = batch.targets.clone().inner().flatten(0, 1);
    let weights = batch.weights.clone().inner();
    let samples = draw_evenly(&targets, vocab, sampling).reshape(shape);
    Generated {
        gen_loss: weights.sum() * ((vocab as f64).ln() / totals.drawn),
        guessed: totals.drawn,
        backward: None,
        correct: Tensor::zeros_like(&samples),
        samples_at: batch.at_tokens(samples.clone()),
        samples,
        log_probs: None,
    }
}

/// In blocks, as the softmax runs: all of it at once would be too large.
fn draw_evenly(targets: &Tensor<1, Int>, vocab: usize, sampling: &Sampling) -> Tensor<1, Int> {
    let ([count], device) = (targets.dims(), targets.device());
    let block = |start: usize| {
        let length = block_rows(vocab).min(count - start);
        let targets = targets.clone().narrow(0, start, length).unsqueeze_dim::<2>(1);
        sampling.narrow(start, length).draw(Tensor::zeros([length, vocab], &device), targets)
    };
    Tensor::cat((0..count).step_by(block_rows(vocab)).map(block).collect(), 0)
}

// ---------------------------------------------------------------------------------------------
// Two towers

/// The last hidden states of both, side by side: each looks at one side of a token but not at it.
///
/// # Shapes
/// - embedded: `[batch, seq, embedding]`, output: `[batch, seq, 2 width]`
pub fn both_sides(
    [forward, backward]: [&Encoder; 2],
    embedded: Tensor<3>,
    inputs: &Inputs,
    dropout: &mut DropoutMasks,
) -> Tensor<3> {
    let mask = additive_mask(inputs.attention_mask.clone());
    let ([_, seq], device) = (inputs.input_ids.dims(), inputs.attention_mask.device());
    let sided = |seen: fn(usize, usize) -> bool| {
        (mask.clone() + one_sided(seq, seen, &device)).clamp_min(-10000.0)
    };
    let left = forward.forward(embedded.clone(), sided(|from, to| to <= from), dropout);
    let right = backward.forward(embedded, sided(|from, to| to >= from), dropout);
    // Token t is guessed from what its neighbours saw. The ends wrap round, to [CLS] and [SEP],
    // which nobody guesses.
    Tensor::cat(vec![left.roll_dim(1, 1), right.roll_dim(-1, 1)], 2)
}

/// 0 where `seen(from, to)`, -10000 elsewhere: `[1, 1, seq, seq]`.
fn one_sided(seq: usize, seen: fn(usize, usize) -> bool, device: &Device) -> Tensor<4> {
    let cells = (0..seq * seq).map(|i| if seen(i / seq, i % seq) { 0f32 } else { -10000.0 });
    Tensor::from_data(TensorData::new(cells.collect::<Vec<_>>(), [1, 1, seq, seq]), device)
}

/// Guesses every token of the text as it is; those that were drawn are replaced.
///
/// # Shapes
/// - hidden: `[batch, seq, 2 width]`, of [`both_sides`]
pub fn from_both_sides(
    hidden: Tensor<3>,
    softmax: &TiedSoftmax,
    batch: &MaskedBatch,
    totals: Totals,
    sampling: &Sampling,
) -> Generated {
    let shape = batch.inputs.input_ids.dims();
    let counts = batch.counts.clone().inner();
    let (targets, weights) = (&batch.inputs.input_ids, (&batch.candidates, totals.candidates));
    let (hidden, replaced) = (hidden.flatten(0, 1), counts.clone().clamp(0, 1));
    let (guesses, backward) = softmax.guess(hidden, targets, weights, replaced, sampling);
    let (samples, correct) = (guesses.samples.reshape(shape), guesses.correct.reshape(shape));
    let positions = batch.positions.clone().inner();
    Generated {
        gen_loss: guesses.loss,
        guessed: totals.candidates,
        backward,
        correct: correct.gather(1, positions.clone()),
        samples_at: samples.clone() * counts,
        samples: samples.gather(1, positions),
        log_probs: Some(guesses.log_probs.reshape(shape)),
    }
}

// ---------------------------------------------------------------------------------------------
// Electric

/// 1 for every token that was drawn, `[batch, seq]`: noise is noise, also where it happens to be
/// the original.
pub fn is_noise(batch: &MaskedBatch) -> Tensor<2> {
    batch.counts.clone().inner().clamp(0, 1).float()
}

/// The logit of "noise" where a network gives energies: with the log-probability that the noise
/// gives the token, and the odds of noise.
///
/// # Shapes
/// - energies, log_probs and output: `[batch, seq]`
pub fn noise_logits(energies: Tensor<2>, log_probs: Tensor<2>, mask_prob: f64) -> Tensor<2> {
    let odds = (mask_prob / (1.0 - mask_prob)).ln();
    energies + (log_probs + odds)
}

// ---------------------------------------------------------------------------------------------
// Gradient-disentangled embedding sharing

/// Differences to shared tables.
#[derive(Module, Debug)]
pub struct Delta {
    pub word_embeddings: Embedding,
    pub position_embeddings: Embedding,
}

impl Delta {
    pub fn new(config: &ElectraConfig, device: &Device) -> Self {
        let table = |rows| table(rows, config.embedding_size, device);
        Delta {
            word_embeddings: table(config.vocab_size),
            position_embeddings: table(config.max_position_embeddings),
        }
    }

    /// The embedded tokens, where the gradient of the shared tables stops: `[batch, seq, embedding]`.
    pub fn embed(
        &self,
        shared: &Embeddings,
        inputs: &Inputs,
        dropout: &mut DropoutMasks,
    ) -> Tensor<3> {
        let sum =
            |shared: &Embedding, own: &Embedding| shared.weight.val().detach() + own.weight.val();
        let words = sum(&shared.word_embeddings, &self.word_embeddings);
        let positions = sum(&shared.position_embeddings, &self.position_embeddings);
        shared.forward_with(words, positions, inputs, dropout)
    }
}

/// The tensor of that name with its difference added, where there is one: a folder that is taken
/// away holds one table.
pub fn with_delta(name: &str, all: &BTreeMap<String, HostTensor>) -> HostTensor {
    let mut tensor = all[name].clone();
    let delta = name.strip_prefix("electra.embeddings.").map(|rest| format!("delta.{rest}"));
    if let Some(delta) = delta.and_then(|name| all.get(&name)) {
        tensor.values.iter_mut().zip(&delta.values).for_each(|(value, delta)| *value += delta);
    }
    tensor
}
