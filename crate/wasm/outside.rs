//! Files on their way in and out of the engine, of which its memory never holds all: a page has 4 GiB.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;

use js_sys::{Array, Function, Object, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

use crate::error::{Error, Result};
use crate::pretrained::{self, Files, ModelFiles, Pieces, Zipped, sought};

/// A model's files: the weights stay where the page has them, and are read from there again for
/// every run.
#[derive(Default)]
pub struct PageFiles {
    pub small: ModelFiles,
    weights: BTreeMap<String, Outside>,
}

impl PageFiles {
    /// `{name: {size, read(start, end)}}`: a folder's files, or one zip.
    ///
    /// # Errors
    /// One cannot be read, or the zip is damaged.
    pub fn new(object: JsValue) -> Result<Self> {
        let mut files = PageFiles::default();
        for (name, file) in entries(object) {
            let file = Outside::new(&file).map_err(|e| Error { place: name.clone(), ..e })?;
            if name.to_lowercase().ends_with(".zip") {
                return Self::unzipped(&name, &file);
            }
            files.add(name, file)?;
        }
        Ok(files)
    }

    fn unzipped(name: &str, zip: &Outside) -> Result<Self> {
        let mut files = PageFiles::default();
        for (name, zipped) in pretrained::open_zip(name, zip)? {
            match zipped {
                Zipped::At(place) => files.add(name, zip.part(place))?,
                Zipped::Unpacked(bytes) => drop(files.small.insert(name, bytes)),
            }
        }
        Ok(files)
    }

    fn add(&mut self, name: String, file: Outside) -> Result<()> {
        if pretrained::is_weights(&name) {
            self.weights.insert(name, file);
        } else {
            let bytes = file.all();
            let bytes = bytes.map_err(|e| Error::new(&name, format!("cannot be read ({e})")))?;
            self.small.insert(name, bytes);
        }
        Ok(())
    }
}

impl Files for PageFiles {
    fn open(&self, name: &str) -> Option<&dyn Pieces> {
        let outside = self.weights.get(name).map(|file| file as &dyn Pieces);
        outside.or_else(|| self.small.open(name))
    }
}

/// A file outside of the engine's memory, or a part of one: `{size, read(start, end)}` of the worker's.
pub struct Outside {
    read: Function,
    place: Range<usize>,
}

impl Outside {
    pub fn new(file: &JsValue) -> Result<Self> {
        let get = |key: &str| Reflect::get(file, &key.into()).ok();
        let size = get("size").and_then(|size| size.as_f64());
        let read = get("read").and_then(|read| read.dyn_into().ok());
        match (size, read) {
            // What has more, no index here can reach.
            (Some(size), Some(read)) if size <= usize::MAX as f64 => {
                Ok(Outside { read, place: 0..size as usize })
            }
            _ => Err(Error::new("file", "is larger than any that can be read here")),
        }
    }

    fn part(&self, Range { start, end }: Range<usize>) -> Self {
        let first = self.place.start;
        Outside { read: self.read.clone(), place: first + start..first + end }
    }

    fn all(&self) -> io::Result<Vec<u8>> {
        Ok(self.read(0..self.length())?.into_owned())
    }
}

impl Pieces for Outside {
    fn length(&self) -> usize {
        self.place.len()
    }

    fn read(&self, range: Range<usize>) -> io::Result<Cow<'_, [u8]>> {
        if range.end > self.length() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let [start, end] = [range.start, range.end].map(|at| (self.place.start + at) as f64);
        let read = self.read.call2(&JsValue::NULL, &start.into(), &end.into());
        let read = read.map_err(|e| io::Error::other(words_of(&e)))?;
        let bytes = read.dyn_into::<Uint8Array>().map(|bytes| bytes.to_vec()).unwrap_or_default();
        if bytes.len() != range.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Cow::Owned(bytes))
    }
}

/// What a zip is written to: large pieces go out at once, small ones stay here, for to the head of a file
/// its writer comes back once it knows the checksum.
pub struct Parts {
    keep: Function,
    parts: Vec<(Range<u64>, Content)>,
    at: u64,
}

enum Content {
    Here(Vec<u8>),
    Kept(JsValue),
}

/// From so many bytes on a piece is large.
const LARGE: usize = 1 << 16;

impl Parts {
    pub fn new(keep: Function) -> Self {
        Parts { keep, parts: Vec::new(), at: 0 }
    }

    fn end(&self) -> u64 {
        self.parts.last().map_or(0, |(place, _)| place.end)
    }

    pub fn into_array(self) -> Array {
        let value = |(_, content)| match content {
            Content::Here(bytes) => Uint8Array::from(&bytes[..]).into(),
            Content::Kept(value) => value,
        };
        self.parts.into_iter().map(value).collect()
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let place = self.at..self.at + bytes.len() as u64;
        if bytes.len() >= LARGE {
            let kept = self.keep.call1(&JsValue::NULL, &Uint8Array::from(bytes));
            let kept = kept.map_err(|e| io::Error::other(words_of(&e)))?;
            self.parts.push((place, Content::Kept(kept)));
        } else if let Some((last, Content::Here(here))) = self.parts.last_mut() {
            here.extend_from_slice(bytes);
            last.end = place.end;
        } else {
            self.parts.push((place, Content::Here(bytes.to_vec())));
        }
        Ok(())
    }

    fn overwrite(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (start, end) = (self.at, self.at + bytes.len() as u64);
        let part =
            self.parts.iter_mut().find(|(place, _)| place.start <= start && end <= place.end);
        let Some((place, Content::Here(here))) = part else {
            return Err(io::Error::other("what was written before cannot be changed"));
        };
        let first = (start - place.start) as usize;
        here[first..first + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.at == self.end() {
            self.append(bytes)?
        } else {
            self.overwrite(bytes)?
        }
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Parts {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = sought(to, self.at, self.end())?;
        Ok(self.at)
    }
}

/// The keys and values of an object.
pub fn entries(object: JsValue) -> Vec<(String, JsValue)> {
    let entry = |entry: JsValue| {
        let entry = Array::from(&entry);
        (entry.get(0).as_string().unwrap_or_default(), entry.get(1))
    };
    Object::entries(&Object::from(object)).iter().map(entry).collect()
}

/// What JavaScript threw.
pub fn words_of(thrown: &JsValue) -> String {
    let message = thrown.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
    message.or_else(|| thrown.as_string()).unwrap_or_else(|| "it failed".into())
}
