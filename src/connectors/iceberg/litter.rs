//! Metadata files that our commits left behind: deleted after a grace period, so that whoever is reading
//! an older version can finish.
//!
//! Three kinds: metadata files that fell off the table's log, manifest lists of snapshots that our commits
//! expired, and manifests that our commits merged once no snapshot is left from before the merge. Data
//! files are never deleted here. What is forgotten when the process ends stays as an orphan, at most what
//! one grace period and one merge hold.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use iceberg::spec::TableMetadata;
use iceberg::table::Table;

use super::producer::{deletion_allowed, only_main_branch};
use super::store::Store;

/// How long a file that nothing refers to any more is kept.
pub(super) const GRACE_MS: u64 = 60_000;

/// Files deleted with one commit, at most: the commit's time counts too.
const DELETED_AT_ONCE: usize = 64;

/// Files remembered, at most; beyond that the oldest are left as orphans.
const REMEMBERED_MAX: usize = 20_000;

/// The files of one table that wait to be deleted.
#[derive(Debug)]
pub(super) struct Litter {
    grace: Duration,
    due: VecDeque<(Instant, String)>,
    // With the sequence number of the snapshot that no longer needs them.
    merged: VecDeque<(i64, String)>,
}

impl Litter {
    pub(super) fn new(grace: Duration) -> Litter {
        Litter {
            grace,
            due: VecDeque::new(),
            merged: VecDeque::new(),
        }
    }

    /// Takes files that nothing refers to since now.
    pub(super) fn add(&mut self, files: impl IntoIterator<Item = String>) {
        let due = Instant::now() + self.grace;
        self.due.extend(files.into_iter().map(|file| (due, file)));
        let excess = self.due.len().saturating_sub(REMEMBERED_MAX);
        self.due.drain(..excess);
    }

    /// Takes manifests that snapshots before `sequence_number` still refer to.
    pub(super) fn add_merged(
        &mut self,
        sequence_number: i64,
        manifests: impl IntoIterator<Item = String>,
    ) {
        self.merged.extend(
            manifests
                .into_iter()
                .map(|manifest| (sequence_number, manifest)),
        );
        let excess = self.merged.len().saturating_sub(REMEMBERED_MAX);
        self.merged.drain(..excess);
    }

    /// Deletes what is due. Failures are logged: litter is no reason to stop.
    pub(super) fn sweep(&mut self, table: &Table) {
        let files = self.take_due(table.metadata(), Instant::now());
        let store = Store::of(table.file_io());
        for (file, fault) in store.delete_all(files) {
            tracing::warn!(file, error = %fault, "cannot delete a superseded metadata file");
        }
    }

    fn take_due(&mut self, metadata: &TableMetadata, now: Instant) -> Vec<String> {
        if !deletion_allowed(metadata) {
            self.due.clear();
            self.merged.clear();
            return Vec::new();
        }
        let oldest = metadata
            .snapshots()
            .map(|s| s.sequence_number())
            .min()
            .unwrap_or(0);
        let free = self
            .merged
            .iter()
            .take_while(|(sequence, _)| *sequence <= oldest)
            .count();
        if free > 0 {
            let freed: Vec<String> = self.merged.drain(..free).map(|(_, file)| file).collect();
            // A branch that began before the merge carries the old manifests on in snapshots of its own.
            if only_main_branch(metadata) {
                self.add(freed);
            }
        }
        let due = self
            .due
            .iter()
            .take_while(|(due, _)| *due <= now)
            .count()
            .min(DELETED_AT_ONCE);
        self.due.drain(..due).map(|(_, file)| file).collect()
    }
}
