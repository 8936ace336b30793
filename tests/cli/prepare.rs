//! `prepare`

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::Value;

use crate::workplace::{Run, Workplace};

const WORDS: [&str; 8] = ["red", "green", "blue", "cat", "dog", "and", "run", "unknown"];

/// Documents of three lines of a few words; every one another.
fn text(documents: usize) -> String {
    let line = |i: usize| {
        let words = (0..5 + i % 37).map(|k| WORDS[(i * 7 + k * (i % 5 + 1)) % WORDS.len()]);
        words.collect::<Vec<_>>().join(" ") + ".\n"
    };
    (0..documents)
        .map(|i| [line(3 * i), line(3 * i + 1), line(3 * i + 2), "\n".into()].concat())
        .collect()
}

/// With a tokenizer, `tok`, and a text, `a.txt`.
fn workplace(documents: usize) -> Workplace {
    let work = Workplace::new();
    let words = WORDS[..7].join("\n");
    std::fs::create_dir(work.path("tok")).unwrap();
    work.write("tok/vocab.txt", format!("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n.\n{words}\n"));
    work.write("a.txt", text(documents));
    work
}

const PREPARE: &str = "prepare --tokenizer tok --max-seq-length 32";

fn index(work: &Workplace, folder: &str) -> Value {
    serde_json::from_slice(&work.read(&format!("{folder}/index.json"))).unwrap()
}

/// All files of a result.
fn files(work: &Workplace, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let root = work.path(folder);
    let paths = work.listing().into_iter().filter(|path| path.starts_with(&root) && path.is_file());
    paths
        .map(|p| (p.strip_prefix(&root).unwrap().display().to_string(), std::fs::read(p).unwrap()))
        .collect()
}

#[test]
fn a_text_becomes_shards() {
    let work = workplace(300);
    let results = work.ok(&format!("{PREPARE} --input a.txt --output out --shard-size 200"));
    let index = index(&work, "out");
    assert_eq!(results.len(), 1);
    assert_eq!((&results[0]["documents"], &results[0]["kept_share"]), (&300.into(), &1.0.into()));
    assert_eq!(results[0]["tokens"], index["tokens"]);
    assert!(results[0]["unknown_share"].as_f64().unwrap() > 0.05);
    let shards = index["shards"].as_array().unwrap();
    let examples = |split: &str| -> u64 {
        let of_split = shards.iter().filter(|shard| shard["split"] == split);
        of_split.map(|shard| shard["examples"].as_u64().unwrap()).sum()
    };
    assert_eq!(results[0]["train_examples"], examples("train"));
    assert_eq!(results[0]["eval_examples"], examples("eval"));
    assert!(examples("eval") > 0 && shards.len() > 4);
    assert_eq!(work.read("out/tokenizer/vocab.txt"), work.read("tok/vocab.txt"));
    let left =
        files(&work, "out").into_keys().filter(|name| name.contains("p")).collect::<Vec<_>>();
    assert!(left.iter().all(|name| !name.contains("partial") && !name.contains("progress")));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let work = workplace(2000);
    for packing in ["full", "reference"] {
        let results = [1, 2, 4].map(|jobs| {
            let options = format!("--packing {packing} --jobs {jobs} --seed 3 --overwrite");
            work.ok(&format!("{PREPARE} --input a.txt --output out {options}"));
            files(&work, "out")
        });
        assert!(results[0] == results[1] && results[0] == results[2], "{packing}");
    }
}

#[test]
fn every_kind_of_input_gives_the_same_examples() {
    let work = workplace(50);
    let documents = text(50);
    let documents = documents.trim().split("\n\n");
    let lines: Vec<_> = documents.map(|d| serde_json::json!({"text": d}).to_string()).collect();
    work.write("b.jsonl", lines.join("\n"));
    work.write("c.txt.zst", zstd::encode_all(text(50).as_bytes(), 1).unwrap());
    work.write("d.txt", format!("\u{feff}{}", text(50).replace('\n', "\r\n")));
    let shards = ["a.txt", "b.jsonl", "c.txt.zst", "d.txt"].map(|input| {
        work.ok(&format!("{PREPARE} --input {input} --output out --overwrite"));
        files(&work, "out")
            .into_iter()
            .filter(|(n, _)| n.ends_with(".safetensors"))
            .collect::<Vec<_>>()
    });
    assert!(shards[0].len() == 2 && shards.iter().all(|others| *others == shards[0]));
    let run = work.ok(&format!("{PREPARE} --input a.txt --output file --document-per-file"));
    assert_eq!(run[0]["documents"], 1);
}

#[test]
fn the_reference_packing_loses_tails() {
    let work = workplace(100);
    let run = work.ok(&format!("{PREPARE} --input a.txt --output out --packing reference"));
    let kept = run[0]["kept_share"].as_f64().unwrap();
    assert!((0.4..0.99).contains(&kept), "{kept}");
}

#[test]
fn bad_input_is_named() {
    let work = workplace(5);
    let fails = |input: &str, words: &[&str]| {
        work.fails(&format!("{PREPARE} --output new/out --input {input}"), words);
    };
    work.write("latin.txt", b"red\ncaf\xe9\n");
    work.write("empty.txt", "");
    work.write("blank.txt", " \n\n");
    work.write("data.csv", "text\n");
    work.write("bad.jsonl", "{\"text\": \"red\"}\n{\"text\": \"red\"\n");
    work.write("body.jsonl", "{\"body\": \"red\"}\n");
    work.write("number.jsonl", "{\"text\": 7}\n");
    work.write("broken.txt.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\0\0\0");
    work.write("broken.txt.zst", b"red\n");
    std::fs::create_dir(work.path("folder")).unwrap();
    fails("none.txt", &["none.txt", "is not there"]);
    fails("*.text", &["*.text", "matches no file"]);
    fails("folder", &["folder", "supported"]);
    fails("data.csv", &["data.csv", ".txt.zst"]);
    fails("latin.txt", &["latin.txt, line 2", "UTF-8 (byte 7"]);
    fails("empty.txt", &["there is no text"]);
    fails("blank.txt", &["there is no text"]);
    fails("a.txt bad.jsonl", &["bad.jsonl, line 2", "not a JSON object"]);
    fails("body.jsonl", &["body.jsonl, line 1", "\"text\"", "\"body\"", "--field"]);
    fails("number.jsonl", &["number.jsonl, line 1", "not a text"]);
    fails("a.txt broken.txt.gz", &["broken.txt.gz", "cannot be read", "damaged"]);
    fails("broken.txt.zst", &["broken.txt.zst", "cannot be read", "damaged"]);
}

#[test]
fn bad_options_are_named() {
    let work = workplace(5);
    let line = "prepare --input a.txt --output out";
    work.refuses(&format!("{line} --tokenizer tok"), &["--max-seq-length"]);
    work.refuses(&format!("{line} --tokenizer tok --max-seq-length 7"), &["8 to 65535"]);
    work.refuses(
        &format!("{PREPARE} --input a.txt --output out --eval-fraction 0.6"),
        &["0 to 0.5"],
    );
    work.refuses(&format!("{PREPARE} --input a.txt --output out --jobs 0"), &["--jobs"]);
    work.refuses(&format!("{PREPARE} --input a.txt --output out --packing half"), &["--packing"]);
    let length = "--max-seq-length 32";
    work.fails(&format!("{line} {length} --tokenizer none"), &["none", "vocab.txt"]);
    std::fs::create_dir(work.path("bad")).unwrap();
    work.write("bad/vocab.txt", "[PAD]\nred\n");
    work.fails(&format!("{line} {length} --tokenizer bad"), &["bad, vocab.txt", "[CLS]"]);
    work.fails(&format!("{PREPARE} --input a.txt --output a.txt"), &["a.txt", "is no folder"]);
    work.fails(&format!("{PREPARE} --input a.txt --output tok"), &["tok", "not empty"]);
}

#[test]
fn another_run_in_the_folder_is_refused_by_name() {
    let work = workplace(5);
    let line = format!("{PREPARE} --input a.txt --output out");
    work.ok(&line);
    let before = files(&work, "out");
    assert_eq!(work.ok(&line)[0]["resumed"], true);
    work.fails(&format!("{line} --seed 1"), &["out", "--seed was 0 and is 1", "--overwrite"]);
    let two = line.replace("a.txt", "a.txt tok/vocab.txt");
    work.fails(&two, &["--input was 1 files and is 2"]);
    work.write("a.txt", text(6));
    work.fails(&line, &["a.txt has changed"]);
    assert!(files(&work, "out") == before);
    work.write("out/mine.md", "not of prepare");
    assert_eq!(work.ok(&format!("{line} --overwrite"))[0]["documents"], 6);
    assert_eq!(work.read("out/mine.md"), b"not of prepare");
}

/// Killed at some moment, again and again: what has its final name is whole, and the last run's
/// result is that of a run that nobody disturbed.
#[test]
fn a_killed_run_goes_on_where_it_was() {
    let work = workplace(4000);
    let line = |output: &str| format!("{PREPARE} --input a.txt --shard-size 100 --output {output}");
    work.ok(&line("whole"));
    let whole = files(&work, "whole");
    for shards in [1, 20, 60] {
        let mut command = work.command(&line("out"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let wanted = work.path(&format!("out/train-{shards:05}.safetensors"));
        while !wanted.exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!work.path("out/index.json").exists(), "the run was over before it was killed");
        for (name, bytes) in files(&work, "out").iter().filter(|(n, _)| n.ends_with("tensors")) {
            assert!(whole[name] == *bytes, "{name}");
        }
    }
    work.fails(&format!("{} --seed 1", line("out")), &["an unfinished run", "--seed"]);
    let run: Run = work.run(&line("out"));
    assert_eq!(run.results()[0]["resumed"], true);
    assert!(files(&work, "out") == whole);
}
