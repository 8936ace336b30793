//! The files of a model: in a folder, or in a zip.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::ops::Range;

use serde::Deserialize;
use zip::CompressionMethod;
use zip::read::ZipFile;
use zip::write::SimpleFileOptions;

use super::pieces::{Pieces, stream};
use crate::error::{Error, Result};

/// The files of a model folder: name to content.
pub type ModelFiles = BTreeMap<String, Vec<u8>>;

/// Where weights may lie, the first that is there counts, as in transformers; an index says which tensor
/// is in which of several files.
pub(super) const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// The other files of a folder that mean something to us; anything else is left alone.
const FILE_NAMES: [&str; 6] = [
    "config.json",
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
];

/// Is it one of a model's files that are read here?
pub fn is_model_file(name: &str) -> bool {
    FILE_NAMES.contains(&name) || is_weights(name)
}

/// Is it a file of weights, or an index of several?
pub fn is_weights(name: &str) -> bool {
    WEIGHTS.contains(&name) || index_of(name).is_some()
}

/// Of one of several files of weights: the index that it is listed in.
fn index_of(part: &str) -> Option<&'static str> {
    let is = |start, end| part.starts_with(start) && part.ends_with(end);
    match (is("model-", ".safetensors"), is("pytorch_model-", ".bin")) {
        (true, _) => Some(WEIGHTS[1]),
        (_, true) => Some(WEIGHTS[3]),
        _ => None,
    }
}

#[cfg(not(target_family = "wasm"))]
/// Of the files that are there, those that make a model: one form of the weights is enough.
pub fn files_of_model<'a>(there: &'a [String]) -> Vec<&'a str> {
    let weights = WEIGHTS.into_iter().find(|name| there.iter().any(|there| there == name));
    let is_needed = |name: &&'a str| {
        FILE_NAMES.contains(name) || weights == Some(name) || weights == index_of(name)
    };
    there.iter().map(String::as_str).filter(is_needed).collect()
}

/// The file of each tensor.
pub(super) fn read_index(name: &str, bytes: &[u8]) -> Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let damaged = |e: &dyn std::fmt::Display| {
        Error::new(name, format!("is damaged ({e})")).fix("Take another copy of it.")
    };
    let index: Index = serde_json::from_slice(bytes).map_err(|e| damaged(&e))?;
    match index.weight_map.values().find(|part| index_of(part) != Some(name)) {
        Some(part) => Err(damaged(&format_args!("{part:?} is no name of a file of weights"))),
        None => Ok(index.weight_map),
    }
}

/// Reads the known files of a folder, or of a zip of one.
///
/// # Errors
/// The path is not there or cannot be read.
#[cfg(not(target_family = "wasm"))]
pub fn read_folder(path: &std::path::Path) -> Result<ModelFiles> {
    let unreadable = |e: std::io::Error| {
        Error::new(path.display(), format!("cannot be read ({e})"))
            .fix("Give a model folder (config.json, model.safetensors, vocab.txt) or a zip of one.")
    };
    if path.is_file() {
        return read_zip(&path.display().to_string(), &std::fs::read(path).map_err(unreadable)?);
    }
    let mut there = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        there.extend(entry.map_err(unreadable)?.file_name().into_string());
    }
    let read =
        |name: &str| Ok((name.to_string(), std::fs::read(path.join(name)).map_err(unreadable)?));
    files_of_model(&there).into_iter().map(read).collect()
}

/// Writes a model folder, whole or not at all. Of one that is there already, the files of its model
/// and of the run that made it go.
///
/// # Errors
/// The disk refuses.
#[cfg(not(target_family = "wasm"))]
pub fn write_folder(path: &std::path::Path, files: &ModelFiles) -> Result<()> {
    crate::files::write_folder(path, files, is_of_model)
}

/// Would the file be wrong beside another model?
#[cfg(not(target_family = "wasm"))]
fn is_of_model(name: &str) -> bool {
    const OTHERS: [&str; 7] = [
        "tf_model.h5",
        "flax_model.msgpack",
        "added_tokens.json",
        "metrics.jsonl",
        "report.html",
        "report.json",
        "submission",
    ];
    is_model_file(name) || OTHERS.contains(&name)
}

/// Reads the known files of a zip; a folder inside it is looked into.
///
/// # Errors
/// It is not a zip, or no model is inside.
pub fn read_zip(name: &str, bytes: &[u8]) -> Result<ModelFiles> {
    let content = |zipped| match zipped {
        Zipped::At(range) => {
            let content = Pieces::read(&bytes, range).map_err(|e| no_model(name, &e))?;
            Ok(content.into_owned())
        }
        Zipped::Unpacked(bytes) => Ok(bytes),
    };
    let files = open_zip(name, &bytes)?.into_iter();
    files.map(|(name, zipped)| Ok((name, content(zipped)?))).collect()
}

fn no_model(zip: &str, problem: &dyn std::fmt::Display) -> Error {
    Error::new(zip, format!("is not a zip of a model ({problem})"))
        .fix("Give the zip that this program or page made, or zip a Hugging Face model folder.")
}

/// A file of a zip.
#[derive(Debug, PartialEq)]
pub(crate) enum Zipped {
    /// It lies there as it is.
    At(Range<usize>),
    Unpacked(Vec<u8>),
}

/// The same, whose large files stay where they are if they are not compressed.
pub(crate) fn open_zip(name: &str, zip: &dyn Pieces) -> Result<BTreeMap<String, Zipped>> {
    // A zip may promise far more than it holds; no ELECTRA file is larger. A page has no more than
    // 4 GiB for everything.
    open_zip_within(name, zip, if cfg!(target_family = "wasm") { 1 << 30 } else { 4 << 30 })
}

/// The same where no file in it may have more than `limit` bytes.
fn open_zip_within(name: &str, zip: &dyn Pieces, limit: u64) -> Result<BTreeMap<String, Zipped>> {
    let damaged = |e: &dyn std::fmt::Display| no_model(name, e);
    let mut archive = zip::ZipArchive::new(stream(zip)).map_err(|e| damaged(&e))?;
    let names = archive.file_names().filter_map(|name| name.ok().map(|name| name.into_owned()));
    let homes = homes(names.collect());
    if homes.len() > 1 {
        return Err(damaged(&"it holds config.json twice"));
    }
    let home = homes.first();
    let mut files = BTreeMap::new();
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).map_err(|e| damaged(&e))?;
        let path = entry.name().map_err(|e| damaged(&e))?.into_owned();
        let (folder, base) = split(&path);
        let base = base.to_string();
        // macOS adds shadows of every file under this name.
        let elsewhere = home.is_some_and(|home| home != folder);
        if elsewhere || !is_model_file(&base) || path.starts_with("__MACOSX") {
            continue;
        }
        let (zipped, length) = match place_of(&mut entry, limit).map_err(|e| damaged(&e))? {
            Some(range) => (Zipped::At(range.clone()), range.len()),
            None => {
                let mut content = Vec::new();
                entry.take(limit + 1).read_to_end(&mut content).map_err(|e| damaged(&e))?;
                let length = content.len();
                (Zipped::Unpacked(content), length)
            }
        };
        if length as u64 > limit {
            return Err(damaged(&format_args!("{base} has more than {limit} bytes")));
        }
        if files.insert(base.clone(), zipped).is_some() {
            return Err(damaged(&format_args!("it holds {base} twice")));
        }
    }
    if files.is_empty() {
        return Err(damaged(&"no config.json, model.safetensors or vocab.txt inside"));
    }
    Ok(files)
}

/// Where a zip's entry lies, if it is not compressed. It is read through for its checksum, unless it has
/// more than `limit` bytes.
pub(super) fn place_of<R: Read>(
    entry: &mut ZipFile<'_, R>,
    limit: u64,
) -> io::Result<Option<Range<usize>>> {
    if entry.compression() != CompressionMethod::Stored {
        return Ok(None);
    }
    let length = io::copy(&mut entry.by_ref().take(limit + 1), &mut io::sink())? as usize;
    let start = entry.data_start().ok_or(io::ErrorKind::InvalidData)? as usize;
    Ok(Some(start..start + length))
}

/// The folder of the model among others, such as those of a sentence-transformer: the uppermost with
/// a config.json; more than one where the zip holds several models.
fn homes(paths: Vec<String>) -> Vec<String> {
    let depth = |folder: &str| folder.matches('/').count();
    let configs = paths.iter().map(|path| split(path)).filter(|(_, base)| *base == "config.json");
    let folders: Vec<&str> =
        configs.map(|(folder, _)| folder).filter(|f| !f.starts_with("__MACOSX")).collect();
    let uppermost = folders.iter().map(|folder| depth(folder)).min();
    let folders = folders.into_iter().filter(|folder| Some(depth(folder)) == uppermost);
    folders.map(String::from).collect()
}

/// A path's folder, with its slash, and the name in it.
fn split(path: &str) -> (&str, &str) {
    path.split_at(path.rfind('/').map_or(0, |slash| slash + 1))
}

/// Packs files into one zip. Weights do not shrink, so nothing is compressed.
pub fn to_zip(files: &ModelFiles) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        archive.start_file(name.as_str(), as_it_is()).expect("the names are plain");
        archive.write_all(bytes).expect("memory takes every write");
    }
    archive.finish().expect("memory takes every write").into_inner()
}

/// How files go into a zip.
pub(crate) fn as_it_is() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing is read of an empty file, so no checksum notices where it is said to lie.
    #[test]
    fn an_empty_file_beyond_the_end_is_an_error() {
        let mut zip = to_zip(&ModelFiles::from([("config.json".into(), Vec::new())]));
        assert_eq!(read_zip("a.zip", &zip).unwrap()["config.json"], b"");
        // The length of the extra field in the first file's header.
        zip[28..30].copy_from_slice(&[0xff, 0x7f]);
        let error = read_zip("a.zip", &zip).unwrap_err();
        assert!(error.problem.starts_with("is not a zip of a model ("), "{error}");
    }

    #[test]
    fn a_model_among_other_folders_is_found() {
        let files = ["m/1_Pooling/config.json", "m/config.json", "__MACOSX/config.json"];
        let files = files.iter().map(|name| (name.to_string(), name.as_bytes().to_vec()));
        let read = read_zip("a.zip", &to_zip(&files.collect())).unwrap();
        assert_eq!(read, ModelFiles::from([("config.json".into(), b"m/config.json".to_vec())]));
    }

    #[test]
    fn a_file_beyond_the_limit_is_an_error_and_not_cut() {
        let files = ModelFiles::from([("config.json".to_string(), vec![b' '; 100])]);
        let zip = to_zip(&files);
        assert_eq!(open_zip_within("a.zip", &zip, 100).unwrap().len(), 1);
        let error = open_zip_within("a.zip", &zip, 99).unwrap_err();
        assert!(error.problem.contains("config.json has more than 99 bytes"), "{error}");
    }
}
