//! The one writer of files and folders: what it writes is there whole or not at all, whenever the
//! process ends and whatever the disk refuses.
//!
//! Until all of it is synced it lies beside its place as `.NAME.partial`; then it is renamed, and
//! the folder round it is synced. What a killed run left under that name is written over.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{self, File, TryLockError};
use std::io::{Error as IoError, ErrorKind, Result as IoResult, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The error of a place that cannot be written.
pub fn unwritable(path: &Path, reason: impl Display) -> Error {
    Error::new(path.display(), format!("cannot be written ({reason})"))
        .fix("Check that the place exists, is yours, and has room.")
}

/// The folder that a path lies in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where something lies until it is whole.
pub fn partial(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".partial");
    path.with_file_name(name)
}

/// The name of what lies under this one until it is whole; None where it is none such.
pub fn name_of_partial(name: &str) -> Option<&str> {
    name.strip_prefix('.')?.strip_suffix(".partial")
}

/// Writes a file.
///
/// # Errors
/// The disk refuses; what was there before is untouched.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = NewFile::create(path)?;
    file.write_all(bytes).map_err(|e| unwritable(path, e))?;
    file.commit()
}

/// A file that takes its place with [`NewFile::commit`]; dropped before, it goes away.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    file: File,
    is_whole: bool,
}

impl NewFile {
    /// # Errors
    /// The disk refuses, or another process is writing the same file.
    pub fn create(path: &Path) -> Result<Self> {
        let file = create_locked(&partial(path)).map_err(|e| unwritable(path, e))?;
        Ok(NewFile { path: path.to_path_buf(), file, is_whole: false })
    }

    /// # Errors
    /// The disk refuses; what was there before is untouched.
    pub fn commit(mut self) -> Result<()> {
        let rename = || fs::rename(partial(&self.path), &self.path);
        self.file.sync_all().and_then(|()| rename()).map_err(|e| unwritable(&self.path, e))?;
        self.is_whole = true;
        sync_folder(folder_of(&self.path)).map_err(|e| unwritable(&self.path, e))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> IoResult<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> IoResult<()> {
        self.file.flush()
    }
}

impl Seek for NewFile {
    fn seek(&mut self, to: SeekFrom) -> IoResult<u64> {
        self.file.seek(to)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_whole {
            // Without room there is no use in half a file.
            let _ = fs::remove_file(partial(&self.path));
        }
    }
}

fn create_locked(path: &Path) -> IoResult<File> {
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    // Not every file system has locks; there nobody should write the same file twice at once.
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        return Err(IoError::new(ErrorKind::ResourceBusy, "another run is writing it"));
    }
    file.set_len(0)?;
    Ok(file)
}

/// Writes a folder, `a/b` being a file of a folder in it. Of a folder that is there already
/// everything goes that `is_ours` by its name, and what is written anew; the rest stays.
///
/// # Errors
/// The disk refuses; what was there before is untouched.
pub fn write_folder(
    path: &Path,
    files: &BTreeMap<String, Vec<u8>>,
    is_ours: impl Fn(&str) -> bool,
) -> Result<()> {
    let folder = NewFolder::create(path)?;
    let add = |(name, bytes): (&String, &Vec<u8>)| {
        let path = folder.partial.join(name);
        fs::create_dir_all(folder_of(&path))?;
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    files.iter().try_for_each(add).map_err(|e| unwritable(path, e))?;
    folder.commit(is_ours)
}

/// A folder that takes its place with [`NewFolder::commit`]; dropped before, it goes away.
#[derive(Debug)]
pub struct NewFolder {
    /// As it was given, for errors.
    name: PathBuf,
    /// Without links.
    path: PathBuf,
    partial: PathBuf,
}

impl NewFolder {
    /// # Errors
    /// The disk refuses.
    pub fn create(name: &Path) -> Result<Self> {
        let path = name.canonicalize().unwrap_or_else(|_| name.to_path_buf());
        let beside = if stays_in_place(&path) { path.join(".partial") } else { partial(&path) };
        let create = |partial: PathBuf| {
            fs::create_dir_all(folder_of(&partial))?;
            remove(&partial)?;
            fs::create_dir(&partial).map(|()| partial)
        };
        // The folder may be ours where the one round it is not.
        let inside = |e| if path.is_dir() { create(path.join(".partial")) } else { Err(e) };
        let partial = create(beside).or_else(inside).map_err(|e| unwritable(name, e))?;
        Ok(NewFolder { name: name.to_path_buf(), path, partial })
    }

    /// Where its files are written, each of them synced, until it is whole.
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// # Errors
    /// The disk refuses.
    pub fn commit(self, is_ours: impl Fn(&str) -> bool) -> Result<()> {
        let commit = || {
            sync_all(&self.partial)?;
            match self.path.is_dir() {
                true => self.replace(is_ours)?,
                false => fs::rename(&self.partial, &self.path)?,
            }
            sync_folder(folder_of(&self.path))
        };
        commit().map_err(|e| unwritable(&self.name, e))
    }

    fn replace(&self, is_ours: impl Fn(&str) -> bool) -> IoResult<()> {
        let (old, new) = (names_in(&self.path)?, names_in(&self.partial)?);
        let (ours, others): (Vec<_>, Vec<_>) =
            old.difference(&new).filter(|name| *name != ".partial").partition(|name| is_ours(name));
        let exchanged = || {
            fs::set_permissions(&self.partial, self.path.metadata()?.permissions())?;
            others.iter().try_for_each(|n| link(&self.path.join(n), &self.partial.join(n)))?;
            sync_all(&self.partial)?;
            exchange(&self.partial, &self.path)
        };
        if !stays_in_place(&self.path) && exchanged().is_ok() {
            return Ok(());
        }
        // One by one. A model without a config.json, which comes last, is none.
        for name in new.iter().rev() {
            let path = self.path.join(name);
            if path.is_dir() {
                fs::remove_dir_all(&path)?;
            }
            fs::rename(self.partial.join(name), path)?;
        }
        ours.iter().try_for_each(|name| remove(&self.path.join(name)))?;
        sync_folder(&self.path)
    }
}

impl Drop for NewFolder {
    /// What is left there is the half of a new folder, or the old one.
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.partial);
    }
}

/// A folder that cannot be exchanged for another, or should not be: somebody's mount, or where
/// somebody stands.
fn stays_in_place(path: &Path) -> bool {
    std::env::current_dir().is_ok_and(|here| here.starts_with(path)) || is_mount(path)
}

#[cfg(unix)]
fn is_mount(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| path.metadata().map(|m| m.dev());
    matches!((device(path), device(folder_of(path))), (Ok(own), Ok(above)) if own != above)
}

#[cfg(not(unix))]
fn is_mount(_: &Path) -> bool {
    false
}

fn names_in(folder: &Path) -> IoResult<BTreeSet<String>> {
    let name = |entry: IoResult<fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    fs::read_dir(folder)?.map(name).collect()
}

/// A file or folder, if it is there.
fn remove(path: &Path) -> IoResult<()> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    removed.or_else(|e| if e.kind() == ErrorKind::NotFound { Ok(()) } else { Err(e) })
}

/// The same file at two places, so that there is no moment at which it is at none.
fn link(from: &Path, to: &Path) -> IoResult<()> {
    if !from.symlink_metadata()?.is_dir() {
        return fs::hard_link(from, to);
    }
    fs::create_dir(to)?;
    names_in(from)?.iter().try_for_each(|name| link(&from.join(name), &to.join(name)))
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn exchange(a: &Path, b: &Path) -> IoResult<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn exchange(_: &Path, _: &Path) -> IoResult<()> {
    Err(ErrorKind::Unsupported.into())
}

fn sync_all(folder: &Path) -> IoResult<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all(&entry.path())?;
        }
    }
    sync_folder(folder)
}

/// So that a rename outlives a power cut; only Unix can.
fn sync_folder(folder: &Path) -> IoResult<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
