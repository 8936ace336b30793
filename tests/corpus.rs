//! The fast tokenizer of `prepare` against the plain one, on the tricky texts of
//! `fixtures/generate_tokenizer.py`, alone and joined.

use std::collections::BTreeMap;
use std::path::Path;

use electra::corpus::chunks::LineTokenizer;
use electra::tokenizer::Tokenizer;
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    settings: BTreeMap<String, serde_json::Value>,
    texts: Vec<String>,
}

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn tokenizer(config: &serde_json::Value) -> Tokenizer {
    let files = BTreeMap::from([
        ("vocab.txt".to_string(), fixture("bert-base-uncased-vocab.txt")),
        ("tokenizer_config.json".to_string(), config.to_string().into_bytes()),
    ]);
    Tokenizer::from_files(&files).unwrap()
}

#[test]
fn fast_ids_are_the_plain_ones() {
    let cases: Cases = serde_json::from_slice(&fixture("tokenizer_cases.json")).unwrap();
    for (setting, config) in &cases.settings {
        let tokenizer = tokenizer(config);
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
