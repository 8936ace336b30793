//! Lines to token ids, many times faster than by the tokenizer alone and exactly equal to it.
//!
//! A line is cut where the tokenizer would cut it in any case (see `Tokenizer::separable`), and the
//! ids of such chunks are remembered: a text has far fewer different words than words.

use ahash::AHashMap;

use crate::error::Result;
use crate::tokenizer::{Separable, Tokenizer};

/// Chunks that one generation remembers. Two generations of all threads must stay well below the
/// memory that `prepare` promises; more of them hardly help, because words are that unequal.
const GENERATION: usize = if cfg!(test) { 1 << 8 } else { 1 << 16 };
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
}

/// Chunks to their ids.
#[derive(Default)]
struct Memory {
    places: AHashMap<Box<str>, (u32, u32)>,
    ids: Vec<u32>,
}

impl<'a> LineTokenizer<'a> {
    pub fn new(tokenizer: &'a Tokenizer) -> Result<Self> {
        let separable = tokenizer.separable();
        let added = separable.iter().flat_map(|separable| &separable.added_tokens);
        let mut added_starts = [false; 256];
        added.for_each(|token| added_starts[usize::from(token.as_bytes()[0])] = true);
        let ascii = (0..128u8).map(|byte| tokenizer.ids(char::from(byte).encode_utf8(&mut [0; 4])));
        let ascii = ascii.collect::<Result<_>>()?;
        let (young, old) = (Memory::default(), Memory::default());
        Ok(LineTokenizer { tokenizer, separable, added_starts, ascii, young, old })
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
        } else if chunk.len() > LONGEST {
            ids.extend(self.tokenizer.ids(chunk)?);
        } else if let Some(known) = self.young.get(chunk) {
            ids.extend(known);
        } else {
            let found = match self.old.get(chunk) {
                Some(known) => known.to_vec(),
                None => self.tokenizer.ids(chunk)?,
            };
            ids.extend(&found);
            self.remember(chunk, &found);
        }
        Ok(())
    }

    fn remember(&mut self, chunk: &str, ids: &[u32]) {
        if self.young.places.len() == GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        let start = self.young.ids.len() as u32;
        self.young.ids.extend(ids);
        self.young.places.insert(chunk.into(), (start, self.young.ids.len() as u32));
    }
}

impl Memory {
    fn get(&self, chunk: &str) -> Option<&[u32]> {
        let (start, end) = *self.places.get(chunk)?;
        Some(&self.ids[start as usize..end as usize])
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
            let mut lines = LineTokenizer::new(tokenizer).unwrap();
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
        LineTokenizer::new(&tokenizer).unwrap().append_ids("A B", &mut ids).unwrap();
        assert_eq!(ids, [28]);
    }

    #[test]
    fn what_is_forgotten_is_found_again() {
        let tokenizer = &tokenizers()[0];
        let mut lines = LineTokenizer::new(tokenizer).unwrap();
        let word = |mut i: usize| {
            let mut word = String::from("a");
            while i > 0 {
                word.push(['a', 'b', 'e'][i % 3]);
                i /= 3;
            }
            word
        };
        for i in (0..3 * GENERATION).chain([0, 1, GENERATION]) {
            let mut ids = Vec::new();
            lines.append_ids(&word(i), &mut ids).unwrap();
            if i % 997 < 2 {
                assert_eq!(ids, tokenizer.ids(&word(i)).unwrap());
            }
            assert!(lines.young.places.len().max(lines.old.places.len()) <= GENERATION);
        }
    }
}
