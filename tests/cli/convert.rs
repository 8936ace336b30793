//! `convert`

use serde_json::{Value, json};

use crate::weights::Weights;
use crate::workplace::Workplace;

const TEXT: &str = "the cat says meow\n{\"text\": \"the dog\", \"text_pair\": \"no\"}\n";

fn logits(work: &Workplace, model: &str) -> Vec<f64> {
    let answers = work.ok_on(TEXT, &format!("predict --model {model} --device cpu --logits"));
    let rows = answers.iter().flat_map(|answer| answer["logits"].as_array().unwrap());
    rows.map(|logit| logit.as_f64().unwrap()).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn half_precision_halves_the_file_and_keeps_the_answers() {
    let work = Workplace::with_classifier();
    work.ok("convert --from trained --to half --dtype f16");
    work.ok("convert --from half --to full");
    let [before, half, full] =
        ["trained", "half", "full"].map(|name| work.read(&format!("{name}/model.safetensors")));
    assert!(half.len() < before.len() * 2 / 3, "{} of {}", half.len(), before.len());
    assert_eq!(before.len(), full.len());
    let config: Value = serde_json::from_slice(&work.read("half/config.json")).unwrap();
    assert_eq!(config["dtype"], json!("float16"));
    assert!(distance(&logits(&work, "trained"), &logits(&work, "half")) < 5e-3);
    assert_eq!(logits(&work, "half"), logits(&work, "full"));
}

#[test]
fn pytorch_files_become_safetensors() {
    for fixture in ["format_bin", "format_bin_old", "format_bin_f16"] {
        let work = Workplace::new();
        work.model("torch", fixture);
        work.ok("convert --from torch --to out");
        assert!(work.path("out/model.safetensors").is_file());
        assert!(!work.path("out/pytorch_model.bin").exists());
        assert_eq!(logits(&work, "torch"), logits(&work, "out"), "{fixture}");
    }
}

#[test]
fn a_folder_without_a_tokenizer_is_converted_as_it_is() {
    let work = Workplace::new();
    work.model("torch", "format_bin");
    work.remove("torch/vocab.txt");
    work.ok("convert --from torch --to out");
    assert!(work.path("out/model.safetensors").is_file() && work.path("out/config.json").is_file());
    assert!(!work.path("out/tokenizer.json").exists());
}

#[test]
fn a_damaged_pytorch_file_is_named() {
    let work = Workplace::new();
    work.model("torch", "format_bin");
    let whole = work.read("torch/pytorch_model.bin");
    for damaged in [&whole[..whole.len() / 2], b"", b"not a zip"] {
        work.write("torch/pytorch_model.bin", damaged);
        work.fails(
            "convert --from torch --to out",
            &["torch", "pytorch_model.bin", "cannot be read"],
        );
    }
}

#[test]
fn numbers_beyond_half_precision_are_not_written() {
    let work = Workplace::with_classifier();
    let tensor = "classifier.out_proj.bias";
    let weights = Weights::parse(&work.read("trained/model.safetensors")).set_first(tensor, 1e6);
    work.write("trained/model.safetensors", weights);
    work.fails("convert --from trained --to out --dtype f16", &[tensor, "f16"]);
}

#[test]
fn a_folder_that_is_in_use_is_not_overwritten() {
    let work = Workplace::with_classifier();
    let before = work.read("trained/config.json");
    work.fails("convert --from base --to trained", &["trained", "not empty"]);
    assert_eq!(work.read("trained/config.json"), before);
}
