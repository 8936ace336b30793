//! Weight files: `model.safetensors` and `pytorch_model.bin` to tensors on the host, and back.

use std::collections::{BTreeMap, BTreeSet};

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::folder::{ModelFiles, WEIGHTS, read_index};
use super::names::{IGNORED, TIED, WORD_EMBEDDINGS};
use super::pytorch;
use crate::error::{Error, Result};

/// A tensor on the host: shape and values, row by row, in PyTorch's layout.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl HostTensor {
    /// `[rows, columns]` to `[columns, rows]`: PyTorch's Linear is the transpose of Burn's.
    pub fn transposed(&self) -> HostTensor {
        let (rows, columns) = (self.shape[0], self.shape[1]);
        let values = (0..columns).flat_map(|c| (0..rows).map(move |r| (r, c)));
        let values = values.map(|(r, c)| self.values[r * columns + c]).collect();
        HostTensor { shape: vec![columns, rows], values }
    }
}

/// The tensors of a weight file that nobody has taken yet.
#[derive(Default)]
pub(super) struct Weights {
    pub(super) file: String,
    pub(super) tensors: BTreeMap<String, HostTensor>,
}

impl Weights {
    /// Also the names of what is left behind: the pooler and the heads of a BERT.
    fn new(
        file: &str,
        tensors: impl IntoIterator<Item = (String, HostTensor)>,
    ) -> Result<(Self, Vec<String>)> {
        let mut tensors: BTreeMap<String, HostTensor> = tensors.into_iter().collect();
        for wrapper in WRAPPERS {
            if tensors.keys().all(|name| name.starts_with(wrapper)) {
                tensors = renamed(tensors, |name| name[wrapper.len()..].to_string());
            }
        }
        let is_bert = tensors.keys().any(|n| n.starts_with("bert.") || n.starts_with("pooler."));
        let tensors = renamed(tensors, |name| modern(&name));
        let mut weights = Weights { file: file.to_string(), tensors };
        let left_behind = if is_bert { weights.drop_head() } else { Vec::new() };
        weights.tensors.remove(IGNORED);
        let tied = weights.tensors.remove(TIED);
        if tied.is_some_and(|tied| weights.tensors.get(WORD_EMBEDDINGS) != Some(&tied)) {
            let problem = format!("{TIED} differs from {WORD_EMBEDDINGS}");
            return Err(Error::new(file, problem).fix("ELECTRA's generator ties the two."));
        }
        Ok((weights, left_behind))
    }

    /// Takes away the tensors of the head and returns their names.
    pub(super) fn drop_head(&mut self) -> Vec<String> {
        let (body, head): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.tensors)
            .into_iter()
            .partition(|(name, _)| name.starts_with("electra."));
        self.tensors = body;
        head.into_keys().collect()
    }

    /// Every tensor must have found its place.
    pub(super) fn finish(self) -> Result<()> {
        if self.tensors.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = self.tensors.into_keys().collect();
        let problem = format!("tensors that the network has no place for: {}", list(&names));
        Err(Error::new(self.file, problem)
            .fix("config.json names another class or size than the weights are for."))
    }
}

/// What wrappers put before every name: `DataParallel`, trainers, and a discriminator that was
/// pre-trained beside its generator.
const WRAPPERS: [&str; 3] = ["module.", "model.", "discriminator."];

fn renamed(
    tensors: BTreeMap<String, HostTensor>,
    name: impl Fn(String) -> String,
) -> BTreeMap<String, HostTensor> {
    tensors.into_iter().map(|(old, tensor)| (name(old), tensor)).collect()
}

/// The name that transformers has today: scales and shifts were called otherwise in 2019, and a body
/// that is saved alone (`ElectraModel`) does not say so in front of its names. A BERT's body is an
/// ELECTRA's.
fn modern(name: &str) -> String {
    let name = name.replace("LayerNorm.gamma", "LayerNorm.weight");
    let name = name.replace("LayerNorm.beta", "LayerNorm.bias");
    let name = name.strip_prefix("bert.").unwrap_or(&name);
    let is_bare = ["embeddings.", "embeddings_project.", "encoder."];
    match is_bare.iter().any(|start| name.starts_with(start)) {
        true => format!("electra.{name}"),
        false => name.to_string(),
    }
}

/// The first few, and how many more.
pub(super) fn list(items: &[String]) -> String {
    let shown = items.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(8) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Also the names of tensors that are left behind.
pub(super) fn read_weights(files: &ModelFiles) -> Result<(Weights, Vec<String>)> {
    let there = WEIGHTS.iter().find_map(|name| Some((*name, files.get(*name)?)));
    let (name, bytes) = there.ok_or_else(|| {
        Error::new("model.safetensors", "is missing")
            .fix("A model folder holds its weights in model.safetensors or pytorch_model.bin.")
    })?;
    match name.ends_with(".index.json") {
        true => Weights::new(name, from_parts(files, name, &read_index(name, bytes)?)?),
        false => Weights::new(name, from_file(name, bytes)?),
    }
}

/// Each tensor from the file that the index names, which must hold it.
fn from_parts(
    files: &ModelFiles,
    index_name: &str,
    index: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, HostTensor>> {
    let mut tensors = BTreeMap::new();
    for file in index.values().collect::<BTreeSet<_>>() {
        let bytes = files.get(file).ok_or_else(|| {
            let problem = format!("{file}, which it names, is missing");
            Error::new(index_name, problem).fix("Take another copy of the folder.")
        })?;
        let own = from_file(file, bytes)?.into_iter();
        tensors.extend(own.filter(|(name, _)| index.get(name) == Some(file)));
    }
    Ok(tensors)
}

fn from_file(name: &str, bytes: &[u8]) -> Result<Vec<(String, HostTensor)>> {
    if name.ends_with(".bin") { from_pytorch(name, bytes) } else { from_safetensors(name, bytes) }
}

/// Reads f32, f16 and bf16 tensors of a state dict, and skips integer buffers.
fn from_pytorch(name: &str, bytes: &[u8]) -> Result<Vec<(String, HostTensor)>> {
    pytorch::read(bytes).map_err(|problem| {
        Error::new(name, format!("cannot be read ({problem})"))
            .fix("Take another copy, or save it again with torch.save(model.state_dict(), ..).")
    })
}

/// Reads f32, f16 and bf16 tensors, and skips integer buffers.
pub(crate) fn from_safetensors(name: &str, bytes: &[u8]) -> Result<Vec<(String, HostTensor)>> {
    let parsed = SafeTensors::deserialize(bytes).map_err(|e| {
        Error::new(name, format!("is damaged ({e})")).fix("Take another copy of it.")
    })?;
    let floats = parsed.tensors().into_iter().filter(|(_, view)| view.dtype() != Dtype::I64);
    floats
        .map(|(tensor, view)| {
            let values = floats_of(view.dtype(), view.data()).ok_or_else(|| {
                let problem = format!("{tensor} is of type {:?}", view.dtype());
                Error::new(name, problem).fix("Supported are F32, F16 and BF16.")
            })?;
            Ok((tensor, HostTensor { shape: view.shape().to_vec(), values }))
        })
        .collect()
}

pub(super) fn floats_of(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let pair = |b: &[u8]| [b[0], b[1]];
    Some(match dtype {
        Dtype::F32 => {
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        }
        Dtype::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes(pair(b)).to_f32()).collect(),
        Dtype::BF16 => {
            bytes.chunks_exact(2).map(|b| bf16::from_le_bytes(pair(b)).to_f32()).collect()
        }
        _ => return None,
    })
}

pub(crate) fn to_safetensors(tensors: &BTreeMap<String, HostTensor>, dtype: Dtype) -> Vec<u8> {
    // transformers refuses a file that does not say which framework wrote it.
    to_safetensors_with(tensors, dtype, "format", "pt")
}

/// The same with another word in its header.
pub(crate) fn to_safetensors_with(
    tensors: &BTreeMap<String, HostTensor>,
    dtype: Dtype,
    key: &str,
    word: &str,
) -> Vec<u8> {
    let bytes_of = |values: &[f32]| -> Vec<u8> {
        match dtype {
            Dtype::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    };
    let stored: Vec<_> = tensors.iter().map(|(n, t)| (n, &t.shape, bytes_of(&t.values))).collect();
    let views = stored.iter().map(|(name, shape, data)| {
        let view = TensorView::new(dtype, shape.to_vec(), data);
        (name.as_str(), view.expect("the bytes were made for the type"))
    });
    let header = std::collections::HashMap::from([(key.to_string(), word.to_string())]);
    safetensors::serialize(views, Some(header)).expect("names and sizes are consistent")
}

/// A word of the header of a safetensors file; None where the file is damaged, or has no such.
pub(crate) fn header_word(bytes: &[u8], key: &str) -> Option<String> {
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    header.metadata().as_ref()?.get(key).cloned()
}
