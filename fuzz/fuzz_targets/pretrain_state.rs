//! A checkpoint of pre-training, its `state.json` beside whole weights; and the settings of a run.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use electra::device::cpu;
use electra::pretrain::config::PretrainConfig;
use electra::pretrain::state::Checkpoint;
use electra_fuzz::model;

fn checkpoint() -> PathBuf {
    let folder = tempfile::tempdir().expect("a writable temporary folder").keep().join("step-0");
    std::fs::create_dir(&folder).expect("an empty folder");
    let weights = &model()["model.safetensors"];
    std::fs::write(folder.join("training.safetensors"), weights).expect("room for it");
    folder
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(checkpoint);
    std::fs::write(folder.join("state.json"), bytes).expect("room for it");
    let _ = Checkpoint::read(folder, &cpu("small").device);
    if let Ok(fields) = serde_json::from_slice(bytes)
        && let Ok(config) = PretrainConfig::default().with("config.json", fields)
    {
        let _ = (config.flop_per_step(8, 16), config.optimizer());
    }
});
