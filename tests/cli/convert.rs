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

const CHECKPOINT: &str = "tests/fixtures/tensorflow";

/// A checkpoint of google-research/electra, in the folder `original`.
fn with_checkpoint() -> Workplace {
    let work = Workplace::new();
    work.copy(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(CHECKPOINT), "original");
    work
}

/// `tests/parity.rs` looks at the logits.
#[test]
fn a_checkpoint_of_tensorflow_becomes_two_models() {
    let work = with_checkpoint();
    let run = work.run("convert --from original --to out");
    assert!(!run.stderr.contains("left behind"), "{}", run.stderr);
    run.results();
    let detected =
        work.ok_on("the cat says woof\n", "predict --model out/discriminator --device cpu");
    assert_eq!(detected[0]["tokens"].as_array().unwrap().len(), 6, "{detected:?}");
    let filled = work.ok_on("the cat [MASK] meow\n", "predict --model out/generator --device cpu");
    assert_eq!(filled.len(), 1);
    work.ok("convert --from original/model.ckpt-7 --to again --dtype f16");
    let [full, half] =
        ["out", "again"].map(|to| work.read(&format!("{to}/generator/model.safetensors")).len());
    assert!(half < full * 2 / 3, "{half} of {full}");
    work.remove("original/vocab.txt");
    let bare = work.run("convert --from original --to bare");
    assert!(bare.stderr.contains("vocab.txt is missing"), "{}", bare.stderr);
    bare.results();
}

#[test]
fn of_several_checkpoints_the_latest_is_taken_or_one_must_be_named() {
    let work = with_checkpoint();
    for ending in ["index", "data-00000-of-00001"] {
        work.write(
            &format!("original/model.ckpt-5.{ending}"),
            work.read(&format!("original/model.ckpt-7.{ending}")),
        );
    }
    work.remove("original/model.ckpt-5.data-00000-of-00001");
    work.ok("convert --from original --to latest");
    work.remove("original/checkpoint");
    let words = ["original", "several checkpoints", "model.ckpt-5", "model.ckpt-7"];
    work.fails("convert --from original --to out", &words);
    let words = ["model.ckpt-5.data-00000-of-00001", "cannot be read"];
    work.fails("convert --from original/model.ckpt-5 --to out", &words);
    work.ok("convert --from original/model.ckpt-7 --to out");
}

#[test]
fn damage_to_a_checkpoint_is_named() {
    let work = with_checkpoint();
    let (index, data) =
        ("original/model.ckpt-7.index", "original/model.ckpt-7.data-00000-of-00001");
    let convert = "convert --from original --to out";
    let whole = work.read(index);
    for at in (0..whole.len() - 48).step_by(97) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        work.write(index, changed);
        // Some bytes are of no block.
        let run = work.run(&format!("{convert} --overwrite"));
        assert!(run.code == Some(0) || run.stderr.contains("model.ckpt-7"), "{at}: {}", run.stderr);
        std::fs::remove_dir_all(work.path("out")).ok();
    }
    for damaged in [&b""[..], b"not an index", &whole[..whole.len() - 1], &whole[1..]] {
        work.write(index, damaged);
        work.fails(convert, &["model.ckpt-7.index", "damaged"]);
    }
    work.write(index, &whole);
    let numbers = work.read(data);
    // Behind the last weight stands the step.
    work.write(data, &numbers[..numbers.len() - 100]);
    work.fails(convert, &["data-00000-of-00001", "cut off"]);
    let mut changed = numbers.clone();
    changed[1000] ^= 1;
    work.write(data, changed);
    work.fails(convert, &["data-00000-of-00001", "checksum"]);
    work.write(data, numbers);
    let vocabulary = String::from_utf8(work.read("original/vocab.txt")).unwrap();
    work.write("original/vocab.txt", vocabulary + "more\n");
    work.fails(convert, &["vocab.txt", "13 tokens", "vocab_size is 12"]);
}
