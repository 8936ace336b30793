//! One pass of pre-training: the generator's loss, the replacements it draws, the detection of
//! them, and one backward pass for both.
//!
//! Follows `PretrainingModel` in `run_pretraining.py` of google-research/electra. Both losses end
//! in a softmax or a sigmoid whose gradient is known in closed form, so what is handed to
//! autodiff is `Σ output × (its gradient, a constant)`: it has the gradients of the loss.

use burn::tensor::{Int, Tensor, activation};

use super::batch::{MaskedBatch, Totals};
use super::config::{Objective, PretrainConfig};
use super::network::Pretraining;
use super::softmax::{Generated, Noise, Sampling, TiedSoftmax};
use super::variants;
use crate::kernels::DropoutMasks;
use crate::model::Inputs;
use crate::seed::stream;

/// What one pass gave. The losses are this batch's share of the step's means.
#[derive(Debug, Clone)]
pub struct Pass {
    /// Cross entropy of drawn tokens, `[1]`.
    pub gen_loss: Tensor<1>,
    /// Tokens that were guessed in the whole update: what `gen_loss` is a mean over.
    pub guessed: f64,
    /// Binary cross entropy of all tokens (or drawn ones), `[1]`; 0 where nothing is detected.
    pub disc_loss: Tensor<1>,
    /// Its gradients are those of the weighted loss, its value is not, `[1]`; only with autodiff.
    pub backward: Option<Tensor<1>>,
    /// 1 where the generator's first choice is the original, `[batch, drawn]`.
    pub correct: Tensor<2, Int>,
    /// What the generator put in place of drawn tokens, `[batch, drawn]`.
    pub samples: Tensor<2, Int>,
    pub detection: Option<Detection>,
}

/// The discriminator's side, on every token.
#[derive(Debug, Clone)]
pub struct Detection {
    /// The text with its replacements, `[batch, seq]`.
    pub input_ids: Tensor<2, Int>,
    /// 1 where a token is not the original, `[batch, seq]`.
    pub is_replaced: Tensor<2>,
    /// Above 0 means "replaced", `[batch, seq]`.
    pub logits: Tensor<2>,
}

/// The noise of a run: hashes of its seed and of the place of a row in the run.
pub fn seeded_noise(config: &PretrainConfig, batch: &MaskedBatch, purpose: &str) -> Noise {
    let [_, width] = match config.two_towers() {
        true => batch.inputs.input_ids.dims(),
        false => batch.positions.dims(),
    };
    let seed = stream(config.seed, purpose, 0) as u32;
    Noise::Seed { seed, first_row: (batch.first_example as u32).wrapping_mul(width as u32) }
}

/// Runs both networks. Noise has a row a drawn token, or for two towers a row a token.
pub fn pass(
    network: &Pretraining,
    config: &PretrainConfig,
    batch: &MaskedBatch,
    totals: Totals,
    noise: Noise,
    dropout: &mut DropoutMasks,
) -> Pass {
    let sampling = Sampling {
        temperature: config.temperature,
        disallow_correct: config.disallow_correct,
        noise,
    };
    let generated = generate(network, config, batch, totals, &sampling, dropout);
    let mut backward = generated.backward.map(|term| term * config.gen_weight);
    let mut disc_loss = generated.gen_loss.zeros_like();
    let mut detection = None;
    if network.discriminator.is_some() {
        let mut found = detect(network, batch, &generated.samples_at, dropout);
        if config.objective == Objective::Electric {
            let log_probs = generated.log_probs.expect("it has two towers");
            found.is_replaced = variants::is_noise(batch);
            found.logits = variants::noise_logits(found.logits, log_probs, config.mask_prob);
        }
        let loss = detection_loss(config, batch, totals, &found);
        let term = loss.backward.map(|term| term * config.disc_weight);
        backward = match (backward, term) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        disc_loss = loss.value;
        detection = Some(found);
    }
    let inner = |mut found: Detection| {
        found.logits = found.logits.inner();
        found
    };
    Pass {
        gen_loss: generated.gen_loss,
        guessed: generated.guessed,
        disc_loss,
        backward,
        correct: generated.correct,
        samples: generated.samples,
        detection: detection.map(inner),
    }
}

/// What the generator puts in place of drawn tokens, and what it learns.
fn generate(
    network: &Pretraining,
    config: &PretrainConfig,
    batch: &MaskedBatch,
    totals: Totals,
    sampling: &Sampling,
    dropout: &mut DropoutMasks,
) -> Generated {
    let table = network.word_table();
    let Some(generator) = &network.generator else {
        return variants::evenly(table.dims()[0], batch, totals, sampling);
    };
    let softmax = TiedSoftmax { head: &generator.predictions, table };
    if config.two_towers() {
        let hidden = network.generator_hidden(&batch.inputs, dropout);
        return variants::from_both_sides(hidden, &softmax, batch, totals, sampling);
    }
    let inputs = Inputs { input_ids: batch.masked_ids.clone(), ..batch.inputs.clone() };
    from_the_mask(network.generator_hidden(&inputs, dropout), &softmax, batch, totals, sampling)
}

/// The masked generator: its head runs on drawn tokens only.
///
/// # Shapes
/// - hidden: `[batch, seq, width]`
fn from_the_mask(
    hidden: Tensor<3>,
    softmax: &TiedSoftmax,
    batch: &MaskedBatch,
    totals: Totals,
    sampling: &Sampling,
) -> Generated {
    let drawn = gather(hidden, &batch.positions); // [rows, width]
    let (weights, replaced) = (&batch.weights, batch.weights.clone().inner().int());
    let (guesses, backward) =
        softmax.guess(drawn, &batch.targets, (weights, totals.drawn), replaced, sampling);
    let shape = batch.positions.dims();
    let samples = guesses.samples.reshape(shape);
    Generated {
        gen_loss: guesses.loss,
        guessed: totals.drawn,
        backward,
        correct: guesses.correct.reshape(shape),
        samples_at: batch.at_tokens(samples.clone()),
        samples,
        log_probs: None,
    }
}

/// `[batch, seq, width]` at `[batch, drawn]` places: `[batch * drawn, width]`. A product with
/// ones and zeros, because the gradient of a look-up runs on one thread a column on GPUs.
fn gather(hidden: Tensor<3>, positions: &Tensor<2, Int>) -> Tensor<2> {
    let ([_, seq, _], [batch, drawn]) = (hidden.dims(), positions.dims());
    let positions = positions.clone().inner();
    let every = Tensor::<1, Int>::arange(0..seq as i64, &positions.device());
    let every = every.reshape([1, 1, seq]).expand([batch, drawn, seq]);
    let chosen = positions.unsqueeze_dim::<3>(2).expand([batch, drawn, seq]).equal(every);
    chosen.float().matmul(hidden).flatten(0, 1)
}

/// Puts the replacements in and looks for them.
fn detect(
    network: &Pretraining,
    batch: &MaskedBatch,
    samples_at: &Tensor<2, Int>,
    dropout: &mut DropoutMasks,
) -> Detection {
    let (original, counts) = (batch.inputs.input_ids.clone().inner(), batch.counts.clone().inner());
    // A token drawn twice (only with replacement) becomes the mean of its samples, as in the
    // reference: its issue 41.
    let samples = samples_at.clone() / counts.clone().clamp_min(1);
    let drawn = counts.clamp(0, 1);
    let input_ids = original.clone() + (samples - original.clone()) * drawn;
    // What happens to be the original counts as original.
    let is_replaced = input_ids.clone().not_equal(original).float();
    let corrupted = match batch.inputs.input_ids.is_autodiff() {
        true => Tensor::from_inner(input_ids.clone()),
        false => input_ids.clone(),
    };
    let inputs = Inputs { input_ids: corrupted, ..batch.inputs.clone() };
    let head = network.discriminator.as_ref().expect("looked at by the caller");
    let logits = head.forward(network.main_hidden(&inputs, dropout)); // [batch, seq]
    Detection { input_ids, is_replaced, logits }
}

struct Loss {
    value: Tensor<1>,
    backward: Option<Tensor<1>>,
}

/// The mean of the binary cross entropy over real tokens, or over drawn ones.
fn detection_loss(
    config: &PretrainConfig,
    batch: &MaskedBatch,
    totals: Totals,
    found: &Detection,
) -> Loss {
    let weights = match config.disc_on_masked_only {
        true => batch.counts.clone().inner().clamp(0, 1).float() / totals.distinct,
        false => batch.inputs.attention_mask.clone().inner() / totals.tokens,
    };
    let (logits, target) = (found.logits.clone().inner(), found.is_replaced.clone());
    // log(1 + exp(x)) - x y, without an overflow.
    let softplus = activation::relu(logits.clone()) + (-logits.clone().abs()).exp().log1p();
    let value = ((softplus - logits.clone() * target.clone()) * weights.clone()).sum();
    let slope = (activation::sigmoid(logits) - target) * weights;
    let learns = found.logits.is_autodiff();
    let backward = learns.then(|| (found.logits.clone() * slope).sum());
    Loss { value, backward }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::batch::{MaskedExample, collate};
    use super::*;
    use crate::batch::{Features, Target};
    use crate::masking::Drawn;
    use crate::tokenizer::SpecialIds;

    /// A discriminator that knows nothing has a loss of ln 2 a token: also where one was drawn twice.
    #[test]
    fn the_loss_on_drawn_tokens_is_a_mean_over_tokens() {
        let (special, device) =
            (SpecialIds { pad: 0, unk: 1, cls: 2, sep: 3, mask: 4 }, Device::flex());
        let features = Features {
            row: 0,
            input_ids: vec![2, 5, 6, 7, 3],
            token_type_ids: vec![0; 5],
            attention_mask: vec![1; 5],
            target: Target::Nothing,
        };
        let drawn = Drawn { positions: vec![1, 3, 1], masked: vec![true, true, false] };
        let examples = [MaskedExample { features, drawn }];
        let batch = collate(&examples, 0, 5, 3, special, &device);
        let totals = Totals::of(&examples, special);
        let found = Detection {
            input_ids: batch.inputs.input_ids.clone(),
            is_replaced: Tensor::zeros([1, 5], &device),
            logits: Tensor::zeros([1, 5], &device),
        };
        for disc_on_masked_only in [true, false] {
            let config = PretrainConfig { disc_on_masked_only, ..PretrainConfig::default() };
            let loss = detection_loss(&config, &batch, totals, &found).value.into_scalar::<f32>();
            assert!((loss - 2f32.ln()).abs() < 1e-6, "{loss}");
        }
    }
}
