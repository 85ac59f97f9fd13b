//! What people see of a run: counters that any thread may read while the workers go on.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crate::account::Account;
use crate::io::Committed;
use crate::progress::EpochCommit;
use crate::record::TopicPartition;
use crate::time::{Epoch, EventTime};

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
    /// Commits that took effect.
    pub commits: AtomicU64,
    /// The announced watermark in microseconds; `i64::MIN` before the first event.
    watermark_micros: AtomicI64,
    committed: Mutex<CommittedView>,
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

    /// A commit took effect.
    pub fn committed(&self, commit: &EpochCommit, committed: &Committed) {
        if committed.snapshot_id.is_some() {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        let mut view = self
            .committed
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        view.account += commit.account();
        view.epoch = Some(commit.epoch);
        for (source, delta) in &commit.partitions {
            view.positions.insert(source.clone(), delta.next);
        }
    }

    /// What has been committed so far.
    pub fn committed_view(&self) -> CommittedView {
        self.committed
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
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
