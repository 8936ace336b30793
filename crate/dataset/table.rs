//! A file's bytes to a [`Table`]: CSV, TSV, semicolons, JSON, or a sheet of a spreadsheet.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::encoding::decode;
use super::json::{Object, is_json, objects};
use super::sheets::{NumberedRow, Program, Sheet};
use crate::error::{Error, Result};

/// A row that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// 1-based: the line of the file on which the row starts, or the place in a JSON array.
    pub row: usize,
    pub reason: String,
}

/// # Errors
/// Nothing of a file can be used, though there are rows; with the first reason.
pub(super) fn require_usable(place: &str, is_empty: bool, skipped: &[Problem]) -> Result<()> {
    match (is_empty, skipped.first()) {
        (true, Some(Problem { row, reason })) => {
            let problem = format!("none of the {} rows can be used", skipped.len());
            Err(Error::new(place, problem).fix(format!("Row {row}, for example: {reason}.")))
        }
        _ => Ok(()),
    }
}

/// What the functions that take a [`Table`] leave to their caller: the name of its file.
pub fn in_file(name: &str, error: Error) -> Error {
    Error { place: format!("{name}, {}", error.place), ..error }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Csv { delimiter: char },
    Jsonl,
    Spreadsheet,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Format::Csv { delimiter: '\t' } => "tsv",
            Format::Csv { .. } => "csv",
            Format::Jsonl => "jsonl",
            Format::Spreadsheet => "spreadsheet",
        }
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The file it came from.
    pub name: String,
    pub format: Format,
    pub has_header: bool,
    /// "1", "2", … where the file has no header.
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
    pub problems: Vec<Problem>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Counted as in [`Problem::row`].
    pub number: usize,
    /// One cell a column; None where a JSON object lacks the key or holds null.
    pub cells: Vec<Option<String>>,
}

/// Reads a table; its format is told by the content, and by the ending of `name` only where the
/// content leaves it open. Of a spreadsheet it is the first sheet with rows.
pub fn read_table(name: &str, bytes: &[u8]) -> Result<Table> {
    match Program::of(bytes) {
        Some(program) => tabulate_sheet(name, &program.read(name, bytes, None)?),
        None => read_table_text(name, &decode(name, bytes)?.text),
    }
}

pub(super) fn read_table_text(name: &str, text: &str) -> Result<Table> {
    let table = if is_json(name, text) { read_json(name, text)? } else { read_csv(name, text)? };
    require_rows(name, table)
}

pub(super) fn tabulate_sheet(name: &str, sheet: &Sheet) -> Result<Table> {
    let record = |(line, cells): &'_ NumberedRow| Record {
        line: *line,
        cells: cells.iter().map(|cell| cell.clone().into()).collect(),
    };
    let records: Vec<Record> = sheet.rows.iter().map(record).collect();
    let has_header = looks_like_header(&records);
    let mut table = tabulate(name, Format::Spreadsheet, records, has_header);
    table.problems.extend_from_slice(&sheet.problems);
    require_rows(name, table)
}

fn require_rows(name: &str, table: Table) -> Result<Table> {
    match (table.rows.is_empty(), table.problems.first()) {
        (false, _) => Ok(table),
        (true, Some(Problem { row, reason })) => {
            Err(Error::new(format!("{name}, row {row}"), reason)
                .fix("No row of the file can be read; this is the first one."))
        }
        (true, None) => Err(no_rows(name)),
    }
}

/// Reads tab-separated lines as they are, by a caller who knows them: quotes are text, and there is
/// a header or none. That no row fits may be told by what reads them.
pub(super) fn read_raw_table(name: &str, bytes: &[u8], has_header: bool) -> Result<Table> {
    let text = decode(name, bytes)?.text;
    // Without quotes none is left open.
    let records = Records { is_raw: true, ..Records::new(&text, '\t') }.flatten().collect();
    let table = tabulate(name, Format::Csv { delimiter: '\t' }, records, has_header);
    match table.rows.is_empty() && table.problems.is_empty() {
        true => Err(no_rows(name)),
        false => Ok(table),
    }
}

fn no_rows(name: &str) -> Error {
    Error::new(name, "there is a header, but no row below it")
}

pub(super) fn ending(name: &str) -> String {
    name.rsplit_once('.').map_or(String::new(), |(_, ending)| ending.to_ascii_lowercase())
}

// ---- JSON ----

fn read_json(name: &str, text: &str) -> Result<Table> {
    let mut table = Table {
        name: name.to_string(),
        format: Format::Jsonl,
        has_header: true,
        columns: vec![],
        rows: vec![],
        problems: vec![],
    };
    let mut places = HashMap::new();
    for (number, object) in objects(name, text)? {
        push_object(&mut table, &mut places, number, object);
    }
    for row in &mut table.rows {
        row.cells.resize(table.columns.len(), None);
    }
    Ok(table)
}

fn push_object(
    table: &mut Table,
    places: &mut HashMap<String, usize>,
    number: usize,
    object: serde_json::Result<Object>,
) {
    let object = match object {
        Ok(object) => object,
        Err(cause) => {
            let reason = format!("not a JSON object: {cause}");
            return table.problems.push(Problem { row: number, reason });
        }
    };
    let mut cells = vec![None; table.columns.len()];
    for (key, value) in object {
        let place = *places.entry(key).or_insert_with_key(|key| {
            table.columns.push(key.clone());
            cells.push(None);
            table.columns.len() - 1
        });
        cells[place] = json_cell(value);
    }
    table.rows.push(Row { number, cells });
}

fn json_cell(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

// ---- CSV ----

fn read_csv(name: &str, text: &str) -> Result<Table> {
    let (start, delimiter) = match separator_line(text) {
        Some((delimiter, rest)) => (rest, delimiter),
        None => (text, find_delimiter(name, text)),
    };
    let line = 1 + text[..text.len() - start.len()].matches('\n').count();
    let mut records = Vec::new();
    for record in (Records { line, ..Records::new(start, delimiter) }) {
        records.push(record.map_err(|line| {
            Error::new(format!("{name}, row {line}"), "a quoted field starts here and never ends")
                .fix("Close the quote, or double it (\"\") where it belongs to the text.")
        })?);
    }
    let has_header = looks_like_header(&records);
    Ok(tabulate(name, Format::Csv { delimiter }, records, has_header))
}

fn tabulate(name: &str, format: Format, mut records: Vec<Record>, has_header: bool) -> Table {
    let width = records.first().map_or(0, |record| record.cells.len());
    let header = if has_header { Some(records.remove(0)) } else { None };
    let columns = column_names(header, width);
    let (mut rows, mut problems) = (vec![], vec![]);
    for record in records {
        match fit(record, width) {
            Ok(row) => rows.push(row),
            Err(problem) => problems.push(problem),
        }
    }
    Table { name: name.to_string(), format, has_header, columns, rows, problems }
}

/// A first line `sep=;`, which tells Excel the delimiter, and the text below it.
fn separator_line(text: &str) -> Option<(char, &str)> {
    let (line, rest) = text.trim_start_matches(['\r', '\n']).split_once('\n')?;
    // Saved once more by a spreadsheet, it is quoted or padded with empty fields.
    let line = line.trim_end_matches(['\r', ' ']).trim_start_matches('"');
    let value = line.get(4..).filter(|_| line[..4].eq_ignore_ascii_case("sep="))?;
    let delimiter = value.chars().next().filter(|letter| !letter.is_alphanumeric())?;
    let is_padding = |letter: char| letter == '"' || letter == delimiter || ",;\t".contains(letter);
    if let Some(padding) = value.strip_prefix("\\t") {
        return padding.chars().all(is_padding).then_some(('\t', rest));
    }
    value.chars().all(is_padding).then_some((delimiter, rest))
}

/// The delimiter that cuts most of the first rows into as many fields as the first one.
fn find_delimiter(name: &str, text: &str) -> char {
    let by_name = match ending(name).as_str() {
        "csv" => Some(','),
        "tsv" | "tab" => Some('\t'),
        _ => None,
    };
    let mut best = (by_name.unwrap_or('\t'), 0.5);
    for delimiter in by_name.into_iter().chain(['\t', ';', ',']) {
        let share = agreement(text, delimiter);
        if share > best.1 {
            best = (delimiter, share);
        }
    }
    best.0
}

fn agreement(text: &str, delimiter: char) -> f64 {
    let records: Vec<_> = Records::new(text, delimiter).take(100).flatten().collect();
    match records.first().map_or(0, |first| first.cells.len()) {
        0 | 1 => 0.0,
        width => {
            let fits = |record: &&Record| record.padded_width(width) == width;
            records.iter().filter(fits).count() as f64 / records.len() as f64
        }
    }
}

fn column_names(header: Option<Record>, width: usize) -> Vec<String> {
    let mut names: Vec<String> = vec![];
    let cells = header.map_or(vec![], |header| header.cells);
    for position in 1..=width {
        let name = cells.get(position - 1).map_or("", |cell| cell.trim());
        names.push(match name {
            "" => position.to_string(),
            name if names.iter().any(|before| before == name) => format!("{name} ({position})"),
            name => name.to_string(),
        });
    }
    names
}

fn fit(record: Record, width: usize) -> std::result::Result<Row, Problem> {
    let fitting = record.padded_width(width);
    let Record { line, mut cells } = record;
    cells.truncate(fitting);
    if cells.len() != width {
        let reason = format!("{} fields where the first row has {width}", cells.len());
        return Err(Problem { row: line, reason });
    }
    let cells = cells.into_iter().map(|cell| Some(cell.into_owned())).collect();
    Ok(Row { number: line, cells })
}

/// One row of the file, blank lines left out.
struct Record<'a> {
    line: usize,
    cells: Vec<Cow<'a, str>>,
}

impl Record<'_> {
    /// The number of its fields without the empty ones behind the first `width`: spreadsheets pad
    /// rows with them.
    fn padded_width(&self, width: usize) -> usize {
        let filled = self.cells.iter().rposition(|cell| !cell.trim().is_empty());
        self.cells.len().min(width.max(filled.map_or(0, |last| last + 1)))
    }
}

/// A field, and the text behind it.
type Field<'a> = (Cow<'a, str>, &'a str);

/// A quoted field that never ends.
struct Unclosed;

/// Splits text into records. A line ends with LF and any number of CRs before it. A field is quoted
/// only when it starts with a quote and the quote that closes it stands before a delimiter or the
/// end of the line, blanks aside; else its quotes are text. So both
/// real CSV, with quoted fields over several lines, and raw tab-separated files with lone quotes
/// (GLUE's) are read as they were meant. The `csv` crate knows one rule a file: with quoting on it
/// swallows rows after a lone quote, with quoting off it breaks real CSV.
struct Records<'a> {
    rest: &'a str,
    delimiter: char,
    /// Quotes are text.
    is_raw: bool,
    line: usize,
    /// Fields of the first record.
    width: usize,
}

impl<'a> Records<'a> {
    fn new(text: &'a str, delimiter: char) -> Self {
        Records { rest: text, delimiter, is_raw: false, line: 1, width: 0 }
    }

    fn skip_blank_lines(&mut self) {
        while let Some((line, rest)) = self.rest.split_once('\n')
            && line.trim_matches([' ', '\r']).is_empty()
        {
            self.rest = rest;
            self.line += 1;
        }
    }

    /// The next field, and the text behind it.
    fn field(&self, text: &'a str, record: &'a str) -> std::result::Result<Field<'a>, Unclosed> {
        if let Some(field) = self.quoted_field(text, record)? {
            return Ok(field);
        }
        let end = text.find([self.delimiter, '\n']).unwrap_or(text.len());
        let (field, rest) = text.split_at(end);
        let at_line_end = !rest.starts_with(self.delimiter);
        let field = if at_line_end { field.trim_end_matches('\r') } else { field };
        Ok((field.into(), rest))
    }

    fn quoted_field(
        &self,
        text: &'a str,
        record: &'a str,
    ) -> std::result::Result<Option<Field<'a>>, Unclosed> {
        let quoted = text.trim_start_matches(' ');
        if self.is_raw || !quoted.starts_with('"') {
            return Ok(None);
        }
        let Some(end) = closing_quote(quoted) else {
            let is_open = self.delimiter != '\t' && quoted.len() == text.len();
            return if is_open { Err(Unclosed) } else { Ok(None) };
        };
        let rest = quoted[end + 1..].trim_start_matches([' ', '\r']);
        let ends_field = rest.is_empty() || rest.starts_with([self.delimiter, '\n']);
        let is_quoted = ends_field && !self.whole_rows(quoted, end, record);
        Ok(is_quoted.then(|| (unquote(&quoted[1..end]), rest)))
    }

    /// Would the quoted field take lines that are each a row of their own? In a raw tab-separated
    /// file two lone quotes, rows apart, can look like one quoted field.
    fn whole_rows(&self, field: &str, end: usize, record: &str) -> bool {
        if self.delimiter != '\t' || !field[..end].contains('\n') {
            return false;
        }
        let last = record.len() - field.len() + end;
        let stop = record[last..].find('\n').map_or(record.len(), |newline| last + newline);
        record[..stop].split('\n').all(|line| line.matches('\t').count() + 1 == self.width)
    }
}

impl<'a> Iterator for Records<'a> {
    /// A record, or the line on which a quoted field starts that never ends.
    type Item = std::result::Result<Record<'a>, usize>;

    fn next(&mut self) -> Option<Self::Item> {
        self.skip_blank_lines();
        let record = std::mem::take(&mut self.rest);
        if record.trim_matches([' ', '\r']).is_empty() {
            return None;
        }
        let (mut text, mut cells) = (record, vec![]);
        let rest = loop {
            let Ok((field, rest)) = self.field(text, record) else { return Some(Err(self.line)) };
            cells.push(field);
            match rest.strip_prefix(self.delimiter) {
                Some(next) => text = next,
                None => break rest.trim_start_matches('\r'),
            }
        };
        self.rest = rest.strip_prefix('\n').unwrap_or(rest);
        let line = self.line;
        self.line += record[..record.len() - self.rest.len()].matches('\n').count();
        self.width = if self.width == 0 { cells.len() } else { self.width };
        Some(Ok(Record { line, cells }))
    }
}

/// Where the first quote stands that is not doubled, after the one the field starts with.
fn closing_quote(field: &str) -> Option<usize> {
    let mut from = 1;
    loop {
        let quote = from + field[from..].find('"')?;
        if !field[quote + 1..].starts_with('"') {
            return Some(quote);
        }
        from = quote + 2;
    }
}

fn unquote(field: &str) -> Cow<'_, str> {
    if field.contains('"') { field.replace("\"\"", "\"").into() } else { field.into() }
}

// ---- Header ----

/// Column names as people write them, the likeliest first.
#[rustfmt::skip]
pub(super) const LABELS: &[&str] = &[
    "label", "labels", "class", "category", "topic", "target", "sentiment", "intent", "tag",
    "gold_label", "emotion", "rating", "stars", "y",
];
#[rustfmt::skip]
pub(super) const TEXTS: &[&str] = &[
    "text", "sentence", "content", "review", "comment", "message", "tweet", "document", "body",
    "utterance", "query", "question", "sms", "headline", "title",
];
/// A text and its pair.
pub(super) const PAIRS: &[(&str, &str)] = &[
    ("sentence1", "sentence2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("sentence_a", "sentence_b"),
    ("text", "text_pair"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "passage"),
    ("question", "context"),
    ("question", "sentence"),
    ("query", "passage"),
    ("query", "document"),
];

/// Of tables with a word a row: the word, its tag, and the sentence it belongs to.
pub(super) const WORDS: &[&str] = &["word", "words", "token", "tokens", "form"];
#[rustfmt::skip]
pub(super) const TAGS: &[&str] = &[
    "tag", "tags", "label", "labels", "ner_tag", "ner_tags", "ner", "entity", "bio", "iob", "upos",
    "pos_tag", "pos_tags", "pos",
];
pub(super) const SENTENCES: &[&str] = &[
    "sentence_id",
    "sentence #",
    "sentence_idx",
    "sentence_no",
    "sent_id",
    "sentence id",
    "sentence",
];

/// Only a guess: the first row of a file without a header may look like one.
fn looks_like_header(records: &[Record]) -> bool {
    let Some((first, rest)) = records.split_first() else { return false };
    let rest = &rest[..rest.len().min(200)];
    let names: Vec<_> = first.cells.iter().map(|cell| cell.trim()).collect();
    let any_of = |known: &[&str]| names.iter().any(|name| known.contains(&&*name.to_lowercase()));
    if names.iter().any(|name| is_known_name(name)) || any_of(WORDS) && any_of(TAGS) {
        return true;
    }
    let distinct = names.iter().collect::<HashSet<_>>().len() == names.len();
    let word = |name: &&str| !name.is_empty() && name.len() <= 40 && !is_number(name);
    if rest.is_empty() || !distinct || !names.iter().all(word) {
        return false;
    }
    let column = |place: usize| rest.iter().filter_map(move |record| record.cells.get(place));
    let repeated = |(place, name): (usize, &&str)| column(place).any(|cell| cell.trim() == *name);
    let unlike = |(place, name): (usize, &&str)| {
        let length = column(place).map(|cell| cell.len()).sum::<usize>() / rest.len();
        length > 3 * name.len() || column(place).all(|cell| is_number(cell))
    };
    !names.iter().enumerate().any(repeated) && names.iter().enumerate().any(unlike)
}

fn is_known_name(name: &str) -> bool {
    let name = name.to_lowercase();
    let name = name.as_str();
    LABELS.contains(&name)
        || TEXTS.contains(&name)
        || PAIRS.iter().any(|(text, pair)| name == *text || name == *pair)
}

pub(super) fn is_number(text: &str) -> bool {
    text.trim().parse().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, text: &str) -> Table {
        read_table(name, text.as_bytes()).unwrap()
    }

    fn error(name: &str, bytes: &[u8]) -> String {
        read_table(name, bytes).unwrap_err().to_string()
    }

    /// Rows as text, `-` for a missing cell.
    fn cells(table: &Table) -> Vec<Vec<&str>> {
        let row = |row: &'_ Row| row.cells.len() == table.columns.len();
        assert!(table.rows.iter().all(row));
        let cells = table.rows.iter().map(|row| row.cells.iter());
        cells.map(|row| row.map(|cell| cell.as_deref().unwrap_or("-")).collect()).collect()
    }

    fn numbers(table: &Table) -> Vec<usize> {
        table.rows.iter().map(|row| row.number).collect()
    }

    #[test]
    fn the_content_tells_the_format() {
        for (text, format) in [
            ("label,text\n1,a b\n0,c d\n", "csv"),
            ("label;text\n1;a, b\n0;c d, e\n", "csv"),
            ("label\ttext\n1\ta, b\n0\tc; d\n", "tsv"),
            ("{\"label\": 1, \"text\": \"a\"}\n{\"label\": 0, \"text\": \"b\"}\n", "jsonl"),
            ("[{\"label\": 1, \"text\": \"a\"},\n {\"label\": 0, \"text\": \"b\"}]", "jsonl"),
        ] {
            for name in ["data.csv", "data.tsv", "data.txt", "data"] {
                let table = table(name, text);
                assert_eq!(table.format.name(), format, "{name}: {text}");
                assert_eq!((table.columns.join(" "), table.rows.len()), ("label text".into(), 2));
            }
        }
    }

    #[test]
    fn quoted_fields_hold_delimiters_quotes_and_lines() {
        let table =
            table("a.csv", "\u{feff}label,text\r\n\r\n1,\"a, \"\"b\"\"\r\nc\"\r\n0,\"\"\r\n");
        assert_eq!(table.columns, ["label", "text"]);
        assert_eq!(cells(&table), [["1", "a, \"b\"\r\nc"], ["0", ""]]);
        assert_eq!(numbers(&table), [3, 5]);
    }

    #[test]
    fn lone_quotes_are_text() {
        let raw = "label\ttext\n1\t\"so\" he said\n0\t\"open\n1\tclosed\"\n0\t5\" disk\n1\t\"end";
        let table = table("a.tsv", raw);
        let texts = ["\"so\" he said", "\"open", "closed\"", "5\" disk", "\"end"];
        assert_eq!(cells(&table).iter().map(|row| row[1]).collect::<Vec<_>>(), texts);
        assert_eq!(numbers(&table), [2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_quoted_field_may_take_several_lines_of_a_tsv() {
        let table =
            table("a.tsv", "label\ttext\n1\t\"one\ntwo\n\nthree\"\n0\t\"say \"\"hi\"\"\"\n");
        assert_eq!(cells(&table), [["1", "one\ntwo\n\nthree"], ["0", "say \"hi\""]]);
    }

    #[test]
    fn a_row_of_another_width_is_a_problem() {
        let table = table("a.csv", "label,text\n1,a\n1,b,c\n0\n0,d,,\n");
        assert_eq!(cells(&table), [["1", "a"], ["0", "d"]]);
        let problem = |row, fields| Problem {
            row,
            reason: format!("{fields} fields where the first row has 2"),
        };
        assert_eq!(table.problems, [problem(3, 3), problem(4, 1)]);
    }

    #[test]
    fn a_quote_that_swallows_the_rest_is_an_error() {
        let message = error("a.csv", b"label,text\n1,a\n0,\"b\n1,c\n");
        assert!(message.starts_with("a.csv, row 3: a quoted field starts here"), "{message}");
    }

    #[test]
    fn headers_are_told_from_rows() {
        let header = |text: &str| table("a.csv", text).has_header;
        assert!(header("Category,Message\nham,hello\nspam,win now\n"));
        assert!(header("v1,v2\nham,a longer message\nspam,another long message\n"));
        assert!(header(",text\n0,hello\n1,there\n"));
        assert!(!header("ham,hello\nspam,win now\nham,fine\n"));
        assert!(!header("1,hello\n0,there\n"));
        assert_eq!(table("a.csv", "1,a\n0,b\n").columns, ["1", "2"]);
        assert_eq!(table("a.csv", ",text,text\n0,b,c\n").columns, ["1", "text", "text (3)"]);
    }

    #[test]
    fn json_lines_may_lack_keys_and_hold_any_value() {
        let text = "{\"a\": \"x\"}\n\nnot json\n[1]\n{\"b\": 2.5, \"a\": null, \"c\": [true]}\n";
        let table = table("a.jsonl", text);
        assert_eq!(table.columns, ["a", "b", "c"]);
        assert_eq!(cells(&table), [["x", "-", "-"], ["-", "2.5", "[true]"]]);
        assert_eq!(numbers(&table), [1, 5]);
        assert_eq!(table.problems.iter().map(|p| p.row).collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn unusable_files_are_errors_with_a_place() {
        assert_eq!(error("a.csv", b""), "a.csv: the file is empty");
        assert_eq!(error("a.csv", b"\xef\xbb\xbf \n"), "a.csv: the file is empty");
        assert!(error("a.json", b"[{]").starts_with("a.json: key must be a string at line 1"));
        assert!(error("a.jsonl", b"\n{\n").starts_with("a.jsonl, row 2: not a JSON object"));
        assert!(error("a.csv", b"label,text\n").contains("no row below it"));
        assert!(error("a.csv", b"label,text\n1,2,3\n").starts_with("a.csv, row 2: 3 fields"));
    }

    #[test]
    fn lines_may_end_as_on_an_old_mac() {
        assert_eq!(cells(&table("a.csv", "label,text\r1,a\r0,b\r")), [["1", "a"], ["0", "b"]]);
    }
}
