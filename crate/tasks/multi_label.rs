//! Classification with any number of labels for a text, each decided by itself.

use burn::tensor::Tensor;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::dataset::{TextExample, Texts};
use crate::kernels::{self, Loss};
use crate::metrics::{MultiLabelReport, multi_label_report, worst_first};

/// Binary cross-entropy (`BCEWithLogitsLoss`), the mean over the labels of the real rows.
///
/// # Shapes
/// - logits, targets: `[batch, num_labels]`, is_real: `[batch, 1]`, output: `[1]`
pub fn loss(logits: Tensor<2>, targets: Tensor<2>, is_real: Tensor<2>, terms: usize) -> Tensor<1> {
    kernels::loss(Loss::BinaryCrossEntropy, logits, targets, Some(is_real), terms)
}

/// What a model says of one text: the labels whose probability is at least a half.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    pub labels: Vec<String>,
    /// The probability of every label, in the order of the logits.
    pub scores: Map<String, Value>,
}

impl Prediction {
    /// Decodes one row of logits.
    pub fn new(logits: &[f32], labels: &[String]) -> Self {
        let scores = logits.iter().map(|logit| sigmoid(*logit));
        let chosen = labels.iter().zip(logits).filter(|(_, logit)| **logit >= 0.0);
        Prediction {
            labels: chosen.map(|(label, _)| label.clone()).collect(),
            scores: labels.iter().cloned().zip(scores.map(Value::from)).collect(),
        }
    }
}

fn sigmoid(logit: f32) -> f64 {
    1.0 / (1.0 + f64::from(-logit).exp())
}

/// How a model does on labelled rows.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    pub loss: f64,
    #[serde(flatten)]
    pub report: MultiLabelReport,
    /// Those of the rows with a wrong label that have the highest loss, worst first.
    pub worst: Vec<WorstRow>,
}

/// A row that the model got most wrong.
#[derive(Debug, Clone, Serialize)]
pub struct WorstRow {
    pub row: usize,
    pub text: String,
    pub text_pair: Option<String>,
    pub labels: Vec<String>,
    pub predicted: Vec<String>,
    pub loss: f64,
}

/// Scores labelled examples from their logits, in the same order.
///
/// # Panics
/// When an example has no labels.
pub fn evaluate(set: &Texts, logits: &[Vec<f32>]) -> Evaluation {
    let target = |e: &TextExample| e.classes().expect("a labelled example").to_vec();
    let targets: Vec<Vec<bool>> = set.examples.iter().map(target).collect();
    let decide = |row: &Vec<f32>| row.iter().map(|logit| *logit >= 0.0).collect();
    let predicted: Vec<Vec<bool>> = logits.iter().map(decide).collect();
    let losses: Vec<f64> =
        targets.iter().zip(logits).map(|(target, logits)| row_loss(target, logits)).collect();
    let names = |own: &[bool]| -> Vec<String> {
        let named = set.labels.iter().zip(own).filter(|(_, own)| **own);
        named.map(|(label, _)| label.clone()).collect()
    };
    let worst = worst_first(&losses, |i| predicted[i] != targets[i]);
    let worst = worst.into_iter().map(|i| WorstRow {
        row: set.examples[i].row,
        text: set.examples[i].text.clone(),
        text_pair: set.examples[i].pair.clone(),
        labels: names(&targets[i]),
        predicted: names(&predicted[i]),
        loss: losses[i],
    });
    Evaluation {
        loss: losses.iter().sum::<f64>() / losses.len().max(1) as f64,
        worst: worst.collect(),
        report: multi_label_report(&targets, &predicted, &set.labels),
    }
}

/// The mean over the labels.
fn row_loss(target: &[bool], logits: &[f32]) -> f64 {
    let term = |(target, logit): (&bool, &f32)| {
        let against = f64::from(if *target { -logit } else { *logit });
        against.max(0.0) + (-against.abs()).exp().ln_1p()
    };
    target.iter().zip(logits).map(term).sum::<f64>() / target.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_loss_is_the_mean_over_labels_and_real_rows() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_floats([[2.0, -1.0], [0.0, 80.0], [9.0, 9.0]], &device);
        let targets = Tensor::<2>::from_floats([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]], &device);
        let is_real = Tensor::<2>::from_floats([[1.0], [1.0], [0.0]], &device);
        let loss: f32 = loss(logits, targets, is_real, 4).into_scalar();
        let rows = [row_loss(&[true, false], &[2.0, -1.0]), row_loss(&[true, true], &[0.0, 80.0])];
        // ln(1 + e^-2), ln(1 + e^-1), ln 2 and nearly nothing.
        assert!((rows[0] - (0.126_928 + 0.313_262) / 2.0).abs() < 1e-6, "{rows:?}");
        assert!((rows[1] - std::f64::consts::LN_2 / 2.0).abs() < 1e-6, "{rows:?}");
        assert!((f64::from(loss) - (rows[0] + rows[1]) / 2.0).abs() < 1e-6, "{loss}");
    }
}
