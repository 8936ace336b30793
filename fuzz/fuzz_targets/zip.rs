//! A zip of a model's folder.
#![no_main]

use electra::pretrained::{read_config, read_zip};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(files) = read_zip("model.zip", bytes) {
        let _ = read_config(&files);
    }
});
