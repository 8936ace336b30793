//! `config.json`, and a model that is loaded with it: its sizes must not be believed.
#![no_main]

use std::sync::OnceLock;

use electra::config::ElectraConfig;
use electra::device::cpu;
use electra::pretrained::{ModelFiles, load};
use electra_fuzz::model;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(config) = ElectraConfig::from_json(bytes) else { return };
    assert!(ElectraConfig::from_json(&config.to_json()).is_ok());
    static MODEL: OnceLock<ModelFiles> = OnceLock::new();
    let mut files = MODEL.get_or_init(model).clone();
    files.insert("config.json".into(), bytes.to_vec());
    let _ = load(&files, &cpu("small").device);
});
