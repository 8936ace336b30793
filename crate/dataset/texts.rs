//! Texts and pairs of texts with what they are labelled with: one class, several, or a score.

use std::collections::BTreeMap;

use super::columns::{Columns, require_column};
use super::kinds::Kind;
use super::split::part;
use super::table::{Problem, Row, Table, require_usable};
use crate::error::Result;

/// What a text is labelled with.
#[derive(Debug, Clone, PartialEq)]
pub enum TextTarget {
    /// Index into [`Texts::labels`].
    Class(usize),
    /// One each of [`Texts::labels`].
    Classes(Vec<bool>),
    /// As in the file, finite.
    Score(f64),
}

#[derive(Debug, Clone, PartialEq)]
pub struct TextExample {
    /// Counted as in [`Problem::row`].
    pub row: usize,
    pub text: String,
    pub pair: Option<String>,
    /// None only where the table has no labels.
    pub target: Option<TextTarget>,
}

impl TextExample {
    /// Index of its label, where it has exactly one.
    pub fn class(&self) -> Option<usize> {
        match self.target {
            Some(TextTarget::Class(class)) => Some(class),
            _ => None,
        }
    }

    /// For every label whether it is one of the text's, where it may have several.
    pub fn classes(&self) -> Option<&[bool]> {
        match &self.target {
            Some(TextTarget::Classes(classes)) => Some(classes),
            _ => None,
        }
    }

    pub fn score(&self) -> Option<f64> {
        match self.target {
            Some(TextTarget::Score(score)) => Some(score),
            _ => None,
        }
    }
}

/// Examples of classification, multi-label classification or regression.
#[derive(Debug, Clone, PartialEq)]
pub struct Texts {
    pub kind: Kind,
    pub examples: Vec<TextExample>,
    /// Empty for regression.
    pub labels: Vec<String>,
    /// The smallest and the largest score of the training rows; only for regression.
    pub range: Option<(f64, f64)>,
    pub skipped: Vec<Problem>,
}

impl Texts {
    /// The indices of all labels of all examples.
    pub fn label_ids(&self) -> impl Iterator<Item = usize> {
        self.examples.iter().flat_map(|example| {
            let classes = example.classes().unwrap_or_default().iter().enumerate();
            example.class().into_iter().chain(classes.filter(|(_, has)| **has).map(|(id, _)| id))
        })
    }

    /// Holds out `fraction` of the rows for evaluation, of every class its share, the same ones on
    /// every machine. The last example of a class always stays in training. Both parts keep the
    /// order of the file; skipped rows stay with the first.
    pub fn split(self, fraction: f64, seed: u64) -> (Self, Self) {
        let mut groups: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for (index, example) in self.examples.iter().enumerate() {
            groups.entry(example.class()).or_default().push(index);
        }
        let Texts { kind, examples, labels, range, skipped } = self;
        let (train, eval) = part(examples, groups.into_values().collect(), fraction, seed);
        let set = |examples, labels, skipped| Texts { kind, examples, labels, range, skipped };
        (set(train, labels.clone(), skipped), set(eval, labels, vec![]))
    }
}

/// Where the chosen columns are.
pub(super) struct Places {
    pub text: usize,
    pub pair: Option<usize>,
    pub label: Option<usize>,
}

impl Places {
    pub fn find(table: &Table, columns: &Columns) -> Result<Self> {
        let place = |name: &String| require_column(table, name);
        Ok(Places {
            text: place(&columns.text)?,
            pair: columns.pair.as_ref().map(place).transpose()?,
            label: columns.label.as_ref().map(place).transpose()?,
        })
    }

    /// The rows that have all of their texts.
    pub fn with_texts<'a>(&self, table: &'a Table) -> impl Iterator<Item = &'a Row> {
        let texts = [Some(self.text), self.pair];
        let has = move |row: &&Row| {
            texts.into_iter().flatten().all(|place| filled(row, place, "text").is_ok())
        };
        table.rows.iter().filter(has)
    }

    fn example(
        &self,
        row: &Row,
        target: impl Fn(&Row) -> Checked<Option<TextTarget>>,
    ) -> Checked<TextExample> {
        let text = filled(row, self.text, "text")?.to_string();
        let pair = self.pair.map(|place| filled(row, place, "second text")).transpose()?;
        let pair = pair.map(str::to_string);
        Ok(TextExample { row: row.number, text, pair, target: target(row)? })
    }
}

/// Or the reason why a row cannot be used.
pub(super) type Checked<T> = std::result::Result<T, String>;

/// The examples of a table, and the rows that cannot be used; `target` reads what a row is labelled
/// with.
///
/// # Errors
/// There is no row that can be used.
pub(super) fn read_rows(
    table: &Table,
    places: &Places,
    target: impl Fn(&Row) -> Checked<Option<TextTarget>>,
) -> Result<(Vec<TextExample>, Vec<Problem>)> {
    let (mut examples, mut skipped) = (vec![], table.problems.clone());
    for row in &table.rows {
        match places.example(row, &target) {
            Ok(example) => examples.push(example),
            Err(reason) => skipped.push(Problem { row: row.number, reason }),
        }
    }
    skipped.sort_by_key(|problem| problem.row);
    require_usable("examples", examples.is_empty(), &skipped)?;
    Ok((examples, skipped))
}

/// A cell that holds something.
pub(super) fn filled<'a>(row: &'a Row, place: usize, what: &str) -> Checked<&'a str> {
    let cell = row.cells[place].as_deref().filter(|cell| !cell.trim().is_empty());
    cell.ok_or_else(|| format!("the {what} is empty"))
}
