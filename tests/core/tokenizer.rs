//! The tokenizer against transformers: every case of `fixtures/generate_tokenizer.py`.

use std::collections::{BTreeMap, HashMap};

use electra::tokenizer::{Encoding, Tokenizer, Truncation};
use serde::Deserialize;

use crate::{bert_tokenizer, fixture};

/// `[input_ids, token_type_ids, offsets (start, end, start, end, …), word_ids, sequence_ids]`
#[derive(Debug, PartialEq, Deserialize)]
struct Expected(Vec<u32>, Vec<u32>, Vec<usize>, Vec<Option<u32>>, Vec<Option<usize>>);

/// Null where transformers raises.
type Windows = Option<Vec<Expected>>;

#[derive(Deserialize)]
struct Cases {
    settings: BTreeMap<String, serde_json::Value>,
    texts: Vec<String>,
    singles: Vec<(String, usize, Expected)>,
    pairs: Vec<(usize, usize, Expected)>,
    truncated: Vec<(usize, Option<usize>, String, usize, Windows)>,
    windows: Vec<(usize, Option<usize>, String, usize, usize, Windows)>,
}

impl From<&Encoding> for Expected {
    fn from(encoding: &Encoding) -> Self {
        Expected(
            encoding.input_ids.clone(),
            encoding.token_type_ids.clone(),
            encoding.offsets.iter().flat_map(|&(start, end)| [start, end]).collect(),
            encoding.word_ids.clone(),
            encoding.sequence_ids.clone(),
        )
    }
}

fn cases() -> Cases {
    serde_json::from_slice(&fixture("tokenizer_cases.json")).unwrap()
}

fn uncased(cases: &Cases) -> Tokenizer {
    bert_tokenizer(&cases.settings["uncased"])
}

fn truncation(name: &str) -> Truncation {
    match name {
        "longest_first" => Truncation::LongestFirst,
        "only_first" => Truncation::OnlyFirst,
        "only_second" => Truncation::OnlySecond,
        other => panic!("{other}"),
    }
}

#[test]
fn single_texts_in_every_setting() {
    let cases = cases();
    let by_setting: HashMap<_, _> =
        cases.settings.iter().map(|(name, config)| (name, bert_tokenizer(config))).collect();
    for (setting, index, expected) in &cases.singles {
        let text = &cases.texts[*index];
        let got = by_setting[setting].encode(text, None, 512, Truncation::LongestFirst).unwrap();
        assert_eq!(Expected::from(&got), *expected, "{setting}: {text:?}");
        assert!(!got.truncated);
    }
    assert!(cases.texts.len() >= 300);
}

#[test]
fn the_tokenizer_written_to_files_is_the_same_one() {
    let cases = cases();
    for (setting, config) in &cases.settings {
        let mut files = bert_tokenizer(config).to_files().unwrap();
        for way in ["tokenizer.json", "vocab.txt"] {
            let again = Tokenizer::from_files(&files).unwrap();
            for (_, index, expected) in cases.singles.iter().filter(|(name, ..)| name == setting) {
                let text = &cases.texts[*index];
                let got = again.encode(text, None, 512, Truncation::LongestFirst).unwrap();
                assert_eq!(Expected::from(&got), *expected, "{way}, {setting}: {text:?}");
            }
            files.remove("tokenizer.json");
        }
    }
}

#[test]
fn pairs() {
    let cases = cases();
    let tokenizer = uncased(&cases);
    for (first, second, expected) in &cases.pairs {
        let (text, pair) = (&cases.texts[*first], &cases.texts[*second]);
        let got = tokenizer.encode(text, Some(pair), 1024, Truncation::LongestFirst).unwrap();
        assert_eq!(Expected::from(&got), *expected, "{text:?} {pair:?}");
    }
}

#[test]
fn truncated_texts_and_pairs() {
    let cases = cases();
    let tokenizer = uncased(&cases);
    for (first, second, strategy, length, expected) in &cases.truncated {
        let (text, pair) =
            (&cases.texts[*first], second.map(|second| cases.texts[second].as_str()));
        let got = tokenizer.encode(text, pair, *length, truncation(strategy));
        let what = format!("{text:?} {pair:?} {strategy} {length}");
        match expected {
            Some(expected) => assert_eq!(Expected::from(&got.unwrap()), expected[0], "{what}"),
            None => assert!(got.is_err(), "{what}"),
        }
    }
}

#[test]
fn windows_with_a_stride() {
    let cases = cases();
    let tokenizer = uncased(&cases);
    for (first, second, strategy, length, stride, expected) in &cases.windows {
        let (text, pair) =
            (&cases.texts[*first], second.map(|second| cases.texts[second].as_str()));
        let got = tokenizer.encode_windows(text, pair, *length, *stride, truncation(strategy));
        let what = format!("{text:?} {pair:?} {strategy} {length} {stride}");
        match expected {
            Some(expected) => {
                let got: Vec<_> = got.unwrap().iter().map(Expected::from).collect();
                assert_eq!(got, *expected, "{what}");
            }
            None => assert!(got.is_err(), "{what}"),
        }
    }
}
