//! The deduplication state of this process' workers, brought up to the table before anything is read.
//!
//! What a store lacks is read back from the table: everything above its marker, or, for an empty store,
//! every row whose id has not expired. One pass over the table serves all workers of the process.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Sender, bounded};
use strandline_operators::arrow_array::cast::AsArray;
use strandline_operators::arrow_array::types::TimestampMicrosecondType;
use strandline_operators::arrow_array::{Array, RecordBatch};
use strandline_operators::dedup::expiry::{Retention, first_live_bucket};
use strandline_operators::dedup::hash::hash_strings;
use strandline_operators::dedup::metrics::DedupMetrics;
use strandline_operators::dedup::recover::{Share, recover};
use strandline_operators::flow::DedupState;
use strandline_operators::io::{IdStore, StateMarker, StoredId};
use strandline_operators::time::{Epoch, EventTime};
use strandline_operators::{Error, Result};

use crate::connectors::iceberg::{ReadBack, read_back};
use crate::connectors::rocksdb::{RocksIdStore, StoreCache, StoreIdentity};
use crate::engine::JobRun;
use crate::engine::start::StartingPoint;

/// The part of a job's memory that the filters may take, all workers of the process together.
const FILTER_SHARE: u64 = 8;

/// The part of a job's memory that RocksDB's cache may take, all workers of the process together.
const CACHE_SHARE: u64 = 8;

/// Batches of ids read back that wait for a worker's store.
const WAITING_BATCHES: usize = 4;

/// Opens the state of each worker of this process; empty entries when the job does not deduplicate.
///
/// # Errors
/// A state directory that cannot be used, or a table that cannot be read back.
pub fn open(run: &JobRun, start: &StartingPoint) -> Result<Vec<Option<DedupState>>> {
    let workers = run.shape.workers;
    let Some(retention) = Retention::of(&run.settings) else {
        return Ok((0..workers).map(|_| None).collect());
    };
    let key = run
        .settings
        .dedup
        .as_ref()
        .map_or_else(String::new, |d| d.key.clone());
    let progress = &start.progress;
    let share = |part: u64| run.settings.memory / part;
    let cache = StoreCache::new(usize::try_from(share(CACHE_SHARE)).unwrap_or(usize::MAX));
    let peers = run.shape.peers();
    let mut stores = Vec::with_capacity(workers);
    for local in 0..workers {
        let worker = run.shape.process * workers + local;
        let identity = StoreIdentity {
            table_uuid: progress.table_uuid.clone(),
            job: run.settings.name.clone(),
            key: key.clone(),
            hash_seed: progress.hash_seed,
            ttl_ms: u64::try_from(retention.ttl.as_millis()).unwrap_or(u64::MAX),
            workers: peers as u32,
            worker: worker as u32,
        };
        let dir = worker_dir(run, worker);
        let opened = RocksIdStore::open(&dir, &identity, &cache, |marker| {
            progress.vouches_for(marker.generation, marker.epoch)
        })?;
        stores.push((
            Share {
                worker,
                workers: peers,
            },
            Arc::new(opened.store),
        ));
    }

    let up_to = progress.epoch.map(|epoch| StateMarker {
        generation: epoch.generation(),
        epoch,
    });
    let missing = missing_rows(&stores, up_to, retention, progress.watermark);
    let live_from = progress.watermark.map(first_live_bucket);
    let metrics = Arc::new(DedupMetrics::default());
    let filter_bytes = share(FILTER_SHARE) / workers as u64;
    thread::scope(|scope| {
        let mut feeds = Vec::new();
        let mut judges = Vec::new();
        for (share, store) in &stores {
            let (feed, ids) = bounded::<Result<Vec<StoredId>>>(WAITING_BATCHES);
            feeds.push(feed);
            judges.push(scope.spawn(move || {
                recover(
                    &**store,
                    *share,
                    filter_bytes,
                    retention.ttl_hours(),
                    live_from,
                    ids,
                    up_to,
                )
            }));
        }
        feed_all(run, start, retention, missing, feeds);
        judges
            .into_iter()
            .zip(&stores)
            .map(|(judge, (_, store))| {
                let judge = judge
                    .join()
                    .map_err(|_| Error::internal("a thread that loads state panicked"))??;
                let store: Arc<dyn IdStore> = Arc::clone(store) as Arc<dyn IdStore>;
                let metrics = Arc::clone(&metrics);
                Ok(Some(DedupState {
                    store,
                    judge,
                    hash_seed: progress.hash_seed,
                    metrics,
                }))
            })
            .collect()
    })
}

fn worker_dir(run: &JobRun, worker: usize) -> PathBuf {
    run.job_dir().join(format!("worker-{worker}"))
}

/// Which rows the stores lack; `None` when they have all.
fn missing_rows(
    stores: &[(Share, Arc<RocksIdStore>)],
    up_to: Option<StateMarker>,
    retention: Retention,
    watermark: Option<EventTime>,
) -> Option<ReadBack> {
    let up_to = up_to?;
    let markers: Option<Vec<Epoch>> = stores
        .iter()
        .map(|(_, store)| store.marker().map(|m| m.epoch))
        .collect();
    let oldest = markers.and_then(|markers| markers.into_iter().min());
    if oldest == Some(up_to.epoch) {
        return None;
    }
    let ttl_micros = i64::try_from(retention.ttl.as_micros()).unwrap_or(i64::MAX);
    // An hour more: an id lives to the end of its hour. Rows above a marker are few and may come from a
    // partition far behind the watermark, whose ids live longer than the row's own times say.
    let alive_after = match oldest {
        Some(_) => None,
        None => watermark.map(|w| w.minus(ttl_micros).minus(3_600_000_000)),
    };
    Some(ReadBack {
        epoch_above: oldest,
        alive_after,
    })
}

/// Reads the missing rows once and gives every worker all of them; each keeps its own share. A worker that
/// has failed no longer listens, and the rest go on.
fn feed_all(
    run: &JobRun,
    start: &StartingPoint,
    retention: Retention,
    missing: Option<ReadBack>,
    feeds: Vec<Sender<Result<Vec<StoredId>>>>,
) {
    let (Some(missing), Some(dedup)) = (missing, &run.settings.dedup) else {
        return;
    };
    let columns = [
        dedup.key.as_str(),
        run.settings.event_time.as_str(),
        "ingest_watermark",
    ];
    let seed = start.progress.hash_seed;
    // As the judge does for an id that lands now, so that one of a lagging partition does not expire at
    // birth. After the loss of the whole state the row alone says when an id expires: an id from a partition
    // that was more than the TTL behind the watermark is then forgotten.
    let earliest = match (missing.epoch_above, start.progress.watermark) {
        (Some(_), Some(watermark)) => {
            first_live_bucket(watermark).saturating_add(retention.ttl_hours())
        }
        _ => 0,
    };
    let result = read_back(&start.tables, &columns, missing, &mut |rows| {
        let mut ids = stored_ids(rows, seed, retention)?;
        for id in &mut ids {
            id.bucket = id.bucket.max(earliest);
        }
        for feed in &feeds {
            let _ = feed.send(Ok(ids.clone()));
        }
        Ok(())
    });
    if let Err(error) = result {
        for feed in &feeds {
            let _ = feed.send(Err(error.clone()));
        }
    }
}

/// The ids of rows of the table, with the expiry that their own times give them.
fn stored_ids(rows: &RecordBatch, seed: u64, retention: Retention) -> Result<Vec<StoredId>> {
    let unexpected =
        || Error::internal("the table gave columns of other types than it was created with");
    let ids = rows
        .column(0)
        .as_string_opt::<i32>()
        .ok_or_else(unexpected)?;
    let times = rows
        .column(1)
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(unexpected)?;
    let watermarks = rows
        .column(2)
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(unexpected)?;
    let hashes = hash_strings(ids, seed);
    Ok(hashes
        .into_iter()
        .enumerate()
        .map(|(row, hash)| {
            let watermark = watermarks
                .is_valid(row)
                .then(|| EventTime(watermarks.value(row)));
            StoredId {
                bucket: retention.bucket(EventTime(times.value(row)), watermark),
                hash,
            }
        })
        .collect())
}
