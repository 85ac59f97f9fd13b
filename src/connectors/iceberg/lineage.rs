//! Whether a table's current snapshot descends from the one that some progress came with.
//!
//! Others may roll a table back, replace its history, and expire what would show it. Expired snapshots are
//! still in the metadata files that the table's log names, so their parents are looked up there.

use iceberg::spec::{SnapshotRef, TableMetadata};
use iceberg::table::Table;

use strandline_operators::landing::summary;
use strandline_operators::landing::table::Lineage;

use super::store::{Fault, Patience, Store};
use super::version::says;

/// Metadata files of the log that are read, at most. A table of ours keeps 100.
const LOG_FILES_MAX: usize = 200;

/// Walks from the current snapshot towards the one of `job` with the sequence number `expected`.
pub(super) fn lineage(table: &Table, job: &str, expected: i64) -> Lineage {
    let metadata = table.metadata();
    let Some(current) = metadata.current_snapshot() else {
        return Lineage::Empty;
    };
    let mut next = match walk(metadata, current, job, expected) {
        Walk::Found(lineage) => return lineage,
        Walk::Goes(parent) => parent,
    };
    let store = Store::of(table.file_io());
    // The newest first: it knows most of what has expired since.
    for log in metadata.metadata_log().iter().rev().take(LOG_FILES_MAX) {
        let then = match read(&store, &log.metadata_file) {
            Ok(Some(then)) => then,
            Ok(None) => continue,
            Err(fault) => return Lineage::Unreadable(format!("`{}`: {fault}", log.metadata_file)),
        };
        if let Some(snapshot) = then.snapshot_by_id(next) {
            match walk(&then, snapshot, job, expected) {
                Walk::Found(lineage) => return lineage,
                Walk::Goes(parent) => next = parent,
            }
        }
    }
    Lineage::Unknown
}

/// A metadata file; `None` when it is gone, or is none. A store that does not answer is another matter: it may have the very
/// file that tells of a roll-back.
fn read(store: &Store, location: &str) -> Result<Option<TableMetadata>, Fault> {
    let json = store.read(location, Patience::Brief)?;
    Ok(json.and_then(|json| serde_json::from_slice(&json).ok()))
}

/// How a walk over the snapshots of one metadata file ends.
enum Walk {
    Found(Lineage),
    /// At a snapshot that the file does not have.
    Goes(i64),
}

fn walk(metadata: &TableMetadata, from: &SnapshotRef, job: &str, expected: i64) -> Walk {
    let mut snapshot = from;
    loop {
        let number = snapshot.sequence_number();
        if number == expected {
            return Walk::Found(Lineage::Descends);
        }
        if number < expected {
            return Walk::Found(Lineage::Past(number));
        }
        if says(snapshot, summary::JOB, job) {
            return Walk::Found(Lineage::Newer(number));
        }
        let Some(parent) = snapshot.parent_snapshot_id() else {
            return Walk::Found(Lineage::Replaced);
        };
        match metadata.snapshot_by_id(parent) {
            Some(parent) => snapshot = parent,
            None => return Walk::Goes(parent),
        }
    }
}
