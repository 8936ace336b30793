//! `pretrain`: what a run prints, writes and leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::workplace::Workplace;

/// A network so small that a step takes some milliseconds.
pub const SMALL: &str = "--device cpu --batch-size 4 --set hidden_size=32 \
    --set embedding_size=16 --set num_hidden_layers=1 --set num_attention_heads=2";

/// A new run of the small network on the prepared text, in the folder `run`.
pub const PRETRAIN: &str = "pretrain --data shards --output run";

const STEP_FIELDS: [&str; 11] = [
    "event",
    "step",
    "loss",
    "gen_loss",
    "disc_loss",
    "grad_norm",
    "learning_rate",
    "tokens",
    "epoch",
    "tokens_per_s",
    "gflop_per_s",
];

/// Beside those of the generator.
const DETECTION_FIELDS: [&str; 6] =
    ["disc_loss", "disc_accuracy", "disc_precision", "disc_recall", "disc_auc", "share_replaced"];

const COLOURS: [&str; 4] = ["red", "green", "blue", "black"];
const ANIMALS: [&str; 4] = ["cat", "dog", "bird", "fox"];
const VERBS: [&str; 4] = ["runs", "sits", "sings", "sleeps"];

/// A hundred documents of three sentences; an animal always does the same.
pub fn text() -> String {
    let sentence = |i: usize| {
        let animal = (i * 7 + i / 3) % 4;
        let colour = COLOURS[(i * 5 + i / 4) % 4];
        format!(
            "the {colour} {} {} and {} again .\n",
            ANIMALS[animal], VERBS[animal], VERBS[animal]
        )
    };
    (0..300).map(|i| sentence(i) + if i % 3 == 2 { "\n" } else { "" }).collect()
}

/// The words of the text as a tokenizer, in the folder `name`.
pub fn tokenizer(work: &Workplace, name: &str, words: impl Iterator<Item = &'static str>) {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let tokens = special.into_iter().chain(words).map(|token| format!("{token}\n"));
    std::fs::create_dir(work.path(name)).unwrap();
    work.write(&format!("{name}/vocab.txt"), tokens.collect::<String>());
}

pub fn words() -> impl DoubleEndedIterator<Item = &'static str> {
    ["the", "and", "again", "."].into_iter().chain(COLOURS).chain(ANIMALS).chain(VERBS)
}

/// With a text, `a.txt`, a tokenizer, `tok`, and both prepared in `shards`.
pub fn prepared() -> Workplace {
    let work = Workplace::new();
    work.write("a.txt", text());
    tokenizer(&work, "tok", words());
    prepare(&work, "tok", "shards");
    work
}

pub fn prepare(work: &Workplace, tokenizer: &str, output: &str) {
    let options = "--input a.txt --max-seq-length 32 --eval-fraction 0.1";
    work.ok(&format!("prepare --tokenizer {tokenizer} --output {output} {options}"));
}

/// The lines of a JSON lines file.
pub fn lines(work: &Workplace, name: &str) -> Vec<Value> {
    let text = String::from_utf8(work.read(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn of_event<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

/// `metrics.jsonl` without what the clock decides.
pub fn metrics(work: &Workplace, run: &str) -> Vec<Value> {
    let mut lines = lines(work, &format!("{run}/metrics.jsonl"));
    for line in lines.iter_mut().filter_map(Value::as_object_mut) {
        line.remove("tokens_per_s");
        line.remove("gflop_per_s");
    }
    lines
}

/// The steps of the checkpoints of a run.
pub fn checkpoints(work: &Workplace, run: &str) -> BTreeSet<u64> {
    let entries = std::fs::read_dir(work.path(run).join("checkpoints")).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_prefix("step-")?.parse().ok()).collect()
}

/// Starts the binary, its output in the files `stdout` and `stderr`.
pub fn start(work: &Workplace, arguments: &str) -> Child {
    let file = |name: &str| Stdio::from(std::fs::File::create(work.path(name)).unwrap());
    let mut command = work.command(arguments);
    command.stdout(file("stdout")).stderr(file("stderr")).spawn().unwrap()
}

/// Looks until something is there. A minute is far more than any of it takes.
pub fn wait_until(what: &str, mut is_there: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_there() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain: {what}");
        std::thread::sleep(Duration::from_micros(100));
    }
}

fn keys(line: &Value) -> BTreeSet<&str> {
    line.as_object().unwrap().keys().map(String::as_str).collect()
}

fn number(line: &Value, key: &str) -> f64 {
    line[key].as_f64().unwrap_or_else(|| panic!("{key} in {line}"))
}

fn architecture(work: &Workplace, folder: &str) -> Value {
    let config: Value =
        serde_json::from_slice(&work.read(&format!("{folder}/config.json"))).unwrap();
    config["architectures"].clone()
}

#[test]
fn without_data_the_built_in_text_is_learned() {
    let work = Workplace::new();
    let speed =
        "--learning-rate 1e-2 --warmup 5 --set log_every=20 --eval-every 0 --set eval_batches=4";
    let printed = work.run(&format!("pretrain --output run --steps 60 {SMALL} {speed}"));
    assert!(printed.stderr.contains("built-in text"), "{}", printed.stderr);
    let printed = printed.results();
    let steps = of_event(&printed, "step");
    let (first, last) = (steps[0], steps[2]);
    assert!(number(last, "gen_loss") < number(first, "gen_loss") - 0.5, "{first}\n{last}");
    assert!(number(last, "disc_loss") < number(first, "disc_loss"), "{first}\n{last}");
    assert!(first["tokens"].as_u64() > Some(20 * 4 * 100) && number(first, "epoch") > 0.0);
    // Who knows nothing of 8000 tokens has ln 8000, which is 9.
    let score = of_event(&printed, "evaluation")[0];
    assert!(number(score, "gen_loss") < 8.0, "{score}");
    for (folder, class) in
        [("discriminator", "ElectraForPreTraining"), ("generator", "ElectraForMaskedLM")]
    {
        assert_eq!(architecture(&work, &format!("run/{folder}")), json!([class]));
    }
    let found = work.ok_on("the old sea\n", "predict --model run/discriminator --device cpu");
    let replaced = found[0]["replaced"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap());
    assert!(replaced.clone().count() >= 5 && { replaced }.all(|p| (0.0..=1.0).contains(&p)));
    let masked = "predict --model run/generator --device cpu --top-k 1";
    assert_eq!(
        work.ok_on("the [MASK] sea\n", masked)[0]["predictions"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn the_lines_have_their_fields_and_the_log_has_the_lines() {
    let work = prepared();
    let settings = "--steps 10 --set log_every=4 --eval-every 5 --save-every 5";
    let printed = work.ok(&format!("{PRETRAIN} {SMALL} {settings}"));
    let events: Vec<_> = printed.iter().map(|line| line["event"].as_str().unwrap()).collect();
    let step = "step";
    let expected =
        ["plan", step, "evaluation", "checkpoint", step, step, "evaluation", "checkpoint", "done"];
    assert_eq!(events, expected);
    let plan = &printed[0];
    assert_eq!((&plan["steps"], &plan["examples_per_step"]), (&json!(10), &json!(4)));
    assert!(plan["examples"].as_u64() > plan["held_out"].as_u64());
    assert_eq!(printed[8]["models"], json!(["run/discriminator", "run/generator"]));
    let log = lines(&work, "run/metrics.jsonl");
    let (steps, scores): (Vec<_>, Vec<_>) = log.iter().partition(|line| line["event"] == "step");
    assert!(steps.iter().all(|line| keys(line) == BTreeSet::from(STEP_FIELDS)), "{steps:?}");
    let numbers: Vec<_> = steps.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [4, 8, 10]);
    let generator =
        ["event", "step", "gen_loss", "masked_lm_accuracy", "sampled_masked_lm_accuracy"];
    let fields: BTreeSet<_> = generator.into_iter().chain(DETECTION_FIELDS).collect();
    assert!(scores.len() == 2 && scores.iter().all(|line| keys(line) == fields), "{scores:?}");
    let told =
        printed.iter().filter(|line| line["event"] == "step" || line["event"] == "evaluation");
    assert_eq!(told.cloned().collect::<Vec<_>>(), log);
}

#[test]
fn the_settings_of_a_run_make_the_same_run_again() {
    let work = prepared();
    let settings = "--steps 6 --set log_every=2 --set mask_prob=0.3 --seed 5";
    work.ok(&format!("{PRETRAIN} {SMALL} {settings}"));
    work.ok("pretrain --data shards --output again --device cpu --config run/config.json");
    assert_eq!(metrics(&work, "again"), metrics(&work, "run"));
    assert_eq!(work.read("again/config.json"), work.read("run/config.json"));
    let other = "pretrain --data shards --output other --device cpu --config run/config.json";
    work.ok(&format!("{other} --seed 6"));
    assert_ne!(metrics(&work, "other"), metrics(&work, "run"));
}

#[test]
fn overwriting_removes_the_old_run_and_nothing_else() {
    let work = prepared();
    work.ok(&format!("{PRETRAIN} {SMALL} --steps 6 --save-every 2"));
    work.write("run/notes.md", "mine");
    work.ok(&format!("{PRETRAIN} {SMALL} --steps 3 --overwrite --objective electric"));
    assert_eq!(checkpoints(&work, "run"), BTreeSet::from([3]));
    assert_eq!(metrics(&work, "run").len(), 2);
    assert!(!work.path("run/generator").exists());
    assert_eq!(work.read("run/notes.md"), b"mine");
    assert_eq!(event_files(&work).len(), 1);
}

#[test]
fn weights_to_start_from_are_those_of_the_old_run() {
    let work = prepared();
    let old = work.ok(&format!("{PRETRAIN} {SMALL} --steps 40 --learning-rate 1e-2 --warmup 1"));
    let still = format!(
        "pretrain --data shards --output new {SMALL} --steps 1 --learning-rate 1e-30 --overwrite"
    );
    let score = |lines: &[Value]| {
        let mut score = of_event(lines, "evaluation")[0].clone();
        score.as_object_mut().unwrap().remove("step");
        score
    };
    let both = work.ok(&format!("{still} --init-from run/discriminator,run/generator"));
    assert_eq!(score(&both), score(&old));
    // The generator's embeddings are the discriminator's; the rest of it is fresh.
    let one = work.run(&format!("{still} --init-from run/discriminator"));
    assert!(one.stderr.contains("run/discriminator: the generator is fresh"), "{}", one.stderr);
    let one = score(&one.results());
    assert!(number(&one, "gen_loss") > number(&score(&old), "gen_loss") + 0.1, "{one}");
    assert_ne!(score(&work.ok(&still)), score(&old));
}

/// A masked language model gives both its body; the head of the discriminator is fresh.
#[test]
fn a_masked_language_model_to_start_from() {
    let work = prepared();
    let mlm = "--objective mlm --learning-rate 1e-2 --warmup 1 --steps 40";
    let old = work.ok(&format!("{PRETRAIN} {SMALL} {mlm}"));
    let old = number(of_event(&old, "evaluation")[0], "gen_loss");
    let loss = |more: &str| {
        let still =
            "pretrain --data shards --output new --steps 1 --learning-rate 1e-30 --overwrite";
        let lines = work.ok(&format!("{still} {SMALL} {more}"));
        number(of_event(&lines, "evaluation")[0], "gen_loss")
    };
    let both = "--init-from run/generator,run/generator";
    assert_eq!(loss(&format!("{both} --set untied_generator=false")), old);
    assert_eq!(loss(&format!("{both} --objective mlm")), old);
    // One folder is enough where there is one body: its head comes along.
    let one = "--init-from run/generator";
    assert_eq!(loss(&format!("{one} --objective mlm")), old);
    assert_eq!(loss(&format!("{one} --set untied_generator=false")), old);
    let wide = "--set generator_hidden_size=1";
    assert_eq!(loss(&format!("{both} {wide}")), old);
    assert!(loss(&format!("--init-from run/generator {wide}")) > old + 0.1);
}

/// A discriminator's body learns to guess words; what is fresh is said.
#[test]
fn a_discriminator_to_start_masked_language_modelling_from() {
    let work = prepared();
    work.ok(&format!("{PRETRAIN} {SMALL} --steps 10"));
    let mlm = "pretrain --data shards --output new --objective mlm --steps 1 --learning-rate 1e-30";
    let run = work.run(&format!("{mlm} {SMALL} --init-from run/discriminator"));
    assert!(
        run.stderr.contains("run/discriminator: the generator's head is fresh"),
        "{}",
        run.stderr
    );
    run.results();
    let [old, new] = ["run/discriminator", "new/generator"].map(|folder| {
        let bytes = work.read(&format!("{folder}/model.safetensors"));
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let body = tensors.iter().filter(|(name, _)| name.starts_with("electra."));
        body.map(|(name, view)| (name.to_string(), view.data().to_vec()))
            .collect::<BTreeMap<_, _>>()
    });
    assert!(!old.is_empty() && old == new);
    let electra = format!("pretrain --data shards --output new --overwrite --steps 1 {SMALL}");
    let run = work.run(&format!("{electra} --init-from new/generator"));
    for part in ["the discriminator's head", "the generator"] {
        assert!(run.stderr.contains(&format!("new/generator: {part} is fresh")), "{}", run.stderr);
    }
    run.results();
}

#[test]
fn masked_language_modelling_writes_a_generator_only() {
    let work = prepared();
    let printed =
        work.ok(&format!("{PRETRAIN} {SMALL} --objective mlm --steps 4 --set log_every=2"));
    assert_eq!(architecture(&work, "run/generator"), json!(["ElectraForMaskedLM"]));
    assert!(!work.path("run/discriminator").exists());
    let step = of_event(&printed, "step")[0];
    assert_eq!((number(step, "disc_loss"), &step["loss"]), (0.0, &step["gen_loss"]));
    let scores = of_event(&printed, "evaluation");
    assert!(DETECTION_FIELDS.iter().all(|field| scores[0][field].is_null()), "{scores:?}");
    let config: Value = serde_json::from_slice(&work.read("run/generator/config.json")).unwrap();
    assert_eq!(config["hidden_size"], 32, "the main network is the one that guesses");
    let masked = "predict --model run/generator --device cpu --top-k 2";
    work.ok_on("the red [MASK] runs\n", masked);
}

#[test]
fn electric_writes_a_discriminator_only() {
    let work = prepared();
    let printed = work.ok(&format!("{PRETRAIN} {SMALL} --objective electric --steps 4"));
    assert_eq!(architecture(&work, "run/discriminator"), json!(["ElectraForPreTraining"]));
    assert!(!work.path("run/generator").exists());
    assert_eq!(of_event(&printed, "done")[0]["models"], json!(["run/discriminator"]));
    assert!(number(of_event(&printed, "evaluation")[0], "disc_auc") > 0.0);
    work.ok_on("the red cat runs\n", "predict --model run/discriminator --device cpu");
}

#[test]
fn only_so_many_checkpoints_are_kept() {
    let work = prepared();
    for (keep, kept) in
        [(0, vec![2, 4, 6, 8]), (1, vec![8]), (3, vec![4, 6, 8]), (9, vec![2, 4, 6, 8])]
    {
        let keep = format!("--save-every 2 --steps 8 --set keep_checkpoints={keep}");
        let printed = work.ok(&format!("{PRETRAIN} {SMALL} {keep} --overwrite"));
        assert_eq!(checkpoints(&work, "run"), kept.into_iter().collect(), "{keep}");
        assert_eq!(of_event(&printed, "checkpoint").len(), 4, "{keep}");
    }
    work.ok(&format!("{PRETRAIN} {SMALL} --save-every 0 --steps 3 --overwrite"));
    assert_eq!(checkpoints(&work, "run"), BTreeSet::from([3]));
}

fn event_files(work: &Workplace) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(work.path("run")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.display().to_string().contains("/events.out.tfevents.")).collect()
}

/// The records of an event file, their checksums compared.
fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap());
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(word(&bytes[8..]), masked_crc32c(&bytes[..8]));
        let (data, rest) = bytes[12..].split_at(length);
        assert_eq!(word(rest), masked_crc32c(data));
        records.push(data.to_vec());
        bytes = &rest[4..];
    }
    records
}

/// Bit by bit, after RFC 3720, and masked as TFRecord wants it.
fn masked_crc32c(bytes: &[u8]) -> u32 {
    let shift = |crc: u32, _| (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), shift);
    let crc = !bytes.iter().fold(u32::MAX, byte);
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The number that comes after a tag: field 2 of the scalar, of wire type 5.
fn scalar(record: &[u8], tag: &str) -> Option<f32> {
    let after = record.windows(tag.len()).position(|window| window == tag.as_bytes())? + tag.len();
    let number = record[after..].strip_prefix(&[0x15])?;
    Some(f32::from_le_bytes(number[..4].try_into().unwrap()))
}

#[test]
fn a_checksum_is_that_of_the_standard() {
    // RFC 3720, B.4: 32 bytes of zeros have 0x8a9136aa.
    let masked = 0x8a91_36aau32.rotate_right(15).wrapping_add(0xa282_ead8);
    assert_eq!(masked_crc32c(&[0; 32]), masked);
}

#[test]
fn tensorboard_finds_the_numbers_of_the_log() {
    let work = prepared();
    work.ok(&format!("{PRETRAIN} {SMALL} --steps 6 --set log_every=2 --eval-every 3"));
    let files = event_files(&work);
    assert_eq!(files.len(), 1);
    let records = records(&std::fs::read(&files[0]).unwrap());
    assert!(records[0].windows(13).any(|window| window == b"brain.Event:2"));
    let log = lines(&work, "run/metrics.jsonl");
    assert_eq!(records.len(), 1 + log.len());
    for (record, line) in records[1..].iter().zip(&log) {
        let group = if line["event"] == "evaluation" { "eval" } else { "train" };
        for (key, value) in line.as_object().unwrap() {
            if let (true, Some(value)) = (key != "step", value.as_f64()) {
                // serde_json reads a number to within one bit of its last place.
                let found = scalar(record, &format!("{group}/{key}")).expect(key);
                let bits = found.to_bits().abs_diff((value as f32).to_bits());
                assert!(bits <= 1, "{key}: {found} in the events, {value} in the log");
            }
        }
    }
}
