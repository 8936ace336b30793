//! The labels of a task: their order, and the index of a name.

use std::collections::{BTreeSet, HashMap};

use super::table::is_number;
use crate::error::excerpt;

/// Labels that are known, by name.
pub(super) struct Known<'a>(HashMap<&'a str, usize>);

impl<'a> Known<'a> {
    pub fn new(labels: &'a [String]) -> Self {
        Known(labels.iter().map(String::as_str).zip(0..).collect())
    }

    /// Its index, or what is wrong with it.
    pub fn find(&self, name: &str) -> std::result::Result<usize, String> {
        self.0.get(name).copied().ok_or_else(|| format!("unknown label {}", excerpt(name)))
    }
}

/// Each once: numbers in the order of their values, words in alphabetical order.
pub(super) fn sorted_labels(names: &[&str]) -> Vec<String> {
    let mut labels: Vec<&str> =
        names.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    if labels.iter().all(|label| is_number(label)) {
        let number = |label: &str| label.parse::<f64>().unwrap_or(f64::NAN);
        labels.sort_by(|a, b| number(a).total_cmp(&number(b)));
    }
    labels.into_iter().map(str::to_string).collect()
}

/// So many different labels for so many rows or words that they are hardly labels.
pub(super) fn too_many(labels: usize, values: usize) -> bool {
    labels > 50 && labels * 2 > values
}
