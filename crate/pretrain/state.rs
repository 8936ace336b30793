//! Checkpoints of a run: a folder each, there whole or not at all.
//!
//! `step-N/` holds `training.safetensors` (every parameter by its name, and its moments under
//! `first.` and `second.`), `state.json`, and the Hugging Face folders `discriminator/` and
//! `generator/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::optim::GradientsParams;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::config::PretrainConfig;
use super::network::{Pretraining, export};
use super::run::{Counters, PretrainRun};
use crate::corpus::Corpus;
use crate::distributed::World;
use crate::error::{Error, Result};
use crate::files::{name_of_partial, write_folder};
use crate::pretrained::{self, Dtype, HostTensor, ModelFiles, Tensors};

const TENSORS: &str = "training.safetensors";
const STATE: &str = "state.json";
const DAMAGED: &str = "damaged";
const WORD_EMBEDDINGS: &str = "electra.embeddings.word_embeddings.weight";

/// `state.json`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointState {
    pub config: PretrainConfig,
    #[serde(flatten)]
    pub counters: Counters,
    /// Which prepared text the run reads.
    pub corpus: String,
    /// Held-out examples that its evaluations look at.
    pub eval_examples: Option<usize>,
}

/// A checkpoint that was read and is whole.
pub struct Checkpoint {
    pub path: PathBuf,
    pub state: CheckpointState,
    network: Pretraining,
    /// First and second ones.
    moments: [GradientsParams; 2],
}

impl Checkpoint {
    /// # Errors
    /// It is not there or damaged: a file, a tensor or a number of it is not what a run has
    /// written.
    pub fn read(path: &Path, device: &Device) -> Result<Self> {
        let state = read_state(path)?;
        let file = path.join(TENSORS).display().to_string();
        let bytes = fs::read(path.join(TENSORS))
            .map_err(|e| Error::new(&file, format!("cannot be read ({e})")))?;
        let [weights, first, second] = parts(&file, &bytes)?;
        let rows = weights.get(WORD_EMBEDDINGS).and_then(|table| table.shape.first());
        let vocab_size = rows.map_or(1, |rows| *rows);
        let network = Pretraining::with_weights(&state.config, vocab_size, &file, weights, device)?;
        let mut moments = [GradientsParams::new(), GradientsParams::new()];
        if state.counters.step > 0 {
            let held =
                |prefix, part| pretrained::held_from(&network, &file, prefix, part, device, false);
            moments = [held("first.", first)?, held("second.", second)?];
        }
        Ok(Checkpoint { path: path.to_path_buf(), state, network, moments })
    }

    /// The newest checkpoint of a run that is whole. Those after it come with what is wrong with
    /// them, newest first.
    ///
    /// # Errors
    /// None is; the error is that of the newest.
    pub fn newest(folder: &Path, device: &Device) -> Result<(Self, Vec<(PathBuf, Error)>)> {
        let mut damaged = Vec::new();
        for path in checkpoints(folder).into_iter().rev() {
            match Checkpoint::read(&path, device) {
                Ok(saved) => return Ok((saved, damaged)),
                Err(error) => damaged.push((path, error)),
            }
        }
        let Some((_, error)) = damaged.into_iter().next() else {
            return Err(no_checkpoint(folder));
        };
        Err(error.fix(
            "No other checkpoint of the run is whole: start a new one (--overwrite), perhaps with \
            --init-from what this one has exported.",
        ))
    }
}

impl PretrainRun {
    /// Writes `folder/step-N`.
    ///
    /// # Errors
    /// The device failed, or the disk refuses; what was there before is untouched.
    pub async fn save(&mut self, folder: &Path) -> Result<PathBuf> {
        self.read().await?;
        let path = folder.join(format!("step-{}", self.counters.step));
        let mut tensors = pretrained::tensors(self.training_network()).await?;
        let folders = self.export(&tensors)?;
        for (prefix, moments) in
            [("first.", &self.optimizer.first), ("second.", &self.optimizer.second)]
        {
            let held = pretrained::tensors_of(self.training_network(), moments).await?;
            tensors
                .extend(held.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)));
        }
        let state = CheckpointState {
            config: self.config.clone(),
            counters: self.counters.clone(),
            corpus: self.corpus.identity(),
            eval_examples: Some(self.eval_examples),
        };
        let state = serde_json::to_vec_pretty(&state).expect("plain data");
        let mut files = ModelFiles::from([
            (TENSORS.to_string(), pretrained::to_safetensors(&tensors, Dtype::F32)),
            (STATE.to_string(), state),
        ]);
        for (folder, own) in folders {
            files.extend(own.into_iter().map(|(name, bytes)| (format!("{folder}/{name}"), bytes)));
        }
        write_folder(&path, &files, |_| true).map_err(|e| {
            e.fix("Make room on the disk, then go on from the last checkpoint with --resume.")
        })?;
        self.saved = true;
        Ok(path)
    }

    /// The Hugging Face folders of the network as it is, with the tokenizer in each.
    ///
    /// # Errors
    /// A weight is not a number any more.
    pub fn export(
        &self,
        tensors: &BTreeMap<String, HostTensor>,
    ) -> Result<Vec<(&'static str, ModelFiles)>> {
        let index = &self.corpus.index;
        let (vocab_size, pad) = (index.settings.vocab_size, index.settings.special.pad as usize);
        let mut folders = export(tensors, &self.config, vocab_size, pad, Dtype::F32)?;
        for (_, files) in &mut folders {
            files.extend(self.corpus.tokenizer_files()?);
        }
        Ok(folders)
    }

    /// Goes on from a checkpoint. `config` may differ from the checkpoint's in what does not
    /// change the network.
    ///
    /// # Errors
    /// The checkpoint is of another text or network, or further than `config` goes.
    pub fn resume(
        saved: Checkpoint,
        config: PretrainConfig,
        corpus: Corpus,
        world: World,
        device: &Device,
    ) -> Result<Self> {
        let Checkpoint { path, state, network, moments: [first, second] } = saved;
        if state.corpus != corpus.identity() {
            return Err(Error::new(path.display(), "the run was started on another text")
                .fix("Give the same --data, or start a new run with --init-from."));
        }
        let other = config.other_network(&state.config);
        if !other.is_empty() {
            let problem = format!("{} has another network: {}", path.display(), other.join("; "));
            return Err(Error::new("--resume", problem)
                .fix("A run keeps its network: leave that out, or start a new run."));
        }
        let (steps, step) = (config.num_train_steps, state.counters.step);
        if steps < step {
            let problem = format!("{} is further already: {step} steps", path.display());
            return Err(Error::new(format!("--steps {steps}"), problem)
                .fix("Give at least as many, or leave it out."));
        }
        let asked = config.eval_batches != state.config.eval_batches;
        let then = state.config.eval_batches * state.config.batch_size;
        let mut run = PretrainRun::new(config, corpus, network, world, device)?;
        run.world().agree(&json!({"steps done": step}))?;
        if !asked {
            run.eval_examples = state.eval_examples.unwrap_or(then);
        }
        (run.optimizer.first, run.optimizer.second) = (first, second);
        run.optimizer.step = step;
        run.counters = state.counters;
        run.saved = true;
        Ok(run)
    }
}

/// Weights, first and second moments of a checkpoint, by the names of the parameters.
fn parts<'a>(file: &str, bytes: &'a Vec<u8>) -> Result<[Tensors<'a>; 3]> {
    let mut parts = [const { Tensors::new() }; 3];
    for (name, tensor) in pretrained::from_safetensors(file, bytes)? {
        let (part, name) = match name.split_once('.') {
            Some(("first", name)) => (1, name),
            Some(("second", name)) => (2, name),
            _ => (0, name.as_str()),
        };
        parts[part].insert(name.to_string(), tensor);
    }
    Ok(parts)
}

/// The error of a folder with nothing to go on from.
pub fn no_checkpoint(folder: &Path) -> Error {
    Error::new(folder.display(), "there is no checkpoint to resume from")
        .fix("Give the --output of a run that has saved one, or leave --resume out.")
}

/// The state of a checkpoint.
fn read_state(path: &Path) -> Result<CheckpointState> {
    let file = path.join(STATE);
    let damaged = |e: &dyn std::fmt::Display| {
        Error::new(file.display(), format!("is no state of a run ({e})"))
    };
    let bytes = fs::read(&file).map_err(|e| damaged(&e))?;
    let state: CheckpointState = serde_json::from_slice(&bytes).map_err(|e| damaged(&e))?;
    state.config.check().map_err(|e| damaged(&e))?;
    match problem(&state.counters, step_of(path)) {
        Some(problem) => Err(damaged(&problem)),
        None => Ok(state),
    }
}

/// What no run counts to, so that someone else has written it.
fn problem(counters: &Counters, named: Option<usize>) -> Option<String> {
    // More than any run, and far below an overflow.
    const LIMIT: u64 = 1 << 53;
    let Counters { step, examples, tokens, unlogged } = counters;
    let steps = *step as u64;
    if let Some(count) = [steps, *examples, *tokens].into_iter().find(|count| *count > LIMIT) {
        return Some(format!("it counts to {count}"));
    }
    if named != Some(*step) {
        return Some(format!("it says step {step}"));
    }
    // A step sees an example or more, and an example has [CLS] and [SEP].
    let impossible = *examples < steps || *tokens < 2 * examples || unlogged.len() > *step;
    impossible.then(|| format!("{tokens} tokens in {examples} examples cannot be {step} steps"))
}

/// The checkpoints of a run, oldest first. What a killed run left half-written is not among them.
pub fn checkpoints(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let mut found: Vec<(usize, PathBuf)> =
        paths.filter_map(|path| Some((step_of(&path)?, path))).collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

/// The step that a checkpoint's folder is named after.
fn step_of(path: &Path) -> Option<usize> {
    path.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok()
}

/// Gives a damaged checkpoint another name, `step-N.damaged`: it is none any more.
///
/// # Errors
/// The disk refuses.
pub fn set_aside(path: &Path) -> Result<PathBuf> {
    let aside = path.with_added_extension(DAMAGED);
    // Of an earlier time that it was damaged.
    let _ = fs::remove_dir_all(&aside);
    fs::rename(path, &aside).map_err(|e| {
        Error::new(path.display(), format!("is damaged and cannot be renamed ({e})"))
            .fix("Remove it.")
    })?;
    Ok(aside)
}

/// Removes what a killed run left half-written, and all but the newest `keep` checkpoints
/// (0 keeps all).
pub fn tidy(folder: &Path, keep: usize) {
    let all = checkpoints(folder);
    let old = if keep == 0 { 0 } else { all.len().saturating_sub(keep) };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_half = |name: &str| name_of_partial(name).is_some();
    let half = entries.filter(|entry| is_half(&entry.file_name().to_string_lossy()));
    // A checkpoint too many does no harm.
    let remove = |path: &PathBuf| drop(fs::remove_dir_all(path));
    all[..old].iter().for_each(remove);
    half.map(|entry| entry.path()).for_each(|path| remove(&path));
}
