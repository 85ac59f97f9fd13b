//! What one process knows of its job, as it crosses to the process that shows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use strandline_operators::account::Account;
use strandline_operators::landing::behind::BehindFacts;
use strandline_operators::observed::histogram::Distribution;

use crate::engine::report::RunReport;

/// How far a process has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It meets its peers, claims a generation, loads state.
    #[default]
    Starting,
    /// It reads.
    Running,
    /// It commits what it has read, and then ends.
    Draining,
}

/// Where the facts of a process go.
pub type Tell = Arc<dyn Fn(ProcessFacts) + Send + Sync>;

/// What one process knows. Counters count since the process started; times are microseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessFacts {
    /// Which process of the job, from 0. Process 0 commits, and knows what the whole job has committed.
    pub process: usize,
    /// Its process id.
    pub pid: u32,
    /// How far it has come.
    pub stage: Stage,
    /// The generation, once claimed.
    pub generation: Option<u32>,
    /// The job's account in its table when the generation was claimed.
    pub account_before: Account,
    /// What this run has committed.
    pub account: Account,
    /// Records behind the ends of all partitions; process 0 knows it of all.
    pub lag: u64,
    /// The epoch that is open.
    pub open_epoch: Option<u64>,
    /// The last committed epoch of this run.
    pub epoch: Option<u64>,
    /// The watermark announced.
    pub watermark: Option<i64>,
    /// How far each stage of the dataflow is.
    pub operators: OperatorCounts,
    /// The workers of this process.
    pub workers: Vec<WorkerFacts>,
    /// Partitions: those read here; in process 0 also what is committed of all.
    pub partitions: Vec<PartitionFacts>,
    /// The last commits, the oldest first.
    pub commits: Vec<CommitFacts>,
    /// Commits that took effect.
    pub committed: u64,
    /// Commits that failed.
    pub failed: u64,
    /// How long commits took.
    pub commit_duration: Distribution,
    /// The epoch that is being committed, and for how many milliseconds.
    pub committing: Option<(u64, u64)>,
    /// Why the commit under way has not succeeded yet, when it was tried already.
    pub commit_trouble: Option<String>,
    /// Whether it waits for Kafka to tell that the topics are still the same.
    #[serde(default)]
    pub awaits_kafka: bool,
    /// Tables that lack rows which the primary table has.
    pub tables_behind: Vec<BehindFacts>,
    /// From the broker's timestamp to the durable commit.
    pub latency: Distribution,
    /// Dead letters by kind.
    pub letters: BTreeMap<String, u64>,
    /// The last dead letters of each kind.
    pub letter_samples: Vec<LetterFacts>,
    /// Ids that the deduplication knows.
    pub dedup_entries: u64,
    /// Ids answered, by what answered: `memory`, `filter`, `store`.
    pub dedup_answers: BTreeMap<String, u64>,
    /// Bytes by what they are for.
    pub memory: BTreeMap<String, u64>,
    /// What the Kafka client complained of lately; the last one.
    pub complaint: Option<String>,
    /// Whether the client has lately lost all brokers.
    pub has_lost_brokers: bool,
    /// Why the broker does not take the group's offsets, if it does not.
    pub group_trouble: Option<String>,
    /// Batches that wait for a schema of the registry.
    pub held_back: u64,
    /// Other processes of the job that have such batches, as far as this one hears: process 0 does.
    pub peers_held_back: usize,
    /// Which object store has given no answer for how long, if one has not.
    #[serde(default)]
    pub store_trouble: Option<String>,
    /// Why the schema registry cannot be reached, if it cannot.
    pub registry_trouble: Option<String>,
    /// The account of the run, once it has ended.
    pub report: Option<RunReport>,
}

/// How many records have passed each stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorCounts {
    /// Read from Kafka.
    pub read: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Decoded, or found to be dead letters.
    pub decoded: u64,
    /// Judged by their id.
    pub judged: u64,
    /// Rows handed to the encoder, of all tables.
    pub routed: u64,
    /// Rows encoded.
    pub encoded: u64,
    /// Microseconds in which sources did not read because records in flight filled their memory.
    pub waited_for_memory_us: u64,
    /// Microseconds in which sources did not read because earlier epochs waited for their commit.
    pub waited_for_commit_us: u64,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerFacts {
    /// Its index in the cluster.
    pub worker: u32,
    /// Partitions that it reads.
    pub partitions: usize,
    /// Why its source does not read: `no`, `memory` or `commit`.
    pub waits: String,
}

/// One partition. What this process does not know is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionFacts {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Where reading began when the table first heard of it.
    pub start: Option<i64>,
    /// The offset that follows the last committed one.
    pub committed: Option<i64>,
    /// The offset to be read next.
    pub next: Option<i64>,
    /// The partition's end.
    pub end: Option<i64>,
    /// Its own watermark.
    pub watermark: Option<i64>,
    /// Milliseconds for which it has been read up to what can be read.
    pub at_end_ms: Option<u64>,
    /// Whether it no longer holds the watermark back.
    pub is_idle: bool,
    /// The worker that reads it.
    pub worker: Option<u32>,
}

/// A commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitFacts {
    /// Its epoch.
    pub epoch: u64,
    /// When it was durable.
    pub at: i64,
    /// Milliseconds from the order to its success.
    pub took_ms: u64,
    /// What became of its records.
    pub account: Account,
    /// Data files, of all tables.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The primary table's snapshot.
    pub snapshot_id: Option<i64>,
    /// The watermark that it carries.
    pub watermark: Option<i64>,
}

/// A dead letter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterFacts {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The kind of failure.
    pub error_type: String,
    /// What was found.
    pub message: String,
    /// When it was found.
    pub at: i64,
    /// The beginning of the payload, as text; `None` when it was null.
    pub payload: Option<String>,
    /// Bytes of the whole payload.
    pub payload_bytes: usize,
    /// The payload's first bytes in hexadecimal, and its first characters in backticks; empty when it was null.
    pub hex: String,
    /// As [`LetterFacts::hex`] says.
    pub text: String,
    /// The format that it should have had, and what that expects.
    pub format: String,
    /// As [`LetterFacts::format`] says.
    pub expects: String,
    /// What the payload looks like; `None` when that could not be told.
    pub seen: Option<String>,
    /// The setting that would fit what it looks like, when that is not the job's.
    pub setting: Option<String>,
}
