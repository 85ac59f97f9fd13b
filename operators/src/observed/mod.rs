//! What people see of a run: counters that any thread may read while the workers go on.
//!
//! Workers count in atomics. What does not fit in one they leave behind now and then, behind locks that are
//! held only while a few values are copied; how the partitions stand is not worth even that wait, and is left
//! the next time.

pub mod histogram;
pub mod latency;
pub mod seen;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::io::Committed;
use crate::job::JobSettings;
use crate::progress::EpochCommit;
use crate::record::{DeadLetter, TopicPartition};
use crate::time::{Epoch, EventTime};
use histogram::Histogram;
use seen::{CommitSeen, LettersSeen, WorkerSeen};

/// Commits that are remembered.
pub const COMMITS_KEPT: usize = 60;

/// How often a worker says how its partitions stand.
pub const WORKER_INTERVAL: Duration = Duration::from_millis(200);

/// Counters of one process. The committed figures are known where the commit is, in process 0.
#[derive(Debug, Default)]
pub struct Observed {
    /// Records read from the log by this process, committed or not.
    pub records_read: AtomicU64,
    /// Bytes of their keys and values.
    pub bytes_read: AtomicU64,
    /// Records behind the ends of all partitions, as last reported to the clock.
    pub lag: AtomicU64,
    /// Whether anything that any process read is not durable yet.
    pub waits: AtomicBool,
    /// Batches of this process that wait for a schema.
    pub held_back: AtomicU64,
    /// Whether a process of the job was asked to drain.
    pub stops: AtomicBool,
    /// Whether a commit waits for Kafka to say that the topics are still the same.
    pub awaits_kafka: AtomicBool,
    /// Commits that took effect.
    pub commits: AtomicU64,
    /// Commits that failed. Each ends the run.
    pub failed_commits: AtomicU64,
    /// How long commits took.
    pub commit_duration: Histogram,
    /// From the broker's timestamp of each row to the durable commit that holds it.
    pub latency: Histogram,
    /// Records that were decoded, or found to be dead letters.
    pub records_decoded: AtomicU64,
    /// Records whose id was judged.
    pub records_judged: AtomicU64,
    /// Rows handed to the encoder, of all tables.
    pub rows_routed: AtomicU64,
    /// Rows encoded into data files.
    pub rows_encoded: AtomicU64,
    /// Microseconds in which sources did not read because the records in flight filled their memory.
    pub waited_for_memory_us: AtomicU64,
    /// Microseconds in which sources did not read because earlier epochs waited for their commit.
    pub waited_for_commit_us: AtomicU64,
    /// The epoch that is open.
    pub open_epoch: AtomicU64,
    /// The announced watermark in microseconds; `i64::MIN` before the first event.
    watermark_micros: AtomicI64,
    committed: Mutex<CommittedView>,
    last_commits: Mutex<VecDeque<CommitSeen>>,
    /// The epoch that is being committed, and since when.
    committing: Mutex<Option<(Epoch, Instant)>>,
    workers: Mutex<BTreeMap<u32, WorkerSeen>>,
    letters: Mutex<LettersSeen>,
}

/// What has been committed by this run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommittedView {
    /// The account of this run.
    pub account: Account,
    /// The last epoch.
    pub epoch: Option<Epoch>,
    /// The next offset of each partition that this run consumed from.
    pub positions: BTreeMap<TopicPartition, i64>,
}

impl Observed {
    /// Nothing seen yet.
    pub fn new() -> Observed {
        Observed {
            watermark_micros: AtomicI64::new(i64::MIN),
            ..Observed::default()
        }
    }

    /// A commit is under way since `now`.
    pub fn committing(&self, epoch: Epoch, now: Instant) {
        *lock(&self.committing) = Some((epoch, now));
    }

    /// A commit took effect, at `now`; `at` is the time of day.
    pub fn committed(
        &self,
        commit: &EpochCommit,
        committed: &Committed,
        now: Instant,
        at: EventTime,
    ) {
        let began = lock(&self.committing).take();
        let account = commit.account();
        if committed.snapshot_id.is_some() {
            self.commits.fetch_add(1, Ordering::Relaxed);
            let took = began.map_or(Duration::ZERO, |(_, began)| now.duration_since(began));
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            self.commit_duration.add(took_ms, 1);
            let mut last = lock(&self.last_commits);
            if last.len() == COMMITS_KEPT {
                last.pop_front();
            }
            last.push_back(CommitSeen {
                epoch: commit.epoch,
                at,
                took,
                account,
                files: commit.files.len(),
                bytes: commit.files.iter().map(|file| file.bytes).sum(),
                snapshot_id: committed.snapshot_id,
                watermark: commit.watermark,
            });
        }
        let mut view = lock(&self.committed);
        view.account += account;
        view.epoch = Some(commit.epoch);
        for (source, delta) in &commit.partitions {
            view.positions.insert(source.clone(), delta.next);
        }
    }

    /// A commit failed.
    pub fn commit_failed(&self) {
        *lock(&self.committing) = None;
        self.failed_commits.fetch_add(1, Ordering::Relaxed);
    }

    /// What has been committed so far.
    pub fn committed_view(&self) -> CommittedView {
        lock(&self.committed).clone()
    }

    /// The last commits, the oldest first; at most [`COMMITS_KEPT`].
    pub fn last_commits(&self) -> Vec<CommitSeen> {
        lock(&self.last_commits).iter().cloned().collect()
    }

    /// When an epoch was committed, if it was by this process and lately.
    pub fn committed_at(&self, epoch: Epoch) -> Option<EventTime> {
        let last = self.last_commits.try_lock().ok()?;
        let found = last.iter().rev().find(|commit| commit.epoch == epoch);
        found.map(|commit| commit.at)
    }

    /// The epoch that is being committed, and since when.
    pub fn commit_under_way(&self) -> Option<(Epoch, Instant)> {
        *lock(&self.committing)
    }

    /// A worker says how it stands. Whether it could: it does not wait for those who read.
    pub fn worker(&self, worker: u32, seen: WorkerSeen) -> bool {
        match self.workers.try_lock() {
            Ok(mut workers) => {
                workers.insert(worker, seen);
                true
            }
            Err(_) => false,
        }
    }

    /// The workers of this process, as each last said.
    pub fn workers(&self) -> BTreeMap<u32, WorkerSeen> {
        lock(&self.workers).clone()
    }

    /// Records became dead letters.
    pub fn dead_letters(&self, letters: &[DeadLetter], settings: &JobSettings) {
        lock(&self.letters).add(letters, settings);
    }

    /// The dead letters that are remembered, and how many there were.
    pub fn letters_seen(&self) -> LettersSeen {
        lock(&self.letters).clone()
    }

    /// The clock announced a watermark.
    pub fn announce_watermark(&self, watermark: Option<EventTime>) {
        self.watermark_micros
            .store(watermark.map_or(i64::MIN, |w| w.0), Ordering::Relaxed);
    }

    /// The watermark announced; `None` before the first event.
    pub fn watermark(&self) -> Option<EventTime> {
        let micros = self.watermark_micros.load(Ordering::Relaxed);
        (micros != i64::MIN).then_some(EventTime(micros))
    }
}

/// None of these locks is held over anything that may panic half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
