//! `pretrain --resume`: a run that was stopped, killed or damaged, and the same run undisturbed.

use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::pretrain::{
    PRETRAIN, SMALL, checkpoints, lines, metrics, of_event, prepared, start, wait_until,
};
use crate::workplace::Workplace;

const RESUME: &str = "pretrain --data shards --output run --device cpu --resume";

/// Dropout is on, and a line of the log is a mean over updates that lie on both sides of a stop.
const RUN: &str = "--accumulate 2 --set hidden_dropout_prob=0.2 --set log_every=5 --eval-every 6";

fn whole_run(work: &Workplace, options: &str) {
    let line = PRETRAIN.replace("run", "whole");
    assert!(line.contains("--output whole"));
    work.ok(&format!("{line} {SMALL} {options}"));
}

fn assert_same_as_whole(work: &Workplace) {
    assert_eq!(metrics(work, "run"), metrics(work, "whole"));
    for model in ["discriminator", "generator"] {
        let weights = |run: &str| work.read(&format!("{run}/{model}/model.safetensors"));
        assert!(weights("run") == weights("whole"), "{model}");
    }
}

#[test]
fn a_run_in_single_steps_is_the_whole_run() {
    let work = prepared();
    let options = format!("{RUN} --steps 13");
    whole_run(&work, &options);
    work.ok(&format!("{PRETRAIN} {SMALL} {options} --stop-after 0s"));
    for step in 1..13 {
        assert_eq!(checkpoints(&work, "run").last(), Some(&step));
        work.ok(&format!("{RESUME} --stop-after 0s"));
    }
    assert_same_as_whole(&work);
    // It also is one in the tensors that only training needs.
    let tensors = |run: &str| work.read(&format!("{run}/checkpoints/step-13/training.safetensors"));
    assert!(tensors("run") == tensors("whole"));
}

#[test]
fn lines_after_the_checkpoint_are_written_again() {
    let work = prepared();
    let options = format!("{RUN} --steps 18 --save-every 8 --set keep_checkpoints=0");
    whole_run(&work, &options);
    work.ok(&format!("{PRETRAIN} {SMALL} {options}"));
    for step in [16, 18] {
        std::fs::remove_dir_all(work.path(&format!("run/checkpoints/step-{step}"))).unwrap();
    }
    let printed = work.run(RESUME);
    assert!(
        printed.stderr.contains("resuming from run/checkpoints/step-8\n"),
        "{}",
        printed.stderr
    );
    let printed = printed.results();
    assert_eq!(of_event(&printed, "step")[0]["step"], 10);
    assert_eq!(of_event(&printed, "checkpoint").len(), 2);
    assert_same_as_whole(&work);
}

#[test]
fn a_line_that_was_cut_short_is_no_harm() {
    let work = prepared();
    let options = format!("{RUN} --steps 12");
    whole_run(&work, &options);
    work.ok(&format!("{PRETRAIN} {SMALL} {options} --stop-after 0s"));
    let mut log = work.read("run/metrics.jsonl");
    log.extend(b"{\"step\": 5, \"lo");
    work.write("run/metrics.jsonl", log);
    work.ok(RESUME);
    assert_same_as_whole(&work);
}

/// Only what is no line of a log goes, and it is said.
#[test]
fn a_strange_line_of_the_log_costs_no_other() {
    let work = prepared();
    let options = format!("{RUN} --steps 23 --save-every 20 --set keep_checkpoints=0");
    whole_run(&work, &options);
    work.ok(&format!("{PRETRAIN} {SMALL} {options}"));
    std::fs::remove_dir_all(work.path("run/checkpoints/step-23")).unwrap();
    let log = String::from_utf8(work.read("run/metrics.jsonl")).unwrap();
    let mut lines: Vec<_> = log.lines().map(|line| line.as_bytes().to_vec()).collect();
    lines.insert(1, b"what is this".to_vec());
    lines.insert(3, b"\xff\xfe\0".to_vec());
    lines.insert(4, b"{\"step\": \"ten\"}".to_vec());
    work.write("run/metrics.jsonl", lines.join(&b'\n'));
    let run = work.run(RESUME);
    let said = "run/metrics.jsonl: line 2 and 2 more is no line of a log and is left out";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    run.results();
    assert_same_as_whole(&work);
}

/// Nobody asked for other held-out text, only for another batch.
#[test]
fn another_batch_size_is_evaluated_on_the_same_text() {
    let work = prepared();
    work.ok(&format!("{PRETRAIN} {SMALL} --steps 4 --set eval_batches=2"));
    let score = |options: &str| {
        let line = format!("{RESUME} --steps 5 --learning-rate 1e-30 {options}");
        let printed = work.ok(&line);
        std::fs::remove_dir_all(work.path("run/checkpoints/step-5")).unwrap();
        let scores = of_event(&printed, "evaluation")[0].clone();
        ["gen_loss", "disc_loss", "disc_auc"].map(|key| scores[key].as_f64().unwrap())
    };
    let before = score("");
    for options in ["--batch-size 1", "--batch-size 3", "--batch-size 16"] {
        let after = score(options);
        let near = before.iter().zip(after).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near, "{options}: {before:?} and {after:?}");
    }
    assert!((score("--set eval_batches=1")[0] - before[0]).abs() > 1e-5);
}

#[test]
fn a_finished_run_is_left_as_it_is_and_goes_on_with_more_steps() {
    let work = prepared();
    work.ok(&format!("{PRETRAIN} {SMALL} --steps 6"));
    let before = (metrics(&work, "run"), work.read("run/discriminator/model.safetensors"));
    work.ok(RESUME);
    assert!(before == (metrics(&work, "run"), work.read("run/discriminator/model.safetensors")));
    work.ok(&format!("{RESUME} --steps 9"));
    assert_eq!(checkpoints(&work, "run"), BTreeSet::from([6, 9]));
    assert_eq!(lines(&work, "run/metrics.jsonl").last().unwrap()["step"], 9);
}

#[cfg(unix)]
pub fn signal(child: &std::process::Child, name: &str) {
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args([name, &id]).status().unwrap().success());
}

#[cfg(unix)]
#[test]
fn a_signal_saves_and_says_how_to_go_on() {
    let work = prepared();
    let options = format!("{RUN} --steps 100");
    whole_run(&work, &options);
    for name in ["-INT", "-TERM"] {
        let mut child = start(&work, &format!("{PRETRAIN} {SMALL} {options} --overwrite"));
        wait_until("a line of the log", || {
            work.read("stdout").contains(&b'\n') && {
                lines_so_far(&work).iter().any(|line| line.contains("\"event\":\"step\""))
            }
        });
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}");
        let said = String::from_utf8(work.read("stderr")).unwrap();
        let step = *checkpoints(&work, "run").last().expect("a checkpoint");
        assert!(step < 100, "the run was over before the signal");
        assert!(said.contains(&format!("stopped at step {step}; to go on:\n")), "{said}");
        let next =
            said.lines().find_map(|line| line.strip_prefix("  electra ")).expect("a command");
        assert!(!work.path("run/discriminator").exists());
        work.ok(next);
        assert_same_as_whole(&work);
    }
}

pub fn lines_so_far(work: &Workplace) -> Vec<String> {
    let printed = String::from_utf8(work.read("stdout")).unwrap();
    // The last one may still be on its way.
    let whole = printed.rfind('\n').map_or("", |end| &printed[..end]);
    whole.lines().map(String::from).collect()
}

#[test]
fn a_run_stops_after_its_time() {
    let work = prepared();
    let run = work.run(&format!("{PRETRAIN} {SMALL} --steps 1000000 --stop-after 1s"));
    assert!(run.stderr.contains(
        "to go on:\n  electra pretrain --data shards --output run --device cpu --resume"
    ));
    let printed = run.results();
    assert!(of_event(&printed, "done").is_empty());
    let step = printed.last().unwrap()["step"].as_u64().unwrap();
    assert!(step > 1 && checkpoints(&work, "run").contains(&step));
    let more = work.ok(&format!("{RESUME} --steps {}", step + 1));
    assert_eq!(of_event(&more, "done")[0]["step"], step + 1);
}

/// Somebody cleans up while a run is under way.
#[test]
fn a_shard_that_is_cut_short_ends_the_run_with_its_name() {
    let work = prepared();
    let mut child = start(&work, &format!("{PRETRAIN} {SMALL} --steps 1000000 --save-every 5"));
    wait_until("a checkpoint", || !checkpoints(&work, "run").is_empty());
    let shard = work.path("shards/train-00000.safetensors");
    std::fs::File::options().write(true).open(shard).unwrap().set_len(300).unwrap();
    let mut code = None;
    wait_until("the end", || {
        code = child.try_wait().unwrap();
        code.is_some()
    });
    let said = String::from_utf8(work.read("stderr")).unwrap();
    assert_eq!(code.unwrap().code(), Some(1), "{said}");
    for word in ["error: shards/train-00000.safetensors", "cut short", "electra prepare"] {
        assert!(said.contains(word), "{said}");
    }
}

/// When a run is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    /// After so many lines were printed.
    Lines(usize),
    /// When so much of a checkpoint lies under its temporary name.
    Writing(usize),
    /// When a checkpoint has just got its name.
    Written,
}

impl Moment {
    fn drawn(rng: &mut ChaCha8Rng) -> Self {
        match rng.next_u32() % 4 {
            0 => Moment::Lines(1 + rng.next_u32() as usize % 4),
            1 => Moment::Written,
            _ => Moment::Writing(rng.next_u32() as usize % 4),
        }
    }

    fn has_come(self, work: &Workplace, newest: Option<u64>) -> bool {
        match self {
            Moment::Lines(count) => lines_so_far(work).len() >= count,
            Moment::Writing(files) => half_written(work).is_some_and(|found| found >= files),
            Moment::Written => checkpoints(work, "run").last().copied() > newest,
        }
    }
}

/// What lies in the checkpoint that is being written.
fn half_written(work: &Workplace) -> Option<usize> {
    let entries = std::fs::read_dir(work.path("run/checkpoints")).ok()?;
    let is_half = |name: &std::ffi::OsStr| name.to_string_lossy().ends_with(".partial");
    let half = entries.flatten().find(|entry| is_half(&entry.file_name()))?;
    std::fs::read_dir(half.path()).ok().map(Iterator::count)
}

/// Runs until that moment; the newest checkpoint before and after.
fn killed(work: &Workplace, arguments: &str, moment: Moment) -> Option<u64> {
    let newest = checkpoints(work, "run").last().copied();
    // Left by the kill before; it is no sign of this run's life.
    let left = half_written(work).is_some();
    let mut child = start(work, arguments);
    if left {
        wait_until("the plan", || !lines_so_far(work).is_empty());
    }
    wait_until(&format!("{moment:?}"), || {
        moment.has_come(work, newest) || child.try_wait().unwrap().is_some()
    });
    child.kill().unwrap();
    let code = child.wait().unwrap().code();
    let said = String::from_utf8(work.read("stderr")).unwrap();
    assert_eq!(code, None, "the run was over before it was killed: {said}");
    if let (Some(step), true) = (newest, arguments.contains("--resume")) {
        assert!(
            lines_so_far(work).is_empty()
                || said.contains(&format!("resuming from run/checkpoints/step-{step}\n")),
            "{said}"
        );
    }
    checkpoints(work, "run").last().copied()
}

/// Twenty times at some moment, and half of them while a checkpoint is being written.
#[test]
fn a_run_that_is_killed_again_and_again_is_the_whole_run() {
    let work = prepared();
    let options = format!("{RUN} --steps 90");
    whole_run(&work, &options);
    let mut rng = ChaCha8Rng::seed_from_u64(20);
    let first = format!("{PRETRAIN} {SMALL} {options} --save-every 1");
    let mut newest = killed(&work, &first, Moment::Written);
    let mut halves = 0;
    for _ in 1..20 {
        let before = newest;
        newest = killed(&work, RESUME, Moment::drawn(&mut rng));
        let printed: Vec<serde_json::Value> =
            lines_so_far(&work).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let told =
            of_event(&printed, "checkpoint").last().map(|line| line["step"].as_u64().unwrap());
        assert!(newest >= before.max(told), "{newest:?} is older than {before:?} or {told:?}");
        halves += usize::from(half_written(&work).is_some());
    }
    assert!(halves > 2, "{halves} kills hit a checkpoint on its way");
    work.ok(&format!("{RESUME} --save-every 0"));
    assert_same_as_whole(&work);
    assert_eq!(half_written(&work), None);
}
