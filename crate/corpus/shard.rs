//! One file of packed examples: `input_ids` `[examples, max_seq_length]`, padded; `lengths`
//! `[examples]`, the real tokens; `segment_starts` `[examples]`, where the second segment begins,
//! which is the length where there is none.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
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

/// A shard on disk, mapped into memory.
pub struct Shard {
    name: String,
    layout: Layout,
    examples: usize,
    bytes: Mmap,
    input_ids: Range<usize>,
    lengths: Range<usize>,
    segment_starts: Range<usize>,
}

impl Shard {
    /// # Errors
    /// The file is missing, damaged, or not what the index says.
    pub fn open(folder: &Path, info: &ShardInfo, layout: Layout) -> Result<Self> {
        let path = folder.join(&info.file);
        let name = path.display().to_string();
        let damaged = |e: &dyn std::fmt::Display| {
            Error::new(&name, format!("cannot be read ({e})")).fix(super::AGAIN)
        };
        let file = File::open(&path).map_err(|e| damaged(&e))?;
        // SAFETY: a shard is written under another name and never changed under its own. Should
        // someone cut it short meanwhile, the process ends with a bus error.
        let bytes = unsafe { Mmap::map(&file) }.map_err(|e| damaged(&e))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| damaged(&e))?;
        let range = |tensor: &str, dtype: Dtype, shape: &[usize]| {
            let view = tensors.tensor(tensor).map_err(|e| damaged(&e))?;
            if (view.dtype(), view.shape()) != (dtype, shape) {
                let (is, was) = (view.dtype(), view.shape());
                let words = format!("{tensor} is {is} {was:?}, not {dtype} {shape:?}");
                return Err(Error::new(&name, words).fix(super::AGAIN));
            }
            let start = view.data().as_ptr().addr() - bytes.as_ptr().addr();
            Ok(start..start + view.data().len())
        };
        let input_ids =
            range("input_ids", layout.dtype(), &[info.examples, layout.max_seq_length])?;
        let lengths = range("lengths", Dtype::U16, &[info.examples])?;
        let segment_starts = range("segment_starts", Dtype::U16, &[info.examples])?;
        let examples = info.examples;
        Ok(Shard { name, layout, examples, bytes, input_ids, lengths, segment_starts })
    }

    pub fn examples(&self) -> usize {
        self.examples
    }

    /// Of the file.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// # Errors
    /// The row cannot come from `prepare`.
    pub fn example(&self, row: usize) -> Result<Example> {
        let example = self.read(row);
        let length = example.input_ids.len();
        match self.layout.problem(&example) {
            None => Ok(example),
            Some(problem) => {
                let place = format!("{}, row {row}", self.name);
                Err(Error::new(place, format!("{problem} (length {length})")).fix(super::AGAIN))
            }
        }
    }

    fn read(&self, row: usize) -> Example {
        let short = |range: &Range<usize>| {
            let at = range.start + 2 * row;
            usize::from(u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]))
        };
        let width = self.layout.id_bytes();
        let start = self.input_ids.start + row * width * self.layout.max_seq_length;
        let length = short(&self.lengths).min(self.layout.max_seq_length);
        let ids = self.bytes[start..start + width * length].chunks_exact(width);
        let id = |bytes: &[u8]| bytes.iter().rev().fold(0, |id, byte| id << 8 | u32::from(*byte));
        Example { input_ids: ids.map(id).collect(), segment_start: short(&self.segment_starts) }
    }

    /// # Errors
    /// The file is not the one that was written.
    pub fn verify(&self, info: &ShardInfo) -> Result<()> {
        if super::hex(&Sha256::digest(&self.bytes)) == info.sha256 {
            return Ok(());
        }
        Err(Error::new(&self.name, "is not the file that was written (SHA-256)").fix(super::AGAIN))
    }
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
