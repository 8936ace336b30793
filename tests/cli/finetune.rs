//! `finetune`, and `evaluate` on what it made.

use serde_json::{Value, json};

use crate::workplace::{FAST, Workplace, csv, root, rows};

fn finetune(work: &Workplace, options: &str) -> Vec<Value> {
    work.ok(&format!("finetune --model base --output out {FAST} {options}"))
}

/// Trains on a file of this name and content and returns the plan.
fn plan_of(name: &str, content: impl AsRef<[u8]>) -> Value {
    let work = Workplace::with_model_and_data();
    work.write(name, content);
    finetune(&work, &format!("--train {name}")).swap_remove(0)
}

fn labels(plan: &Value) -> Vec<(&str, u64)> {
    let counts = plan["labels"].as_array().unwrap().iter();
    counts.map(|l| (l["label"].as_str().unwrap(), l["count"].as_u64().unwrap())).collect()
}

#[test]
fn a_run_prints_its_plan_its_evaluations_and_its_end() {
    let work = Workplace::with_model_and_data();
    let lines = finetune(&work, "--train data.csv");
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["plan", "evaluation", "evaluation", "done"]);
    assert_eq!(labels(&lines[0]), [("cat", 10), ("dog", 10)]);
    assert_eq!((&lines[0]["eval_source"], &lines[0]["eval_rows"]), (&json!("held-out"), &json!(4)));
    assert_eq!((&lines[1]["step"], &lines[2]["step"]), (&json!(0), &lines[0]["steps"]));
    assert_eq!(lines[3]["accuracy"], lines[2]["accuracy"]);
}

#[test]
fn a_sheet_of_a_spreadsheet_is_named() {
    let work = Workplace::with_model_and_data();
    for name in ["mails.xlsx", "mails.ods"] {
        work.write(name, std::fs::read(root().join("tests/fixtures/sheets").join(name)).unwrap());
    }
    let options =
        "--train mails.xlsx --sheet Later --eval mails.ods --eval-sheet Later --overwrite";
    let plan = finetune(&work, options).swap_remove(0);
    assert_eq!(labels(&plan), [("billing", 4), ("delivery", 4), ("login", 4)]);
    assert_eq!(plan["eval_rows"], 12);
    let evaluate = "evaluate --model out --device cpu --data mails.ods";
    let first = work.ok(evaluate).swap_remove(0);
    let later = work.ok(&format!("{evaluate} --sheet Later")).swap_remove(0);
    assert_eq!((&first["skipped"], &later["skipped"]), (&json!(2), &json!(0)));
    work.fails(&format!("{evaluate} --sheet Lates"), &["mails.ods", "Did you mean \"Later\"?"]);
}

/// What the run says of the model, `evaluate` says of it, too, and the report.
#[test]
fn an_evaluation_says_what_it_is_judged_by() {
    let work = Workplace::with_model_and_data();
    let lines = finetune(&work, "--train data.csv --eval data.csv");
    let last = &lines[lines.len() - 2];
    let evaluated = work.ok("evaluate --model out --data data.csv --device cpu").swap_remove(0);
    for line in [last, &evaluated] {
        assert_eq!(
            (&line["task"], &line["metric"]),
            (&json!("classification"), &json!("accuracy"))
        );
        assert_eq!(line["score"], line["accuracy"]);
        assert!(line["is_collapsed"].is_boolean() && line["metrics"]["mcc"] == line["mcc"]);
    }
    let added = |line: &Value, names: &[&str]| {
        let mut fields = line.as_object().unwrap().clone();
        names.iter().for_each(|name| assert!(fields.remove(*name).is_some(), "{name}: {line}"));
        fields.keys().cloned().collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(added(last, &["event", "step", "epoch"]), added(&evaluated, &["skipped"]));
    let report: Value = serde_json::from_slice(&work.read("out/report.json")).unwrap();
    assert_eq!(report["score"], last["score"]);
    assert_eq!(report["collapsed"], last["is_collapsed"]);
}

#[test]
fn the_output_is_a_whole_model_folder_and_a_log() {
    let work = Workplace::with_model_and_data();
    let plan = finetune(&work, "--train data.csv").swap_remove(0);
    for name in ["model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"] {
        assert!(work.path("out").join(name).is_file(), "{name}");
    }
    let config: Value = serde_json::from_slice(&work.read("out/config.json")).unwrap();
    assert_eq!(config["architectures"], json!(["ElectraForSequenceClassification"]));
    assert_eq!(config["id2label"], json!({"0": "cat", "1": "dog"}));
    let log = String::from_utf8(work.read("out/metrics.jsonl")).unwrap();
    let lines = log.lines().map(|l| serde_json::from_str(l).unwrap());
    let (evaluations, steps): (Vec<Value>, Vec<Value>) =
        lines.partition(|line: &Value| line["event"] == "evaluation");
    assert!(evaluations.len() >= 2, "one before training, one at the end");
    assert_eq!(json!(steps.len()), plan["steps"]);
    let losses = steps.iter().flat_map(|step| step["losses"].as_array().unwrap());
    assert!(losses.clone().all(|loss| loss["loss"].is_number()));
    assert_eq!(json!(losses.count()), plan["steps"]);
}

#[test]
fn the_bundled_model_learns() {
    let work = Workplace::with_model_and_data();
    work.bundled_model("tiny");
    work.write("more.csv", csv(48));
    let options = "--device cpu --epochs 6 --batch-size 8 --max-seq-length 16 --dropout 0";
    let train = format!("finetune --model tiny --train more.csv --eval data.csv {options}");
    let lines = work.ok(&format!("{train} --output out --learning-rate 1e-3"));
    let (first, last) = (&lines[1], &lines[lines.len() - 2]);
    assert_eq!((&first["event"], &last["event"]), (&json!("evaluation"), &json!("evaluation")));
    assert!(last["loss"].as_f64() < first["loss"].as_f64(), "{first}\n{last}");
    assert_eq!(last["accuracy"], json!(1.0), "{last}");
}

#[test]
fn every_kind_of_table_is_read() {
    let tsv = csv(24).replace(',', "\t");
    assert_eq!(labels(&plan_of("data.tsv", tsv)), [("cat", 10), ("dog", 10)]);
    let semicolons = csv(24).replace(',', ";");
    assert_eq!(labels(&plan_of("other.csv", semicolons)), [("cat", 10), ("dog", 10)]);
    let object = |(label, text): (&str, String)| json!({"text": text, "label": label});
    let jsonl: String = rows(24).into_iter().map(|row| format!("{}\n", object(row))).collect();
    assert_eq!(labels(&plan_of("data.jsonl", jsonl)), [("cat", 10), ("dog", 10)]);
    let array = json!(rows(24).into_iter().map(object).collect::<Vec<_>>()).to_string();
    assert_eq!(labels(&plan_of("data.json", array)), [("cat", 10), ("dog", 10)]);
}

#[test]
fn a_spreadsheet_with_quotes_and_line_breaks_is_read() {
    let row = |(label, text): (&str, String)| format!("{label},\"{text},\r\nsaid \"\"it\"\"\"\r\n");
    let rows: String = rows(24).into_iter().map(row).collect();
    let plan = plan_of("data.csv", format!("\u{feff}label,text\r\n{rows}"));
    assert_eq!(
        (labels(&plan), &plan["skipped_count"]),
        (vec![("cat", 10), ("dog", 10)], &json!(0))
    );
}

#[test]
fn labels_may_be_numbers() {
    let plan = plan_of("data.csv", csv(24).replace("cat,", "10,").replace("dog,", "9,"));
    assert_eq!(labels(&plan), [("9", 10), ("10", 10)]);
    let jsonl: String =
        (0..24).map(|i| format!("{{\"text\": \"the cat {i}\", \"label\": {}}}\n", i % 2)).collect();
    assert_eq!(labels(&plan_of("data.jsonl", jsonl)), [("0", 10), ("1", 10)]);
}

#[test]
fn pairs_are_read_and_evaluated() {
    let work = Workplace::with_model_and_data();
    let pair = |(label, text): (&str, String)| format!("{text},yes it is,{label}\n");
    let pairs: String = rows(24).into_iter().map(pair).collect();
    work.write("pairs.csv", format!("sentence1,sentence2,label\n{pairs}"));
    finetune(&work, "--train pairs.csv --eval pairs.csv");
    let evaluation =
        work.ok("evaluate --model out --data pairs.csv --device cpu --max-seq-length 16");
    assert_eq!(evaluation[0]["worst"][0]["text_pair"], json!("yes it is"));
    finetune(&work, "--train pairs.csv --overwrite --text-column sentence2 --label-column label");
}

#[test]
fn rows_that_cannot_be_used_are_told() {
    let work = Workplace::with_model_and_data();
    work.write("gaps.csv", csv(24) + "cat,\n,the dog\ncat,a,b\n");
    let run = work.run(&format!("finetune --model base --train gaps.csv --output out {FAST}"));
    let plan = run.results().swap_remove(0);
    assert_eq!(plan["skipped_count"], json!(3));
    for words in ["row 26: the text is empty", "row 27: the label is empty", "row 28: 3 fields"] {
        assert!(run.stderr.contains(words), "{}", run.stderr);
    }
}

#[test]
fn evaluate_agrees_with_the_last_evaluation_of_finetune() {
    let work = Workplace::with_model_and_data();
    work.write("eval.csv", csv(30));
    let lines = finetune(&work, "--train data.csv --eval eval.csv --learning-rate 5e-3");
    let last = &lines[lines.len() - 2];
    let options = "--device cpu --max-seq-length 16 --output rows.jsonl";
    let evaluation = work.ok(&format!("evaluate --model out --data eval.csv {options}"));
    assert_eq!(lines[0]["eval_source"], json!("file"));
    for field in ["examples", "accuracy", "confusion_matrix", "labels"] {
        assert_eq!(evaluation[0][field], last[field], "{field}");
    }
    let rows = String::from_utf8(work.read("rows.jsonl")).unwrap();
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<_> = rows.iter().map(|row| row["row"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (2..32).collect::<Vec<_>>());
    let hits = rows.iter().filter(|row| row["label"] == row["true_label"]).count();
    assert_eq!(json!(hits as f64 / 30.0), last["accuracy"]);
}

#[test]
fn a_label_that_training_did_not_have_is_skipped_in_an_evaluation() {
    let work = Workplace::with_model_and_data();
    work.write("eval.csv", csv(4) + "cow,the cow says\n");
    let plan = finetune(&work, "--train data.csv --eval eval.csv").swap_remove(0);
    assert_eq!((&plan["eval_rows"], &plan["skipped_count"]), (&json!(4), &json!(1)));
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let work = Workplace::with_model_and_data();
    work.bundled_model("tiny");
    // The bundled model has dropout.
    let train = format!("finetune --model tiny --train data.csv {FAST}");
    for (output, seed) in [("first", 7), ("second", 7), ("third", 8)] {
        work.ok(&format!("{train} --output {output} --seed {seed}"));
    }
    for file in std::fs::read_dir(work.path("first")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        // The report says by what command it was made: other folders, other bytes.
        if name.starts_with("report.") {
            continue;
        }
        let [first, second] = ["first", "second"].map(|run| work.read(&format!("{run}/{name}")));
        assert!(first == second, "{name}");
    }
    let [first, third] =
        ["first", "third"].map(|run| work.read(&format!("{run}/model.safetensors")));
    assert!(first != third);
}

#[test]
fn of_several_trials_the_best_is_kept() {
    let work = Workplace::with_model_and_data();
    let lines = finetune(&work, "--train data.csv --trials 2 --seed 3");
    let done = lines.last().unwrap();
    let scores: Vec<f64> =
        done["scores"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
    let [low, high] = [scores[0].min(scores[1]), scores[0].max(scores[1])];
    assert_eq!((scores.len(), done["accuracy"].as_f64()), (2, Some(high)));
    let mean = (low + high) / 2.0;
    let close = |key: &str, value: f64| (done[key].as_f64().unwrap() - value).abs() < 1e-12;
    assert!(close("mean", mean) && close("median", mean), "{done}");
    assert!(close("std", (high - low) / 2f64.sqrt()), "{done}");
    let plans = lines.iter().filter(|line| line["event"] == "plan").count();
    assert_eq!(plans, 2);
}

#[test]
fn what_is_frozen_stays_as_it_was() {
    let work = Workplace::with_model_and_data();
    let train = format!("finetune --model base --train data.csv {FAST} --learning-rate 1e-2");
    let changed = |freeze: &str| {
        work.ok(&format!("{train} --output {freeze} --freeze {freeze}"));
        let before = tensors(&work.read("base/model.safetensors"));
        let after = tensors(&work.read(&format!("{freeze}/model.safetensors")));
        let body = before.into_iter().filter(|(name, _)| name.starts_with("electra."));
        let changed = body.filter(|(name, bytes)| after.get(name) != Some(bytes));
        changed.map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(changed("body"), Vec::<String>::new());
    let above_embeddings = changed("embeddings");
    assert!(above_embeddings.iter().all(|name| !name.contains("embeddings")));
    assert!(above_embeddings.iter().any(|name| name.contains("layer.0.")));
    let top_layer = changed("2");
    assert!(!top_layer.is_empty() && top_layer.iter().all(|name| name.contains("layer.2.")));
}

fn tensors(file: &[u8]) -> std::collections::BTreeMap<String, Vec<u8>> {
    let weights = crate::weights::Weights::parse(file);
    let tensors = weights.header.iter().filter(|(name, _)| *name != "__metadata__");
    let bytes = tensors.map(|(name, entry)| {
        let offset = |i: usize| entry["data_offsets"][i].as_u64().unwrap() as usize;
        (name.clone(), weights.numbers[offset(0)..offset(1)].to_vec())
    });
    bytes.collect()
}

#[test]
fn training_goes_on_from_a_classifier_with_the_same_labels() {
    let work = Workplace::with_classifier();
    let run = work.run(&format!("finetune --model trained --train data.csv --output out {FAST}"));
    let plan = run.results().swap_remove(0);
    assert!(plan["notes"][0].as_str().unwrap().contains("goes on"), "{plan}");
    work.write("cow.csv", csv(24).replace("dog", "cow"));
    let plan = work.ok(&format!("finetune --model trained --train cow.csv --output cow {FAST}"));
    assert!(plan[0]["notes"][0].as_str().unwrap().contains("fresh"), "{}", plan[0]);
}

/// Models from elsewhere have an order of their own; a trained head is not thrown away for it.
#[test]
fn the_order_of_the_labels_is_the_models() {
    let work = Workplace::with_classifier();
    let labels = json!({"0": "dog", "1": "cat"});
    work.edit_config("trained", |config| {
        config.insert("id2label".into(), labels.clone());
        config.insert("label2id".into(), json!({"dog": 0, "cat": 1}));
    });
    let lines = work.ok(&format!("finetune --model trained --train data.csv --output out {FAST}"));
    assert!(lines[0]["notes"][0].as_str().unwrap().contains("goes on"), "{}", lines[0]);
    let config: Value = serde_json::from_slice(&work.read("out/config.json")).unwrap();
    assert_eq!(config["id2label"], labels);
}

#[test]
fn the_default_length_fits_a_model_of_few_positions() {
    let work = Workplace::with_classifier();
    work.ok("finetune --model base --train data.csv --output out --epochs 1 --device cpu");
    work.ok("evaluate --model trained --data data.csv --device cpu");
}

#[test]
fn a_zip_of_a_folder_is_a_model() {
    let work = Workplace::with_classifier();
    work.write("trained.zip", zip_of(&work, &[("made/", "trained")]));
    let unpacked = work.ok_on("the cat\n", "predict --model trained --device cpu");
    assert_eq!(work.ok_on("the cat\n", "predict --model trained.zip --device cpu"), unpacked);
}

#[test]
fn a_zip_of_two_models_is_refused() {
    let work = Workplace::with_classifier();
    work.write("two.zip", zip_of(&work, &[("discriminator/", "base"), ("trained/", "trained")]));
    work.fails_on("the cat\n", "predict --model two.zip --device cpu", &["two.zip", "config.json"]);
}

fn zip_of(work: &Workplace, folders: &[(&str, &str)]) -> Vec<u8> {
    use std::io::Write;
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (prefix, folder) in folders {
        for name in ["config.json", "model.safetensors", "vocab.txt"] {
            let options = zip::write::SimpleFileOptions::default();
            archive.start_file(format!("{prefix}{name}"), options).unwrap();
            archive.write_all(&work.read(&format!("{folder}/{name}"))).unwrap();
        }
    }
    archive.finish().unwrap().into_inner()
}

/// At so high a rate the first evaluation, before any update, is not beaten for long.
#[test]
fn a_run_without_progress_ends_and_the_best_weights_are_kept() {
    let work = Workplace::with_model_and_data();
    let train = "finetune --model base --train data.csv --device cpu --max-seq-length 16";
    let options = "--batch-size 4 --epochs 50 --eval-every 1 --learning-rate 0.9 --patience 2";
    let lines = work.ok(&format!("{train} {options} --output out"));
    let scores: Vec<f64> = lines
        .iter()
        .filter(|line| line["event"] == "evaluation")
        .map(|line| line["accuracy"].as_f64().unwrap())
        .collect();
    let planned = lines[0]["steps"].as_u64().unwrap() as usize;
    assert!(scores.len() < planned, "{} evaluations of {planned} steps", scores.len());
    let best = scores.iter().copied().fold(0.0, f64::max);
    assert_eq!(lines.last().unwrap()["accuracy"].as_f64(), Some(best));
    assert!(scores[scores.len() - 2..].iter().all(|score| *score <= best));
    // The kept weights are those of that evaluation: the held-out rows are the same for a seed.
    let long = "--batch-size 4 --epochs 3 --eval-every 1 --learning-rate 0.9";
    let last = work.ok(&format!("{train} {long} --output last"));
    let kept = work.ok(&format!("{train} {long} --output best --keep-best"));
    let accuracy = |lines: &[Value]| lines.last().unwrap()["accuracy"].as_f64().unwrap();
    assert!(accuracy(&kept) >= accuracy(&last));
    assert!(work.read("best/model.safetensors") != work.read("last/model.safetensors"));
}
