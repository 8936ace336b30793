//! What is written is there whole or not at all: whenever a run is killed, on a full disk, and where
//! nothing can be written.
//!
//! `tests/kill.py` does the same 200 times, at random moments.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::pretrain::{SMALL, prepared, start};
use crate::workplace::{FAST, Workplace, csv};

/// A file, or all files of a folder.
fn content(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    if path.is_file() {
        return [(path.to_path_buf(), std::fs::read(path).unwrap())].into();
    }
    let entries = std::fs::read_dir(path).into_iter().flatten();
    entries.flat_map(|entry| content(&entry.unwrap().path())).collect()
}

/// With two models, a prepared text, and many lines to predict.
fn workplace() -> Workplace {
    let work = prepared();
    work.model("base", "model_pretraining");
    work.write("data.csv", csv(24));
    work.ok(&format!("finetune --model base --train data.csv --output trained {FAST}"));
    work.write("in.txt", "the cat says meow\n".repeat(500));
    work.write("other.txt", "the dog says woof\n".repeat(500));
    work
}

/// The old result or the new one, and none is ever gone.
#[test]
fn a_kill_leaves_one_of_two_results() {
    let work = workplace();
    let predict = "predict --model trained --device cpu --output out.jsonl --input";
    let prepare = "prepare --input a.txt --tokenizer tok --max-seq-length 32 --output out.shards \
        --overwrite --seed";
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for (output, commands) in [
        ("out", ["base", "trained"].map(|m| format!("convert --from {m} --to out --overwrite"))),
        ("out.jsonl", ["in.txt", "other.txt"].map(|input| format!("{predict} {input}"))),
        ("out.shards", ["1", "2"].map(|seed| format!("{prepare} {seed}"))),
    ] {
        let results = commands.each_ref().map(|command| {
            let start = Instant::now();
            work.run(command).results();
            (content(&work.path(output)), start.elapsed())
        });
        assert_ne!(results[0].0, results[1].0);
        for number in 0..12 {
            let mut child = start(&work, &commands[number % 2]);
            std::thread::sleep(
                results[number % 2].1.mul_f64(f64::from(rng.next_u32() % 100) / 99.0),
            );
            child.kill().unwrap();
            child.wait().unwrap();
            let left = content(&work.path(output));
            assert!(results.iter().any(|(whole, _)| *whole == left), "{output}: kill {number}");
        }
        work.run(&commands[0]).results();
        assert_eq!(content(&work.path(output)), results[0].0);
        assert!(!work.path(&format!(".{output}.partial")).exists());
    }
}

/// A small disk, as long as this lives. None where nothing may be mounted.
struct Disk(PathBuf);

impl Disk {
    fn mount(work: &Workplace, size: &str) -> Option<Disk> {
        let path = work.path("disk");
        std::fs::create_dir(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&path)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Disk(path)),
            _ => {
                println!("skipped: no disk can be mounted here");
                None
            }
        }
    }

    fn set_read_only(&self) {
        let remount = ["-o", "remount,ro"];
        assert!(Command::new("mount").args(remount).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Every command that writes, to a place on the disk.
fn writers() -> [(String, &'static str); 8] {
    let predict = "--device cpu --output";
    let finetune = format!("finetune --model base --train data.csv {FAST} --output disk/out");
    [
        ("convert --from trained --to disk/out".into(), "disk/out"),
        ("vocab --input a.txt --size 120 --output disk/tok".into(), "disk/tok"),
        (
            "prepare --input a.txt --tokenizer tok --max-seq-length 32 --output disk/shards".into(),
            "disk/shards",
        ),
        (format!("predict --model trained --input in.txt {predict} disk/o.jsonl"), "disk/o.jsonl"),
        (
            format!(
                "evaluate --model trained --data many.csv --max-seq-length 16 {predict} disk/o.jsonl"
            ),
            "disk/o.jsonl",
        ),
        (format!("{finetune} --save-every 0"), "disk/out"),
        (format!("{finetune} --save-every 1"), "disk/out.checkpoint"),
        (format!("pretrain --data shards --output disk/run --steps 2 {SMALL}"), "disk/run"),
    ]
}

#[test]
fn a_full_disk_is_an_error_and_holds_no_half() {
    let work = workplace();
    work.write("many.csv", csv(400));
    // Two blocks: enough for a small file, not for a result.
    let Some(disk) = Disk::mount(&work, "8k") else { return };
    for (command, place) in writers() {
        if command.starts_with("pretrain") {
            // Its folder and its log were begun.
            let run = work.run(&command);
            assert_eq!(run.code, Some(1), "{}", run.stderr);
            assert!(run.stderr.contains(place) && run.stderr.contains("cannot be written"));
            let left = work.listing();
            assert!(left.iter().all(|path| path.extension().is_none_or(|e| e != "partial")));
            assert!(!work.path("disk/run/discriminator").exists());
        } else {
            work.fails(&command, &[place, "cannot be written", "has room"]);
        }
    }
    drop(disk);
}

#[test]
fn a_place_that_cannot_be_written_is_an_error_and_stays_as_it_was() {
    let work = workplace();
    work.write("many.csv", csv(400));
    let Some(disk) = Disk::mount(&work, "4m") else { return };
    work.ok("convert --from base --to disk/out");
    work.write("disk/o.jsonl", "before");
    work.ok("vocab --input a.txt --size 120 --output disk/tok");
    let before = content(&work.path("disk"));
    disk.set_read_only();
    for (command, place) in writers() {
        let may_overwrite = !(command.starts_with("predict") || command.starts_with("evaluate"));
        let command = command + if may_overwrite { " --overwrite" } else { "" };
        work.fails(
            &command,
            &[place.strip_suffix(".checkpoint").unwrap_or(place), "cannot be written"],
        );
        assert_eq!(content(&work.path("disk")), before, "{command}");
    }
    drop(disk);
}
