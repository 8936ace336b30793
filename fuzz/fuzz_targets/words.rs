//! CoNLL columns and JSON to sentences with a tag a word.
#![no_main]

use electra::dataset::{ColumnChoice, Kind, LabelledFile, detect, layout};
use electra_fuzz::{read, source};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let source = source(bytes, &["x.conll", "x.tsv", "x.jsonl", "x.csv"]);
    let file = LabelledFile::new(&source.name, bytes);
    let _ = detect(&file, &ColumnChoice::default());
    let _ = layout(&file, Kind::Tagging);
    read(Kind::Tagging, &source);
});
