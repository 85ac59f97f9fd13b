//! The broker: one topic whose partitions grow in transactions and lose their oldest records, and which may be
//! another topic of the same name for a time.

use std::collections::BTreeMap;

use strandline_operators::positions::{PartitionFacts, TopicMetadata};
use strandline_operators::record::TopicPartition;
use strandline_operators::time::EventTime;

use crate::fakes::{Record, Seeded, Topic};

pub const TOPIC: &str = "t";

/// Kafka's id of the topic, and of the one that takes its name.
pub const TOPIC_ID: &str = "the-topic";
const OTHER_TOPIC_ID: &str = "the-topic-of-somebody-else";

/// What the ids of the other topic's records begin with.
const OTHER_ID: &str = "y-";

/// Transactions that write to one partition at a time.
const OPEN_TRANSACTIONS_MAX: usize = 2;

struct Entry {
    offset: i64,
    /// `None` is the marker that ends a transaction.
    record: Option<Record>,
    /// The place of its transaction in [`Partition::transactions`].
    transaction: Option<usize>,
}

struct Transaction {
    /// The offset of its first record.
    first: i64,
    /// The offset of its marker.
    marker: i64,
    is_committed: bool,
}

struct Partition {
    /// Everything that there will ever be, in the order of offsets.
    entries: Vec<Entry>,
    end: i64,
    transactions: Vec<Transaction>,
    /// Entries that have been produced so far.
    produced: usize,
    /// The oldest offset that is still held.
    log_start: i64,
}

impl Partition {
    /// Puts some records into transactions, of which a third is aborted; each marker takes an offset, and the
    /// records behind it move on.
    fn new((records, end): (Vec<Record>, i64), seeded: &mut Seeded) -> Partition {
        let mut partition = Partition {
            entries: Vec::with_capacity(records.len()),
            end: 0,
            transactions: Vec::new(),
            produced: 0,
            log_start: 0,
        };
        let mut open: Vec<usize> = Vec::new();
        let mut markers = 0;
        for record in records {
            let offset = record.offset + markers;
            let mut transaction = None;
            if open.len() < OPEN_TRANSACTIONS_MAX && seeded.below(12) == 0 {
                open.push(partition.transactions.len());
                transaction = open.last().copied();
                partition.transactions.push(Transaction {
                    first: offset,
                    marker: 0,
                    is_committed: seeded.below(3) > 0,
                });
            } else if !open.is_empty() && seeded.below(2) == 0 {
                transaction = Some(open[seeded.below(open.len() as u64) as usize]);
            }
            partition.entries.push(Entry {
                offset,
                record: Some(Record { offset, ..record }),
                transaction,
            });
            if !open.is_empty() && seeded.below(5) == 0 {
                markers += 1;
                let ended = open.swap_remove(seeded.below(open.len() as u64) as usize);
                partition.end_transaction(ended, offset + 1);
            }
        }
        let mut end = end + markers;
        for ended in open {
            partition.end_transaction(ended, end);
            end += 1;
        }
        Partition { end, ..partition }
    }

    fn end_transaction(&mut self, transaction: usize, marker: i64) {
        self.transactions[transaction].marker = marker;
        self.entries.push(Entry {
            offset: marker,
            record: None,
            transaction: Some(transaction),
        });
    }

    /// The offset that follows everything produced.
    fn high_watermark(&self) -> i64 {
        let next = self.entries.get(self.produced);
        next.map_or(self.end, |next| next.offset)
    }

    /// Up to where a `read_committed` reader sees: the first record of the oldest transaction that is open.
    fn last_stable_offset(&self) -> i64 {
        let high_watermark = self.high_watermark();
        let is_open = |t: &&Transaction| t.first < high_watermark && t.marker >= high_watermark;
        let open = self.transactions.iter().filter(is_open);
        open.map(|t| t.first).min().unwrap_or(high_watermark)
    }

    fn is_visible(&self, entry: &Entry) -> bool {
        let is_committed = |t: usize| self.transactions[t].is_committed;
        entry.transaction.is_none_or(is_committed)
    }

    /// The records that some reader will see, in the order of offsets.
    fn records(&self) -> impl Iterator<Item = &Record> {
        let visible = self.entries.iter().filter(|entry| self.is_visible(entry));
        visible.filter_map(|entry| entry.record.as_ref())
    }
}

pub struct Broker {
    partitions: Vec<Partition>,
    /// By partition, the end of the topic that has taken the name.
    other: Option<Vec<i64>>,
    /// Whether readers see aborted records, and those of open transactions.
    pub reads_uncommitted: bool,
}

impl Broker {
    pub fn new(topic: Topic, seed: u64) -> Broker {
        let mut seeded = Seeded::new(seed ^ 0x0007_7AC7);
        let partitions = topic.partitions.into_iter();
        Broker {
            partitions: partitions.map(|p| Partition::new(p, &mut seeded)).collect(),
            other: None,
            reads_uncommitted: false,
        }
    }

    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Kafka's id of whichever topic has the name now.
    pub fn topic_id(&self) -> &'static str {
        match self.other {
            Some(_) => OTHER_TOPIC_ID,
            None => TOPIC_ID,
        }
    }

    /// Produces up to `entries` more.
    pub fn produce(&mut self, partition: usize, entries: usize) {
        let partition = &mut self.partitions[partition];
        partition.produced = (partition.produced + entries).min(partition.entries.len());
    }

    pub fn is_all_produced(&self) -> bool {
        let mut partitions = self.partitions.iter();
        partitions.all(|p| p.produced == p.entries.len())
    }

    /// The end as readers see it.
    pub fn end(&self, partition: usize) -> i64 {
        match &self.other {
            Some(ends) => ends[partition],
            None if self.reads_uncommitted => self.partitions[partition].high_watermark(),
            None => self.partitions[partition].last_stable_offset(),
        }
    }

    pub fn log_start(&self, partition: usize) -> i64 {
        match self.other {
            Some(_) => 0,
            None => self.partitions[partition].log_start,
        }
    }

    /// Lets go of the oldest records of a partition. Returns the new start of the log.
    pub fn retain(&mut self, partition: usize, seeded: &mut Seeded) -> i64 {
        let partition = &mut self.partitions[partition];
        let held = partition.last_stable_offset() - partition.log_start;
        partition.log_start += seeded.below(held as u64 + 1) as i64;
        partition.log_start
    }

    /// Gives the topic's name to another one, perhaps a longer one.
    pub fn replace_topic(&mut self, seeded: &mut Seeded) {
        let ends = self.partitions.iter();
        let ends = ends.map(|p| seeded.below(2 * p.end as u64 + 2) as i64);
        self.other = Some(ends.collect());
    }

    pub fn restore_topic(&mut self) {
        self.other = None;
    }

    /// At most `at_most` records from an offset on, as far as readers see.
    pub fn fetch(&self, partition: usize, from: i64, at_most: usize) -> Vec<Record> {
        let end = self.end(partition);
        if self.other.is_some() {
            return (from..end).take(at_most).map(of_other_topic).collect();
        }
        let partition = &self.partitions[partition];
        let first = partition.entries.partition_point(|e| e.offset < from);
        partition.entries[first..]
            .iter()
            .take_while(|entry| entry.offset < end)
            .filter(|entry| self.reads_uncommitted || partition.is_visible(entry))
            .filter_map(|entry| entry.record.clone())
            .take(at_most)
            .collect()
    }

    /// What somebody hears who asks where the partitions begin and end.
    pub fn describe(&self) -> (TopicMetadata, Vec<PartitionFacts>) {
        let topic = TopicMetadata {
            name: TOPIC.to_owned(),
            id: Some(self.topic_id().to_owned()),
            partitions: (0..self.partitions.len() as i32).collect(),
        };
        let facts = topic.sources().map(|source| PartitionFacts {
            log_start: self.log_start(source.partition as usize),
            end: self.end(source.partition as usize),
            source,
            group: None,
            at_timestamp: None,
        });
        (topic.clone(), facts.collect())
    }

    /// What readers come to see in the end, without what was lost to them.
    pub fn readable(&self, is_lost: impl Fn(i32, i64) -> bool) -> Topic {
        let partitions = (0..).zip(&self.partitions).map(|(number, partition)| {
            let records = partition.records();
            let kept = records.filter(|record| !is_lost(number, record.offset));
            (kept.cloned().collect(), partition.end)
        });
        Topic {
            partitions: partitions.collect(),
        }
    }

    /// By partition, the offsets of the records that readers come to see and whose id begins so, with the rest
    /// of the id.
    pub fn ids_with(&self, prefix: &str) -> BTreeMap<i32, Vec<(i64, usize)>> {
        let of = |partition: &Partition| {
            let records = partition.records();
            let found = records.filter_map(|record| {
                let id = field(record, "event_id")?.as_str()?.to_owned();
                Some((record.offset, id.strip_prefix(prefix)?.parse().ok()?))
            });
            found.collect()
        };
        (0..).zip(self.partitions.iter().map(of)).collect()
    }

    /// What the record at this place says, if it says a number.
    pub fn input_value(&self, (partition, offset): (i32, i64)) -> Option<i64> {
        let entries = &self.partitions[partition as usize].entries;
        let place = entries.binary_search_by_key(&offset, |e| e.offset).ok()?;
        field(entries[place].record.as_ref()?, "input_value")?.as_i64()
    }
}

fn field(record: &Record, name: &str) -> Option<serde_json::Value> {
    let mut value: serde_json::Value = serde_json::from_slice(record.value.as_ref()?).ok()?;
    Some(value[name].take())
}

/// Whether a row comes from the topic that took the name.
pub fn is_of_other_topic(id: &str) -> bool {
    id.starts_with(OTHER_ID)
}

fn of_other_topic(offset: i64) -> Record {
    let time = 1_700_000_000_000 + offset;
    let value = format!(r#"{{"event_id":"{OTHER_ID}{offset}","event_time":{time}}}"#);
    Record {
        offset,
        timestamp: EventTime(time * 1000),
        value: Some(value.into_bytes()),
    }
}

/// The partition of the topic with this number.
pub fn source(partition: usize) -> TopicPartition {
    TopicPartition::new(TOPIC, partition as i32)
}
