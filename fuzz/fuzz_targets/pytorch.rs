//! `pytorch_model.bin`: pickles, in a zip or not.
#![no_main]

use electra::pretrained::read_tensors;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = read_tensors(&[("pytorch_model.bin".to_string(), bytes.to_vec())].into());
});
