//! `vocab`

use std::io::Write;

use serde_json::Value;

use crate::workplace::Workplace;

const TEXT: &str = "The cats and the dogs.\nCafés for cats, cafés for dogs!\n";

fn vocab(work: &Workplace, folder: &str) -> Vec<String> {
    let text = String::from_utf8(work.read(&format!("{folder}/vocab.txt"))).unwrap();
    text.lines().map(String::from).collect()
}

fn config(work: &Workplace, folder: &str) -> Value {
    serde_json::from_slice(&work.read(&format!("{folder}/tokenizer_config.json"))).unwrap()
}

fn with_text() -> Workplace {
    let work = Workplace::new();
    work.write("a.txt", TEXT.repeat(20));
    work
}

#[test]
fn a_text_becomes_a_tokenizer() {
    let work = with_text();
    let results = work.ok("vocab --input a.txt --size 150 --output out");
    let tokens = vocab(&work, "out");
    assert_eq!(results.len(), 1);
    assert_eq!(results[0]["size"], tokens.len());
    assert_eq!(results[0]["covered_share"], 1.0);
    assert_eq!(tokens[..5], ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]);
    assert!(["the", "cats", "dogs", "cafes"].iter().all(|word| tokens.contains(&word.to_string())));
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        assert!(work.path("out").join(name).is_file());
    }
    work.ok("vocab --input a.txt --size 150 --output again");
    assert_eq!(work.read("out/tokenizer.json"), work.read("again/tokenizer.json"));
}

#[test]
fn case_and_accents_are_two_switches() {
    let work = with_text();
    for (options, lower_case, strip_accents, word) in [
        ("", true, true, "cafes"),
        ("--keep-accents", true, false, "cafés"),
        ("--cased", false, false, "Cafés"),
        ("--cased --strip-accents", false, true, "Cafes"),
    ] {
        work.ok(&format!("vocab --input a.txt --size 250 --output out --overwrite {options}"));
        let config = config(&work, "out");
        assert_eq!(config["do_lower_case"], lower_case, "{options}");
        assert_eq!(config["strip_accents"], strip_accents, "{options}");
        assert!(vocab(&work, "out").contains(&word.to_string()), "{options}");
    }
}

#[test]
fn every_kind_of_input_counts_the_same() {
    let work = with_text();
    let whole = TEXT.repeat(20);
    let lines: Vec<_> = whole.lines().map(|l| serde_json::json!({"body": l}).to_string()).collect();
    work.write("b.jsonl", lines.join("\n"));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(whole.as_bytes()).unwrap();
    work.write("c.txt.gz", packed.finish().unwrap());
    work.write("d.txt.zst", zstd::encode_all(whole.as_bytes(), 1).unwrap());
    for input in ["a.txt", "b.jsonl --field body", "c.*", "d.txt.zst"] {
        work.ok(&format!("vocab --input {input} --size 150 --output out --overwrite"));
        work.ok("vocab --input a.txt --size 150 --output plain --overwrite");
        assert_eq!(vocab(&work, "out"), vocab(&work, "plain"), "{input}");
    }
}

#[test]
fn a_text_that_supports_fewer_tokens_is_told() {
    let work = with_text();
    let run = work.run("vocab --input a.txt --size 30000 --output out");
    let size = run.results()[0]["size"].as_u64().unwrap();
    assert!(
        size < 300 && run.stderr.contains(&format!("supports {size} tokens")),
        "{}",
        run.stderr
    );
}

#[test]
fn bad_input_is_named() {
    let work = with_text();
    let fails = |arguments: &str, words: &[&str]| {
        work.fails(&format!("vocab --output out {arguments}"), words);
    };
    work.write("latin.txt", b"caf\xe9\n");
    work.write("empty.txt", " \n");
    work.write("data.csv", "text\n");
    fails("--size 200 --input none.txt", &["none.txt", "is not there"]);
    fails("--size 200 --input none*", &["none*", "matches no file"]);
    fails("--size 200 --input latin.txt", &["latin.txt, line 1", "UTF-8", "byte 3"]);
    fails("--size 200 --input empty.txt", &["there is no text"]);
    fails("--size 200 --input data.csv", &["data.csv", ".jsonl.gz"]);
    fails("--size 60 --input a.txt", &["--size", "60", "--alphabet"]);
    work.refuses("vocab --output out --input a.txt --size 0", &["--size"]);
    work.refuses("vocab --output out --input a.txt --size 200 --alphabet 0", &["--alphabet"]);
    let both = "--keep-accents --strip-accents";
    work.refuses(&format!("vocab --output out --input a.txt --size 200 {both}"), &["--strip-acc"]);
    work.fails("vocab --input a.txt --size 200 --output a.txt", &["a.txt", "is no folder"]);
    work.fails("vocab --input a.txt --size 200 --output .", &["not empty", "--overwrite"]);
}
