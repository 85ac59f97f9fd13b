//! Progress: what the table remembers of a job, written in the same commit as the data.
//!
//! It is one versioned JSON document in the property `strandline.progress.<job>` of the primary table,
//! and it is all that a restart on empty disks needs besides Kafka.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::error::{Error, Result};
use crate::io::WrittenFile;
use crate::record::TopicPartition;
use crate::time::{Epoch, EventTime};

/// The version of the progress document that this build writes.
pub const PROGRESS_VERSION: u32 = 1;

/// How many past generations are remembered; a state store older than that is rebuilt.
pub const GENERATION_HISTORY: usize = 64;

/// Who wrote a record of a partition. A log that was truncated and has grown again shows another leader's
/// epoch at the same offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderEpoch {
    /// The epoch of the leader, as Kafka counts them.
    pub epoch: i32,
    /// The record's offset.
    pub offset: i64,
}

/// What one epoch did to one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionDelta {
    /// The first offset of the range.
    pub start: i64,
    /// The offset after the range.
    pub next: i64,
    /// Who wrote the range's last record; `None` when it has none, or the broker does not tell.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The largest event time accepted from this partition so far.
    pub max_event_time: Option<EventTime>,
    /// What became of the range's records.
    pub account: Account,
}

impl PartitionDelta {
    /// Joins the next range of the same partition. Ranges of one partition come from one worker, in
    /// order, so they are adjacent; anything else is a defect that would lose records.
    pub fn extend(&mut self, later: PartitionDelta) -> Result<()> {
        if later.start != self.next {
            return Err(Error::internal(format!(
                "offsets of a partition are not contiguous: expected {}, found {}",
                self.next, later.start
            )));
        }
        self.next = later.next;
        self.leader_epoch = later.leader_epoch.or(self.leader_epoch);
        self.max_event_time = self.max_event_time.max(later.max_event_time);
        self.account += later.account;
        Ok(())
    }
}

/// Everything that one epoch commits.
#[derive(Clone, Debug)]
pub struct EpochCommit {
    /// The epoch.
    pub epoch: Epoch,
    /// The watermark announced with the epoch's end; `None` before the first event.
    pub watermark: Option<EventTime>,
    /// By partition, what was consumed.
    pub partitions: BTreeMap<TopicPartition, PartitionDelta>,
    /// The data files, of all tables.
    pub files: Vec<WrittenFile>,
}

impl EpochCommit {
    /// The epoch's account, over all partitions.
    pub fn account(&self) -> Account {
        let mut account = Account::default();
        for delta in self.partitions.values() {
            account += delta.account;
        }
        account
    }
}

/// That the offset of a partition was set by a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetReset {
    /// When, the last time: RFC 3339.
    pub at: String,
    /// By whom, the last time: process and host.
    pub by: String,
    /// What would have been read next before it.
    pub from: i64,
    /// What was to be read next after it.
    pub to: i64,
    /// Offsets that all resets of the partition have passed over; below zero where reading went back further
    /// than it went ahead.
    pub skipped: i64,
    /// How far reading had come before any of them: rows have offsets up to here.
    pub read_up_to: i64,
}

/// What the table knows of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionProgress {
    /// The offset where reading began, once, when the table first heard of the partition.
    pub start: i64,
    /// The offset to be read next.
    pub next: i64,
    /// Who wrote the last record before `next`, when the broker told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_epoch: Option<LeaderEpoch>,
    /// The largest event time accepted, exact; the partition's watermark follows from it.
    pub max_event_time: Option<EventTime>,
    /// What became of all its records since `start`.
    pub account: Account,
    /// That its offset was set by a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<OffsetReset>,
}

impl PartitionProgress {
    /// Whether every offset passed is accounted for: `next - start = consumed + gaps`, and what resets passed
    /// over.
    pub fn is_accounted(&self) -> bool {
        let passed = i128::from(self.account.consumed) + i128::from(self.account.gaps);
        let skipped = self.reset.as_ref().map_or(0, |reset| reset.skipped);
        self.account.is_balanced()
            && i128::from(self.next) - i128::from(self.start) == passed + i128::from(skipped)
    }

    /// The offset after the last one that a row may have.
    pub fn read_up_to(&self) -> i64 {
        let reset = self.reset.as_ref();
        reset.map_or(self.next, |reset| reset.read_up_to.max(self.next))
    }
}

/// What the table knows of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicProgress {
    /// Kafka's id of the topic; a topic created again under the same name has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// Its partitions.
    pub partitions: BTreeMap<i32, PartitionProgress>,
}

/// One life of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationRecord {
    /// Its number.
    pub generation: u32,
    /// The last epoch it committed; the generation's first epoch less one when it committed none.
    pub last_epoch: Epoch,
}

/// Who claimed the generation in force; for people, when it fences another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimant {
    /// The name of the host.
    pub host: String,
    /// The process there.
    pub pid: u32,
    /// Since when: RFC 3339.
    pub since: String,
}

/// That the table was taken back to a savepoint, the last time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The savepoint's name.
    pub savepoint: String,
    /// The start that asked for it: the same start does it once, however often it is tried again.
    pub id: String,
    /// The generation that took it up.
    pub generation: u32,
    /// Where the other tables are to be, until each says in its own mark that it is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secondaries: Vec<RestoredTable>,
}

/// Another table of the job, and the snapshot that it is taken back to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredTable {
    /// `namespace.table`.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// The snapshot.
    pub snapshot_id: i64,
}

impl std::fmt::Display for Claimant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "pid {} on {}", self.pid, self.host)
    }
}

/// The progress document. See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// [`PROGRESS_VERSION`].
    pub version: u32,
    /// The job's name.
    pub job: String,
    /// The primary table's UUID.
    pub table_uuid: String,
    /// Kafka's cluster id, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Positions, by topic and partition.
    pub topics: BTreeMap<String, TopicProgress>,
    /// Generations, oldest first, at most [`GENERATION_HISTORY`]; the last is the one in force.
    pub generations: Vec<GenerationRecord>,
    /// The last committed epoch; `None` before the first.
    pub epoch: Option<Epoch>,
    /// The committed watermark.
    pub watermark: Option<EventTime>,
    /// The seed of the id hash, random per table (crafted collisions would be silent loss).
    pub hash_seed: u64,
    /// What the meaning of the deduplication state depends on: id field, TTL, lateness, routing, hash.
    pub fingerprint: String,
    /// The sequence number of the snapshot that carries this document, to notice a rollback.
    pub sequence_number: i64,
    /// The file that lists the secondaries' data files of `epoch`, until they are known committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
    /// The tables that the file lists, and the last epoch of each in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pending_tables: BTreeMap<String, Epoch>,
    /// Rows that each route's table has got from this job, by the route's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub routed: BTreeMap<String, u64>,
    /// Who claimed the generation in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_by: Option<Claimant>,
    /// The last return to a savepoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<Restored>,
}

impl Progress {
    /// The progress of a job that has never run against this table.
    pub fn new(job: &str, table_uuid: &str, hash_seed: u64, fingerprint: &str) -> Progress {
        Progress {
            version: PROGRESS_VERSION,
            job: job.to_owned(),
            table_uuid: table_uuid.to_owned(),
            cluster_id: None,
            topics: BTreeMap::new(),
            generations: Vec::new(),
            epoch: None,
            watermark: None,
            hash_seed,
            fingerprint: fingerprint.to_owned(),
            sequence_number: 0,
            pending: None,
            pending_tables: BTreeMap::new(),
            routed: BTreeMap::new(),
            claimed_by: None,
            restored: None,
        }
    }

    /// The property that carries the progress of `job`.
    pub fn property(job: &str) -> String {
        format!("strandline.progress.{job}")
    }

    /// Reads the document.
    ///
    /// # Errors
    /// Refuses what it cannot read, or a version newer than [`PROGRESS_VERSION`].
    pub fn parse(json: &str) -> Result<Progress> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let unreadable = |e: serde_json::Error| {
            Error::refused(format!("cannot read the progress that the table holds: {e}"))
                .hint("the table property `strandline.progress.<job>` was changed by hand; restore it from an earlier metadata file")
        };
        let Version { version } = serde_json::from_str(json).map_err(unreadable)?;
        if version > PROGRESS_VERSION {
            return Err(Error::refused(format!(
                "the table's progress has version {version}, this build reads up to {PROGRESS_VERSION}"
            ))
            .hint("run the newer build that wrote it"));
        }
        serde_json::from_str(json).map_err(unreadable)
    }

    /// The document's text.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|e| Error::internal(format!("cannot write progress: {e}")))
    }

    /// The generation in force; 0 before the first claim.
    pub fn generation(&self) -> u32 {
        self.generations.last().map_or(0, |g| g.generation)
    }

    /// Starts the next generation and returns its number.
    pub fn claim(&mut self) -> u32 {
        self.claim_after(self.generation())
    }

    /// Starts a generation above `generation` and above those of this document. After a return to an
    /// earlier document others have been in force since.
    pub fn claim_after(&mut self, generation: u32) -> u32 {
        let generation = generation.max(self.generation()) + 1;
        let last_epoch = Epoch(Epoch::first_of(generation).0 - 1);
        self.generations.push(GenerationRecord {
            generation,
            last_epoch,
        });
        let excess = self.generations.len().saturating_sub(GENERATION_HISTORY);
        self.generations.drain(..excess);
        generation
    }

    /// Whether state marked with `(generation, epoch)` holds only ids of epochs that were committed.
    pub fn vouches_for(&self, generation: u32, epoch: Epoch) -> bool {
        self.generations.iter().any(|g| {
            g.generation == generation && epoch.generation() <= generation && epoch <= g.last_epoch
        })
    }

    /// Whether the table has been reading partitions of this topic.
    pub fn knows(&self, topic: &str) -> bool {
        self.topics
            .get(topic)
            .is_some_and(|known| !known.partitions.is_empty())
    }

    /// Notes where reading of a partition begins, if the table knows nothing of it yet.
    pub fn begin(&mut self, source: &TopicPartition, start: i64) {
        let topic = self.topics.entry(source.topic.to_string()).or_default();
        topic
            .partitions
            .entry(source.partition)
            .or_insert_with(|| PartitionProgress {
                start,
                next: start,
                leader_epoch: None,
                max_event_time: None,
                account: Account::default(),
                reset: None,
            });
    }

    /// Sets what is read next of a partition, at the time `at` and by `by`. The account stays: what is passed
    /// over is written down beside it. Where reading goes back the partition's watermark begins anew, so that
    /// what is read again is judged as if it had not been read.
    pub fn reset(&mut self, source: &TopicPartition, to: i64, at: &str, by: &str) {
        self.begin(source, to);
        let known = self.topics.get_mut(&*source.topic);
        let Some(partition) = known.and_then(|t| t.partitions.get_mut(&source.partition)) else {
            return;
        };
        let from = partition.next;
        let earlier = partition.reset.take();
        let start = partition.start.min(to);
        let skipped = earlier.as_ref().map_or(0, |reset| reset.skipped);
        partition.reset = Some(OffsetReset {
            at: at.to_owned(),
            by: by.to_owned(),
            from,
            to,
            skipped: skipped + (to - from) + (partition.start - start),
            read_up_to: earlier.map_or(from, |reset| reset.read_up_to.max(from)),
        });
        partition.start = start;
        partition.next = to;
        partition.leader_epoch = None;
        if to < from {
            partition.max_event_time = None;
        }
    }

    /// Adds what an epoch did.
    ///
    /// # Errors
    /// An epoch that is not after the last one, of another generation than the one in force, or whose
    /// offsets do not follow on the committed ones: each would lose or double records, so it is refused.
    pub fn advance(&mut self, commit: &EpochCommit) -> Result<()> {
        if self.epoch >= Some(commit.epoch) || commit.epoch.generation() != self.generation() {
            return Err(Error::refused(format!(
                "epoch {} does not follow epoch {} of generation {}",
                commit.epoch,
                self.epoch
                    .map_or_else(|| "none".to_owned(), |e| e.to_string()),
                self.generation()
            )));
        }
        for (source, delta) in &commit.partitions {
            self.begin(source, delta.start);
            let known = self.topics.get_mut(&*source.topic);
            let Some(partition) = known.and_then(|t| t.partitions.get_mut(&source.partition))
            else {
                return Err(Error::internal(format!("progress has no {source}")));
            };
            if partition.next != delta.start {
                return Err(Error::refused(format!(
                    "epoch {} starts {source} at offset {}, the table is at {}",
                    commit.epoch, delta.start, partition.next
                )));
            }
            partition.next = delta.next;
            partition.leader_epoch = delta.leader_epoch.or(partition.leader_epoch);
            partition.max_event_time = partition.max_event_time.max(delta.max_event_time);
            partition.account += delta.account;
        }
        self.epoch = Some(commit.epoch);
        self.watermark = self.watermark.max(commit.watermark);
        if let Some(current) = self.generations.last_mut() {
            current.last_epoch = commit.epoch;
        }
        Ok(())
    }

    /// The account of everything the table holds from this job.
    pub fn account(&self) -> Account {
        let mut total = Account::default();
        for topic in self.topics.values() {
            for partition in topic.partitions.values() {
                total += partition.account;
            }
        }
        total
    }

    /// The rows that a secondary table has got from this job: of a route, or of the dead letters.
    pub fn rows_of(&self, route: Option<&str>) -> u64 {
        match route {
            Some(route) => self.routed.get(route).copied().unwrap_or(0),
            None => self.account().dead_letters,
        }
    }

    /// What the table knows of a partition.
    pub fn partition(&self, source: &TopicPartition) -> Option<&PartitionProgress> {
        self.topics
            .get(&*source.topic)?
            .partitions
            .get(&source.partition)
    }
}

#[cfg(test)]
mod tests;
