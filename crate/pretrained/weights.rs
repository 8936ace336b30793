//! Weight files: `model.safetensors` and `pytorch_model.bin` to tensors on the host, and back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Display;
use std::ops::Range;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::folder::{WEIGHTS, read_index};
use super::names::{IGNORED, TIED, WORD_EMBEDDINGS};
use super::pieces::{Files, Pieces, unreadable};
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

/// A tensor of a file, whose values are read when somebody takes them.
pub struct Unread<'a> {
    pub shape: Vec<usize>,
    pub read: Box<dyn FnOnce() -> std::result::Result<Vec<f32>, String> + 'a>,
}

impl From<HostTensor> for Unread<'_> {
    fn from(HostTensor { shape, values }: HostTensor) -> Self {
        Unread { shape, read: Box::new(|| Ok(values)) }
    }
}

impl Unread<'_> {
    /// # Errors
    /// What it is read from is not there any more, or is no longer what it was.
    pub(crate) fn read(self) -> std::result::Result<HostTensor, String> {
        Ok(HostTensor { shape: self.shape, values: (self.read)()? })
    }
}

/// The tensors of a weight file that nobody has taken yet.
#[derive(Default)]
pub(super) struct Weights<'a> {
    pub(super) file: String,
    pub(super) tensors: Tensors<'a>,
}

/// By their names.
pub type Tensors<'a> = BTreeMap<String, Unread<'a>>;

impl<'a> Weights<'a> {
    /// Also the names of what is left behind: the pooler and the heads of a BERT.
    fn new(
        file: &str,
        tensors: impl IntoIterator<Item = (String, Unread<'a>)>,
    ) -> Result<(Self, Vec<String>)> {
        let mut tensors: Tensors = tensors.into_iter().collect();
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
        weights.check_tied()?;
        Ok((weights, left_behind))
    }

    /// The generator's softmax weights are the word embeddings: they are looked at, and go.
    fn check_tied(&mut self) -> Result<()> {
        let Some(tied) = self.tensors.remove(TIED) else { return Ok(()) };
        let read = |tensor: Unread| tensor.read().map_err(|e| Error::new(&self.file, e));
        let words = self.tensors.remove(WORD_EMBEDDINGS).map(read).transpose()?;
        if words.as_ref() != Some(&read(tied)?) {
            let problem = format!("{TIED} differs from {WORD_EMBEDDINGS}");
            return Err(Error::new(&self.file, problem).fix("ELECTRA's generator ties the two."));
        }
        self.tensors.extend(words.map(|words| (WORD_EMBEDDINGS.to_string(), words.into())));
        Ok(())
    }

    /// Reads all that is left.
    #[cfg(not(target_family = "wasm"))]
    pub(super) fn into_host(self) -> Result<BTreeMap<String, HostTensor>> {
        let read = |(name, tensor): (String, Unread)| {
            let tensor = tensor.read().map_err(|e| Error::new(&self.file, e))?;
            Ok((name, tensor))
        };
        self.tensors.into_iter().map(read).collect()
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

fn renamed<'a>(tensors: Tensors<'a>, name: impl Fn(String) -> String) -> Tensors<'a> {
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
pub(super) fn read_weights(files: &dyn Files) -> Result<(Weights<'_>, Vec<String>)> {
    let there = WEIGHTS.iter().find_map(|name| Some((*name, files.open(name)?)));
    let (name, file) = there.ok_or_else(|| {
        Error::new("model.safetensors", "is missing")
            .fix("A model folder holds its weights in model.safetensors or pytorch_model.bin.")
    })?;
    if !name.ends_with(".index.json") {
        return Weights::new(name, from_file(name, file)?);
    }
    let bytes = file.read(0..file.length()).map_err(|e| unreadable(name, &e))?;
    Weights::new(name, from_parts(files, name, &read_index(name, &bytes)?)?)
}

/// Each tensor from the file that the index names, which must hold it.
fn from_parts<'a>(
    files: &'a dyn Files,
    index_name: &str,
    index: &BTreeMap<String, String>,
) -> Result<Tensors<'a>> {
    let mut tensors = Tensors::new();
    for name in index.values().collect::<BTreeSet<_>>() {
        let file = files.open(name).ok_or_else(|| {
            let problem = format!("{name}, which it names, is missing");
            Error::new(index_name, problem).fix("Take another copy of the folder.")
        })?;
        let own = from_file(name, file)?.into_iter();
        tensors.extend(own.filter(|(tensor, _)| index.get(tensor) == Some(name)));
    }
    Ok(tensors)
}

fn from_file<'a>(name: &str, file: &'a dyn Pieces) -> Result<Vec<(String, Unread<'a>)>> {
    if name.ends_with(".bin") { from_pytorch(name, file) } else { from_safetensors(name, file) }
}

/// Reads f32, f16 and bf16 tensors of a state dict, and skips integer buffers.
fn from_pytorch<'a>(name: &str, file: &'a dyn Pieces) -> Result<Vec<(String, Unread<'a>)>> {
    pytorch::read(file).map_err(|problem| {
        Error::new(name, format!("cannot be read ({problem})"))
            .fix("Take another copy, or save it again with torch.save(model.state_dict(), ..).")
    })
}

/// Reads f32, f16 and bf16 tensors, in their order in the file, and skips integer buffers.
pub(crate) fn from_safetensors<'a>(
    name: &str,
    file: &'a dyn Pieces,
) -> Result<Vec<(String, Unread<'a>)>> {
    let (start, header) = read_header(name, file)?;
    let unread = |tensor: String| {
        let info = header.info(&tensor).expect("it is one of its keys");
        let (dtype, (first, end)) = (info.dtype, info.data_offsets);
        if !is_supported(dtype) {
            let problem = format!("{tensor} is of type {dtype:?}");
            return Err(Error::new(name, problem).fix("Supported are F32, F16 and BF16."));
        }
        let place = start + first..start + end;
        let read = move || read_floats(file, place, dtype).map_err(|e| e.to_string());
        Ok((tensor, Unread { shape: info.shape.clone(), read: Box::new(read) }))
    };
    let is_float = |name: &String| header.info(name).is_some_and(|info| info.dtype != Dtype::I64);
    header.offset_keys().into_iter().filter(is_float).map(unread).collect()
}

/// Where the numbers of a safetensors file begin, and what is said of them.
fn read_header(name: &str, file: &dyn Pieces) -> Result<(usize, Metadata)> {
    let damaged = |e: &dyn Display| {
        Error::new(name, format!("is damaged ({e})")).fix("Take another copy of it.")
    };
    let read = |range: Range<usize>| {
        if range.end > file.length() {
            return Err(damaged(&"it is cut off"));
        }
        file.read(range).map_err(|e| unreadable(name, &e))
    };
    let length = u64::from_le_bytes(read(0..8)?[..].try_into().expect("eight bytes"));
    let length = usize::try_from(length).ok().filter(|length| *length <= file.length());
    let start = 8 + length.ok_or_else(|| damaged(&"its header is longer than the file"))?;
    let header: Metadata = serde_json::from_slice(&read(8..start)?).map_err(|e| damaged(&e))?;
    match start.checked_add(header.data_len()) {
        Some(end) if end == file.length() => Ok((start, header)),
        _ => Err(damaged(&"it has another length than its header says")),
    }
}

/// Adds the numbers of a supported type.
pub(super) fn extend_floats(values: &mut Vec<f32>, dtype: Dtype, bytes: &[u8]) {
    let quads = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let pair = |b: &[u8]| [b[0], b[1]];
    match dtype {
        Dtype::F32 => values.extend(bytes.chunks_exact(4).map(quads)),
        Dtype::F16 => {
            values.extend(bytes.chunks_exact(2).map(|b| f16::from_le_bytes(pair(b)).to_f32()));
        }
        _ => values.extend(bytes.chunks_exact(2).map(|b| bf16::from_le_bytes(pair(b)).to_f32())),
    }
}

pub(super) fn is_supported(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16)
}

/// Bytes of a tensor that are read at once.
const AT_ONCE: usize = 4 << 20;

/// The numbers that lie there in a row.
pub(super) fn read_floats(
    file: &dyn Pieces,
    range: Range<usize>,
    dtype: Dtype,
) -> std::io::Result<Vec<f32>> {
    let mut values = Vec::with_capacity(range.len() * 8 / dtype.bitsize());
    for start in range.clone().step_by(AT_ONCE) {
        let bytes = file.read(start..range.end.min(start + AT_ONCE))?;
        extend_floats(&mut values, dtype, &bytes);
    }
    Ok(values)
}

pub(crate) fn to_safetensors(tensors: &BTreeMap<String, HostTensor>, dtype: Dtype) -> Vec<u8> {
    let shapes = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone()));
    let mut file = header_of(shapes.collect(), dtype, FRAMEWORK);
    tensors.values().for_each(|tensor| extend(&mut file, &tensor.values, dtype));
    file
}

/// transformers refuses a file that does not say which framework wrote it.
pub(super) const FRAMEWORK: (&str, &str) = ("format", "pt");

/// What stands in front of the numbers of tensors that follow each other in this order, with a word
/// under a key.
pub(crate) fn header_of(
    shapes: Vec<(String, Vec<usize>)>,
    dtype: Dtype,
    (key, word): (&str, &str),
) -> Vec<u8> {
    let mut end = 0;
    let mut info = |(name, shape): (String, Vec<usize>)| {
        let start = end;
        end += shape.iter().product::<usize>() * dtype.bitsize() / 8;
        (name, TensorInfo { dtype, shape, data_offsets: (start, end) })
    };
    let tensors = shapes.into_iter().map(&mut info).collect();
    let words = HashMap::from([(key.to_string(), word.to_string())]);
    let header = Metadata::new(Some(words), tensors).expect("they follow each other");
    let mut text = serde_json::to_vec(&header).expect("plain data");
    // Spaces, so that the numbers begin at a multiple of eight.
    text.resize(text.len().next_multiple_of(8), b' ');
    [&(text.len() as u64).to_le_bytes()[..], &text].concat()
}

/// Adds the numbers to a file.
pub(crate) fn extend(file: &mut Vec<u8>, values: &[f32], dtype: Dtype) {
    file.reserve_exact(size_of_val(values) * dtype.bitsize() / 32);
    match dtype {
        Dtype::F16 => values.iter().for_each(|v| file.extend(f16::from_f32(*v).to_le_bytes())),
        _ => values.iter().for_each(|v| file.extend(v.to_le_bytes())),
    }
}

/// A word of the header of a safetensors file; None where the file is damaged, or has no such.
pub(crate) fn header_word(file: &dyn Pieces, key: &str) -> Option<String> {
    let (_, header) = read_header("", file).ok()?;
    header.metadata().as_ref()?.get(key).cloned()
}
