//! Which task a file is for.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::classes::collect_labels;
use super::columns::{ColumnChoice, cells, choose_columns, named};
use super::json::{is_json, objects};
use super::kinds::Kind;
use super::multi_label::is_lists;
use super::questions::is_squad;
use super::scores::{SCORES, distinct, has_fractions};
use super::table::{LABELS, Table, decode, ending, in_file, is_number, read_table};
use super::texts::Places;
use super::words::looks_like_columns;
use crate::error::{Error, Result, listed};

/// The task of a labelled file, where that is clear: a few labels are classification even where
/// they are numbers, scores with fractions are regression.
///
/// # Errors
/// The file cannot be read, or it is open which task is meant: then with the columns that were seen
/// and what to pass.
pub fn detect(name: &str, bytes: &[u8]) -> Result<Kind> {
    let text = decode(name, bytes)?;
    if is_json(name, &text) {
        if let Some(kind) = detect_json(name, &text)? {
            return Ok(kind);
        }
    } else if text.trim_start().starts_with('{') && is_squad("", &text) {
        // Printed over many lines, under a name that does not end in .json.
        return Ok(Kind::QuestionAnswering);
    } else if is_tagging_name(name) || looks_like_columns(&text) {
        return Ok(Kind::Tagging);
    }
    let table = read_table(name, bytes)?;
    detect_table(&table).map_err(|error| in_file(name, error))
}

/// How a file that is no table is written: `conll`, `squad` or `jsonl`.
///
/// # Errors
/// It is not text.
pub fn layout(name: &str, bytes: &[u8], task: Kind) -> Result<&'static str> {
    let text = decode(name, bytes)?;
    Ok(match task {
        Kind::Tagging if !is_json(name, &text) => "conll",
        Kind::QuestionAnswering if is_squad(name, &text) => "squad",
        _ => "jsonl",
    })
}

fn is_tagging_name(name: &str) -> bool {
    matches!(ending(name).as_str(), "conll" | "conllu" | "bio" | "iob" | "iob2" | "bioes")
}

fn detect_json(name: &str, text: &str) -> Result<Option<Kind>> {
    if text.trim_start().starts_with('{') && text.contains("\"data\"") && is_squad(name, text) {
        return Ok(Some(Kind::QuestionAnswering));
    }
    let objects = objects(name, text)?.filter_map(|(_, object)| object.ok());
    let first = objects.into_iter().find(|object| !object.contains_key("header"));
    Ok(first.and_then(|object| detect_object(&object)))
}

fn detect_object(object: &Map<String, Value>) -> Option<Kind> {
    let has = |field: &str| object.contains_key(field);
    let is_array = |field: &&str| object.get(*field).is_some_and(Value::is_array);
    if has("context") && (has("qas") || has("question") && (has("answers") || has("answer"))) {
        Some(Kind::QuestionAnswering)
    } else if ["words", "tokens"].iter().any(is_array) {
        Some(Kind::Tagging)
    } else {
        None
    }
}

fn detect_table(table: &Table) -> Result<Kind> {
    let place = |name: &String| table.columns.iter().position(|column| column == name);
    let taken = [&None, &None];
    let fractional = |names: &[&str]| {
        let place = named(table, names, taken).as_ref().and_then(place);
        place.is_some_and(|place| has_fractions(table, place))
    };
    let by_name = named(table, LABELS, taken).is_some();
    if !by_name && SCORES.iter().any(|name| fractional(&[name])) {
        return Ok(Kind::Regression);
    }
    let columns = choose_columns(table, &ColumnChoice::default())?;
    let Some(label) = columns.label.as_ref().and_then(place) else {
        return Err(unclear(table, "no column looks like labels"));
    };
    if by_name && is_lists(table, label) {
        return Ok(Kind::MultiLabel);
    }
    if by_name && has_fractions(table, label) {
        return Ok(Kind::Regression);
    }
    let numbers = cells(table, label).all(is_number);
    if numbers && distinct(table, label) > 10 && !are_counted(table, label) {
        let column = &table.columns[label];
        return Err(unclear(table, &format!("{column:?} may hold labels or scores")));
    }
    collect_labels(table, &Places::find(table, &columns)?)?;
    Ok(Kind::Classification)
}

/// Whole numbers from 0 or 1 without a gap, as classes are counted.
fn are_counted(table: &Table, place: usize) -> bool {
    let numbers: Option<BTreeSet<i64>> =
        cells(table, place).map(|cell| cell.trim().parse().ok()).collect();
    let ends =
        numbers.as_ref().and_then(|n| n.first().zip(n.last()).map(|(a, b)| (*a, *b, n.len())));
    ends.is_some_and(|(first, last, count)| {
        (0..=1).contains(&first) && last.abs_diff(first) + 1 == count as u64
    })
}

fn unclear(table: &Table, problem: &str) -> Error {
    Error::new("columns", format!("it is open which task they are for: {problem}")).fix(format!(
        "The columns are {}. Name the task (classification, multi-label, regression, tagging or \
         question-answering) and the label column.",
        listed(&table.columns)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str, text: &str) -> &'static str {
        detect(name, text.as_bytes()).map_or("?", Kind::name)
    }

    #[test]
    fn the_file_tells_the_task() {
        let score = "genre\tid\tsentence1\tsentence2\tscore\nx\t1\ta\tb\t2.5\nx\t2\tc\td\t5\ny\t3\ta\tb\t0\n";
        for (name, text, expected) in [
            ("a.csv", "label,text\n1,a\n0,b\n", "classification"),
            ("a.csv", "stars,text\n1,a\n5,b\n3,c\n", "classification"),
            ("a.csv", "rating,text\n1.5,a\n5,b\n3,c\n", "regression"),
            ("a.csv", "label,rating,text\n1,1.5,a\n0,5,b\n1,3,c\n", "classification"),
            ("a.tsv", score, "regression"),
            ("a.csv", "labels,text\na|b,x\nb,y\na,z\nb|a,z\n", "multi-label"),
            ("a.csv", "topic,text\nSports|News,x\nArts,y\nSports|News,z\n", "classification"),
            (
                "a.jsonl",
                "{\"text\": \"x\", \"labels\": [\"a\"]}\n{\"text\": \"y\", \"labels\": []}",
                "multi-label",
            ),
            ("a.txt", "EU B-ORG\nsays O\nso O\n\nGo O\non O\n, O\n", "tagging"),
            ("a.txt", "ham\tok\n\nspam\twin\n\nham\tfine\n", "classification"),
            ("a.conll", "EU B-ORG\nsays O\n", "tagging"),
            ("a.jsonl", "{\"tokens\": [\"a\"], \"ner_tags\": [1]}", "tagging"),
            (
                "a.jsonl",
                "{\"header\": {}}\n{\"context\": \"c\", \"qas\": []}",
                "question-answering",
            ),
            (
                "a.jsonl",
                "{\"question\": \"q\", \"context\": \"c\", \"answer\": \"c\"}",
                "question-answering",
            ),
            ("a.json", "{\n\"data\": []}", "question-answering"),
            ("a", "{\n\"data\": []}", "question-answering"),
            (
                "a.jsonl",
                "{\"question\": \"q\", \"context\": \"c\", \"label\": 1}\n{\"question\": \"r\", \"context\": \"d\", \"label\": 0}",
                "classification",
            ),
        ] {
            assert_eq!(kind(name, text), expected, "{text}");
        }
    }

    #[test]
    fn classes_are_counted_without_a_gap() {
        let rows = |step: usize| (0..60).map(|i| format!("{},a text\n", i % 20 * step)).collect();
        let file = |rows: String| format!("label,text\n{rows}");
        assert_eq!(kind("a.csv", &file(rows(1))), "classification");
        assert_eq!(kind("a.csv", &file(rows(5))), "?");
    }

    #[test]
    fn what_is_open_is_said() {
        let many: String = (0..40).map(|i| format!("{},a text\n", i % 20 * 5)).collect();
        let message =
            detect("a.csv", format!("label,text\n{many}").as_bytes()).unwrap_err().to_string();
        assert!(
            message.starts_with("a.csv, columns: it is open")
                && message.contains("\"label\" may hold labels or scores"),
            "{message}"
        );
        assert!(
            message.contains("The columns are \"label\", \"text\"")
                && message.contains("Name the task")
        );
        let message = detect("a.csv", b"text\nthe cat\nthe dog\n").unwrap_err().to_string();
        assert!(
            message.contains("no column looks like labels") && message.contains("\"text\""),
            "{message}"
        );
    }
}
