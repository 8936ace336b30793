//! Scores of predicted numbers, equal to SciPy's `pearsonr` and `spearmanr` and to scikit-learn's
//! `mean_squared_error` and `mean_absolute_error`.

use serde::Serialize;

/// How close predicted numbers come to the targets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RegressionReport {
    /// `None` where it is not defined: fewer than two examples, one side constant, not a number.
    pub pearson: Option<f64>,
    /// Pearson's correlation of the ranks; `None` as there.
    pub spearman: Option<f64>,
    /// Mean squared error, in the targets' unit squared; not a number without examples.
    pub mse: f64,
    /// Mean absolute error, in the targets' unit; not a number without examples.
    pub mae: f64,
    pub examples: usize,
}

/// `targets` and `predicted` hold one number each an example.
///
/// # Panics
/// When the slices differ in length: a programmer's mistake.
pub fn regression_report(targets: &[f64], predicted: &[f64]) -> RegressionReport {
    assert_eq!(targets.len(), predicted.len(), "one prediction a target");
    let errors = || targets.iter().zip(predicted).map(|(target, prediction)| target - prediction);
    RegressionReport {
        pearson: pearson(targets, predicted),
        spearman: spearman(targets, predicted),
        mse: errors().map(|error| error * error).sum::<f64>() / targets.len() as f64,
        mae: errors().map(f64::abs).sum::<f64>() / targets.len() as f64,
        examples: targets.len(),
    }
}

fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    let (x, y) = (deviations(x)?, deviations(y)?);
    let product = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(x, y)| x * y).sum() };
    let r = product(&x, &y) / (product(&x, &x) * product(&y, &y)).sqrt();
    r.is_finite().then(|| r.clamp(-1.0, 1.0))
}

/// What each value has above the mean. `None` where all are equal.
fn deviations(values: &[f64]) -> Option<Vec<f64>> {
    // Not "all deviations are 0": the mean of equal values may be off by a rounding.
    if values.iter().all(|value| *value == values[0]) {
        return None;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    Some(values.iter().map(|value| value - mean).collect())
}

fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    let ranked = !x.iter().chain(y).any(|value| value.is_nan());
    if ranked { pearson(&ranks(x), &ranks(y)) } else { None }
}

/// From 1; equal values share the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut below = 0;
    for tied in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = below as f64 + (tied.len() + 1) as f64 / 2.0;
        tied.iter().for_each(|i| ranks[*i] = rank);
        below += tied.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_a_rank() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        assert_eq!(ranks(&[0.0, -0.0, 0.0]), [2.0, 2.0, 2.0]);
    }

    #[test]
    fn what_is_not_defined_is_none() {
        let correlations = |x: &[f64], y: &[f64]| {
            let report = regression_report(x, y);
            (report.pearson, report.spearman)
        };
        assert_eq!(correlations(&[], &[]), (None, None));
        assert_eq!(correlations(&[1.0], &[2.0]), (None, None));
        // 0.1 + 0.1 + 0.1 is not three times 0.1.
        assert_eq!(correlations(&[0.1; 3], &[1.0, 2.0, 3.0]), (None, None));
        assert_eq!(correlations(&[1.0, 2.0, f64::NAN], &[1.0, 2.0, 3.0]), (None, None));
        assert_eq!(correlations(&[1.0, 2.0, f64::INFINITY], &[1.0, 2.0, 3.0]), (None, Some(1.0)));
        assert!(regression_report(&[], &[]).mse.is_nan());
    }
}
