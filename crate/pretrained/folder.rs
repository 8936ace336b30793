//! The files of a model: in a folder, or in a zip.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};

use serde::Deserialize;

use crate::error::{Error, Result};

/// The files of a model folder: name to content.
pub type ModelFiles = BTreeMap<String, Vec<u8>>;

/// Of a model whose weights are in several files: which tensor is in which.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// What `torch.save` writes.
pub(super) const PYTORCH: &str = "pytorch_model.bin";

/// The files of a folder that mean something to us, beside weights in several files; anything else
/// is left alone. Of the weights, the first of the three is enough.
const FILE_NAMES: [&str; 9] = [
    "config.json",
    "model.safetensors",
    INDEX,
    PYTORCH,
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
];

/// Is it one of a model's files that are read here?
pub fn is_model_file(name: &str) -> bool {
    let is_part = name.starts_with("model-") && name.ends_with(".safetensors");
    FILE_NAMES.contains(&name) || is_part
}

/// The file of each tensor.
pub(super) fn read_index(bytes: &[u8]) -> Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let damaged = |e: &dyn std::fmt::Display| {
        Error::new(INDEX, format!("is damaged ({e})")).fix("Take another copy of it.")
    };
    let index: Index = serde_json::from_slice(bytes).map_err(|e| damaged(&e))?;
    match index.weight_map.values().find(|name| !is_model_file(name)) {
        Some(name) => Err(damaged(&format_args!("{name:?} is no name of a file of weights"))),
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
    std::fs::read_dir(path).map_err(unreadable)?;
    let mut files = ModelFiles::new();
    let read = |files: &mut ModelFiles, name: &str| match std::fs::read(path.join(name)) {
        Ok(bytes) => Ok(files.insert(name.to_string(), bytes).is_none()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(unreadable(e)),
    };
    // transformers takes them in this order, too.
    let mut has_weights = false;
    for name in FILE_NAMES {
        let is_weights = ["model.safetensors", INDEX, PYTORCH].contains(&name);
        if !(is_weights && has_weights) {
            has_weights |= read(&mut files, name)? && is_weights;
        }
    }
    let Some(index) = files.get(INDEX) else { return Ok(files) };
    let parts: std::collections::BTreeSet<String> = read_index(index)?.into_values().collect();
    for name in parts {
        read(&mut files, &name)?;
    }
    Ok(files)
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
    const OTHERS: [&str; 8] = [
        "pytorch_model.bin.index.json",
        "tf_model.h5",
        "flax_model.msgpack",
        "added_tokens.json",
        "metrics.jsonl",
        "report.html",
        "report.json",
        "submission",
    ];
    let is_part = name.starts_with("pytorch_model-") && name.ends_with(".bin");
    is_model_file(name) || is_part || OTHERS.contains(&name)
}

/// Reads the known files of a zip; a folder inside it is looked into.
///
/// # Errors
/// It is not a zip, or no model is inside.
pub fn read_zip(name: &str, bytes: &[u8]) -> Result<ModelFiles> {
    // A zip may promise far more than it holds; no ELECTRA file is larger. A page has no more than
    // 4 GiB for everything.
    read_zip_within(name, bytes, if cfg!(target_family = "wasm") { 1 << 30 } else { 4 << 30 })
}

/// The same where no file in it may have more than `limit` bytes.
fn read_zip_within(name: &str, bytes: &[u8], limit: u64) -> Result<ModelFiles> {
    let damaged = |e: &dyn std::fmt::Display| {
        Error::new(name, format!("is not a zip of a model ({e})"))
            .fix("Give the zip that this program or page made, or zip a Hugging Face model folder.")
    };
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| damaged(&e))?;
    let names = archive.file_names().filter_map(|name| name.ok().map(|name| name.into_owned()));
    let home = home(names.collect());
    let mut files = ModelFiles::new();
    for i in 0..archive.len() {
        let entry = archive.by_index(i).map_err(|e| damaged(&e))?;
        let path = entry.name().map_err(|e| damaged(&e))?.into_owned();
        let (folder, base) = split(&path);
        let base = base.to_string();
        // macOS adds shadows of every file under this name.
        let elsewhere = home.as_deref().is_some_and(|home| home != folder);
        if elsewhere || !is_model_file(&base) || path.starts_with("__MACOSX") {
            continue;
        }
        let mut content = Vec::new();
        entry.take(limit + 1).read_to_end(&mut content).map_err(|e| damaged(&e))?;
        if content.len() as u64 > limit {
            return Err(damaged(&format_args!("{base} has more than {limit} bytes")));
        }
        if files.insert(base.clone(), content).is_some() {
            return Err(damaged(&format_args!("it holds {base} twice")));
        }
    }
    if files.is_empty() {
        return Err(damaged(&"no config.json, model.safetensors or vocab.txt inside"));
    }
    Ok(files)
}

/// The folder of the model among others, such as those of a sentence-transformer: the uppermost with
/// a config.json.
fn home(paths: Vec<String>) -> Option<String> {
    let configs = paths.iter().map(|path| split(path)).filter(|(_, base)| *base == "config.json");
    let folders = configs.map(|(folder, _)| folder).filter(|f| !f.starts_with("__MACOSX"));
    folders.min_by_key(|folder| folder.matches('/').count()).map(String::from)
}

/// A path's folder, with its slash, and the name in it.
fn split(path: &str) -> (&str, &str) {
    path.split_at(path.rfind('/').map_or(0, |slash| slash + 1))
}

/// Packs the files into one zip. Weights do not shrink, so nothing is compressed.
pub fn to_zip(files: &ModelFiles) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in files {
        archive.start_file(name.as_str(), stored).expect("the names are plain");
        archive.write_all(bytes).expect("memory takes every write");
    }
    archive.finish().expect("memory takes every write").into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(read_zip_within("a.zip", &zip, 100).unwrap(), files);
        let error = read_zip_within("a.zip", &zip, 99).unwrap_err();
        assert!(error.problem.contains("config.json has more than 99 bytes"), "{error}");
    }
}
