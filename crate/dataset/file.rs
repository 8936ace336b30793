//! A labelled file: it is decoded and its table parsed once, however many readers ask for it.

use std::cell::OnceCell;

use super::encoding::{Decoded, decode};
use super::table::{Table, read_table_text};
use crate::error::Result;

/// A file's name and content.
#[derive(Debug)]
pub struct LabelledFile<'a> {
    pub name: &'a str,
    pub bytes: &'a [u8],
    decoded: OnceCell<Result<Decoded<'a>>>,
    table: OnceCell<Result<Table>>,
}

impl<'a> LabelledFile<'a> {
    pub fn new(name: &'a str, bytes: &'a [u8]) -> Self {
        LabelledFile { name, bytes, decoded: OnceCell::new(), table: OnceCell::new() }
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

    /// How it was read, where that is not as UTF-8.
    pub fn note(&self) -> Option<String> {
        self.decoded().ok()?.note.clone()
    }

    /// What [`super::read_table`] makes of it.
    ///
    /// # Errors
    /// It is no table, or none of its rows can be read.
    pub fn table(&self) -> Result<&Table> {
        let table = self.table.get_or_init(|| read_table_text(self.name, self.text()?));
        table.as_ref().map_err(Clone::clone)
    }
}
