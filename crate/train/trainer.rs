//! The state machine of a fine-tuning run: [`Trainer::advance`] does an update, or a batch of an
//! evaluation, and returns.
//!
//! A run has a [`Job`] for each of its tasks, usually one. An update is over `accumulate`
//! micro-batches, each of one job; on a CPU a micro-batch is cut into parts (`gradients.rs`).

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::order::{self, Rows};
use super::state::Fingerprint;
use super::{FinetuneConfig, Freeze};
use crate::batch::{Batch, Features, Width, collate};
use crate::config::ElectraConfig;
use crate::device::is_cpu;
use crate::error::{Error, Result};
use crate::gradients::{self, examples_at_once};
use crate::heads::{Electra, Head};
use crate::kernels::DropoutMasks;
use crate::model::ElectraModel;
use crate::optim::Optimizer;
use crate::predict::Scorer;
use crate::pretrained::{self, ModelFiles, Place};
use crate::seed::stream;
use crate::tasks::{self, Encoded, Examples, Measured, architecture};

/// What one call of [`Trainer::advance`] did.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Progress {
    Step(StepStats),
    Evaluating { done: usize, total: usize },
    Evaluation(Box<EvaluationStats>),
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
    /// The task of each batch, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<usize>,
    /// What was read back since the last time; empty between two read-backs.
    pub losses: Vec<StepLoss>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepLoss {
    pub step: usize,
    pub loss: f32,
    /// Before the clip.
    pub grad_norm: f32,
}

/// An evaluation of one task that is done.
#[derive(Debug, Clone, Serialize)]
pub struct EvaluationStats {
    /// Updates done.
    pub step: usize,
    pub epoch: f64,
    /// The number of the task, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<usize>,
    #[serde(flatten)]
    pub measured: Measured,
}

/// What an evaluation comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The name of the score.
    pub metric: String,
    /// The higher the better.
    pub score: f64,
    /// The mean loss; answers have none.
    #[serde(default)]
    pub loss: Option<f64>,
    /// Was every example given the same label, though they have several?
    pub is_collapsed: bool,
    /// Above it, a question has no answer; where some have none.
    pub no_answer_threshold: Option<f64>,
}

impl From<&Measured> for Verdict {
    fn from(measured: &Measured) -> Self {
        Verdict {
            metric: measured.metric.to_string(),
            score: measured.score,
            loss: measured.evaluation.loss(),
            is_collapsed: measured.is_collapsed,
            no_answer_threshold: measured.evaluation.no_answer_threshold(),
        }
    }
}

/// A task of the run: what to learn from, and what to measure on.
#[derive(Debug)]
pub struct Job {
    /// Of the model for this task.
    pub config: ElectraConfig,
    pub train: Vec<Features>,
    /// The evaluation set, and the same as token ids.
    pub eval: Examples,
    pub encoded: Encoded,
}

impl Job {
    fn check(&self) -> Result<()> {
        let empty = |place: &str| Err(Error::new(place, "there is no row to use"));
        match (self.train.is_empty(), self.encoded.features.is_empty()) {
            (true, _) => empty("training data"),
            (_, true) => empty("evaluation data"),
            _ => Ok(()),
        }
    }

    fn collate(&self, rows: &[usize], full: usize, length: usize, device: &Device) -> Batch {
        let examples: Vec<&Features> = rows.iter().map(|row| &self.train[*row]).collect();
        collate(&examples, full, length, self.width(), device)
    }

    fn width(&self) -> Width {
        self.eval.width()
    }
}

/// A body with a head for each task.
#[derive(Module, Debug)]
pub(super) struct Network {
    electra: ElectraModel,
    heads: Vec<Head>,
}

impl Network {
    /// The body of the first, and the heads of all.
    fn join(models: Vec<Electra>) -> Self {
        let electra = models.first().expect("a run has a task").electra.clone();
        Network { electra, heads: models.into_iter().map(|model| model.head).collect() }
    }

    /// The network of one task; its weights are shared, not copied.
    fn of_task(&self, job: usize) -> Electra {
        Electra { electra: self.electra.clone(), head: self.heads[job].clone() }
    }

    /// Ready to be trained; this network is on the plain device.
    pub(super) fn into_training(self, freeze: Freeze) -> Self {
        self.map(&mut FreezeMapper { at: Place::default(), freeze }).train()
    }
}

/// A fine-tuning run.
#[derive(Debug)]
pub struct Trainer {
    pub(super) config: FinetuneConfig,
    pub(super) jobs: Vec<Job>,
    /// On the autodiff device; only ever absent inside an update.
    pub(super) network: Option<Network>,
    pub(super) optimizer: Optimizer,
    pub(super) device: Device,
    /// Micro-batches done.
    pub(super) micro_step: usize,
    /// Updates of the whole run.
    pub(super) steps: usize,
    /// The number of the epoch under way, and its micro-batches.
    order: (usize, Vec<Rows>),
    /// Loss and gradient norm of updates that were not read back yet.
    unread: Vec<(usize, [Tensor<1>; 2])>,
    /// What was read back and not reported yet.
    pub(super) unreported: Vec<StepLoss>,
    /// Of the evaluation under way, between two of its batches.
    pub(super) scoring: Option<Scorer>,
    /// The verdicts of the evaluation under way, on the tasks that are done.
    pub(super) round: Vec<Verdict>,
    pub(super) evaluated: Evaluated,
    /// An evaluation was asked for, due or not.
    asked: bool,
    /// What there was before an evaluation that was not due, put back should the run go on.
    before: Option<Evaluated>,
    /// Of the data, once somebody has asked.
    pub(super) fingerprints: Option<Vec<Fingerprint>>,
}

/// What the whole evaluations of a run have come to.
#[derive(Debug, Clone, Default)]
pub(super) struct Evaluated {
    /// The step of the last.
    pub at: Option<usize>,
    /// The last, task by task; empty before the first.
    pub last: Vec<Verdict>,
    pub best: Option<BestScore>,
    /// The network of the best, on the plain device, where it is to be kept.
    pub best_network: Option<Network>,
}

/// The best evaluation so far.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct BestScore {
    /// Its step.
    pub at: usize,
    /// The mean over the tasks.
    pub score: f64,
    pub verdicts: Vec<Verdict>,
    /// Evaluations since one came to a better score than those before.
    pub since: usize,
}

impl Trainer {
    /// Prepares a run of one task or several; the models, one a task, are on the plain device,
    /// and the body of the first is trained.
    ///
    /// # Errors
    /// A setting is out of range, or a set is empty.
    pub fn new(
        config: FinetuneConfig,
        models: Vec<Electra>,
        jobs: Vec<Job>,
        device: &Device,
    ) -> Result<Self> {
        config.check()?;
        jobs.iter().try_for_each(Job::check)?;
        assert_eq!(models.len(), jobs.len(), "a model for each task");
        let network = Network::join(models);
        let steps = config.steps(&sizes(&jobs));
        let optimizer = config.optimizer(steps, network.electra.encoder.layers.len());
        Ok(Trainer {
            optimizer: Optimizer::new(optimizer),
            network: Some(network.into_training(config.freeze)),
            jobs,
            device: device.clone(),
            micro_step: 0,
            steps,
            order: (usize::MAX, Vec::new()),
            unread: Vec::new(),
            unreported: Vec::new(),
            scoring: None,
            round: Vec::new(),
            evaluated: Evaluated::default(),
            asked: false,
            before: None,
            fingerprints: None,
            config,
        })
    }

    /// Does one thing: a batch of an evaluation, or an update.
    ///
    /// # Errors
    /// The device failed, or the loss is no longer a number.
    pub async fn advance(&mut self) -> Result<Progress> {
        let step = self.optimizer.step;
        let due = self.asked || self.is_due();
        if due && self.evaluated.at != Some(step) {
            let scorer = self.scoring.take().unwrap_or_else(|| self.scorer());
            return self.score(scorer).await;
        }
        if step == self.steps {
            return Ok(Progress::Done { step, steps: self.steps });
        }
        self.update().await
    }

    /// One step of the optimizer.
    async fn update(&mut self) -> Result<Progress> {
        // The run goes on, as if the extra evaluation had not been.
        if let Some(before) = self.before.take() {
            self.evaluated = before;
        }
        let learning_rate = self.optimizer.config.learning_rate_at(self.optimizer.step);
        let mut batches = Vec::new();
        for _ in 0..self.config.accumulate {
            batches.push(self.next_batch());
        }
        let jobs = batches.iter().map(|batch| batch.job).collect();
        let parts = || batches.iter().flat_map(|batch| &batch.parts);
        let examples = parts().map(|part| part.batch.examples).sum();
        let tokens = parts().map(|part| part.batch.tokens).sum();
        let (loss, grads) = self.gradients(batches);
        let norm = self.apply(grads);
        let step = self.optimizer.step;
        self.unread.push((step, [loss, norm]));
        if step.is_multiple_of(self.config.read_every) || step == self.steps {
            self.read().await?;
        }
        let read = self.unread.is_empty();
        let losses = if read { std::mem::take(&mut self.unreported) } else { Vec::new() };
        Ok(Progress::Step(StepStats {
            step,
            steps: self.steps,
            epoch: self.epoch(),
            learning_rate,
            examples,
            tokens,
            jobs: if self.several() { jobs } else { Vec::new() },
            losses,
        }))
    }

    /// Gives the gradient norm. Nothing in here fails, so that the network is always put back.
    fn apply(&mut self, grads: GradientsParams) -> Tensor<1> {
        // The head of a task that had no batch has no gradient, and stays as it is.
        let network = self.network.take().expect("a network is there between updates");
        let (network, norm) = self.optimizer.update(network, grads);
        self.network = Some(network);
        norm
    }

    /// The mean loss, `[1]`, and gradients of one update. A task's loss is the mean over all of its
    /// terms (`Target::terms`), whatever micro-batches they came in; the weight of a task is its share
    /// of the micro-batches.
    fn gradients(&self, batches: Vec<MicroBatch>) -> (Tensor<1>, GradientsParams) {
        let jobs = &self.jobs;
        let of_job = |job| batches.iter().filter(move |batch: &&MicroBatch| batch.job == job);
        let terms = |job| of_job(job).map(|batch| batch.terms).sum::<usize>();
        let share = |job| of_job(job).count() as f64 / batches.len() as f64;
        let shares: Vec<(usize, f64)> =
            (0..jobs.len()).map(|job| (terms(job), share(job))).collect();
        let parts: Vec<Part> = batches.into_iter().flat_map(|batch| batch.parts).collect();
        let device = self.device.clone().autodiff();
        gradients::sum_of_parts(self.training_network(), parts, &device, |network, part| {
            let Batch { inputs, targets, .. } = &part.batch;
            let (model, mut dropout) = (network.of_task(part.job), DropoutMasks::seeded(part.seed));
            let logits = model.training_logits(inputs, targets.clone(), &mut dropout);
            let (kind, width) = (jobs[part.job].eval.kind(), jobs[part.job].width());
            let (terms, share) = shares[part.job];
            let loss = tasks::loss(kind, logits, &part.batch, width, terms);
            // The share of one task is 1, and a launch on a GPU less.
            let loss = if jobs.len() == 1 { loss } else { loss * share };
            gradients::PartLoss { report: loss.clone().inner(), loss }
        })
    }

    /// The next micro-batch in the seeded order.
    fn next_batch(&mut self) -> MicroBatch {
        let FinetuneConfig { batch_size, max_seq_length, seed, .. } = self.config;
        let sizes = sizes(&self.jobs);
        let per_epoch: usize = sizes.iter().map(|size| size.div_ceil(batch_size)).sum();
        let (epoch, position) = (self.micro_step / per_epoch, self.micro_step % per_epoch);
        if self.order.0 != epoch {
            self.order = (epoch, order::epoch(&sizes, batch_size, seed, epoch));
        }
        let step = self.micro_step as u64;
        self.micro_step += 1;
        let (number, rows) = &self.order.1[position];
        let job = &self.jobs[*number];
        let seed = stream(seed, "dropout", step);
        let at_once = examples_at_once(batch_size, max_seq_length, &self.device);
        let terms = rows.iter().map(|row| job.train[*row].target.terms()).sum();
        let device = self.device.clone().autodiff();
        let part = |(part, rows): (usize, &[usize])| {
            let full = if is_cpu(&self.device) { rows.len() } else { batch_size };
            Part {
                job: *number,
                batch: job.collate(rows, full, max_seq_length, &device),
                seed: stream(seed, "part", part as u64),
            }
        };
        let parts = rows.chunks(at_once).enumerate().map(part).collect();
        MicroBatch { job: *number, terms, parts }
    }

    /// Reads the waiting losses back, all at once. Where that fails they wait on: asked again, it
    /// fails again, and a run that has gone wrong neither goes on nor is saved.
    pub(super) async fn read(&mut self) -> Result<()> {
        if self.unread.is_empty() {
            return Ok(());
        }
        let (steps, tensors): (Vec<_>, Vec<_>) = self.unread.iter().cloned().unzip();
        let data = Tensor::cat(tensors.concat(), 0).into_data_async().await;
        let data = data.map_err(|e| Error::new("reading the loss back", format!("{e:?}")))?;
        let values = data.try_into_vec::<f32>().expect("losses are f32");
        let pairs = steps.into_iter().zip(values.chunks(2));
        let losses: Vec<StepLoss> =
            pairs.map(|(step, v)| StepLoss { step, loss: v[0], grad_norm: v[1] }).collect();
        if let Some(bad) = losses.iter().find(|l| !(l.loss.is_finite() && l.grad_norm.is_finite()))
        {
            return Err(Error::new(format!("step {}", bad.step), "the loss is not a number")
                .fix("Lower the learning rate, or choose the CPU if this comes at once."));
        }
        self.unread.clear();
        self.unreported.extend(losses);
        Ok(())
    }

    /// The model of a task as it stands, ready for inference, and its config.
    pub fn current(&self, job: usize) -> (Electra, ElectraConfig) {
        (self.training_network().of_task(job).valid(), self.config_of(job, &self.evaluated.last))
    }

    /// What a task exports: its model, the best one where that is to be kept, else as it stands,
    /// and its config.
    pub fn result(&self, job: usize) -> (Electra, ElectraConfig) {
        match &self.evaluated.best_network {
            Some(network) => (network.of_task(job), self.config_of(job, self.verdicts())),
            None => self.current(job),
        }
    }

    /// The same as `config.json` and `model.safetensors`.
    ///
    /// # Errors
    /// The device failed.
    pub async fn export(&self, job: usize) -> Result<ModelFiles> {
        let (model, config) = self.result(job);
        pretrained::save(&model, &config, architecture(self.jobs[job].eval.kind())).await
    }

    fn config_of(&self, job: usize, verdicts: &[Verdict]) -> ElectraConfig {
        let no_answer_threshold = verdicts.get(job).and_then(|v| v.no_answer_threshold);
        ElectraConfig { no_answer_threshold, ..self.jobs[job].config.clone() }
    }

    /// What the evaluation of [`Self::result`] came to, task by task; empty before the first.
    pub fn verdicts(&self) -> &[Verdict] {
        match self.evaluated.best.as_ref().filter(|_| self.config.keep_best) {
            Some(best) => &best.verdicts,
            None => &self.evaluated.last,
        }
    }

    /// The step of that evaluation.
    pub fn kept_at(&self) -> Option<usize> {
        match self.evaluated.best.as_ref().filter(|_| self.config.keep_best) {
            Some(best) => Some(best.at),
            None => self.evaluated.at,
        }
    }

    pub fn max_seq_length(&self) -> usize {
        self.config.max_seq_length
    }

    /// Updates done.
    pub fn step(&self) -> usize {
        self.optimizer.step
    }

    /// Updates of the whole run.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Lets go of what only further updates need; there may be none after this.
    #[cfg(target_family = "wasm")]
    pub(crate) fn forget_moments(&mut self) {
        (self.optimizer.first, self.optimizer.second) = Default::default();
    }

    /// Makes the run end with the update that was done last; `advance` still evaluates it.
    pub fn finish_early(&mut self) {
        self.steps = self.optimizer.step;
    }

    /// Makes the next calls of `advance` evaluate the weights as they stand, for a run that may stop
    /// here. Should it go on, it does so as if that evaluation had not been. Gives whether it is an
    /// extra one, which was not due; None where these weights are evaluated already.
    pub fn ask_for_evaluation(&mut self) -> Option<bool> {
        if self.evaluated.at == Some(self.step()) {
            return None;
        }
        let is_extra = !self.is_due();
        if is_extra && self.before.is_none() {
            self.before = Some(self.evaluated.clone());
        }
        self.asked = true;
        Some(is_extra)
    }

    fn is_due(&self) -> bool {
        let step = self.step();
        step == self.steps || step.is_multiple_of(self.eval_every())
    }

    /// One update, whatever is due, for a caller that measures how long it takes. The run is good for
    /// nothing else afterwards.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub async fn rehearse_update(&mut self) -> Result<()> {
        self.update().await?;
        self.read().await
    }

    /// The same for one batch of an evaluation; gives how many rows it had.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub async fn rehearse_evaluation(&mut self) -> Result<usize> {
        let mut scorer = self.scorer();
        scorer.advance(&self.current(0).0, &self.jobs[0].encoded.features, &self.device).await?;
        Ok(scorer.done())
    }

    /// The settings of the run.
    pub fn config(&self) -> &FinetuneConfig {
        &self.config
    }

    pub(super) fn training_network(&self) -> &Network {
        self.network.as_ref().expect("a network is there between updates")
    }

    pub(super) fn plain_network(&self) -> Network {
        self.training_network().valid()
    }

    pub(super) fn forget_unread(&mut self) {
        self.unread.clear();
    }

    fn several(&self) -> bool {
        self.jobs.len() > 1
    }

    fn steps_per_epoch(&self) -> usize {
        self.config.steps_per_epoch(&sizes(&self.jobs))
    }

    fn eval_every(&self) -> usize {
        let spread = |times: usize| (self.steps / times).max(1);
        let every = self.config.eval_every.or(self.config.eval_times.map(spread));
        every.unwrap_or_else(|| self.steps_per_epoch())
    }

    fn epoch(&self) -> f64 {
        self.optimizer.step as f64 / self.steps_per_epoch() as f64
    }

    /// Of the next task to evaluate.
    fn scorer(&self) -> Scorer {
        let FinetuneConfig { batch_size, max_seq_length, .. } = self.config;
        let job = &self.jobs[self.round.len()];
        Scorer::new(&job.encoded.features, batch_size, max_seq_length)
    }

    async fn score(&mut self, mut scorer: Scorer) -> Result<Progress> {
        let number = self.round.len();
        let (job, (model, _)) = (&self.jobs[number], self.current(number));
        scorer.advance(&model, &job.encoded.features, &self.device).await?;
        let (done, total) = (scorer.done(), job.encoded.features.len());
        if done < total {
            self.scoring = Some(scorer);
            return Ok(Progress::Evaluating { done, total });
        }
        let evaluation = job.eval.evaluate(&job.encoded, &scorer.finish());
        let measured = Measured::new(job.eval.kind(), evaluation, self.config.metric);
        self.round.push(Verdict::from(&measured));
        let step = self.optimizer.step;
        if self.round.len() == self.jobs.len() {
            self.evaluated.at = Some(step);
            self.asked = false;
            self.evaluated.last = std::mem::take(&mut self.round);
            self.compare();
        }
        let job = self.several().then_some(number);
        let stats = EvaluationStats { step, epoch: self.epoch(), job, measured };
        Ok(Progress::Evaluation(Box::new(stats)))
    }

    /// Keeps the evaluation if it is the best so far, and ends the run where `patience` is over. Few rows
    /// often come to one score several times: of these the one with the smallest loss is the best.
    pub(super) fn compare(&mut self) {
        let (score, loss) = (mean(&self.evaluated.last), total_loss(&self.evaluated.last));
        let since = match &mut self.evaluated.best {
            Some(best) if score <= best.score => {
                best.since += 1;
                best.since
            }
            _ => 0,
        };
        let is_better = |best: &BestScore| {
            score > best.score || score == best.score && loss < total_loss(&best.verdicts)
        };
        if self.evaluated.best.as_ref().is_none_or(is_better) {
            let (at, verdicts) = (self.optimizer.step, self.evaluated.last.clone());
            self.evaluated.best_network = self.config.keep_best.then(|| self.plain_network());
            self.evaluated.best = Some(BestScore { at, score, verdicts, since });
        }
        if self.before.is_some() {
            return;
        }
        if self.config.patience.is_some_and(|patience| since >= patience) {
            self.finish_early();
        }
    }
}

fn sizes(jobs: &[Job]) -> Vec<usize> {
    jobs.iter().map(|job| job.train.len()).collect()
}

/// What several tasks are compared by: the mean of their scores.
pub fn mean(verdicts: &[Verdict]) -> f64 {
    verdicts.iter().map(|verdict| verdict.score).sum::<f64>() / verdicts.len() as f64
}

/// The losses of all tasks together.
fn total_loss(verdicts: &[Verdict]) -> f64 {
    verdicts.iter().filter_map(|verdict| verdict.loss).sum()
}

/// `batch_size` rows of one task; at the end of an epoch fewer.
struct MicroBatch {
    job: usize,
    /// What its loss is a mean over: examples, labels or labelled tokens (`Target::terms`).
    terms: usize,
    parts: Vec<Part>,
}

/// Rows that go through the network at once.
struct Part {
    job: usize,
    batch: Batch,
    /// Of the dropout.
    seed: u64,
}

/// Takes the frozen parameters out of training, by their Hugging Face names.
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
