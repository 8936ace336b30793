//! The files of a model: in a folder, or in a zip.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};

use crate::error::{Error, Result};

/// The files of a model folder: name to content.
pub type ModelFiles = BTreeMap<String, Vec<u8>>;

/// The files of a folder that mean something to us; anything else is left alone.
pub const FILE_NAMES: [&str; 7] = [
    "config.json",
    "model.safetensors",
    "pytorch_model.bin",
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
];

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
    for name in FILE_NAMES {
        // One copy of the weights is enough, and safetensors is the one that transformers takes.
        if name == "pytorch_model.bin" && files.contains_key("model.safetensors") {
            continue;
        }
        match std::fs::read(path.join(name)) {
            Ok(bytes) => drop(files.insert(name.to_string(), bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(unreadable(e)),
        }
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
    const OTHERS: [&str; 7] = [
        "tf_model.h5",
        "flax_model.msgpack",
        "added_tokens.json",
        "metrics.jsonl",
        "report.html",
        "report.json",
        "submission",
    ];
    // In several files, too, with their index.
    let is_weights = name.starts_with("model") || name.starts_with("pytorch_model");
    let is_weights =
        is_weights && [".safetensors", ".bin", ".json"].iter().any(|e| name.ends_with(e));
    FILE_NAMES.contains(&name) || OTHERS.contains(&name) || is_weights
}

/// Reads the known files of a zip; a folder inside it is looked into.
///
/// # Errors
/// It is not a zip, or no model is inside.
pub fn read_zip(name: &str, bytes: &[u8]) -> Result<ModelFiles> {
    // A zip may promise far more than it holds; no ELECTRA file is larger.
    const LIMIT: u64 = 4 << 30;
    let damaged = |e: &dyn std::fmt::Display| {
        Error::new(name, format!("is not a zip of a model ({e})"))
            .fix("Give the zip that this program or page made, or zip a Hugging Face model folder.")
    };
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| damaged(&e))?;
    let mut files = ModelFiles::new();
    for i in 0..archive.len() {
        let entry = archive.by_index(i).map_err(|e| damaged(&e))?;
        let path = entry.name().map_err(|e| damaged(&e))?.into_owned();
        let base = path.rsplit('/').next().unwrap_or_default().to_string();
        // macOS adds shadows of every file under this name.
        if !FILE_NAMES.contains(&base.as_str()) || path.starts_with("__MACOSX") {
            continue;
        }
        let mut content = Vec::new();
        entry.take(LIMIT).read_to_end(&mut content).map_err(|e| damaged(&e))?;
        if files.insert(base.clone(), content).is_some() {
            return Err(damaged(&format_args!("it holds {base} twice")));
        }
    }
    if files.is_empty() {
        return Err(damaged(&"no config.json, model.safetensors or vocab.txt inside"));
    }
    Ok(files)
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
