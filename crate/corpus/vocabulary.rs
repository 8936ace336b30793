//! A WordPiece vocabulary from text, by the trainer of the `tokenizers` crate.
//!
//! The trainer numbers characters in the order of a hash table, and equal counts are decided by
//! these numbers. Here everything it could choose is fixed before, and the result is sorted, so
//! that the same text gives the same vocabulary.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ahash::AHashMap;
use serde_json::json;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{
    AddedToken, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
};

use super::chunks::for_each_chunk;
use super::input::{Input, ItemKind, ReadOptions, Reader};
use crate::error::{Error, Result};

const SPECIAL_TOKENS: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
/// WordPiece takes a longer word for unknown, whatever the vocabulary holds.
const LONGEST_WORD: usize = 100;
/// Different chunks that are counted before they are turned into words.
const CHUNKS: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VocabularyOptions {
    /// Tokens of the vocabulary, special ones included.
    pub size: usize,
    pub lower_case: bool,
    pub strip_accents: bool,
    /// Pairs of pieces that are seen less often are not joined.
    pub min_frequency: u64,
    /// Characters to keep; None for as many as suit the size.
    pub alphabet: Option<usize>,
    pub read: ReadOptions,
}

/// A vocabulary and what it was made from.
#[derive(Debug)]
pub struct Vocabulary {
    /// `vocab.txt` and `tokenizer_config.json`.
    pub files: BTreeMap<String, Vec<u8>>,
    pub size: usize,
    /// Different words of the text.
    pub words: usize,
    pub characters: usize,
    /// Different characters of the text.
    pub characters_seen: usize,
    /// Words of the text that hold only kept characters, of all words: the others are unknown.
    pub covered_share: f64,
    /// Bytes of text.
    pub bytes: u64,
}

/// Trains a vocabulary. `progress` is given the bytes read from disk.
///
/// # Errors
/// The inputs hold no text or cannot be read, or the size has no room for the characters.
pub fn train_vocabulary(
    inputs: &[Input],
    options: &VocabularyOptions,
    mut progress: impl FnMut(u64),
) -> Result<Vocabulary> {
    let mut counter = WordCounter::new(options);
    let mut reader = Reader::new(inputs, &options.read);
    let mut text = String::new();
    let mut bytes = 0;
    while let Some(item) = reader.next(&mut text)? {
        if item.kind == ItemKind::Line {
            counter.add_line(&text)?;
            bytes += text.len() as u64;
            progress(reader.bytes_read.load(std::sync::atomic::Ordering::Relaxed));
        }
        text.clear();
    }
    counter.empty_chunks()?;
    let words = counter.words;
    if words.is_empty() {
        return Err(Error::new("--input", "there is no text in the files")
            .fix("Give files that hold words."));
    }
    let seen = characters(&words);
    let alphabet = alphabet(&seen, options);
    let total: u64 = words.values().sum();
    let known = |word: &str| word.chars().all(|c| alphabet.contains(&c));
    let kept: Vec<(String, u64)> =
        words.iter().filter(|(word, _)| known(word)).map(|(w, n)| (w.to_string(), *n)).collect();
    let covered: u64 = kept.iter().map(|(_, count)| count).sum();
    let vocabulary = join_pieces(kept, &alphabet, options)?;
    Ok(Vocabulary {
        size: vocabulary.len(),
        files: files(&vocabulary, options),
        words: words.len(),
        characters: alphabet.len(),
        characters_seen: seen.len(),
        covered_share: covered as f64 / total as f64,
        bytes,
    })
}

/// Counts chunks of lines first, and then the words in each different one.
struct WordCounter {
    normalizer: BertNormalizer,
    chunks: AHashMap<Box<str>, u64>,
    words: HashMap<Box<str>, u64>,
}

impl WordCounter {
    fn new(options: &VocabularyOptions) -> Self {
        let accents = Some(options.strip_accents);
        let normalizer = BertNormalizer::new(true, true, accents, options.lower_case);
        WordCounter { normalizer, chunks: AHashMap::new(), words: HashMap::new() }
    }

    fn add_line(&mut self, line: &str) -> Result<()> {
        for_each_chunk(line, true, |chunk| {
            match self.chunks.get_mut(chunk) {
                Some(count) => *count += 1,
                None => drop(self.chunks.insert(chunk.into(), 1)),
            }
            Ok(())
        })?;
        if self.chunks.len() > CHUNKS { self.empty_chunks() } else { Ok(()) }
    }

    fn empty_chunks(&mut self) -> Result<()> {
        for (chunk, count) in std::mem::take(&mut self.chunks) {
            for word in split_words(&self.normalizer, &chunk)? {
                *self.words.entry(word).or_default() += count;
            }
        }
        Ok(())
    }
}

/// As BERT's tokenizer does it before WordPiece.
fn split_words(normalizer: &BertNormalizer, text: &str) -> Result<Vec<Box<str>>> {
    let failed = |e| Error::new("tokenizer", e);
    let mut split = PreTokenizedString::from(text);
    split.normalize(|text| normalizer.normalize(text)).map_err(failed)?;
    BertPreTokenizer.pre_tokenize(&mut split).map_err(failed)?;
    let words = split.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
    let words = words.into_iter().map(|(word, ..)| word);
    let usable = |word: &&str| !word.is_empty() && word.chars().nth(LONGEST_WORD).is_none();
    Ok(words.filter(usable).map(Box::from).collect())
}

fn characters(words: &HashMap<Box<str>, u64>) -> BTreeMap<char, u64> {
    let mut counts = BTreeMap::new();
    for (word, count) in words {
        word.chars().for_each(|c| *counts.entry(c).or_default() += count);
    }
    counts
}

/// The most frequent characters. Those on a keyboard come first even where the text never has
/// them, for messages and code do.
fn alphabet(seen: &BTreeMap<char, u64>, options: &VocabularyOptions) -> BTreeSet<char> {
    let keyboard: Vec<char> =
        ('!'..='~').filter(|c| !(options.lower_case && c.is_ascii_uppercase())).collect();
    let mut rest: Vec<_> = seen.iter().filter(|(c, _)| !keyboard.contains(c)).collect();
    rest.sort_by_key(|(c, count)| (std::cmp::Reverse(**count), **c));
    let mut keys = keyboard.clone();
    keys.sort_by_key(|c| (std::cmp::Reverse(seen.get(c).copied().unwrap_or(0)), *c));
    // A character can cost two tokens ("x" and "##x"): rare scripts would eat a small vocabulary.
    let limit = options.alphabet.unwrap_or((options.size / 30).clamp(100, 1000));
    keys.into_iter().chain(rest.into_iter().map(|(c, _)| *c)).take(limit).collect()
}

/// Characters, and pieces that go on with one: `x` and `##x`.
fn single_pieces(words: &[(String, u64)], alphabet: &BTreeSet<char>) -> BTreeSet<String> {
    let inside = words.iter().flat_map(|(word, _)| word.chars().skip(1));
    // Any word of letters and digits must be known, also one that this text does not have.
    let always = alphabet.iter().copied().filter(char::is_ascii_alphanumeric);
    let inside = inside.chain(always).collect::<BTreeSet<char>>();
    inside.into_iter().map(|c| format!("##{c}")).collect()
}

/// Joins the most frequent pairs of pieces until the vocabulary is full.
fn join_pieces(
    words: Vec<(String, u64)>,
    alphabet: &BTreeSet<char>,
    options: &VocabularyOptions,
) -> Result<Vec<String>> {
    let going_on = single_pieces(&words, alphabet);
    let least = SPECIAL_TOKENS.len() + alphabet.len() + going_on.len();
    if options.size < least {
        let problem = format!("{} has no room for {} characters", options.size, alphabet.len());
        return Err(Error::new("--size", problem)
            .fix(format!("Take {least} or more, or keep fewer characters with --alphabet.")));
    }
    let fixed = SPECIAL_TOKENS.into_iter().chain(going_on.iter().map(String::as_str));
    // The trainer counts pairs in 32 bits. No pair is there more often than characters are.
    let weight: u64 = words.iter().map(|(word, n)| word.chars().count() as u64 * n).sum();
    let scale = weight / (i32::MAX as u64) + 1;
    let trainer = BpeTrainer::builder()
        .show_progress(false)
        .continuing_subword_prefix("##".into())
        .vocab_size(options.size)
        .min_frequency(options.min_frequency.div_ceil(scale))
        .limit_alphabet(alphabet.len())
        .initial_alphabet(alphabet.iter().copied().collect::<HashSet<_>>())
        // Their numbers decide between pairs of equal counts, so they must not be left to chance.
        .special_tokens(fixed.map(|token| AddedToken::from(token.to_string(), true)).collect())
        .build();
    let words = words.into_iter().map(|(word, count)| (word.into(), (count / scale).max(1)));
    let mut model = BPE::default();
    trainer.do_train(&words.collect(), &mut model).map_err(|e| Error::new("vocabulary", e))?;
    Ok(in_fixed_order(model.get_vocab().into_keys()))
}

/// Special tokens, characters, pieces.
fn in_fixed_order(tokens: impl Iterator<Item = String>) -> Vec<String> {
    let mut tokens: Vec<_> =
        tokens.filter(|token| !SPECIAL_TOKENS.contains(&token.as_str())).collect();
    tokens.sort_by_cached_key(|token| {
        let piece = token.strip_prefix("##").filter(|piece| !piece.is_empty());
        (piece.unwrap_or(token).chars().count() > 1, piece.is_some(), token.clone())
    });
    SPECIAL_TOKENS.into_iter().map(String::from).chain(tokens).collect()
}

fn files(vocabulary: &[String], options: &VocabularyOptions) -> BTreeMap<String, Vec<u8>> {
    let config = json!({
        "tokenizer_class": "ElectraTokenizer",
        "do_lower_case": options.lower_case,
        "strip_accents": options.strip_accents,
        "tokenize_chinese_chars": true,
        "model_max_length": 512,
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    });
    let vocab: String = vocabulary.iter().map(|token| format!("{token}\n")).collect();
    BTreeMap::from([
        ("vocab.txt".to_string(), vocab.into_bytes()),
        ("tokenizer_config.json".to_string(), format!("{config:#}\n").into_bytes()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::Tokenizer;

    fn options(size: usize) -> VocabularyOptions {
        VocabularyOptions {
            size,
            lower_case: true,
            strip_accents: true,
            min_frequency: 1,
            alphabet: None,
            read: ReadOptions { field: "text".into(), document_per_file: false },
        }
    }

    fn train(text: &str, options: &VocabularyOptions) -> Result<Vocabulary> {
        let input = Input::Text { name: "text".into(), text: text.into() };
        train_vocabulary(&[input], options, |_| ())
    }

    fn tokens(vocabulary: &Vocabulary) -> Vec<String> {
        let vocab = String::from_utf8(vocabulary.files["vocab.txt"].clone()).unwrap();
        vocab.lines().map(String::from).collect()
    }

    /// Words of which many pairs of letters are equally frequent.
    fn ties() -> String {
        let letters: Vec<char> = "abcdefghij".chars().collect();
        let word = |i: usize| [0, 1, 2, 3].map(|k| letters[(i * (k + 3) + i / 10 * k) % 10]);
        (0..1000).map(|i| word(i).iter().collect::<String>() + " ").collect()
    }

    #[test]
    fn the_same_text_gives_the_same_vocabulary() {
        let first = tokens(&train(&ties(), &options(250)).unwrap());
        assert_eq!(first.len(), 250);
        for _ in 0..5 {
            assert_eq!(tokens(&train(&ties(), &options(250)).unwrap()), first);
        }
    }

    #[test]
    fn frequent_words_become_tokens() {
        let vocabulary = train("Hello world! Hello, worlds. Caf\u{e9}", &options(400)).unwrap();
        let tokens = tokens(&vocabulary);
        assert_eq!(tokens[..5], SPECIAL_TOKENS);
        assert!(
            ["hello", "world", "worlds", "cafe", "~", "##z"]
                .iter()
                .all(|t| tokens.contains(&t.to_string()))
        );
        // The text has no more to give.
        assert!(vocabulary.size < 400 && vocabulary.size == tokens.len());
        assert_eq!(vocabulary.words, 8 - 1);
        let tokenizer = Tokenizer::from_files(&vocabulary.files).unwrap();
        let unk = tokenizer.unk_id();
        assert!(!tokenizer.ids("HELLO w\u{f6}rld zebra 42 ~").unwrap().contains(&unk));
    }

    #[test]
    fn case_and_accents_are_two_switches() {
        let tokens = |lower_case, strip_accents| {
            let options = VocabularyOptions { lower_case, strip_accents, ..options(400) };
            let vocabulary = train("\u{c9}t\u{e9} \u{c9}t\u{e9}", &options).unwrap();
            let tokenizer = Tokenizer::from_files(&vocabulary.files).unwrap();
            tokenizer
                .ids("\u{c9}t\u{e9}")
                .unwrap()
                .iter()
                .map(|id| tokenizer.token(*id).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(tokens(true, true), ["ete"]);
        assert_eq!(tokens(true, false), ["\u{e9}t\u{e9}"]);
        assert_eq!(tokens(false, true), ["Ete"]);
        assert_eq!(tokens(false, false), ["\u{c9}t\u{e9}"]);
    }

    #[test]
    fn rare_characters_are_dropped() {
        let text = "abc \u{4e2d}\u{4e2d} \u{6587}".repeat(3);
        let options = VocabularyOptions { alphabet: Some(69), ..options(400) };
        let vocabulary = train(&text, &options).unwrap();
        assert!(tokens(&vocabulary).contains(&"\u{4e2d}".to_string()));
        assert!(!tokens(&vocabulary).contains(&"\u{6587}".to_string()));
        assert_eq!((vocabulary.characters, vocabulary.characters_seen), (69, 5));
        assert_eq!(vocabulary.covered_share, 9.0 / 12.0);
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        assert!(train(" \n\0\n", &options(400)).unwrap_err().problem.contains("no text"));
        let error = train("words", &options(50)).unwrap_err();
        assert!(error.place == "--size" && error.remedy.contains("--alphabet"), "{error}");
    }
}
