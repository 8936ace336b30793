//! The run: batches in a seeded order, updates, evaluations.
//!
//! Everything random comes from the run's seed and the number of an example or a step, so the
//! state of a run is its weights, its moments and a few counters (`state.rs`).

use std::ops::Range;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::batch::{MaskedBatch, MaskedExample, Totals, collate};
use super::config::PretrainConfig;
use super::evaluation::{Evaluation, Tally};
use super::network::Pretraining;
use super::objective::{pass, seeded_noise};
use crate::batch::{Features, Target};
use crate::corpus::{Corpus, Index, Split, shuffled};
use crate::distributed::World;
use crate::error::{Error, Result};
use crate::gradients::{self, PartLoss, examples_at_once};
use crate::kernels::DropoutMasks;
use crate::masking::Masking;
use crate::optim::Optimizer;
use crate::seed::stream;

/// A line of `metrics.jsonl`: means over the updates since the last one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoggedStep {
    pub step: usize,
    /// `gen_weight` × gen_loss + `disc_weight` × disc_loss.
    pub loss: f64,
    pub gen_loss: f64,
    pub disc_loss: f64,
    /// Before the clip.
    pub grad_norm: f64,
    /// Of the last update.
    pub learning_rate: f64,
    /// Tokens seen so far, without padding.
    pub tokens: u64,
    /// Passes over the text so far.
    pub epoch: f64,
}

/// The losses and the gradient norm of one update.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepLosses {
    pub gen_loss: f32,
    pub disc_loss: f32,
    pub grad_norm: f32,
}

/// How far a run is: all of its state beside weights and moments.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Updates done.
    pub step: usize,
    /// Examples seen by all ranks.
    pub examples: u64,
    /// Tokens seen by all ranks, without padding.
    pub tokens: u64,
    /// Updates that were read back and are in no line of `metrics.jsonl` yet.
    pub unlogged: Vec<StepLosses>,
}

/// A run of pre-training.
pub struct PretrainRun {
    pub config: PretrainConfig,
    pub counters: Counters,
    pub(super) corpus: Corpus,
    pub(super) optimizer: Optimizer,
    pub(super) device: Device,
    /// On the autodiff device; only ever absent inside an update.
    network: Option<Pretraining>,
    /// The ranks of a run on several machines; usually this one alone.
    world: World,
    masking: Masking,
    /// Tokens that every example is padded to: the text's `max_seq_length`.
    seq: usize,
    /// Held-out examples that an evaluation looks at. Set when the run begins: with another batch
    /// size later on, its scores are still those of the same text.
    pub(super) eval_examples: usize,
    /// Is there a checkpoint of this run?
    pub(super) saved: bool,
    /// `gen_loss` and `disc_loss`, and the gradient norm, of the updates that were not read back yet.
    unread: Vec<[Tensor<1>; 2]>,
}

impl PretrainRun {
    /// A new run; `network` and `device` are without autodiff.
    ///
    /// # Errors
    /// The text does not fit the settings, or text or settings differ from rank to rank.
    pub fn new(
        config: PretrainConfig,
        corpus: Corpus,
        network: Pretraining,
        world: World,
        device: &Device,
    ) -> Result<Self> {
        config.check()?;
        let seq = corpus.index.settings.max_seq_length;
        check_corpus(&config, &corpus, &world)?;
        let mut terms = json!(config);
        terms["text"] = json!(corpus.identity());
        world.agree(&terms)?;
        Ok(PretrainRun {
            eval_examples: config.eval_batches * config.batch_size,
            saved: false,
            optimizer: Optimizer::new(config.optimizer()),
            masking: Masking::new(config.mask_prob, config.mask_with_replacement, seq),
            counters: Counters::default(),
            network: Some(network.train()),
            device: device.clone(),
            unread: Vec::new(),
            config,
            corpus,
            world,
            seq,
        })
    }

    /// The network as it is now, on the plain device.
    pub fn network(&self) -> Pretraining {
        self.training_network().valid()
    }

    pub(super) fn training_network(&self) -> &Pretraining {
        self.network.as_ref().expect("a network is there between updates")
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    /// What the text is.
    pub fn index(&self) -> &Index {
        &self.corpus.index
    }

    /// Examples of the text to learn from.
    pub fn examples(&self) -> usize {
        self.corpus.len(Split::Train)
    }

    /// Examples of the text that are held out.
    pub fn held_out(&self) -> usize {
        self.corpus.len(Split::Eval)
    }

    pub fn is_done(&self) -> bool {
        self.counters.step >= self.config.num_train_steps
    }

    /// FLOP of an update, on all ranks.
    pub fn flop_per_step(&self) -> f64 {
        let vocab_size = self.corpus.index.settings.vocab_size;
        self.config.flop_per_step(vocab_size, self.seq) * self.world.size() as f64
    }

    /// One update. Gives a line for the log when one is due.
    ///
    /// # Errors
    /// The text cannot be read, the device failed, or the loss is no longer a number.
    pub async fn step(&mut self) -> Result<Option<LoggedStep>> {
        let parts = self.next_examples()?;
        let special = self.corpus.index.settings.special;
        let own = Totals::of(parts.iter().flat_map(|(_, part)| part), special);
        let totals = self.sum_totals(own);
        let (losses, grads) = self.gradients(parts, totals);
        let grads = self.world.sum_gradients(self.training_network(), grads).await?;
        let norm = self.update(grads);
        self.unread.push([losses, norm]);
        self.counters.step += 1;
        self.counters.examples += totals.examples as u64;
        self.counters.tokens += totals.tokens as u64;
        let due = self.counters.step.is_multiple_of(self.config.log_every) || self.is_done();
        if due { self.log().await.map(Some) } else { Ok(None) }
    }

    /// Gives the gradient norm. Nothing in here fails, so that the network is always put back.
    fn update(&mut self, grads: GradientsParams) -> Tensor<1> {
        let network = self.network.take().expect("a network is there between updates");
        let (network, norm) = self.optimizer.update(network, grads);
        self.network = Some(network);
        norm
    }

    /// What the losses are means over, on all ranks.
    fn sum_totals(&self, own: Totals) -> Totals {
        let mut sums = [own.examples, own.tokens, own.drawn, own.distinct, own.candidates];
        self.world.sum(&mut sums);
        let [examples, tokens, drawn, distinct, candidates] = sums;
        Totals { examples, tokens, drawn, distinct, candidates }
    }

    /// Sums the losses of some updates over all ranks. The gradient norm that follows each pair is
    /// that of the summed gradients already.
    fn sum_losses(&self, updates: &mut [f32]) {
        let mut sums: Vec<f32> = updates.chunks(3).flat_map(|l| [l[0], l[1]]).collect();
        self.world.sum(&mut sums);
        for (update, sums) in updates.chunks_mut(3).zip(sums.chunks(2)) {
            update[..2].copy_from_slice(sums);
        }
    }

    /// The examples of this rank's share of an update, in the parts that go through the network at
    /// once (`gradients.rs`), each with the number of its first example in the run.
    fn next_examples(&self) -> Result<Vec<(u64, Vec<MaskedExample>)>> {
        let (rank, ranks) = (self.world.rank(), self.world.size());
        let size = self.config.batch_size;
        let max_seq_length = self.corpus.index.settings.max_seq_length;
        let at_once = examples_at_once(size, max_seq_length, &self.device);
        let start_of = |pass: usize| self.counters.examples + ((pass * ranks + rank) * size) as u64;
        let starts = (0..self.config.accumulate).map(start_of);
        let parts = starts.flat_map(|first| {
            let end = first + size as u64;
            (first..end).step_by(at_once).map(move |start| start..end.min(start + at_once as u64))
        });
        let read = |part: Range<u64>| {
            let first = part.start;
            Ok((first, part.map(|number| self.example(number)).collect::<Result<_>>()?))
        };
        parts.map(read).collect()
    }

    /// The example that comes at that place in the run.
    fn example(&self, number: u64) -> Result<MaskedExample> {
        let count = self.corpus.len(Split::Train) as u64;
        let (epoch, position) = (number / count, number % count);
        let order = stream(self.config.seed, "order", 0);
        let index = shuffled(order, epoch, position, count) as usize;
        self.masked(Split::Train, index, stream(self.config.seed, "masking", number))
    }

    fn masked(&self, split: Split, index: usize, seed: u64) -> Result<MaskedExample> {
        let example = self.corpus.example(split, index)?;
        let length = example.input_ids.len();
        let segment = |i| u32::from(i >= example.segment_start);
        let drawn = self.masking.draw(&example.input_ids, self.corpus.index.settings.special, seed);
        let features = Features {
            row: index,
            token_type_ids: (0..length).map(segment).collect(),
            attention_mask: vec![1; length],
            input_ids: example.input_ids,
            target: Target::Nothing,
        };
        Ok(MaskedExample { features, drawn })
    }

    fn collate(&self, first: u64, examples: &[MaskedExample], device: &Device) -> MaskedBatch {
        let drawn = self.masking.max_predictions;
        collate(examples, first, self.seq, drawn, self.corpus.index.settings.special, device)
    }

    /// The losses, `[2]`, and gradients of this rank's share of an update.
    fn gradients(
        &self,
        parts: Vec<(u64, Vec<MaskedExample>)>,
        totals: Totals,
    ) -> (Tensor<1>, GradientsParams) {
        let device = self.device.clone().autodiff();
        let batch =
            |(first, examples): (u64, Vec<MaskedExample>)| self.collate(first, &examples, &device);
        let batches = parts.into_iter().map(batch).collect();
        let config = &self.config;
        gradients::sum_of_parts(self.training_network(), batches, &device, |network, batch| {
            let seed = stream(config.seed, "dropout", batch.first_example);
            let noise = seeded_noise(config, &batch, "gumbel");
            let mut dropout = DropoutMasks::seeded(seed);
            let pass = pass(network, config, &batch, totals, noise, &mut dropout);
            let report = Tensor::cat(vec![pass.gen_loss, pass.disc_loss], 0);
            PartLoss { loss: pass.backward.expect("there is something to learn"), report }
        })
    }

    /// Reads the waiting losses back and sums them up for the log.
    async fn log(&mut self) -> Result<LoggedStep> {
        self.read().await?;
        let unlogged = std::mem::take(&mut self.counters.unlogged);
        let mean = |part: fn(&StepLosses) -> f32| {
            unlogged.iter().map(|losses| part(losses) as f64).sum::<f64>() / unlogged.len() as f64
        };
        let (gen_loss, disc_loss) = (mean(|l| l.gen_loss), mean(|l| l.disc_loss));
        let (step, config) = (self.counters.step, &self.config);
        Ok(LoggedStep {
            step,
            loss: config.gen_weight * gen_loss + config.disc_weight * disc_loss,
            gen_loss,
            disc_loss,
            grad_norm: mean(|l| l.grad_norm),
            learning_rate: self.optimizer.config.learning_rate_at(step - 1),
            tokens: self.counters.tokens,
            epoch: self.counters.examples as f64 / self.corpus.len(Split::Train) as f64,
        })
    }

    /// Reads the waiting losses back, all at once. Where that fails they wait on: asked again, it
    /// fails again, and a run that has gone wrong is not saved.
    pub(super) async fn read(&mut self) -> Result<()> {
        if self.unread.is_empty() {
            return Ok(());
        }
        let first = self.counters.step - self.unread.len() + 1;
        let data = Tensor::cat(self.unread.concat(), 0).into_data_async().await;
        let data = data.map_err(|e| Error::new("reading the loss back", format!("{e:?}")))?;
        let mut values = data.try_into_vec::<f32>().expect("losses are f32");
        self.sum_losses(&mut values);
        let finite = |losses: &[f32]| losses.iter().all(|value| value.is_finite());
        if let Some(bad) = values.chunks(3).position(|losses| !finite(losses)) {
            return Err(self.not_a_number(first + bad));
        }
        self.unread.clear();
        self.counters.unlogged.extend(values.chunks(3).map(|losses| StepLosses {
            gen_loss: losses[0],
            disc_loss: losses[1],
            grad_norm: losses[2],
        }));
        Ok(())
    }

    /// Scores on held-out text, without dropout, always with the same masks and noise.
    /// `None` where nothing was held out.
    ///
    /// # Errors
    /// The text cannot be read, or the device failed.
    pub async fn evaluate(&self) -> Result<Option<Evaluation>> {
        let network = self.network();
        let count = self.corpus.len(Split::Eval).min(self.eval_examples);
        let special = self.corpus.index.settings.special;
        let mut tally = Tally::default();
        for start in (0..count).step_by(self.config.batch_size) {
            let rows = start..count.min(start + self.config.batch_size);
            let seed = |row| stream(self.config.seed, "eval masking", row as u64);
            let examples = rows.map(|row| self.masked(Split::Eval, row, seed(row)));
            let examples = examples.collect::<Result<Vec<_>>>()?;
            let totals = Totals::of(&examples, special);
            let batch = self.collate(start as u64, &examples, &self.device);
            let noise = seeded_noise(&self.config, &batch, "eval gumbel");
            let mut dropout = DropoutMasks::none();
            let pass = pass(&network, &self.config, &batch, totals, noise, &mut dropout);
            tally.add(&batch, pass, totals.tokens).await?;
        }
        if count == 0 {
            return Ok(None);
        }
        let evaluation = tally.finish();
        if !evaluation.is_finite() {
            return Err(self.not_a_number(self.counters.step));
        }
        Ok(Some(evaluation))
    }

    fn not_a_number(&self, step: usize) -> Error {
        let error = Error::new(format!("step {step}"), "the loss is not a number");
        error.fix(match self.saved {
            true => {
                "Resume from the last checkpoint with a lower learning rate (--resume --set \
                learning_rate=..), or with another --seed."
            }
            false => {
                "Start again with a lower learning rate (--learning-rate ..), or with another \
                --seed: there is no checkpoint yet."
            }
        })
    }
}

fn check_corpus(config: &PretrainConfig, corpus: &Corpus, world: &World) -> Result<()> {
    // They go into every checkpoint: better to miss them now.
    corpus.tokenizer_files()?;
    let index = &corpus.index;
    let (length, limit) = (index.settings.max_seq_length, config.max_position_embeddings);
    if length > limit {
        let problem = format!("{length} tokens are more than the model's {limit} positions");
        return Err(Error::new("--data, max_seq_length", problem).fix(format!(
            "Prepare the text at {limit} or less, or --set max_position_embeddings={length}."
        )));
    }
    let (examples, batch) =
        (corpus.len(Split::Train), config.batch_size * config.accumulate * world.size());
    if examples < batch {
        let problem = format!("{examples} training examples are fewer than one update's {batch}");
        return Err(Error::new("--data", problem).fix("Prepare more text, or lower --batch-size."));
    }
    Ok(())
}

/// The lines of a `metrics.jsonl` up to a step, for a run that goes on from there, and the numbers of
/// lines that cannot be read.
pub fn lines_until(log: &[u8], step: usize) -> (Vec<u8>, Vec<usize>) {
    let (mut kept, mut strange) = (Vec::new(), Vec::new());
    for (i, line) in log.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let value = serde_json::from_slice::<serde_json::Value>(line).ok();
        match value.and_then(|value| value["step"].as_u64()) {
            Some(at) if at as usize <= step => {
                kept.extend(line.strip_suffix(b"\n").unwrap_or(line));
                kept.push(b'\n');
            }
            Some(_) => {}
            // The last one was cut short when the run was.
            None if !line.ends_with(b"\n") => {}
            None => strange.push(i + 1),
        }
    }
    (kept, strange)
}
