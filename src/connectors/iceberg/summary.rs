//! What people and tools read in a snapshot's summary (INTERFACES section 4).

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{Snapshot, TableMetadata};
use strandline_operators::account::Account;
use strandline_operators::progress::Progress;

/// The job that made the snapshot.
pub(super) const JOB: &str = "strandline.job";
/// Its generation.
pub(super) const GENERATION: &str = "strandline.generation";

/// The last epoch in it.
pub(super) const EPOCH: &str = "strandline.epoch";

/// Offsets are written for up to so many partitions; more would swell every snapshot.
const OFFSETS_PARTITIONS_MAX: usize = 64;

/// The summary of a commit that brings the table to `progress` and adds `account`.
pub(super) fn of(progress: &Progress, account: &Account) -> HashMap<String, String> {
    let mut summary = HashMap::from(
        [
            (JOB, progress.job.clone()),
            (GENERATION, progress.generation().to_string()),
            ("strandline.consumed", account.consumed.to_string()),
            ("strandline.landed", account.landed.to_string()),
            ("strandline.late", account.late.to_string()),
            ("strandline.duplicates", account.duplicates.to_string()),
            ("strandline.dead-letters", account.dead_letters.to_string()),
            ("strandline.dropped", account.dropped.to_string()),
            ("strandline.gaps", account.gaps.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    if let Some(epoch) = progress.epoch {
        summary.insert(EPOCH.to_owned(), epoch.0.to_string());
    }
    if let Some(watermark) = progress.watermark {
        summary.insert("strandline.watermark".to_owned(), watermark.to_string());
    }
    let partitions: usize = progress
        .topics
        .values()
        .map(|topic| topic.partitions.len())
        .sum();
    if (1..=OFFSETS_PARTITIONS_MAX).contains(&partitions) {
        let offsets: BTreeMap<&str, BTreeMap<String, i64>> = progress
            .topics
            .iter()
            .map(|(topic, of)| {
                (
                    topic.as_str(),
                    of.partitions
                        .iter()
                        .map(|(p, at)| (p.to_string(), at.next))
                        .collect(),
                )
            })
            .collect();
        if let Ok(json) = serde_json::to_string(&offsets) {
            summary.insert("strandline.offsets".to_owned(), json);
        }
    }
    summary
}

/// Whether `job` made this snapshot.
pub(super) fn is_of(snapshot: &Snapshot, job: &str) -> bool {
    snapshot
        .summary()
        .additional_properties
        .get(JOB)
        .is_some_and(|found| found == job)
}

/// When the job's generation shows first in the table's history: RFC 3339, for a message.
pub(super) fn since(metadata: &TableMetadata, job: &str, generation: u32) -> String {
    let generation = generation.to_string();
    metadata
        .snapshots()
        .filter(|s| {
            is_of(s, job) && s.summary().additional_properties.get(GENERATION) == Some(&generation)
        })
        .map(|s| s.timestamp_ms())
        .min()
        .and_then(chrono::DateTime::from_timestamp_millis)
        .map_or_else(
            || "an unknown time".to_owned(),
            |t| t.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        )
}
