//! Locations: URIs of files in the warehouse, and the local paths behind them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use strandline_operators::{Error, Result};

/// The local path of a location (`/a/b`, `file:/a/b`, `file:///a/b`), `None` for other schemes.
pub(super) fn local_path(location: &str) -> Option<PathBuf> {
    if let Some(rest) = location.strip_prefix("file:") {
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        return Some(PathBuf::from(format!("/{}", rest.trim_start_matches('/'))));
    }
    if location.contains("://") {
        return None;
    }
    Some(PathBuf::from(location))
}

/// The local path, or why there is none.
pub(super) fn require_local(location: &str) -> Result<PathBuf> {
    local_path(location).ok_or_else(|| {
        Error::configuration(format!(
            "cannot write to `{location}`: only local files can hold a warehouse so far"
        ))
        .hint("set `catalog.warehouse` to a local path or a `file://` URI")
    })
}

/// The warehouse's location from its setting: absolute, with the scheme `file://`, no slash at the end.
pub(super) fn warehouse_location(setting: &str) -> Result<String> {
    if setting.is_empty() {
        return Err(Error::configuration("`catalog.warehouse` is empty")
            .hint("set it to a folder, e.g. `./data/warehouse`"));
    }
    let path = require_local(setting)?;
    let path = std::path::absolute(&path)
        .map_err(|e| Error::configuration(format!("cannot make `{setting}` absolute: {e}")))?;
    // Without `./` and `a/..` parts: readers compare locations as text.
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    let text = plain
        .to_str()
        .ok_or_else(|| Error::configuration(format!("`{setting}` is not valid UTF-8")))?;
    Ok(format!("file://{}", text.trim_end_matches('/')))
}

/// The first of these files that is local and not there.
pub(super) fn first_missing<'a>(locations: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    locations
        .filter_map(|location| Some((location, local_path(location)?)))
        .find(|(_, path)| matches!(path.try_exists(), Ok(false)))
        .map(|(location, _)| location)
}

/// Makes a file that was written and closed survive a power loss.
pub(super) fn sync_file(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes the names in a folder survive a power loss.
pub(super) fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

/// Creates a folder with all its parents, durably: the parent of each new folder is synced too.
pub(super) fn create_folder(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_folder(parent)?;
        match fs::create_dir(path) {
            Ok(()) => sync_folder(parent)?,
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warehouse_is_an_absolute_file_uri() {
        assert_eq!(
            warehouse_location("/a/./b/../c/").expect("absolute"),
            "file:///a/c"
        );
        assert_eq!(
            warehouse_location("file:///a/b").expect("uri"),
            "file:///a/b"
        );
        assert_eq!(
            warehouse_location("file:/a/b").expect("short uri"),
            "file:///a/b"
        );
        let here = std::env::current_dir().expect("current folder");
        assert_eq!(
            warehouse_location("./w").expect("relative"),
            format!("file://{}/w", here.display())
        );
        assert!(warehouse_location("s3://bucket/w").is_err());
        assert!(warehouse_location("").is_err());
    }

    #[test]
    fn every_spelling_of_a_local_location_is_the_same_path() {
        for spelling in ["/a/b", "file:/a/b", "file:///a/b"] {
            assert_eq!(
                local_path(spelling),
                Some(PathBuf::from("/a/b")),
                "{spelling}"
            );
        }
        assert_eq!(local_path("s3://a/b"), None);
    }
}
