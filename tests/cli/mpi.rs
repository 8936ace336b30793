//! Two ranks on one machine, with the real binary: `./build.sh test rust` builds it with the
//! feature `mpi` for this.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// Twenty steps of a small network without dropout, on the built-in text.
const RUN: &str = "pretrain --device cpu --steps 20 --seed 3 --eval-every 0 --save-every 10 \
    --set hidden_size=32 --set embedding_size=16 --set num_hidden_layers=1 \
    --set num_attention_heads=2 --set hidden_dropout_prob=0 --set attention_probs_dropout_prob=0 \
    --set log_every=1 --set eval_batches=1";

/// With a folder of its own for what it keeps while it runs: of several at once, one that ends removes a shared one.
fn mpirun(folder: &Path) -> Command {
    let mut mpirun = Command::new("mpirun");
    mpirun.args(["--oversubscribe", "--allow-run-as-root"]).current_dir(folder);
    mpirun.env("TMPDIR", folder);
    mpirun
}

fn electra(folder: &Path, ranks: usize, arguments: &str) -> Output {
    let binary = env!("CARGO_BIN_EXE_electra");
    let mut command = match ranks {
        1 => Command::new(binary),
        _ => {
            let mut mpirun = mpirun(folder);
            mpirun.args(["-n", &ranks.to_string(), binary]);
            mpirun
        }
    };
    command.args(arguments.split_whitespace()).current_dir(folder).output().expect("it starts")
}

fn ok(folder: &Path, ranks: usize, arguments: &str) {
    let output = electra(folder, ranks, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{ranks} ranks, {arguments}\n{stderr}");
}

/// Loss and gradient norm of every step.
fn metrics(folder: &Path, run: &str) -> Vec<[f64; 3]> {
    let text = std::fs::read_to_string(folder.join(run).join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let steps = lines.filter(|line| line.get("loss").is_some());
    let number = |line: &Value, key: &str| line[key].as_f64().unwrap();
    steps.map(|l| ["gen_loss", "disc_loss", "grad_norm"].map(|key| number(&l, key))).collect()
}

fn close(a: &[[f64; 3]], b: &[[f64; 3]], steps: usize) {
    assert_eq!((a.len(), b.len()), (steps, steps));
    for (step, (a, b)) in a.iter().zip(b).enumerate() {
        let near = |i: usize, allowed: f64| (a[i] - b[i]).abs() < allowed * a[i].abs().max(1.0);
        assert!(near(0, 1e-5) && near(1, 1e-5) && near(2, 1e-3), "step {step}: {a:?} {b:?}");
    }
}

#[test]
fn two_ranks_are_one_of_twice_the_batch_also_after_a_resume_with_other_ranks() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    ok(folder, 1, &format!("{RUN} --output one --batch-size 16"));
    ok(folder, 2, &format!("{RUN} --output two --batch-size 8"));
    close(&metrics(folder, "one"), &metrics(folder, "two"), 20);
    // From step 10 on with one rank that does all of it.
    std::fs::remove_dir_all(folder.join("two/checkpoints/step-20")).unwrap();
    ok(folder, 1, "pretrain --device cpu --output two --resume --batch-size 16");
    close(&metrics(folder, "one"), &metrics(folder, "two"), 20);
}

/// More examples than there are: every rank says so, and nobody waits for the others.
#[test]
fn an_error_on_the_ranks_ends_the_run() {
    let folder = TempDir::new().unwrap();
    let output = electra(folder.path(), 2, &format!("{RUN} --output run --batch-size 60000"));
    assert!(!output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("fewer than one update's"), "{stderr}");
}

/// Runs a command of its own on each of two ranks: it must end, and its words are given back.
fn apart(folder: &Path, first: &str, second: &str) -> String {
    let binary = env!("CARGO_BIN_EXE_electra");
    let mut mpirun = mpirun(folder);
    mpirun.args(["-n", "1", binary]).args(first.split_whitespace());
    mpirun.args([":", "-n", "1", binary]).args(second.split_whitespace());
    let output = mpirun.output().unwrap();
    assert!(!output.status.success(), "{first} : {second}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Else they would wait for each other for ever.
#[test]
fn ranks_that_are_told_different_things_say_so_and_end() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let differ = |first: &str, second: &str, words: &[&str]| {
        let said = apart(folder, first, second);
        for word in words.iter().chain(&["rank 1: is not started as the first rank is"]) {
            assert!(said.contains(word), "no {word:?} in {said}");
        }
    };
    let run = format!("{RUN} --output run");
    let other = run.replace("--steps 20", "--steps 30 --batch-size 8");
    let words = ["num_train_steps is 30, there 20", "batch_size is 8, there 16"];
    differ(&run, &other, &words);
    assert!(!folder.join("run").exists());
    ok(folder, 1, &format!("{run} --stop-after 1ms"));
    let resume = "pretrain --device cpu --output run --resume";
    differ(resume, &run, &["resume is false, there true"]);
    differ(resume, &format!("{resume} --seed 4"), &["seed is 4, there not given"]);
    // Another text under the same options, and a checkpoint that only one rank has.
    let root = env!("CARGO_MANIFEST_DIR");
    for seed in [1, 2] {
        let line = format!(
            "prepare --input {root}/corpus/sample.txt --tokenizer {root}/public/models/electra-tiny \
            --max-seq-length 128 --eval-fraction 0.05 --seed {seed} --output {seed}"
        );
        ok(folder, 1, &line);
    }
    let new = format!("{RUN} --output new");
    differ(&format!("{new} --data 1"), &format!("{new} --data 2"), &["text is "]);
    ok(folder, 1, "pretrain --device cpu --output run --resume --batch-size 16");
    std::fs::create_dir_all(folder.join("old/checkpoints")).unwrap();
    std::fs::rename(folder.join("run/checkpoints/step-10"), folder.join("old/checkpoints/step-10"))
        .unwrap();
    let old = "pretrain --device cpu --output old --data run/corpus --resume";
    let new = "pretrain --device cpu --output run --data run/corpus --resume";
    differ(new, old, &["steps done is 10, there 20"]);
}

/// The text is damaged where the second rank reads it, after a checkpoint.
#[test]
fn a_rank_that_fails_in_mid_run_ends_it_with_a_whole_checkpoint() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    ok(folder, 1, &format!("{RUN} --output run --batch-size 16 --stop-after 1ms"));
    let shard = folder.join("run/corpus/train-00000.safetensors");
    let mut bytes = std::fs::read(&shard).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0xff);
    std::fs::write(&shard, bytes).unwrap();
    let resume = "pretrain --device cpu --output run --resume --batch-size 8 --no-verify";
    let output = electra(folder, 2, resume);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("train-00000.safetensors"), "{stderr}");
    assert!(folder.join("run/checkpoints/step-1/state.json").exists());
}
