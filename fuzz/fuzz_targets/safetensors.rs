//! `model.safetensors`, and edits of a whole one: its tensors alone and as the weights of a network.
#![no_main]

use std::sync::OnceLock;

use electra::device::cpu;
use electra::pretrained::{ModelFiles, load, read_tensors};
use electra_fuzz::{edited, model};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    const NAME: &str = "model.safetensors";
    static MODEL: OnceLock<ModelFiles> = OnceLock::new();
    let mut files = MODEL.get_or_init(model).clone();
    for weights in [bytes.to_vec(), edited(&files[NAME], bytes)] {
        files.insert(NAME.into(), weights);
        if read_tensors(&files).is_ok() {
            let _ = load(&files, &cpu("small").device);
        }
    }
});
