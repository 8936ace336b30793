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
    run.lines.push(json!({"event": "plan", "task": "classification", "skipped": skipped}));
    let report = report_json(&run);
    assert_eq!(report["evaluation"]["worst"], json!([{"row": 7, "score": 0.1}]));
    assert_eq!(report["plan"]["skipped"], json!([{"row": 3}]));
    assert!(!report.to_string().contains("secret"));
    let html = report_html(&run);
    assert_eq!(html.matches("a secret").count(), 2);
    assert!(html.contains("holds rows of your data"));
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
    let html = report_html(&run).replace('\u{a0}', " ");
    let spread = "Median <b>60.0 %</b>, mean <b>60.0 %</b>, standard deviation <b>40.0 %</b>";
    assert!(html.contains(spread) && html.contains("The best of 2 trials"));
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
    assert!(report_html(&run).contains("not defined here"));
}

#[test]
fn every_task_shows_its_own() {
    let page = |task: &str, metric: &str, score: f64, mut evaluation: Value| {
        evaluation["event"] = json!("evaluation");
        evaluation["metric"] = json!(metric);
        evaluation["metrics"] = json!({metric: score});
        let plan = json!({"event": "plan", "task": task, "majority_accuracy": null});
        let done = json!({"event": "done", "metric": metric});
        let lines = vec![plan, evaluation, done];
        report_html(&Run { lines, ..Run::default() }).replace('\u{a0}', " ")
    };
    let scores = json!({"label": "a", "precision": 0.4, "recall": 0.6, "f1": 0.48, "support": 5});
    let classes = json!({
        "accuracy": 0.75, "mcc": 0.5, "labels": ["a", "b"], "confusion_matrix": [[2, 1], [0, 1]],
        "per_class": [scores],
    });
    let tags = json!({"tags": classes, "entities": {"micro": scores, "per_type": [scores]}});
    let several = json!({"micro": scores, "per_label": [scores], "subset_accuracy": 0.3});
    let numbers = json!({"pearson": 0.5, "mse": 2.0, "points": [[1.0, 2.0], [3.0, 3.0]]});
    let part = json!({"exact": 20.0, "f1": 30.0, "total": 7});
    let answers = json!({
        "all": part, "has_ans": part, "no_ans": null, "best_exact": 25.0, "best_f1": 35.0,
        "no_answer_threshold": -1.5, "curve": [{"precision": 1.0, "recall": 0.5}],
    });
    let table = "<td>40.0 %</td><td>60.0 %</td><td>48.0 %</td>";
    for (html, marks) in [
        (
            page("classification", "accuracy", 0.75, classes.clone()),
            &["Classification: accuracy 75.0 %", "3 of 4 are on the diagonal", "heat right", table]
                [..],
        ),
        (
            page("tagging", "f1", 0.48, tags),
            &[
                "Tagging: F1 48.0 %",
                "Entities: precision",
                "all (micro)",
                "accuracy of the tags 75.0 %",
            ],
        ),
        (
            page("multi-label", "micro_f1", 0.48, several),
            &[
                "Multi-label classification: micro F1 48.0 %",
                "all (micro)",
                "row right 30.0 %",
                table,
            ],
        ),
        (
            page("regression", "pearson", 0.5, numbers),
            &[
                "Regression: Pearson correlation 0.5",
                "<title id=\"scatter-title\">",
                "squared error 2",
            ],
        ),
        (
            page("question-answering", "f1", 0.35, answers),
            &[
                "answering: F1 35.0 %",
                "With an answer",
                "<b>−1.5</b>",
                "<title id=\"curve-title\">",
            ],
        ),
    ] {
        for mark in marks {
            assert!(html.contains(mark), "{mark}: {html}");
        }
    }
}

#[test]
fn nothing_at_all_is_a_report_too() {
    let html = report_html(&Run::default());
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>\n"));
    assert!(!html.contains("<svg") && !html.contains("<section"));
    assert_eq!(report_json(&Run::default())["trials"], json!([]));
}

#[test]
fn any_field_may_be_missing_or_of_another_kind() {
    let whole = json!([
        {"event": "plan", "task": "tagging", "train_rows": 1,
         "labels": [{"label": "a", "count": 2}],
         "skipped": [{"row": 1, "reason": "r"}], "skipped_count": 1, "notes": ["n"], "steps": 3,
         "majority_accuracy": 0.5},
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
            let html = report_html(&run);
            for bad in ["NaN", "inf\"", "<script", "inf\u{a0}"] {
                assert!(!html.contains(bad), "{bad} with {other} at {path}");
            }
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

/// Everything that is opened is closed, in every part of a page of all tasks at once.
#[test]
fn tags_are_balanced() {
    let mut line = evaluation(3, 0.5, Some(1));
    line["points"] = json!([[1.0, 2.0], [2.0, 1.0]]);
    line["entities"] = json!({"micro": {"f1": 0.5}, "per_type": [{"label": "PER", "f1": 0.5}]});
    line["worst"] = json!([
        {"row": 1, "words": ["a", "b"], "labels": ["O", "B-X"], "predicted": ["B-X", "B-X"]},
        {"question": "q", "golds": [], "predicted": "", "f1": 0.0}, {}, {}, {}, {}, {}, {},
    ]);
    let plan = json!({"event": "plan", "labels": [{"label": "a", "count": 1}], "notes": ["n"],
        "skipped": [{"row": 1, "reason": "r"}]});
    let lines = vec![plan, evaluation(3, 0.4, Some(2)), line];
    let run = Run { lines, settings: json!({"command": "c", "a": 1}), versions: json!({"b": 2}) };
    let html = report_html(&run);
    for tag in [
        "a", "b", "p", "li", "ol", "dl", "dd", "dt", "div", "svg", "table", "tr", "th", "td",
        "section", "figure", "details", "summary", "span", "small", "bdi", "text", "circle",
        "main",
    ] {
        let opened =
            html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    assert_eq!(html.matches("http://").count() + html.matches("https://").count(), 0);
    assert_eq!(html.matches("src=").count() + html.matches("href=").count(), 0);
}
