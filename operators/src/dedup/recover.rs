//! Brings store and judge up to the table before the first record is read.

use std::time::Instant;

use super::admission::owner_of;
use super::expiry::FIRST_BUCKET;
use super::judge::Judge;
use crate::error::Result;
use crate::io::{IdStore, IdsByBucket, StateMarker, StoredId};

/// Ids in one ingestion while recovering.
const INGEST_IDS: usize = 1 << 20;

/// Which ids are a worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The worker.
    pub worker: usize,
    /// How many there are.
    pub workers: usize,
}

/// Sorts each bucket's ids and drops repetitions, as [`IdStore::ingest`] wants them.
pub(super) fn sort(ids: &mut IdsByBucket) {
    for hashes in ids.values_mut() {
        hashes.sort_unstable();
        hashes.dedup();
    }
}

/// Adds to a worker's store the ids that the table holds above the store's marker (all unexpired ones when
/// it has none), marks it as complete up to `up_to`, and fills a judge's filters by a scan of it. Ids of
/// other workers' shares and expired ones are passed over. Blocks; meant for before the start.
///
/// `live_from` is the first bucket that has not expired at the committed watermark
/// ([`first_live_bucket`](super::expiry::first_live_bucket)). Memory: a million ids (16 MB) and the filters.
///
/// # Errors
/// Those of the store and of `ids`. The store is then incomplete and its marker is the old one.
pub fn recover(
    store: &dyn IdStore,
    share: Share,
    filter_memory_bytes: u64,
    ttl_hours: u32,
    live_from: Option<u32>,
    ids: impl IntoIterator<Item = Result<Vec<StoredId>>>,
    up_to: Option<StateMarker>,
) -> Result<Judge> {
    let started = Instant::now();
    let live_from = live_from.unwrap_or(FIRST_BUCKET).max(FIRST_BUCKET);
    store.expire_below(live_from)?;

    let mut read_back = 0usize;
    let mut batch = IdsByBucket::new();
    let mut batch_ids = 0;
    for ids in ids {
        for id in ids?.into_iter().filter(|id| id.bucket >= live_from) {
            if owner_of(id.hash, share.workers) != share.worker {
                continue;
            }
            batch.entry(id.bucket).or_default().push(id.hash);
            batch_ids += 1;
            if batch_ids == INGEST_IDS {
                // No marker yet: what a kill leaves here is in the table, and read back once more.
                sort(&mut batch);
                store.ingest(&std::mem::take(&mut batch), None)?;
                read_back += batch_ids;
                batch_ids = 0;
            }
        }
    }
    sort(&mut batch);
    if !batch.is_empty() || up_to.is_some() {
        store.ingest(&batch, up_to)?;
    }
    read_back += batch_ids;
    let read_in = started.elapsed();

    let mut judge = Judge::new(filter_memory_bytes, ttl_hours);
    judge.expire_below(live_from);
    store.scan(&mut |bucket, hashes| {
        if bucket >= live_from {
            judge.add_stored(bucket, hashes);
        }
        Ok(())
    })?;
    tracing::info!(
        worker = share.worker,
        ids = judge.entries(),
        read_back,
        read_back_per_second = (read_back as f64 / read_in.as_secs_f64()) as u64,
        elapsed_ms = started.elapsed().as_millis() as u64,
        "deduplication state is complete"
    );
    Ok(judge)
}
