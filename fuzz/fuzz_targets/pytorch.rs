//! `pytorch_model.bin`: pickles, in a zip or not.
#![no_main]

use electra::pretrained::{ModelFiles, read_tensors};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let files: ModelFiles = [("pytorch_model.bin".to_string(), bytes.to_vec())].into();
    let _ = read_tensors(&files);
});
