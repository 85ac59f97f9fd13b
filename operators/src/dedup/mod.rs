//! Keyed deduplication: the first record of each event id lands, later ones are duplicates.
//!
//! | | |
//! |---|---|
//! | in | batches of events with the hash of each id |
//! | out | a [`JudgedBatch`] for every batch, on the worker that sent it, in the order it sent them |
//! | exchange | [`admission::Admissions`] (hash, bucket, flag) by the top bits of the hash, over all workers; verdicts back |
//! | state | ids of committed epochs in the store and, the last ones, in memory; of open ones in memory |
//! | frontier | holds epoch e until e-1 is complete on the input, and until the store has answered |
//! | errors | a store that fails ends the job; its capabilities stay held, so that no epoch looks complete |
//! | metrics | [`metrics::DedupMetrics`]: `strandline_dedup_entries`, answers by memory, filter, store |
//!
//! Ties: within an epoch the copy that reaches the owner first wins. Epochs are judged in order, because
//! otherwise a copy in a later epoch could make an earlier one a duplicate, and then be aborted. What is
//! pure stands in [`judge`], [`tiers`], [`filter`], [`expiry`], [`admission`], [`shares`] and
//! [`recover`]; what is timely in [`operator`].

pub mod admission;
pub mod expiry;
pub mod filter;
pub mod hash;
pub mod judge;
pub mod lookup;
pub mod memory_store;
pub mod metrics;
pub mod operator;
#[cfg(test)]
mod operator_tests;
mod owner;
pub mod read_back;
pub mod recover;
mod reunite;
pub mod shares;
mod store_threads;
#[cfg(test)]
mod testing;
pub mod tiers;

use crate::record::EventBatch;

/// A batch of events and what deduplication says of them.
#[derive(Debug)]
pub struct JudgedBatch {
    /// The events.
    pub events: EventBatch,
    /// For each row, whether its id is known: a duplicate, however late.
    pub duplicates: Vec<bool>,
}
