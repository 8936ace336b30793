//! Lines to token ids, many times faster than by the tokenizer alone and exactly equal to it.
//!
//! A line is cut where the tokenizer would cut it in any case (see `Tokenizer::separable`), and the
//! ids of such chunks are remembered: a text has far fewer different words than words.

use ahash::RandomState;

use crate::error::Result;
use crate::tokenizer::{Separable, Tokenizer};

/// Longer chunks (web addresses, scripts without spaces) seldom come again.
const LONGEST: usize = 48;

/// Visits the chunks of a line in order; whitespace between them is no part of any.
///
/// A chunk is an ASCII punctuation character, a CJK ideograph where `splits_chinese`, or a run of
/// anything else.
pub fn for_each_chunk<'a>(
    line: &'a str,
    splits_chinese: bool,
    mut visit: impl FnMut(&'a str) -> Result<()>,
) -> Result<()> {
    let bytes = line.as_bytes();
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        let (width, alone) = match bytes[at] {
            b' ' | b'\t' | b'\n' | b'\r' => (1, false),
            byte if byte.is_ascii_punctuation() => (1, true),
            0xe4..=0xe9 if splits_chinese && is_ideograph(&bytes[at..]) => (3, true),
            _ => {
                at += 1;
                continue;
            }
        };
        if start < at {
            visit(&line[start..at])?;
        }
        if alone {
            visit(&line[at..at + width])?;
        }
        at += width;
        start = at;
    }
    if start < at { visit(&line[start..]) } else { Ok(()) }
}

/// U+4E00 to U+9FFF, given that the first byte is one of theirs.
fn is_ideograph(bytes: &[u8]) -> bool {
    bytes[0] > 0xe4 || bytes[1] >= 0xb8
}

/// A tokenizer with a memory, for one thread.
pub struct LineTokenizer<'a> {
    tokenizer: &'a Tokenizer,
    /// None where only whole lines are certain to have the right ids.
    separable: Option<Separable>,
    /// First bytes of the added tokens.
    added_starts: [bool; 256],
    /// Ids of the single ASCII characters.
    ascii: Vec<Vec<u32>>,
    young: Memory,
    /// What was remembered before `young` was begun. What is used again moves there.
    old: Memory,
    /// Chunks that `young` may hold.
    generation: usize,
    hash: RandomState,
}

/// Chunks to their ids. A hash table of few bytes an entry: there is one for each thread, and what
/// does not fit into the processor's cache is slow to find.
struct Memory {
    /// One more than where an entry begins, 0 where there is none. At least half of them are 0.
    slots: Vec<u32>,
    /// Entry after entry: the chunk's bytes, the number of its ids, the chunk, the ids.
    entries: Vec<u8>,
    chunks: usize,
}

impl<'a> LineTokenizer<'a> {
    /// Remembers up to twice `generation` chunks, which takes about 40 bytes each.
    pub fn new(tokenizer: &'a Tokenizer, generation: usize) -> Result<Self> {
        let separable = tokenizer.separable();
        let added = separable.iter().flat_map(|separable| &separable.added_tokens);
        let mut added_starts = [false; 256];
        added.for_each(|token| added_starts[usize::from(token.as_bytes()[0])] = true);
        let ascii = (0..128u8).map(|byte| tokenizer.ids(char::from(byte).encode_utf8(&mut [0; 4])));
        let ascii = ascii.collect::<Result<_>>()?;
        let [young, old] = [generation, 0].map(Memory::new);
        let hash = RandomState::with_seeds(0, 1, 2, 3);
        Ok(LineTokenizer {
            tokenizer,
            separable,
            added_starts,
            ascii,
            young,
            old,
            generation,
            hash,
        })
    }

    /// Adds the ids of a line, without special tokens.
    pub fn append_ids(&mut self, line: &str, ids: &mut Vec<u32>) -> Result<()> {
        match self.separable.as_ref().filter(|_| !self.has_added_token(line)) {
            None => ids.extend(self.tokenizer.ids(line)?),
            Some(Separable { splits_chinese, .. }) => {
                for_each_chunk(line, *splits_chinese, |chunk| self.append_chunk(chunk, ids))?;
            }
        }
        Ok(())
    }

    fn has_added_token(&self, line: &str) -> bool {
        let begins = || line.bytes().any(|byte| self.added_starts[usize::from(byte)]);
        let added = || self.separable.iter().flat_map(|separable| &separable.added_tokens);
        begins() && added().any(|token| line.contains(token.as_str()))
    }

    fn append_chunk(&mut self, chunk: &str, ids: &mut Vec<u32>) -> Result<()> {
        if let [byte @ 0..128] = *chunk.as_bytes() {
            ids.extend(&self.ascii[usize::from(byte)]);
            return Ok(());
        }
        if chunk.len() > LONGEST {
            ids.extend(self.tokenizer.ids(chunk)?);
            return Ok(());
        }
        let hash = self.hash.hash_one(chunk) as usize;
        if self.young.append(hash, chunk, ids) {
            return Ok(());
        }
        let start = ids.len();
        if !self.old.append(hash, chunk, ids) {
            ids.extend(self.tokenizer.ids(chunk)?);
        }
        if self.young.chunks == self.generation || self.young.entries.len() > 32 * self.generation {
            self.old = std::mem::replace(&mut self.young, Memory::new(self.generation));
        }
        self.young.insert(hash, chunk, &ids[start..]);
        Ok(())
    }
}

impl Memory {
    fn new(generation: usize) -> Self {
        let slots = vec![0; (2 * generation).next_power_of_two()];
        Memory { slots, entries: Vec::new(), chunks: 0 }
    }

    /// Adds the ids of the chunk, where it is known.
    fn append(&self, hash: usize, chunk: &str, ids: &mut Vec<u32>) -> bool {
        let entry = self.slots[self.slot(hash, chunk)] as usize;
        if entry == 0 {
            return false;
        }
        let count = usize::from(self.entries[entry]);
        let bytes = &self.entries[entry + 1 + chunk.len()..][..4 * count];
        let id = |id: &[u8]| u32::from_le_bytes([id[0], id[1], id[2], id[3]]);
        ids.extend(bytes.chunks_exact(4).map(id));
        true
    }

    fn insert(&mut self, hash: usize, chunk: &str, ids: &[u32]) {
        let Ok(count) = u8::try_from(ids.len()) else { return };
        let slot = self.slot(hash, chunk);
        self.slots[slot] = self.entries.len() as u32 + 1;
        self.chunks += 1;
        self.entries.extend([chunk.len() as u8, count]);
        self.entries.extend(chunk.as_bytes());
        ids.iter().for_each(|id| self.entries.extend(id.to_le_bytes()));
    }

    /// The chunk's slot, or the empty one that it should get.
    fn slot(&self, hash: usize, chunk: &str) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash & mask;
        while self.slots[slot] != 0 && !self.is_at(self.slots[slot] as usize, chunk) {
            slot = (slot + 1) & mask;
        }
        slot
    }

    /// Whether the entry that begins before `after` is the chunk's.
    fn is_at(&self, after: usize, chunk: &str) -> bool {
        usize::from(self.entries[after - 1]) == chunk.len()
            && self.entries[after + 1..][..chunk.len()] == *chunk.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const WORDS: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n[\nmask\n]\na\n##a\nb\n##b\n##ba\n.\n,\ne\n##e\n\u{e9}\n##\u{e9}\n;\n\u{4e2d}\n##\u{4e2d}\n\u{9fff}\nk\ni\n##\u{307}\n##i\n\u{3b1}\n";

    /// Parts of texts that a tokenizer can stumble over: spaces and controls of all kinds, accents
    /// alone and in order, ideographs and their neighbours, case that changes lengths.
    const NASTY: [&str; 44] = [
        "a",
        "b",
        "ba",
        "B",
        "e",
        "\u{e9}",
        "\u{301}",
        "\u{323}",
        "\u{307}",
        " ",
        "\t",
        "\r",
        "\n",
        "\u{b}",
        "\u{c}",
        "\u{1f}",
        "\0",
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "\u{2028}",
        "\u{3000}",
        "\u{200b}",
        "\u{ad}",
        "\u{feff}",
        "\u{fffd}",
        ".",
        ",",
        ";",
        "\u{37e}",
        "\u{1fef}",
        "`",
        "\u{4e2d}",
        "\u{4dff}",
        "\u{9fff}",
        "\u{a000}",
        "\u{f900}",
        "\u{20000}",
        "\u{3002}",
        "\u{130}",
        "\u{212a}",
        "[MASK]",
        "[",
        "\u{1d16d}",
    ];

    fn tokenizers() -> Vec<Tokenizer> {
        let configs = [
            r#"{}"#,
            r#"{"do_lower_case": false}"#,
            r#"{"strip_accents": false}"#,
            r#"{"do_lower_case": false, "strip_accents": true}"#,
            r#"{"tokenize_chinese_chars": false}"#,
            r#"{"added_tokens_decoder": {"28": {"content": "a b", "single_word": true,
                "lstrip": true, "rstrip": false, "normalized": false, "special": false}}}"#,
        ];
        let tokenizer = |config: &str| {
            let files = [("vocab.txt", WORDS), ("tokenizer_config.json", config)];
            let files = files.map(|(name, text)| (name.to_string(), text.as_bytes().to_vec()));
            Tokenizer::from_files(&BTreeMap::from(files)).unwrap()
        };
        configs.map(tokenizer).into()
    }

    #[test]
    fn ids_are_those_of_the_plain_tokenizer() {
        let mut random = ChaCha8Rng::seed_from_u64(0);
        for (setting, tokenizer) in tokenizers().iter().enumerate() {
            assert!(tokenizer.separable().is_some());
            let mut lines = LineTokenizer::new(tokenizer, 100).unwrap();
            for _ in 0..3000 {
                let parts = random.random_range(0..12);
                let line: String =
                    (0..parts).map(|_| NASTY[random.random_range(0..NASTY.len())]).collect();
                let mut ids = Vec::new();
                lines.append_ids(&line, &mut ids).unwrap();
                assert_eq!(ids, tokenizer.ids(&line).unwrap(), "setting {setting}: {line:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_cut_goes_whole() {
        let normalized = r#"{"added_tokens_decoder": {"28": {"content": "a b", "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": true, "special": false}}}"#;
        let files = [("vocab.txt", WORDS), ("tokenizer_config.json", normalized)];
        let files = files.map(|(name, text)| (name.to_string(), text.as_bytes().to_vec()));
        let tokenizer = Tokenizer::from_files(&BTreeMap::from(files)).unwrap();
        assert_eq!(tokenizer.separable(), None);
        let mut ids = Vec::new();
        LineTokenizer::new(&tokenizer, 100).unwrap().append_ids("A B", &mut ids).unwrap();
        assert_eq!(ids, [28]);
    }

    #[test]
    fn what_is_forgotten_is_found_again() {
        let tokenizer = &tokenizers()[0];
        let mut lines = LineTokenizer::new(tokenizer, 100).unwrap();
        let word = |mut i: usize| {
            let mut word = String::from("a");
            while i > 0 {
                word.push(['a', 'b', 'e'][i % 3]);
                i /= 3;
            }
            word
        };
        for i in (0..300).chain([0, 1, 100]) {
            let mut ids = Vec::new();
            lines.append_ids(&word(i), &mut ids).unwrap();
            assert_eq!(ids, tokenizer.ids(&word(i)).unwrap());
            assert!(lines.young.chunks.max(lines.old.chunks) <= 100);
        }
    }
}
