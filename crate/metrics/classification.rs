//! Scores of one label an example, equal to scikit-learn's.

use serde::Serialize;

/// `classification_report` of scikit-learn with `zero_division = 0`, and what goes with it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassificationReport {
    pub accuracy: f64,
    /// Mean F1 over the labels that occur in the targets or among the predictions.
    pub macro_f1: f64,
    /// Matthews correlation coefficient; 0 where it is not defined.
    pub mcc: f64,
    pub per_class: Vec<ClassScores>,
    /// `[true][predicted]`, over all labels.
    pub confusion_matrix: Vec<Vec<usize>>,
    pub labels: Vec<String>,
    pub examples: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScores {
    pub label: String,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    pub support: usize,
}

/// `targets` and `predicted` are indices into `labels`, one each an example.
///
/// # Panics
/// When the slices differ in length or hold an index beyond `labels`: a programmer's mistake.
pub fn classification_report(
    targets: &[usize],
    predicted: &[usize],
    labels: &[String],
) -> ClassificationReport {
    assert_eq!(targets.len(), predicted.len(), "one prediction a target");
    let mut matrix = vec![vec![0; labels.len()]; labels.len()];
    for (&target, &prediction) in targets.iter().zip(predicted) {
        matrix[target][prediction] += 1;
    }
    let totals: Vec<_> = (0..labels.len()).map(|label| Totals::of(&matrix, label)).collect();
    let correct: usize = totals.iter().map(|label| label.correct).sum();
    let per_class: Vec<_> =
        labels.iter().zip(&totals).map(|(label, totals)| totals.scores(label)).collect();
    let present = per_class.iter().zip(&totals).filter(|(_, totals)| totals.occurs());
    ClassificationReport {
        accuracy: ratio(correct, targets.len()),
        macro_f1: mean_f1(present.map(|(scores, _)| scores)),
        mcc: matthews(&totals, correct as f64, targets.len() as f64),
        per_class,
        confusion_matrix: matrix,
        labels: labels.to_vec(),
        examples: targets.len(),
    }
}

/// How often one label was right, true and predicted.
#[derive(Default)]
pub(super) struct Totals {
    pub correct: usize,
    pub support: usize,
    pub predicted: usize,
}

impl Totals {
    pub fn of(matrix: &[Vec<usize>], label: usize) -> Self {
        Totals {
            correct: matrix[label][label],
            support: matrix[label].iter().sum(),
            predicted: matrix.iter().map(|row| row[label]).sum(),
        }
    }

    pub fn sum(all: &[Totals]) -> Self {
        Totals {
            correct: all.iter().map(|label| label.correct).sum(),
            support: all.iter().map(|label| label.support).sum(),
            predicted: all.iter().map(|label| label.predicted).sum(),
        }
    }

    pub fn occurs(&self) -> bool {
        self.support + self.predicted > 0
    }

    pub fn scores(&self, label: &str) -> ClassScores {
        ClassScores {
            label: label.to_string(),
            precision: ratio(self.correct, self.predicted),
            recall: ratio(self.correct, self.support),
            f1: ratio(2 * self.correct, self.predicted + self.support),
            support: self.support,
        }
    }
}

/// 0 where there is nothing to divide by.
pub(super) fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The macro average; 0 where there is no label.
pub(super) fn mean_f1<'a>(scores: impl Iterator<Item = &'a ClassScores>) -> f64 {
    let f1: Vec<_> = scores.map(|label| label.f1).collect();
    // The sum of nothing is -0, which a report would show.
    if f1.is_empty() { 0.0 } else { f1.iter().sum::<f64>() / f1.len() as f64 }
}

/// The multi-class form (Gorodkin, 2004): the correlation of the one-hot targets with the one-hot
/// predictions.
fn matthews(totals: &[Totals], correct: f64, examples: f64) -> f64 {
    let sum = |product: fn(f64, f64) -> f64| -> f64 {
        totals.iter().map(|label| product(label.support as f64, label.predicted as f64)).sum()
    };
    let covariance = correct * examples - sum(|support, predicted| support * predicted);
    let targets = examples * examples - sum(|support, _| support * support);
    let predictions = examples * examples - sum(|_, predicted| predicted * predicted);
    if targets * predictions == 0.0 { 0.0 } else { covariance / (targets * predictions).sqrt() }
}

/// The area under the ROC curve: how often a positive scores above a negative, ties counting
/// half (`roc_auc_score` of scikit-learn). `None` where one of the two is missing.
///
/// # Panics
/// When the slices differ in length: a programmer's mistake.
pub fn roc_auc(scores: &[f32], positive: &[bool]) -> Option<f64> {
    assert_eq!(scores.len(), positive.len(), "one score an example");
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let positives = positive.iter().filter(|is| **is).count() as f64;
    let negatives = scores.len() as f64 - positives;
    // Twice the number of pairs in the right order: a tie counts one.
    let (mut pairs, mut below) = (0.0, 0.0);
    for tied in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
        let hits = tied.iter().filter(|i| positive[**i]).count() as f64;
        let misses = tied.len() as f64 - hits;
        pairs += hits * (2.0 * below + misses);
        below += misses;
    }
    let all = positives * negatives;
    (all > 0.0).then(|| pairs / (2.0 * all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(count: usize) -> Vec<String> {
        (0..count).map(|label| label.to_string()).collect()
    }

    /// The example in scikit-learn's guide to `classification_report`, and its `matthews_corrcoef`.
    #[test]
    fn a_worked_example() {
        let report = classification_report(&[0, 1, 2, 2, 0], &[0, 0, 2, 1, 0], &labels(3));
        assert_eq!(report.confusion_matrix, [[2, 0, 0], [1, 0, 0], [0, 1, 1]]);
        assert_eq!(report.accuracy, 0.6);
        let first = &report.per_class[0];
        assert_eq!((first.precision, first.recall, first.f1), (2.0 / 3.0, 1.0, 0.8));
        assert_eq!(report.per_class[1].f1, 0.0);
        assert!((report.macro_f1 - (0.8 + 0.0 + 2.0 / 3.0) / 3.0).abs() < 1e-15);
        assert!((report.mcc - 0.4009).abs() < 1e-4);
    }

    #[test]
    fn a_label_nobody_uses_does_not_count() {
        let report = classification_report(&[0, 1], &[0, 1], &labels(3));
        assert_eq!((report.macro_f1, report.mcc), (1.0, 1.0));
        assert_eq!((report.per_class.len(), report.per_class[2].support), (3, 0));
    }

    #[test]
    fn auc_counts_pairs_in_the_right_order() {
        let auc = |scores: &[f32], positive: &[bool]| roc_auc(scores, positive);
        // The example in scikit-learn's guide to `roc_auc_score`.
        assert_eq!(auc(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true]), Some(0.75));
        assert_eq!(auc(&[1.0, 1.0], &[true, false]), Some(0.5));
        assert_eq!(auc(&[1.0, -0.0, 0.0], &[true, false, false]), Some(1.0));
        assert_eq!(auc(&[1.0], &[true]), None);
    }

    #[test]
    fn nothing_to_score_is_zero() {
        let report = classification_report(&[], &[], &labels(2));
        assert_eq!((report.accuracy, report.macro_f1, report.mcc), (0.0, 0.0, 0.0));
        assert!(report.macro_f1.is_sign_positive());
    }
}
