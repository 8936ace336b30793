//! The memory of a long run on a GPU is flat. `./build.sh soak` runs it for two thousand steps.

#![recursion_limit = "256"]

use std::path::Path;

use electra::corpus::prepare::{PrepareOptions, prepare_text};
use electra::distributed::World;
use electra::pretrain::config::PretrainConfig;
use electra::pretrain::network::Pretraining;
use electra::pretrain::run::PretrainRun;
use electra::pretrained::read_folder;
use serde_json::{Map, json};

#[test]
#[ignore = "needs a GPU, of which lavapipe is one: cargo test --test soak -- --ignored"]
fn the_memory_of_a_long_run_is_flat() {
    let steps = std::env::var("ELECTRA_SOAK_STEPS").map_or(60, |steps| steps.parse().unwrap());
    let early = (steps / 3).min(100);
    let device = electra::device::pick("wgpu").unwrap().device;
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("corpus/sample.txt")).unwrap();
    let mut tokenizer = read_folder(&root.join("public/models/electra-tiny")).unwrap();
    tokenizer.retain(|name, _| !["config.json", "model.safetensors"].contains(&name.as_str()));
    let options = PrepareOptions { max_seq_length: 32, ..PrepareOptions::default() };
    let corpus =
        prepare_text("sample", &text[..100_000], &tokenizer, &options, folder.path()).unwrap();
    let sizes = [
        ("hidden_size", json!(32)),
        ("embedding_size", json!(16)),
        ("num_hidden_layers", json!(1)),
        ("num_attention_heads", json!(2)),
        ("batch_size", json!(2)),
        ("num_train_steps", json!(steps)),
        ("log_every", json!(10)),
    ];
    let sizes = Map::from_iter(sizes.map(|(key, value)| (key.to_string(), value)));
    let config = PretrainConfig::preset("tiny").unwrap().with("soak", sizes).unwrap();
    let network = Pretraining::fresh(&config, corpus.index.settings.vocab_size, &device);
    let mut run = PretrainRun::new(config, corpus, network, World::alone(), &device).unwrap();
    let mut at_first = None;
    while !run.is_done() {
        pollster::block_on(run.step()).unwrap();
        if run.counters.step == early {
            device.sync().unwrap();
            at_first = device.memory_pool_usage();
        }
    }
    device.sync().unwrap();
    let (first, last) = (at_first.unwrap(), device.memory_pool_usage().unwrap());
    println!("after {early} steps {first:?}, after {steps} {last:?}");
    let grown = |a: u64, b: u64| b as f64 / a as f64;
    assert!(grown(first.bytes_reserved, last.bytes_reserved) < 1.05, "{first:?} {last:?}");
    assert!(grown(first.bytes_in_use, last.bytes_in_use) < 1.05, "{first:?} {last:?}");
}
