//! Files on this machine's disk, made to survive a power loss.

use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Result, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Bytes between the encoder and the file.
const WRITE_BUFFER_BYTES: usize = 256 * 1024;

/// Makes a file that was written and closed survive a power loss.
fn sync_file(path: &Path) -> Result<()> {
    File::open(path)?.sync_all()
}

/// Makes the names in a folder survive a power loss.
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    File::open(path)?.sync_all()
}

/// Makes a file that was written and closed, and its name, survive a power loss.
pub(super) fn sync(path: &Path) -> Result<()> {
    sync_file(path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Creates a folder with all its parents, durably: the parent of each new folder is synced too.
pub(in super::super) fn create_folder(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_folder(parent)?;
        match fs::create_dir(path) {
            Ok(()) => sync_folder(parent)?,
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn create_folder_of(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), create_folder)
}

/// Writes a whole file, durably.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    create_folder_of(path)?;
    fs::write(path, bytes)?;
    sync(path)
}

/// Reads a whole file, `None` when there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Deletes a file; one that is not there is as good.
pub(super) fn delete(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Copies a file, durably; returns its size.
pub(super) fn copy(from: &Path, to: &Path) -> Result<u64> {
    create_folder_of(to)?;
    let bytes = fs::copy(from, to)?;
    sync(to)?;
    Ok(bytes)
}

/// The names in a folder and when they last changed; none when it is not there.
pub(super) fn list(folder: &Path) -> impl Iterator<Item = (PathBuf, Option<SystemTime>)> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(Result::ok).map(|entry| {
        let changed = entry.metadata().and_then(|m| m.modified()).ok();
        (entry.path(), changed)
    })
}

/// The folders in a folder, those that changed last first.
pub(super) fn folders(folder: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<(Option<SystemTime>, PathBuf)> = list(folder)
        .filter(|(path, _)| path.is_dir())
        .map(|(path, changed)| (changed, path))
        .collect();
    folders.sort_by(|a, b| b.cmp(a));
    folders.into_iter().map(|(_, path)| path).collect()
}

/// A new file being written.
#[derive(Debug)]
pub(in super::super) struct Output {
    path: PathBuf,
    writer: BufWriter<File>,
}

impl Output {
    /// Creates a file that must not be there yet, and its folder.
    pub(super) fn create(path: PathBuf) -> Result<Output> {
        create_folder_of(&path)?;
        let file = File::create_new(&path)?;
        Ok(Output {
            path,
            writer: BufWriter::with_capacity(WRITE_BUFFER_BYTES, file),
        })
    }

    /// Makes it durable; returns its size.
    pub(super) fn finish(&mut self) -> Result<u64> {
        self.writer.flush()?;
        let file = self.writer.get_ref();
        let bytes = file.metadata()?.len();
        file.sync_all()?;
        self.path.parent().map_or(Ok(()), sync_folder)?;
        Ok(bytes)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.writer.flush()
    }
}
