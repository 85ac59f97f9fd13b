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

/// What a summary says of an epoch's records.
fn counts(account: &Account) -> [(&'static str, u64); 7] {
    [
        ("strandline.consumed", account.consumed),
        ("strandline.landed", account.landed),
        ("strandline.late", account.late),
        ("strandline.duplicates", account.duplicates),
        ("strandline.dead-letters", account.dead_letters),
        ("strandline.dropped", account.dropped),
        ("strandline.gaps", account.gaps),
    ]
}

/// Leaves of a summary what [`together`] counts.
pub fn keep_counts(summary: &mut BTreeMap<String, String>) {
    let counts = counts(&Account::default());
    summary.retain(|key, _| counts.iter().any(|(counted, _)| key == counted));
}

/// The summary of one commit for the epochs of several, the oldest first: where the last of them leaves the job, and
/// what they count together.
pub fn together<'a>(
    summaries: impl Iterator<Item = &'a BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for summary in summaries {
        let before = std::mem::replace(&mut all, summary.clone());
        for (key, _) in counts(&Account::default()) {
            let number = |of: &BTreeMap<String, String>| of.get(key)?.parse::<u64>().ok();
            if let (Some(before), Some(more)) = (number(&before), number(&all)) {
                all.insert(key.to_owned(), (before + more).to_string());
            }
        }
    }
    all
}

/// The summary of a commit that brings the table to `progress` and adds `account`.
pub fn of(progress: &Progress, account: &Account) -> BTreeMap<String, String> {
    let mut summary = BTreeMap::from(
        [
            (JOB, progress.job.clone()),
            (GENERATION, progress.generation().to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    let counts = counts(account);
    summary.extend(counts.map(|(key, count)| (key.to_owned(), count.to_string())));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_together_say_where_the_last_leaves_the_job_and_what_all_count() {
        let summary = |consumed: u64, watermark: &str| {
            let mut progress = Progress::new("job", "uuid", 1, "fingerprint");
            progress.claim();
            let account = Account {
                consumed,
                landed: consumed,
                ..Account::default()
            };
            let mut summary = of(&progress, &account);
            summary.insert("strandline.watermark".to_owned(), watermark.to_owned());
            summary
        };
        let mut first = summary(5, "1");
        keep_counts(&mut first);
        assert!(!first.contains_key("strandline.watermark") && !first.contains_key(JOB));
        let all = [first, summary(7, "2")];
        let all = together(all.iter());
        assert_eq!(all["strandline.consumed"], "12");
        assert_eq!(all["strandline.gaps"], "0");
        assert_eq!((&*all["strandline.watermark"], &*all[JOB]), ("2", "job"));
        // What an older build left behind says nothing.
        let unsaid = [BTreeMap::new(), summary(7, "2")];
        assert_eq!(together(unsaid.iter())["strandline.consumed"], "7");
        assert!(together(std::iter::empty()).is_empty());
    }
}
