//! Reports of runs of every task, and of what is no run.

use super::*;

fn evaluation(step: usize, accuracy: f64, trial: Option<u64>) -> Value {
    let mut line = json!({
        "event": "evaluation", "step": step, "epoch": 1.0, "loss": 1.0, "accuracy": accuracy,
        "metric": "accuracy", "score": accuracy, "metrics": {"accuracy": accuracy},
        "is_collapsed": accuracy < 0.4,
        "labels": ["a", "b"], "confusion_matrix": [[2, 1], [0, 1]],
        "worst": [{"row": 7, "text": "a secret", "label": "a", "predicted": "b", "score": 0.1}],
    });
    if let Some(trial) = trial {
        (line["trial"], line["seed"]) = (json!(trial), json!(trial - 1));
    }
    line
}

fn of_accuracies(accuracies: &[f64], settings: Value) -> Run {
    let evaluations = accuracies.iter().enumerate();
    let lines = evaluations.map(|(step, accuracy)| evaluation(step, *accuracy, None)).collect();
    Run { lines, settings, versions: Value::Null }
}

#[test]
fn the_evaluation_of_the_kept_weights_counts() {
    let step =
        |settings| report_json(&of_accuracies(&[0.5, 0.7, 0.7, 0.6], settings))["step"].clone();
    assert_eq!(step(Value::Null), 3);
    assert_eq!(step(json!({"keepBest": true})), 1);
    assert_eq!(step(json!({"keepBest": false, "patience": 2})), 1);
}

/// The mean of several tasks may be best where one of them is not.
#[test]
fn a_line_that_says_so_is_the_kept_one() {
    let mut run = of_accuracies(&[0.5, 0.7, 0.6], json!({"keepBest": true}));
    let line = run.lines.iter_mut().find(|line| line["accuracy"] == 0.6).unwrap();
    line["kept"] = json!(true);
    assert_eq!(report_json(&run)["score"], 0.6);
}

#[test]
fn texts_of_the_data_are_on_the_page_only() {
    let mut run = of_accuracies(&[0.5], Value::Null);
    let skipped = json!([{"row": 3, "reason": "its answer \"a secret\" is not there"}]);
    run.lines.push(json!({"event": "plan", "task": "classification", "skipped": &skipped}));
    let report = report_json(&run);
    assert_eq!(report["evaluation"]["worst"], json!([{"row": 7, "score": 0.1}]));
    assert_eq!(report["plan"]["skipped"], json!([{"row": 3}]));
    assert!(!report.to_string().contains("secret"));
    let data = data_of(&report_html(&run));
    assert_eq!(data["evaluation"]["worst"][0]["text"], "a secret");
    assert_eq!(data["plan"]["skipped"], skipped);
}

#[test]
fn trials_are_told_apart_and_steps_are_those_of_the_kept_one() {
    let step = |loss: f64, trial: Option<u64>| {
        let mut line =
            json!({"step": 1, "learning_rate": 0.1, "losses": [{"step": 1, "loss": loss}]});
        if let Some(trial) = trial {
            line["trial"] = json!(trial);
        }
        line
    };
    let done = json!({
        "event": "done", "metric": "accuracy", "accuracy": 0.9, "trial": 1, "seed": 0,
        "median": 0.6, "mean": 0.6, "std": 0.4,
    });
    let lines = vec![
        step(3.0, Some(1)),
        evaluation(1, 0.9, Some(1)),
        step(4.0, Some(2)),
        evaluation(1, 0.3, Some(2)),
        step(5.0, None),
        done,
    ];
    let run = Run { lines, ..Run::default() };
    let report = report_json(&run);
    assert_eq!(report["curves"]["loss"], json!([[1, 3.0], [1, 5.0]]));
    let told = |key: &str| -> Vec<Value> {
        list(&report["trials"]).iter().map(|trial| trial[key].clone()).collect()
    };
    assert_eq!(told("score"), [json!(0.9), json!(0.3)]);
    assert_eq!(
        (told("kept"), told("seed")),
        (vec![json!(true), json!(false)], vec![json!(0), json!(1)])
    );
    assert_eq!([&report["median"], &report["mean"], &report["std"]], [0.6, 0.6, 0.4]);
}

#[test]
fn a_line_says_its_score_and_whether_it_is_one() {
    let report = report_json(&of_accuracies(&[0.5, 0.3], Value::Null));
    assert_eq!((&report["metric"], &report["score"]), (&json!("accuracy"), &json!(0.3)));
    assert_eq!(report["collapsed"], true);
    let mut run = of_accuracies(&[0.5], Value::Null);
    (run.lines[0]["metrics"]["accuracy"], run.lines[0]["score"]) = (Value::Null, json!(0.0));
    let report = report_json(&run);
    assert_eq!((&report["score"], &report["collapsed"]), (&Value::Null, &json!(false)));
}

#[test]
fn nothing_at_all_is_a_report_too() {
    let html = report_html(&Run::default());
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>\n"));
    assert_eq!(data_of(&html)["evaluation"], Value::Null);
    assert_eq!(report_json(&Run::default())["trials"], json!([]));
}

/// What stands between the tags of the data, as the browser reads it.
fn data_of(html: &str) -> Value {
    let (_, rest) = html.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn no_row_ends_the_element_it_stands_in() {
    let nasty =
        ["</script><script>alert(1)</script>", "<!-- <script>", "]]>", "\u{2028}\0 &lt; \\"];
    let worst: Vec<Value> = nasty.iter().map(|text| json!({"row": 1, "text": text})).collect();
    let mut run = of_accuracies(&[0.5], json!({"command": nasty[0], "train": nasty[1]}));
    run.lines[0]["worst"] = json!(worst);
    run.lines.push(json!({"event": "plan", "task": nasty[0], "notes": nasty}));
    run.lines.push(json!({"event": "done", "metric": nasty[1], nasty[1]: nasty[0]}));
    let html = report_html(&run);
    let data = data_of(&html);
    assert_eq!(data["evaluation"]["worst"], json!(worst));
    assert_eq!(data["plan"]["notes"], json!(nasty));
    assert_eq!(data["settings"], run.settings);
    assert_eq!(html.matches("<script").count(), 2);
    assert_eq!(html.matches("</script").count(), 2);
    assert!(!html.contains("<!--"));
}

/// The numbers are there where no script runs.
#[test]
fn the_score_is_there_without_a_script() {
    let html = report_html(&of_accuracies(&[0.5], Value::Null));
    let (_, rest) = html.split_once("<main id=\"main\">").unwrap();
    assert!(rest.split_once("</main>").unwrap().0.contains("<p>accuracy: 0.5</p>"));
}

/// Nothing is fetched, and nothing runs but the script and the style whose hashes are named.
#[test]
fn the_policy_is_that_of_what_is_in_the_file() {
    use base64::prelude::{BASE64_STANDARD, Engine};
    use sha2::{Digest, Sha256};
    let html = report_html(&of_accuracies(&[0.5], Value::Null));
    let (_, rest) = html.split_once("Content-Security-Policy\" content=\"").unwrap();
    let (policy, _) = rest.split_once('"').unwrap();
    let between = |open: &str, close: &str| {
        let text = html.split_once(open).unwrap().1.split_once(close).unwrap().0;
        format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)))
    };
    let script = between("<script type=\"module\">", "</script>");
    let style = between("<style>", "</style>");
    assert_eq!(
        policy,
        format!(
            "default-src 'none'; script-src {script}; style-src {style}; base-uri 'none'; \
             form-action 'none'"
        )
    );
    assert_eq!(html.matches(" src=").count() + html.matches(" href=").count(), 0);
    assert!(!html.contains(" style="));
}

#[test]
fn any_field_may_be_missing_or_of_another_kind() {
    let whole = json!([
        {"event": "plan", "task": "tagging", "train_rows": 1,
         "labels": [{"label": "a", "count": 2}],
         "skipped": [{"row": 1, "reason": "r"}], "skipped_count": 1, "notes": ["n"], "steps": 3,
         "baseline": {"metric": "accuracy", "score": 0.5, "answer": "always"}},
        {"step": 1, "learning_rate": 0.1, "losses": [{"step": 1, "loss": 0.5, "grad_norm": 1.0}]},
        {"event": "evaluation", "step": 1, "epoch": 1.0, "trial": 1, "seed": 0, "loss": 0.1,
         "metric": "accuracy", "score": 0.5, "metrics": {"accuracy": 0.5}, "is_collapsed": false,
         "tags": {"accuracy": 0.5, "labels": ["a"], "confusion_matrix": [[1]],
                  "per_class": [{"label": "a", "f1": 0.5}]},
         "entities": {"micro": {"f1": 0.5}, "per_type": [{"label": "a"}]},
         "per_label": [{"label": "a"}], "micro": {"f1": 1.0}, "points": [[1.0, 2.0]],
         "all": {"exact": 1.0, "f1": 1.0, "total": 3}, "best_f1": 1.0, "no_answer_threshold": 0.1,
         "curve": [{"precision": 1.0, "recall": 0.5}], "accuracy": 0.5,
         "worst": [{"row": 1, "words": ["a"], "labels": ["b"], "predicted": ["c"]}]},
        {"event": "done", "metric": "accuracy", "accuracy": 0.5, "trial": 1, "median": 0.5}
    ]);
    let mut paths = Vec::new();
    collect_paths(&whole, String::new(), &mut paths);
    assert!(paths.len() > 60);
    let others =
        [json!(null), json!("<script>"), json!(-1e308), json!([]), json!({}), json!([[[1]]])];
    for path in &paths {
        for other in &others {
            let mut lines = whole.clone();
            if let Some(value) = lines.pointer_mut(path) {
                *value = other.clone();
            }
            let settings = other.clone();
            let run = Run { lines: list(&lines).to_vec(), settings, versions: other.clone() };
            let data = data_of(&report_html(&run));
            assert_eq!(data["settings"], run.settings, "{other} at {path}");
        }
    }
}

fn collect_paths(value: &Value, path: String, paths: &mut Vec<String>) {
    match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(i, item)| collect_paths(item, format!("{path}/{i}"), paths)),
        Value::Object(fields) => fields
            .iter()
            .for_each(|(key, item)| collect_paths(item, format!("{path}/{key}"), paths)),
        _ => {}
    }
    paths.push(path);
}
