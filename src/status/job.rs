//! The job as people see it: the document of `/api/v1/jobs/{job}`, of `status --json`, and of the UI.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strandline_operators::account::Account;

use super::diagnosis::Finding;
use crate::engine::report::RunReport;

/// What state a job is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Its processes meet, claim a generation, and load state.
    #[default]
    Starting,
    /// It reads and commits.
    Running,
    /// It commits what it has read, and then ends.
    Draining,
    /// It failed, and is started again after a pause.
    Restarting,
    /// It has ended.
    Ended,
}

impl JobState {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            JobState::Starting => "starting",
            JobState::Running => "running",
            JobState::Draining => "draining",
            JobState::Restarting => "restarting",
            JobState::Ended => "ended",
        }
    }
}

/// A job, and everything that is known of it. Times are RFC 3339, in UTC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobStatus {
    /// Its name.
    pub job: String,
    /// The state it is in.
    pub state: JobState,
    /// The release that runs it.
    pub version: String,
    /// Since when it runs here, restarts included.
    pub started_at: String,
    /// When this was said.
    pub at: String,
    /// Where UI, API and metrics are served, if they are.
    pub http: Option<String>,
    /// Whether it has committed since its last start.
    pub ready: bool,
    /// The generation that it has claimed in the table.
    pub generation: Option<u32>,
    /// The account of the job, as the table holds it.
    #[schemars(with = "BTreeMap<String, u64>")]
    pub account: Account,
    /// The part of it that was done since the last start.
    #[schemars(with = "BTreeMap<String, u64>")]
    pub run: Account,
    /// Rates of the last seconds.
    pub rates: Rates,
    /// Records behind the ends of all partitions.
    pub lag: u64,
    /// The watermark, its lag, and who holds it.
    pub watermark: WatermarkStatus,
    /// From the broker's timestamp to the durable commit, over the last minute.
    pub freshness: Freshness,
    /// Epochs on their way.
    pub epochs: Epochs,
    /// What is wrong, or worth knowing; the gravest first.
    pub findings: Vec<Finding>,
    /// The dataflow, in the order in which records take it.
    pub operators: Vec<OperatorStatus>,
    /// The processes.
    pub processes: Vec<ProcessStatus>,
    /// The workers.
    pub workers: Vec<WorkerStatus>,
    /// The partitions, by topic and number.
    pub partitions: Vec<PartitionStatus>,
    /// Commits.
    pub commits: Commits,
    /// Tables that lack rows which the primary table has, because they could not be committed to.
    pub tables_behind: Vec<TableBehind>,
    /// Dead letters since the last start.
    pub dead_letters: DeadLetters,
    /// Restarts since the start.
    pub restarts: RestartsStatus,
    /// The state of the deduplication.
    pub dedup: DedupStatus,
    /// Bytes of memory, by what they are for, of all processes.
    pub memory: BTreeMap<String, u64>,
    /// Bytes that were read since the start.
    pub bytes_consumed: u64,
    /// How it ended, once it has.
    pub end: Option<End>,
}

/// Rates of the last seconds, each in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rates {
    /// Records read.
    pub read: f64,
    /// Bytes read.
    pub bytes: f64,
    /// Records committed.
    pub consumed: f64,
    /// Rows landed.
    pub landed: f64,
}

/// The watermark.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WatermarkStatus {
    /// Where it stands; `null` before the first event.
    pub time: Option<String>,
    /// How far it is behind our clock.
    pub lag_seconds: Option<f64>,
    /// The partition whose own watermark is the smallest of those that are not idle.
    pub held_by: Option<String>,
}

/// A summary of latencies, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Freshness {
    /// Half of the rows are at least this fresh.
    pub p50_ms: Option<f64>,
    /// 99 of 100 rows are at least this fresh.
    pub p99_ms: Option<f64>,
    /// Rows that it speaks of.
    pub rows: u64,
}

/// Epochs on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Epochs {
    /// The one that is read into.
    pub open: Option<u64>,
    /// The one that is being committed.
    pub committing: Option<u64>,
    /// For how long.
    pub committing_ms: Option<u64>,
    /// The last committed one.
    pub committed: Option<u64>,
    /// How many are open or on their way.
    pub in_flight: u64,
}

/// One stage of the dataflow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OperatorStatus {
    /// Its name, as in `plan`.
    pub name: String,
    /// What it counts: `records` or `rows`.
    pub unit: String,
    /// How many have passed it since the last start.
    pub count: u64,
    /// In a second.
    pub rate: f64,
    /// How many wait before it.
    pub waiting: u64,
    /// `ok`, `waits` (it has nothing to do because another stage is in its way), or `busy` (it is in the way).
    pub pressure: String,
    /// That, in a sentence.
    pub says: String,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessStatus {
    /// Its number in the job.
    pub process: usize,
    /// Its process id.
    pub pid: u32,
    /// Bytes of memory that it uses.
    pub resident_bytes: u64,
    /// What its Kafka client complained of lately.
    pub complaint: Option<String>,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerStatus {
    /// Its number in the job.
    pub worker: u32,
    /// The process it belongs to.
    pub process: usize,
    /// Partitions that it reads.
    pub partitions: usize,
    /// Why its source does not read: `no` (it does), `memory`, `commit`.
    pub waits: String,
}

/// One partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartitionStatus {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The worker that reads it.
    pub worker: Option<u32>,
    /// Where reading began when the table first heard of it.
    pub start: Option<i64>,
    /// The offset that follows the last committed one.
    pub committed: Option<i64>,
    /// The offset to be read next.
    pub next: Option<i64>,
    /// Its end.
    pub end: Option<i64>,
    /// Records between what is committed and the end.
    pub lag: Option<u64>,
    /// Its own watermark.
    pub watermark: Option<String>,
    /// Whether it is at its end for so long that it does not hold the watermark.
    pub idle: bool,
    /// Whether it is the one that holds the watermark back.
    pub holds_watermark: bool,
}

/// A table that lacks rows which the primary table has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TableBehind {
    /// `namespace.table`.
    pub table: String,
    /// Epochs that it lacks.
    pub epochs: usize,
    /// Data files that it lacks.
    pub files: usize,
    /// Why it could not be committed to the last time.
    pub why: String,
}

/// Commits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Commits {
    /// How many took effect since the start.
    pub succeeded: u64,
    /// How many failed.
    pub failed: u64,
    /// The last ones, the newest first.
    pub last: Vec<CommitStatus>,
}

/// One commit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CommitStatus {
    /// Its epoch.
    pub epoch: u64,
    /// When it was durable.
    pub at: String,
    /// How long it took.
    pub duration_ms: u64,
    /// Rows of the Bronze table.
    pub rows: u64,
    /// Data files, of all tables.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The snapshot of the Bronze table. A string: it does not fit in a JavaScript number.
    pub snapshot_id: Option<String>,
    /// What became of its records.
    #[schemars(with = "BTreeMap<String, u64>")]
    pub account: Account,
    /// The watermark that it carries.
    pub watermark: Option<String>,
}

/// Dead letters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetters {
    /// How many, by `error_type`.
    pub by_type: BTreeMap<String, u64>,
    /// A few of the last of each kind, the newest first.
    pub samples: Vec<DeadLetterSample>,
}

/// One dead letter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterSample {
    /// The topic.
    pub kafka_topic: String,
    /// The partition.
    pub kafka_partition: i32,
    /// The offset.
    pub kafka_offset: i64,
    /// The kind of failure.
    pub error_type: String,
    /// What was found.
    pub error_message: String,
    /// When.
    pub failed_at: String,
    /// The beginning of the payload, as text.
    pub original_payload: Option<String>,
    /// Bytes of the whole payload.
    pub payload_bytes: usize,
    /// Whether `original_payload` is only its beginning. Its length does not tell: it is text, which has other bytes
    /// where the payload is no UTF-8.
    #[serde(default)]
    pub payload_cut: bool,
}

/// Restarts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RestartsStatus {
    /// How many, since `launch` was started.
    pub total: u64,
    /// The last ones, the newest first.
    pub last: Vec<Restart>,
}

/// One restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Restart {
    /// When the job failed.
    pub at: String,
    /// Why.
    pub cause: String,
    /// How long it had run.
    pub ran_seconds: f64,
}

/// The state of the deduplication.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DedupStatus {
    /// Ids known.
    pub entries: u64,
    /// Ids answered since the last start, by what answered: `memory`, `filter`, `store`.
    pub answers: BTreeMap<String, u64>,
}

/// How a job ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct End {
    /// Why it failed; `null` when it ended well.
    pub error: Option<String>,
    /// Its exit status.
    pub exit_status: u8,
    /// The account that it printed.
    #[schemars(with = "Option<serde_json::Value>")]
    pub report: Option<RunReport>,
}

/// One setting in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SettingStatus {
    /// Its dotted path.
    pub key: String,
    /// Its value; a secret is masked.
    pub value: serde_json::Value,
    /// Where it comes from.
    pub origin: String,
}
