//! Spreadsheets of Excel and LibreOffice: the rows of a sheet, each cell as the text it shows.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{BufReader, Cursor, Read};

use calamine::{
    Data, Dimensions, ExcelDateTime, Ods, OdsError, Range, Reader, SheetType, SheetVisible, Xlsx,
    XlsxError,
};
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use zip::ZipArchive;

use super::table::Problem;
use crate::error::{Error, Result, listed, nearest};

pub(super) type NumberedRow = (usize, Vec<String>);

/// The rows of one sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sheet {
    pub title: String,
    /// The sheets that can be chosen, in the file's order: those with rows below a header.
    pub titles: Vec<String>,
    /// With the numbers that the spreadsheet shows; all as wide as the table, none of them empty.
    pub rows: Vec<NumberedRow>,
    /// What stands above the table.
    pub problems: Vec<Problem>,
}

/// Cells of a table in memory, empty ones included.
const MOST_CELLS: usize = 20_000_000;

/// The programs that write spreadsheets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Excel,
    LibreOffice,
    /// With a password.
    Locked,
}

impl Program {
    /// Told by the names of the parts. Excel's format of before 2007 is not read: calamine panics
    /// where such a file is damaged.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        // Those of the old format are UTF-16; with a password it holds the new one.
        let locked: Vec<u8> = "EncryptedPackage".bytes().flat_map(|byte| [byte, 0]).collect();
        match bytes {
            [b'P', b'K', 3, 4, ..] if has(b"xl/workbook.xml") => Some(Self::Excel),
            [b'P', b'K', 3, 4, ..] if has(b"opendocument.spreadsheet") => Some(Self::LibreOffice),
            [0xd0, 0xcf, 0x11, 0xe0, ..] if has(&locked) => Some(Self::Locked),
            _ => None,
        }
    }

    /// The rows of the sheet that was asked for, else of the first that has any.
    ///
    /// # Errors
    /// The file cannot be read, has no such sheet, or there are no rows.
    pub fn read(self, name: &str, bytes: &[u8], asked: Option<&str>) -> Result<Sheet> {
        let mut book = self.open(bytes).map_err(|wrong| wrong.of(name))?;
        let entries = book.entries();
        let titles: Vec<&str> = entries.iter().map(|(title, _)| title.as_str()).collect();
        if let Some(asked) = asked.filter(|asked| !titles.contains(asked)) {
            let near = nearest(asked, &titles);
            let near = near.map_or(String::new(), |near| format!("Did you mean {near:?}? "));
            return Err(Error::new(name, format!("there is no sheet {asked:?}"))
                .fix(format!("{near}The sheets are {}.", listed(&titles))));
        }
        let mut found: Vec<(&str, Cells)> = vec![];
        for (title, is_visible) in &entries {
            if *is_visible || asked == Some(title) {
                let cells = book.cells(title).map_err(|wrong| wrong.of(name))?;
                found.push((title, cells));
            }
        }
        let with_rows = found.iter().filter(|(_, cells)| cells.rows() > 1).map(|(title, _)| *title);
        let titles: Vec<String> = with_rows.map(str::to_string).collect();
        let title = asked.or(titles.first().map(String::as_str)).map(str::to_string);
        let Some((title, cells)) = found.into_iter().find(|(found, _)| match &title {
            Some(title) => found == title,
            None => true,
        }) else {
            return Err(Error::new(name, "it has no sheet with cells"));
        };
        let place = format!("{name}, sheet {title:?}");
        let (rows, problems) = cells.into_rows(&place)?;
        Ok(Sheet { title: title.to_string(), titles, rows, problems })
    }

    fn open(self, bytes: &[u8]) -> std::result::Result<Book<'_>, Wrong> {
        let reader = Cursor::new(bytes);
        Ok(match self {
            Self::Excel => Book::Xlsx(Box::new(Xlsx::new(reader)?)),
            Self::LibreOffice => {
                let merged = merged_cells(bytes)?;
                Book::Ods(Ods::new(reader)?, merged)
            }
            Self::Locked => return Err(Wrong::Password),
        })
    }
}

/// The areas of merged cells, by sheet.
type Merged = BTreeMap<String, Vec<Dimensions>>;

/// The merged cells of an OpenDocument, of which calamine says nothing; and is every element closed?
/// calamine reads on for ever where one is not, and takes any number of blanks at its word.
fn merged_cells(bytes: &[u8]) -> std::result::Result<Merged, Wrong> {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(Wrong::damaged)?;
    let mut manifest = String::new();
    if let Ok(mut part) = zip.by_name("META-INF/manifest.xml") {
        part.read_to_string(&mut manifest).map_err(Wrong::damaged)?;
    }
    if manifest.contains("encryption-data") {
        return Err(Wrong::Password);
    }
    let content = zip.by_name("content.xml").map_err(Wrong::damaged)?;
    let mut reader = quick_xml::Reader::from_reader(BufReader::new(content));
    let (mut depth, mut buffer, mut walk) = (0_usize, vec![], Walk::default());
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer).map_err(Wrong::damaged)? {
            Event::Start(tag) => {
                depth += 1;
                walk.enter(&tag)?;
            }
            Event::Empty(tag) => walk.enter(&tag)?,
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Eof if depth > 0 => return Err(Wrong::damaged("content.xml is cut off")),
            Event::Eof => return Ok(walk.merged),
            _ => {}
        }
    }
}

/// The way through the cells of an OpenDocument, and where it is.
#[derive(Default)]
struct Walk {
    sheet: String,
    row: u32,
    next_row: u32,
    column: u32,
    merged: Merged,
}

impl Walk {
    fn enter(&mut self, tag: &BytesStart) -> std::result::Result<(), Wrong> {
        let attribute = |name: &str| tag.try_get_attribute(name).ok().flatten();
        let value = |name: &str| {
            let value = attribute(name)?.normalized_value(XmlVersion::Explicit1_0).ok()?;
            Some(value.into_owned())
        };
        let count = |name: &str| value(name).map_or(1, |value| value.parse().unwrap_or(1_u32));
        match tag.name().as_ref() {
            "table:table" => {
                (self.sheet, self.next_row) = (value("table:name").unwrap_or_default(), 0);
            }
            "table:table-row" => {
                (self.row, self.column) = (self.next_row, 0);
                self.next_row = self.row.saturating_add(count("table:number-rows-repeated"));
            }
            "table:table-cell" | "table:covered-table-cell" => {
                let spanned = count("table:number-rows-spanned");
                let last = self.row.saturating_add(spanned).saturating_sub(1);
                if last > self.row {
                    let (start, end) = ((self.row, self.column), (last, self.column));
                    let areas = self.merged.entry(self.sheet.clone()).or_default();
                    areas.push(Dimensions { start, end });
                }
                let repeated = count("table:number-columns-repeated");
                self.column = self.column.saturating_add(repeated);
            }
            // `<text:s text:c="3"/>` is three blanks.
            "text:s" if attribute("text:c").is_some_and(|count| count.value.len() > 4) => {
                return Err(Wrong::damaged("too many blanks in a cell"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Why a spreadsheet cannot be read.
enum Wrong {
    Password,
    Damaged(String),
}

impl Wrong {
    fn of(self, name: &str) -> Error {
        match self {
            Self::Password => Error::new(name, "it is protected with a password")
                .fix("Save it without one in the spreadsheet, and give that file."),
            Self::Damaged(cause) => {
                Error::new(name, format!("the spreadsheet cannot be read: {cause}"))
                    .fix("Open it in a spreadsheet and save it again, as .xlsx or as CSV UTF-8.")
            }
        }
    }

    fn damaged(cause: impl Display) -> Self {
        Self::Damaged(cause.to_string())
    }
}

impl From<XlsxError> for Wrong {
    fn from(error: XlsxError) -> Self {
        Self::damaged(error)
    }
}

impl From<OdsError> for Wrong {
    fn from(error: OdsError) -> Self {
        Self::damaged(error)
    }
}

enum Book<'a> {
    Xlsx(Box<Xlsx<Cursor<&'a [u8]>>>),
    Ods(Ods<Cursor<&'a [u8]>>, Merged),
}

impl Book<'_> {
    /// The sheets that hold cells, and whether they are shown.
    fn entries(&self) -> Vec<(String, bool)> {
        let sheets = match self {
            Self::Xlsx(book) => book.sheets_metadata(),
            Self::Ods(book, _) => book.sheets_metadata(),
        };
        let cells = sheets.iter().filter(|sheet| sheet.typ == SheetType::WorkSheet);
        cells.map(|sheet| (sheet.name.clone(), sheet.visible == SheetVisible::Visible)).collect()
    }

    fn cells(&mut self, title: &str) -> std::result::Result<Cells, Wrong> {
        let (mut cells, merged) = match self {
            // One after the other: a cell far out must not cost the room of all before it.
            Self::Xlsx(book) => {
                let mut cells = Cells::default();
                let mut reader = book.worksheet_cells_reader(title)?;
                while let Some(cell) = reader.next_cell()? {
                    cells.add(cell.get_position(), &Data::from(cell.get_value().clone()));
                }
                drop(reader);
                (cells, book.merge_cells_by_sheet_name(title)?)
            }
            Self::Ods(book, merged) => {
                let areas = merged.remove(title).unwrap_or_default();
                (Cells::of(&book.worksheet_range(title)?), areas)
            }
        };
        merged.iter().for_each(|area| cells.merge(area));
        Ok(cells)
    }
}

/// What is not empty: of each row its columns and texts.
#[derive(Default)]
struct Cells(BTreeMap<u32, Vec<(u32, String)>>);

impl Cells {
    fn of(range: &Range<Data>) -> Self {
        let mut cells = Self::default();
        let (top, left) = range.start().unwrap_or_default();
        for (row, column, value) in range.used_cells() {
            cells.add((top + row as u32, left + column as u32), value);
        }
        cells
    }

    // Inlined it would only make the page's engine larger.
    #[inline(never)]
    fn add(&mut self, (row, column): (u32, u32), value: &Data) {
        let text = shown(value);
        if !text.trim().is_empty() {
            self.0.entry(row).or_default().push((column, text));
        }
    }

    fn rows(&self) -> usize {
        self.0.len()
    }

    /// Of cells that were merged down a column, each shows what stands in the first.
    fn merge(&mut self, area: &Dimensions) {
        let ((top, left), (bottom, _)) = (area.start, area.end);
        let in_column = |row: &Vec<(u32, String)>| row.iter().position(|cell| cell.0 == left);
        let Some(row) = self.0.get(&top) else { return };
        let Some(first) = in_column(row).map(|place| row[place].1.clone()) else { return };
        for (_, row) in self.0.range_mut(top..=bottom.max(top)) {
            if in_column(row).is_none() {
                row.push((left, first.clone()));
            }
        }
    }

    /// Rows of one width, without the columns that are empty, and what stands above the table.
    fn into_rows(mut self, place: &str) -> Result<(Vec<NumberedRow>, Vec<Problem>)> {
        let mut problems = vec![];
        if self.0.values().any(|row| row.len() > 1) {
            while let Some(first) = self.0.first_entry()
                && first.get().len() == 1
            {
                let row = *first.key() as usize + 1;
                first.remove();
                problems.push(Problem { row, reason: "it stands above the table".into() });
            }
        }
        let mut columns: Vec<u32> = self.0.values().flatten().map(|cell| cell.0).collect();
        columns.sort_unstable();
        columns.dedup();
        if self.0.is_empty() {
            return Err(Error::new(place, "the sheet is empty"));
        }
        if self.0.len().saturating_mul(columns.len()) > MOST_CELLS {
            let problem =
                format!("{} rows of {} columns are too many", self.0.len(), columns.len());
            return Err(Error::new(place, problem).fix("Keep the columns that are needed."));
        }
        let row = |(number, filled): (u32, Vec<(u32, String)>)| {
            let mut cells = vec![String::new(); columns.len()];
            for (column, text) in filled {
                cells[columns.partition_point(|other| *other < column)] = text;
            }
            (number as usize + 1, cells)
        };
        Ok((self.0.into_iter().map(row).collect(), problems))
    }
}

/// A value as a spreadsheet shows it, whatever the language: dates as 2026-11-26. What is no value,
/// such as #N/A, is nothing.
fn shown(value: &Data) -> String {
    match value {
        Data::Empty | Data::Error(_) => String::new(),
        Data::String(text) => text.clone(),
        Data::Int(number) => number.to_string(),
        Data::Float(number) => shown_number(*number),
        Data::Bool(is_true) => if *is_true { "TRUE" } else { "FALSE" }.into(),
        Data::DateTime(time) => shown_time(time),
        Data::DateTimeIso(text) => text.replacen('T', " ", 1).replace(" 00:00:00", ""),
        Data::DurationIso(text) => text.clone(),
    }
}

/// 3 and not 3.0, and with the 15 digits that a spreadsheet has: 0.1 + 0.2 is 0.3.
fn shown_number(number: f64) -> String {
    let rounded: f64 = format!("{number:.14e}").parse().unwrap_or(number);
    rounded.to_string()
}

fn shown_time(time: &ExcelDateTime) -> String {
    let (year, month, day, hour, minute, second, _) = time.to_ymd_hms_milli();
    let clock = format!("{hour:02}:{minute:02}:{second:02}");
    let date = format!("{year:04}-{month:02}-{day:02}");
    match time.as_f64() {
        days if time.is_duration() => {
            let seconds = (days * 86_400.0).round() as i64;
            format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
        }
        // No day: a time.
        days if (0.0..1.0).contains(&days) => clock,
        _ if clock == "00:00:00" => date,
        _ => format!("{date} {clock}"),
    }
}
