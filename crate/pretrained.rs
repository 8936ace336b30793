//! Model folders in Hugging Face's format, in and out: `config.json`, `model.safetensors` (read
//! also in several files with their index, or as `pytorch_model.bin`), and the tokenizer's files.
//!
//! Strict: a missing, unused or mis-shaped tensor is an error that names it. The one exception
//! is a fresh head on a pre-trained body, and that is reported.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::Device;
use half::f16;
pub use safetensors::Dtype;

use crate::config::ElectraConfig;
use crate::error::{Error, Result};
use crate::heads::{Architecture, Electra};

mod folder;
mod init;
mod names;
mod parameters;
mod pickle;
mod pieces;
mod pytorch;
#[cfg(not(target_family = "wasm"))]
mod tensorflow;
mod weights;

pub use folder::{ModelFiles, is_model_file, is_weights, read_zip, to_zip};
#[cfg(target_family = "wasm")]
pub(crate) use folder::{Zipped, as_it_is, open_zip};
#[cfg(not(target_family = "wasm"))]
pub use folder::{files_of_model, read_folder, write_folder};
pub(crate) use init::Fresh;
pub use init::Init;
pub(crate) use names::Place;
use parameters::fill;
pub(crate) use parameters::{ReadBack, fill_from, held_from};
pub use parameters::{tensors, tensors_of};
use pieces::read_whole;
#[cfg(target_family = "wasm")]
pub(crate) use pieces::sought;
pub use pieces::{Files, Pieces};
#[cfg(not(target_family = "wasm"))]
pub(crate) use tensorflow::masked_crc32c;
#[cfg(not(target_family = "wasm"))]
pub use tensorflow::{Original, Part, find_checkpoint, read_checkpoint};
use weights::{FRAMEWORK, Weights, read_weights};
pub use weights::{HostTensor, Tensors, Unread};
pub(crate) use weights::{extend, from_safetensors, header_of, header_word, to_safetensors};

/// A network with its weights.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: ElectraConfig,
    pub architecture: Architecture,
    pub model: Electra,
    /// What the reader should know, for example that the head is freshly drawn.
    pub notes: Vec<String>,
}

/// Loads the model as the class its `config.json` names.
///
/// # Errors
/// A file is missing or damaged, or a tensor is missing, unused or mis-shaped.
pub fn load(files: &dyn Files, device: &Device) -> Result<Loaded> {
    load_as(files, read_config(files)?, device)
}

/// The same with another config than the folder's.
///
/// # Errors
/// As [`load`].
pub fn load_as(files: &dyn Files, config: ElectraConfig, device: &Device) -> Result<Loaded> {
    let architecture = Architecture::of(&config)?;
    let (mut weights, left_behind) = read_weights(files)?;
    let model = Electra::new(&config, architecture, device);
    let model = fill(model, &mut weights, None)?;
    weights.finish()?;
    let notes = left_behind_note(&left_behind).into_iter().collect();
    Ok(Loaded { config, architecture, model, notes })
}

/// None where nothing is.
pub fn left_behind_note(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| format!("left behind: {}", names.join(", ")))
}

/// Takes the body of any ELECTRA or BERT model and draws a fresh head for `architecture`, from `seed`.
///
/// `config` is the folder's, with the labels of the new task.
///
/// # Errors
/// As [`load`], for the tensors of the body.
pub fn load_body(
    files: &dyn Files,
    config: ElectraConfig,
    architecture: Architecture,
    seed: u64,
    device: &Device,
) -> Result<Loaded> {
    let (mut weights, mut old_head) = read_weights(files)?;
    old_head.extend(weights.drop_head());
    let model = Electra::new(&config, architecture, device);
    let allowed = |name: &str| !name.starts_with("electra.");
    let std = config.initializer_range;
    let fresh = Fresh { seed, std, init: Init::Transformers, allowed };
    let model = fill(model, &mut weights, Some(fresh))?;
    weights.finish()?;
    let mut note = format!("the {} head is fresh (seed {seed})", architecture.name(&config));
    if let Some(left_behind) = left_behind_note(&old_head) {
        note += &format!("; {left_behind}");
    }
    Ok(Loaded { config, architecture, model, notes: vec![note] })
}

/// A model with every weight drawn from `seed`: the same numbers on every device.
pub fn fresh(
    config: &ElectraConfig,
    architecture: Architecture,
    seed: u64,
    device: &Device,
) -> Electra {
    let std = config.initializer_range;
    let fresh = Fresh { seed, std, init: Init::Transformers, allowed: |_| true };
    draw_all(Electra::new(config, architecture, device), fresh)
}

/// Draws every weight.
pub(crate) fn draw_all<M: Module>(model: M, fresh: Fresh) -> M {
    fill(model, &mut Weights::default(), Some(fresh))
        .expect("nothing is loaded, so nothing can be wrong")
}

/// `config.json` and `model.safetensors` of a model. The tokenizer's files are not among them.
///
/// # Errors
/// The device failed while the weights were read back.
pub async fn save(
    model: &Electra,
    config: &ElectraConfig,
    architecture: Architecture,
) -> Result<ModelFiles> {
    save_as(model, config, architecture, Dtype::F32).await
}

/// The same in another precision: `F32` or `F16`.
///
/// # Errors
/// As [`save`].
pub async fn save_as(
    model: &Electra,
    config: &ElectraConfig,
    architecture: Architecture,
    dtype: Dtype,
) -> Result<ModelFiles> {
    model_files(&tensors(model).await?, config, architecture, dtype)
}

/// Takes a piece of a file; what is given one after the other is the file.
pub type Write<'a> = dyn FnMut(&[u8]) -> Result<()> + 'a;

/// The weights as `model.safetensors`, tensor by tensor, so that no second copy of all is ever there.
///
/// # Errors
/// The device failed, or `write` did.
pub async fn write_weights(model: &Electra, write: &mut Write<'_>) -> Result<()> {
    let read = ReadBack::of(model, None);
    write(&header_of(read.shapes().collect(), Dtype::F32, FRAMEWORK))?;
    read.each(|_, tensor| write_floats(&tensor.values, write)).await
}

/// Numbers that are written at once.
const AT_ONCE: usize = 1 << 20;

/// As they lie in a file of f32.
pub(crate) fn write_floats(values: &[f32], write: &mut Write<'_>) -> Result<()> {
    let mut bytes = Vec::new();
    for part in values.chunks(AT_ONCE) {
        bytes.clear();
        extend(&mut bytes, part, Dtype::F32);
        write(&bytes)?;
    }
    Ok(())
}

/// `config.json` and `model.safetensors` of tensors that are on the host already.
///
/// # Errors
/// A value has no room in `dtype`.
pub fn model_files(
    tensors: &BTreeMap<String, HostTensor>,
    config: &ElectraConfig,
    architecture: Architecture,
    dtype: Dtype,
) -> Result<ModelFiles> {
    let too_large = |t: &HostTensor| t.values.iter().any(|v| f16::from_f32(*v).is_infinite());
    if let Some((name, _)) = tensors.iter().find(|(_, t)| dtype == Dtype::F16 && too_large(t)) {
        return Err(Error::new(name, "holds values that f16 has no room for").fix("Write f32."));
    }
    Ok(ModelFiles::from([
        ("config.json".to_string(), config_file(config, architecture, dtype)),
        ("model.safetensors".to_string(), to_safetensors(tensors, dtype)),
    ]))
}

/// `config.json` beside weights of that type.
pub fn config_file(config: &ElectraConfig, architecture: Architecture, dtype: Dtype) -> Vec<u8> {
    let mut config = config.clone();
    config.architectures = Some(vec![architecture.name(&config).to_string()]);
    // transformers creates the network in the type that is named here.
    config.other.shift_remove("torch_dtype");
    let word = if dtype == Dtype::F16 { "float16" } else { "float32" };
    config.other.insert("dtype".into(), word.into());
    config.to_json()
}

/// Reads and checks `config.json`.
///
/// # Errors
/// It is missing or not an ELECTRA config.
pub fn read_config(files: &dyn Files) -> Result<ElectraConfig> {
    let bytes = read_whole(files, "config.json")?.ok_or_else(|| {
        Error::new("config.json", "is missing").fix("A model folder has it beside its weights.")
    })?;
    ElectraConfig::from_json(&bytes)
}

/// The tensors of a model folder by their Hugging Face names, and the names of those that are left
/// behind.
///
/// # Errors
/// The weights are missing or damaged.
#[cfg(not(target_family = "wasm"))]
pub fn read_tensors(files: &dyn Files) -> Result<(BTreeMap<String, HostTensor>, Vec<String>)> {
    let (weights, left_behind) = read_weights(files)?;
    Ok((weights.into_host()?, left_behind))
}
