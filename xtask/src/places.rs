//! Where things are: the repository, and the cache that all its clones share.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::Result;

/// The root of the clone that `cargo xtask` was called in.
pub fn repository() -> Result<PathBuf> {
    // Cargo sets the manifest's folder when it runs us. Asked at run time: clones may share one build of
    // this binary. A test that runs us passes its own package's.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let here =
        std::env::current_dir().map_err(|e| format!("cannot tell the current folder: {e}"))?;
    manifest
        .iter()
        .flat_map(|folder| folder.ancestors())
        .chain(here.ancestors())
        .find(|folder| folder.join("xtask/Cargo.toml").is_file())
        .map(Path::to_owned)
        .ok_or_else(|| {
            format!(
                "`{}` is not inside a clone of Strandline\n  hint: change to the clone",
                here.display()
            )
        })
}

/// `$XDG_CACHE_HOME/strandline`, by default `~/.cache/strandline`.
pub fn cache() -> Result<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("strandline"))
        .ok_or_else(|| {
            "cannot tell where to cache: neither HOME nor XDG_CACHE_HOME is set".to_owned()
        })
}

/// Where cargo builds: `$CARGO_TARGET_DIR`, by default in the cache, so that a new clone finds RocksDB built.
pub fn target() -> Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR").filter(|path| !path.is_empty()) {
        Some(path) => {
            std::path::absolute(path).map_err(|e| format!("CARGO_TARGET_DIR is no path: {e}"))
        }
        None => Ok(cache()?.join("target")),
    }
}

/// Creates a folder and what it stands in.
pub fn create_folder(path: &Path) -> Result {
    fs::create_dir_all(path)
        .map_err(|e| format!("cannot create the folder `{}`: {e}", path.display()))
}

/// Writes a file.
pub fn write_file(path: &Path, content: &str) -> Result {
    fs::write(path, content).map_err(|e| format!("cannot write `{}`: {e}", path.display()))
}

/// Holds a lock file until the result is dropped. Waits for whoever holds it.
pub fn lock(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    let locked = File::create(path).and_then(|file| file.lock().map(|()| file));
    locked.map_err(|e| format!("cannot lock `{}`: {e}", path.display()))
}
