//! Texts or pairs with a score, for regression.

use std::collections::HashSet;

use super::columns::{ColumnChoice, Columns, cells, choose_columns, free, named};
use super::kinds::Kind;
use super::table::{Row, Table, is_number};
use super::texts::{Checked, Places, TextExample, TextTarget, Texts, filled, read_rows};
use crate::error::{Error, Result, excerpt, listed};

/// Names of score columns, the likeliest first.
#[rustfmt::skip]
pub(super) const SCORES: &[&str] = &[
    "score", "similarity", "similarity_score", "relatedness", "relatedness_score", "rating",
    "stars", "grade", "value", "target", "label", "labels", "y",
];

/// [`choose_columns`] for scores: a column of numbers with a name for scores, else the one with the
/// most different values among those with fractions or many values.
pub fn choose_score_columns(table: &Table, choice: &ColumnChoice) -> Result<Columns> {
    let taken = [&choice.text, &choice.pair];
    let numeric = |place: usize| is_numeric(table, place);
    let by_name = SCORES.iter().find_map(|name| {
        let name = named(table, &[name], taken)?;
        let place = table.columns.iter().position(|column| *column == name)?;
        numeric(place).then_some(name)
    });
    let by_content = || {
        let scores = free(table, taken).filter(|(place, _)| is_scale(table, *place));
        scores.max_by_key(|(place, _)| distinct(table, *place)).map(|(_, name)| name.clone())
    };
    let Some(label) = choice.label.clone().or(by_name).or_else(by_content) else {
        return Err(Error::new("score column", "no column looks like scores")
            .fix(format!("Name it; the columns are {}.", listed(&table.columns))));
    };
    choose_columns(table, &ColumnChoice { label: Some(label), ..choice.clone() })
}

/// Whether nearly all cells that are filled hold numbers.
fn is_numeric(table: &Table, place: usize) -> bool {
    let filled = || cells(table, place).filter(|cell| !cell.trim().is_empty());
    let numbers = filled().filter(|cell| is_number(cell)).count();
    numbers > 0 && numbers * 10 >= filled().count() * 9
}

/// Numbers with fractions, or many that repeat: a number of its own in every row is a row's number.
fn is_scale(table: &Table, place: usize) -> bool {
    let distinct = distinct(table, place);
    is_numeric(table, place)
        && (has_fractions(table, place) || distinct > 10 && distinct < table.rows.len())
}

pub(super) fn has_fractions(table: &Table, place: usize) -> bool {
    let numbers = || cells(table, place).filter_map(|cell| cell.trim().parse::<f64>().ok());
    is_numeric(table, place) && numbers().any(|number| number.is_finite() && number.fract() != 0.0)
}

pub(super) fn distinct(table: &Table, place: usize) -> usize {
    cells(table, place).map(str::trim).collect::<HashSet<_>>().len()
}

/// The examples of a regression task. `range`: the smallest and largest score a model was trained
/// on, kept as they are; without it the table's own.
///
/// # Errors
/// No row can be used, there is no score column and no `range`, or every score is the same and
/// there is no `range`.
pub fn regression(table: &Table, columns: &Columns, range: Option<(f64, f64)>) -> Result<Texts> {
    let places = Places::find(table, columns)?;
    if columns.label.is_none() && range.is_none() {
        return Err(Error::new("score column", "there is none")
            .fix(format!("Name it; the columns are {}.", listed(&table.columns))));
    }
    let score = |row: &Row, place| number(filled(row, place, "score")?.trim());
    let (examples, skipped) = read_rows(table, &places, |row| {
        places.label.map(|place| score(row, place).map(TextTarget::Score)).transpose()
    })?;
    let range = match range {
        Some(range) => range,
        None => own_range(columns, &examples)?,
    };
    let (kind, labels) = (Kind::Regression, vec![]);
    Ok(Texts { kind, examples, labels, range: Some(range), skipped })
}

fn own_range(columns: &Columns, examples: &[TextExample]) -> Result<(f64, f64)> {
    let scores = || examples.iter().filter_map(TextExample::score);
    let minimum = scores().fold(f64::INFINITY, f64::min);
    let maximum = scores().fold(f64::NEG_INFINITY, f64::max);
    if minimum < maximum {
        return Ok((minimum, maximum));
    }
    let column = columns.label.as_deref().unwrap_or_default();
    let problem = format!("every row has the score {minimum}");
    Err(Error::new(format!("score column {column:?}"), problem)
        .fix("Give rows with different scores, or choose another column."))
}

fn number(cell: &str) -> Checked<f64> {
    match cell.parse::<f64>() {
        Ok(score) if score.is_finite() => Ok(score),
        Ok(_) => Err(format!("the score {} is not finite", excerpt(cell))),
        Err(_) if is_number(&cell.replace(',', ".")) => {
            Err(format!("the score {} has a comma; write a point", excerpt(cell)))
        }
        Err(_) => Err(format!("the score {} is not a number", excerpt(cell))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::read_table;
    use super::*;

    fn table(text: &str) -> Table {
        read_table("data.tsv", text.as_bytes()).unwrap()
    }

    fn score_column(text: &str) -> Option<String> {
        choose_score_columns(&table(text), &ColumnChoice::default()).unwrap().label
    }

    fn set(text: &str) -> Result<Texts> {
        let table = table(text);
        regression(&table, &choose_score_columns(&table, &ColumnChoice::default())?, None)
    }

    #[test]
    fn the_score_column_is_found_by_name_or_by_content() {
        let pair = "id\tscore\tsentence1\tsentence2\n0\t4.5\ta\tb\n1\t2\tc\td\n";
        assert_eq!(score_column(pair).as_deref(), Some("score"));
        let both = "label\trating\tsentence\n1\t2.2\ta\n0\t-1.5\tb\n";
        assert_eq!(score_column(both).as_deref(), Some("rating"));
        // A name alone is not enough, and a row's number is no score.
        let words = "grade\tx\ttext\nhigh\t0.5\ta\nlow\t1.5\tb\n";
        assert_eq!(score_column(words).as_deref(), Some("x"));
        let rows: String = (0..30).map(|i| format!("{i}\t{}\ta text\n", i % 20)).collect();
        assert_eq!(score_column(&format!("n\tz\ttext\n{rows}")).as_deref(), Some("z"));
    }

    #[test]
    fn scores_keep_their_value_and_their_range() {
        let set = set("score\ttext\n 4.5\ta\n-1e1\tb\n0\tc\n").unwrap();
        assert_eq!((set.range, set.examples[0].score()), (Some((-10.0, 4.5)), Some(4.5)));
        let (train, eval) = set.split(0.34, 0);
        assert_eq!((train.examples.len(), eval.examples.len()), (2, 1));
        assert_eq!(eval.range, Some((-10.0, 4.5)));
    }

    #[test]
    fn a_known_range_is_kept_and_needs_no_scores() {
        let table = table("score\ttext\n3\ta\n3\tb\n");
        let columns = |label: Option<&str>| Columns {
            text: "text".into(),
            pair: None,
            label: label.map(str::to_string),
        };
        let set = regression(&table, &columns(Some("score")), Some((0.0, 5.0))).unwrap();
        assert_eq!((set.range, set.examples[1].score()), (Some((0.0, 5.0)), Some(3.0)));
        let set = regression(&table, &columns(None), Some((0.0, 5.0))).unwrap();
        assert_eq!(set.examples[0].target, None);
        assert!(regression(&table, &columns(None), None).is_err());
    }
}
