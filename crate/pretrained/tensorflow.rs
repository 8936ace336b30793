//! Checkpoints of google-research/electra: TensorFlow's `.index` and `.data-*`, without TensorFlow.
//!
//! The index is a table of LevelDB: blocks of sorted keys, each key with what it shares with the one
//! before left out. A key is the name of a tensor, its value a `BundleEntryProto`: type, shape, and
//! where in which data file its numbers lie, with their checksum.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use prost::Message;
use safetensors::Dtype;

use super::weights::{HostTensor, extend_floats};
use crate::config::ElectraConfig;
use crate::error::{Error, Result};
use crate::heads::Architecture;

/// How a table of LevelDB ends.
const MAGIC: u64 = 0xdb47_7524_8b80_fb57;

/// The width of an attention head in every ELECTRA that google-research/electra makes.
const HEAD: usize = 64;

/// Far above any index: it lists names and places.
const LONGEST_INDEX: u64 = 64 << 20;

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(int32, tag = "1")]
    num_shards: i32,
    /// 0: little.
    #[prost(int32, tag = "2")]
    endianness: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
    #[prost(int32, tag = "3")]
    shard_id: i32,
    #[prost(int64, tag = "4")]
    offset: i64,
    #[prost(int64, tag = "5")]
    size: i64,
    #[prost(fixed32, optional, tag = "6")]
    crc32c: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "2")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, tag = "1")]
    size: i64,
}

/// The networks of one checkpoint.
pub struct Original {
    pub discriminator: Part,
    pub generator: Option<Part>,
    /// Names of tensors that neither takes: heads of tasks.
    pub left_behind: Vec<String>,
}

/// A network with the names and layouts of Hugging Face.
pub struct Part {
    pub config: ElectraConfig,
    pub architecture: Architecture,
    pub tensors: BTreeMap<String, HostTensor>,
}

/// The checkpoint at a path: its prefix, or a folder that holds it. None where there is none.
pub fn find_checkpoint(path: &Path) -> Result<Option<PathBuf>> {
    let has_index = |prefix: &Path| with_ending(prefix, ".index").is_file();
    if has_index(path) {
        return Ok(Some(path.to_path_buf()));
    }
    let Ok(entries) = std::fs::read_dir(path) else { return Ok(None) };
    // What training left last stands in a text file of protobuf's.
    let latest = std::fs::read_to_string(path.join("checkpoint")).unwrap_or_default();
    let latest = latest.lines().find_map(|line| line.strip_prefix("model_checkpoint_path: "));
    let latest =
        latest.and_then(|name| Some(path.join(Path::new(name.trim_matches('"')).file_name()?)));
    if let Some(prefix) = latest.filter(|prefix| has_index(prefix)) {
        return Ok(Some(prefix));
    }
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut prefixes: Vec<_> =
        names.filter_map(|name| Some(path.join(name.strip_suffix(".index")?))).collect();
    prefixes.sort();
    match prefixes.len() {
        0 | 1 => Ok(prefixes.pop()),
        _ => {
            let names =
                prefixes.iter().map(|p| p.file_name().unwrap_or_default().to_string_lossy());
            let names = crate::error::listed(&names.collect::<Vec<_>>());
            Err(Error::new(path.display(), format!("holds several checkpoints: {names}"))
                .fix("Give one of them, without .index."))
        }
    }
}

/// Reads a checkpoint of pre-training, or of fine-tuning without its heads.
///
/// # Errors
/// A file is missing or damaged, or the checkpoint is not one of ELECTRA.
pub fn read_checkpoint(prefix: &Path) -> Result<Original> {
    let index = with_ending(prefix, ".index");
    let inside = |problem: String| {
        Error::new(index.display(), problem).fix("Take another copy of the checkpoint.")
    };
    let entries = read_index(&index).map_err(inside)?;
    let (header, entries) = entries;
    let mut data = DataFiles { prefix, shards: header.num_shards, open: BTreeMap::new() };
    let (mut body, mut generator, mut heads) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut left_behind = Vec::new();
    for (name, entry) in &entries {
        if is_of_optimizer(name) {
            continue;
        }
        let (tensors, name) = match name.split_once('/') {
            Some(("electra", rest)) => (&mut body, rest),
            Some(("generator", rest)) => (&mut generator, rest),
            Some(("discriminator_predictions" | "generator_predictions", _)) => {
                (&mut heads, &**name)
            }
            _ => {
                left_behind.push(name.clone());
                continue;
            }
        };
        tensors.insert(modern(name), data.read(name, entry)?);
    }
    assemble(body, generator, heads, left_behind).map_err(inside)
}

type Tensors = BTreeMap<String, HostTensor>;

fn assemble(
    body: Tensors,
    generator: Tensors,
    heads: Tensors,
    left_behind: Vec<String>,
) -> std::result::Result<Original, String> {
    let (guessing, detecting): (Tensors, Tensors) =
        heads.into_iter().partition(|(name, _)| name.starts_with("generator_"));
    let detects = !detecting.is_empty();
    let generator = match guessing.is_empty() {
        true => None,
        false => {
            // Its tables are the discriminator's where it has none of its own, and so is its encoder.
            let own = |part: &str| generator.keys().any(|name| name.starts_with(part));
            let (tables, encoder) = (own("embeddings."), own("encoder."));
            let shared = |name: &str| match name.starts_with("embeddings.") {
                true => !tables,
                false => !encoder,
            };
            let shared = body.iter().filter(|(name, _)| shared(name));
            let shared: Tensors = shared.map(|(name, t)| (name.clone(), t.clone())).collect();
            let body: Tensors = shared.into_iter().chain(generator).collect();
            Some(Part::new(Architecture::MaskedLm, body, guessing)?)
        }
    };
    // After fine-tuning only the body is left.
    let architecture = if detects { Architecture::PreTraining } else { Architecture::Model };
    let discriminator = Part::new(architecture, body, detecting)?;
    Ok(Original { discriminator, generator, left_behind })
}

impl Part {
    fn new(
        architecture: Architecture,
        body: Tensors,
        head: Tensors,
    ) -> std::result::Result<Self, String> {
        let config = config_of(&body)?;
        let body = body.into_iter().map(|(name, tensor)| (format!("electra.{name}"), tensor));
        Ok(Part { config, architecture, tensors: body.chain(head).collect() })
    }
}

/// The sizes that the tensors have.
fn config_of(body: &Tensors) -> std::result::Result<ElectraConfig, String> {
    let shape = |name: &str| match body.get(name).map(|tensor| &tensor.shape[..]) {
        Some([rows, columns]) => Ok((*rows, *columns)),
        _ => {
            Err(format!("is not of an ELECTRA: it has no table electra/{}", name.replace('.', "/")))
        }
    };
    let (vocab_size, embedding_size) = shape("embeddings.word_embeddings.weight")?;
    let (max_position_embeddings, _) = shape("embeddings.position_embeddings.weight")?;
    let (type_vocab_size, _) = shape("embeddings.token_type_embeddings.weight")?;
    let (intermediate_size, hidden_size) = shape("encoder.layer.0.intermediate.dense.weight")?;
    if !hidden_size.is_multiple_of(HEAD) {
        return Err(format!(
            "its layers are {hidden_size} wide: no multiple of {HEAD}, a head's width"
        ));
    }
    let layer = |i: usize| format!("encoder.layer.{i}.intermediate.dense.weight");
    Ok(ElectraConfig {
        vocab_size,
        embedding_size,
        hidden_size,
        num_hidden_layers: (0..).take_while(|i| body.contains_key(&layer(*i))).count(),
        num_attention_heads: hidden_size / HEAD,
        intermediate_size,
        max_position_embeddings,
        type_vocab_size,
        ..ElectraConfig::default()
    })
}

/// Moments, counters and rates.
fn is_of_optimizer(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    last.starts_with("adam_") || last.starts_with("Adam") || !name.contains('/')
}

/// `encoder/layer_0/output/dense/kernel` to `encoder.layer.0.output.dense.weight`
fn modern(name: &str) -> String {
    let words = name.split('/').map(|word| match word {
        "kernel" | "gamma" => "weight".to_string(),
        "beta" => "bias".to_string(),
        "dense_1" => "dense_prediction".to_string(),
        word if word.ends_with("_embeddings") => format!("{word}.weight"),
        word => word.replace("layer_", "layer."),
    });
    let name = words.collect::<Vec<_>>().join(".");
    name.replace("generator_predictions.output_bias", "generator_lm_head.bias")
}

fn with_ending(prefix: &Path, ending: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_os_string();
    name.push(ending);
    name.into()
}

// ---- The index ----

type Entries = BTreeMap<String, Entry>;

fn read_index(path: &Path) -> std::result::Result<(Header, Entries), String> {
    let unreadable = |e: std::io::Error| format!("cannot be read ({e})");
    let length = path.metadata().map_err(unreadable)?.len();
    if length > LONGEST_INDEX {
        return Err(format!("is no index: it has {length} bytes"));
    }
    parse_index(&std::fs::read(path).map_err(unreadable)?)
}

/// The header, and the entries by the names of their tensors.
fn parse_index(bytes: &[u8]) -> std::result::Result<(Header, Entries), String> {
    let damaged = || "is damaged, or no index of a TensorFlow checkpoint".to_string();
    let footer = bytes.len().checked_sub(48).map(|start| &bytes[start..]).ok_or_else(damaged)?;
    if footer[40..] != MAGIC.to_le_bytes() {
        return Err(damaged());
    }
    let mut at = footer;
    // The index of metadata, which is empty, comes first.
    handle(&mut at)
        .and_then(|_| handle(&mut at))
        .and_then(|(start, length)| {
            let mut found = BTreeMap::new();
            for (_, mut value) in block(bytes, start, length)? {
                let (start, length) = handle(&mut value)?;
                found.extend(block(bytes, start, length)?);
            }
            let header = Header::decode(found.remove(&Vec::new())?).ok()?;
            let entry = |(key, value): (Vec<u8>, &[u8])| {
                Some((String::from_utf8(key).ok()?, Entry::decode(value).ok()?))
            };
            Some((header, found.into_iter().map(entry).collect::<Option<Entries>>()?))
        })
        .ok_or_else(damaged)
}

/// Where a block lies, and how long it is.
fn handle(bytes: &mut &[u8]) -> Option<(usize, usize)> {
    Some((varint(bytes)?, varint(bytes)?))
}

fn varint(bytes: &mut &[u8]) -> Option<usize> {
    usize::try_from(prost::encoding::decode_varint(bytes).ok()?).ok()
}

/// The keys and values of a block, whose checksum is right.
fn block(bytes: &[u8], start: usize, length: usize) -> Option<Vec<(Vec<u8>, &[u8])>> {
    let end = start.checked_add(length)?;
    let kind = *bytes.get(end)?;
    let checksum = bytes.get(end + 1..)?.first_chunk().copied().map(u32::from_le_bytes)?;
    // TensorFlow compresses no index.
    if kind != 0 || checksum != masked_crc32c(&bytes[start..=end]) {
        return None;
    }
    let content = &bytes[start..end];
    let (rest, restarts) = content.split_last_chunk()?;
    let restarts = (u32::from_le_bytes(*restarts) as usize).checked_mul(4)?;
    let mut rest = &rest[..rest.len().checked_sub(restarts)?];
    let (mut entries, mut key) = (Vec::new(), Vec::new());
    while !rest.is_empty() {
        let (shared, own, size) = (varint(&mut rest)?, varint(&mut rest)?, varint(&mut rest)?);
        if shared > key.len() || own.checked_add(size)? > rest.len() {
            return None;
        }
        key.truncate(shared);
        key.extend_from_slice(&rest[..own]);
        entries.push((key.clone(), &rest[own..own + size]));
        rest = &rest[own + size..];
    }
    Some(entries)
}

/// TensorFlow's checksum: CRC-32C, turned so that one of data with checksums in it is none of them.
pub(crate) fn masked_crc32c(bytes: &[u8]) -> u32 {
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(bytes);
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

// ---- The numbers ----

struct DataFiles<'a> {
    prefix: &'a Path,
    shards: i32,
    open: BTreeMap<i32, (PathBuf, File)>,
}

impl DataFiles<'_> {
    /// The tensor of an entry; a matrix that is multiplied from the right lies as PyTorch's do.
    fn read(&mut self, name: &str, entry: &Entry) -> Result<HostTensor> {
        let shards = self.shards;
        let (path, file) = self.file(entry.shard_id)?;
        let wrong = |problem: &str| {
            Error::new(path.display(), format!("{name} {problem}"))
                .fix("Take another copy of the checkpoint.")
        };
        let dtype = match entry.dtype {
            1 => Dtype::F32,
            14 => Dtype::BF16,
            19 => Dtype::F16,
            _ => return Err(wrong("is not of type f32, bf16 or f16")),
        };
        let dims = entry.shape.iter().flat_map(|shape| &shape.dim);
        let shape: Option<Vec<usize>> = dims.map(|dim| dim.size.try_into().ok()).collect();
        let shape = shape.ok_or_else(|| wrong("has a shape of unknown size"))?;
        let count = shape.iter().try_fold(dtype.bitsize() / 8, |size, dim| size.checked_mul(*dim));
        let length = file.metadata().map_err(|e| wrong(&format!("cannot be read ({e})")))?.len();
        let end = entry.offset.checked_add(entry.size).and_then(|end| u64::try_from(end).ok());
        let fits = end.is_some_and(|end| end <= length) && entry.offset >= 0;
        if !fits || count != usize::try_from(entry.size).ok() || shards < 1 {
            return Err(wrong("is cut off, or of another size than the index says"));
        }
        let mut bytes = vec![0; entry.size as usize];
        let read = file.seek(SeekFrom::Start(entry.offset as u64));
        let read = read.and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|e| wrong(&format!("cannot be read ({e})")))?;
        if entry.crc32c.is_some_and(|crc| crc != masked_crc32c(&bytes)) {
            return Err(wrong("is damaged: its checksum is wrong"));
        }
        let mut values = Vec::new();
        extend_floats(&mut values, dtype, &bytes);
        let tensor = HostTensor { shape, values };
        let is_matrix = name.ends_with("/kernel") && tensor.shape.len() == 2;
        Ok(if is_matrix { tensor.transposed() } else { tensor })
    }

    fn file(&mut self, shard: i32) -> Result<(PathBuf, &mut File)> {
        if !self.open.contains_key(&shard) {
            let path = with_ending(self.prefix, &format!(".data-{shard:05}-of-{:05}", self.shards));
            let file = File::open(&path).map_err(|e| {
                Error::new(path.display(), format!("cannot be read ({e})"))
                    .fix("A checkpoint is its .index and every .data file beside it.")
            })?;
            self.open.insert(shard, (path, file));
        }
        let (path, file) = self.open.get_mut(&shard).expect("it was just opened");
        Ok((path.clone(), file))
    }
}
