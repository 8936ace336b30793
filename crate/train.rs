//! Fine-tuning, one step at a time: the loop that the command line and the browser share.
//!
//! A caller makes a [`Trainer`] and calls [`Trainer::advance`] until it says
//! [`Progress::Done`]. Between two calls it may stop, pause, draw, or use the model; nothing is
//! lost by waiting. It may also [`Trainer::save`] the run and go on from there another day.
//!
//! A run is for one task, or for several that share a body: then each batch is of one of them.

use serde::{Deserialize, Serialize};

use crate::config::QaHead;
use crate::error::{Error, Result};
use crate::optim::{OptimizerConfig, Schedule};
use crate::tasks::Metric;
use crate::tasks::question_answering::Windowing;

mod order;
mod state;
mod trainer;

pub use trainer::{EvaluationStats, Job, Progress, StepLoss, StepStats, Trainer, Verdict, mean};

/// The settings of a fine-tuning run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct FinetuneConfig {
    pub epochs: f64,
    /// Examples of one forward pass.
    pub batch_size: usize,
    /// Batches of one update: its loss is the mean over all of their examples, or labelled tokens.
    pub accumulate: usize,
    pub learning_rate: f64,
    /// The share of all updates over which the learning rate rises.
    pub warmup: f64,
    pub schedule: Schedule,
    pub weight_decay: f64,
    pub layerwise_decay: f64,
    /// Layer-wise rates with the reference's gap (its issue 51).
    pub layerwise_gap: bool,
    /// `false` is ELECTRA's own Adam.
    pub bias_correction: bool,
    pub max_seq_length: usize,
    /// From the start of one window of a long context to the next, in tokens.
    pub doc_stride: usize,
    /// Of a question; the rest of it is cut off.
    pub max_query_length: usize,
    /// The head that questions are answered with; the model's own where absent.
    pub qa_head: Option<QaHead>,
    /// A second copy of every pair, its texts exchanged.
    pub double_pairs: bool,
    /// Overrides every dropout of the model.
    pub dropout: Option<f64>,
    pub freeze: Freeze,
    /// The share of rows held out where there is no evaluation file.
    pub eval_fraction: f64,
    /// Updates between two evaluations.
    pub eval_every: Option<usize>,
    /// Evaluations of the whole run, evenly spread, where the line above is absent; without both
    /// there is one an epoch.
    pub eval_times: Option<usize>,
    /// Keep the weights of the best evaluation instead of the last; of equal scores that with the
    /// smallest loss.
    pub keep_best: bool,
    /// What evaluations are compared by; the usual one of the task where absent.
    pub metric: Option<Metric>,
    /// End after so many evaluations in a row without a better score.
    pub patience: Option<usize>,
    /// The loss is read back every so many updates: a read-back stalls the GPU.
    pub read_every: usize,
    pub seed: u64,
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        FinetuneConfig {
            epochs: 3.0,
            batch_size: 32,
            accumulate: 1,
            learning_rate: 3e-4,
            warmup: 0.1,
            schedule: Schedule::Sequential,
            weight_decay: 0.01,
            layerwise_decay: 1.0,
            layerwise_gap: false,
            bias_correction: true,
            max_seq_length: 128,
            doc_stride: 128,
            max_query_length: 64,
            qa_head: None,
            double_pairs: false,
            dropout: None,
            freeze: Freeze::Nothing,
            eval_fraction: 0.15,
            eval_every: None,
            eval_times: None,
            keep_best: false,
            metric: None,
            patience: None,
            read_every: 1,
            seed: 0,
        }
    }
}

/// What stays as it was pre-trained; settings spell it as a word or a number of layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Freeze {
    #[serde(rename = "none")]
    Nothing,
    /// The embeddings and their projection.
    Embeddings,
    /// Everything but the head.
    Body,
    /// The embeddings and that many layers from below.
    #[serde(untagged)]
    Layers(usize),
}

impl Freeze {
    /// Does the parameter of this Hugging Face name stay as it is?
    fn holds(self, name: &str) -> bool {
        let layer = name.strip_prefix("electra.encoder.layer.");
        let layer: Option<usize> = layer.and_then(|rest| rest.split('.').next()?.parse().ok());
        match self {
            Freeze::Nothing => false,
            Freeze::Embeddings => name.starts_with("electra.embeddings"),
            Freeze::Layers(n) => match layer {
                Some(i) => i < n,
                None => name.starts_with("electra.embeddings"),
            },
            Freeze::Body => name.starts_with("electra."),
        }
    }
}

impl FinetuneConfig {
    /// # Errors
    /// A number is outside its range.
    pub fn check(&self) -> Result<()> {
        let wrong = |field: &str, problem: &str| Err(Error::new(field, problem));
        if self.batch_size == 0 || self.accumulate == 0 || self.read_every == 0 {
            return wrong("batchSize, accumulate, readEvery", "must be at least 1");
        }
        if !(self.epochs > 0.0 && self.epochs.is_finite()) {
            return wrong("epochs", "must be above 0");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return wrong("learningRate", "must be above 0 and at most 1");
        }
        if !(0.0..=1.0).contains(&self.warmup) {
            return wrong("warmup", "is a share of the steps, from 0 to 1");
        }
        if self.weight_decay.is_nan() || self.weight_decay < 0.0 {
            return wrong("weightDecay", "must not be negative");
        }
        if !(self.layerwise_decay > 0.0 && self.layerwise_decay <= 1.0) {
            return wrong("layerwiseDecay", "must be above 0 and at most 1");
        }
        if self.max_seq_length < 4 {
            return wrong("maxSeqLength", "must be at least 4");
        }
        if self.doc_stride == 0 || self.max_query_length == 0 {
            return wrong("docStride, maxQueryLength", "must be at least 1");
        }
        if self.dropout.is_some_and(|p| !(0.0..1.0).contains(&p)) {
            return wrong("dropout", "must be from 0 up to, but not including, 1");
        }
        if !(self.eval_fraction > 0.0 && self.eval_fraction < 1.0) {
            return wrong("evalFraction", "must be between 0 and 1");
        }
        if [self.eval_every, self.eval_times, self.patience].contains(&Some(0)) {
            return wrong("evalEvery, evalTimes, patience", "must be at least 1");
        }
        Ok(())
    }

    /// Updates of one pass over the examples of every task.
    pub fn steps_per_epoch(&self, examples: &[usize]) -> usize {
        let batches: usize = examples.iter().map(|count| count.div_ceil(self.batch_size)).sum();
        batches.div_ceil(self.accumulate).max(1)
    }

    /// Updates of the whole run.
    pub fn steps(&self, examples: &[usize]) -> usize {
        ((self.steps_per_epoch(examples) as f64 * self.epochs).round() as usize).max(1)
    }

    /// How texts are cut.
    pub fn windowing(&self) -> Windowing {
        let FinetuneConfig { max_seq_length, doc_stride, max_query_length, .. } = *self;
        Windowing { max_seq_length, doc_stride, max_query_length }
    }

    fn optimizer(&self, steps: usize, num_hidden_layers: usize) -> OptimizerConfig {
        OptimizerConfig {
            learning_rate: self.learning_rate,
            warmup_steps: (steps as f64 * self.warmup).ceil() as usize,
            total_steps: steps,
            schedule: self.schedule,
            weight_decay: self.weight_decay,
            bias_correction: self.bias_correction,
            layerwise_lr_decay: self.layerwise_decay,
            layerwise_gap: self.layerwise_gap,
            num_hidden_layers,
            ..OptimizerConfig::default()
        }
    }
}

#[cfg(test)]
mod tests;
