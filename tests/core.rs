//! What needs no network: files, tokenizers, windows and metrics against fixtures of the peers.
//!
//! One program for all of them: each would link the whole library anew.

use std::collections::BTreeMap;
use std::path::Path;

use electra::tokenizer::Tokenizer;

#[path = "core/cases.rs"]
mod cases;
#[path = "core/corpus.rs"]
mod corpus;
#[path = "core/dataset.rs"]
mod dataset;
#[path = "core/metrics.rs"]
mod metrics;
#[path = "core/question_answering.rs"]
mod question_answering;
#[path = "core/sheets.rs"]
mod sheets;
#[path = "core/tagging.rs"]
mod tagging;
#[path = "core/tokenizer.rs"]
mod tokenizer;

/// A file of the project, by its path from the root.
fn read(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn fixture(name: &str) -> Vec<u8> {
    read(&format!("tests/fixtures/{name}"))
}

/// BERT's vocabulary with these settings of `tokenizer_config.json`.
fn bert_tokenizer(config: &serde_json::Value) -> Tokenizer {
    let files = BTreeMap::from([
        ("vocab.txt".to_string(), fixture("bert-base-uncased-vocab.txt")),
        ("tokenizer_config.json".to_string(), config.to_string().into_bytes()),
    ]);
    Tokenizer::from_files(&files).unwrap()
}
