//! A score for a text or a pair of texts.
//!
//! The network learns scores scaled to 0..1, as google-research/electra does for STS-B; the range is
//! kept in `config.json` and what is shown is in it.

use burn::tensor::Tensor;
use serde::Serialize;

use crate::dataset::{TextExample, Texts};
use crate::kernels::{self, Loss};
use crate::metrics::{RegressionReport, regression_report, worst_first};

/// Squared error, the mean over the real rows.
///
/// # Shapes
/// - logits, targets, is_real: `[batch, 1]`, output: `[1]`
pub fn loss(logits: Tensor<2>, targets: Tensor<2>, is_real: Tensor<2>, terms: usize) -> Tensor<1> {
    kernels::loss(Loss::SquaredError, logits, targets, Some(is_real), terms)
}

/// A logit in the range of the scores; as it is where the model has none.
pub fn value(logit: f32, range: Option<(f64, f64)>) -> f64 {
    let (minimum, maximum) = range.unwrap_or((0.0, 1.0));
    minimum + f64::from(logit) * (maximum - minimum)
}

/// How a model does on rows with scores.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    /// The mean squared error of the scaled scores.
    pub loss: f64,
    #[serde(flatten)]
    pub report: RegressionReport,
    /// True score and prediction of every row, for a scatter plot.
    pub points: Vec<(f64, f64)>,
    /// The rows with the largest error, worst first.
    pub worst: Vec<WorstRow>,
}

/// A row that the model got most wrong.
#[derive(Debug, Clone, Serialize)]
pub struct WorstRow {
    pub row: usize,
    pub text: String,
    pub text_pair: Option<String>,
    pub score: f64,
    pub predicted: f64,
}

/// Scores labelled examples from their logits, in the same order.
///
/// # Panics
/// When an example has no score.
pub fn evaluate(set: &Texts, logits: &[Vec<f32>]) -> Evaluation {
    let range = set.range.unwrap_or((0.0, 1.0));
    let score = |e: &TextExample| e.score().expect("a labelled example");
    let targets: Vec<f64> = set.examples.iter().map(score).collect();
    let predicted: Vec<f64> = logits.iter().map(|row| value(row[0], Some(range))).collect();
    let errors: Vec<f64> = targets.iter().zip(&predicted).map(|(t, p)| (t - p).abs()).collect();
    let worst = worst_first(&errors, |i| errors[i] > 0.0);
    let worst = worst.into_iter().map(|i| WorstRow {
        row: set.examples[i].row,
        text: set.examples[i].text.clone(),
        text_pair: set.examples[i].pair.clone(),
        score: targets[i],
        predicted: predicted[i],
    });
    let report = regression_report(&targets, &predicted);
    Evaluation {
        loss: report.mse / (range.1 - range.0).powi(2),
        worst: worst.collect(),
        points: targets.iter().copied().zip(predicted.iter().copied()).collect(),
        report,
    }
}
