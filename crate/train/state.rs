//! The state of a run as bytes, and back: a file natively, the private file system in a browser.
//!
//! One safetensors file. Its tensors are every weight by its name, the optimizer's moments under
//! `first.` and `second.`, the weights of the best evaluation under `best.` where they are
//! kept, and last a checksum of everything; its header holds the rest as JSON. On the CPU a run that goes on from it is the run that
//! never stopped, bit for bit. Of an evaluation under way the tasks that are done are kept; the
//! one at hand starts again.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::FinetuneConfig;
use super::trainer::{BestScore, Evaluated, Job, Network, StepLoss, Trainer, Verdict};
use crate::batch::{Features, Target};
use crate::dataset::{Question, TextTarget};
use crate::error::{Error, Result};
use crate::optim::Optimizer;
use crate::pretrained::{self, Dtype, HostTensor, Pieces, ReadBack, Tensors, Unread};
use crate::seed::Fnv;
use crate::tasks::Examples;

/// What errors call it.
const STATE: &str = "the saved run";
const KEY: &str = "electra-finetune";
/// Goes up where an older state can no longer be read, or where a [`Fingerprint`] is another one for
/// the same data.
const VERSION: u32 = 4;
/// The name of the checksum.
const SUM: &str = "checksum";
const REMEDY: &str = "Start the run anew.";

/// The header.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    version: u32,
    /// The seed among them.
    settings: FinetuneConfig,
    tasks: Vec<Fingerprint>,
    micro_step: usize,
    step: usize,
    /// Where the run ends.
    steps: usize,
    evaluated_at: Option<usize>,
    round: Vec<Verdict>,
    last: Vec<Verdict>,
    best: Option<BestScore>,
    /// Losses that were read back and not reported yet.
    unreported: Vec<StepLoss>,
}

/// What tells a task from any other: a state goes with no other. Hashes of values as JSON has them,
/// in a fixed order and without the names that the code has for them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    model: String,
    training: String,
    evaluation: String,
}

impl Fingerprint {
    fn of(job: &Job) -> Self {
        let features = |features: &[Features]| json_hash(features.iter().map(feature_values));
        let evaluated = [example_hash(&job.eval), features(&job.encoded.features)];
        Fingerprint {
            model: hex(Fnv::new().with_bytes(job.config.to_json())),
            training: hex(features(&job.train)),
            evaluation: hex(json_hash(evaluated.iter().map(|hash| hash.0))),
        }
    }
}

fn hex(hash: Fnv) -> String {
    format!("{:016x}", hash.0)
}

fn json_hash(values: impl Iterator<Item = impl Serialize>) -> Fnv {
    let mut hash = Fnv::new();
    for value in values {
        serde_json::to_writer(&mut hash, &value).expect("plain data, and hashing does not fail");
    }
    hash
}

fn feature_values(features: &Features) -> impl Serialize {
    let target = match &features.target {
        Target::Nothing => Value::Null,
        Target::Class(class) => json!({"class": class}),
        Target::Classes(classes) => json!({"classes": classes}),
        Target::Value(value) => json!({"value": value}),
        Target::Tokens(labels) => json!({"tokens": labels}),
        Target::Span { start, end, is_impossible } => json!({"span": [start, end, is_impossible]}),
    };
    let Features { row, input_ids, token_type_ids, attention_mask, .. } = features;
    (*row, input_ids, token_type_ids, attention_mask, target)
}

/// The examples as their file had them: an evaluation compares with more than the features hold.
fn example_hash(examples: &Examples) -> Fnv {
    match examples {
        Examples::Texts(texts) => json_hash(texts.examples.iter().map(|example| {
            let target = match &example.target {
                None => Value::Null,
                Some(TextTarget::Class(class)) => json!(texts.labels.get(*class)),
                Some(TextTarget::Classes(classes)) => json!(classes),
                Some(TextTarget::Score(score)) => json!(score),
            };
            (example.row, &example.text, &example.pair, target)
        })),
        Examples::Tagging(tagging) => json_hash(
            tagging
                .sentences
                .iter()
                .map(|sentence| (&tagging.labels, sentence.row, &sentence.words, &sentence.labels)),
        ),
        Examples::QuestionAnswering(questions) => {
            json_hash(questions.examples.iter().map(|question| {
                let answers: Vec<_> = question.answers.iter().map(|a| (&a.text, a.start)).collect();
                let Question { row, id, question, context, golds, is_impossible, .. } = question;
                (*row, id, question, &**context, answers, golds, *is_impossible)
            }))
        }
    }
}

impl Trainer {
    /// The run as it stands between two calls of [`Trainer::advance`]; it goes on as if nothing
    /// had been.
    ///
    /// # Errors
    /// The device failed, or the loss is no longer a number.
    pub async fn save(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.save_to(&mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })
        .await?;
        Ok(bytes)
    }

    /// The same, given away piece by piece: of a large network there may be no room for all.
    ///
    /// # Errors
    /// As [`Trainer::save`], or `write` failed.
    pub async fn save_to(&mut self, write: &mut pretrained::Write<'_>) -> Result<()> {
        self.read().await?;
        let header = serde_json::to_string(&self.state()).expect("plain data");
        let network = self.training_network();
        let Optimizer { first, second, .. } = &self.optimizer;
        let mut parts = vec![
            ("", ReadBack::of(network, None)),
            ("first.", ReadBack::of(network, Some(first))),
            ("second.", ReadBack::of(network, Some(second))),
        ];
        parts.extend(
            self.evaluated.best_network.as_ref().map(|best| ("best.", ReadBack::of(best, None))),
        );
        let all = parts.iter().flat_map(|(prefix, part)| {
            part.shapes().map(move |(name, shape)| (format!("{prefix}{name}"), shape))
        });
        let shapes = all.chain([(SUM.to_string(), vec![4])]).collect();
        write(&pretrained::header_of(shapes, Dtype::F32, (KEY, &header)))?;
        let mut sum = Fnv::new().with_bytes(header.bytes());
        for (prefix, part) in parts {
            part.each(|name, tensor| {
                sum = with_tensor(sum, &format!("{prefix}{name}"), &tensor);
                pretrained::write_floats(&tensor.values, write)
            })
            .await?;
        }
        pretrained::write_floats(&told(sum), write)
    }

    /// Goes on from a state that [`Trainer::save`] of the same run gave: the same settings, data
    /// and model. After an error this run is as it was.
    ///
    /// # Errors
    /// The file is damaged, or the state of another run.
    pub fn restore(&mut self, file: &dyn Pieces) -> Result<()> {
        let (state, [weights, first, second, best]) = read(file)?;
        self.check_same(&state)?;
        if !self.is_possible(&state) || !first.keys().eq(second.keys()) {
            return Err(damaged("its numbers contradict each other"));
        }
        let network = self.filled(weights)?;
        let held = |prefix, part| {
            pretrained::held_from(&network, STATE, prefix, part, &self.device, true)
                .map_err(|e| e.fix(REMEDY))
        };
        let (first, second) = (held("first.", first)?, held("second.", second)?);
        let keeps = state.best.is_some() && self.config.keep_best;
        let best_network = if keeps { Some(self.filled(best)?) } else { None };
        self.network = Some(network.into_training(self.config.freeze));
        (self.optimizer.first, self.optimizer.second) = (first, second);
        (self.micro_step, self.optimizer.step, self.steps) =
            (state.micro_step, state.step, state.steps);
        (self.round, self.scoring) = (state.round, None);
        let (at, last, best) = (state.evaluated_at, state.last, state.best);
        self.evaluated = Evaluated { at, last, best, best_network };
        self.forget_unread();
        self.unreported = state.unreported;
        Ok(())
    }

    fn state(&mut self) -> State {
        State {
            version: VERSION,
            settings: self.config.clone(),
            micro_step: self.micro_step,
            step: self.optimizer.step,
            steps: self.steps,
            evaluated_at: self.evaluated.at,
            round: self.round.clone(),
            last: self.evaluated.last.clone(),
            best: self.evaluated.best.clone(),
            unreported: self.unreported.clone(),
            tasks: self.fingerprints().to_vec(),
        }
    }

    /// Hashing all data takes a while, and a run is saved again and again.
    fn fingerprints(&mut self) -> &[Fingerprint] {
        let jobs = &self.jobs;
        self.fingerprints.get_or_insert_with(|| jobs.iter().map(Fingerprint::of).collect())
    }

    /// # Errors
    /// The state is one of another run.
    fn check_same(&mut self, state: &State) -> Result<()> {
        let other = |what: &str, problem: String| {
            Err(Error::new(format!("{STATE}, {what}"), problem)
                .fix("Give what the run was started with, or start a new run."))
        };
        let (theirs, ours) = (json!(state.settings), json!(self.config));
        for (key, value) in ours.as_object().expect("settings have names") {
            let saved = &theirs[key];
            if saved != value {
                return other(key, format!("it was started with {saved}, not {value}"));
            }
        }
        let own = self.fingerprints();
        if own.len() != state.tasks.len() {
            let (theirs, ours) = (state.tasks.len(), own.len());
            return other("tasks", format!("it was started with {theirs}, not {ours}"));
        }
        let another = |what: &str| other(what, "it was started with another one".into());
        match own.iter().zip(&state.tasks).find(|(ours, theirs)| ours != theirs) {
            None => Ok(()),
            Some((ours, theirs)) if ours.model != theirs.model => another("model"),
            Some((ours, theirs)) if ours.training != theirs.training => another("training data"),
            Some(_) => another("evaluation data"),
        }
    }

    /// Can a run of these settings be there?
    fn is_possible(&self, state: &State) -> bool {
        let tasks = self.jobs.len();
        let whole = |verdicts: &[Verdict]| verdicts.len() == tasks;
        let total = self.optimizer.config.total_steps;
        state.step <= state.steps
            && state.steps <= total
            && Some(state.micro_step) == state.step.checked_mul(self.config.accumulate)
            && state.evaluated_at.is_none_or(|step| step <= state.step)
            && state.round.len() < tasks
            && (state.last.is_empty() || whole(&state.last))
            && state.best.as_ref().is_none_or(|best| whole(&best.verdicts))
            && state.best.is_some() != state.last.is_empty()
    }

    /// This network with other weights, on the plain device.
    fn filled(&self, weights: Tensors<'_>) -> Result<Network> {
        let network = self.plain_network();
        pretrained::fill_from(network, STATE, weights, None).map_err(|e| e.fix(REMEDY))
    }
}

/// The header and the four groups of tensors.
fn read(file: &dyn Pieces) -> Result<(State, [Tensors<'_>; 4])> {
    let header = pretrained::header_word(file, KEY);
    let header = header.ok_or_else(|| damaged("it is damaged, or is none"))?;
    let version = serde_json::from_str::<Value>(&header).map_err(|e| damaged(&e.to_string()))?;
    if version["version"] != VERSION {
        let problem = format!("is of version {}, not {VERSION}", version["version"]);
        return Err(Error::new(STATE, problem)
            .fix("Go on with the version of electra that wrote it, or start the run anew."));
    }
    // Under a fuzzer every state would end here.
    if !cfg!(fuzzing) && !is_whole(file, &header)? {
        return Err(damaged("its checksum is wrong"));
    }
    let state = serde_json::from_str(&header).map_err(|e| damaged(&e.to_string()))?;
    let mut parts = [const { Tensors::new() }; 4];
    for (name, tensor) in tensors(file)?.filter(|(name, _)| name != SUM) {
        let (part, name) = match name.split_once('.') {
            Some(("first", name)) => (1, name),
            Some(("second", name)) => (2, name),
            Some(("best", name)) => (3, name),
            _ => (0, name.as_str()),
        };
        parts[part].insert(name.to_string(), tensor);
    }
    Ok((state, parts))
}

/// In the order in which they were written.
fn tensors(file: &dyn Pieces) -> Result<impl Iterator<Item = (String, Unread<'_>)>> {
    Ok(pretrained::from_safetensors(STATE, file).map_err(|e| e.fix(REMEDY))?.into_iter())
}

/// A flipped bit in a weight would go unseen otherwise.
fn is_whole(file: &dyn Pieces, header: &str) -> Result<bool> {
    let mut sum = Fnv::new().with_bytes(header.bytes());
    for (name, tensor) in tensors(file)? {
        let tensor = tensor.read().map_err(|e: String| damaged(&e))?;
        if name == SUM {
            return Ok(tensor.values == told(sum));
        }
        sum = with_tensor(sum, &name, &tensor);
    }
    Ok(false)
}

fn damaged(problem: &str) -> Error {
    Error::new(STATE, format!("cannot be read: {problem}")).fix(REMEDY)
}

fn with_tensor(sum: Fnv, name: &str, tensor: &HostTensor) -> Fnv {
    let sum = sum.with_bytes(name.bytes());
    tensor.values.iter().fold(sum, |sum, value| sum.with(u64::from(value.to_bits())))
}

/// In sixteen bits each, which are whole numbers in f32.
fn told(sum: Fnv) -> [f32; 4] {
    [0, 16, 32, 48].map(|shift| f32::from((sum.0 >> shift) as u16))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Kind, TextExample, Texts};

    /// Every saved run hangs on these numbers: FNV-1a of
    /// `[1,[2,3],[0,0],[1,1],{"class":1}]` and `[3,"the cat",null,"cat"]`.
    #[test]
    fn fingerprints_are_of_values() {
        let features = Features {
            row: 1,
            input_ids: vec![2, 3],
            token_type_ids: vec![0, 0],
            attention_mask: vec![1, 1],
            target: Target::Class(1),
        };
        assert_eq!(json_hash([feature_values(&features)].into_iter()).0, 0xd4fd_856a_0ab0_7752);
        let target = Some(TextTarget::Class(0));
        let example = TextExample { row: 3, text: "the cat".into(), pair: None, target };
        let (labels, examples) = (vec!["cat".into()], vec![example]);
        let kind = Kind::Classification;
        let texts = Texts { kind, examples, labels, range: None, skipped: Vec::new() };
        assert_eq!(example_hash(&Examples::Texts(texts)).0, 0x7ccf_b23f_b5a0_e122);
    }
}
