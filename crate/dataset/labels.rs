//! The labels of a task: their order, and the index of a name.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use super::table::is_number;
use crate::error::excerpt;

/// Labels that are known, by name.
pub(super) struct Known<'a>(HashMap<Cow<'a, str>, usize>);

impl<'a> Known<'a> {
    pub fn new(labels: &'a [String]) -> Self {
        Known(labels.iter().map(|label| key(label)).zip(0..).collect())
    }

    /// Its index, or what is wrong with it.
    pub fn find(&self, name: &str) -> std::result::Result<usize, String> {
        self.0.get(&key(name)).copied().ok_or_else(|| format!("unknown label {}", excerpt(name)))
    }
}

/// By which labels are the same: programs write one number as 1, 1.0 or +1.00 (pandas turns a
/// column of whole numbers into fractions where a cell is empty). Other texts stay as they are, also
/// codes such as 007 and 1e3.
fn key(label: &str) -> Cow<'_, str> {
    let (sign, digits) = match label.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", label.strip_prefix('+').unwrap_or(label)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !are_digits(whole) || !are_digits(fraction) {
        return label.into();
    }
    match (whole, fraction.trim_end_matches('0')) {
        ("0", "") => "0".into(),
        (whole, "") => format!("{sign}{whole}").into(),
        (whole, fraction) => format!("{sign}{whole}.{fraction}").into(),
    }
}

/// The same labels in any order.
pub fn are_same(some: &[String], others: &[String]) -> bool {
    let known = Known::new(some);
    some.len() == others.len() && others.iter().all(|label| known.find(label).is_ok())
}

/// Each once, numbers as they are written first in the alphabet: numbers in the order of their
/// values, words in alphabetical order.
pub(super) fn sorted_labels(names: &[&str]) -> Vec<String> {
    let mut spellings = BTreeMap::new();
    for name in names {
        let first = spellings.entry(key(name)).or_insert(*name);
        *first = (*first).min(name);
    }
    let mut labels: Vec<&str> = spellings.into_values().collect();
    labels.sort_unstable();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_is_the_same_label() {
        for (one, other) in
            [("1", "1.0"), ("1", "+1.00"), ("0", "-0.0"), ("2.5", "2.50"), ("-1", "-1.")]
        {
            assert_eq!(key(one), key(other), "{one} {other}");
        }
        for (one, other) in
            [("7", "007"), ("1000", "1e3"), ("1", "-1"), ("10", "1"), (".", "0"), ("1.0.0", "1")]
        {
            assert_ne!(key(one), key(other), "{one} {other}");
        }
        // Beyond what an f64 tells apart.
        assert_ne!(key("9007199254740993"), key("9007199254740992"));
        assert_eq!(sorted_labels(&["1.0", "0", "1", "10.0", "0.0", "9"]), ["0", "1", "9", "10.0"]);
        let known = ["0.0", "1.0"].map(String::from);
        assert_eq!(Known::new(&known).find("1"), Ok(1));
        assert!(Known::new(&known).find("2").is_err());
        assert!(are_same(&known, &["1", "0"].map(String::from)));
    }
}
