//! What deduplication counts. One instance a process, shared by its workers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::judge::Answers;

/// Counters and gauges of deduplication.
#[derive(Debug, Default)]
pub struct DedupMetrics {
    entries: AtomicU64,
    answered_by_memory: AtomicU64,
    answered_by_filter: AtomicU64,
    answered_by_store: AtomicU64,
}

impl DedupMetrics {
    /// Ids known now (`strandline_dedup_entries`).
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Ids answered since the start, by what answered them (`strandline_dedup_lookups_total`).
    pub fn answers(&self) -> Answers {
        Answers {
            memory: self.answered_by_memory.load(Ordering::Relaxed),
            filter: self.answered_by_filter.load(Ordering::Relaxed),
            store: self.answered_by_store.load(Ordering::Relaxed),
        }
    }

    pub(super) fn add_answers(&self, answers: Answers) {
        self.answered_by_memory
            .fetch_add(answers.memory, Ordering::Relaxed);
        self.answered_by_filter
            .fetch_add(answers.filter, Ordering::Relaxed);
        self.answered_by_store
            .fetch_add(answers.store, Ordering::Relaxed);
    }

    /// Moves one worker's part of the entries from what it said last to what it is now.
    pub(super) fn move_entries(&self, last: &mut u64, now: u64) {
        // Wrapping, so that it also goes down.
        self.entries
            .fetch_add(now.wrapping_sub(*last), Ordering::Relaxed);
        *last = now;
    }
}
