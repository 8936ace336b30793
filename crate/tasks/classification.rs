//! Classification of texts and pairs of texts.

use burn::tensor::Tensor;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::dataset::{ColumnChoice, Table, TextExample, Texts, choose_columns, classification};
use crate::error::{Error, Result, listed};
use crate::kernels::{self, Loss};
use crate::metrics::{ClassificationReport, classification_report, worst_first};

/// The labelled rows of a table; `labels` as in [`classification`].
///
/// # Errors
/// There is no label column, or no row can be used.
pub fn labelled(table: &Table, choice: &ColumnChoice, labels: Option<&[String]>) -> Result<Texts> {
    let columns = choose_columns(table, choice)?;
    if columns.label.is_none() {
        return Err(Error::new("label column", format!("none among {}", listed(&table.columns)))
            .fix("Name it: --label-column, or labelColumn in the browser."));
    }
    classification(table, &columns, labels)
}

/// Cross-entropy, the mean over the real rows.
///
/// # Shapes
/// - logits, targets (one-hot, zero rows for padding): `[batch, num_labels]`, output: `[1]`
pub fn loss(logits: Tensor<2>, targets: Tensor<2>, examples: usize) -> Tensor<1> {
    kernels::loss(Loss::CrossEntropy, logits, targets, None, examples)
}

/// Softmax of one row of logits, in f64.
pub fn probabilities(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|l| f64::from(l - max).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|p| p / sum).collect()
}

/// What a classifier says of one text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    pub label: String,
    /// The probability of `label`.
    pub score: f64,
    /// The probability of every label, in the order of the logits.
    pub scores: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logits: Option<Vec<f32>>,
}

impl Prediction {
    /// Decodes one row of logits.
    pub fn new(logits: &[f32], labels: &[String], keep_logits: bool) -> Self {
        let probabilities = probabilities(logits);
        let best = argmax(&probabilities);
        let scores = labels.iter().zip(&probabilities).map(|(l, p)| (l.clone(), (*p).into()));
        Prediction {
            label: labels[best].clone(),
            score: probabilities[best],
            scores: scores.collect(),
            logits: keep_logits.then(|| logits.to_vec()),
        }
    }
}

/// How a classifier does on labelled rows.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    pub loss: f64,
    #[serde(flatten)]
    pub report: ClassificationReport,
    /// Those of the rows with a wrong label that have the highest loss, worst first.
    pub worst: Vec<WorstRow>,
}

/// A row that the model got most wrong.
#[derive(Debug, Clone, Serialize)]
pub struct WorstRow {
    pub row: usize,
    pub text: String,
    pub text_pair: Option<String>,
    pub label: String,
    pub predicted: String,
    /// The probability of the true label.
    pub score: f64,
    pub loss: f64,
}

/// Scores labelled examples from their logits, in the same order.
///
/// # Panics
/// When an example has no label: [`labelled`] gives none such.
pub fn evaluate(set: &Texts, logits: &[Vec<f32>]) -> Evaluation {
    let probabilities: Vec<Vec<f64>> = logits.iter().map(|row| probabilities(row)).collect();
    let label = |e: &TextExample| e.class().expect("a labelled example");
    let targets: Vec<usize> = set.examples.iter().map(label).collect();
    let predicted: Vec<usize> = probabilities.iter().map(|p| argmax(p)).collect();
    let losses: Vec<f64> = targets
        .iter()
        .zip(&probabilities)
        .map(|(target, p)| -p[*target].max(f64::MIN_POSITIVE).ln())
        .collect();
    let worst = worst_first(&losses, |i| predicted[i] != targets[i]);
    let worst = worst.into_iter().map(|i| WorstRow {
        row: set.examples[i].row,
        text: set.examples[i].text.clone(),
        text_pair: set.examples[i].pair.clone(),
        label: set.labels[targets[i]].clone(),
        predicted: set.labels[predicted[i]].clone(),
        score: probabilities[i][targets[i]],
        loss: losses[i],
    });
    Evaluation {
        loss: losses.iter().sum::<f64>() / losses.len().max(1) as f64,
        worst: worst.collect(),
        report: classification_report(&targets, &predicted, &set.labels),
    }
}

/// F1 of the positive one of two labels: that called 1, else the second. None where there are not
/// two.
pub fn positive_f1(report: &ClassificationReport) -> Option<f64> {
    let scores = (report.per_class.len() == 2).then_some(&report.per_class)?;
    let positive = scores.iter().find(|class| class.label == "1").unwrap_or(&scores[1]);
    Some(positive.f1)
}

fn argmax(values: &[f64]) -> usize {
    let best = values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    best.map_or(0, |(i, _)| i)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_first_of_equal_logits_wins() {
        let labels = ["a", "b", "c"].map(String::from);
        let prediction = Prediction::new(&[1.0, 3.0, 3.0], &labels, false);
        assert_eq!(prediction.label, "b");
        assert!((prediction.score - 0.468_310_5).abs() < 1e-6);
    }

    #[test]
    fn the_positive_label_is_1_or_the_second() {
        let f1 = |labels: &[&str]| {
            let labels: Vec<String> = labels.iter().map(|label| label.to_string()).collect();
            // Of the first label 1 of 2 is found, of the second 1 with 1 too many.
            positive_f1(&classification_report(&[0, 0, 1], &[0, 1, 1], &labels))
        };
        assert_eq!(f1(&["0", "1"]), Some(2.0 / 3.0));
        let report = |labels: [&str; 2], predicted: &[usize]| {
            let labels = labels.map(String::from);
            positive_f1(&classification_report(&[0, 0, 0, 1], predicted, &labels))
        };
        // 3 of 3 and one too many: 6/7; the other label is never found.
        assert_eq!(report(["1", "0"], &[0, 0, 0, 0]), Some(6.0 / 7.0));
        assert_eq!(report(["yes", "no"], &[0, 0, 0, 0]), Some(0.0));
        assert_eq!(f1(&["a", "b", "c"]), None);
    }

    #[test]
    fn padding_rows_do_not_count() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_floats([[2.0, 0.0], [0.0, 1.0], [9.0, 9.0]], &device);
        let targets = Tensor::<2>::from_floats([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]], &device);
        let loss: f32 = loss(logits, targets, 2).into_scalar();
        // (ln(1 + e^-2) + ln(1 + e)) / 2
        assert!((loss - 0.720_094_8).abs() < 1e-6, "{loss}");
    }
}
