//! A tokenizer's files: `tokenizer.json` or `vocab.txt`, then NUL, then `tokenizer_config.json`.
#![no_main]

use std::collections::BTreeMap;

use electra::tokenizer::{Tokenizer, Truncation};

const TEXT: &str = "Hello, the café's 东京 cats [MASK] sat.\u{200b}\n";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let first = parts.next().unwrap_or_default();
    let name = if first.starts_with(b"{") { "tokenizer.json" } else { "vocab.txt" };
    let mut files = BTreeMap::from([(name.to_string(), first.to_vec())]);
    files.extend(parts.next().map(|config| ("tokenizer_config.json".into(), config.to_vec())));
    let Ok(tokenizer) = Tokenizer::from_files(&files) else { return };
    let _ = tokenizer.encode(TEXT, Some("the cat"), 8, Truncation::LongestFirst);
    let _ = tokenizer.encode_windows(TEXT, None, 8, 2, Truncation::OnlyFirst);
    if let Ok(files) = tokenizer.to_files() {
        let _ = Tokenizer::from_files(&files);
    }
});
