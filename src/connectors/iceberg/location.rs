//! Locations: URIs of files in the warehouse, and where they lead.

use std::path::{Path, PathBuf};

use strandline_operators::{Error, Result};

/// The schemes of S3. Hadoop's file systems call the same objects by the other two.
const S3_SCHEMES: [&str; 3] = ["s3://", "s3a://", "s3n://"];

/// Where a location leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// To this machine's file system.
    Local(PathBuf),
    /// To an object store.
    Object {
        /// The bucket.
        bucket: String,
        /// What is in it, without a slash at the beginning; empty for the bucket itself.
        key: String,
    },
}

impl Place {
    /// Reads a location; `None` for a scheme that is not built in.
    pub(super) fn of(location: &str) -> Option<Place> {
        if let Some(rest) = S3_SCHEMES
            .iter()
            .find_map(|scheme| location.strip_prefix(scheme))
        {
            let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
            return Some(Place::Object {
                bucket: bucket.to_owned(),
                key: key.to_owned(),
            });
        }
        local_path(location).map(Place::Local)
    }
}

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

/// Why a location cannot be used, and the next step.
pub(super) fn unknown_scheme(location: &str) -> (String, &'static str) {
    let scheme = location.split("://").next().unwrap_or(location);
    (
        format!("`{scheme}://` is not built in: only local files and `s3://` can hold a warehouse"),
        "set `catalog.warehouse` to a local path, a `file://` URI or `s3://BUCKET/PATH`; a table that lies elsewhere \
         has to be copied there first",
    )
}

/// Whether a warehouse's setting says where it is, and is not only a name that a catalog server knows.
pub(super) fn is_place(setting: &str) -> bool {
    setting.starts_with(['/', '.']) || setting.starts_with("file:") || setting.contains("://")
}

/// The warehouse's location from its setting: absolute, with its scheme, no slash at the end.
pub(super) fn warehouse_location(setting: &str) -> Result<String> {
    if setting.is_empty() {
        return Err(Error::configuration("`catalog.warehouse` is empty")
            .hint("set it to a folder, e.g. `./data/warehouse`, or to `s3://BUCKET/PATH`"));
    }
    match Place::of(setting) {
        Some(Place::Local(path)) => local_location(setting, &path),
        Some(Place::Object { bucket, key }) => object_location(setting, &bucket, &key),
        None => {
            let (why, hint) = unknown_scheme(setting);
            Err(
                Error::configuration(format!("cannot use `catalog.warehouse: {setting}`: {why}"))
                    .hint(hint),
            )
        }
    }
}

fn local_location(setting: &str, path: &Path) -> Result<String> {
    let path = std::path::absolute(path)
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

fn object_location(setting: &str, bucket: &str, key: &str) -> Result<String> {
    let refused = |why: &str| {
        Error::configuration(format!("cannot use `catalog.warehouse: {setting}`: {why}"))
            .hint("write it as `s3://BUCKET/PATH`, such as `s3://lake/warehouse`")
    };
    if bucket.is_empty() {
        return Err(refused("it names no bucket"));
    }
    let plain = key.trim_end_matches('/');
    let mut parts = plain.split('/');
    // Keys are plain text: nothing resolves these parts, and clients differ in what they do with them.
    if !plain.is_empty() && parts.any(|part| ["", ".", ".."].contains(&part)) {
        return Err(refused("its path has an empty part, or `.` or `..`"));
    }
    Ok(setting.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warehouse_is_an_absolute_uri() {
        for (setting, location) in [
            ("/a/./b/../c/", "file:///a/c"),
            ("file:///a/b", "file:///a/b"),
            ("file:/a/b", "file:///a/b"),
            ("s3://bucket/w/", "s3://bucket/w"),
            ("s3://bucket", "s3://bucket"),
            ("s3a://bucket/w", "s3a://bucket/w"),
        ] {
            assert_eq!(warehouse_location(setting).expect(setting), location);
        }
        let here = std::env::current_dir().expect("current folder");
        assert_eq!(
            warehouse_location("./w").expect("relative"),
            format!("file://{}/w", here.display())
        );
        for wrong in [
            "",
            "s3://",
            "s3:///w",
            "s3://b/a//b",
            "s3://b/../c",
            "gs://b/w",
            "hdfs://h/w",
        ] {
            assert!(warehouse_location(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_spelling_of_a_place_is_the_same() {
        for spelling in ["/a/b", "file:/a/b", "file:///a/b"] {
            let place = Place::of(spelling);
            assert_eq!(
                place,
                Some(Place::Local(PathBuf::from("/a/b"))),
                "{spelling}"
            );
        }
        for spelling in ["s3://a/b/c", "s3a://a/b/c", "s3n://a/b/c"] {
            let place = Place::Object {
                bucket: "a".to_owned(),
                key: "b/c".to_owned(),
            };
            assert_eq!(Place::of(spelling), Some(place), "{spelling}");
        }
        assert_eq!(Place::of("gs://a/b"), None);
    }
}
