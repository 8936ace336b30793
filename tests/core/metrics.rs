//! The metrics against scikit-learn, SciPy, seqeval and SQuAD's official scripts: every case of
//! `fixtures/generate_metrics.py` and `fixtures/generate_task_metrics.py`.

use std::collections::HashMap;

use electra::metrics::{
    Answered, ClassScores, PrecisionRecall, SquadScores, classification_report, entities, f1_curve,
    multi_label_report, normalize_answer, regression_report, squad_v1_report, squad_v2_report,
    tagging_report,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::fixture;

#[track_caller]
fn assert_close(got: f64, expected: f64, what: &str) {
    let off = (got - expected).abs() / expected.abs().max(1.0);
    assert!(off < 1e-12, "{what}: {got} instead of {expected}");
}

fn parsed<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&fixture(name)).unwrap()
}

/// One group of `task_metrics_cases.json`.
fn cases<T: DeserializeOwned>(group: &str) -> Vec<T> {
    let mut file: HashMap<String, serde_json::Value> = parsed("task_metrics_cases.json");
    let cases: Vec<T> = serde_json::from_value(file.remove(group).unwrap()).unwrap();
    assert!(cases.len() >= 200, "{group}");
    cases
}

#[derive(Deserialize)]
struct Classification {
    cases: Vec<ClassificationCase>,
}

#[derive(Deserialize)]
struct ClassificationCase {
    name: String,
    labels: usize,
    targets: Vec<usize>,
    predicted: Vec<usize>,
    accuracy: f64,
    macro_f1: f64,
    mcc: f64,
    precision: Vec<f64>,
    recall: Vec<f64>,
    f1: Vec<f64>,
    support: Vec<usize>,
    confusion_matrix: Vec<Vec<usize>>,
}

#[test]
fn every_score_equals_scikit_learn() {
    let Classification { cases } = parsed("metrics_cases.json");
    assert!(cases.len() >= 200);
    for case in cases {
        let labels: Vec<_> = (0..case.labels).map(|label| label.to_string()).collect();
        let report = classification_report(&case.targets, &case.predicted, &labels);
        assert_close(report.accuracy, case.accuracy, &format!("{}: accuracy", case.name));
        assert_close(report.macro_f1, case.macro_f1, &format!("{}: macro F1", case.name));
        assert_close(report.mcc, case.mcc, &format!("{}: MCC", case.name));
        assert_eq!(report.confusion_matrix, case.confusion_matrix, "{}", case.name);
        for (label, scores) in report.per_class.iter().enumerate() {
            let what = format!("{}, label {label}", case.name);
            assert_close(scores.precision, case.precision[label], &what);
            assert_close(scores.recall, case.recall[label], &what);
            assert_close(scores.f1, case.f1[label], &what);
            assert_eq!(scores.support, case.support[label], "{what}");
        }
    }
}

#[derive(Deserialize)]
struct RegressionCase {
    name: String,
    targets: Vec<f64>,
    predicted: Vec<f64>,
    pearson: Option<f64>,
    spearman: Option<f64>,
    mse: f64,
    mae: f64,
}

#[test]
fn correlations_and_errors_equal_scipy_and_scikit_learn() {
    for case in cases::<RegressionCase>("regression") {
        let report = regression_report(&case.targets, &case.predicted);
        assert_close(report.mse, case.mse, &format!("{}: MSE", case.name));
        assert_close(report.mae, case.mae, &format!("{}: MAE", case.name));
        let correlations = [(report.pearson, case.pearson), (report.spearman, case.spearman)];
        for (got, expected) in correlations {
            assert_eq!(got.is_some(), expected.is_some(), "{}: {got:?}", case.name);
            assert_close(got.unwrap_or(0.0), expected.unwrap_or(0.0), &case.name);
        }
    }
}

/// Precision, recall, F1 and support.
type Scores = (f64, f64, f64, usize);

#[track_caller]
fn assert_scores(got: &[ClassScores], expected: &[Scores], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        let what = format!("{what}, {}", got.label);
        assert_close(got.precision, expected.0, &what);
        assert_close(got.recall, expected.1, &what);
        assert_close(got.f1, expected.2, &what);
        assert_eq!(got.support, expected.3, "{what}");
    }
}

#[track_caller]
fn assert_micro(got: &ClassScores, expected: [f64; 3], what: &str) {
    assert_close(got.precision, expected[0], &format!("{what}: micro precision"));
    assert_close(got.recall, expected[1], &format!("{what}: micro recall"));
    assert_close(got.f1, expected[2], &format!("{what}: micro F1"));
}

#[derive(Deserialize)]
struct MultiLabelCase {
    name: String,
    /// A 0 or 1 a label.
    targets: Vec<String>,
    predicted: Vec<String>,
    micro: [f64; 3],
    macro_f1: f64,
    subset_accuracy: f64,
    per_label: Vec<Scores>,
}

#[test]
fn scores_of_label_sets_equal_scikit_learn() {
    let rows = |rows: &[String]| -> Vec<Vec<bool>> {
        rows.iter().map(|row| row.chars().map(|c| c == '1').collect()).collect()
    };
    for case in cases::<MultiLabelCase>("multi_label") {
        let labels: Vec<_> = (0..case.per_label.len()).map(|label| label.to_string()).collect();
        let report = multi_label_report(&rows(&case.targets), &rows(&case.predicted), &labels);
        assert_micro(&report.micro, case.micro, &case.name);
        assert_close(report.macro_f1, case.macro_f1, &format!("{}: macro F1", case.name));
        assert_close(report.subset_accuracy, case.subset_accuracy, &case.name);
        assert_scores(&report.per_label, &case.per_label, &case.name);
    }
}

#[derive(Deserialize)]
struct TaggingCase {
    name: String,
    labels: Vec<String>,
    targets: Vec<Vec<usize>>,
    predicted: Vec<Vec<usize>>,
    /// Of every target sentence.
    entities: Vec<Vec<(String, usize, usize)>>,
    accuracy: f64,
    micro: [f64; 3],
    macro_f1: f64,
    types: Vec<String>,
    per_type: Vec<Scores>,
}

#[test]
fn entities_and_their_scores_equal_seqeval() {
    for case in cases::<TaggingCase>("tagging") {
        for (sentence, expected) in case.targets.iter().zip(&case.entities) {
            let tags: Vec<_> = sentence.iter().map(|tag| case.labels[*tag].as_str()).collect();
            let found: Vec<_> =
                entities(&tags).into_iter().map(|e| (e.kind, e.start, e.end)).collect();
            assert_eq!(&found, expected, "{}: {tags:?}", case.name);
        }
        let report = tagging_report(&case.targets, &case.predicted, &case.labels);
        assert_close(report.tags.accuracy, case.accuracy, &format!("{}: accuracy", case.name));
        let entities = report.entities.expect("labels of entities");
        let types: Vec<_> = entities.per_type.iter().map(|scores| &scores.label).collect();
        assert_eq!(types, case.types.iter().collect::<Vec<_>>(), "{}", case.name);
        assert_micro(&entities.micro, case.micro, &case.name);
        assert_close(entities.macro_f1, case.macro_f1, &format!("{}: macro F1", case.name));
        assert_scores(&entities.per_type, &case.per_type, &case.name);
    }
}

#[test]
fn answers_are_normalized_as_by_the_official_scripts() {
    for (text, expected) in cases::<(String, String)>("normalize") {
        assert_eq!(normalize_answer(&text), expected, "{text:?}");
    }
}

#[derive(Deserialize)]
struct SquadV1Case {
    name: String,
    /// Accepted answers and prediction.
    questions: Vec<(Vec<String>, String)>,
    scores: [f64; 2],
}

#[test]
fn answers_score_as_by_squad_v1() {
    for case in cases::<SquadV1Case>("squad_v1") {
        let answered = |(golds, prediction)| Answered { golds, prediction, no_answer: 0.0 };
        let questions: Vec<_> =
            case.questions.iter().map(|(golds, text)| answered((golds, text))).collect();
        let report = squad_v1_report(&questions);
        assert_close(report.exact, case.scores[0], &format!("{}: EM", case.name));
        assert_close(report.f1, case.scores[1], &format!("{}: F1", case.name));
        assert_eq!(report.total, questions.len(), "{}", case.name);
    }
}

#[derive(Deserialize)]
struct SquadV2Case {
    name: String,
    /// Accepted answers, prediction and what speaks for no answer.
    questions: Vec<(Vec<String>, String, f64)>,
    threshold: f64,
    /// By the official names.
    scores: HashMap<String, f64>,
}

#[test]
fn answers_score_as_by_squad_v2() {
    for case in cases::<SquadV2Case>("squad_v2") {
        let questions: Vec<_> = case
            .questions
            .iter()
            .map(|(golds, prediction, no_answer)| Answered {
                golds,
                prediction,
                no_answer: *no_answer,
            })
            .collect();
        let report = squad_v2_report(&questions, case.threshold);
        let part =
            |of: fn(&SquadScores) -> f64, scores: &Option<SquadScores>| scores.as_ref().map(of);
        let (has_ans, no_ans) = (&report.has_ans, &report.no_ans);
        let scores = [
            ("exact", Some(report.all.exact)),
            ("f1", Some(report.all.f1)),
            ("total", Some(report.all.total as f64)),
            ("HasAns_exact", part(|scores| scores.exact, has_ans)),
            ("HasAns_f1", part(|scores| scores.f1, has_ans)),
            ("HasAns_total", part(|scores| scores.total as f64, has_ans)),
            ("NoAns_exact", part(|scores| scores.exact, no_ans)),
            ("NoAns_f1", part(|scores| scores.f1, no_ans)),
            ("NoAns_total", part(|scores| scores.total as f64, no_ans)),
            ("best_exact", Some(report.best_exact)),
            ("best_exact_thresh", Some(report.best_exact_thresh)),
            ("best_f1", Some(report.best_f1)),
            ("best_f1_thresh", Some(report.best_f1_thresh)),
            ("pr_exact_ap", report.pr_exact_ap),
            ("pr_f1_ap", report.pr_f1_ap),
            ("pr_oracle_ap", report.pr_oracle_ap),
        ];
        let given = scores.iter().filter(|(_, score)| score.is_some()).count();
        assert_eq!(given, case.scores.len(), "{}", case.name);
        for (key, score) in scores {
            let expected = case.scores.get(key).copied();
            assert_eq!(score.is_some(), expected.is_some(), "{}: {key}", case.name);
            let what = format!("{}: {key}", case.name);
            assert_close(score.unwrap_or(0.0), expected.unwrap_or(0.0), &what);
        }
        let area = |pair: &[PrecisionRecall]| pair[1].precision * (pair[1].recall - pair[0].recall);
        let area: f64 = f1_curve(&questions).windows(2).map(area).sum();
        assert_close(100.0 * area, report.pr_f1_ap.unwrap_or(0.0), &case.name);
    }
}
