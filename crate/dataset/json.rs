//! JSON in the shapes that people's programs write: objects a line, an array of them, or one
//! document around them.

use serde_json::{Map, Value};

use super::table::ending;
use crate::error::{Error, Result, excerpt, listed};

pub(super) type Object = Map<String, Value>;
type Numbered = (usize, serde_json::Result<Object>);

const REMEDY: &str = "Give one object a line, an array of objects, {\"data\": [..]} with objects, or \
    one list a column, {\"text\": [..], \"label\": [..]}. With pandas: \
    to_json(.., orient=\"records\", lines=True).";

pub(super) fn is_json(name: &str, text: &str) -> bool {
    let start = text.trim_start();
    if matches!(ending(name).as_str(), "json" | "jsonl" | "ndjson") {
        return true;
    }
    let first_line = start.lines().next().unwrap_or_default();
    start.starts_with('{') && serde_json::from_str::<Map<_, _>>(first_line).is_ok()
        || start.starts_with('[') && serde_json::from_str::<Vec<Map<_, _>>>(start).is_ok()
        || matches!(document(start), Some(Ok(_)))
}

/// The objects of a file, counted as in [`super::Problem::row`]: their lines, or their places in
/// an array or in a document's lists.
pub(super) fn objects<'a>(
    name: &str,
    text: &'a str,
) -> Result<Box<dyn Iterator<Item = Numbered> + 'a>> {
    if text.trim_start().starts_with('[') {
        let values: Vec<Value> = serde_json::from_str(text).map_err(|cause| {
            Error::new(name, cause).fix("Give an array of objects, or one object a line.")
        })?;
        return Ok(Box::new((1..).zip(values.into_iter().map(serde_json::from_value))));
    }
    match document(text) {
        Some(Ok(rows)) => Ok(Box::new((1..).zip(rows.into_iter().map(Ok)))),
        Some(Err(problem)) => Err(Error::new(name, problem).fix(REMEDY)),
        None => {
            let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
            Ok(Box::new(lines.map(|(number, line)| (number, serde_json::from_str(line)))))
        }
    }
}

/// The rows of one object that holds them all. None where the text is not one object, or one that
/// is a row itself: it stands on one line, and its values are none of many rows.
pub(super) fn document(text: &str) -> Option<std::result::Result<Vec<Object>, String>> {
    let text = text.trim();
    if !text.starts_with('{') {
        return None;
    }
    let whole: Object = serde_json::from_str(text).ok()?;
    let is_one_line = !text.contains(['\n', '\r']);
    match rows(&whole) {
        Ok(None) if is_one_line => None,
        Ok(None) => {
            let fields = listed(&whole.keys().cloned().collect::<Vec<_>>());
            Some(Err(format!("it is one object, and none of its fields holds rows: {fields}")))
        }
        Ok(Some(rows)) => Some(Ok(rows)),
        Err(problem) => Some(Err(problem)),
    }
}

/// The lists of objects that datasets are wrapped in.
const WRAPPERS: [&str; 5] = ["data", "rows", "examples", "records", "items"];

fn rows(whole: &Object) -> std::result::Result<Option<Vec<Object>>, String> {
    if let (Some(Value::Array(columns)), Some(Value::Array(data))) =
        (whole.get("columns"), whole.get("data"))
    {
        return split_rows(columns, data).map(Some);
    }
    let wrapped = WRAPPERS.iter().find_map(|name| Some((*name, whole.get(*name)?)));
    match wrapped {
        Some((name, Value::Array(values))) if !values.is_empty() => {
            if values.iter().all(Value::is_object) {
                let row = |value: &Value| value.as_object().map(unwrapped);
                return Ok(values.iter().map(row).collect());
            }
            if !whole.values().all(Value::is_array) {
                return Err(format!("{name:?} is a list of {}", excerpt(&values[0].to_string())));
            }
        }
        Some((_, Value::Object(inner))) if !inner.values().any(is_scalar) => return rows(inner),
        _ => {}
    }
    columns(whole)
}

fn is_scalar(value: &Value) -> bool {
    !value.is_array() && !value.is_object()
}

/// A row of the dataset viewer stands in `row`, beside its number.
fn unwrapped(row: &Object) -> Object {
    match row.get("row") {
        Some(Value::Object(inner)) if row.contains_key("row_idx") => inner.clone(),
        _ => row.clone(),
    }
}

/// pandas' `orient="split"`.
fn split_rows(columns: &[Value], data: &[Value]) -> std::result::Result<Vec<Object>, String> {
    let names: Vec<String> = columns.iter().map(name_of).collect();
    let row = |(number, row): (usize, &Value)| match row {
        Value::Array(cells) if cells.len() == names.len() => {
            Ok(names.iter().cloned().zip(cells.iter().cloned()).collect())
        }
        _ => Err(format!("row {number} of \"data\" has not one value for each of \"columns\"")),
    };
    (1..).zip(data).map(row).collect()
}

fn name_of(column: &Value) -> String {
    column.as_str().map_or_else(|| column.to_string(), str::to_string)
}

/// A list or an object of cells for each column. A sentence with its words and tags is one row:
/// lists of lists only are many.
fn columns(whole: &Object) -> std::result::Result<Option<Vec<Object>>, String> {
    if whole.is_empty() {
        return Ok(None);
    }
    if whole.values().all(Value::is_array) {
        let is_sentence = ["words", "tokens"].iter().any(|name| {
            whole.get(*name).and_then(|words| words.get(0)).is_some_and(Value::is_string)
        });
        return if is_sentence { Ok(None) } else { lists(whole).map(Some) };
    }
    if whole.values().all(Value::is_object) { cells_by_index(whole) } else { Ok(None) }
}

/// pandas' `to_dict("list")`.
fn lists(whole: &Object) -> std::result::Result<Vec<Object>, String> {
    let (mut height, mut rows): (Option<(&str, usize)>, Vec<Object>) = (None, vec![]);
    for (name, values) in whole {
        let values = values.as_array().map_or(&[][..], Vec::as_slice);
        match height {
            Some((first, height)) if height != values.len() => {
                let count = values.len();
                return Err(format!("{first:?} has {height} values, but {name:?} has {count}"));
            }
            _ => height = Some((name, values.len())),
        }
        rows.resize_with(values.len(), Object::new);
        for (row, value) in rows.iter_mut().zip(values) {
            row.insert(name.clone(), value.clone());
        }
    }
    Ok(rows)
}

/// pandas' `to_json` by columns, its default, or by index.
fn cells_by_index(whole: &Object) -> std::result::Result<Option<Vec<Object>>, String> {
    let is_counted = |object: &Object| object.keys().all(|key| key.parse::<u64>().is_ok());
    if is_counted(whole) {
        return Ok(Some(whole.values().filter_map(Value::as_object).cloned().collect()));
    }
    let columns = || whole.iter().filter_map(|(name, cells)| Some((name, cells.as_object()?)));
    if !columns().all(|(_, cells)| !cells.is_empty() && is_counted(cells)) {
        return Ok(None);
    }
    let mut rows: Vec<(String, Object)> = vec![];
    let mut places = std::collections::HashMap::new();
    for (name, cells) in columns() {
        for (index, cell) in cells {
            let place = *places.entry(index.clone()).or_insert_with(|| {
                rows.push((index.clone(), Object::new()));
                rows.len() - 1
            });
            rows[place].1.insert(name.clone(), cell.clone());
        }
    }
    Ok(Some(rows.into_iter().map(|(_, row)| row).collect()))
}
