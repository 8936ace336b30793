//! Text files to packed examples in shards on disk, and back in a seeded order.
//!
//! `prepare` writes a folder: `index.json` ([`Index`]), the tokenizer's files in `tokenizer/`, and
//! shards (see [`shard`]) in which examples lie in the order of the text. [`Corpus`] reads them;
//! [`shuffled`] gives the order to read them in.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub mod chunks;
pub mod input;
pub mod packing;
pub mod prepare;
pub mod shard;
pub mod vocabulary;

use input::InputInfo;
use packing::Packing;
use prepare::Counts;
pub use shard::{Example, Split};
use shard::{Layout, Shard, ShardInfo};

use crate::error::{Error, Result};
use crate::seed::stream;
use crate::tokenizer::{FILE_NAMES, SpecialIds};

const INDEX: &str = "index.json";
const PROGRESS: &str = "progress.json";
const TOKENIZER: &str = "tokenizer";
const FORMAT_VERSION: u32 = 1;
/// The remedy for a damaged folder.
const AGAIN: &str = "Make the folder again: electra prepare --overwrite.";

/// What the bytes of the shards depend on, beside the inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Of the files in `tokenizer/`, with their names and lengths.
    pub tokenizer_sha256: String,
    pub vocab_size: usize,
    pub special: SpecialIds,
    pub max_seq_length: usize,
    pub packing: Packing,
    pub seed: u64,
    pub eval_fraction: f64,
    pub field: String,
    pub document_per_file: bool,
    /// Most examples of a shard.
    pub shard_size: usize,
}

impl Settings {
    fn layout(&self) -> Layout {
        let Settings { max_seq_length, vocab_size, special, .. } = *self;
        Layout { max_seq_length, vocab_size, special }
    }
}

/// `index.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Index {
    pub format_version: u32,
    #[serde(flatten)]
    pub settings: Settings,
    pub documents: u64,
    pub eval_documents: u64,
    /// Real tokens in the examples, special ones included.
    pub tokens: u64,
    /// Tokens of the text in an example, of all tokens of the text.
    pub kept_share: f64,
    /// Padding, of all places in the examples.
    pub padding_share: f64,
    /// `[UNK]`, of all tokens of the text.
    pub unknown_share: f64,
    /// Bytes of text.
    pub bytes: u64,
    pub inputs: Vec<InputInfo>,
    pub shards: Vec<ShardInfo>,
}

impl Index {
    fn new(
        settings: Settings,
        inputs: Vec<InputInfo>,
        counts: &Counts,
        shards: Vec<ShardInfo>,
    ) -> Self {
        let tokens: u64 = shards.iter().map(|shard| shard.tokens).sum();
        let examples: usize = shards.iter().map(|shard| shard.examples).sum();
        let places = (examples * settings.max_seq_length) as f64;
        // A text of characters that the tokenizer drops has no tokens.
        let text_tokens = counts.text_tokens.max(1) as f64;
        Index {
            format_version: FORMAT_VERSION,
            settings,
            documents: counts.documents,
            eval_documents: counts.eval_documents,
            tokens,
            kept_share: counts.kept_tokens as f64 / text_tokens,
            padding_share: 1.0 - tokens as f64 / places,
            unknown_share: counts.unknown_tokens as f64 / text_tokens,
            bytes: counts.bytes,
            inputs,
            shards,
        }
    }
}

/// A prepared folder, open for reading.
pub struct Corpus {
    pub index: Index,
    folder: PathBuf,
    train: SplitShards,
    eval: SplitShards,
}

/// The shards of a split, each with the number of its first example.
#[derive(Default)]
struct SplitShards {
    shards: Vec<(usize, Shard)>,
    examples: usize,
}

impl Corpus {
    /// Opens the folder and its shards.
    ///
    /// # Errors
    /// The folder is not a complete result of `prepare`; a shard is missing, cut short or other
    /// than the index says.
    pub fn open(folder: &Path) -> Result<Self> {
        let index = read_index(folder)?;
        let (mut train, mut eval) = <(SplitShards, SplitShards)>::default();
        for info in &index.shards {
            let part = match info.split {
                Split::Train => &mut train,
                Split::Eval => &mut eval,
            };
            part.shards.push((part.examples, Shard::open(folder, info, index.settings.layout())?));
            part.examples += info.examples;
        }
        Ok(Corpus { index, folder: folder.to_path_buf(), train, eval })
    }

    /// Reads everything and compares the checksums.
    ///
    /// # Errors
    /// A shard is not the one that was written.
    pub fn verify(&self) -> Result<()> {
        let infos = |split| self.index.shards.iter().filter(move |info| info.split == split);
        let pairs = [Split::Train, Split::Eval]
            .into_iter()
            .flat_map(|split| infos(split).zip(self.part(split).shards.iter().map(|(_, s)| s)));
        let pairs: Vec<_> = pairs.collect();
        assert_eq!(pairs.len(), self.index.shards.len());
        pairs.into_par_iter().try_for_each(|(info, shard)| shard.verify(info))
    }

    /// Bytes of all shards on disk.
    pub fn bytes(&self) -> u64 {
        let shards = self.train.shards.iter().chain(&self.eval.shards);
        shards.map(|(_, shard)| shard.bytes()).sum()
    }

    pub fn len(&self, split: Split) -> usize {
        self.part(split).examples
    }

    pub fn is_empty(&self, split: Split) -> bool {
        self.len(split) == 0
    }

    /// An example by its place in the order of the text.
    ///
    /// # Errors
    /// There are not so many examples, or the row on disk cannot come from `prepare`.
    pub fn example(&self, split: Split, index: usize) -> Result<Example> {
        let part = self.part(split);
        if index >= part.examples {
            let place = format!("{}, {}", self.folder.display(), split.name());
            let problem = format!("there is no example {index}, but {}", part.examples);
            return Err(Error::new(place, problem));
        }
        let after = part.shards.partition_point(|(first, _)| *first <= index);
        let (first, shard) = &part.shards[after - 1];
        shard.example(index - first)
    }

    /// The files of the tokenizer that the text was cut with.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn tokenizer_files(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        read_tokenizer(&self.folder.join(TOKENIZER))
    }

    /// Which text this is: the same for the same examples in the same order.
    pub fn identity(&self) -> String {
        let mut hash = Sha256::new();
        self.index.shards.iter().for_each(|shard| hash.update(&shard.sha256));
        hex(&hash.finalize())
    }

    fn part(&self, split: Split) -> &SplitShards {
        match split {
            Split::Train => &self.train,
            Split::Eval => &self.eval,
        }
    }
}

/// Reads the tokenizer's files of a folder, whatever else is in it.
///
/// # Errors
/// There is none, or one cannot be read.
pub fn read_tokenizer(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for name in FILE_NAMES {
        match std::fs::read(folder.join(name)) {
            Ok(bytes) => drop(files.insert(name.to_string(), bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(unreadable(&folder.join(name), &e)),
        }
    }
    if files.contains_key("tokenizer.json") || files.contains_key("vocab.txt") {
        return Ok(files);
    }
    Err(Error::new(folder.display(), "holds neither tokenizer.json nor vocab.txt")
        .fix("Give the folder of a tokenizer or a model; electra vocab makes one."))
}

fn read_index(folder: &Path) -> Result<Index> {
    let path = folder.join(INDEX);
    let bytes = std::fs::read(&path).map_err(|e| {
        let fix = match folder.join(PROGRESS).exists() {
            true => "electra prepare was interrupted: run it again with the same options.",
            false => "Give a folder that electra prepare has written.",
        };
        unreadable(&path, &e).fix(fix)
    })?;
    let damaged = |e: serde_json::Error| unreadable(&path, &e).fix(AGAIN);
    let json: serde_json::Value = serde_json::from_slice(&bytes).map_err(damaged)?;
    let version = &json["format_version"];
    if *version != FORMAT_VERSION {
        let problem = format!("has the format version {version}, not {FORMAT_VERSION}");
        return Err(Error::new(path.display(), problem).fix(AGAIN));
    }
    let index: Index = serde_json::from_value(json).map_err(damaged)?;
    let Settings { special: ids, vocab_size, .. } = &index.settings;
    let beyond = [ids.pad, ids.unk, ids.cls, ids.sep, ids.mask];
    match beyond.into_iter().find(|id| *id as usize >= *vocab_size) {
        None => Ok(index),
        Some(id) => {
            let problem = format!("the special id {id} is beyond the vocabulary of {vocab_size}");
            Err(Error::new(path.display(), problem).fix(AGAIN))
        }
    }
}

fn unreadable(path: &Path, e: &dyn Display) -> Error {
    Error::new(path.display(), format!("cannot be read ({e})"))
}

/// Two digits a byte, as checksums are written.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A seeded order of `count` examples in constant memory: the example at `position` of pass
/// `epoch`.
///
/// A Feistel network is a bijection of the numbers below a power of four; it is applied again to
/// what falls beyond `count`, which keeps it one of those below.
///
/// # Panics
/// `position` is not below `count`.
pub fn shuffled(seed: u64, epoch: u64, position: u64, count: u64) -> u64 {
    assert!(position < count, "position {position} of {count} examples");
    // A few spare bits: a network of one bit a half would know few orders.
    let half = (u64::BITS - (count - 1).leading_zeros()).div_ceil(2).max(4);
    let keys: [u64; 6] =
        std::array::from_fn(|round| stream(stream(seed, "order", epoch), "round", round as u64));
    let mut number = feistel(position, half, &keys);
    while number >= count {
        number = feistel(number, half, &keys);
    }
    number
}

fn feistel(number: u64, half: u32, keys: &[u64; 6]) -> u64 {
    let mask = (1u64 << half) - 1;
    let (left, right) = keys.iter().fold((number >> half, number & mask), |(left, right), key| {
        (right, left ^ (mix(right ^ key) & mask))
    });
    left << half | right
}

/// The finalizer of SplitMix64.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::prepare::{PrepareOptions, prepare_text};
    use super::*;

    #[test]
    fn an_order_has_every_example_once() {
        for count in (1..300).chain([1000, 4095, 4096, 4097]) {
            let mut seen = vec![false; count as usize];
            for position in 0..count {
                let index = shuffled(1, 2, position, count) as usize;
                assert!(!std::mem::replace(&mut seen[index], true), "{index} of {count} twice");
            }
        }
    }

    #[test]
    fn orders_of_seeds_and_epochs_differ_and_look_random() {
        let order =
            |seed, epoch| (0..1000).map(|i| shuffled(seed, epoch, i, 1000)).collect::<Vec<_>>();
        let orders = [order(0, 0), order(0, 1), order(1, 0)];
        for (i, a) in orders.iter().enumerate() {
            for b in &orders[..i] {
                assert!(a.iter().zip(b).filter(|(a, b)| a == b).count() < 10);
            }
            // Two neighbours of a random order are 333 apart on average.
            let distance: u64 = a.windows(2).map(|pair| pair[0].abs_diff(pair[1])).sum();
            assert!((300..366).contains(&(distance / 999)), "{}", distance / 999);
        }
    }

    #[test]
    fn an_order_of_all_numbers_ends() {
        assert!(shuffled(0, 0, u64::MAX - 1, u64::MAX) < u64::MAX);
    }

    const TEXT: &str = "red red blue\n\nblue red\n\nred\n";

    fn prepared(folder: &Path) -> Corpus {
        let vocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nred\nblue\n";
        let files = BTreeMap::from([("vocab.txt".to_string(), vocab.into())]);
        let options = PrepareOptions { max_seq_length: 16, seed: 4, ..Default::default() };
        prepare_text("text", TEXT, &files, &options, folder).unwrap()
    }

    /// Opens the folder and reads all of it.
    fn read(folder: &Path) -> Result<()> {
        let corpus = Corpus::open(folder)?;
        for split in [Split::Train, Split::Eval] {
            (0..corpus.len(split)).try_for_each(|i| corpus.example(split, i).map(drop))?;
        }
        corpus.verify()
    }

    #[test]
    fn examples_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let corpus = prepared(&folder.path().join("out"));
        assert_eq!((corpus.len(Split::Train), corpus.len(Split::Eval)), (2, 1));
        let ids = |split, i| corpus.example(split, i).unwrap().input_ids;
        assert_eq!(ids(Split::Train, 0), [2, 5, 5, 6, 3]);
        assert_eq!(ids(Split::Eval, 0), [2, 5, 3]);
        assert_eq!(corpus.example(Split::Train, 0).unwrap().segment_start, 5);
        assert!(corpus.example(Split::Train, 2).unwrap_err().problem.contains("no example 2"));
        assert_eq!(corpus.index.tokens, 5 + 4 + 3);
        let (places, text_tokens) = (3.0 * 16.0, corpus.index.kept_share);
        assert_eq!((corpus.index.padding_share, text_tokens), (1.0 - 12.0 / places, 1.0));
    }

    #[test]
    fn damage_is_named() {
        let (folder, shard) = (tempfile::tempdir().unwrap(), "train-00000.safetensors");
        let out = folder.path().join("out");
        drop(prepared(&out));
        read(&out).unwrap();
        let whole = std::fs::read(out.join(shard)).unwrap();
        let data = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
        let problem = |bytes: Option<&[u8]>| {
            match bytes {
                Some(bytes) => std::fs::write(out.join(shard), bytes).unwrap(),
                None => std::fs::remove_file(out.join(shard)).unwrap(),
            }
            let error = read(&out).unwrap_err();
            assert!(error.place.contains(shard) && !error.remedy.is_empty(), "{error}");
            error.to_string()
        };
        let changed = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[data + at] = byte;
            bytes
        };
        problem(Some(&whole[..whole.len() - 1]));
        problem(Some(&[]));
        assert!(problem(Some(&changed(0, 9))).contains("row 0: is no row from [CLS] to [SEP]"));
        assert!(problem(Some(&changed(2, 200))).contains("the id 200"));
        // Padding is never read; the checksum sees it all the same.
        assert!(problem(Some(&changed(31, 1))).contains("SHA-256"));
        let last = whole.len() - data - 1;
        assert!(problem(Some(&changed(last, 90))).contains("no second segment"));
        assert!(problem(None).contains("cannot be read"));
    }

    #[test]
    fn a_shard_that_is_cut_short_after_it_was_opened_is_an_error() {
        let (folder, shard) = (tempfile::tempdir().unwrap(), "train-00000.safetensors");
        let corpus = prepared(folder.path());
        let file = std::fs::File::options().write(true).open(folder.path().join(shard)).unwrap();
        for length in [200, 10, 0] {
            file.set_len(length).unwrap();
            let error = corpus.example(Split::Train, 0).unwrap_err();
            assert!(error.place.contains(shard) && error.problem.contains("cut short"), "{error}");
            assert!(corpus.verify().unwrap_err().problem.contains("cut short"));
        }
    }

    #[test]
    fn a_folder_that_is_not_complete_is_no_corpus() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(folder.path()).unwrap_err();
        assert!(error.remedy.contains("electra prepare has written"), "{error}");
        std::fs::write(folder.path().join(PROGRESS), "{}").unwrap();
        assert!(read(folder.path()).unwrap_err().remedy.contains("same options"));
        std::fs::write(folder.path().join(INDEX), r#"{"format_version": 2}"#).unwrap();
        assert!(read(folder.path()).unwrap_err().problem.contains("version 2"));
        std::fs::write(folder.path().join(INDEX), r#"{"format_version": 1}"#).unwrap();
        assert!(read(folder.path()).unwrap_err().problem.contains("missing field"));
    }
}
