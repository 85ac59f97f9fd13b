//! What people and tools read in a snapshot's summary (INTERFACES section 4).

use std::collections::BTreeMap;

use crate::account::Account;
use crate::progress::Progress;

/// The job that made the snapshot.
pub const JOB: &str = "strandline.job";
/// Its generation.
pub const GENERATION: &str = "strandline.generation";
/// The epoch that the table is at.
pub const EPOCH: &str = "strandline.epoch";

/// What `offsets reset` did, in the snapshot that it made: JSON, topic to partition to `[from, to]`.
pub const RESET: &str = "strandline.offsets-reset";

/// The resets that are the last of all, for at most as many partitions as offsets are written for.
pub fn resets(progress: &Progress) -> String {
    let all = || {
        let topics = progress.topics.iter();
        topics.flat_map(|(topic, of)| {
            let resets = of.partitions.iter();
            resets.filter_map(move |(p, at)| Some((topic, *p, at.reset.as_ref()?)))
        })
    };
    let last = all().map(|(_, _, reset)| &reset.at).max();
    let mut resets: BTreeMap<&str, BTreeMap<String, [i64; 2]>> = BTreeMap::new();
    for (topic, partition, reset) in all()
        .filter(|(_, _, reset)| Some(&reset.at) == last)
        .take(OFFSETS_PARTITIONS_MAX)
    {
        let of_topic = resets.entry(topic).or_default();
        of_topic.insert(partition.to_string(), [reset.from, reset.to]);
    }
    serde_json::to_string(&resets).unwrap_or_default()
}

/// Offsets are written for up to so many partitions; more would swell every snapshot.
const OFFSETS_PARTITIONS_MAX: usize = 64;

/// The summary of a commit that brings the table to `progress` and adds `account`.
pub fn of(progress: &Progress, account: &Account) -> BTreeMap<String, String> {
    let mut summary = BTreeMap::from(
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
