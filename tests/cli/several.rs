//! `finetune` on several tasks at once, which share a body.

use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::pretrain::{lines, of_event, start, wait_until};
use crate::resume::lines_so_far;
use crate::workplace::{Workplace, csv};

const RUN: &str = "finetune --model base --device cpu --batch-size 4 --max-seq-length 24 \
    --dropout 0.1 --learning-rate 1e-3";

/// With data for every task: 24 texts, 12 sentences, 18 questions, 12 scores.
fn workplace() -> Workplace {
    let work = Workplace::with_model_and_data();
    work.write("animals.csv", csv(24));
    work.write("pets.conll", "the O\ncat B-PET\ndog I-PET\n\nthe O\ndog B-PET\n\n".repeat(6));
    let question = |i: usize| {
        let animal = ["cat", "dog"][i % 2];
        json!({"question": "who says", "context": format!("the {animal} says yes"),
            "answers": [{"text": animal, "answer_start": 4}]})
    };
    let questions: String = (0..18).map(|i| format!("{}\n", question(i))).collect();
    work.write("questions.jsonl", questions);
    let scores: String = (0..12).map(|i| format!("the cat {i},{i}.5\n")).collect();
    work.write("scores.csv", format!("sentence,score\n{scores}"));
    work
}

fn json_of(work: &Workplace, name: &str) -> Value {
    serde_json::from_slice(&work.read(name)).unwrap()
}

/// The bytes of a tensor of a model.
fn tensor(work: &Workplace, model: &str, name: &str) -> Vec<u8> {
    let bytes = work.read(&format!("{model}/model.safetensors"));
    SafeTensors::deserialize(&bytes).unwrap().tensor(name).unwrap().data().to_vec()
}

const TWO: &str = "--task classification --train animals.csv --task tagging --train pets.conll";

#[test]
fn two_tasks_share_a_body() {
    let work = workplace();
    let printed = work.ok(&format!("{RUN} {TWO} --epochs 2 --output out"));
    let plans = of_event(&printed, "plan");
    assert_eq!(
        (&plans[0]["name"], &plans[0]["task"]),
        (&json!("animals"), &json!("classification"))
    );
    assert_eq!((&plans[1]["name"], &plans[1]["task"]), (&json!("pets"), &json!("tagging")));
    // 20 texts and 10 sentences in batches of four: 5 and 3.
    assert!(plans.iter().all(|plan| plan["steps"] == 16 && plan["steps_per_epoch"] == 8));
    let names: Vec<_> =
        of_event(&printed, "evaluation").iter().map(|line| line["name"].clone()).collect();
    assert_eq!(names, ["animals", "pets"].repeat(3));
    let done = printed.last().unwrap();
    let scores = [&done["tasks"]["animals"]["accuracy"], &done["tasks"]["pets"]["f1"]];
    let [a, b] = scores.map(|score| score.as_f64().unwrap_or_else(|| panic!("{done}")));
    assert_eq!(
        (&done["metric"], &done["mean_score"]),
        (&json!("mean_score"), &json!((a + b) / 2.0))
    );
    let steps = lines(&work, "out/metrics.jsonl");
    let turns = steps.iter().filter_map(|line| line["names"][0].as_str());
    assert_eq!(turns.clone().filter(|name| *name == "animals").count(), 10);
    assert_eq!(turns.filter(|name| *name == "pets").count(), 6);

    let body = "electra.encoder.layer.0.output.dense.weight";
    assert_eq!(tensor(&work, "out/animals", body), tensor(&work, "out/pets", body));
    assert_ne!(tensor(&work, "out/animals", body), tensor(&work, "base", body));
    let class =
        |model: &str| json_of(&work, &format!("out/{model}/config.json"))["architectures"].clone();
    assert_eq!(class("animals"), json!(["ElectraForSequenceClassification"]));
    assert_eq!(class("pets"), json!(["ElectraForTokenClassification"]));
}

/// What the run says of each model is what that model does.
#[test]
fn each_model_stands_alone() {
    let work = workplace();
    let eval = "--eval animals.csv --eval pets.conll";
    let printed = work.ok(&format!("{RUN} {TWO} {eval} --epochs 3 --keep-best --output out"));
    let done = printed.last().unwrap();
    for (name, file, metric, field) in [
        ("animals", "animals.csv", "accuracy", "/accuracy"),
        ("pets", "pets.conll", "f1", "/entities/micro/f1"),
    ] {
        let evaluated = work.ok(&format!("evaluate --model out/{name} --data {file} --device cpu"));
        let score = evaluated[0].pointer(field).unwrap_or_else(|| panic!("{}", evaluated[0]));
        assert_eq!(done["tasks"][name][metric], *score);
        let report = json_of(&work, &format!("out/{name}/report.json"));
        assert_eq!((&report["metric"], &report["score"]), (&json!(metric), score));
        assert_eq!(report["plan"]["name"], name);
        assert!(work.path(&format!("out/{name}/report.html")).is_file());
        work.ok_on("the cat says\n", &format!("predict --model out/{name} --device cpu"));
    }
}

#[test]
fn any_number_of_any_tasks() {
    let work = workplace();
    let files = "--train animals.csv --train pets.conll --train questions.jsonl --train scores.csv";
    let printed =
        work.ok(&format!("{RUN} {files} --epochs 1 --accumulate 2 --doc-stride 8 --output out"));
    let kinds: Vec<_> =
        of_event(&printed, "plan").iter().map(|plan| plan["task"].clone()).collect();
    assert_eq!(kinds, ["classification", "tagging", "question-answering", "regression"]);
    let tasks = printed.last().unwrap()["tasks"].as_object().unwrap();
    assert_eq!(tasks.keys().collect::<Vec<_>>(), ["animals", "pets", "questions", "scores"]);
    for name in tasks.keys() {
        let question = "{\"question\":\"who says\",\"context\":\"the cat says\"}\n";
        let input = if name == "questions" { question } else { "the cat says\n" };
        work.ok_on(input, &format!("predict --model out/{name} --device cpu"));
    }
}

#[test]
fn two_files_of_one_name_and_one_task() {
    let work = workplace();
    std::fs::create_dir(work.path("other")).unwrap();
    work.write("other/animals.csv", csv(16));
    let files = "--train animals.csv --train other/animals.csv";
    work.ok(&format!("{RUN} {files} --epochs 1 --output out"));
    let body = "electra.encoder.layer.0.output.dense.weight";
    assert_eq!(tensor(&work, "out/animals", body), tensor(&work, "out/animals-2", body));
    let head = "classifier.dense.weight";
    assert_ne!(tensor(&work, "out/animals", head), tensor(&work, "out/animals-2", head));
}

#[test]
fn an_output_folder_is_written_into() {
    let work = workplace();
    std::fs::create_dir(work.path("out")).unwrap();
    work.write("out/notes.txt", "mine");
    work.ok(&format!("{RUN} {TWO} --epochs 1 --output out --overwrite"));
    assert_eq!(work.read("out/notes.txt"), b"mine");
    assert!(work.path("out/pets/config.json").is_file());
}

#[test]
fn trials_of_several_tasks() {
    let work = workplace();
    let printed = work.ok(&format!("{RUN} {TWO} --epochs 1 --trials 2 --output out"));
    let done = printed.last().unwrap();
    assert_eq!(done["scores"].as_array().unwrap().len(), 2);
    let report = json_of(&work, "out/pets/report.json");
    assert_eq!(report["trials"].as_array().unwrap().len(), 2);
    assert_eq!(report["score"], done["tasks"]["pets"]["f1"]);
}

#[test]
fn several_tasks_go_on_after_a_kill() {
    let work = workplace();
    let run = format!("{RUN} {TWO} --epochs 4 --keep-best --eval-every 3");
    work.ok(&format!("{run} --output whole"));
    let mut child = start(&work, &format!("{run} --output run --save-every 1"));
    wait_until("some checkpoints", || {
        let lines = lines_so_far(&work);
        lines.iter().filter(|line| line.contains("\"checkpoint\"")).count() > 4
            || child.try_wait().unwrap().is_some()
    });
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "the run was over before it was killed");
    work.ok(&format!("{run} --output run --save-every 1 --resume"));
    for name in ["metrics.jsonl", "animals/model.safetensors", "pets/model.safetensors"] {
        let read = |folder: &str| work.read(&format!("{folder}/{name}"));
        assert!(read("run") == read("whole"), "{name}");
    }
}

#[test]
fn files_and_tasks_must_belong_together() {
    let work = workplace();
    let refuses = |options: &str, words: &[&str]| {
        work.refuses(&format!("{RUN} {options} --output out"), words);
    };
    let each = "give one for each";
    refuses("--train animals.csv --task tagging --task tagging", &["2 --task for 1 --train", each]);
    refuses(&format!("{TWO} --train scores.csv"), &["2 --task for 3 --train", each]);
    refuses(&format!("{TWO} --eval animals.csv"), &["1 --eval for 2 --train", each]);
    refuses("--task tagging", &["--train"]);
}

#[test]
fn an_error_names_the_file_of_its_task() {
    let work = workplace();
    let fails = |options: &str, words: &[&str]| {
        work.fails(&format!("{RUN} {options} --output out"), words);
    };
    fails("--train animals.csv --train none.csv", &["none.csv", "cannot be read"]);
    work.write("empty.conll", "");
    fails("--train animals.csv --train empty.conll", &["empty.conll"]);
    work.write("odd.csv", "label,text\nx,the cat\n");
    fails("--train animals.csv --train odd.csv", &["odd.csv"]);
    work.write("small.csv", "text,label\nthe cat,x\nthe dog,y\n");
    fails(
        "--train pets.conll --train animals.csv --eval pets.conll --eval small.csv",
        &["small.csv"],
    );
}
