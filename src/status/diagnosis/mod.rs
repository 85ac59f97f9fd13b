//! Why a job does not do what it should: each cause by its name, with the next step.
//!
//! A decision over what was seen at successive looks; time is given to it. A stall counts after
//! [`STALL_AFTER`], so that with the age of the facts it is named within 10 s.

mod landing;
mod letters;
mod partitions;
mod reading;
mod unlanded;
mod watermark;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strandline_operators::account::Account;
use strandline_operators::landing::behind::BehindFacts;

use super::facts::{LetterFacts, PartitionFacts};
use super::job::JobState;
use watermark::Holder;
pub(crate) use watermark::holder;

/// What has not moved for this long is stuck.
pub const STALL_AFTER: Duration = Duration::from_secs(5);

/// How much it matters.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Records wait, and nothing moves.
    Stalled,
    /// It works, and not as it should.
    Warning,
    /// Worth knowing.
    Note,
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Its name, which does not change: `not_reading`, `commit_slow`, ...
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// What was found, in a sentence.
    pub message: String,
    /// The next step.
    pub hint: String,
    /// For how many seconds.
    pub seconds: u64,
}

/// What is seen at one look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look<'a> {
    /// The state that the job is in: it reads only while it runs.
    pub state: JobState,
    /// Records read since the start.
    pub read: u64,
    /// Records consumed since the table first heard of the topics.
    pub consumed: u64,
    /// What this run has committed.
    pub account: Account,
    pub partitions: &'a [PartitionFacts],
    /// Why no source reads: `memory` or `commit`, if any does not.
    pub waits: Option<&'static str>,
    /// The epoch under way to the table, and for how long.
    pub committing: Option<(u64, Duration)>,
    pub commit_trouble: Option<&'a str>,
    /// Whether the commit waits for Kafka.
    pub awaits_kafka: bool,
    /// Tables that lack rows which the primary table has.
    pub tables_behind: &'a [BehindFacts],
    pub complaint: Option<&'a str>,
    pub has_lost_brokers: bool,
    /// Records decoded since the start, those included that could not be.
    pub decoded: u64,
    /// Dead letters since the start, by kind.
    pub letters: BTreeMap<String, u64>,
    /// The last of each kind.
    pub samples: Vec<&'a LetterFacts>,
    /// Why the broker does not take the group's offsets.
    pub group_trouble: Option<&'a str>,
    /// Batches that wait for a schema.
    pub held_back: u64,
    /// Why the schema registry cannot be reached.
    pub registry_trouble: Option<&'a str>,
    /// Which object store has given no answer for how long.
    pub store_trouble: Option<&'a str>,
    /// Our clock, in microseconds since 1970.
    pub wall_clock: i64,
    pub out_of_orderness_micros: i64,
    pub idle_timeout: Duration,
    /// Where `kafka.bootstrap_servers` points.
    pub bootstrap_servers: &'a str,
    /// The column that ids are judged by, if any are.
    pub dedup_key: Option<&'a str>,
    pub commit_interval: Duration,
    /// Whether rows go to the terminal, where nothing remembers how far it is.
    pub is_terminal: bool,
}

/// What earlier looks have seen.
#[derive(Debug, Default)]
pub(crate) struct Diagnosis {
    read: Option<(u64, Instant)>,
    held_back: Option<Instant>,
    holder: Option<Holder>,
    /// Partitions that were at their end at the last look though more follows it.
    behind: BTreeMap<(String, i32), partitions::Behind>,
    /// Records decoded and dead letters by kind, of the last minute, the oldest first.
    counts: VecDeque<(Instant, u64, BTreeMap<String, u64>)>,
    /// What the run had committed each time that grew, since a record has landed; of the last minute, the oldest first.
    accounts: VecDeque<(Instant, Account)>,
    since: BTreeMap<&'static str, Instant>,
}

struct Found {
    kind: &'static str,
    severity: Severity,
    message: String,
    hint: String,
}

impl Diagnosis {
    /// What is wrong now; the gravest first.
    pub(crate) fn look(&mut self, now: Instant, look: &Look<'_>) -> Vec<Finding> {
        let mut found = Vec::new();
        match look.state {
            JobState::Running => {
                self.reading(now, look, &mut found);
                self.watermark(now, look, &mut found);
                landing::landing(look, &mut found);
                self.partitions(look, &mut found);
                self.dead_letters(now, look, &mut found);
                self.unlanded(now, look, &mut found);
                found.extend(look.group_trouble.map(|trouble| Found {
                    kind: "group_refused",
                    severity: Severity::Warning,
                    message: format!(
                        "{trouble}; nothing is lost, but tools that read the group see no progress"
                    ),
                    hint: "set `group_id` to a name of the job's own, and grant `Read` on it"
                        .to_owned(),
                }));
            }
            // Nothing is read, and nothing should be: told of is only who is waited for.
            JobState::Starting | JobState::Draining => {
                *self = Diagnosis {
                    held_back: self.held_back,
                    since: std::mem::take(&mut self.since),
                    ..Diagnosis::default()
                };
                found.extend(self.registry(now, look));
                landing::landing(look, &mut found);
            }
            JobState::Restarting | JobState::Ended => *self = Diagnosis::default(),
        }
        self.since
            .retain(|kind, _| found.iter().any(|f| f.kind == *kind));
        found.sort_by_key(|f| f.severity);
        found
            .into_iter()
            .map(|f| Finding {
                kind: f.kind.to_owned(),
                severity: f.severity,
                message: f.message,
                hint: f.hint,
                seconds: now
                    .duration_since(*self.since.entry(f.kind).or_insert(now))
                    .as_secs(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
