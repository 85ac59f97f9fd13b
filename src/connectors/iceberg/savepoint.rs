//! Savepoints: a tag on every table of a job, all of one point, from which a run can go on.
//!
//! Progress is a property and has no versions, so the savepoint keeps its own copy: one document in the
//! property `strandline.savepoint.<job>.<name>` of the primary table, written in the same commit as the
//! primary's tag. That commit is the savepoint; tags on secondaries come before it, and are replaced by the
//! next attempt when it never came.
//!
//! How one is made: see [`taking`]. How its tables are tagged: see [`tags`].

mod tags;
mod taking;

use iceberg::spec::{ManifestContentType, TableMetadata};
use iceberg::table::Table;
use serde::{Deserialize, Serialize};
use strandline_operators::landing::summary;
use strandline_operators::progress::Progress;
use strandline_operators::time::Epoch;
use strandline_operators::{Error, Result};

use super::catalog::OpenCatalog;
use super::producer::ancestry;
use super::version::says;

/// The version of the document that this build writes.
const VERSION: u32 = 1;

/// Characters of a name, at most.
pub const NAME_CHARS_MAX: usize = 100;

/// A savepoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Savepoint {
    version: u32,
    /// Which of the attempts to make it was the one.
    id: String,
    /// Its name, and that of its tags.
    pub name: String,
    /// When it was made: RFC 3339.
    pub created: String,
    /// The primary table.
    pub primary: TablePoint,
    /// The job's other tables.
    pub secondaries: Vec<TablePoint>,
    /// The job's progress at this point.
    pub progress: Progress,
}

/// A table at a savepoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TablePoint {
    /// `namespace.table`.
    pub name: String,
    /// The route that leads there; `None` of the primary table and of the dead letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) route: Option<String>,
    pub(super) uuid: String,
    /// The snapshot that is tagged.
    pub snapshot_id: i64,
    /// Rows in it, row-level deletes not taken off.
    pub rows: u64,
    /// Those that the job's account does not know: of other writers, and of times before the account.
    pub(super) foreign_rows: i64,
}

impl Savepoint {
    /// The last epoch in it.
    pub(super) fn epoch(&self) -> Epoch {
        self.progress.epoch.unwrap_or(Epoch(0))
    }
}

fn property_name(job: &str, name: &str) -> String {
    format!("strandline.savepoint.{job}.{name}")
}

/// Checks that a savepoint may have this name.
///
/// # Errors
/// It may not; the hint says which may.
pub fn validate_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_good = name.len() <= NAME_CHARS_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(plain)
        && !name.eq_ignore_ascii_case("main");
    if is_good {
        return Ok(());
    }
    Err(
        Error::configuration(format!("`{name}` cannot be the name of a savepoint")).hint(format!(
            "letters, digits, `-`, `_` and `.`, beginning with a letter or digit, at most {NAME_CHARS_MAX} of them, and not `main`"
        )),
    )
}

/// The savepoint of this name, if the table has it.
pub(super) fn read(table: &Table, job: &str, name: &str) -> Result<Option<Savepoint>> {
    let property = property_name(job, name);
    let Some(json) = table.metadata().properties().get(&property) else {
        return Ok(None);
    };
    let table = table.identifier();
    let savepoint: Savepoint = serde_json::from_str(json).map_err(|e| {
        Error::refused(format!("cannot read `{property}` of table `{table}`: {e}"))
            .hint("the property was changed by hand, or a newer build wrote it; restore it, or run that build")
    })?;
    if savepoint.version > VERSION {
        return Err(Error::refused(format!(
            "savepoint `{name}` of table `{table}` has version {}, this build reads up to {VERSION}",
            savepoint.version
        ))
        .hint("run the newer build that wrote it"));
    }
    Ok(Some(savepoint))
}

/// The names of the job's savepoints in the table, oldest first.
pub(super) fn names(table: &Table, job: &str) -> Vec<String> {
    let prefix = property_name(job, "");
    let mut found: Vec<(String, String)> = table
        .metadata()
        .properties()
        .keys()
        .filter_map(|key| key.strip_prefix(&prefix))
        .filter_map(|name| Some((read(table, job, name).ok()??.created, name.to_owned())))
        .collect();
    found.sort();
    found.into_iter().map(|(_, name)| name).collect()
}

/// Rows of a snapshot, as its manifests count them.
pub(super) fn rows(catalog: &OpenCatalog, table: &Table, snapshot_id: i64) -> Result<u64> {
    let snapshot = table
        .metadata()
        .snapshot_by_id(snapshot_id)
        .ok_or_else(|| {
            Error::refused(format!(
                "table `{}` has no snapshot {snapshot_id} any more",
                table.identifier()
            ))
            .hint("it was expired by hand; another savepoint may still be there")
        })?;
    let reader = table.manifest_list_reader(snapshot);
    let list = catalog.ask("read the manifest list", async { reader.load().await })?;
    Ok(list
        .entries()
        .iter()
        .filter(|m| m.content == ManifestContentType::Data)
        .map(|m| m.added_rows_count.unwrap_or(0) + m.existing_rows_count.unwrap_or(0))
        .sum())
}

/// The last snapshot on the main branch before any of the job's epochs after `epoch`; `None` when there is
/// none, or it is expired.
pub(super) fn snapshot_of(
    metadata: &TableMetadata,
    job: &str,
    epoch: Option<Epoch>,
) -> Option<i64> {
    let head = metadata.current_snapshot()?;
    let mut found = Some(head.snapshot_id());
    for id in ancestry(metadata, head.snapshot_id()) {
        let snapshot = metadata.snapshot_by_id(id)?;
        let of = snapshot.summary().additional_properties.get(summary::EPOCH);
        let later = of
            .and_then(|e| e.parse().ok())
            .is_some_and(|e| Some(Epoch(e)) > epoch);
        if says(snapshot, summary::JOB, job) && later {
            found = snapshot.parent_snapshot_id();
        }
    }
    found.filter(|&id| metadata.snapshot_by_id(id).is_some())
}

#[cfg(test)]
mod tests {
    use strandline_operators::ErrorKind;

    use super::*;

    #[test]
    fn a_savepoint_is_named_by_letters_and_digits() {
        for name in ["a", "before-upgrade", "20261121T140501Z", "v1.2_b"] {
            validate_name(name).expect(name);
        }
        let long = "x".repeat(NAME_CHARS_MAX + 1);
        for name in ["", "main", "-a", "a b", "a/b", "ä", ".", &long] {
            let error = validate_name(name).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::Configuration);
        }
    }
}
