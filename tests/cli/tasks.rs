//! Every task from a file of its own: fine-tuned, measured, asked.

use serde_json::{Value, json};

use crate::workplace::Workplace;

const FAST: &str = "--device cpu --epochs 2 --batch-size 4 --max-seq-length 24";

/// Fine-tunes on a file, and gives the lines of training and of an evaluation on the same file.
fn learn(work: &Workplace, file: &str, content: &str, more: &str) -> (Vec<Value>, Value) {
    work.write(file, content);
    let lines =
        work.ok(&format!("finetune --model base --train {file} --output out {FAST} {more}"));
    let evaluated = work.ok(&format!("evaluate --model out --data {file} --device cpu"));
    (lines, evaluated[0].clone())
}

fn config(work: &Workplace) -> Value {
    serde_json::from_slice(&work.read("out/config.json")).unwrap()
}

#[test]
fn tagging_from_columns() {
    let work = Workplace::with_model_and_data();
    let sentence = "the\tO\ncat\tB-PET\ndog\tI-PET\n\nthe\tO\ndog\tB-PET\n\n";
    let (lines, evaluated) = learn(&work, "tags.conll", &sentence.repeat(6), "");
    assert_eq!(lines[0]["task"], "tagging");
    assert_eq!(lines[0]["labels"].as_array().unwrap().len(), 3);
    assert_eq!(evaluated["tags"]["examples"], 30);
    assert!(evaluated["entities"]["micro"]["f1"].is_number(), "{evaluated}");
    assert_eq!(config(&work)["architectures"], json!(["ElectraForTokenClassification"]));
    let predict = "predict --model out --device cpu";
    let [plain, words] = ["the cat dog\n", "{\"words\":[\"the\",\"cat\",\"dog\"]}\n"]
        .map(|input| work.ok_on(input, predict).swap_remove(0));
    assert_eq!(plain, words);
    assert_eq!(plain["labels"].as_array().unwrap().len(), 3);
    work.fails_on(
        "{\"question\":\"a\",\"context\":\"b\"}\n",
        predict,
        &["line 1", "question answerer"],
    );
}

#[test]
fn questions_from_squad() {
    let work = Workplace::with_model_and_data();
    let qa = |i: usize| {
        json!({"id": format!("q{i}"), "question": "who sat", "is_impossible": i == 0,
            "answers": if i == 0 { json!([]) } else { json!([{"text": "cat", "answer_start": 4}]) }})
    };
    let paragraph = |p: usize| {
        let qas: Vec<Value> = (0..3)
            .map(|i| {
                let mut qa = qa(i);
                qa["id"] = json!(format!("{p}-{i}"));
                qa
            })
            .collect();
        json!({"context": format!("the cat sat on the mat {p}"), "qas": qas})
    };
    let paragraphs: Vec<Value> = (0..6).map(paragraph).collect();
    let file = json!({"version": "v2.0", "data": [{"title": "t", "paragraphs": paragraphs}]});
    let (lines, evaluated) = learn(&work, "qa.json", &file.to_string(), "--doc-stride 8");
    assert_eq!(lines[0]["task"], "question-answering");
    assert_eq!(evaluated["all"]["total"], 18);
    let config = config(&work);
    assert!(config["no_answer_threshold"].is_number() && config.get("id2label").is_none());
    let input = "{\"question\":\"who sat\",\"context\":\"the cat sat\"}\n".repeat(2);
    let answers = work.ok_on(input, "predict --model out --device cpu");
    assert_eq!((&answers[0]["id"], &answers[1]["id"]), (&json!("1"), &json!("2")));
    let answer = &answers[0];
    assert!(answer["answer"].is_string() && answer["no_answer_score"].is_number(), "{answer}");
}

/// Scores are learned between 0 and 1 and shown as they were.
#[test]
fn scores_in_their_own_range() {
    let work = Workplace::with_model_and_data();
    let rows: String = (0..12).map(|i| format!("cat {i},dog,{}.5\n", 100 + i * 10)).collect();
    let file = format!("sentence1,sentence2,score\n{rows}");
    let (lines, evaluated) = learn(&work, "scores.csv", &file, "--double-pairs");
    assert_eq!(lines[0]["task"], "regression");
    assert!(lines[0]["train_windows"].as_u64() == Some(20), "{}", lines[0]);
    assert_eq!(evaluated["examples"], 12);
    assert!(evaluated["mse"].as_f64().unwrap() < 1e5, "{evaluated}");
    assert!(evaluated["points"][0][0].as_f64().unwrap() >= 100.0);
    let config = config(&work);
    assert_eq!(config["problem_type"], "regression");
    let range = config["score_range"].as_array().unwrap();
    assert!(range[0].as_f64().unwrap() < range[1].as_f64().unwrap());
    let answer = work.ok_on("cat\n", "predict --model out --device cpu").swap_remove(0);
    assert!(answer["value"].is_number(), "{answer}");
}

#[test]
fn several_labels_a_text() {
    let work = Workplace::with_model_and_data();
    let rows = "the cat,pet|small\nthe dog,pet\nthe mat,\nthe sofa,big\n".repeat(4);
    let file = format!("text,labels\n{rows}");
    let (lines, evaluated) = learn(&work, "many.csv", &file, "--task multi-label");
    assert_eq!(lines[0]["task"], "multi-label");
    assert_eq!(evaluated["per_label"].as_array().unwrap().len(), 3);
    assert_eq!(config(&work)["problem_type"], "multi_label_classification");
    let answer = work.ok_on("the cat\n", "predict --model out --device cpu").swap_remove(0);
    assert_eq!(answer["scores"].as_object().unwrap().len(), 3);
}

fn forget_names(work: &Workplace) {
    work.edit_config("out", |config| {
        config.remove("id2label");
        config.remove("label2id");
    });
}

/// A model that has no names for its labels calls them LABEL_0 and so on, not as the file does.
#[test]
fn labels_without_names_are_not_those_of_the_file() {
    let evaluate = "evaluate --model out --device cpu --data";
    let work = Workplace::with_model_and_data();
    let file = |tags: [&str; 3]| {
        format!("the\t{}\ncat\t{}\n\nthe\t{0}\ndog\t{}\n\n", tags[0], tags[1], tags[2]).repeat(6)
    };
    learn(&work, "tags.conll", &file(["O", "X", "X"]), "");
    forget_names(&work);
    work.write("three.conll", file(["O", "X", "Y"]));
    for data in ["tags.conll", "three.conll"] {
        work.fails(&format!("{evaluate} {data}"), &[data, "none of the 12 rows", "unknown label"]);
    }
    work.write("numbered.conll", file(["LABEL_0", "LABEL_1", "LABEL_1"]));
    let line = work.ok(&format!("{evaluate} numbered.conll")).swap_remove(0);
    assert_eq!(line["tags"]["labels"], json!(["LABEL_0", "LABEL_1"]));

    let work = Workplace::with_model_and_data();
    let rows = "the cat,a|b\nthe dog,b\nthe mat,\nthe sofa,a\n".repeat(4);
    let file = format!("text,labels\n{rows}");
    learn(&work, "many.csv", &file, "--task multi-label");
    forget_names(&work);
    work.write("three.csv", format!("{file}the yes,c\n"));
    for data in ["many.csv", "three.csv"] {
        let run = work.run(&format!("{evaluate} {data}"));
        assert!(run.stderr.contains("unknown label"), "{}", run.stderr);
    }
    work.write("numbered.csv", file.replace(",a", ",LABEL_0").replace('b', "LABEL_1"));
    let line = work.ok(&format!("{evaluate} numbered.csv")).swap_remove(0);
    assert_eq!(line["per_label"].as_array().unwrap().len(), 2);
}

/// Without a range in its config, what a regression gives is the score, whatever the file holds.
#[test]
fn scores_without_a_range_are_what_the_network_gives() {
    let work = Workplace::with_model_and_data();
    let rows: String = (0..12).map(|i| format!("the cat {i},{}.5\n", 100 + i * 10)).collect();
    learn(&work, "scores.csv", &format!("text,score\n{rows}"), "");
    let more = work.run(&format!("finetune --model out --train scores.csv --output more {FAST}"));
    let own = "training goes on from the model's own regression head";
    assert!(more.stderr.contains(own), "{}", more.stderr);
    work.edit_config("out", |config| {
        config.remove("score_range");
    });
    let line = work.ok("evaluate --model out --data scores.csv --device cpu").swap_remove(0);
    let answer = work.ok_on("the cat 0\n", "predict --model out --device cpu").swap_remove(0);
    let [measured, asked] =
        [&line["points"][0][1], &answer["value"]].map(|value| value.as_f64().unwrap());
    assert!((measured - asked).abs() < 1e-5, "{measured} {asked}");
}

/// 1 is 1.0, in training and in evaluation.
#[test]
fn the_same_number_is_the_same_label() {
    let work = Workplace::with_model_and_data();
    let file = |yes: &str, no: &str| {
        format!("label,text\n{}", format!("{yes},the cat\n{no},the dog\n").repeat(6))
    };
    learn(&work, "train.csv", &file("1.0", "0.0"), "");
    work.write("eval.csv", file("1", "0.00"));
    let line = work.ok("evaluate --model out --data eval.csv --device cpu").swap_remove(0);
    assert_eq!((&line["examples"], &line["skipped"]), (&json!(12), &json!(0)));
    assert_eq!(line["labels"], json!(["0.0", "1.0"]));
    let more = work.run(&format!("finetune --model out --train eval.csv --output more {FAST}"));
    let own = "training goes on from the model's own classification head";
    assert!(more.stderr.contains(own), "{}", more.stderr);
}

#[test]
fn another_task_than_the_model_was_tuned_for_is_refused() {
    let work = Workplace::with_classifier();
    let evaluate = "evaluate --model trained --data data.csv --device cpu --task tagging";
    work.fails(evaluate, &["trained", "classification", "tagging", "--task"]);
}

/// The report stands beside the model; its numbers are those that were printed.
#[test]
fn a_report_of_several_trials() {
    let work = Workplace::with_model_and_data();
    let lines =
        work.ok(&format!("finetune --model base --train data.csv --output out --trials 2 {FAST}"));
    let done = lines.last().unwrap();
    let report: Value = serde_json::from_slice(&work.read("out/report.json")).unwrap();
    assert_eq!(report["score"], done["accuracy"]);
    assert_eq!(report["trials"].as_array().unwrap().len(), 2);
    assert_eq!(report["median"], done["median"]);
    let page = String::from_utf8(work.read("out/report.html")).unwrap();
    assert!(page.contains("rows of your data"));
    assert_eq!(page.matches("<script").count(), 2, "the data, and what draws them");
    let log = String::from_utf8(work.read("out/metrics.jsonl")).unwrap();
    assert!(!log.contains("worst"), "texts are not for the log");
}
