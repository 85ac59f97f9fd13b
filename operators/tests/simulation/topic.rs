//! What the topic of a simulation will hold.

use crate::fakes::{Record, Seeded, Topic, generate};

/// Ids that have copies in any partition.
pub const SPREAD_IDS: usize = 25;

/// What such ids begin with; a number follows.
pub const SPREAD_ID: &str = "x-";

/// Records, without those that are copies.
const RECORDS: usize = 150;

/// A topic of a seed.
pub fn make(seed: u64, partitions: usize) -> Topic {
    let (mut topic, _) = generate(seed, partitions, RECORDS);
    add_copies(&mut topic, seed);
    topic
}

/// Ids whose copies lie in several partitions, strewn over the topic: which of them lands depends on the
/// order of events, that exactly one does not. Their event time is not before one that the partition has
/// seen, so that none of them is late.
fn add_copies(topic: &mut Topic, seed: u64) {
    let mut seeded = Seeded::new(seed ^ 0x00C0_FFEE);
    for (records, end) in &mut topic.partitions {
        let mut with_copies = Vec::new();
        let (mut added, mut latest) = (0, None);
        for mut record in std::mem::take(records) {
            record.offset += added;
            let (offset, timestamp) = (record.offset, record.timestamp);
            latest = latest.max(accepted_time(&record));
            with_copies.push(record);
            let Some(time) = latest.filter(|_| seeded.below(3) == 0) else {
                continue;
            };
            added += 1;
            let n = seeded.below(SPREAD_IDS as u64);
            let value =
                format!(r#"{{"event_id":"{SPREAD_ID}{n}","event_time":{time},"input_value":1}}"#);
            with_copies.push(Record {
                offset: offset + 1,
                timestamp,
                value: Some(value.into_bytes()),
            });
        }
        *records = with_copies;
        *end += added;
    }
}

/// The event time of a record that moves its partition's watermark.
fn accepted_time(record: &Record) -> Option<i64> {
    let value: serde_json::Value = serde_json::from_slice(record.value.as_ref()?).ok()?;
    let latest = record.timestamp.0 / 1000 + 3_600_000;
    let time = value["event_time"]
        .as_i64()
        .filter(|time| *time <= latest)?;
    (value["event_id"] != "").then_some(time)
}
