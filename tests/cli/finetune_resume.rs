//! `finetune --resume`: a run that was stopped, killed or damaged, and the same run undisturbed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::pretrain::{of_event, start, wait_until};
use crate::resume::lines_so_far;
#[cfg(unix)]
use crate::resume::signal;
use crate::workplace::{Workplace, csv};

/// Dropout is on, losses are read every ten updates, and stops fall in between.
const RUN: &str = "finetune --model base --train data.csv --device cpu --batch-size 4 \
    --accumulate 2 --max-seq-length 16 --dropout 0.2 --eval-every 7 --learning-rate 1e-3 \
    --keep-best";

/// With `whole`, what a run that nobody stops leaves.
fn workplace(options: &str) -> Workplace {
    let work = Workplace::with_model_and_data();
    work.write("data.csv", csv(30));
    work.ok(&format!("{RUN} {options} --output whole"));
    work
}

/// What a run says in its report of itself.
fn report(work: &Workplace, folder: &str) -> Value {
    let mut report: Value =
        serde_json::from_slice(&work.read(&format!("{folder}/report.json"))).unwrap();
    report["settings"]["command"] = Value::Null;
    report
}

#[track_caller]
fn assert_same_as_whole(work: &Workplace) {
    for name in ["metrics.jsonl", "model.safetensors", "config.json", "tokenizer.json"] {
        let read = |folder: &str| work.read(&format!("{folder}/{name}"));
        assert!(read("run") == read("whole"), "{name}");
    }
    assert_eq!(report(work, "run"), report(work, "whole"));
    assert!(!is_stopped(work), "a run that is over leaves no checkpoint");
    assert!(!work.path(".run.checkpoint.partial").exists());
}

fn is_stopped(work: &Workplace) -> bool {
    work.path("run.checkpoint").exists()
}

fn printed(work: &Workplace) -> Vec<Value> {
    lines_so_far(work).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The step of the last checkpoint that was told of.
fn told(work: &Workplace) -> Option<u64> {
    of_event(&printed(work), "checkpoint").last().map(|line| line["step"].as_u64().unwrap())
}

#[cfg(unix)]
#[test]
fn a_signal_saves_and_says_how_to_go_on() {
    let work = workplace("--epochs 100");
    for name in ["-INT", "-TERM"] {
        let mut child = start(&work, &format!("{RUN} --epochs 100 --output run"));
        wait_until("two evaluations", || of_event(&printed(&work), "evaluation").len() > 1);
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}");
        assert!(is_stopped(&work) && !work.path("run").exists());
        let said = String::from_utf8(work.read("stderr")).unwrap();
        let step = told(&work).expect("a checkpoint");
        assert!(said.contains(&format!("stopped at step {step}; to go on:\n")), "{said}");
        let next =
            said.lines().find_map(|line| line.strip_prefix("  electra ")).expect("a command");
        let before = of_event(&printed(&work), "evaluation").len();
        let run = work.run(next);
        assert!(
            run.stderr.contains(&format!("resuming from run.checkpoint at step {step}\n")),
            "{}",
            run.stderr
        );
        let printed = run.results();
        assert_eq!(before + of_event(&printed, "evaluation").len(), evaluations(&work));
        assert_same_as_whole(&work);
        std::fs::remove_dir_all(work.path("run")).unwrap();
    }
}

/// Of the run that nobody stopped.
fn evaluations(work: &Workplace) -> usize {
    let log = String::from_utf8(work.read("whole/metrics.jsonl")).unwrap();
    log.lines().filter(|line| line.contains("\"event\":\"evaluation\"")).count()
}

/// At some moment, and often while a checkpoint is being written.
#[test]
fn a_run_that_is_killed_again_and_again_is_the_whole_run() {
    let options = "--epochs 40";
    let work = workplace(options);
    let run = format!("{RUN} {options} --output run --save-every 1");
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut newest = None;
    for number in 0..10 {
        let lines = 2 + rng.next_u32() as usize % 6;
        let resume = if number == 0 { "" } else { "--resume" };
        let mut child = start(&work, &format!("{run} {resume}"));
        let partial = work.path(".run.checkpoint.partial");
        // Left by the kill before; it is no sign of this run's life.
        wait_until("the plan", || !lines_so_far(&work).is_empty());
        wait_until("a moment", || {
            let is_late =
                lines_so_far(&work).len() >= lines && (number > 0 || told(&work).is_some());
            let is_writing = number % 2 == 1 && partial.exists() && told(&work).is_some();
            let is_over = child.try_wait().unwrap().is_some();
            (is_late && number % 2 == 0) || is_writing || is_over
        });
        child.kill().unwrap();
        let code = child.wait().unwrap().code();
        let said = String::from_utf8(work.read("stderr")).unwrap();
        assert_eq!(code, None, "the run was over before it was killed: {said}");
        if let Some(newest) = newest {
            let from = said.split("at step ").nth(1).and_then(|rest| rest.split('\n').next());
            let from: u64 = from.expect("it says where from").parse().unwrap();
            assert!(from >= newest, "{from} is before {newest}");
        }
        newest = told(&work).max(newest);
    }
    assert!(newest.is_some());
    work.ok(&format!("{run} --resume"));
    assert_same_as_whole(&work);
}

#[test]
fn the_trials_that_are_over_are_kept() {
    let options = "--epochs 8 --trials 3";
    let work = workplace(options);
    let run = format!("{RUN} {options} --output run --save-every 1");
    for trial in [2, 3] {
        let resume = if trial == 2 { "" } else { "--resume" };
        let mut child = start(&work, &format!("{run} {resume}"));
        wait_until("a checkpoint of that trial", || {
            of_event(&printed(&work), "checkpoint").iter().any(|line| line["trial"] == trial)
                || child.try_wait().unwrap().is_some()
        });
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().code(), None, "the run was over before it was killed");
    }
    let printed = work.ok(&format!("{run} --resume"));
    assert_eq!(of_event(&printed, "plan").len(), 1, "the last trial only");
    let done = printed.last().unwrap();
    assert_eq!(done["scores"].as_array().unwrap().len(), 3);
    assert_eq!(done["median"], report(&work, "whole")["median"]);
    assert_same_as_whole(&work);
}

#[test]
fn saving_changes_nothing_and_leaves_nothing() {
    let options = "--epochs 4";
    let work = workplace(options);
    let printed = work.ok(&format!("{RUN} {options} --output run --save-every 2"));
    let steps: Vec<_> =
        of_event(&printed, "checkpoint").iter().map(|l| l["step"].clone()).collect();
    // 25 rows in batches of 4, two batches an update.
    assert_eq!(steps, [2, 4, 6, 8, 10, 12, 14, 16]);
    assert_same_as_whole(&work);
    work.ok(&format!("{RUN} {options} --output other --save-every 0"));
    assert!(work.read("other/model.safetensors") == work.read("whole/model.safetensors"));
}

/// A run that was killed after its first checkpoint.
fn stopped(options: &str) -> Workplace {
    let work = Workplace::with_model_and_data();
    let run = format!("{RUN} --output run --save-every 1 --epochs 1000 {options}");
    let mut child = start(&work, &run);
    wait_until("a checkpoint", || told(&work).is_some());
    child.kill().unwrap();
    child.wait().unwrap();
    let _ = std::fs::remove_file(work.path(".run.checkpoint.partial"));
    work
}

#[test]
fn a_model_can_be_taken_as_it_stands() {
    let work = stopped("");
    let resume = format!("{RUN} --output run --save-every 1 --epochs 1000 --resume");
    let printed = work.ok(&format!("{resume} --finish"));
    let last = of_event(&printed, "evaluation").into_iter().next_back().unwrap().clone();
    assert!(last["step"].as_u64().unwrap() >= 1);
    assert_eq!(of_event(&printed, "done").len(), 1);
    assert!(!is_stopped(&work));
    work.ok_on("the cat\n", "predict --model run --device cpu");
}

#[test]
fn another_run_does_not_go_on_from_it() {
    let work = stopped("");
    let run = format!("{RUN} --output run --save-every 1");
    work.fails(
        &format!("{run} --epochs 1000"),
        &["run.checkpoint", "stopped can go on", "--resume", "--overwrite"],
    );
    let fails = |more: &str, words: &[&str]| {
        work.fails(&format!("{run} {more} --resume"), &[words, &["run.checkpoint"]].concat());
    };
    fails("--epochs 999", &["epochs", "1000.0, not 999.0"]);
    fails("--epochs 1000 --seed 1", &["seed", "0, not 1"]);
    fails("--epochs 1000 --eval data.csv", &["training data", "another"]);
    work.write("data.csv", csv(28));
    fails("--epochs 1000", &["training data", "another"]);
    work.write("data.csv", csv(24));
    work.edit_config("base", |config| {
        config.insert("hidden_act".into(), json!("relu"));
    });
    fails("--epochs 1000", &["model", "another"]);
    work.ok(&format!("{run} --epochs 1 --overwrite"));
    assert!(!is_stopped(&work));
    work.refuses(&format!("{run} --finish"), &["--resume"]);
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    let work = stopped("");
    let resume = format!("{RUN} --output run --save-every 1 --epochs 1000 --resume");
    let whole = work.read("run.checkpoint");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let damaged = [&whole[..0], &whole[..100], &whole[..whole.len() - 1], b"no zip", &flipped];
    for bytes in damaged {
        work.write("run.checkpoint", bytes);
        work.fails(&resume, &["run.checkpoint", "--overwrite"]);
    }
    let model = work.read("base/model.safetensors");
    work.write("run.checkpoint", model);
    work.fails(&resume, &["run.checkpoint", "is no checkpoint"]);
    work.remove("run.checkpoint");
    work.fails(&resume, &["run.checkpoint", "there is no checkpoint", "--resume"]);
}
