//! Files as people have them (`fixtures/cases/`), from the file to a model and its scores.

use serde_json::Value;

use crate::workplace::{FAST, Workplace};

/// The base model, and a file of the cases under its own name.
fn with_case(name: &str) -> (Workplace, String) {
    let work = Workplace::with_model_and_data();
    let own = name.rsplit('/').next().unwrap().to_string();
    work.write(&own, case(name));
    (work, own)
}

fn case(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/cases");
    std::fs::read(format!("{folder}/{name}")).unwrap()
}

/// The plan of a fine-tuning, and what was said on stderr.
fn plan_of(work: &Workplace, file: &str, options: &str) -> (Value, String) {
    let run = work.run(&format!(
        "finetune --model base --train {file} --output out --overwrite {FAST} {options}"
    ));
    (run.results()[0].clone(), run.stderr)
}

fn rows(plan: &Value) -> u64 {
    plan["train_rows"].as_u64().unwrap() + plan["eval_rows"].as_u64().unwrap()
}

#[test]
fn tables_of_words_are_tagged_and_said_to_be() {
    for (name, sentences) in [
        ("02-ner-csv/ner.csv", 16),
        ("02-ner-csv/ner_dataset.csv", 16),
        ("04-germeval/NER-de-train.tsv", 16),
        ("11-koelectra-naver-ner/train.tsv", 20),
        ("11-koelectra-naver-ner/unlike.tsv", 40),
    ] {
        let (work, file) = with_case(name);
        for options in ["", "--task tagging"] {
            let (plan, stderr) = plan_of(&work, &file, options);
            assert_eq!((&plan["task"], rows(&plan)), (&"tagging".into(), sentences), "{name}");
            assert!(stderr.contains("--tag-column"), "{name}: {stderr}");
            let guess = stderr.contains("note: the task is taken to be tagging");
            assert_eq!(guess, options.is_empty(), "{name}: {stderr}");
        }
    }
}

#[test]
fn another_column_of_tags_may_be_named() {
    let (work, file) = with_case("04-germeval/NER-de-train.tsv");
    let labels = |options: &str| plan_of(&work, &file, options).0["labels"].clone();
    assert_ne!(labels(""), labels("--tag-column 4"));
    let train = format!("finetune --model base --train {file} --output new {FAST}");
    work.fails(&format!("{train} --tag-column 7"), &[&file, "no column \"7\"", "from 1 to 4"]);
}

#[test]
fn words_without_ends_of_sentences_are_refused() {
    let work = Workplace::with_model_and_data();
    work.write("words.csv", "word,tag\nthe,O\ncat,B-X\nsays,O\nmeow,O\n".repeat(4));
    let train = format!("finetune --model base --train words.csv --output out {FAST}");
    work.fails(&train, &["words.csv", "where a sentence ends", "--task"]);
    work.fails(&format!("{train} --task tagging"), &["words.csv", "Add a column sentence_id"]);
}

#[test]
fn a_guess_is_said_with_its_reason() {
    let work = Workplace::with_model_and_data();
    let (plan, stderr) = plan_of(&work, "data.csv", "");
    let note = "the task is taken to be classification: column \"label\" holds 2 values in 24 rows; \
                the text is in \"text\"; --task for another";
    assert!(stderr.contains(note), "{stderr}");
    assert!(plan["notes"].as_array().unwrap().contains(&note.into()));
    let (plan, stderr) = plan_of(&work, "data.csv", "--task classification");
    assert!(!stderr.contains("taken to be") && plan["unknown_tokens"] == 0.0, "{stderr}");
}

#[test]
fn questions_with_an_empty_answer_have_none() {
    for name in ["minus1", "zero"] {
        let (work, file) = with_case(&format!("05-squad-empty-answers/{name}.json"));
        work.bundled_model("tiny");
        let train = format!(
            "finetune --model tiny --train {file} --eval {file} --output out --device cpu --epochs 1"
        );
        let plan = &work.ok(&train)[0];
        assert_eq!((&plan["train_rows"], &plan["skipped"]), (&12.into(), &Value::Array(vec![])));
        let data = format!("evaluate --model out --data {file} --device cpu");
        let scores = &work.ok(&data)[0];
        assert_eq!(scores["skipped"], 0);
        let text = scores.to_string();
        assert!(text.contains("no_answer"), "{text}");
    }
}

#[test]
fn entities_are_found_whichever_comes_first_in_a_tag() {
    let scores = |name: &str| {
        let (work, file) = with_case(&format!("22-suffix-tags/{name}.conll"));
        work.ok(&format!("finetune --model base --train {file} --output out {FAST}"));
        let line = work.ok(&format!("evaluate --model out --data {file} --device cpu"));
        line[0]["entities"].clone()
    };
    let (prefix, suffix) = (scores("prefix"), scores("suffix"));
    assert!(prefix["micro"].is_object(), "{prefix}");
    // The heads differ in the order of their labels, so the trained ones may differ a little.
    assert_eq!(prefix["micro"]["support"], suffix["micro"]["support"]);
    let types = |scores: &Value| -> Vec<(Value, Value)> {
        let types = scores["per_type"].as_array().unwrap().iter();
        types.map(|kind| (kind["label"].clone(), kind["support"].clone())).collect()
    };
    assert_eq!(types(&prefix), types(&suffix));
}

#[test]
fn texts_that_a_vocabulary_does_not_know_are_said() {
    let work = Workplace::with_model_and_data();
    let strange: String =
        (0..12).map(|i| format!("{},日本 語 cat\n", ["cat", "dog"][i % 2])).collect();
    work.write("strange.csv", format!("label,text\n{strange}"));
    let (plan, stderr) = plan_of(&work, "strange.csv", "");
    assert_eq!(plan["unknown_tokens"], 0.75, "{plan}");
    assert!(stderr.contains("note: 75 % of the tokens are [UNK]"), "{stderr}");
}

#[test]
fn tokens_of_added_tokens_json_keep_their_ids_and_are_exported() {
    let work = Workplace::new();
    work.bundled_model("base");
    work.remove("base/tokenizer.json");
    work.remove("base/tokenizer_config.json");
    let list = "{\"[WORLD]\": 8000, \"<user>\": 8001}";
    work.write("base/added_tokens.json", list);
    let line = &work.ok_on("Hello [WORLD] <user>\n", "tokenize --model base")[0];
    let ids = line["input_ids"].as_array().unwrap();
    assert_eq!(&ids[ids.len() - 3..ids.len() - 1], [8000, 8001], "{line}");
    work.ok("convert --from base --to copy");
    assert_eq!(work.read("copy/added_tokens.json"), list.as_bytes());
    assert_eq!(&work.ok_on("Hello [WORLD] <user>\n", "tokenize --model copy")[0], line);
}
