//! What one version of an Iceberg table says, as landing reads it.

use iceberg::spec::Snapshot;
use iceberg::table::Table;
use strandline_operators::landing::summary;
use strandline_operators::landing::table::{Lineage, Version};

use super::lineage::lineage;

/// A table as it was read at one moment.
#[derive(Clone, Debug)]
pub(super) struct TableVersion(pub(super) Table);

impl TableVersion {
    /// Of a table that somebody else holds. Cheap: its metadata is shared.
    pub(super) fn of(table: &Table) -> TableVersion {
        TableVersion(table.clone())
    }
}

/// Whether a snapshot's summary has this value.
pub(super) fn says(snapshot: &Snapshot, key: &str, value: &str) -> bool {
    let found = snapshot.summary().additional_properties.get(key);
    found.is_some_and(|found| found == value)
}

impl Version for TableVersion {
    fn name(&self) -> String {
        self.0.identifier().to_string()
    }

    fn uuid(&self) -> String {
        self.0.metadata().uuid().to_string()
    }

    fn head(&self) -> Option<i64> {
        self.0.metadata().current_snapshot_id()
    }

    fn has_snapshot(&self, snapshot_id: i64) -> bool {
        self.0.metadata().snapshot_by_id(snapshot_id).is_some()
    }

    fn next_sequence_number(&self) -> i64 {
        self.0.metadata().next_sequence_number()
    }

    fn lineage(&self, job: &str, expected: i64) -> Lineage {
        lineage(&self.0, job, expected)
    }

    fn has_snapshot_of(&self, job: &str) -> bool {
        let mut snapshots = self.0.metadata().snapshots();
        snapshots.any(|snapshot| says(snapshot, summary::JOB, job))
    }

    fn since(&self, job: &str, generation: u32) -> String {
        let generation = generation.to_string();
        self.0
            .metadata()
            .snapshots()
            .filter(|s| says(s, summary::JOB, job) && says(s, summary::GENERATION, &generation))
            .map(|s| s.timestamp_ms())
            .min()
            .and_then(chrono::DateTime::from_timestamp_millis)
            .map_or_else(
                || "an unknown time".to_owned(),
                |t| t.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
            )
    }

    fn property(&self, name: &str) -> Option<&str> {
        self.0.metadata().properties().get(name).map(String::as_str)
    }

    fn properties_with_prefix<'a>(&'a self, prefix: &str) -> Vec<(&'a str, &'a str)> {
        let properties = self.0.metadata().properties();
        properties
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
            .collect()
    }
}
