//! Where results go: folders, files, and streams that close.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::workplace::{FAST, Workplace};

const TRAIN: &str = "finetune --model base --train data.csv";
const PREDICT: &str = "predict --model trained --device cpu";

#[test]
fn a_folder_in_use_is_left_alone() {
    let work = Workplace::with_classifier();
    let before = work.read("base/config.json");
    work.fails(&format!("{TRAIN} --output base {FAST}"), &["base", "not empty", "--overwrite"]);
    assert_eq!(work.read("base/config.json"), before);
    work.ok(&format!("{TRAIN} --output trained --overwrite {FAST}"));
    std::fs::create_dir(work.path("empty")).unwrap();
    work.ok(&format!("{TRAIN} --output empty {FAST}"));
    work.ok(&format!("{TRAIN} --output new/deep/ {FAST}"));
    assert!(work.path("new/deep/config.json").is_file());
}

fn left_half_written(work: &Workplace) -> usize {
    let left = work.listing().into_iter();
    left.filter(|path| path.extension().is_some_and(|end| end == "partial")).count()
}

/// transformers and we would read an old file beside the new ones, if it were still there.
#[test]
fn a_folder_is_replaced_whole_and_what_is_not_a_model_s_stays() {
    let work = Workplace::with_classifier();
    let old = ["pytorch_model.bin", "model.safetensors.index.json", "tf_model.h5", "report.html"];
    let mine = ["README.md", "notes/today.txt"];
    // The last one is replaced file by file: somebody stands in it.
    for (name, from, here) in [("a", "trained", false), ("b", "../trained", true)] {
        std::fs::create_dir_all(work.path(&format!("{name}/notes"))).unwrap();
        old.iter().chain(&mine).for_each(|file| work.write(&format!("{name}/{file}"), "old"));
        let to = if here { "." } else { name };
        let mut command = work.command(&format!("convert --from {from} --to {to} --overwrite"));
        if here {
            command.current_dir(work.path(name));
        }
        assert!(command.status().unwrap().success());
        old.iter()
            .for_each(|file| assert!(!work.path(&format!("{name}/{file}")).exists(), "{file}"));
        mine.iter().for_each(|file| assert_eq!(work.read(&format!("{name}/{file}")), b"old"));
        work.ok_on("the cat\n", &format!("predict --model {name} --device cpu"));
    }
    assert_eq!(left_half_written(&work), 0);
}

/// A killed run has no chance to take away what it was writing.
#[test]
fn what_a_killed_run_left_is_written_over() {
    let work = Workplace::with_classifier();
    work.write(
        ".out.jsonl.partial",
        "{\"label\": \"a line much longer than the answer\"}\n".repeat(99),
    );
    std::fs::create_dir(work.path(".out.partial")).unwrap();
    work.write(".out.partial/pytorch_model.bin", "half");
    work.ok_on("the cat\n", &format!("{PREDICT} --output out.jsonl"));
    work.ok("convert --from trained --to out");
    assert_eq!(work.read("out.jsonl").iter().filter(|byte| **byte == b'\n').count(), 1);
    assert!(!work.path("out/pytorch_model.bin").exists());
    assert_eq!(left_half_written(&work), 0);
}

/// Two runs into one file: one of them is told, and the file is the other's.
#[test]
fn a_file_that_another_run_is_writing_is_left_to_it() {
    let work = Workplace::with_classifier();
    let other = std::fs::File::create(work.path(".out.jsonl.partial")).unwrap();
    other.lock().unwrap();
    work.fails_on("a\n", &format!("{PREDICT} --output out.jsonl"), &["out.jsonl", "another run"]);
}

/// A person who waited for the training must not hear of it at the end.
#[test]
fn an_output_that_cannot_be_written_is_told_before_training() {
    let work = Workplace::with_model_and_data();
    for output in ["data.csv", "data.csv/inside"] {
        let run = work.fails(&format!("{TRAIN} --output {output} {FAST}"), &[output]);
        assert_eq!(run.stdout, "", "it was trained before {output} was tried");
    }
}

#[test]
fn a_prediction_file_that_cannot_be_written_is_named() {
    let work = Workplace::with_classifier();
    for output in ["nowhere/out.jsonl", "trained", "data.csv/out.jsonl"] {
        work.fails_on("the cat\n", &format!("{PREDICT} --output {output}"), &[output]);
        let evaluate = "evaluate --model trained --data data.csv --max-seq-length 16 --device cpu";
        work.fails(&format!("{evaluate} --output {output}"), &[output]);
    }
}

#[test]
fn a_failed_prediction_leaves_the_file_as_it_was() {
    let work = Workplace::with_classifier();
    work.write("out.jsonl", "before");
    work.fails_on("{\n", &format!("{PREDICT} --output out.jsonl"), &["line 1"]);
    assert_eq!(work.read("out.jsonl"), b"before");
}

#[cfg(unix)]
#[test]
fn files_get_the_permissions_that_files_get_here() {
    use std::os::unix::fs::PermissionsExt;
    let work = Workplace::with_classifier();
    work.ok_on("the cat\n", &format!("{PREDICT} --output out.jsonl"));
    std::fs::create_dir(work.path("folder")).unwrap();
    let mode = |name: &str| work.path(name).metadata().unwrap().permissions().mode();
    assert_eq!(mode("out.jsonl"), mode("data.csv"));
    assert_eq!(mode("trained/model.safetensors"), mode("data.csv"));
    assert_eq!(mode("trained"), mode("folder"));
}

/// `--output /dev/null` of an administrator must not replace the device.
#[cfg(unix)]
#[test]
fn what_is_not_a_plain_file_is_written_through() {
    let work = Workplace::with_classifier();
    work.write("target.jsonl", "before");
    std::os::unix::fs::symlink("target.jsonl", work.path("link.jsonl")).unwrap();
    work.ok_on("the cat\n", &format!("{PREDICT} --output link.jsonl"));
    assert!(work.path("link.jsonl").is_symlink());
    assert!(work.read("target.jsonl").starts_with(b"{"));
}

#[cfg(unix)]
#[test]
fn a_link_to_nowhere_leaves_no_temporary_folder() {
    let work = Workplace::with_model_and_data();
    std::os::unix::fs::symlink("nowhere", work.path("link")).unwrap();
    work.run(&format!("{TRAIN} --output link {FAST}"));
    assert_eq!(left_half_written(&work), 0);
}

/// `electra finetune .. | head -1` may fail or go on, but not say that all is well and drop the
/// model.
#[test]
fn a_reader_that_goes_away_does_not_lose_the_model_in_silence() {
    let work = Workplace::with_model_and_data();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = work.command(&format!("{TRAIN} --output out {FAST}"));
    let output = command.stdout(writer).output().unwrap();
    assert_ne!(output.status.code(), Some(101), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.success(), work.path("out/model.safetensors").exists());
}

/// Progress that nobody reads is no reason to stop.
#[test]
fn training_goes_on_when_nobody_reads_its_progress() {
    let work = Workplace::with_model_and_data();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = work.command(&format!("{TRAIN} --output out {FAST}"));
    let output = command.stderr(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(work.path("out/model.safetensors").is_file());
}

#[test]
fn a_prediction_whose_reader_goes_away_ends_quietly() {
    let work = Workplace::with_classifier();
    work.write("in.txt", "the cat\n".repeat(100));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = work.command(&format!("{PREDICT} --input in.txt"));
    let output = command.stdout(writer).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("panicked") && !stderr.contains("error"), "{stderr}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_training_can_be_ended_with_its_model() {
    let work = Workplace::with_model_and_data();
    let endless = FAST.replace("--epochs 1", "--epochs 1000000");
    let mut command = work.command(&format!("{TRAIN} --output out {endless}"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The plan and the evaluation before the first step: from here on it trains.
    lines.by_ref().take(2).for_each(|line| drop(line.unwrap()));
    let interrupt = format!("kill -INT {}", child.id());
    assert!(std::process::Command::new("sh").args(["-c", &interrupt]).status().unwrap().success());
    let last = lines.map(|line| line.unwrap()).last().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(last.contains("\"checkpoint\"") && !work.path("out").exists(), "{last}");
    work.ok(&format!("{TRAIN} --output out {endless} --resume --finish"));
    assert!(work.path("out/model.safetensors").is_file());
}
