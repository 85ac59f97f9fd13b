//! Records on their way through: raw as Kafka gave them, then decoded, then judged.

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::credit::Credit;
use crate::time::EventTime;

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> TopicPartition {
        TopicPartition {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// A range of bytes in a batch's arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// One Kafka message of a [`RawBatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRecord {
    /// Its offset.
    pub offset: i64,
    /// The broker's timestamp; `None` when the message has none.
    pub timestamp: Option<EventTime>,
    /// The key; `None` when it is null.
    pub key: Option<Span>,
    /// The value; `None` when it is null (a tombstone).
    pub value: Option<Span>,
}

/// The headers of a batch's records. Names and values stand in the batch's arena.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// For each record, where its headers end in `entries`.
    ends: Vec<u32>,
    /// Name and value of each header; a value may be null.
    entries: Vec<(Span, Option<Span>)>,
}

impl Headers {
    /// Adds a header to the record that is not closed yet.
    pub fn push(&mut self, name: Span, value: Option<Span>) {
        self.entries.push((name, value));
    }

    /// Ends the headers of a record.
    pub fn close_record(&mut self) {
        self.ends.push(self.entries.len() as u32);
    }

    /// Bytes that this holds besides the arena.
    pub fn held_bytes(&self) -> usize {
        self.ends.capacity() * size_of::<u32>()
            + self.entries.capacity() * size_of::<(Span, Option<Span>)>()
    }

    /// The headers of a record, by its place in [`RawBatch::records`].
    pub fn of(&self, record: usize) -> &[(Span, Option<Span>)] {
        let start = match record.checked_sub(1) {
            Some(before) => self.ends.get(before).copied().unwrap_or_default(),
            None => 0,
        };
        let end = self.ends.get(record).copied().unwrap_or(start);
        &self.entries[start as usize..end as usize]
    }
}

/// Records of one partition, read together, their bytes copied once into one arena.
#[derive(Debug)]
pub struct RawBatch {
    /// Where they come from.
    pub source: TopicPartition,
    /// The offset that was to be read next before this batch.
    pub start: i64,
    /// The offset to be read next after this batch; `next - start - records.len()` offsets are gaps.
    pub next: i64,
    /// The epoch of the leader that wrote the last record; `None` when the broker does not tell.
    pub leader_epoch: Option<i32>,
    /// When the worker read them, by its own clock.
    pub received_at: EventTime,
    /// Keys and values, back to back.
    pub arena: Bytes,
    /// The records, by ascending offset.
    pub records: Vec<RawRecord>,
    /// Their headers; `None` when the job does not want them, which spares reading them.
    pub headers: Option<Headers>,
    /// The share of the memory budget they hold.
    pub credit: Credit,
}

impl RawBatch {
    /// The bytes of a span.
    pub fn bytes(&self, span: Span) -> &[u8] {
        &self.arena[span.start as usize..span.end as usize]
    }

    /// The value of a record, `None` when it is null.
    pub fn value(&self, record: &RawRecord) -> Option<&[u8]> {
        record.value.map(|span| self.bytes(span))
    }

    /// The key of a record, `None` when it is null.
    pub fn key(&self, record: &RawRecord) -> Option<&[u8]> {
        record.key.map(|span| self.bytes(span))
    }

    /// Offsets in the batch's range for which Kafka holds no record.
    pub fn gaps(&self) -> u64 {
        (self.next - self.start) as u64 - self.records.len() as u64
    }
}

/// Why a record is a dead letter (INTERFACES section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// Not a document of the format at all.
    Malformed,
    /// A document, but its fields do not fit the columns.
    SchemaMismatch,
    /// The registry denies the schema id.
    UnknownSchema,
    /// No, null or empty deduplication key.
    MissingEventId,
    /// No or null event time.
    MissingEventTime,
    /// The value is null (a tombstone).
    NullValue,
    /// Behind the watermark by more than the allowed lateness.
    TooLate,
    /// Ahead of the record's timestamp by more than `max_future_skew`.
    FutureEventTime,
    /// Larger than the job's limit.
    TooLarge,
}

impl ErrorType {
    /// The name that stands in topics and tables.
    pub fn name(self) -> &'static str {
        match self {
            ErrorType::Malformed => "malformed",
            ErrorType::SchemaMismatch => "schema_mismatch",
            ErrorType::UnknownSchema => "unknown_schema",
            ErrorType::MissingEventId => "missing_event_id",
            ErrorType::MissingEventTime => "missing_event_time",
            ErrorType::NullValue => "null_value",
            ErrorType::TooLate => "too_late",
            ErrorType::FutureEventTime => "future_event_time",
            ErrorType::TooLarge => "too_large",
        }
    }
}

/// A record that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeFailure {
    /// Its place in [`RawBatch::records`].
    pub record: u32,
    /// What kind of failure.
    pub error_type: ErrorType,
    /// What was found, for a person.
    pub message: String,
}

/// A raw batch and what its records say.
#[derive(Debug)]
pub struct EventBatch {
    /// The records as read; kept because a dead letter carries its original bytes.
    pub raw: RawBatch,
    /// The job's columns, one row an event that decoded.
    pub columns: RecordBatch,
    /// For each row, its place in `raw.records`; ascending.
    pub rows: Vec<u32>,
    /// For each row, its event time.
    pub event_times: Vec<EventTime>,
    /// For each row, its partition's watermark when it was judged; `None` before the first event.
    pub watermarks: Vec<Option<EventTime>>,
    /// For each row, the hash of its id; empty when the job does not deduplicate.
    pub hashes: Vec<u128>,
    /// The records that are dead letters whatever the deduplication says.
    pub failures: Vec<DecodeFailure>,
    /// Records that carry no row and never will, by the format's own rules: Debezium's tombstones,
    /// heartbeats and transaction markers.
    pub dropped: u64,
    /// The largest event time accepted from this partition up to the end of this batch.
    pub max_event_time: Option<EventTime>,
}

/// A record that cannot land, ready for the dead-letter topic and table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it comes from.
    pub source: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// The broker's timestamp.
    pub timestamp: Option<EventTime>,
    /// The original key.
    pub key: Option<Vec<u8>>,
    /// The original value; `None` when it was null.
    pub payload: Option<Vec<u8>>,
    /// Why it cannot land.
    pub error_type: ErrorType,
    /// What was found, for a person.
    pub message: String,
    /// When that was found.
    pub failed_at: EventTime,
}
