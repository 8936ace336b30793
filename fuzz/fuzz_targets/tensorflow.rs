//! The `.index` of a TensorFlow checkpoint, beside the data it should tell of.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use electra::pretrained::read_checkpoint;

fn folder() -> PathBuf {
    let folder = tempfile::tempdir().expect("a writable temporary folder").keep();
    std::fs::write(folder.join("model.data-00000-of-00001"), vec![0; 1 << 20])
        .expect("room for it");
    folder
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let prefix = FOLDER.get_or_init(folder).join("model");
    std::fs::write(prefix.with_extension("index"), bytes).expect("room for it");
    let _ = read_checkpoint(&prefix);
});
