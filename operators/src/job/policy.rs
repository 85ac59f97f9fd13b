//! What a job does with time, order and duplicates: one type a decision.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where reading starts in partitions that the table knows nothing of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartingOffsets {
    /// The oldest record that the broker holds.
    Earliest,
    /// The end at the time of the start.
    Latest,
    /// Where the consumer group stands; earliest where it has no position.
    Group,
    /// The first record with this timestamp or a later one, in milliseconds since 1970.
    Timestamp(i64),
    /// Offsets by topic and partition; earliest for partitions not named.
    Explicit(BTreeMap<String, BTreeMap<i32, i64>>),
}

/// What becomes of a record that is behind the watermark by more than the allowed lateness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TooLate {
    /// It is a dead letter (`too_late`).
    DeadLetter,
    /// It lands, flagged late.
    Land,
    /// It is counted as dropped.
    Drop,
}

impl TooLate {
    /// The name used in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            TooLate::DeadLetter => "dead_letter",
            TooLate::Land => "land",
            TooLate::Drop => "drop",
        }
    }
}

/// Where a job's rows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Into its Iceberg tables, exactly once.
    Tables,
    /// To standard output, one JSON object a record. Nothing remembers them: every run reads from
    /// `starting_offsets`.
    Terminal,
}

/// What becomes of fields that a schema has and the job has no column for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchemaEvolution {
    /// They are skipped.
    Off,
    /// Each becomes an optional column of the job's tables before a record of that schema lands.
    AddColumns,
}

/// What happens when Kafka no longer holds what should be read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnGap {
    /// The job stops with exit status 4 and says what is lost.
    Stop,
    /// The job goes on and writes the lost range into the account as gaps.
    Record,
}

/// How the watermark of a partition follows its event times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkPolicy {
    /// The watermark stays this far behind the largest event time accepted.
    pub out_of_orderness: Duration,
    /// A partition whose end has been reached for this long no longer holds the watermark back.
    pub idle_timeout: Duration,
    /// An event time further ahead of the record's timestamp than this is a dead letter.
    pub max_future_skew: Duration,
}

/// What happens to late records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatenessPolicy {
    /// Behind the watermark by more than this is too late.
    pub allowed: Duration,
    /// What becomes of the too late.
    pub too_late: TooLate,
}

/// Deduplication by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupPolicy<S> {
    /// The column that is the key.
    pub key: S,
    /// How long an id is remembered, in event time.
    pub ttl: Duration,
}

/// When an epoch is closed and committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitPolicy {
    /// After this time,
    pub interval: Duration,
    /// or after this many bytes of records, whichever comes first.
    pub max_bytes: u64,
}
