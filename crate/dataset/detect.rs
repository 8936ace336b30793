//! Which task a file is for.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::classes::collect_labels;
use super::columns::{ColumnChoice, Columns, cells, choose_columns, named};
use super::file::LabelledFile;
use super::json::{is_json, objects};
use super::kinds::Kind;
use super::multi_label::is_lists;
use super::questions::is_squad;
use super::scores::{SCORES, distinct, has_fractions};
use super::table::{LABELS, Table, ending, in_file, is_number};
use super::texts::Places;
use super::word_rows::WordTable;
use super::words::{is_entity_tag, looks_like_columns, word_table};
use crate::error::{Error, Result, listed};

/// What a file seems to be for, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    pub task: Kind,
    pub reason: String,
}

impl Detected {
    pub fn new(task: Kind, reason: impl Into<String>) -> Self {
        Detected { task, reason: reason.into() }
    }
}

/// The task of a labelled file, where that is clear: a few labels are classification even where
/// they are numbers, scores with fractions are regression.
///
/// # Errors
/// The file cannot be read, or it is open which task is meant: then with the columns that were seen
/// and what to pass.
pub fn detect(file: &LabelledFile, choice: &ColumnChoice) -> Result<Detected> {
    let name = file.name;
    if file.sheets()?.is_some() {
        return detect_table(file.table()?, choice).map_err(|error| in_file(name, error));
    }
    let text = file.text()?;
    if is_json(name, text) {
        if let Some(found) = detect_json(name, text)? {
            return Ok(found);
        }
    } else if text.trim_start().starts_with('{') && is_squad("", text) {
        // Printed over many lines, under a name that does not end in .json.
        return Ok(Detected::new(Kind::QuestionAnswering, SQUAD));
    } else if is_tagging_name(name) {
        let reason = format!("its name ends in .{}", ending(name));
        return Ok(Detected::new(Kind::Tagging, reason));
    } else if looks_like_columns(text) {
        let reason = "a word a line, with empty lines between sentences";
        return Ok(Detected::new(Kind::Tagging, reason));
    }
    detect_table(file.table()?, choice).map_err(|error| in_file(name, error))
}

const SQUAD: &str = "it has the form of SQuAD";

/// How a file of tagged words or questions is written: `conll`, `squad`, `jsonl`, `csv` or `tsv`.
///
/// # Errors
/// It is not text.
pub fn layout(file: &LabelledFile, task: Kind) -> Result<&'static str> {
    let name = file.name;
    Ok(match task {
        Kind::Tagging => match word_table(file, None)? {
            Some((table, _)) => table.format.name(),
            None if is_json(name, file.text()?) => "jsonl",
            None => "conll",
        },
        Kind::QuestionAnswering if is_squad(name, file.text()?) => "squad",
        _ => "jsonl",
    })
}

fn is_tagging_name(name: &str) -> bool {
    matches!(ending(name).as_str(), "conll" | "conllu" | "bio" | "iob" | "iob2" | "bioes")
}

fn detect_json(name: &str, text: &str) -> Result<Option<Detected>> {
    if text.trim_start().starts_with('{') && text.contains("\"data\"") && is_squad(name, text) {
        return Ok(Some(Detected::new(Kind::QuestionAnswering, SQUAD)));
    }
    let objects = objects(name, text)?.filter_map(|(_, object)| object.ok());
    let first = objects.into_iter().find(|object| !object.contains_key("header"));
    Ok(first.and_then(|object| detect_object(&object)))
}

fn detect_object(object: &Map<String, Value>) -> Option<Detected> {
    let has = |field: &str| object.contains_key(field);
    let is_array = |field: &&str| object.get(*field).is_some_and(Value::is_array);
    if has("context") && (has("qas") || has("question") && (has("answers") || has("answer"))) {
        let reason = "its rows hold a context, a question and answers";
        return Some(Detected::new(Kind::QuestionAnswering, reason));
    }
    let words = ["words", "tokens"].into_iter().find(is_array)?;
    Some(Detected::new(Kind::Tagging, format!("{words:?} holds lists of words")))
}

fn detect_table(table: &Table, choice: &ColumnChoice) -> Result<Detected> {
    let place = |name: &String| table.columns.iter().position(|column| column == name);
    let asked = choice.label.is_some();
    if *choice == ColumnChoice::default()
        && let Some(found) = detect_words(table)?
    {
        return Ok(found);
    }
    let taken = [&choice.text, &choice.pair];
    let fractional = |name: &&str| {
        let place = named(table, &[name], taken).as_ref().and_then(place);
        place.is_some_and(|place| has_fractions(table, place))
    };
    let by_name = asked || named(table, LABELS, taken).is_some();
    if !by_name && let Some(score) = SCORES.iter().copied().find(|name| fractional(name)) {
        let reason = format!("column {score:?} holds numbers with fractions");
        return Ok(Detected::new(Kind::Regression, reason));
    }
    let columns = choose_columns(table, choice)?;
    let Some(label) = columns.label.as_ref().and_then(place) else {
        return Err(unclear(table, "no column looks like labels"));
    };
    let column = &table.columns[label];
    if by_name && is_lists(table, label) {
        let reason = format!("column {column:?} holds several labels a row");
        return Ok(Detected::new(Kind::MultiLabel, reason));
    }
    if by_name && has_fractions(table, label) {
        let reason = format!("column {column:?} holds numbers with fractions");
        return Ok(Detected::new(Kind::Regression, reason));
    }
    let values = distinct(table, label);
    let numbers = cells(table, label).all(is_number);
    if numbers && values > 10 && !are_counted(table, label) {
        return Err(unclear(table, &format!("{column:?} may hold labels or scores")));
    }
    let places = Places::find(table, &columns)?;
    let labels = collect_labels(table, &places)?;
    if are_word_tags(table, places.text, &labels) {
        let problem = "it holds single words and tags of entities, but nothing says where a \
            sentence ends";
        return Err(unclear(table, problem));
    }
    Ok(Detected::new(Kind::Classification, of_classes(table, &columns, values)))
}

fn of_classes(table: &Table, columns: &Columns, values: usize) -> String {
    let label = columns.label.as_deref().unwrap_or_default();
    let pair = columns.pair.as_ref().map_or(String::new(), |pair| format!(" and {pair:?}"));
    let rows = table.rows.len();
    let text = &columns.text;
    format!("column {label:?} holds {values} values in {rows} rows; the text is in {text:?}{pair}")
}

/// Tagged words in a table.
fn detect_words(table: &Table) -> Result<Option<Detected>> {
    let Some(words) = WordTable::find(table, None)? else { return Ok(None) };
    if !words.has_ends(table) {
        let problem = format!(
            "{}, but nothing says where a sentence ends (a column sentence_id would, or empty lines)",
            words.described(table)
        );
        return Err(unclear(table, &problem));
    }
    Ok(Some(Detected::new(Kind::Tagging, "it is a table of tagged words")))
}

/// Nearly all texts are single words, and all labels tags of entities.
fn are_word_tags(table: &Table, text: usize, labels: &[String]) -> bool {
    let texts = || cells(table, text);
    let words = texts().filter(|text| !text.trim().contains(' ')).count();
    labels.iter().all(|label| label == "O" || is_entity_tag(label))
        && words * 10 >= texts().count() * 9
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
        "The columns are {}. Name the task with --task (classification, multi-label, regression, \
         tagging or question-answering), and the label column.",
        listed(&table.columns)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str, text: &str) -> &'static str {
        detect(&LabelledFile::new(name, text.as_bytes()), &ColumnChoice::default())
            .map_or("?", |found| found.task.name())
    }

    fn error(text: &str) -> String {
        detect(&LabelledFile::new("a.csv", text.as_bytes()), &ColumnChoice::default())
            .unwrap_err()
            .to_string()
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
        let message = error(&format!("label,text\n{many}"));
        assert!(
            message.starts_with("a.csv, columns: it is open")
                && message.contains("\"label\" may hold labels or scores"),
            "{message}"
        );
        assert!(
            message.contains("The columns are \"label\", \"text\"")
                && message.contains("Name the task")
        );
        let message = error("text\nthe cat\nthe dog\n");
        assert!(
            message.contains("no column looks like labels") && message.contains("\"text\""),
            "{message}"
        );
    }
}
