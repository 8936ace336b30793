//! One file of packed examples: `input_ids` `[examples, max_seq_length]`, padded; `lengths`
//! `[examples]`, the real tokens; `segment_starts` `[examples]`, where the second segment begins,
//! which is the length where there is none.

use std::fmt::Display;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, TensorInfo, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::packing::Segments;
use crate::error::{Error, Result};
use crate::files::write_file;
use crate::tokenizer::SpecialIds;

/// Whether an example is learned from or held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Train,
    Eval,
}

impl Split {
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Eval => "eval",
        }
    }
}

/// What `index.json` says of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardInfo {
    pub file: String,
    pub split: Split,
    pub examples: usize,
    /// Real tokens, special ones included.
    pub tokens: u64,
    pub sha256: String,
}

/// How the rows of a corpus look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub max_seq_length: usize,
    pub vocab_size: usize,
    pub special: SpecialIds,
}

impl Layout {
    /// Two bytes hold every id of most vocabularies.
    fn dtype(&self) -> Dtype {
        if self.vocab_size <= 1 << 16 { Dtype::U16 } else { Dtype::U32 }
    }

    fn id_bytes(&self) -> usize {
        if self.dtype() == Dtype::U16 { 2 } else { 4 }
    }

    /// Bytes of an example on disk.
    pub fn row_bytes(&self) -> usize {
        self.id_bytes() * self.max_seq_length + 4
    }
}

/// Examples on their way to a shard.
pub struct ShardWriter {
    layout: Layout,
    split: Split,
    input_ids: Vec<u8>,
    lengths: Vec<u8>,
    segment_starts: Vec<u8>,
    tokens: u64,
}

impl ShardWriter {
    pub fn new(layout: Layout, split: Split) -> Self {
        let (input_ids, lengths, segment_starts) = Default::default();
        ShardWriter { layout, split, input_ids, lengths, segment_starts, tokens: 0 }
    }

    pub fn examples(&self) -> usize {
        self.lengths.len() / 2
    }

    /// Adds an example: `[CLS] first [SEP]` or `[CLS] first [SEP] second [SEP]`.
    pub fn push(&mut self, segments: &Segments) {
        let SpecialIds { pad, cls, sep, .. } = self.layout.special;
        let second = (!segments.second.is_empty()).then_some(&segments.second);
        let row = [cls].into_iter().chain(segments.first.iter().copied()).chain([sep]);
        let row = row.chain(second.into_iter().flatten().copied()).chain(second.map(|_| sep));
        let segment_start = segments.first.len() + 2;
        let length = segment_start + second.map_or(0, |second| second.len() + 1);
        assert!(length <= self.layout.max_seq_length, "an example of {length} tokens");
        let padding = std::iter::repeat_n(pad, self.layout.max_seq_length - length);
        let bytes = self.layout.id_bytes();
        row.chain(padding).for_each(|id| self.input_ids.extend(&id.to_le_bytes()[..bytes]));
        self.lengths.extend((length as u16).to_le_bytes());
        self.segment_starts.extend((segment_start as u16).to_le_bytes());
        self.tokens += length as u64;
    }

    /// Writes the shard with this number, and is empty again. None where there is no example.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&mut self, folder: &Path, number: usize) -> Result<Option<ShardInfo>> {
        let examples = self.examples();
        if examples == 0 {
            return Ok(None);
        }
        let file = format!("{}-{number:05}.safetensors", self.split.name());
        let bytes = self.serialize(examples);
        write_file(&folder.join(&file), &bytes)?;
        let sha256 = super::hex(&Sha256::digest(&bytes));
        let tokens = std::mem::take(&mut self.tokens);
        for buffer in [&mut self.input_ids, &mut self.lengths, &mut self.segment_starts] {
            buffer.clear();
        }
        Ok(Some(ShardInfo { file, split: self.split, examples, tokens, sha256 }))
    }

    fn serialize(&self, examples: usize) -> Vec<u8> {
        let view = |dtype, shape, data| TensorView::new(dtype, shape, data).expect("whole rows");
        let matrix = vec![examples, self.layout.max_seq_length];
        let tensors = [
            ("input_ids", view(self.layout.dtype(), matrix, &self.input_ids)),
            ("lengths", view(Dtype::U16, vec![examples], &self.lengths)),
            ("segment_starts", view(Dtype::U16, vec![examples], &self.segment_starts)),
        ];
        safetensors::serialize(tensors, None).expect("three names")
    }
}

/// One example as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// `[CLS]` to the last `[SEP]`, without padding.
    pub input_ids: Vec<u32>,
    /// The index of the first token of the second segment; the length where there is none.
    pub segment_start: usize,
}

/// A shard on disk. Its rows are read one by one: what is mapped into memory and then cut short by
/// somebody ends the process.
pub struct Shard {
    name: String,
    layout: Layout,
    examples: usize,
    file: File,
    /// Bytes of the file, and where in it the tensors begin.
    length: u64,
    input_ids: u64,
    lengths: u64,
    segment_starts: u64,
}

impl Shard {
    /// # Errors
    /// The file is missing, damaged, or not what the index says.
    pub fn open(folder: &Path, info: &ShardInfo, layout: Layout) -> Result<Self> {
        let path = folder.join(&info.file);
        let name = path.display().to_string();
        let file = File::open(&path).map_err(|e| unopened(&name, &e))?;
        let length = file.metadata().map_err(|e| unopened(&name, &e))?.len();
        let (start, header) = read_header(&name, &file, length)?;
        let begin = |tensor: &str, dtype: Dtype, shape: &[usize]| {
            let problem = match header.info(tensor) {
                Some(info) if (info.dtype, &info.shape[..]) == (dtype, shape) => {
                    let (from, to) = info.data_offsets;
                    let row = shape.iter().try_fold(dtype.bitsize() / 8, |a, b| a.checked_mul(*b));
                    if row.is_some_and(|bytes| from.checked_add(bytes) == Some(to)) {
                        return Ok(start + from as u64);
                    }
                    format!("{tensor} is not as long as its shape says")
                }
                Some(TensorInfo { dtype: is, shape: was, .. }) => {
                    format!("{tensor} is {is} {was:?}, not {dtype} {shape:?}")
                }
                None => format!("is without {tensor}"),
            };
            Err(Error::new(&name, problem).fix(super::AGAIN))
        };
        let input_ids =
            begin("input_ids", layout.dtype(), &[info.examples, layout.max_seq_length])?;
        let lengths = begin("lengths", Dtype::U16, &[info.examples])?;
        let segment_starts = begin("segment_starts", Dtype::U16, &[info.examples])?;
        let examples = info.examples;
        Ok(Shard { name, layout, examples, file, length, input_ids, lengths, segment_starts })
    }

    pub fn examples(&self) -> usize {
        self.examples
    }

    /// Of the file.
    pub fn bytes(&self) -> u64 {
        self.length
    }

    /// # Errors
    /// The row cannot come from `prepare`, or the file is not what it was when it was opened.
    pub fn example(&self, row: usize) -> Result<Example> {
        let example = self.read(row)?;
        let length = example.input_ids.len();
        match self.layout.problem(&example) {
            None => Ok(example),
            Some(problem) => {
                let place = format!("{}, row {row}", self.name);
                Err(Error::new(place, format!("{problem} (length {length})")).fix(super::AGAIN))
            }
        }
    }

    fn read(&self, row: usize) -> Result<Example> {
        let short = |start: u64| -> Result<usize> {
            let mut bytes = [0; 2];
            read_at(&self.name, &self.file, &mut bytes, start + 2 * row as u64)?;
            Ok(usize::from(u16::from_le_bytes(bytes)))
        };
        let width = self.layout.id_bytes();
        let start = self.input_ids + (row * width * self.layout.max_seq_length) as u64;
        let mut ids = vec![0; width * short(self.lengths)?.min(self.layout.max_seq_length)];
        read_at(&self.name, &self.file, &mut ids, start)?;
        let id = |bytes: &[u8]| bytes.iter().rev().fold(0, |id, byte| id << 8 | u32::from(*byte));
        let input_ids = ids.chunks_exact(width).map(id).collect();
        Ok(Example { input_ids, segment_start: short(self.segment_starts)? })
    }

    /// # Errors
    /// The file is not the one that was written.
    pub fn verify(&self, info: &ShardInfo) -> Result<()> {
        let (mut hash, mut buffer, mut at) = (Sha256::new(), vec![0; 1 << 20], 0);
        while at < self.length {
            let count = buffer.len().min((self.length - at) as usize);
            read_at(&self.name, &self.file, &mut buffer[..count], at)?;
            hash.update(&buffer[..count]);
            at += count as u64;
        }
        if super::hex(&hash.finalize()) == info.sha256 {
            return Ok(());
        }
        Err(Error::new(&self.name, "is not the file that was written (SHA-256)").fix(super::AGAIN))
    }
}

fn unopened(name: &str, e: &std::io::Error) -> Error {
    // Every shard stays open, so that a run reads what it has begun with.
    const TOO_MANY: i32 = 24;
    let error = unreadable(name, e);
    match cfg!(unix) && e.raw_os_error() == Some(TOO_MANY) {
        true => error.fix("Let a process have more open files: ulimit -n 65536."),
        false => error,
    }
}

fn unreadable(name: &str, reason: &dyn Display) -> Error {
    Error::new(name, format!("cannot be read ({reason})")).fix(super::AGAIN)
}

/// Where the tensors begin, and what they are.
fn read_header(name: &str, file: &File, length: u64) -> Result<(u64, Metadata)> {
    // Three tensors take some hundred bytes.
    const LIMIT: u64 = 1 << 20;
    let mut size = [0; 8];
    read_at(name, file, &mut size, 0)?;
    let size = u64::from_le_bytes(size);
    if size > LIMIT {
        return Err(unreadable(name, &format!("its header has {size} bytes")));
    }
    let mut json = vec![0; size as usize];
    read_at(name, file, &mut json, 8)?;
    let header: Metadata = serde_json::from_slice(&json).map_err(|e| unreadable(name, &e))?;
    let whole = (8 + size).saturating_add(header.data_len() as u64);
    match whole == length {
        true => Ok((8 + size, header)),
        false => Err(unreadable(name, &format!("it has {length} bytes, not {whole}"))),
    }
}

fn read_at(name: &str, file: &File, bytes: &mut [u8], at: u64) -> Result<()> {
    read_exact_at(file, bytes, at).map_err(|e| match e.kind() {
        ErrorKind::UnexpectedEof => Error::new(name, "has been cut short").fix(super::AGAIN),
        _ => unreadable(name, &e),
    })
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(not(unix))]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> std::io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !bytes.is_empty() {
        let count = file.seek_read(bytes, at)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        (bytes, at) = (&mut bytes[count..], at + count as u64);
    }
    Ok(())
}

impl Layout {
    /// What is wrong with a row.
    fn problem(&self, example: &Example) -> Option<String> {
        let (ids, start) = (&example.input_ids, example.segment_start);
        let (cls, sep) = (self.special.cls, self.special.sep);
        let (first, last) = (ids.first(), ids.last());
        if ids.len() < 3 || (first, last) != (Some(&cls), Some(&sep)) {
            return Some("is no row from [CLS] to [SEP]".into());
        }
        if !(3..=ids.len()).contains(&start) || ids[start - 1] != sep {
            return Some(format!("has no second segment at {start}"));
        }
        let beyond = ids.iter().find(|id| **id as usize >= self.vocab_size);
        beyond.map(|id| format!("has the id {id}, but the vocabulary has {}", self.vocab_size))
    }
}
