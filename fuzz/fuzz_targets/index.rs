//! `index.json` of a prepared text, beside the shards it should name.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use electra::corpus::prepare::{PrepareOptions, prepare_text};
use electra::corpus::{Corpus, Split};
use electra_fuzz::{TEXT, model};

fn prepared() -> PathBuf {
    let folder = tempfile::tempdir().expect("a writable temporary folder").keep();
    let options = PrepareOptions { max_seq_length: 16, seed: 4, ..PrepareOptions::default() };
    let corpus = prepare_text("text", TEXT, &model(), &options, &folder.join("out"));
    drop(corpus.expect("a small text"));
    folder.join("out")
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(prepared);
    std::fs::write(folder.join("index.json"), bytes).expect("room for it");
    let Ok(corpus) = Corpus::open(folder) else { return };
    for split in [Split::Train, Split::Eval] {
        for index in 0..corpus.len(split).min(9) {
            let _ = corpus.example(split, index);
        }
    }
    let _ = (corpus.verify(), corpus.identity(), corpus.bytes());
});
