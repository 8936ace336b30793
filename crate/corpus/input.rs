//! Text files of every supported kind as one stream of lines and document borders.
//!
//! `.txt`: a line is a sentence or a paragraph, a blank line ends a document, and so does the end
//! of the file. `.jsonl`: every line is an object and a document; the line breaks of its text
//! separate paragraphs. Both also packed, as `.gz` or `.zst`. Nothing is ever held as a whole but
//! one JSON document, and a stream can go on from any item of it.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

const SUPPORTED: &str = ".txt and .jsonl, also packed: .txt.gz, .txt.zst, .jsonl.gz, .jsonl.zst";
/// A longer line is handed over in pieces, so that a file without line breaks fits into memory.
const LONGEST_LINE: usize = 1 << 20;
/// A JSON object must be parsed as a whole.
const LONGEST_OBJECT: usize = 64 << 20;

/// A text to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    File(PathBuf),
    /// A plain text that is in memory already, with a name for messages.
    Text {
        name: String,
        text: Arc<str>,
    },
}

/// What tells one input from another without reading it all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputInfo {
    pub name: String,
    /// Bytes on disk: packed where the file is.
    pub bytes: u64,
    /// SHA-256 of the first and the last 64 KiB.
    pub ends_sha256: String,
}

/// The inputs that paths stand for.
#[derive(Debug, Default)]
pub struct Found {
    pub inputs: Vec<Input>,
    /// Files of folders that are of no supported kind.
    pub skipped: Vec<PathBuf>,
}

/// How to find documents in the inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    /// The field of a JSON object that holds the text.
    pub field: String,
    /// Blank lines of a text file end no document.
    pub document_per_file: bool,
}

/// A place between two items of the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub input: usize,
    /// Bytes of the unpacked input before the record: a line, or a part of an overlong one.
    pub offset: u64,
    /// Lines of the input before the record.
    pub line: u64,
    /// The record goes on with a line that has begun.
    pub inside_line: bool,
    /// Items of the record (paragraphs of a JSON document) that were handed over already.
    pub items: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    /// A line or paragraph that is not blank.
    Line,
    DocumentEnd,
}

#[derive(Debug, Clone, Copy)]
pub struct Item {
    pub kind: ItemKind,
    /// Where the stream goes on.
    pub after: Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    JsonLines,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packed {
    Plain,
    Gzip,
    Zstandard,
}

/// Files, folders (with all that is in them) and globs to inputs, each once: paths in the order
/// given, and what a folder or glob holds in the order of names.
///
/// # Errors
/// A path that is not there, matches nothing, or is of no supported kind.
pub fn find_inputs(paths: &[PathBuf]) -> Result<Found> {
    let mut found = Found::default();
    for path in paths {
        match path.exists() {
            true => add_path(path, &mut found)?,
            false => {
                for path in matches(path)? {
                    add_path(&path, &mut found)?;
                }
            }
        }
    }
    let mut seen = std::collections::HashSet::new();
    found.inputs.retain(|input| match input {
        Input::File(path) => seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())),
        Input::Text { .. } => true,
    });
    Ok(found)
}

fn matches(pattern: &Path) -> Result<Vec<PathBuf>> {
    let words = pattern.to_string_lossy();
    let missing = |problem: &str| {
        Error::new(pattern.display(), problem)
            .fix("Give files, folders, or a glob in quotation marks, such as \"texts/*.txt\".")
    };
    if !words.contains(['*', '?', '[']) {
        return Err(missing("is not there"));
    }
    let paths = glob::glob(&words).map_err(|e| missing(&format!("is no glob ({e})")))?;
    let paths: Vec<_> = paths
        .collect::<std::result::Result<_, _>>()
        .map_err(|e| unreadable(e.path(), e.error()))?;
    if paths.is_empty() { Err(missing("matches no file")) } else { Ok(paths) }
}

fn add_path(path: &Path, found: &mut Found) -> Result<()> {
    if !path.is_dir() {
        kind_of(path)?;
        found.inputs.push(Input::File(path.to_path_buf()));
        return Ok(());
    }
    let before = found.inputs.len();
    add_folder(path, found)?;
    if found.inputs.len() == before {
        return Err(Error::new(path.display(), "holds no file of a supported kind")
            .fix(format!("Supported are {SUPPORTED}.")));
    }
    Ok(())
}

fn add_folder(folder: &Path, found: &mut Found) -> Result<()> {
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let mut entries = entries.map_err(|e| unreadable(folder, &e))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // A linked folder is not followed: it could hold this one.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            add_folder(&path, found)?;
        } else if kind_of(&path).is_ok() && path.is_file() {
            found.inputs.push(Input::File(path));
        } else {
            found.skipped.push(path);
        }
    }
    Ok(())
}

fn kind_of(path: &Path) -> Result<(Kind, Packed)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let (stem, packed) = match name.rsplit_once('.') {
        Some((stem, "gz")) => (stem, Packed::Gzip),
        Some((stem, "zst")) => (stem, Packed::Zstandard),
        _ => (name.as_str(), Packed::Plain),
    };
    match stem.rsplit_once('.') {
        Some((_, "txt")) => Ok((Kind::Text, packed)),
        Some((_, "jsonl")) => Ok((Kind::JsonLines, packed)),
        _ => Err(Error::new(path.display(), "is of no supported kind")
            .fix(format!("Supported are {SUPPORTED}."))),
    }
}

fn unreadable(path: &Path, e: &std::io::Error) -> Error {
    Error::new(path.display(), format!("cannot be read ({e})"))
        .fix("Check that the file is there and that you may read it.")
}

impl Input {
    pub fn name(&self) -> String {
        match self {
            Input::File(path) => path.display().to_string(),
            Input::Text { name, .. } => name.clone(),
        }
    }

    /// # Errors
    /// The file cannot be read.
    pub fn info(&self) -> Result<InputInfo> {
        let (bytes, ends) = match self {
            Input::File(path) => read_ends(path).map_err(|e| unreadable(path, &e))?,
            Input::Text { text, .. } => (text.len() as u64, Sha256::digest(text.as_bytes()).into()),
        };
        let ends: [u8; 32] = ends;
        Ok(InputInfo { name: self.name(), bytes, ends_sha256: super::hex(&ends) })
    }

    /// The unpacked content from `offset` on.
    fn open(
        &self,
        offset: u64,
        count: &Arc<AtomicU64>,
    ) -> std::io::Result<Box<dyn BufRead + Send>> {
        let path = match self {
            Input::Text { text, .. } => {
                let mut text = Cursor::new(Arc::<[u8]>::from(text.clone()));
                text.set_position(offset);
                return Ok(Box::new(BufReader::new(Counted::new(text, count))));
            }
            Input::File(path) => path,
        };
        let mut file = File::open(path)?;
        let packed = kind_of(path).map_or(Packed::Plain, |(_, packed)| packed);
        if packed == Packed::Plain {
            file.seek(SeekFrom::Start(offset))?;
            count.fetch_add(offset, Ordering::Relaxed);
        }
        let file = BufReader::with_capacity(1 << 16, Counted::new(file, count));
        let mut unpacked: Box<dyn Read + Send> = match packed {
            Packed::Plain => return Ok(Box::new(file)),
            Packed::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            Packed::Zstandard => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        };
        if std::io::copy(&mut unpacked.by_ref().take(offset), &mut std::io::sink())? < offset {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(Box::new(BufReader::with_capacity(1 << 16, unpacked)))
    }

    fn kind(&self) -> Result<Kind> {
        match self {
            Input::File(path) => Ok(kind_of(path)?.0),
            Input::Text { .. } => Ok(Kind::Text),
        }
    }
}

fn read_ends(path: &Path) -> std::io::Result<(u64, [u8; 32])> {
    const END: u64 = 64 << 10;
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut ends = Vec::new();
    file.by_ref().take(END).read_to_end(&mut ends)?;
    file.seek(SeekFrom::Start(bytes.saturating_sub(END).max(ends.len() as u64)))?;
    file.take(END).read_to_end(&mut ends)?;
    Ok((bytes, Sha256::digest(&ends).into()))
}

/// Counts the bytes that come from disk, for the progress bar.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R> Counted<R> {
    fn new(inner: R, count: &Arc<AtomicU64>) -> Self {
        Counted { inner, count: count.clone() }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The stream of items.
pub struct Reader<'a> {
    inputs: &'a [Input],
    options: &'a ReadOptions,
    position: Position,
    open: Option<Box<dyn BufRead + Send>>,
    record: Vec<u8>,
    /// The record is a part of an overlong line, which goes on.
    cut: bool,
    /// What was read beyond the end of such a record.
    ahead: Vec<u8>,
    document: Option<Document>,
    /// Bytes read from disk.
    pub bytes_read: Arc<AtomicU64>,
}

/// A JSON document that is handed over paragraph by paragraph.
struct Document {
    text: String,
    at: usize,
    /// The position when it is through.
    end: Position,
}

impl<'a> Reader<'a> {
    pub fn new(inputs: &'a [Input], options: &'a ReadOptions) -> Self {
        Reader {
            inputs,
            options,
            position: Position::default(),
            open: None,
            record: Vec::new(),
            cut: false,
            ahead: Vec::new(),
            document: None,
            bytes_read: Arc::default(),
        }
    }

    /// Goes on where an item of the same inputs said.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub fn at(inputs: &'a [Input], options: &'a ReadOptions, position: Position) -> Result<Self> {
        let mut reader = Reader::new(inputs, options);
        for input in &inputs[..position.input] {
            reader.bytes_read.fetch_add(input.info()?.bytes, Ordering::Relaxed);
        }
        reader.position = Position { items: 0, ..position };
        for _ in 0..position.items {
            reader.next(&mut String::new())?;
        }
        Ok(reader)
    }

    /// Adds the text of the next item to `text`; None at the end of the last input.
    ///
    /// # Errors
    /// An input cannot be read or unpacked, is not UTF-8, or holds a line that is no JSON object
    /// with the text's field.
    pub fn next(&mut self, text: &mut String) -> Result<Option<Item>> {
        loop {
            if let Some(item) = self.next_paragraph(text) {
                return Ok(Some(item));
            }
            let inputs = self.inputs;
            let Some(input) = inputs.get(self.position.input) else { return Ok(None) };
            let kind = input.kind()?;
            if !self.read_record(input, kind)? {
                self.open = None;
                self.position = Position { input: self.position.input + 1, ..Position::default() };
                return Ok(Some(self.item(ItemKind::DocumentEnd)));
            }
            match kind {
                Kind::JsonLines => self.document = self.parse_object(input)?,
                Kind::Text => {
                    if let Some(item) = self.text_item(input, text)? {
                        return Ok(Some(item));
                    }
                }
            }
        }
    }

    fn item(&self, kind: ItemKind) -> Item {
        Item { kind, after: self.position }
    }

    /// Reads a line, or a part of an overlong one; false at the end of the input.
    fn read_record(&mut self, input: &Input, kind: Kind) -> Result<bool> {
        let failed = |line: u64, e: std::io::Error| {
            Error::new(place(input, line), format!("cannot be read ({e})"))
                .fix("The file is damaged or was cut short: make or download it again.")
        };
        let line = self.position.line;
        if self.open.is_none() {
            let opened = input.open(self.position.offset, &self.bytes_read);
            self.open = Some(opened.map_err(|e| failed(line, e))?);
        }
        let file = self.open.as_mut().expect("just opened");
        let limit = if kind == Kind::Text { LONGEST_LINE } else { LONGEST_OBJECT };
        self.record.clear();
        self.record.append(&mut self.ahead);
        let room = (limit - self.record.len()) as u64;
        file.take(room).read_until(b'\n', &mut self.record).map_err(|e| failed(line, e))?;
        self.cut = self.record.len() == limit && self.record.last() != Some(&b'\n');
        if self.cut {
            if kind == Kind::JsonLines {
                return Err(Error::new(place(input, line), "the line is longer than 64 MiB")
                    .fix("Split the document, or give the text as a .txt file."));
            }
            self.ahead = self.record.split_off(cut_point(&self.record));
        }
        Ok(!self.record.is_empty())
    }

    /// The record as a line of text; None where it is blank and ends no document.
    fn text_item(&mut self, input: &Input, text: &mut String) -> Result<Option<Item>> {
        let line = trim_line(utf8(&self.record, input, self.position)?, self.position);
        let (blank, begun) = (line.trim().is_empty(), self.position.inside_line);
        if !blank {
            text.push_str(line);
        }
        self.position = self.after_record();
        Ok(match blank {
            false => Some(self.item(ItemKind::Line)),
            true if begun || self.cut || self.options.document_per_file => None,
            true => Some(self.item(ItemKind::DocumentEnd)),
        })
    }

    fn after_record(&self) -> Position {
        Position {
            offset: self.position.offset + self.record.len() as u64,
            line: self.position.line + u64::from(!self.cut),
            inside_line: self.cut,
            ..self.position
        }
    }

    /// The record as a JSON document; None where it is blank.
    fn parse_object(&mut self, input: &Input) -> Result<Option<Document>> {
        let line = trim_line(utf8(&self.record, input, self.position)?, self.position);
        let end = self.after_record();
        if line.trim().is_empty() {
            self.position = end;
            return Ok(None);
        }
        let wrong = |problem: String| Error::new(place(input, self.position.line), problem);
        let mut object: Map<String, Value> = serde_json::from_str(line).map_err(|e| {
            wrong(format!("is not a JSON object ({e})")).fix("Give one JSON object a line.")
        })?;
        let field = self.options.field.as_str();
        let text = match object.remove(field) {
            Some(Value::String(text)) => text,
            Some(_) => return Err(wrong(format!("the field {field:?} is not a text"))),
            None => {
                let fields: Vec<_> = object.keys().map(|key| format!("{key:?}")).collect();
                return Err(wrong(format!("has no field {field:?}, but {}", fields.join(", ")))
                    .fix("Name the field that holds the text with --field."));
            }
        };
        Ok(Some(Document { text, at: 0, end }))
    }

    /// The next paragraph of the JSON document, or its end.
    fn next_paragraph(&mut self, text: &mut String) -> Option<Item> {
        let document = self.document.as_mut()?;
        while document.at < document.text.len() {
            let paragraph = first_paragraph(&document.text[document.at..]);
            document.at += paragraph.len();
            if !paragraph.trim().is_empty() {
                text.push_str(paragraph.trim_end_matches(['\n', '\r']));
                self.position.items += 1;
                return Some(self.item(ItemKind::Line));
            }
        }
        self.position = document.end;
        self.document = None;
        Some(self.item(ItemKind::DocumentEnd))
    }
}

/// Up to the first line break and with it, or a part of an overlong paragraph.
fn first_paragraph(text: &str) -> &str {
    match text.find('\n') {
        Some(end) if end < LONGEST_LINE => &text[..=end],
        _ if text.len() <= LONGEST_LINE => text,
        _ => {
            let limit = LONGEST_LINE.min(text.len());
            &text[..cut_point(&text.as_bytes()[..limit])]
        }
    }
}

/// Where an overlong line is cut: behind the last space, so that no token is, else between two
/// characters.
fn cut_point(bytes: &[u8]) -> usize {
    let space = bytes.iter().rposition(|byte| matches!(byte, b' ' | b'\t'));
    // No character starts with a byte of the form 10xxxxxx.
    let character = || bytes.iter().rposition(|byte| byte & 0xc0 != 0x80).filter(|at| *at > 0);
    space.map(|at| at + 1).or_else(character).unwrap_or(bytes.len())
}

fn trim_line(line: &str, position: Position) -> &str {
    let line = line.trim_end_matches(['\n', '\r']);
    // A byte order mark is no part of the text.
    if position.offset == 0 { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line }
}

fn utf8<'a>(record: &'a [u8], input: &Input, position: Position) -> Result<&'a str> {
    std::str::from_utf8(record).map_err(|e| {
        let byte = position.offset + e.valid_up_to() as u64;
        Error::new(place(input, position.line), format!("is not UTF-8 (byte {byte} of the text)"))
            .fix("Save the file as UTF-8.")
    })
}

fn place(input: &Input, line: u64) -> String {
    format!("{}, line {}", input.name(), line + 1)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn options() -> ReadOptions {
        ReadOptions { field: "text".into(), document_per_file: false }
    }

    fn file(folder: &Path, name: &str, bytes: &[u8]) -> Input {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        Input::File(path)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    /// The rest of a stream: texts of lines, None for document borders, each with where to go on.
    fn rest(mut reader: Reader) -> Result<Vec<(Option<String>, Position)>> {
        let mut items = Vec::new();
        loop {
            let mut text = String::new();
            let Some(item) = reader.next(&mut text)? else { return Ok(items) };
            items.push(((item.kind == ItemKind::Line).then_some(text), item.after));
        }
    }

    fn read(input: Input, options: &ReadOptions) -> Result<Vec<Option<String>>> {
        let inputs = [input];
        let items = rest(Reader::new(&inputs, options))?;
        Ok(items.into_iter().map(|(text, _)| text).collect())
    }

    /// Words of the items, with a bar at document borders.
    fn shown(name: &str, bytes: &[u8], options: &ReadOptions) -> Result<String> {
        let folder = tempfile::tempdir().unwrap();
        let items = read(file(folder.path(), name, bytes), options)?;
        let items: Vec<_> = items.into_iter().map(|text| text.unwrap_or("|".into())).collect();
        Ok(items.join(" "))
    }

    #[test]
    fn lines_and_blank_lines() {
        let shown = |text: &str| shown("a.txt", text.as_bytes(), &options()).unwrap();
        assert_eq!(shown("one\ntwo\n\nthree"), "one two | three |");
        assert_eq!(shown("\u{feff}one\r\ntwo\r\n\r\nthree\r\n"), "one two | three |");
        assert_eq!(shown("one\n \t\u{3000}\ntwo\n"), "one | two |");
        assert_eq!(shown(""), "|");
        let whole = ReadOptions { document_per_file: true, ..options() };
        assert_eq!(super::tests::shown("a.txt", b"one\n\ntwo\n", &whole).unwrap(), "one two |");
    }

    #[test]
    fn json_lines() {
        let lines = "{\"text\": \"one\\ntwo\\r\\n\\nthree\", \"id\": 1}\r\n\n{\"text\": \"\"}\n{\"text\":\"four\"}";
        assert_eq!(
            shown("a.jsonl", lines.as_bytes(), &options()).unwrap(),
            "one two three | | four |  |".replace("  ", " ")
        );
        let field = ReadOptions { field: "body".into(), ..options() };
        assert_eq!(shown("a.jsonl", b"{\"body\":\"one\"}", &field).unwrap(), "one | |");
    }

    #[test]
    fn packed_files_are_unpacked() {
        let text = b"one\n\ntwo\n";
        assert_eq!(shown("a.txt.gz", &gzip(text), &options()).unwrap(), "one | two |");
        // Two gzip files one behind the other are one, as of old.
        let twice = [gzip(b"one\n"), gzip(b"two\n")].concat();
        assert_eq!(shown("a.TXT.GZ", &twice, &options()).unwrap(), "one two |");
        let packed = zstd::encode_all(&text[..], 1).unwrap();
        assert_eq!(shown("a.txt.zst", &packed, &options()).unwrap(), "one | two |");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let failure = |name: &str, bytes: &[u8]| {
            let error = shown(name, bytes, &options()).unwrap_err();
            assert!(!error.remedy.is_empty() || error.problem.contains("not a text"), "{error}");
            error.to_string()
        };
        assert!(failure("a.txt", b"one\ntw\xff\n").contains("a.txt, line 2: is not UTF-8 (byte 6"));
        assert!(failure("a.txt", b"\xff\xfeo\0").contains("line 1: is not UTF-8 (byte 0"));
        assert!(
            failure("a.jsonl", b"{\"text\":\"\"}\n{\"text\"").contains("line 2: is not a JSON")
        );
        assert!(failure("a.jsonl", b"[1]").contains("line 1: is not a JSON object"));
        assert!(failure("a.jsonl", b"{\"body\":\"\"}").contains("no field \"text\", but \"body\""));
        assert!(failure("a.jsonl", b"{\"text\":1}").contains("\"text\" is not a text"));
        let whole = gzip("some words\n".repeat(10_000).as_bytes());
        assert!(failure("a.txt.gz", &whole[..whole.len() / 2]).contains("cannot be read"));
        assert!(failure("a.txt.gz", b"no gzip").contains("line 1: cannot be read"));
        assert!(failure("a.txt.zst", b"no zstd").contains("line 1: cannot be read"));
    }

    /// 2.5 MB in one line are handed over in three pieces that make up the whole.
    #[test]
    fn overlong_lines_come_in_pieces() {
        for unit in ["word ", "\u{e9}\u{e9}\u{1f600}"] {
            let line = unit.repeat(5 * LONGEST_LINE / 2 / unit.len());
            let text = format!("{line}\n \nlast\n");
            let folder = tempfile::tempdir().unwrap();
            let items = read(file(folder.path(), "a.txt", text.as_bytes()), &options()).unwrap();
            assert_eq!(items.len(), 6);
            assert_eq!(items[..3].iter().flatten().cloned().collect::<String>(), line);
            assert_eq!(items[3..], [None, Some("last".into()), None]);
            let object = serde_json::json!({"text": line}).to_string();
            let items =
                read(file(folder.path(), "a.jsonl", object.as_bytes()), &options()).unwrap();
            assert_eq!(items.iter().flatten().cloned().collect::<String>(), line);
        }
        let spaces = format!("one{}\n\ntwo", " ".repeat(3 * LONGEST_LINE));
        let shown = shown("a.txt", spaces.as_bytes(), &options()).unwrap();
        assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), ["one", "|", "two", "|"]);
    }

    #[test]
    fn a_stream_goes_on_from_every_item() {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("\u{feff}{}end\nlast\n\n", "word ".repeat(LONGEST_LINE / 3));
        let json = "{\"text\": \"one\\n\\ntwo\\nthree\"}\n{\"text\": \"four\"}\n";
        let inputs = [
            file(folder.path(), "a.txt", long.as_bytes()),
            file(folder.path(), "b.jsonl", json.as_bytes()),
            file(folder.path(), "c.jsonl.gz", &gzip(json.as_bytes())),
            file(folder.path(), "d.txt.zst", &zstd::encode_all(&b"one\n\ntwo\n"[..], 1).unwrap()),
            Input::Text { name: "memory".into(), text: "one\n\ntwo".into() },
        ];
        let options = options();
        let all = rest(Reader::new(&inputs, &options)).unwrap();
        assert!(all.len() > 20);
        for (i, (_, after)) in all.iter().enumerate() {
            let again = rest(Reader::at(&inputs, &options, *after).unwrap()).unwrap();
            assert!(again == all[i + 1..], "after item {i}");
        }
    }

    #[test]
    fn folders_and_globs() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("b/deep")).unwrap();
        for name in ["c.txt", "a.jsonl.gz", "b/deep/x.txt.zst", "b/y.jsonl", "readme.md"] {
            std::fs::write(root.join(name), "").unwrap();
        }
        let names = |found: &Found| -> Vec<String> {
            let relative =
                |input: &Input| input.name().replace(&format!("{}/", root.display()), "");
            found.inputs.iter().map(relative).collect()
        };
        let found = find_inputs(&[root.to_path_buf(), root.join("c.txt")]).unwrap();
        assert_eq!(names(&found), ["a.jsonl.gz", "b/deep/x.txt.zst", "b/y.jsonl", "c.txt"]);
        assert_eq!(found.skipped, [root.join("readme.md")]);
        let found = find_inputs(&[root.join("*.txt"), root.join("b/**/*")]).unwrap();
        assert_eq!(names(&found), ["c.txt", "b/deep/x.txt.zst", "b/y.jsonl"]);
        let problem = |path: &str| find_inputs(&[root.join(path)]).unwrap_err();
        assert!(problem("none.txt").problem.contains("is not there"));
        assert!(problem("*.gz.txt").problem.contains("matches no file"));
        assert!(problem("readme.md").remedy.contains(".jsonl.zst"));
        std::fs::create_dir(root.join("empty")).unwrap();
        assert!(problem("empty").problem.contains("holds no file"));
    }
}
