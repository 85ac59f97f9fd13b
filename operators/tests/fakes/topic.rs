//! Topics made from a seed, and the oracle: what must become of their records.

use std::collections::{BTreeMap, BTreeSet};

use strandline_operators::time::EventTime;

/// A record of the fake log; `None` as a value is a tombstone. A missing offset is a gap.
#[derive(Clone, Debug)]
pub struct Record {
    pub offset: i64,
    pub timestamp: EventTime,
    pub value: Option<Vec<u8>>,
}

/// The records of every partition; a partition's end may be above its last record.
#[derive(Clone, Debug, Default)]
pub struct Topic {
    pub partitions: Vec<(Vec<Record>, i64)>,
}

/// A small seeded generator (xorshift64*), so that a failing run replays exactly.
pub struct Seeded(u64);

impl Seeded {
    pub fn new(seed: u64) -> Seeded {
        Seeded(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

const MINUTE_MS: i64 = 60_000;

/// How far watermarks are behind event times, and how far event times may be behind watermarks, or ahead of the
/// broker's clock: as a job has it that says nothing of it.
const OUT_OF_ORDERNESS_MS: i64 = 5 * MINUTE_MS;
const LATENESS_MS: i64 = 60 * MINUTE_MS;
const AHEAD_MS: i64 = 60 * MINUTE_MS;

/// Records with duplicates, late, too late and broken ones, and gaps, and what must become of them. All
/// copies of an id are in one partition, so that which copy lands does not depend on timing.
pub fn generate(seed: u64, partitions: usize, records: usize) -> (Topic, Expected) {
    let mut seeded = Seeded::new(seed);
    let mut topic = Topic {
        partitions: vec![(Vec::new(), 0); partitions],
    };
    let mut ids: Vec<Vec<String>> = vec![Vec::new(); partitions];
    let base = 1_700_000_000_000i64;
    for n in 0..records {
        let partition = seeded.below(partitions as u64) as usize;
        let now = base + n as i64 * 500;
        if seeded.below(50) == 0 {
            topic.partitions[partition].1 += 1;
        }
        let offset = topic.partitions[partition].1;
        topic.partitions[partition].1 += 1;
        let known = &mut ids[partition];
        let id = if !known.is_empty() && seeded.below(5) == 0 {
            known[seeded.below(known.len() as u64) as usize].clone()
        } else {
            known.push(format!("id-{partition}-{n}"));
            known[known.len() - 1].clone()
        };
        let time = match seeded.below(20) {
            0 => now - 30 * MINUTE_MS,
            1 => now - 90 * MINUTE_MS,
            2 => now + 61 * MINUTE_MS,
            _ => now - seeded.below(3) as i64 * MINUTE_MS,
        };
        let value = match seeded.below(30) {
            0 => None,
            1 => Some(format!(r#"{{"event_id":"{id}","event_time":"#)),
            2 => Some(format!(r#"{{"event_id":"","event_time":{time}}}"#)),
            _ => Some(format!(
                r#"{{"event_id":"{id}","event_time":{time},"input_value":{n}}}"#
            )),
        };
        topic.partitions[partition].0.push(Record {
            offset,
            timestamp: EventTime(now * 1000),
            value: value.map(String::into_bytes),
        });
    }
    for (_, end) in &mut topic.partitions {
        *end += 1;
    }
    let expected = judge(&topic);
    (topic, expected)
}

/// The oracle: what must land, with its late flag, and the account, by the plainest reading of the rules.
#[derive(Debug, Default)]
pub struct Expected {
    /// By partition and offset. Ids whose copies lie in several partitions are not among them.
    pub landed: BTreeMap<(i32, i64), (String, bool)>,
    /// Ids whose copies lie in several partitions: exactly one of the copies lands, which one is up to the order
    /// of events.
    pub anywhere: BTreeSet<String>,
    pub duplicates: u64,
    pub dead_letters: u64,
    pub gaps: u64,
}

/// The id and the event time, in milliseconds, of a record that is no dead letter for what it holds.
fn accepted(record: &Record) -> Option<(String, i64)> {
    let value: serde_json::Value = serde_json::from_slice(record.value.as_ref()?).ok()?;
    let id = value["event_id"].as_str().filter(|id| !id.is_empty())?;
    let time = value["event_time"].as_i64()?;
    let latest = record.timestamp.0 / 1000 + AHEAD_MS;
    (time <= latest).then(|| (id.to_owned(), time))
}

/// What must become of a topic's records. An id whose copies lie in several partitions may not be late, or its
/// outcome depends on the order of events.
pub fn judge(topic: &Topic) -> Expected {
    let mut expected = Expected::default();
    let mut partitions_of: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for (partition, (records, _)) in topic.partitions.iter().enumerate() {
        for (id, _) in records.iter().filter_map(accepted) {
            partitions_of.entry(id).or_default().insert(partition);
        }
    }
    let mut seen = BTreeSet::new();
    for (partition, (records, end)) in topic.partitions.iter().enumerate() {
        expected.gaps += *end as u64 - records.len() as u64;
        let mut latest = None;
        for record in records {
            let Some((id, time)) = accepted(record) else {
                expected.dead_letters += 1;
                continue;
            };
            let watermark = latest.map(|latest: i64| latest - OUT_OF_ORDERNESS_MS);
            latest = latest.max(Some(time));
            if seen.contains(&id) {
                expected.duplicates += 1;
                continue;
            }
            if watermark.is_some_and(|watermark| time < watermark - LATENESS_MS) {
                expected.dead_letters += 1;
                continue;
            }
            seen.insert(id.clone());
            if partitions_of[&id].len() > 1 {
                expected.anywhere.insert(id);
                continue;
            }
            let late = watermark.is_some_and(|watermark| time < watermark);
            let place = (partition as i32, record.offset);
            expected.landed.insert(place, (id, late));
        }
    }
    expected
}
