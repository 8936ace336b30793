//! Tasks by name: the original files, made small, through `finetune` and `evaluate`.

use std::io::Write;

use serde_json::{Value, json};

use crate::workplace::{FAST, Workplace};

/// One short epoch; everything else is what the name brings.
const SHORT: &str = "--device cpu --epochs 1 --max-seq-length 16";

/// A workplace with `base` and these files below `data`.
fn workplace(files: &[(&str, String)]) -> Workplace {
    let work = Workplace::new();
    work.model("base", "model_pretraining");
    for (name, content) in files {
        put(&work, name, content);
    }
    work
}

fn put(work: &Workplace, name: &str, content: impl AsRef<[u8]>) {
    let path = format!("data/{name}");
    std::fs::create_dir_all(work.path(&path).parent().unwrap()).unwrap();
    work.write(&path, content);
}

/// `header`, and `count` rows that `row` makes.
fn table(header: &str, count: usize, row: impl Fn(usize) -> String) -> String {
    let rows: String = (0..count).map(|i| row(i) + "\n").collect();
    if header.is_empty() { rows } else { format!("{header}\n{rows}") }
}

fn text(i: usize) -> String {
    format!("the {} {}", ["cat", "dog"][i % 2], char::from(b'a' + (i % 26) as u8))
}

fn finetune(work: &Workplace, options: &str) -> Vec<Value> {
    work.ok(&format!("finetune --model base --data-dir data --output out {SHORT} {options}"))
}

fn evaluate(work: &Workplace, options: &str) -> Vec<Value> {
    let short = "--device cpu --max-seq-length 16";
    work.ok(&format!("evaluate --model out --data-dir data {short} {options}"))
}

/// The predictions of a submission file, whose header and index are checked.
fn submitted(work: &Workplace, name: &str) -> Vec<String> {
    let text = String::from_utf8(work.read(name)).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("index\tprediction"), "{name}");
    let row = |(index, line): (usize, &str)| {
        let (number, prediction) = line.split_once('\t').unwrap();
        assert_eq!(number, index.to_string(), "{name}");
        prediction.to_string()
    };
    lines.enumerate().map(row).collect()
}

/// What `predict` says of these texts, in their order.
fn predicted(work: &Workplace, lines: impl Iterator<Item = Value>) -> Vec<Value> {
    let input: String = lines.map(|line| format!("{line}\n")).collect();
    work.ok_on(input, "predict --model out --device cpu")
}

fn cola() -> Workplace {
    let row = |i: usize| format!("gj04\t{}\t{}\t{}", i % 2, ["", "*"][i % 2], text(i));
    workplace(&[
        ("CoLA/train.tsv", table("", 16, row)),
        ("CoLA/dev.tsv", table("", 6, row)),
        ("CoLA/test.tsv", table("index\tsentence", 7, |i| format!("{i}\t{}", text(i * 3)))),
    ])
}

#[test]
fn cola_from_files_without_a_header_to_the_file_to_hand_in() {
    let work = cola();
    let run = work.run(
        "finetune --model base --glue cola --data-dir data --output out --device cpu --epochs 1",
    );
    let lines = run.results();
    let (plan, done) = (&lines[0], lines.last().unwrap());
    assert_eq!((&plan["train_rows"], &plan["eval_rows"]), (&json!(16), &json!(6)));
    assert_eq!(plan["labels"][1], json!({"label": "1", "count": 8}));
    assert_eq!((&plan["learning_rate"], &plan["batch_size"]), (&json!(3e-4), &json!(32)));
    assert_eq!(plan["max_seq_length"], json!(40), "the model has no more positions");
    for words in [
        "cola",
        "hidden size of 32",
        "--learning-rate 0.0003 --layerwise-decay 0.8 --batch-size 32 --warmup 0.1 --weight-decay 0",
        "the length is 40 instead of 128",
        "measured by mcc",
    ] {
        assert!(run.stderr.contains(words), "no {words:?} in {}", run.stderr);
    }
    assert!(!run.stderr.contains("--epochs"), "was given: {}", run.stderr);
    assert_eq!((&done["benchmark"], &done["metric"]), (&json!("cola"), &json!("mcc")));
    assert!(done["mcc"].is_number() && done["mcc"] == done["metrics"]["dev"]["mcc"], "{done}");
    assert_eq!(done["submission"], json!(["CoLA.tsv"]));
    let rows = submitted(&work, "out/submission/CoLA.tsv");
    let own = predicted(&work, (0..7).map(|i| json!({"text": text(i * 3)})));
    let own: Vec<&str> = own.iter().map(|line| line["label"].as_str().unwrap()).collect();
    assert_eq!(rows, own);
    let report: Value = serde_json::from_slice(&work.read("out/report.json")).unwrap();
    assert_eq!((&report["metric"], &report["score"]), (&json!("mcc"), &done["mcc"]));
    assert_eq!(report["settings"]["layerwiseDecay"], json!(0.8));
    let evaluated = work.ok("evaluate --model out --glue CoLA --data-dir data --device cpu");
    assert_eq!(evaluated[0]["metrics"], done["metrics"]["dev"]);
    assert_eq!(
        (&evaluated[0]["benchmark"], &evaluated[0]["split"]),
        (&json!("cola"), &json!("dev"))
    );
}

#[test]
fn mrpc_learns_both_orders_and_is_measured_by_accuracy_and_f1() {
    let header = "\u{feff}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String";
    let row = |i: usize| format!("{}\t7\t8\t{} says \"no\t{}", i % 2, text(i), text(i + 1));
    let test = "index\t#1 ID\t#2 ID\t#1 String\t#2 String";
    let work = workplace(&[
        ("MRPC/train.tsv", table(header, 10, row)),
        ("MRPC/dev.tsv", table(header, 4, row)),
        ("MRPC/test.tsv", table(test, 3, |i| format!("{i}\t7\t8\t{}\t{}", text(i), text(i)))),
    ]);
    let lines = finetune(&work, "--glue mrpc");
    assert_eq!(lines[0]["train_windows"], json!(20));
    let done = lines.last().unwrap();
    assert_eq!(done["metric"], json!("accuracy"));
    let metrics = done["metrics"]["dev"].as_object().unwrap();
    assert_eq!(metrics.keys().collect::<Vec<_>>(), ["accuracy", "f1"]);
    let evaluation = &lines[lines.len() - 2];
    assert_eq!(metrics["f1"], evaluation["per_class"][1]["f1"]);
    assert_eq!(submitted(&work, "out/submission/MRPC.tsv").len(), 3);
}

#[test]
fn stsb_is_a_regression_from_0_to_5() {
    let columns = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2";
    let pair = |i: usize| format!("{i}\tg\tf\ty\to\ts\ts\t{}\t{}", text(i), text(i + 1));
    let scored = |i: usize| format!("{}\t{}.250", pair(i), i % 5);
    let work = workplace(&[
        ("STS-B/train.tsv", table(&format!("{columns}\tscore"), 10, scored)),
        ("STS-B/dev.tsv", table(&format!("{columns}\tscore"), 5, scored)),
        ("STS-B/test.tsv", table(columns, 4, pair)),
    ]);
    let lines = finetune(&work, "--glue stsb");
    assert_eq!((&lines[0]["task"], &lines[0]["train_windows"]), (&json!("regression"), &json!(20)));
    let done = lines.last().unwrap();
    assert_eq!(done["metric"], json!("spearman"));
    assert!(done["metrics"]["dev"]["pearson"].is_number(), "{done}");
    let config: Value = serde_json::from_slice(&work.read("out/config.json")).unwrap();
    assert_eq!(config["score_range"], json!([0.0, 5.0]));
    let rows = submitted(&work, "out/submission/STS-B.tsv");
    let pairs = (0..4).map(|i| json!({"text": text(i), "text_pair": text(i + 1)}));
    for (row, own) in rows.iter().zip(predicted(&work, pairs)) {
        let own = own["value"].as_f64().unwrap().clamp(0.0, 5.0);
        assert_eq!(*row, format!("{own:.3}"));
    }
    let evaluated = evaluate(&work, "--glue stsb");
    assert_eq!(evaluated[0]["metrics"], done["metrics"]["dev"]);
    // The best step is that of the task's own metric.
    let options = "--glue stsb --overwrite --keep-best --eval-every 1 --batch-size 2";
    let lines = finetune(&work, options);
    let done = lines.last().unwrap();
    let scores = lines.iter().filter(|line| line["event"] == "evaluation");
    let scores: Vec<f64> = scores.map(|line| line["spearman"].as_f64().unwrap_or(0.0)).collect();
    assert_eq!(scores.len(), 1 + 10);
    let best = scores.iter().copied().fold(f64::MIN, f64::max);
    assert_eq!(done["spearman"], json!(best), "{scores:?}");
    let evaluated = evaluate(&work, "--glue stsb --batch-size 2");
    assert_eq!(evaluated[0]["spearman"], json!(best));
}

fn mnli() -> Workplace {
    let columns =
        "index\tpromptID\tpairID\tgenre\ts1_binary\ts2_binary\ts1\ts2\tsentence1\tsentence2";
    let pair = |i: usize| format!("{i}\tp\tp\tg\tb\tb\tp\tp\t{}\t{}", text(i), text(i + 1));
    let label = |i: usize| ["neutral", "contradiction", "entailment"][i % 3];
    let train = |i: usize| format!("{}\tx\t{}", pair(i), label(i));
    let dev = |i: usize| format!("{}\tx\tx\tx\tx\tx\t{}", pair(i), label(i));
    let more = "\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label";
    let diagnostic =
        table("index\tsentence1\tsentence2", 5, |i| format!("{i}\t{}\t{}", text(i), text(i)));
    workplace(&[
        ("MNLI/train.tsv", table(&format!("{columns}\tlabel1\tgold_label"), 12, train)),
        ("MNLI/dev_matched.tsv", table(&format!("{columns}{more}"), 6, dev)),
        ("MNLI/dev_mismatched.tsv", table(&format!("{columns}{more}"), 9, dev)),
        ("MNLI/test_matched.tsv", table(columns, 3, pair)),
        ("MNLI/test_mismatched.tsv", table(columns, 4, pair)),
        ("diagnostic/diagnostic.tsv", diagnostic),
    ])
}

#[test]
fn mnli_has_two_development_files_and_three_to_hand_in() {
    let work = mnli();
    let lines = finetune(&work, "--glue mnli");
    let config: Value = serde_json::from_slice(&work.read("out/config.json")).unwrap();
    let order = json!({"0": "contradiction", "1": "entailment", "2": "neutral"});
    assert_eq!(config["id2label"], order);
    let done = lines.last().unwrap();
    let split = &lines[lines.len() - 2];
    assert_eq!(
        (&split["split"], &split["examples"]),
        (&json!("dev_mismatched"), &json!(9)),
        "{split}"
    );
    assert_eq!(done["metrics"]["dev_mismatched"], split["metrics"]);
    assert!(done["accuracy"].is_number());
    for (name, count) in [("MNLI-m", 3), ("MNLI-mm", 4), ("AX", 5)] {
        let rows = submitted(&work, &format!("out/submission/{name}.tsv"));
        assert_eq!(rows.len(), count, "{name}");
        let is_label = |row: &String| ["contradiction", "entailment", "neutral"].contains(&&**row);
        assert!(rows.iter().all(is_label), "{rows:?}");
    }
    let evaluated = evaluate(&work, "--glue mnli --output rows.jsonl --submission again");
    let splits: Vec<_> = evaluated.iter().map(|line| &line["split"]).collect();
    assert_eq!(splits, ["dev_matched", "dev_mismatched"]);
    assert_eq!(evaluated[0]["metrics"], done["metrics"]["dev_matched"]);
    assert_eq!(evaluated[1]["metrics"], done["metrics"]["dev_mismatched"]);
    assert_eq!(done["metrics"]["dev_matched"]["accuracy"], done["accuracy"]);
    for name in ["MNLI-m.tsv", "MNLI-mm.tsv", "AX.tsv"] {
        let [one, other] = ["out/submission", "again"].map(|f| work.read(&format!("{f}/{name}")));
        assert_eq!(one, other, "{name}");
    }
    let rows = String::from_utf8(work.read("rows.jsonl")).unwrap();
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 6 + 9);
    assert_eq!(
        (&rows[0]["split"], &rows[14]["split"]),
        (&json!("dev_matched"), &json!("dev_mismatched"))
    );
}

/// A model with the labels in another order, as Hugging Face's copies have them, keeps its order.
#[test]
fn a_model_with_another_order_of_labels_is_measured_by_their_names() {
    let work = mnli();
    finetune(&work, "--glue mnli");
    let right = evaluate(&work, "--glue mnli");
    let renamed = |config: &mut serde_json::Map<String, Value>| {
        config["id2label"] = json!({"0": "neutral", "1": "entailment", "2": "contradiction"});
        config["label2id"] = json!({"neutral": 0, "entailment": 1, "contradiction": 2});
    };
    work.edit_config("out", renamed);
    let other = evaluate(&work, "--glue mnli");
    assert_eq!(other[0]["labels"], json!(["neutral", "entailment", "contradiction"]));
    let sum = |line: &Value, i: usize| -> u64 {
        line["confusion_matrix"][i].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum()
    };
    assert_eq!(sum(&right[0], 0), sum(&other[0], 2), "rows of contradiction");
    work.edit_config("out", |config| {
        config["id2label"] = json!({"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"});
    });
    work.fails(
        "evaluate --model out --glue mnli --data-dir data --device cpu",
        &["out, config.json, id2label", "LABEL_2", "contradiction, entailment, neutral"],
    );
}

fn rte() -> Workplace {
    let header = "index\tsentence1\tsentence2";
    let pair = |i: usize| format!("{i}\t{}\t{}", text(i), text(i + 1));
    let row = |i: usize| format!("{}\t{}", pair(i), ["not_entailment", "entailment"][i % 2]);
    workplace(&[
        ("RTE/train.tsv", table(&format!("{header}\tlabel"), 8, row)),
        ("RTE/dev.tsv", table(&format!("{header}\tlabel"), 4, row)),
        ("RTE/test.tsv", table(header, 3, pair)),
    ])
}

#[test]
fn rte_takes_ten_epochs_and_trials_freezing_and_patience_go_with_it() {
    let work = rte();
    let train = "finetune --model base --glue rte --data-dir data --device cpu";
    let lines = work.ok(&format!("{train} --output out"));
    assert_eq!((&lines[0]["epochs"], &lines[0]["steps"]), (&json!(10.0), &json!(10)));
    let config: Value = serde_json::from_slice(&work.read("out/config.json")).unwrap();
    assert_eq!(config["id2label"], json!({"0": "entailment", "1": "not_entailment"}));
    assert_eq!(submitted(&work, "out/submission/RTE.tsv").len(), 3);
    let more = "--trials 2 --freeze embeddings --patience 1 --overwrite --learning-rate 1e-3";
    let run = work.run(&format!("{train} --output out {more} --batch-size 4"));
    let lines = run.results();
    assert_eq!((&lines[0]["learning_rate"], &lines[0]["batch_size"]), (&json!(1e-3), &json!(4)));
    assert!(!run.stderr.contains("--learning-rate") && run.stderr.contains("--epochs 10"));
    let done = lines.last().unwrap();
    assert_eq!(done["scores"].as_array().unwrap().len(), 2);
    assert_eq!(done["submission"], json!(["RTE.tsv"]));
    let report: Value = serde_json::from_slice(&work.read("out/report.json")).unwrap();
    assert_eq!(report["trials"].as_array().unwrap().len(), 2);
}

/// The files may lie in the folder itself, and a task without a test file has nothing to hand in.
#[test]
fn the_other_tasks_of_glue() {
    type Case = (&'static str, &'static str, &'static str, fn(usize) -> String);
    let cases: [Case; 4] = [
        ("sst2", "SST-2", "sentence\tlabel", |i| format!("{}\t{}", text(i), i % 2)),
        ("qqp", "QQP", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", |i| {
            format!("{i}\t1\t2\t{}\t{}\t{}", text(i), text(i + 1), i % 2)
        }),
        ("qnli", "", "index\tquestion\tsentence\tlabel", |i| {
            let label = ["entailment", "not_entailment"][i % 2];
            format!("{i}\t{}\t{}\t{label}", text(i), text(i + 1))
        }),
        ("wnli", "", "index\tsentence1\tsentence2\tlabel", |i| {
            format!("{i}\t{}\t{}\t{}", text(i), text(i + 1), i % 2)
        }),
    ];
    for (name, folder, header, row) in cases {
        let at =
            |file: &str| if folder.is_empty() { file.into() } else { format!("{folder}/{file}") };
        let files =
            [(at("train.tsv"), table(header, 8, row)), (at("dev.tsv"), table(header, 4, row))];
        let work = workplace(&files.each_ref().map(|(name, text)| (name.as_str(), text.clone())));
        let lines = finetune(&work, &format!("--glue {name}"));
        let done = lines.last().unwrap();
        assert_eq!((&done["metric"], &done["submission"]), (&json!("accuracy"), &Value::Null));
        assert_eq!(done["metrics"]["dev"].get("f1").is_some(), name == "qqp");
        assert!(!work.path("out/submission").exists());
        if name == "qqp" {
            let row = |i: usize| format!("{i}\t{}\t{}", text(i), text(i + 1));
            let test = table("id\tquestion1\tquestion2", 3, row);
            put(&work, "QQP/test.tsv", test);
            evaluate(&work, "--glue qqp --submission hand-in");
            assert_eq!(submitted(&work, "hand-in/QQP.tsv").len(), 3);
        }
    }
}

fn squad(version: &str) -> String {
    let qa = |i: usize, is_impossible: bool| {
        let answers = json!([{"text": "the mat", "answer_start": 11}]);
        let answers = if is_impossible { json!([]) } else { answers };
        json!({"id": format!("q{i}"), "question": "who sat", "answers": answers,
            "is_impossible": is_impossible})
    };
    let is_impossible = |i: usize| version == "v2.0" && i % 2 == 1;
    let paragraph = |p: usize| {
        let qas: Vec<Value> = (2 * p..2 * p + 2).map(|i| qa(i, is_impossible(i))).collect();
        json!({"context": format!("the cat on the mat {p}"), "qas": qas})
    };
    let paragraphs: Vec<Value> = (0..4).map(paragraph).collect();
    json!({"version": version, "data": [{"title": "t", "paragraphs": paragraphs}]}).to_string()
}

#[test]
fn squad_1_writes_its_answers() {
    let work = workplace(&[("train-v1.1.json", squad("1.1")), ("dev-v1.1.json", squad("1.1"))]);
    let run = work.run(
        "finetune --model base --squad 1.1 --data-dir data --output out --device cpu --epochs 1",
    );
    let lines = run.results();
    // 40 of 512 positions: the stride and the question shrink with them.
    assert!(run.stderr.contains("--doc-stride 10 --max-query-length 5"), "{}", run.stderr);
    let done = lines.last().unwrap();
    let metrics = done["metrics"]["dev"].as_object().unwrap();
    assert_eq!(metrics.keys().collect::<Vec<_>>(), ["f1", "exact"]);
    assert_eq!((&done["metric"], &done["f1"]), (&json!("f1"), &metrics["f1"]));
    assert_eq!(done["submission"], json!(["predictions.json"]));
    let answers: Value =
        serde_json::from_slice(&work.read("out/submission/predictions.json")).unwrap();
    let ids: Vec<String> = (0..8).map(|i| format!("q{i}")).collect();
    assert_eq!(answers.as_object().unwrap().keys().cloned().collect::<Vec<_>>(), ids);
    assert!(answers["q0"].as_str().is_some_and(|answer| !answer.is_empty()), "{answers}");
    let evaluated = work.ok("evaluate --model out --squad 1.1 --data-dir data --device cpu");
    assert_eq!(evaluated[0]["metrics"], done["metrics"]["dev"]);
}

#[test]
fn squad_2_says_how_likely_there_is_no_answer() {
    // As the original names them.
    let work = workplace(&[("squad/train.json", squad("v2.0")), ("squad/dev.json", squad("v2.0"))]);
    let lines =
        work.ok("finetune --model base --squad 2.0 --data-dir data --output out --device cpu");
    assert_eq!((&lines[0]["epochs"], &lines[0]["eval_rows"]), (&json!(2.0), &json!(8)));
    let done = lines.last().unwrap();
    assert_eq!(done["submission"], json!(["null_odds.json", "predictions.json"]));
    let read = |name: &str| -> Value {
        serde_json::from_slice(&work.read(&format!("out/submission/{name}"))).unwrap()
    };
    let (answers, odds) = (read("predictions.json"), read("null_odds.json"));
    let config: Value = serde_json::from_slice(&work.read("out/config.json")).unwrap();
    let threshold = config["no_answer_threshold"].as_f64().unwrap();
    for i in 0..8 {
        let id = format!("q{i}");
        let above = odds[&id].as_f64().unwrap() > threshold;
        assert_eq!(answers[&id] == "", above, "{id}: {} {threshold}", odds[&id]);
    }
}

/// Chunks as CoNLL-2000 has them, packed and plain; a tag that only the test file has counts.
#[test]
fn conll2000_is_measured_by_chunks() {
    let sentence = "the DT B-NP\ncat NN I-NP\nsays VBZ B-VP\n. . O\n\n";
    let rare = "it PRP B-NP\n1 CD B-LST\n. . I-LST\n\n";
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(sentence.repeat(6).as_bytes()).unwrap();
    let work = workplace(&[("test.txt", format!("{}{rare}", sentence.repeat(2)))]);
    put(&work, "train.txt.gz", packed.finish().unwrap());
    let lines = finetune(&work, "--conll2000");
    assert_eq!((&lines[0]["task"], &lines[0]["learning_rate"]), (&json!("tagging"), &json!(3e-4)));
    assert_eq!((&lines[0]["eval_rows"], &lines[0]["skipped_count"]), (&json!(3), &json!(0)));
    let done = lines.last().unwrap();
    assert_eq!((&done["metric"], &done["benchmark"]), (&json!("f1"), &json!("conll2000")));
    assert_eq!(done["metrics"], json!({"test": {"f1": done["f1"]}}));
    let types = lines[lines.len() - 2]["entities"]["per_type"].as_array().unwrap();
    let has = |name: &str| types.iter().any(|kind| kind["label"] == name && kind["support"] != 0);
    assert!(has("NP") && has("VP") && has("LST"), "{types:?}");
    let evaluated = evaluate(&work, "--conll2000");
    assert_eq!(
        (&evaluated[0]["metrics"], &evaluated[0]["split"]),
        (&done["metrics"]["test"], &json!("test"))
    );
    // With a development file it chooses, and the test file is measured at the end.
    put(&work, "chunk/dev.txt", sentence.repeat(3));
    let lines = finetune(&work, "--conll2000 --overwrite");
    assert_eq!(lines[0]["eval_rows"], json!(3));
    let done = lines.last().unwrap();
    assert_eq!(done["metrics"]["dev"]["f1"], done["f1"]);
    assert!(done["metrics"]["test"]["f1"].is_number(), "{done}");
}

#[test]
fn what_is_missing_or_wrong_in_the_files_is_told() {
    let work = cola();
    let train = |options: &str| format!("finetune --model base --output out {FAST} {options}");
    let glue = |name: &str| train(&format!("--glue {name} --data-dir data"));
    work.fails(
        &train("--glue cola --data-dir nowhere"),
        &["nowhere", "is no folder", "gluebenchmark.com", "CoLA"],
    );
    work.fails(
        &glue("rte"),
        &[
            "data",
            "no training file of rte",
            "RTE/train.tsv, rte/train.tsv, train.tsv",
            "gluebenchmark.com",
        ],
    );
    work.fails(
        &train("--squad 2.0 --data-dir data"),
        &["no training file of squad 2.0", "train-v2.0.json", "SQuAD-explorer"],
    );
    work.fails(
        &train("--conll2000 --data-dir data"),
        &[
            "no training file of conll2000",
            "chunk/train.txt",
            "train.txt.gz",
            "clips.uantwerpen.be",
        ],
    );
    // The wrong task's file, too few columns, wrong labels.
    put(&work, "SST-2/train.tsv", "text\tlabel\nthe cat\t1\n");
    put(&work, "SST-2/dev.tsv", "sentence\tlabel\nthe cat\t1\n");
    work.fails(
        &glue("sst2"),
        &["SST-2/train.tsv, row 1", "no column \"sentence\" for sst2", "\"text\""],
    );
    put(&work, "SST-2/train.tsv", "sentence\tlabel\nthe cat\tgood\n");
    work.fails(&glue("sst2"), &["SST-2/train.tsv", "unknown label \"good\""]);
    put(&work, "SST-2/train.tsv", "sentence\tlabel\nthe cat\t1\nthe dog\t0\n");
    work.remove("data/SST-2/dev.tsv");
    work.fails(&glue("sst2"), &["no development file of sst2", "SST-2/dev.tsv"]);
    // A test row that cannot be read is told before anything is learned.
    put(&work, "CoLA/test.tsv", "index\tsentence\n0\n");
    let run = work.fails(&glue("cola"), &["CoLA/test.tsv, row 2", "needs every row"]);
    assert_eq!(run.stdout, "");
    put(&work, "train-v1.1.json", squad("v2.0"));
    put(&work, "dev-v1.1.json", squad("1.1"));
    work.fails(
        &train("--squad 1.1 --data-dir data"),
        &["train-v1.1.json", "is SQuAD 2.0, not 1.1", "--squad 2.0"],
    );
    put(&work, "train.txt.gz", "no gzip");
    put(&work, "test.txt", "the DT B-NP\ncat NN I-NP\n");
    work.fails(&train("--conll2000 --data-dir data"), &["train.txt.gz", "gzip", "Get it again"]);
    put(&work, "train.txt", "the DT\ncat NN\n");
    work.fails(&train("--conll2000 --data-dir data"), &["train.txt", "no chunks such as B-NP"]);
}

#[test]
fn what_a_model_is_not_for_is_told() {
    let work = cola();
    finetune(&work, "--glue cola");
    put(&work, "RTE/dev.tsv", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n");
    let evaluate = "evaluate --model out --data-dir data --device cpu";
    work.fails(&format!("{evaluate} --glue rte"), &["out, config.json", "not the labels of rte"]);
    put(&work, "test.txt", "the DT B-NP\ncat NN I-NP\n");
    work.fails(&format!("{evaluate} --conll2000"), &["out", "classification", "tagging"]);
    work.fails("evaluate --model base --data-dir data --glue cola", &["not fine-tuned"]);
    work.remove("data/CoLA/test.tsv");
    work.fails(
        &format!("{evaluate} --glue cola --submission hand-in"),
        &["--submission", "no test file of cola"],
    );
}

#[test]
fn names_that_go_with_nothing_else() {
    let work = cola();
    work.write("data.csv", "label,text\n1,a\n0,b\n");
    let train = "finetune --model base --output out --device cpu";
    work.refuses(
        &format!("{train} --glue colla --data-dir data"),
        &["colla", "Did you mean cola?"],
    );
    work.refuses(&format!("{train} --glue boolq --data-dir data"), &["boolq", "cola, sst2, mrpc"]);
    work.refuses(&format!("{train} --squad 3 --data-dir data"), &["1.1", "2.0"]);
    work.refuses(&format!("{train} --glue cola"), &["--data-dir"]);
    work.refuses(&format!("{train} --data-dir data"), &["--glue"]);
    let named = format!("{train} --glue cola --data-dir data");
    for other in [
        "--train data.csv",
        "--eval data.csv",
        "--task classification",
        "--text-column text",
        "--label-columns a,b",
        "--conll2000",
        "--squad 1.1",
    ] {
        let option = other.split(' ').next().unwrap();
        work.refuses(&format!("{named} {other}"), &["--glue", option]);
    }
    let evaluate = "evaluate --model base --device cpu";
    work.refuses(&format!("{evaluate} --glue cola --data-dir data --data data.csv"), &["--data"]);
    work.refuses(&format!("{evaluate} --data data.csv --submission x"), &["--glue"]);
    work.refuses(evaluate, &["--data"]);
}
