//! Files that are read piece by piece, so that of a large one no second copy is ever in memory: a page
//! has 4 GiB for everything.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use super::folder::ModelFiles;
use crate::error::{Error, Result};

/// Bytes of a [`stream`] that are read at once.
const AT_ONCE: usize = 1 << 18;

/// The bytes of a file: in memory, or in a page outside of the engine's.
pub trait Pieces {
    fn length(&self) -> usize;

    /// # Errors
    /// The file is shorter, or is not there any more.
    fn read(&self, range: Range<usize>) -> io::Result<Cow<'_, [u8]>>;
}

impl<T: AsRef<[u8]>> Pieces for T {
    fn length(&self) -> usize {
        self.as_ref().len()
    }

    fn read(&self, range: Range<usize>) -> io::Result<Cow<'_, [u8]>> {
        self.as_ref().get(range).map(Cow::Borrowed).ok_or(io::ErrorKind::UnexpectedEof.into())
    }
}

/// The files of a model folder, wherever they lie.
pub trait Files {
    fn open(&self, name: &str) -> Option<&dyn Pieces>;
}

impl Files for ModelFiles {
    fn open(&self, name: &str) -> Option<&dyn Pieces> {
        self.get(name).map(|bytes| bytes as &dyn Pieces)
    }
}

/// All of a small file; None where it is not there.
///
/// # Errors
/// It is there and cannot be read.
pub(crate) fn read_whole<'a>(files: &'a dyn Files, name: &str) -> Result<Option<Cow<'a, [u8]>>> {
    let Some(file) = files.open(name) else { return Ok(None) };
    file.read(0..file.length()).map(Some).map_err(|e| unreadable(name, &e))
}

pub(super) fn unreadable(name: &str, e: &io::Error) -> Error {
    Error::new(name, format!("cannot be read ({e})"))
        .fix("Choose the model again; the file may have been changed, moved or removed.")
}

/// The file from its start to its end, for what wants to be told it so.
pub(super) fn stream(file: &dyn Pieces) -> impl BufRead + Seek {
    BufReader::with_capacity(AT_ONCE, Stream { file, at: 0 })
}

struct Stream<'a> {
    file: &'a dyn Pieces,
    at: u64,
}

impl Read for Stream<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = self.file.length();
        let start = usize::try_from(self.at).unwrap_or(length).min(length);
        let count = bytes.len().min(length - start);
        bytes[..count].copy_from_slice(&self.file.read(start..start + count)?);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Stream<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = sought(to, self.at, self.file.length() as u64)?;
        Ok(self.at)
    }
}

/// Where a reader or writer that is at a place of something so long is to go.
pub(crate) fn sought(to: SeekFrom, at: u64, length: u64) -> io::Result<u64> {
    let place = match to {
        SeekFrom::Start(place) => Some(place),
        SeekFrom::End(by) => length.checked_add_signed(by),
        SeekFrom::Current(by) => at.checked_add_signed(by),
    };
    place.ok_or(io::ErrorKind::InvalidInput.into())
}
