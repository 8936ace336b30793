//! CSV, TSV and JSON to texts with labels, several labels or scores; and what the page shows first.
#![no_main]

use electra::config::ElectraConfig;
use electra::dataset::Kind;
use electra::inspect::inspect;
use electra::tasks::Reading;
use electra_fuzz::{read, source, tokenizer};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let source = source(bytes, &["x.csv", "x.tsv", "x.jsonl", "x.txt"]);
    let model = (tokenizer(), &ElectraConfig::default());
    let _ = inspect(&source, None, &Reading::default(), model, 12);
    for kind in [Kind::Classification, Kind::MultiLabel, Kind::Regression] {
        read(kind, &source);
    }
});
