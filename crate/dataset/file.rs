//! A labelled file: its table is parsed once, however many readers ask for it.

use std::cell::OnceCell;

use super::table::{Table, read_table};
use crate::error::Result;

/// A file's name and content.
#[derive(Debug)]
pub struct LabelledFile<'a> {
    pub name: &'a str,
    pub bytes: &'a [u8],
    table: OnceCell<Result<Table>>,
}

impl<'a> LabelledFile<'a> {
    pub fn new(name: &'a str, bytes: &'a [u8]) -> Self {
        LabelledFile { name, bytes, table: OnceCell::new() }
    }

    /// What [`read_table`] makes of it.
    ///
    /// # Errors
    /// It is no table, or none of its rows can be read.
    pub fn table(&self) -> Result<&Table> {
        let table = self.table.get_or_init(|| read_table(self.name, self.bytes));
        table.as_ref().map_err(Clone::clone)
    }
}
