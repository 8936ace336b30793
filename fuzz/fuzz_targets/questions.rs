//! SQuAD, MRQA and JSON lines to questions with their answers.
#![no_main]

use electra::dataset::{ColumnChoice, Kind, LabelledFile, detect, layout};
use electra_fuzz::{read, source};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let source = source(bytes, &["x.json", "x.jsonl"]);
    let file = LabelledFile::new(&source.name, bytes);
    let _ = detect(&file, &ColumnChoice::default());
    let _ = layout(&file, Kind::QuestionAnswering);
    read(Kind::QuestionAnswering, &source);
});
