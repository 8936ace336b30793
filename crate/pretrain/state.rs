//! Checkpoints of a run: a folder each, there whole or not at all.
//!
//! `step-N/` holds `training.safetensors` (every parameter by its name, and its moments under
//! `first.` and `second.`), `state.json`, and the Hugging Face folders `discriminator/` and
//! `generator/`. It is written under a temporary name, synced, and renamed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::config::PretrainConfig;
use super::network::{Pretraining, export};
use super::run::{Counters, Run};
use crate::checkpoint::{self, Dtype, HostTensor, ModelFiles};
use crate::corpus::Corpus;
use crate::distributed::World;
use crate::error::{Error, Result};

use burn::tensor::Device;

const TENSORS: &str = "training.safetensors";
const STATE: &str = "state.json";
const REMOVE: &str = "Remove this checkpoint's folder to go on from the one before.";
const TEMPORARY: &str = ".writing-";

/// `state.json`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub config: PretrainConfig,
    #[serde(flatten)]
    pub counters: Counters,
    /// Which prepared text the run reads.
    pub corpus: String,
}

impl Run {
    /// Writes `folder/step-N`.
    ///
    /// # Errors
    /// The device failed, or the disk refuses; what was there before is untouched.
    pub async fn save(&mut self, folder: &Path) -> Result<PathBuf> {
        self.read().await?;
        let path = folder.join(format!("step-{}", self.counters.step));
        let mut tensors = checkpoint::tensors(self.training_network()).await?;
        let folders = self.export(&tensors)?;
        for (prefix, moments) in
            [("first.", &self.optimizer.first), ("second.", &self.optimizer.second)]
        {
            let held = checkpoint::tensors_of(self.training_network(), moments).await?;
            tensors
                .extend(held.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)));
        }
        let state = State {
            config: self.config.clone(),
            counters: self.counters.clone(),
            corpus: self.corpus.identity(),
        };
        let state = serde_json::to_vec_pretty(&state).expect("plain data");
        let own = ModelFiles::from([
            (TENSORS.to_string(), checkpoint::to_safetensors(&tensors, Dtype::F32)),
            (STATE.to_string(), state),
        ]);
        write_whole(&path, &own, &folders).map_err(|e| {
            Error::new(path.display(), format!("the checkpoint cannot be written ({e})"))
                .fix("Make room on the disk, then go on from the last checkpoint with --resume.")
        })?;
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
    /// The checkpoint is damaged, or is of another text or network.
    pub fn resume(
        path: &Path,
        config: PretrainConfig,
        corpus: Corpus,
        world: World,
        device: &Device,
    ) -> Result<Self> {
        let state = read_state(path)?;
        if state.corpus != corpus.identity() {
            return Err(Error::new(path.display(), "the run was started on another text")
                .fix("Give the same --data, or start a new run with --init-from."));
        }
        let damaged = |e: Error| e.fix(REMOVE);
        let file = path.join(TENSORS).display().to_string();
        let [weights, first, second] = read_parts(path, &file).map_err(damaged)?;
        let vocab_size = corpus.index.settings.vocab_size;
        let network = Pretraining::with_weights(&config, vocab_size, &file, weights, device);
        let mut run = Run::new(config, corpus, network.map_err(damaged)?, world, device)?;
        if state.counters.step > 0 {
            let network = run.training_network();
            let held = |prefix, part| {
                checkpoint::held_from(network, &file, prefix, part, device).map_err(damaged)
            };
            let (first, second) = (held("first.", first)?, held("second.", second)?);
            (run.optimizer.first, run.optimizer.second) = (first, second);
        }
        run.optimizer.step = state.counters.step;
        run.counters = state.counters;
        Ok(run)
    }
}

/// Weights, first and second moments of a checkpoint, by the names of the parameters.
fn read_parts(path: &Path, file: &str) -> Result<[BTreeMap<String, HostTensor>; 3]> {
    let bytes = fs::read(path.join(TENSORS))
        .map_err(|e| Error::new(file, format!("cannot be read ({e})")))?;
    let mut parts = [const { BTreeMap::new() }; 3];
    for (name, tensor) in checkpoint::from_safetensors(file, &bytes)? {
        let (part, name) = match name.split_once('.') {
            Some(("first", name)) => (1, name),
            Some(("second", name)) => (2, name),
            _ => (0, name.as_str()),
        };
        parts[part].insert(name.to_string(), tensor);
    }
    Ok(parts)
}

/// The state of a checkpoint.
///
/// # Errors
/// It is not there or damaged.
pub fn read_state(path: &Path) -> Result<State> {
    let file = path.join(STATE);
    let damaged = |e: &dyn std::fmt::Display| {
        Error::new(file.display(), format!("is no state of a run ({e})")).fix(REMOVE)
    };
    let bytes = fs::read(&file).map_err(|e| damaged(&e))?;
    let state: State = serde_json::from_slice(&bytes).map_err(|e| damaged(&e))?;
    // More than any run, and far below an overflow.
    const LIMIT: u64 = 1 << 53;
    let Counters { step, examples, tokens, .. } = state.counters;
    match [step as u64, examples, tokens].into_iter().find(|count| *count > LIMIT) {
        Some(count) => Err(damaged(&format_args!("it counts to {count}"))),
        None => Ok(state),
    }
}

/// The checkpoints of a run, oldest first. What a killed run left half-written is not among them.
pub fn checkpoints(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let step = |name: &str| name.strip_prefix("step-")?.parse::<usize>().ok();
    let mut found: Vec<(usize, PathBuf)> = entries
        .filter_map(|entry| Some((step(entry.file_name().to_str()?)?, entry.path())))
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

/// Removes what a killed run left half-written, and all but the newest `keep` checkpoints
/// (0 keeps all).
pub fn tidy(folder: &Path, keep: usize) {
    let all = checkpoints(folder);
    let old = if keep == 0 { 0 } else { all.len().saturating_sub(keep) };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let half = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(TEMPORARY));
    // A checkpoint too many does no harm.
    let remove = |path: &PathBuf| drop(fs::remove_dir_all(path));
    all[..old].iter().for_each(remove);
    half.map(|entry| entry.path()).for_each(|path| remove(&path));
}

fn write_whole(
    path: &Path,
    own: &ModelFiles,
    folders: &[(&'static str, ModelFiles)],
) -> std::io::Result<()> {
    let parent = path.parent().expect("a checkpoint lies in a folder");
    fs::create_dir_all(parent)?;
    let temporary = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(parent)?;
    write_files(temporary.path(), own)?;
    for (name, files) in folders {
        let folder = temporary.path().join(name);
        fs::create_dir(&folder)?;
        write_files(&folder, files)?;
    }
    if path.exists() {
        fs::remove_dir_all(path)?;
    }
    fs::rename(temporary.path(), path)?;
    // It has moved: there is nothing left to remove.
    let _ = temporary.keep();
    sync_folder(parent)
}

fn write_files(folder: &Path, files: &ModelFiles) -> std::io::Result<()> {
    for (name, bytes) in files {
        let mut file = File::create(folder.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()?;
    }
    sync_folder(folder)
}

/// So that a rename outlives a power cut; only Unix can.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
