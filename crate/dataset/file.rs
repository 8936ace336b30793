//! A labelled file: it is decoded and its table parsed once, however many readers ask for it.

use std::cell::OnceCell;

use super::encoding::{Decoded, decode};
use super::sheets::{Program, Sheet};
use super::table::{Table, read_table_text, tabulate_sheet};
use crate::error::{Result, listed};

/// A file's name and content.
#[derive(Debug)]
pub struct LabelledFile<'a> {
    pub name: &'a str,
    pub bytes: &'a [u8],
    /// The sheet of a spreadsheet that is asked for.
    wanted: Option<&'a str>,
    decoded: OnceCell<Result<Decoded<'a>>>,
    sheet: OnceCell<Option<Result<Sheet>>>,
    table: OnceCell<Result<Table>>,
}

impl<'a> LabelledFile<'a> {
    pub fn new(name: &'a str, bytes: &'a [u8]) -> Self {
        LabelledFile {
            name,
            bytes,
            wanted: None,
            decoded: OnceCell::new(),
            sheet: OnceCell::new(),
            table: OnceCell::new(),
        }
    }

    /// Of a spreadsheet this sheet, instead of the first that has rows; of any other file itself.
    pub fn with_sheet(self, wanted: Option<&'a str>) -> Self {
        LabelledFile { wanted, ..self }
    }

    /// None where it is no spreadsheet.
    fn sheet(&self) -> Result<Option<&Sheet>> {
        let read = || Program::of(self.bytes)?.read(self.name, self.bytes, self.wanted).into();
        let sheet = self.sheet.get_or_init(read);
        sheet.as_ref().map(Result::as_ref).transpose().map_err(Clone::clone)
    }

    /// A spreadsheet's sheets that have rows, and the one that is read; empty for any other file.
    ///
    /// # Errors
    /// It is a spreadsheet that cannot be read, or no such sheet is in it.
    pub fn sheets(&self) -> Result<Option<(&[String], &str)>> {
        Ok(self.sheet()?.map(|Sheet { titles, title, .. }| (&titles[..], &title[..])))
    }

    fn decoded(&self) -> Result<&Decoded<'a>> {
        let decoded = self.decoded.get_or_init(|| decode(self.name, self.bytes));
        decoded.as_ref().map_err(Clone::clone)
    }

    /// What it holds as text.
    ///
    /// # Errors
    /// It is no text, or there is none.
    pub fn text(&self) -> Result<&str> {
        self.decoded().map(|decoded| &*decoded.text)
    }

    /// How it was read, where that is not as UTF-8, or which of several sheets.
    pub fn note(&self) -> Option<String> {
        if let Some((titles, title)) = self.sheets().ok()? {
            let note = format!("sheet {title:?} of {}; --sheet for another", listed(titles));
            return (titles.len() > 1).then_some(note);
        }
        self.decoded().ok()?.note.clone()
    }

    /// What [`super::read_table`] makes of it.
    ///
    /// # Errors
    /// It is no table, or none of its rows can be read.
    pub fn table(&self) -> Result<&Table> {
        let read = || match self.sheet()? {
            Some(sheet) => tabulate_sheet(self.name, sheet),
            None => read_table_text(self.name, self.text()?),
        };
        let table = self.table.get_or_init(read);
        table.as_ref().map_err(Clone::clone)
    }
}
