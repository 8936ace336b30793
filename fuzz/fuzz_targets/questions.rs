//! SQuAD, MRQA and JSON lines to questions with their answers.
#![no_main]

use electra::dataset::{ColumnChoice, Kind, detect, layout};
use electra_fuzz::{read, source};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let source = source(bytes, &["x.json", "x.jsonl"]);
    let _ = detect(&source.name, bytes, &ColumnChoice::default());
    let _ = layout(&source.name, bytes, Kind::QuestionAnswering);
    read(Kind::QuestionAnswering, &source);
});
