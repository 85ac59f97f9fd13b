//! Brings store and judge up to the table before the first record is read.

use std::time::Instant;

use super::expiry::FIRST_BUCKET;
use super::judge::Judge;
use crate::error::Result;
use crate::io::{IdStore, IdsByBucket, StateMarker};

/// Ids in one ingestion while recovering.
const INGEST_IDS: usize = 1 << 20;

/// Sorts each bucket's ids and drops repetitions, as [`IdStore::ingest`] wants them.
pub(super) fn sort(ids: &mut IdsByBucket) {
    for hashes in ids.values_mut() {
        hashes.sort_unstable();
        hashes.dedup();
    }
}

/// Adds to a worker's store the ids that the table holds above the store's marker (all unexpired ones when
/// it has none), and marks it as complete up to `up_to`. Expired ids are passed over. Blocks; meant for
/// before the start.
///
/// An empty store's filters are filled from the same ids. Those of a store that holds ids already are
/// refilled while the job runs: reading 5 million ids takes about a second, which would come before the
/// first record.
///
/// `live_from` is the first bucket that has not expired at the committed watermark
/// ([`first_live_bucket`](super::expiry::first_live_bucket)). `ids` are the worker's own
/// ([`IdsByShare`](super::shares::IdsByShare)). Memory: a million ids (16 MB), what comes in at once, and
/// the filters.
///
/// # Errors
/// Those of the store and of `ids`. The store is then incomplete and its marker is the old one.
pub fn recover(
    store: &dyn IdStore,
    worker: usize,
    filter_memory_bytes: u64,
    ttl_hours: u32,
    live_from: Option<u32>,
    ids: impl IntoIterator<Item = Result<IdsByBucket>>,
    up_to: Option<StateMarker>,
) -> Result<Judge> {
    let started = Instant::now();
    let live_from = live_from.unwrap_or(FIRST_BUCKET).max(FIRST_BUCKET);
    store.expire_below(live_from)?;
    let mut judge = Judge::new(filter_memory_bytes, ttl_hours);
    judge.expire_below(live_from);

    // Without a marker what is read back is everything, and what a start that failed left is among it.
    let is_empty = store.marker().is_none();
    let mut read_back = 0usize;
    let mut ingest = |mut batch: IdsByBucket, marker| -> Result<()> {
        sort(&mut batch);
        store.ingest(&batch, marker)?;
        for (&bucket, hashes) in batch.iter().filter(|_| is_empty) {
            judge.add_stored(bucket, hashes);
        }
        Ok(())
    };
    let mut batch = IdsByBucket::new();
    let mut batch_ids = 0;
    for ids in ids {
        for (bucket, mut hashes) in ids?.split_off(&live_from) {
            batch_ids += hashes.len();
            batch
                .entry(bucket)
                .and_modify(|all| all.append(&mut hashes))
                .or_insert(hashes);
        }
        if batch_ids >= INGEST_IDS {
            // No marker yet: what a kill leaves here is in the table, and read back once more.
            ingest(std::mem::take(&mut batch), None)?;
            read_back += std::mem::take(&mut batch_ids);
        }
    }
    if !batch.is_empty() || up_to.is_some() {
        ingest(batch, up_to)?;
    }
    read_back += batch_ids;
    let read_in = started.elapsed();
    if !is_empty {
        judge.refill(store.buckets()?);
    }
    tracing::info!(
        worker,
        read_back,
        read_back_per_second = (read_back as f64 / read_in.as_secs_f64()) as u64,
        elapsed_ms = started.elapsed().as_millis() as u64,
        "deduplication state is complete"
    );
    Ok(judge)
}
