//! The metrics against scikit-learn: every case of `fixtures/generate_metrics.py`.

use std::path::Path;

use electra::metrics::classification_report;
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
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

#[track_caller]
fn assert_close(got: f64, expected: f64, what: &str) {
    assert!((got - expected).abs() < 1e-12, "{what}: {got} instead of {expected}");
}

#[test]
fn every_score_equals_scikit_learn() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/metrics_cases.json");
    let Cases { cases } = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
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
