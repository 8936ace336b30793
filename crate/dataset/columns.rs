//! Which columns of a table hold the text, its pair and the label.

use std::collections::HashSet;

use serde::Serialize;

use super::table::{LABELS, PAIRS, TEXTS, Table};
use crate::error::{Error, Result, listed, nearest};

/// The columns that are used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Columns {
    pub text: String,
    pub pair: Option<String>,
    pub label: Option<String>,
}

/// The columns that a user asked for; the rest is detected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnChoice {
    pub text: Option<String>,
    pub pair: Option<String>,
    pub label: Option<String>,
}

/// What was asked for, else what the names say, else what the cells look like. A pair column is
/// never guessed from its cells, nor when the user chose the text column.
pub fn choose_columns(table: &Table, choice: &ColumnChoice) -> Result<Columns> {
    let ColumnChoice { mut text, mut pair, mut label } = choice.clone();
    for name in [&text, &pair, &label].into_iter().flatten() {
        require_column(table, name)?;
    }
    if text.is_none()
        && let Some((first, second)) = named_pair(table, &pair, &label)
    {
        (text, pair) = (Some(first), Some(second));
    }
    text = text.or_else(|| named(table, TEXTS, [&pair, &label]));
    label = label.or_else(|| named(table, LABELS, [&text, &pair]));
    label = label.or_else(|| guess_label(table, [&text, &pair]));
    text = text.or_else(|| longest_column(table, [&pair, &label]));
    let text = text.ok_or_else(|| {
        Error::new("text column", "there is no column with text")
            .fix(format!("The columns are {}.", listed(&table.columns)))
    })?;
    distinct(Columns { text, pair, label })
}

pub(super) type Taken<'a> = [&'a Option<String>; 2];

/// The columns that have no role yet, with their places.
pub(super) fn free<'a>(
    table: &'a Table,
    taken: Taken<'a>,
) -> impl Iterator<Item = (usize, &'a String)> {
    let is_taken = move |column: &String| taken.into_iter().flatten().any(|name| name == column);
    table.columns.iter().enumerate().filter(move |(_, column)| !is_taken(column))
}

pub(super) fn named(table: &Table, names: &[&str], taken: Taken) -> Option<String> {
    let find = |name: &&str| free(table, taken).find(|(_, column)| column.to_lowercase() == **name);
    names.iter().find_map(find).map(|(_, column)| column.clone())
}

fn named_pair(
    table: &Table,
    pair: &Option<String>,
    label: &Option<String>,
) -> Option<(String, String)> {
    PAIRS.iter().find_map(|(first, second)| {
        let second = named(table, &[second], [label, &None])?;
        let asked_for = pair.as_ref().is_none_or(|pair| *pair == second);
        named(table, &[first], [label, &None]).filter(|_| asked_for).zip(Some(second))
    })
}

/// The column of short values that repeat; the one with the fewest where there are several.
fn guess_label(table: &Table, taken: Taken) -> Option<String> {
    let most = (table.rows.len() / 2).clamp(2, 200);
    let values = |place| cells(table, place).map(str::trim).collect::<HashSet<_>>();
    free(table, taken)
        .map(|(place, column)| (values(place), column))
        .filter(|(values, _)| (2..=most).contains(&values.len()))
        .filter(|(values, _)| values.iter().all(|value| value.chars().count() <= 40))
        .min_by_key(|(values, _)| values.len())
        .map(|(_, column)| column.clone())
}

fn longest_column(table: &Table, taken: Taken) -> Option<String> {
    let length = |place| cells(table, place).map(str::len).sum::<usize>();
    let longest = free(table, taken).max_by_key(|(place, _)| length(*place));
    longest.map(|(_, column)| column.clone())
}

pub(super) fn cells(table: &Table, place: usize) -> impl Iterator<Item = &str> {
    table.rows.iter().filter_map(move |row| row.cells[place].as_deref())
}

fn distinct(columns: Columns) -> Result<Columns> {
    let names = [Some(&columns.text), columns.pair.as_ref(), columns.label.as_ref()];
    let names: Vec<_> = names.into_iter().flatten().collect();
    match (1..names.len()).find(|&place| names[..place].contains(&names[place])) {
        None => Ok(columns),
        Some(twice) => Err(Error::new("columns", format!("{:?} is chosen twice", names[twice]))
            .fix("Choose another column for the text, its pair and the label.")),
    }
}

pub(super) fn require_column(table: &Table, name: &str) -> Result<usize> {
    table.columns.iter().position(|column| column == name).ok_or_else(|| {
        let hint = nearest(name, &table.columns);
        let hint = hint.map_or(String::new(), |hint| format!(" Did you mean {hint:?}?"));
        Error::new("columns", format!("there is no column {name:?}"))
            .fix(format!("The columns are {}.{hint}", listed(&table.columns)))
    })
}

#[cfg(test)]
mod tests {
    use super::super::table::read_table;
    use super::*;

    fn table(text: &str) -> Table {
        read_table("data.csv", text.as_bytes()).unwrap()
    }

    fn detected(header: &str, row: &str) -> (String, Option<String>, Option<String>) {
        let table = table(&format!("{header}\n{row}\n{row}\n"));
        let Columns { text, pair, label } =
            choose_columns(&table, &ColumnChoice::default()).unwrap();
        (text, pair, label)
    }

    fn some(name: &str) -> Option<String> {
        Some(name.to_string())
    }

    #[test]
    fn columns_are_found_by_name() {
        let single = ("sentence".to_string(), None, some("topic"));
        assert_eq!(detected("topic,title,sentence", "Arts,Design,long"), single);
        let pair = ("question".to_string(), some("passage"), some("label"));
        assert_eq!(detected("label,passage,question", "1,a,b"), pair);
        let nli = ("Sentence1".to_string(), some("Sentence2"), some("gold_label"));
        assert_eq!(detected("gold_label,Sentence1,Sentence2,score", "1,a,b,0.5"), nli);
    }

    #[test]
    fn columns_are_found_by_content() {
        let table = table("1,x1,ham,how are you\n2,x2,spam,win money now\n3,x3,ham,fine thanks\n");
        let columns = choose_columns(&table, &ColumnChoice::default()).unwrap();
        assert_eq!(columns, Columns { text: "4".into(), pair: None, label: some("3") });
    }

    #[test]
    fn a_choice_overrides_detection() {
        let table = table("label,sentence1,sentence2,kind\n1,a,b,x\n0,c,d,y\n");
        let choice = |text: Option<&str>, pair: Option<&str>, label: Option<&str>| {
            let [text, pair, label] = [text, pair, label].map(|name| name.map(str::to_string));
            choose_columns(&table, &ColumnChoice { text, pair, label })
        };
        let columns = choice(Some("sentence2"), None, Some("kind")).unwrap();
        assert_eq!(columns, Columns { text: "sentence2".into(), pair: None, label: some("kind") });
        let columns = choice(None, Some("sentence2"), None).unwrap();
        assert_eq!((columns.text.as_str(), columns.pair), ("sentence1", some("sentence2")));
        let message = choice(Some("sentense1"), None, None).unwrap_err().to_string();
        assert!(message.contains("no column \"sentense1\"") && message.contains("\"kind\""));
        assert!(message.ends_with("Did you mean \"sentence1\"?"), "{message}");
        assert!(choice(Some("kind"), None, Some("kind")).is_err());
    }
}
