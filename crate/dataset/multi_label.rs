//! Texts or pairs with any number of labels each: one column with all of them, or a column of 0
//! and 1 for each label.

use std::collections::BTreeSet;

use serde_json::Value;

use super::columns::{Columns, cells, require_column};
use super::kinds::Kind;
use super::labels::{Known, sorted_labels, too_many};
use super::table::{Row, Table};
use super::texts::{Checked, Places, TextTarget, Texts, filled, read_rows};
use crate::error::{Error, Result, excerpt, listed};

/// The examples of a multi-label task.
///
/// The labels of a row stand in the column `columns.label`: a JSON array, or text cut at the first
/// of `|`, `;` and `,` that occurs in the column; an empty cell or array is a row without labels.
/// Or each label has a column of its own with 0 or 1 in it: those named by `flags`.
///
/// `labels`: the labels a model knows, in its order; rows with others are skipped. A table that has
/// a column for each of them needs no `flags`, one without any labels gives None. Without `labels`
/// the flags keep their order, and the table's own labels are sorted.
///
/// # Errors
/// No row can be used or a column is not there; without `labels` also where there are none, every
/// row has the same ones, or nearly every row has its own.
pub fn multi_label(
    table: &Table,
    columns: &Columns,
    flags: &[String],
    labels: Option<&[String]>,
) -> Result<Texts> {
    let places = Places::find(table, columns)?;
    let source = Source::find(table, &places, flags, labels)?;
    let is_own = labels.is_none();
    let labels = match (labels, &source) {
        (Some(labels), _) => labels.to_vec(),
        (None, Source::Flags(_)) => flags.to_vec(),
        (None, Source::Cell { .. }) => source.collect_labels(table, &places),
        (None, Source::Nothing) => {
            return Err(Error::new("label column", "no column looks like labels")
                .fix(format!("Name it; the columns are {}.", listed(&table.columns))));
        }
    };
    let known = Known::new(&labels);
    let target = |row: &Row| Ok(source.labels(row, &labels, &known)?.map(TextTarget::Classes));
    let (examples, skipped) = read_rows(table, &places, target)?;
    let set = Texts { kind: Kind::MultiLabel, examples, labels, range: None, skipped };
    if is_own {
        require_learnable(&set)?;
    }
    Ok(set)
}

fn require_learnable(set: &Texts) -> Result<()> {
    let rows: BTreeSet<_> = set.examples.iter().map(|example| example.classes()).collect();
    let (labels, examples) = (set.labels.len(), set.examples.len());
    let problem = match labels {
        0 => "no row has a label".to_string(),
        _ if rows.len() == 1 => "every row has the same labels".to_string(),
        _ if too_many(labels, examples) => {
            format!("{labels} different labels in {examples} rows")
        }
        _ => return Ok(()),
    };
    Err(Error::new("labels", problem)
        .fix("Separate the labels of a row by \"|\", \";\" or \",\", or choose another column."))
}

/// Where the labels of a row stand.
enum Source {
    Cell {
        place: usize,
        separator: Option<char>,
    },
    /// The columns of the flags, one each label.
    Flags(Vec<usize>),
    Nothing,
}

impl Source {
    fn find(
        table: &Table,
        places: &Places,
        flags: &[String],
        labels: Option<&[String]>,
    ) -> Result<Self> {
        let known = labels.unwrap_or_default();
        if let Some(flag) = flags.iter().find(|flag| labels.is_some() && !known.contains(flag)) {
            return Err(Error::new("columns", format!("the model has no label {flag:?}"))
                .fix(format!("Its labels are {}.", listed(known))));
        }
        let wanted = if flags.is_empty() || labels.is_some() { known } else { flags };
        let all_there = || wanted.iter().all(|label| table.columns.contains(label));
        if !flags.is_empty() || places.label.is_none() && !wanted.is_empty() && all_there() {
            let columns: Result<_> =
                wanted.iter().map(|name| require_column(table, name)).collect();
            return Ok(Source::Flags(columns?));
        }
        Ok(match places.label {
            Some(place) => Source::Cell { place, separator: separator(table, place, known) },
            None => Source::Nothing,
        })
    }

    fn collect_labels(&self, table: &Table, places: &Places) -> Vec<String> {
        let parts = |row| self.parts(row).unwrap_or_default();
        let names: Vec<String> = places.with_texts(table).flat_map(parts).collect();
        sorted_labels(&names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The labels in a row's cell.
    fn parts(&self, row: &Row) -> Checked<Vec<String>> {
        let Source::Cell { place, separator } = self else { return Ok(vec![]) };
        let cell = row.cells[*place].as_deref();
        let cell = cell.ok_or("the labels are missing; write [] for none")?;
        if let Some(parts) = json_parts(cell) {
            return parts;
        }
        let parts = cell.split(|letter| Some(letter) == *separator).map(str::trim);
        Ok(parts.filter(|part| !part.is_empty()).map(str::to_string).collect())
    }

    fn labels(&self, row: &Row, labels: &[String], known: &Known) -> Checked<Option<Vec<bool>>> {
        match self {
            Source::Nothing => Ok(None),
            Source::Flags(places) => {
                let flags =
                    places.iter().zip(labels).map(|(place, label)| flag(row, *place, label));
                flags.collect::<Checked<_>>().map(Some)
            }
            Source::Cell { .. } => {
                let mut own = vec![false; labels.len()];
                for part in self.parts(row)? {
                    own[known.find(&part)?] = true;
                }
                Ok(Some(own))
            }
        }
    }
}

/// None where the cell is no JSON array.
fn json_parts(cell: &str) -> Option<Checked<Vec<String>>> {
    let Ok(Value::Array(values)) = serde_json::from_str(cell) else { return None };
    let part = |value: Value| match value {
        Value::String(label) if !label.trim().is_empty() => Ok(label.trim().to_string()),
        Value::Number(label) => Ok(label.to_string()),
        other => Err(format!("{} is no label; write a text", excerpt(&other.to_string()))),
    };
    Some(values.into_iter().map(part).collect())
}

/// The first separator that occurs, and in no label that is known.
pub(super) fn separator(table: &Table, place: usize, known: &[String]) -> Option<char> {
    let texts = || cells(table, place).filter(|cell| json_parts(cell).is_none());
    let occurs = |separator: &char| texts().any(|cell| cell.contains(*separator));
    let in_label = |separator: &char| known.iter().any(|label| label.contains(*separator));
    ['|', ';', ','].into_iter().find(|separator| occurs(separator) && !in_label(separator))
}

/// Whether the cells of a column are lists of labels: arrays, or parts that come back in other
/// lists.
pub(super) fn is_lists(table: &Table, place: usize) -> bool {
    let filled = || cells(table, place).filter(|cell| !cell.trim().is_empty());
    if filled().next().is_some() && filled().all(|cell| json_parts(cell).is_some()) {
        return true;
    }
    let Some(separator) = separator(table, place, &[]) else { return false };
    let lists: BTreeSet<&str> = filled().map(str::trim).collect();
    let parts: BTreeSet<&str> =
        lists.iter().flat_map(|list| list.split(separator)).map(str::trim).collect();
    parts.len() < lists.len()
}

fn flag(row: &Row, place: usize, label: &str) -> Checked<bool> {
    let cell = filled(row, place, &format!("flag {label:?}"))?.trim();
    match cell.to_ascii_lowercase().as_str() {
        "0" | "0.0" | "false" => Ok(false),
        "1" | "1.0" | "true" => Ok(true),
        _ => Err(format!("the flag {label:?} is {}, not 0 or 1", excerpt(cell))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::read_table;
    use super::super::texts::TextExample;
    use super::*;

    fn table(name: &str, text: &str) -> Table {
        read_table(name, text.as_bytes()).unwrap()
    }

    fn columns(label: Option<&str>) -> Columns {
        Columns { text: "text".into(), pair: None, label: label.map(str::to_string) }
    }

    fn names(set: &Texts) -> Vec<String> {
        let names = |example: &TextExample| {
            let given = set.labels.iter().zip(example.classes().unwrap_or_default());
            given.filter(|(_, given)| **given).map(|(label, _)| label.as_str()).collect::<Vec<_>>()
        };
        set.examples.iter().map(|example| names(example).join("+")).collect()
    }

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn the_separator_is_the_one_that_occurs() {
        for (text, expected) in [
            ("labels\ttext\na|b\tx\n\ty\nb\tz\n", ["a+b", "", "b"]),
            ("labels\ttext\na; b;\tx\n\ty\nb\tz\n", ["a+b", "", "b"]),
            ("labels\ttext\nb,a\tx\n\ty\nb\tz\n", ["a+b", "", "b"]),
            ("labels\ttext\nb|a,c\tx\n\ty\nb\tz\n", ["a,c+b", "", "b"]),
        ] {
            let set = multi_label(&table("a.tsv", text), &columns(Some("labels")), &[], None);
            assert_eq!(names(&set.unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn arrays_hold_labels_as_they_are() {
        let text = "{\"text\": \"x\", \"labels\": [\"a, b\", \"c|d\"]}\n{\"text\": \"y\", \"labels\": []}\n{\"text\": \"z\"}";
        let set =
            multi_label(&table("a.jsonl", text), &columns(Some("labels")), &[], None).unwrap();
        assert_eq!(set.labels, ["a, b", "c|d"]);
        assert_eq!(names(&set), ["a, b+c|d", ""]);
        assert_eq!(
            (set.skipped[0].row, set.skipped[0].reason.as_str()),
            (3, "the labels are missing; write [] for none")
        );
    }

    #[test]
    fn flags_keep_their_order_or_take_the_models() {
        let table = table("a.csv", "text,toxic,rude\nx,1,0\ny,True,1.0\nz,2,0\nw,,1\n");
        let set = multi_label(&table, &columns(None), &strings(&["toxic", "rude"]), None).unwrap();
        assert_eq!(
            (set.labels.join(" "), names(&set)),
            ("toxic rude".into(), strings(&["toxic", "toxic+rude"]))
        );
        assert_eq!(set.skipped[0].reason, "the flag \"toxic\" is \"2\", not 0 or 1");
        assert_eq!(set.skipped[1].reason, "the flag \"toxic\" is empty");
        let known = strings(&["rude", "toxic"]);
        let set = multi_label(&table, &columns(None), &[], Some(&known)).unwrap();
        assert_eq!(
            (set.labels.join(" "), names(&set)),
            ("rude toxic".into(), strings(&["toxic", "rude+toxic"]))
        );
        // A label column that was chosen comes first.
        let chosen = multi_label(&table, &columns(Some("text")), &[], Some(&known));
        assert!(chosen.unwrap_err().to_string().contains("unknown label \"x\""));
        let strange = multi_label(&table, &columns(None), &strings(&["text"]), Some(&known));
        assert!(strange.unwrap_err().to_string().contains("the model has no label \"text\""));
    }

    #[test]
    fn known_labels_decide_what_is_known_and_where_it_is_cut() {
        let table = table("a.tsv", "labels\ttext\narts, crafts\tx\nmusic\ty\n");
        let known = strings(&["arts, crafts", "dance"]);
        let set = multi_label(&table, &columns(Some("labels")), &[], Some(&known)).unwrap();
        assert_eq!(
            (names(&set), set.skipped[0].reason.as_str()),
            (strings(&["arts, crafts"]), "unknown label \"music\"")
        );
        let set = multi_label(&table, &columns(None), &[], Some(&known)).unwrap();
        assert_eq!(set.examples[0].target, None);
    }
}
