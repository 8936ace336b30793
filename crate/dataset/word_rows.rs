//! Tables of tagged words: a word a row with the number of its sentence, as simpletransformers and
//! Kaggle have them, or a sentence a row beside its tags, as KoELECTRA has them.

use std::collections::HashSet;

use serde_json::Value;

use super::columns::{cells, require_column};
use super::table::{LABELS, Problem, Row, SENTENCES, TAGS, TEXTS, Table, WORDS};
use super::words::{Read, Tagged, is_entity_tag, left_out};
use crate::error::{Error, Result};

/// How a table holds words; the numbers are places of columns.
pub(super) enum WordTable {
    /// `sentence`: a new value, where there is one, starts a sentence; without it an empty row ends
    /// one.
    Words {
        sentence: Option<usize>,
        word: usize,
        tag: usize,
    },
    Sentences {
        words: usize,
        tags: usize,
    },
}

impl WordTable {
    /// None where the table holds texts.
    ///
    /// # Errors
    /// It holds words, and the column that was asked for is not there.
    pub fn find(table: &Table, tag_column: Option<&str>) -> Result<Option<Self>> {
        let asked = |found: bool| match (found, tag_column) {
            (true, Some(name)) => require_column(table, name).map(Some),
            _ => Ok(None),
        };
        let word = place(table, WORDS).filter(|word| {
            let words = || cells(table, *word);
            words().filter(|word| !word.trim().contains(' ')).count() * 10 >= words().count() * 9
        });
        let named = place(table, TAGS);
        let tag = asked(word.is_some())?.or(named).filter(|tag| Some(*tag) != word);
        if let (Some(word), Some(tag)) = (word, tag) {
            return Ok(Some(Self::Words { sentence: place(table, SENTENCES), word, tag }));
        }
        let is_named = |place: usize, names: &[&str]| {
            table.has_header && names.contains(&&*table.columns[place].to_lowercase())
        };
        let places = || 0..table.columns.len();
        let tags = |words: usize| {
            let mut order = named.into_iter().chain(places().rev());
            let can_be = |tags: &usize| *tags != words && !is_named(*tags, TEXTS);
            order.find(|tags| can_be(tags) && are_tagged(table, words, *tags))
        };
        let found = places()
            .filter(|words| !is_named(*words, LABELS))
            .find_map(|words| Some((words, tags(words)?)));
        let tag = asked(found.is_some())?;
        Ok(found.map(|(words, tags)| Self::Sentences { words, tags: tag.unwrap_or(tags) }))
    }

    /// Whether it is said where sentences end.
    pub fn has_ends(&self, table: &Table) -> bool {
        match self {
            Self::Words { sentence: None, .. } => {
                table.rows.windows(2).any(|pair| is_blank(&pair[1]) || is_gap(&pair[0], &pair[1]))
            }
            _ => true,
        }
    }

    /// The names of its columns, in words.
    pub fn described(&self, table: &Table) -> String {
        let name = |place: usize| &table.columns[place];
        match *self {
            Self::Words { sentence, word, tag } => {
                let by = sentence.map_or("empty rows".into(), |s| format!("{:?}", name(s)));
                format!(
                    "words in column {:?}, tags in {:?}, sentences by {by}",
                    name(word),
                    name(tag)
                )
            }
            Self::Sentences { words, tags } => {
                format!(
                    "sentences in column {:?}, a tag for each word in {:?}",
                    name(words),
                    name(tags)
                )
            }
        }
    }

    /// # Errors
    /// Nothing says where sentences end.
    pub fn read(&self, table: &Table) -> Result<Read> {
        let mut problems = table.problems.clone();
        let mut tagged = vec![];
        let mut take = |read: std::result::Result<Tagged, Problem>| match read {
            Ok(sentence) => tagged.push(sentence),
            Err(problem) => problems.push(problem),
        };
        match *self {
            Self::Sentences { words, tags } => {
                table.rows.iter().for_each(|row| take(sentence(row, words, tags)));
            }
            Self::Words { sentence, word, tag } => {
                if !self.has_ends(table) {
                    return Err(Error::new(&table.name, "nothing says where a sentence ends")
                        .fix("Add a column sentence_id, or an empty line behind each sentence."));
                }
                let groups = groups(&table.rows, sentence);
                groups.iter().for_each(|rows| take(words_of(rows, word, tag)));
            }
        }
        Ok((tagged, problems))
    }
}

/// The column with the likeliest of these names.
fn place(table: &Table, names: &[&str]) -> Option<usize> {
    let is = |column: &String, name: &str| table.has_header && column.to_lowercase() == name;
    names.iter().find_map(|name| table.columns.iter().position(|column| is(column, name)))
}

// ---- A word a row ----

fn is_blank(row: &Row) -> bool {
    row.cells.iter().all(|cell| text(cell).is_empty())
}

fn text(cell: &Option<String>) -> &str {
    cell.as_deref().unwrap_or_default().trim()
}

/// Empty lines stand between two rows.
fn is_gap(before: &Row, row: &Row) -> bool {
    let lines: usize = before.cells.iter().flatten().map(|cell| cell.matches('\n').count()).sum();
    row.number > before.number + lines + 1
}

/// The rows of each sentence.
fn groups(rows: &[Row], sentence: Option<usize>) -> Vec<Vec<&Row>> {
    let mut groups: Vec<Vec<&Row>> = vec![];
    let (mut open, mut before): (Option<&str>, Option<&Row>) = (None, None);
    for row in rows {
        let starts = match sentence {
            Some(place) => {
                let id = Some(text(&row.cells[place])).filter(|id| !id.is_empty());
                let is_new = id.is_some() && id != open;
                open = id.or(open);
                is_new
            }
            None => before.is_some_and(|before| is_blank(before) || is_gap(before, row)),
        };
        before = Some(row);
        if starts || groups.is_empty() {
            groups.push(vec![]);
        }
        if let Some(group) = groups.last_mut().filter(|_| !is_blank(row)) {
            group.push(row);
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}

fn words_of(rows: &[&Row], word: usize, tag: usize) -> std::result::Result<Tagged, Problem> {
    let filled = |row: &Row, place: usize, what: &str| match text(&row.cells[place]) {
        "" => Err(left_out(row.number, rows[0].number, format!("the {what} is empty"))),
        cell => Ok(cell.to_string()),
    };
    type Column = std::result::Result<Vec<String>, Problem>;
    let column =
        |place, what| -> Column { rows.iter().map(|row| filled(row, place, what)).collect() };
    Ok(Tagged {
        rows: rows.iter().map(|row| row.number).collect(),
        words: column(word, "word")?,
        tags: Some(column(tag, "label")?),
    })
}

// ---- A sentence a row ----

/// The words or tags of a cell: cut at blanks, or a list as JSON or Python prints it.
fn parts(cell: &str) -> Vec<String> {
    let cell = cell.trim();
    let Some(list) = cell.strip_prefix('[').and_then(|cell| cell.strip_suffix(']')) else {
        return cell.split_whitespace().map(str::to_string).collect();
    };
    if let Ok(Value::Array(values)) = serde_json::from_str(cell) {
        let part = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
        return values.iter().map(part).collect();
    }
    let mut found = vec![];
    let mut rest = list;
    while let Some(start) = rest.find(['\'', '"']) {
        let (quote, inner) = (&rest[start..=start], &rest[start + 1..]);
        let Some(end) = inner.find(quote) else { break };
        found.push(inner[..end].to_string());
        rest = &inner[end + 1..];
    }
    if found.is_empty() {
        let bare = list.split([',', ' ']).filter(|part| !part.is_empty());
        return bare.map(str::to_string).collect();
    }
    found
}

/// Whether nearly every row has as many tags as words, several, and there are few tags. Tags that are
/// none of entities need rows of many lengths: labels of two words can stand beside texts of two.
fn are_tagged(table: &Table, words: usize, tags: usize) -> bool {
    let rows = &table.rows[..table.rows.len().min(200)];
    let (mut fits, mut total) = (0, 0);
    let (mut seen_words, mut seen_tags) = (HashSet::new(), HashSet::new());
    let mut lengths = HashSet::new();
    for row in rows {
        let (words, tags) = (parts(text(&row.cells[words])), parts(text(&row.cells[tags])));
        if words.len() != tags.len() {
            continue;
        }
        fits += 1;
        total += words.len();
        lengths.insert(words.len());
        seen_words.extend(words);
        seen_tags.extend(tags);
    }
    let is_tag = |tag: &String| tag.chars().count() <= 30;
    let are_entities = seen_tags.iter().all(|tag| tag == "O" || is_entity_tag(tag));
    fits * 10 >= rows.len() * 9
        && total >= 2 * rows.len()
        && seen_tags.len() < seen_words.len()
        && seen_tags.len() * 2 <= total
        && (are_entities || lengths.len() >= 3 && seen_tags.iter().all(is_tag))
}

fn sentence(row: &Row, words: usize, tags: usize) -> std::result::Result<Tagged, Problem> {
    let (words, tags) = (parts(text(&row.cells[words])), parts(text(&row.cells[tags])));
    let number = row.number;
    if words.is_empty() {
        return Err(Problem { row: number, reason: "there are no words".into() });
    }
    if words.len() != tags.len() {
        let reason = format!("{} words, but {} labels", words.len(), tags.len());
        return Err(Problem { row: number, reason });
    }
    Ok(Tagged { rows: vec![number; words.len()], words, tags: Some(tags) })
}
