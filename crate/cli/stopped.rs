//! Where a fine-tuning run goes on from: one file beside the output folder, there whole or not at
//! all.
//!
//! It is a zip that nothing in is compressed of: `run.json`, what the command line knows;
//! `state.safetensors`, what the trainer does; and under `best/` the model of the best trial that
//! is over.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use electra::error::{Error, Result};
use electra::files::{NewFile, partial, unwritable};
use electra::pretrained::ModelFiles;
use zip::write::SimpleFileOptions;

const RUN: &str = "run.json";
const STATE: &str = "state.safetensors";
const BEST: &str = "best/";

/// What is in it.
pub struct Saved {
    pub run: Vec<u8>,
    pub state: Vec<u8>,
    pub best: ModelFiles,
}

/// The file.
pub struct Checkpoint {
    pub path: PathBuf,
}

impl Checkpoint {
    /// `out.checkpoint` for an output folder `out`.
    pub fn beside(output: &Path) -> Self {
        let path = output.with_added_extension("checkpoint");
        // `.` and `..` are no names that something could be added to.
        let path = if path == output { output.join("run.checkpoint") } else { path };
        Checkpoint { path }
    }

    /// What is to be gone on from, where that is asked for. A new run does not take the place of a
    /// stopped one unasked.
    pub fn open(&self, resume: bool, overwrite: bool) -> Result<Option<Saved>> {
        let place = self.path.display();
        if resume {
            return match self.path.is_file() {
                true => self.read().map(Some),
                false => Err(Error::new(place, "there is no checkpoint to resume from")
                    .fix("Give the --output of a run that was stopped, or leave --resume out.")),
            };
        }
        if self.path.exists() && !overwrite {
            return Err(Error::new(place, "a run that was stopped can go on from it")
                .fix("Pass --resume to go on, or --overwrite to start anew."));
        }
        Ok(None)
    }

    fn read(&self) -> Result<Saved> {
        let damaged = |e: &dyn std::fmt::Display| {
            Error::new(self.path.display(), format!("is no checkpoint of a run ({e})"))
                .fix("Start the run anew with --overwrite.")
        };
        let file = File::open(&self.path).map_err(|e| damaged(&e))?;
        let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(|e| damaged(&e))?;
        let mut files = ModelFiles::new();
        for i in 0..archive.len() {
            let mut entry = archive.by_index(i).map_err(|e| damaged(&e))?;
            let name = entry.name().map_err(|e| damaged(&e))?.into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map_err(|e| damaged(&e))?;
            files.insert(name, content);
        }
        let mut take =
            |name: &str| files.remove(name).ok_or_else(|| damaged(&format!("without {name}")));
        let (run, state) = (take(RUN)?, take(STATE)?);
        let best = files.into_iter();
        let best =
            best.filter_map(|(name, content)| Some((name.strip_prefix(BEST)?.into(), content)));
        Ok(Saved { run, state, best: best.collect() })
    }

    pub fn write(&self, run: &[u8], state: &[u8], best: Option<&ModelFiles>) -> Result<()> {
        let failed = |e: std::io::Error| unwritable(&self.path, e);
        let mut archive = zip::ZipWriter::new(BufWriter::new(NewFile::create(&self.path)?));
        let stored = SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored)
            .large_file(true);
        let mut add = |name: &str, content: &[u8]| {
            archive.start_file(name, stored).map_err(|e| failed(e.into()))?;
            archive.write_all(content).map_err(failed)
        };
        add(RUN, run)?;
        add(STATE, state)?;
        for (name, content) in best.into_iter().flatten() {
            add(&format!("{BEST}{name}"), content)?;
        }
        let buffer = archive.finish().map_err(|e| failed(e.into()))?;
        buffer.into_inner().map_err(|e| failed(e.into_error()))?.commit()
    }

    /// The run is over.
    pub fn remove(&self) -> Result<()> {
        for path in [partial(&self.path), self.path.clone()] {
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(unwritable(&path, e));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_beside_the_output_where_that_has_a_name() {
        let path = |output: &str| Checkpoint::beside(Path::new(output)).path;
        assert_eq!(path("a/out"), Path::new("a/out.checkpoint"));
        assert_eq!(path("out/"), Path::new("out.checkpoint"));
        assert_eq!(path("v1.2"), Path::new("v1.2.checkpoint"));
        assert_eq!(path("."), Path::new("./run.checkpoint"));
    }
}
