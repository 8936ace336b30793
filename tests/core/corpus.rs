//! The fast tokenizer of `prepare` against the plain one, on the tricky texts of
//! `fixtures/generate_tokenizer.py`, alone and joined.

use std::collections::BTreeMap;

use electra::corpus::chunks::LineTokenizer;
use serde::Deserialize;

use crate::{bert_tokenizer, fixture};

#[derive(Deserialize)]
struct Cases {
    settings: BTreeMap<String, serde_json::Value>,
    texts: Vec<String>,
}

#[test]
fn fast_ids_are_the_plain_ones() {
    let cases: Cases = serde_json::from_slice(&fixture("tokenizer_cases.json")).unwrap();
    for (setting, config) in &cases.settings {
        let tokenizer = bert_tokenizer(config);
        assert!(tokenizer.separable().is_some());
        let mut lines = LineTokenizer::new(&tokenizer, 1000).unwrap();
        let pairs = cases.texts.windows(2).map(|pair| pair.concat());
        for text in cases.texts.iter().cloned().chain(pairs) {
            let mut ids = Vec::new();
            lines.append_ids(&text, &mut ids).unwrap();
            assert_eq!(ids, tokenizer.ids(&text).unwrap(), "{setting}: {text:?}");
        }
    }
}
