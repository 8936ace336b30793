//! google-research/electra's head for questions: `--qa-head original`.

use serde_json::{Value, json};

use crate::weights::Weights;
use crate::workplace::Workplace;

const FAST: &str = "--device cpu --epochs 2 --batch-size 4 --max-seq-length 24 --doc-stride 8";

/// A question and a context that fills several windows.
fn input() -> String {
    let context = format!("the big dog says no {}", "and the small cat says meow ".repeat(9));
    json!({"question": "who says meow", "context": context}).to_string()
}

/// Where there are dogs the answer is the cat, and where there are none there is no answer.
fn squad(version: &str) -> String {
    let paragraph = |p: usize| {
        let none = version == "v2.0" && p.is_multiple_of(3);
        let (first, filling) = if none { ("big", "yes it is ") } else { ("cat", "no it is ") };
        let context = format!("the {first} says meow {}", filling.repeat(1 + p % 4));
        let answers = if none { json!([]) } else { json!([{"text": "cat", "answer_start": 4}]) };
        let mut qa =
            json!({"id": format!("q{p}"), "question": "who says meow", "answers": answers});
        if version == "v2.0" {
            qa["is_impossible"] = json!(none);
        }
        json!({"context": context, "qas": [qa]})
    };
    let paragraphs: Vec<Value> = (0..16).map(paragraph).collect();
    json!({"version": version, "data": [{"title": "t", "paragraphs": paragraphs}]}).to_string()
}

/// With `out`, fine-tuned with the original's head on `qa.json`.
fn answerer(version: &str) -> (Workplace, Vec<Value>) {
    let work = Workplace::with_model_and_data();
    work.write("qa.json", squad(version));
    let train = "finetune --model base --train qa.json --eval qa.json --output out";
    let lines = work.ok(&format!("{train} --qa-head original {FAST}"));
    (work, lines)
}

fn config(work: &Workplace, model: &str) -> Value {
    serde_json::from_slice(&work.read(&format!("{model}/config.json"))).unwrap()
}

fn predict(work: &Workplace, model: &str) -> Value {
    let command = format!("predict --model {model} --device cpu --logits --top-k 100");
    work.ok_on(input(), &command).swap_remove(0)
}

/// The largest difference of two JSON values of the same form.
fn distance(a: &Value, b: &Value) -> f64 {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len());
            a.iter().zip(b).map(|(a, b)| distance(a, b)).fold(0.0, f64::max)
        }
        _ => (a.as_f64().unwrap() - b.as_f64().unwrap()).abs(),
    }
}

#[test]
fn it_is_trained_measured_and_asked() {
    let (work, lines) = answerer("v2.0");
    assert_eq!(lines[0]["task"], "question-answering");
    let is_evaluation = |line: &&Value| line["event"] == "evaluation";
    let last = lines.iter().rfind(is_evaluation).unwrap();
    let config = config(&work, "out");
    assert_eq!(config["architectures"], json!(["ElectraOriginalForQuestionAnswering"]));
    assert_eq!(config["qa_head"], "original");
    assert_eq!(config["no_answer_threshold"], last["no_answer_threshold"]);
    let header = Weights::parse(&work.read("out/model.safetensors")).header;
    assert_eq!(header["qa_end_dense.weight"]["shape"], json!([512, 64]));
    assert!(!header.keys().any(|name| name.starts_with("qa_outputs")));
    // What was measured in training is what is measured of the folder.
    let evaluated = work
        .ok("evaluate --model out --data qa.json --device cpu --max-seq-length 24 --doc-stride 8 \
         --output told.jsonl");
    for field in ["all", "no_ans", "best_exact", "best_f1", "no_answer_threshold"] {
        assert_eq!(evaluated[0][field], last[field], "{field}");
    }
    assert_eq!(String::from_utf8(work.read("told.jsonl")).unwrap().lines().count(), 16);
    let answer = predict(&work, "out");
    let score = answer["no_answer_score"].as_f64().unwrap();
    let is_none = score > config["no_answer_threshold"].as_f64().unwrap();
    assert_eq!(answer["answer"] == "", is_none, "{answer}");
    let best = answer["n_best"][0]["text"].as_str().unwrap();
    assert!(input().contains(best) && !best.is_empty());
    // The score is the lowest of the windows.
    let windows = answer["logits"].as_array().unwrap();
    assert!(windows.len() > 1);
    let scores = windows.iter().map(|window| window["answerability"].as_f64().unwrap());
    assert_eq!(scores.fold(f64::INFINITY, f64::min), score);
    for window in windows {
        let starts = window["starts"].as_array().unwrap();
        assert_eq!(window["end_logits"].as_array().unwrap().len(), starts.len());
        assert!(starts.len() <= 20 && starts.iter().all(Value::is_u64));
    }
}

/// Questions that all have an answer leave the classifier without a threshold.
#[test]
fn without_impossible_questions_there_is_always_an_answer() {
    let (work, _) = answerer("1.1");
    assert!(config(&work, "out").get("no_answer_threshold").is_none());
    assert_ne!(predict(&work, "out")["answer"], "");
}

#[test]
fn training_goes_on_from_it_or_starts_anew_with_the_other_head() {
    let (work, _) = answerer("v2.0");
    let go_on = |output: &str, more: &str| {
        let train = "finetune --train qa.json --eval qa.json --learning-rate 1e-12";
        let run = work.run(&format!("{train} --model out --output {output} {more} {FAST}"));
        run.results();
        run.stderr
    };
    // The head that the model has is the one that is meant.
    for (output, more) in [("more", ""), ("same", "--qa-head original")] {
        assert!(go_on(output, more).contains("goes on from the model's own question-answering"));
        assert_eq!(config(&work, output)["qa_head"], "original");
        let [before, after] = ["out", output].map(|model| predict(&work, model)["logits"].clone());
        for field in ["start_logits", "answerability"] {
            assert!(distance(&before[0][field], &after[0][field]) < 1e-4, "{field}");
        }
    }
    let said = go_on("other", "--qa-head huggingface");
    assert!(said.contains("head is fresh") && said.contains("left behind: qa_answerable.bias"));
    let other = config(&work, "other");
    assert_eq!(other["architectures"], json!(["ElectraForQuestionAnswering"]));
    assert!(other.get("qa_head").is_none());
    // Another task takes the body, and nothing of the head is left in its config.
    work.ok(&format!("finetune --model out --train data.csv --output classes {FAST}"));
    assert!(config(&work, "classes").get("qa_head").is_none());
}

#[test]
fn it_is_converted_there_and_back() {
    let (work, _) = answerer("v2.0");
    work.ok("convert --from out --to half --dtype f16");
    work.ok("convert --from half --to full");
    assert_eq!(config(&work, "full")["qa_head"], "original");
    let [before, half, full] = ["out", "half", "full"].map(|model| predict(&work, model));
    assert_eq!(half, full);
    let starts = |answer: &Value| answer["logits"][0]["start_logits"].clone();
    let open: Vec<(f64, f64)> = {
        let values = |answer: &Value| -> Vec<f64> {
            starts(answer).as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
        };
        values(&before).into_iter().zip(values(&half)).filter(|(a, _)| *a > -500.0).collect()
    };
    assert!(open.len() > 5 && open.iter().all(|(a, b)| (a - b).abs() < 1e-2), "{open:?}");
}

#[test]
fn a_head_that_is_not_there_is_refused() {
    let (work, _) = answerer("v2.0");
    let rest = "--output new --device cpu";
    let train = format!("finetune --model base --train qa.json --qa-head bilinear {rest}");
    work.refuses(&train, &["--qa-head", "huggingface", "original"]);
    let classes = format!("finetune --model base --train data.csv --qa-head original {rest}");
    work.fails(&classes, &["qa_head", "question-answering", "classification"]);
    // A config that names another head than the weights are for.
    work.edit_config("out", |config| drop(config.insert("qa_head".into(), json!("huggingface"))));
    work.fails_on(input(), "predict --model out --device cpu", &["qa_outputs.weight", "missing"]);
    work.edit_config("out", |config| drop(config.insert("qa_head".into(), json!("bilinear"))));
    work.fails_on(input(), "predict --model out --device cpu", &["out", "config.json", "bilinear"]);
}
