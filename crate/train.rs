//! Fine-tuning, one step at a time: the loop that the command line and the browser share.
//!
//! A caller makes a [`Trainer`] and calls [`Trainer::advance`] until it says
//! [`Progress::Done`]. Between two calls it may stop, pause, draw, or use the model; nothing is
//! lost by waiting.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Features, Width, collate};
use crate::checkpoint::Place;
use crate::device::is_cpu;
use crate::error::{Error, Result};
use crate::heads::Electra;
use crate::kernels::seed_dropout;
use crate::optim::{Optimizer, OptimizerConfig, Schedule};
use crate::predict::Scorer;
use crate::seed::stream;
use crate::shards::{self, examples_at_once};
use crate::tasks::question_answering::Windowing;
use crate::tasks::{self, Encoded, Evaluation, Examples};

/// The settings of a fine-tuning run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct FinetuneConfig {
    pub epochs: f64,
    /// Examples of one forward pass.
    pub batch_size: usize,
    /// Batches whose gradients are averaged into one update.
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
    /// A second copy of every pair, its texts exchanged.
    pub double_pairs: bool,
    /// Overrides every dropout of the model.
    pub dropout: Option<f64>,
    pub freeze: Freeze,
    /// The share of rows held out where there is no evaluation file.
    pub eval_fraction: f64,
    /// Updates between two evaluations; once an epoch where absent.
    pub eval_every: Option<usize>,
    /// Keep the weights of the best evaluation instead of the last.
    pub keep_best: bool,
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
            double_pairs: false,
            dropout: None,
            freeze: Freeze::Nothing,
            eval_fraction: 0.15,
            eval_every: None,
            keep_best: false,
            patience: None,
            read_every: 1,
            seed: 0,
        }
    }
}

/// What stays as it was pre-trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "FreezeWord", into = "FreezeWord")]
pub enum Freeze {
    Nothing,
    /// The embeddings and their projection.
    Embeddings,
    /// The embeddings and that many layers from below.
    Layers(usize),
    /// Everything but the head.
    Body,
}

/// How settings spell [`Freeze`]: a word or a number of layers.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum FreezeWord {
    Layers(usize),
    Word(FreezeName),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FreezeName {
    None,
    Embeddings,
    Body,
}

impl From<FreezeWord> for Freeze {
    fn from(word: FreezeWord) -> Self {
        match word {
            FreezeWord::Layers(n) => Freeze::Layers(n),
            FreezeWord::Word(FreezeName::None) => Freeze::Nothing,
            FreezeWord::Word(FreezeName::Embeddings) => Freeze::Embeddings,
            FreezeWord::Word(FreezeName::Body) => Freeze::Body,
        }
    }
}

impl From<Freeze> for FreezeWord {
    fn from(freeze: Freeze) -> Self {
        match freeze {
            Freeze::Nothing => FreezeWord::Word(FreezeName::None),
            Freeze::Embeddings => FreezeWord::Word(FreezeName::Embeddings),
            Freeze::Layers(n) => FreezeWord::Layers(n),
            Freeze::Body => FreezeWord::Word(FreezeName::Body),
        }
    }
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
        if self.eval_every == Some(0) || self.patience == Some(0) {
            return wrong("evalEvery, patience", "must be at least 1");
        }
        Ok(())
    }

    /// Updates of one pass over `examples`.
    pub fn steps_per_epoch(&self, examples: usize) -> usize {
        examples.div_ceil(self.batch_size * self.accumulate).max(1)
    }

    /// Updates of the whole run.
    pub fn steps(&self, examples: usize) -> usize {
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

/// What one call of [`Trainer::advance`] did.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Progress {
    Step(StepStats),
    Evaluating { done: usize, total: usize },
    Evaluation { step: usize, epoch: f64, evaluation: Evaluation },
    Done { step: usize, steps: usize },
}

/// One update.
#[derive(Debug, Clone, Serialize)]
pub struct StepStats {
    /// Updates done, this one included.
    pub step: usize,
    pub steps: usize,
    /// Passes over the data, for example 1.25.
    pub epoch: f64,
    pub learning_rate: f64,
    pub examples: usize,
    /// Tokens seen in this update, without padding.
    pub tokens: usize,
    /// What was read back since the last time; empty between two read-backs.
    pub losses: Vec<StepLoss>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepLoss {
    pub step: usize,
    pub loss: f32,
    /// Before the clip.
    pub grad_norm: f32,
}

/// A fine-tuning run.
#[derive(Debug)]
pub struct Trainer {
    config: FinetuneConfig,
    /// On the autodiff device; only ever absent inside an update.
    model: Option<Electra>,
    optimizer: Optimizer,
    train: Vec<Features>,
    eval: Examples,
    encoded: Encoded,
    width: Width,
    device: Device,
    /// Micro-batches done.
    micro_step: usize,
    steps: usize,
    /// The order of the rows in the epoch at hand.
    order: (usize, Vec<usize>),
    /// Loss and gradient norm of updates that were not read back yet, `[2]` each.
    unread: Vec<(usize, Tensor<1>)>,
    scoring: Option<Scorer>,
    evaluated_at: Option<usize>,
    best: Option<Best>,
}

/// The best evaluation so far.
#[derive(Debug)]
struct Best {
    score: f64,
    model: Electra,
    /// Evaluations since then.
    since: usize,
}

impl Trainer {
    /// Prepares a run; `model` is on the plain device.
    ///
    /// # Errors
    /// A setting is out of range, or a set is empty.
    pub fn new(
        config: FinetuneConfig,
        model: Electra,
        train: Vec<Features>,
        eval: Examples,
        encoded: Encoded,
        device: &Device,
    ) -> Result<Self> {
        config.check()?;
        if train.is_empty() || encoded.features.is_empty() {
            let place = if train.is_empty() { "training data" } else { "evaluation data" };
            return Err(Error::new(place, "there is no row to use"));
        }
        let steps = config.steps(train.len());
        let optimizer = config.optimizer(steps, model.electra.encoder.layers.len());
        let model = model.map(&mut FreezeMapper { at: Place::default(), freeze: config.freeze });
        let scorer = Scorer::new(&encoded.features, config.batch_size, config.max_seq_length);
        Ok(Trainer {
            optimizer: Optimizer::new(optimizer),
            model: Some(model.train()),
            train,
            width: eval.width(),
            eval,
            encoded,
            device: device.clone(),
            micro_step: 0,
            steps,
            order: (usize::MAX, Vec::new()),
            unread: Vec::new(),
            scoring: Some(scorer),
            evaluated_at: None,
            best: None,
            config,
        })
    }

    /// The model as it stands, ready for inference.
    pub fn model(&self) -> Electra {
        self.training_model().valid()
    }

    /// The model to take away: the best one where that is to be kept, else as it stands.
    pub fn result(&self) -> Electra {
        match self.best.as_ref().filter(|_| self.config.keep_best) {
            Some(best) => best.model.clone(),
            None => self.model(),
        }
    }

    pub fn max_seq_length(&self) -> usize {
        self.config.max_seq_length
    }

    /// Makes the run end with the update that was done last; `advance` still evaluates it.
    pub fn finish_early(&mut self) {
        self.steps = self.optimizer.step;
    }

    /// Does one thing: a batch of an evaluation, or an update.
    ///
    /// # Errors
    /// The device failed, or the loss is no longer a number.
    pub async fn advance(&mut self) -> Result<Progress> {
        if let Some(scorer) = self.scoring.take() {
            return self.score(scorer).await;
        }
        let step = self.optimizer.step;
        let due = step == self.steps || step.is_multiple_of(self.eval_every());
        if due && self.evaluated_at != Some(step) {
            return self.score(self.scorer()).await;
        }
        if step == self.steps {
            return Ok(Progress::Done { step, steps: self.steps });
        }
        self.update().await
    }

    fn training_model(&self) -> &Electra {
        self.model.as_ref().expect("a model is there between updates")
    }

    fn eval_every(&self) -> usize {
        self.config.eval_every.unwrap_or_else(|| self.config.steps_per_epoch(self.train.len()))
    }

    fn epoch(&self) -> f64 {
        self.optimizer.step as f64 / self.config.steps_per_epoch(self.train.len()) as f64
    }

    fn scorer(&self) -> Scorer {
        Scorer::new(&self.encoded.features, self.config.batch_size, self.config.max_seq_length)
    }

    async fn score(&mut self, mut scorer: Scorer) -> Result<Progress> {
        scorer.advance(&self.model(), &self.encoded.features, &self.device).await?;
        let (done, total) = (scorer.done(), self.encoded.features.len());
        if done < total {
            self.scoring = Some(scorer);
            return Ok(Progress::Evaluating { done, total });
        }
        let step = self.optimizer.step;
        self.evaluated_at = Some(step);
        let evaluation = self.eval.evaluate(&self.encoded, &scorer.finish());
        self.compare(evaluation.score().1);
        Ok(Progress::Evaluation { step, epoch: self.epoch(), evaluation })
    }

    /// Notes whether the score is the best one, and ends the run where none was for too long.
    fn compare(&mut self, score: f64) {
        match &mut self.best {
            Some(best) if score <= best.score => best.since += 1,
            _ => self.best = Some(Best { score, model: self.model(), since: 0 }),
        }
        let since = self.best.as_ref().map_or(0, |best| best.since);
        if self.config.patience.is_some_and(|patience| since >= patience) {
            self.finish_early();
        }
    }

    async fn update(&mut self) -> Result<Progress> {
        let learning_rate = self.optimizer.config.learning_rate_at(self.optimizer.step);
        let (loss, grads, examples, tokens) = self.gradients();
        let model = self.model.take().expect("a model is there between updates");
        let (model, norm) = self.optimizer.update(model, grads);
        self.model = Some(model);
        let step = self.optimizer.step;
        self.unread.push((step, Tensor::cat(vec![loss, norm], 0)));
        let read = step.is_multiple_of(self.config.read_every) || step == self.steps;
        let losses = if read { self.read().await? } else { Vec::new() };
        let (steps, epoch) = (self.steps, self.epoch());
        Ok(Progress::Step(StepStats {
            step,
            steps,
            epoch,
            learning_rate,
            examples,
            tokens,
            losses,
        }))
    }

    /// The mean loss and gradients of the micro-batches of one update.
    fn gradients(&mut self) -> (Tensor<1>, GradientsParams, usize, usize) {
        let device = self.device.clone().autodiff();
        let mut parts = Vec::new();
        for _ in 0..self.config.accumulate {
            parts.extend(self.next_parts(&device));
        }
        let examples = parts.iter().map(|part| part.batch.examples).sum();
        let tokens = parts.iter().map(|part| part.batch.tokens).sum();
        let weight = 1.0 / self.config.accumulate as f64;
        let (kind, width) = (self.eval.kind(), self.width);
        let (loss, grads) =
            shards::gradients(self.training_model(), parts, &device, |model, part| {
                seed_dropout(part.seed);
                let logits = model.flat_logits(&part.batch.inputs);
                let loss = tasks::loss(kind, logits, &part.batch, width, part.terms) * weight;
                shards::Part { report: loss.clone().inner(), loss }
            });
        (loss, grads, examples, tokens)
    }

    /// The next micro-batch in the seeded order, in the parts that go through the network at once.
    fn next_parts(&mut self, device: &Device) -> Vec<Part> {
        let per_epoch = self.train.len().div_ceil(self.config.batch_size);
        let (epoch, position) = (self.micro_step / per_epoch, self.micro_step % per_epoch);
        if self.order.0 != epoch {
            self.order = (epoch, shuffled(self.train.len(), self.config.seed, epoch));
        }
        let step = self.micro_step as u64;
        self.micro_step += 1;
        let rows = self.order.1.chunks(self.config.batch_size).nth(position).expect("in the epoch");
        let seed = stream(self.config.seed, "dropout", step);
        let FinetuneConfig { batch_size, max_seq_length, .. } = self.config;
        let at_once = examples_at_once(batch_size, max_seq_length, &self.device);
        let parts = rows.chunks(at_once).enumerate();
        let terms = rows.iter().map(|row| self.train[*row].target.terms()).sum();
        let part = |(number, part): (usize, &[usize])| Part {
            batch: self.collate(part, device),
            terms,
            seed: stream(seed, "part", number as u64),
        };
        parts.map(part).collect()
    }

    fn collate(&self, rows: &[usize], device: &Device) -> Batch {
        let examples: Vec<&Features> = rows.iter().map(|row| &self.train[*row]).collect();
        let full = if is_cpu(&self.device) { examples.len() } else { self.config.batch_size };
        collate(&examples, full, self.config.max_seq_length, self.width, device)
    }

    /// Reads the waiting losses back, all at once.
    async fn read(&mut self) -> Result<Vec<StepLoss>> {
        let (steps, tensors): (Vec<_>, Vec<_>) = self.unread.drain(..).unzip();
        let data = Tensor::cat(tensors, 0).into_data_async().await;
        let data = data.map_err(|e| Error::new("reading the loss back", format!("{e:?}")))?;
        let values = data.try_into_vec::<f32>().expect("losses are f32");
        let pairs = steps.into_iter().zip(values.chunks(2));
        let losses: Vec<StepLoss> =
            pairs.map(|(step, v)| StepLoss { step, loss: v[0], grad_norm: v[1] }).collect();
        match losses.iter().find(|l| !(l.loss.is_finite() && l.grad_norm.is_finite())) {
            None => Ok(losses),
            Some(bad) => Err(Error::new(format!("step {}", bad.step), "the loss is not a number")
                .fix("Lower the learning rate, or choose the CPU if this comes at once.")),
        }
    }
}

/// Rows that go through the network at once.
struct Part {
    batch: Batch,
    /// Of the loss of the whole micro-batch.
    terms: usize,
    /// Of the dropout.
    seed: u64,
}

struct FreezeMapper {
    at: Place,
    freeze: Freeze,
}

impl ModuleMapper for FreezeMapper {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let trained = !self.freeze.holds(&self.at.name());
        param.set_require_grad(trained)
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.at.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.at.exit();
    }
}

/// The order of an epoch.
fn shuffled(rows: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(stream(seed, "shuffle", epoch as u64));
    order.shuffle(&mut rng);
    order
}
