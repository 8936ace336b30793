//! Scores of sets of labels, equal to scikit-learn's with `zero_division = 0`.

use serde::Serialize;

use super::classification::{ClassScores, Totals, mean_f1, ratio};

/// How well a set of labels an example is predicted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MultiLabelReport {
    /// Over all decisions of all labels; its label is `micro`.
    pub micro: ClassScores,
    /// Mean F1 over all labels; one that is neither true nor predicted counts 0.
    pub macro_f1: f64,
    /// The part of the examples with every label right.
    pub subset_accuracy: f64,
    pub per_label: Vec<ClassScores>,
    pub examples: usize,
}

/// `targets` and `predicted` hold a row an example, with one entry a label.
///
/// # Panics
/// When the slices differ in length or a row has not one entry a label: a programmer's mistake.
pub fn multi_label_report(
    targets: &[Vec<bool>],
    predicted: &[Vec<bool>],
    labels: &[String],
) -> MultiLabelReport {
    assert_eq!(targets.len(), predicted.len(), "one prediction a target");
    let wide = |row: &Vec<bool>| row.len() == labels.len();
    assert!(targets.iter().chain(predicted).all(wide), "one entry a label");
    let totals = |label: usize| Totals {
        correct: targets.iter().zip(predicted).filter(|(t, p)| t[label] && p[label]).count(),
        support: targets.iter().filter(|row| row[label]).count(),
        predicted: predicted.iter().filter(|row| row[label]).count(),
    };
    let totals: Vec<_> = (0..labels.len()).map(totals).collect();
    let per_label: Vec<_> =
        labels.iter().zip(&totals).map(|(label, totals)| totals.scores(label)).collect();
    let right = targets.iter().zip(predicted).filter(|(target, row)| target == row).count();
    MultiLabelReport {
        micro: Totals::sum(&totals).scores("micro"),
        macro_f1: mean_f1(per_label.iter()),
        subset_accuracy: ratio(right, targets.len()),
        per_label,
        examples: targets.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worked_example() {
        let labels = ["a", "b", "c"].map(String::from);
        let targets = [vec![true, true, false], vec![true, false, false], vec![false; 3]];
        let predicted = [vec![true, false, false], vec![true, true, false], vec![false; 3]];
        let report = multi_label_report(&targets, &predicted, &labels);
        assert_eq!((report.micro.precision, report.micro.support), (2.0 / 3.0, 3));
        assert_eq!((report.macro_f1, report.subset_accuracy), (1.0 / 3.0, 1.0 / 3.0));
    }
}
