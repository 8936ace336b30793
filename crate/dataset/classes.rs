//! Texts or pairs with one label each, for classification.

use super::columns::Columns;
use super::kinds::Kind;
use super::labels::{Known, sorted_labels, too_many};
use super::table::{Row, Table};
use super::texts::{Places, TextTarget, Texts, filled, read_rows};
use crate::error::{Error, Result, excerpt, listed};

/// The examples of a classification task. `labels`: the labels a model knows; rows with another one
/// are skipped. Without them the table's own are collected: numbers in the order of their values,
/// words in alphabetical order.
///
/// # Errors
/// No row can be used or a column is not there; without `labels` also where there are none, every
/// row has the same one, or nearly every row has its own.
pub fn classification(
    table: &Table,
    columns: &Columns,
    labels: Option<&[String]>,
) -> Result<Texts> {
    let places = Places::find(table, columns)?;
    let labels = match labels {
        Some(labels) => labels.to_vec(),
        None => collect_labels(table, &places)?,
    };
    let known = Known::new(&labels);
    let class = |row: &Row, place| known.find(filled(row, place, "label")?.trim());
    let (examples, skipped) = read_rows(table, &places, |row| {
        places.label.map(|place| class(row, place).map(TextTarget::Class)).transpose()
    })?;
    Ok(Texts { kind: Kind::Classification, examples, labels, range: None, skipped })
}

/// The labels of the rows that can be used.
pub(super) fn collect_labels(table: &Table, places: &Places) -> Result<Vec<String>> {
    let Some(label) = places.label else {
        return Err(Error::new("label column", "no column looks like labels")
            .fix(format!("Name it; the columns are {}.", listed(&table.columns))));
    };
    let names = places.with_texts(table).filter_map(|row| filled(row, label, "label").ok());
    let names: Vec<&str> = names.map(str::trim).collect();
    let labels = sorted_labels(&names);
    let column = format!("label column {:?}", table.columns[label]);
    match labels.len() {
        0 => Err(Error::new(column, "no row has both a text and a label")),
        1 => Err(Error::new(column, format!("every row has the label {}", excerpt(&labels[0])))
            .fix("Give rows of at least two labels, or choose another column.")),
        many if too_many(many, names.len()) => {
            Err(Error::new(column, format!("{many} different labels in {} rows", names.len()))
                .fix("Choose the column whose values repeat."))
        }
        _ => Ok(labels),
    }
}

#[cfg(test)]
mod tests {
    use super::super::columns::{ColumnChoice, choose_columns};
    use super::super::table::read_table;
    use super::*;

    /// How many examples each label has, in the order of the labels.
    fn label_counts(set: &Texts) -> Vec<(String, usize)> {
        let mut counts = vec![0; set.labels.len()];
        set.label_ids().for_each(|label| counts[label] += 1);
        set.labels.iter().cloned().zip(counts).collect()
    }

    fn table(text: &str) -> Table {
        read_table("data.csv", text.as_bytes()).unwrap()
    }

    fn some(name: &str) -> Option<String> {
        Some(name.to_string())
    }

    fn set(text: &str) -> Result<Texts> {
        let table = table(text);
        classification(&table, &choose_columns(&table, &ColumnChoice::default())?, None)
    }

    #[test]
    fn labels_are_sorted_as_numbers_or_as_words() {
        let numbers = set("label,text\n10,a\n9,b\n-1,c\n10,d\n").unwrap();
        assert_eq!(numbers.labels, ["-1", "9", "10"]);
        assert_eq!(numbers.examples[0].class(), Some(2));
        let words = set("label,text\nspam,a\n ham ,b\n10,c\n").unwrap();
        assert_eq!(words.labels, ["10", "ham", "spam"]);
        let counts = [("10", 1), ("ham", 1), ("spam", 1)];
        assert_eq!(label_counts(&words), counts.map(|(label, count)| (label.to_string(), count)));
    }

    #[test]
    fn rows_that_cannot_be_used_are_reported() {
        let table = table("label,text\n1,a\n0, \n,b\n1,c,d\n0,e\n2,f\n");
        let columns = Columns { text: "text".into(), pair: None, label: some("label") };
        let known = ["0".to_string(), "1".to_string()];
        let set = classification(&table, &columns, Some(&known)).unwrap();
        assert_eq!(set.examples.iter().map(|e| e.row).collect::<Vec<_>>(), [2, 6]);
        let skipped: Vec<_> = set.skipped.iter().map(|p| (p.row, p.reason.as_str())).collect();
        let ragged = "3 fields where the first row has 2";
        let (text, label) = ("the text is empty", "the label is empty");
        assert_eq!(skipped, [(3, text), (4, label), (5, ragged), (7, "unknown label \"2\"")]);
    }

    #[test]
    fn sets_that_cannot_be_learnt_are_errors() {
        let message = |text: &str| set(text).unwrap_err().to_string();
        assert!(message("label,text\n1,a\n1,b\n").contains("every row has the label \"1\""));
        assert!(message("label,text\n1,\n,b\n").contains("no row has both"));
        assert!(message("title,text\na,b c d\nb,c\nc,d\nd,e\ne,f\n").contains("looks like labels"));
        let own: String = (0..60).map(|row| format!("label {row},text\n")).collect();
        assert!(message(&format!("label,text\n{own}")).contains("60 different labels in 60 rows"));
        let table = table("label,text\n1,a\n0,b\n");
        let columns = choose_columns(&table, &ColumnChoice::default()).unwrap();
        let strange = classification(&table, &columns, Some(&["x".to_string()])).unwrap_err();
        assert!(strange.to_string().contains("none of the 2 rows can be used"), "{strange}");
    }

    #[test]
    fn the_split_is_stratified_and_always_the_same() {
        let rows: String = (0..100).map(|i| format!("{},text {i}\n", i % 10 / 7)).collect();
        let set = set(&format!("label,text\n{rows}")).unwrap();
        let (train, eval) = set.clone().split(0.1, 7);
        assert_eq!(label_counts(&eval), [("0".to_string(), 7), ("1".to_string(), 3)]);
        let mut rows: Vec<_> = train.examples.iter().chain(&eval.examples).map(|e| e.row).collect();
        rows.sort();
        assert_eq!(rows, (2..102).collect::<Vec<_>>());
        assert_eq!(set.clone().split(0.1, 7), (train, eval.clone()));
        assert_ne!(set.split(0.1, 8).1, eval);
        // Pinned: the same rows on every machine, in the browser too.
        let rows: Vec<_> = eval.examples.iter().map(|e| e.row).collect();
        assert_eq!(rows, [19, 36, 38, 62, 73, 75, 81, 87, 91, 98]);
    }

    #[test]
    fn a_label_keeps_its_last_example_in_training() {
        let set = set("label,text\na,1\na,2\nb,3\nc,4\nc,5\nc,6\n").unwrap();
        for fraction in [0.0, 0.01, 0.3, 0.9, 1.0] {
            let (train, eval) = set.clone().split(fraction, 1);
            assert!(label_counts(&train).iter().all(|(_, count)| *count > 0), "{fraction}");
            assert_eq!(eval.examples.is_empty(), fraction == 0.0, "{fraction}");
            assert_eq!(train.examples.len() + eval.examples.len(), 6);
        }
    }
}
