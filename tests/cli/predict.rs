//! `predict` and `tokenize`.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::workplace::Workplace;

const PREDICT: &str = "predict --model trained --device cpu";

#[test]
fn every_line_has_its_answer_in_order() {
    let work = Workplace::with_classifier();
    let inputs = [
        "the cat says meow",
        "{\"text\": \"the big dog says woof and no and no and no\"}",
        "",
        "{\"text\": \"the cat\", \"text_pair\": \"is it big\"}",
        "{\"input_ids\": [2, 5, 6, 3]}",
    ];
    let together = work.ok_on(inputs.join("\n"), PREDICT);
    assert_eq!(together.len(), inputs.len());
    for (input, answer) in inputs.iter().zip(&together) {
        let alone = work.ok_on(format!("{input}\n"), PREDICT);
        assert!((score(&alone[0]) - score(answer)).abs() < 1e-5, "{input}: {alone:?} {answer}");
    }
    let scores = together[0]["scores"].as_object().unwrap();
    assert_eq!(scores.keys().collect::<Vec<_>>(), ["cat", "dog"]);
    let sum: f64 = scores.values().map(|p| p.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-9);
}

/// The probability of the first label.
fn score(answer: &Value) -> f64 {
    answer["scores"]["cat"].as_f64().unwrap()
}

#[test]
fn raw_ids_are_the_text_they_stand_for() {
    let work = Workplace::with_classifier();
    let tokens = work.ok_on("the cat says\n", "tokenize --model trained").swap_remove(0);
    assert_eq!(tokens["tokens"], json!(["[CLS]", "the", "cat", "says", "[SEP]"]));
    let raw = json!({"input_ids": tokens["input_ids"]});
    let mut padded = tokens["input_ids"].as_array().unwrap().clone();
    padded.extend([json!(0), json!(0)]);
    let padded = json!({
        "input_ids": padded, "token_type_ids": [0, 0, 0, 0, 0, 0, 0],
        "attention_mask": [1, 1, 1, 1, 1, 0, 0],
    });
    let answers = work.ok_on(format!("the cat says\n{raw}\n{padded}\n"), PREDICT);
    assert!((score(&answers[0]) - score(&answers[1])).abs() < 1e-6);
    assert!((score(&answers[0]) - score(&answers[2])).abs() < 1e-6);
}

#[test]
fn logits_are_added_where_asked_for() {
    let work = Workplace::with_classifier();
    assert_eq!(work.ok_on("the cat\n", PREDICT)[0].get("logits"), None);
    let answer = work.ok_on("the cat\n", &format!("{PREDICT} --logits")).swap_remove(0);
    let logits: Vec<f64> =
        answer["logits"].as_array().unwrap().iter().map(|l| l.as_f64().unwrap()).collect();
    assert_eq!(logits.len(), 2);
    let softmax = 1.0 / (1.0 + (logits[1] - logits[0]).exp());
    assert!((softmax - score(&answer)).abs() < 1e-6);
}

#[test]
fn input_and_output_may_be_files_or_streams() {
    let work = Workplace::with_classifier();
    work.write("in.txt", "the cat\r\nthe dog\r\n");
    let printed = work.ok(&format!("{PREDICT} --input in.txt"));
    assert_eq!(printed.len(), 2);
    assert_eq!(work.ok_on("the cat\nthe dog", &format!("{PREDICT} --input - --output -")), printed);
    let run = work.run(&format!("{PREDICT} --input in.txt --output out.jsonl"));
    assert_eq!(run.results(), Vec::<Value>::new());
    let written = String::from_utf8(work.read("out.jsonl")).unwrap();
    let written: Vec<Value> = written.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(written, printed);
    assert_eq!(work.ok_on("", PREDICT), Vec::<Value>::new());
}

#[test]
fn a_byte_order_mark_is_no_text() {
    let work = Workplace::with_classifier();
    let plain = work.ok_on("{\"text\": \"the cat\"}\n", PREDICT);
    assert_eq!(work.ok_on("\u{feff}{\"text\": \"the cat\"}\n", PREDICT), plain);
}

#[test]
fn a_discriminator_rates_every_token() {
    let work = Workplace::with_model_and_data();
    let input = "the big cat\n{\"text\": \"the cat\", \"text_pair\": \"is big\"}\n";
    let answers = work.ok_on(input, "predict --model base --device cpu --logits");
    let tokens = json!(["[CLS]", "the", "cat", "[SEP]", "is", "big", "[SEP]"]);
    assert_eq!(answers[1]["tokens"], tokens);
    for answer in &answers {
        let count = answer["tokens"].as_array().unwrap().len();
        assert_eq!(answer["replaced"].as_array().unwrap().len(), count);
        assert_eq!(answer["logits"].as_array().unwrap().len(), count);
    }
}

#[test]
fn a_generator_fills_masks() {
    let work = Workplace::new();
    work.model("generator", "model_masked_lm");
    let options = "predict --model generator --device cpu --top-k 3 --logits";
    let answers = work.ok_on("the [MASK] says [MASK]\nthe cat\n", options);
    let filled = answers[0]["predictions"].as_array().unwrap();
    assert_eq!(filled.len(), 2);
    assert!(filled.iter().all(|candidates| candidates.as_array().unwrap().len() == 3));
    assert_eq!(answers[1]["predictions"], json!([]));
    let logits = answers[1]["logits"].as_array().unwrap();
    assert_eq!((logits.len(), logits[0].as_array().unwrap().len()), (4, 90));
}

#[test]
fn heads_without_words_give_their_logits() {
    let work = Workplace::new();
    for (fixture, width) in [("model_token_classification", 5), ("model_question_answering", 2)] {
        work.model(fixture, fixture);
        let predict = format!("predict --model {fixture} --device cpu");
        if width == 2 {
            let words = [fixture, "says nothing of a bare text", "question and context"];
            work.fails_on("the cat\n", &predict, &words);
        }
        let answer = work.ok_on("the cat\n", &format!("{predict} --logits")).swap_remove(0);
        let logits = answer["logits"].as_array().unwrap();
        assert_eq!((logits.len(), logits[0].as_array().unwrap().len()), (4, width));
    }
}

#[test]
fn a_number_is_not_called_a_label() {
    let work = Workplace::new();
    work.model("regression", "model_regression");
    let run = work.run_on("the cat\n", "predict --model regression --device cpu");
    assert!(!run.stdout.contains("label"), "{}", run.stdout);
}

#[test]
fn a_classifier_without_names_has_numbered_labels() {
    let work = Workplace::new();
    work.model("unnamed", "model_classification_tanh");
    let answer = work.ok_on("the cat\n", "predict --model unnamed --device cpu").swap_remove(0);
    assert!(answer["scores"]["LABEL_0"].is_number() && answer["scores"]["LABEL_1"].is_number());
    work.write("data.csv", "label,text\nLABEL_0,the cat\nLABEL_1,the dog\n");
    let options = "--data data.csv --device cpu --max-seq-length 16";
    assert_eq!(work.ok(&format!("evaluate --model unnamed {options}"))[0]["examples"], json!(2));
}

#[test]
fn a_line_that_cannot_be_read_is_named() {
    let work = Workplace::with_classifier();
    for (line, words) in [
        (r#"{"text": "the cat""#, "EOF"),
        (r#"{"text": 5}"#, "text"),
        (r#"{"txt": "the cat"}"#, "txt"),
        (r#"{"text": "a", "input_ids": [2]}"#, "input_ids"),
        (r#"{"text": "a"} {"text": "b"}"#, "trailing"),
        (r#"{"input_ids": [2, -1]}"#, "-1"),
        (r#"{"input_ids": []}"#, "0 input_ids"),
        (r#"{"input_ids": [2, 70]}"#, "the vocabulary ends at 69"),
        (r#"{"input_ids": [2, 3], "token_type_ids": [0, 2]}"#, "token_type_ids has 2"),
        (r#"{"input_ids": [2, 3], "attention_mask": [1]}"#, "differ in length"),
    ] {
        let input = format!("the cat\n{line}\n");
        let run = work.fails_on(input, PREDICT, &["standard input, line 2", words]);
        assert!(!run.stderr.contains("untagged"), "{}", run.stderr);
        assert_eq!(run.stdout.lines().count(), 1, "the line before it is answered");
    }
    let long = json!({"input_ids": vec![5; 41]});
    work.fails_on(format!("{long}\n"), PREDICT, &["line 1", "41 input_ids", "1 to 40"]);
}

/// Of a thousand lines none is lost because of the last.
#[test]
fn what_stands_before_a_bad_line_is_answered() {
    let work = Workplace::with_classifier();
    let good = "the cat\nthe dog says woof\n".repeat(20);
    work.write("bad.txt", [good.as_bytes(), b"the caf\xe9\n", good.as_bytes()].concat());
    for options in ["--batch-size 1", "--batch-size 3", "--batch-size 32"] {
        let predict = format!("{PREDICT} {options}");
        let answers = work.ok_on(&good, &predict);
        let run = work.fails_on(format!("{good}{{\n{good}"), &predict, &["line 41", "EOF"]);
        let printed: Vec<Value> =
            run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(printed, answers);
        let words = ["bad.txt", "UTF-8", "line 41"];
        let run = work.fails(&format!("{predict} --input bad.txt"), &words);
        assert_eq!(run.stdout.lines().count(), 40);
        // A file is whole or not there.
        work.fails(&format!("{predict} --input bad.txt --output out.jsonl"), &words);
    }
}

#[test]
fn a_line_of_a_pipe_is_answered_before_the_next_one_comes() {
    let work = Workplace::with_classifier();
    let mut command = work.command(PREDICT);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for text in ["the cat", "the dog says woof\nthe cat says meow", ""] {
        writeln!(input, "{text}").unwrap();
        for line in text.split('\n') {
            let answer: Value = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
            let alone = work.ok_on(format!("{line}\n"), PREDICT);
            assert!((score(&alone[0]) - score(&answer)).abs() < 1e-5, "{line}: {answer}");
        }
    }
    drop(input);
    assert!(answers.next().is_none() && child.wait().unwrap().success());
}

/// 80 MB of input must not become 80 MB of memory.
#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_input() {
    let work = Workplace::with_classifier();
    let mut command = work.command(&format!("{PREDICT} --batch-size 8"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let feed = std::thread::spawn(move || {
        let line = format!("{{\"text\": \"the cat\"{}}}\n", " ".repeat(8000));
        (0..10_000).for_each(|_| input.write_all(line.as_bytes()).unwrap());
    });
    let status = format!("/proc/{}/status", child.id());
    let megabytes = || {
        let status = std::fs::read_to_string(&status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
    };
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    answers.by_ref().take(1000).for_each(|line| drop(line.unwrap()));
    let early = megabytes();
    answers.by_ref().take(8900).for_each(|line| drop(line.unwrap()));
    let late = megabytes();
    assert_eq!(answers.count(), 100);
    feed.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(late < early + 16, "{early} MB after 1000 lines, {late} MB after 9900");
}

#[test]
fn an_input_that_is_no_text_is_named() {
    let work = Workplace::with_classifier();
    work.write("latin1.txt", b"the caf\xe9\n");
    for command in [PREDICT, "tokenize --model trained"] {
        work.fails(&format!("{command} --input latin1.txt"), &["latin1.txt", "UTF-8", "byte 7"]);
        work.fails(&format!("{command} --input nowhere.txt"), &["nowhere.txt", "cannot be read"]);
        work.fails(&format!("{command} --input trained"), &["trained", "cannot be read"]);
    }
}

#[test]
fn a_long_text_is_cut_and_that_is_told() {
    let work = Workplace::with_classifier();
    let run = work.run_on("the cat ".repeat(100), PREDICT);
    assert_eq!(run.results().len(), 1);
    assert!(run.stderr.contains("line 1: cut to 40 tokens"), "{}", run.stderr);
}

#[test]
fn tokenize_shows_pieces() {
    let work = Workplace::with_model_and_data();
    let lines = work.ok_on("The [MASK] cats\n\n\u{4f60}\n", "tokenize --model base");
    assert_eq!(lines[0]["tokens"], json!(["[CLS]", "the", "[MASK]", "cat", "##s", "[SEP]"]));
    assert_eq!(lines[1]["tokens"], json!(["[CLS]", "[SEP]"]));
    assert_eq!(lines[2]["tokens"], json!(["[CLS]", "[UNK]", "[SEP]"]));
    assert_eq!(lines[1]["input_ids"], json!([2, 3]));
}
