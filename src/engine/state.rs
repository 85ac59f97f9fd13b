//! The deduplication state of this process' workers, brought up to the table before anything is read.
//!
//! What a store lacks is read back from the table: everything above its marker, or, for an empty store,
//! every row whose id has not expired. One pass over the table serves all workers of the process.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Sender, bounded};
use strandline_operators::arrow_array::RecordBatch;
use strandline_operators::dedup::expiry::{Retention, first_live_bucket};
use strandline_operators::dedup::metrics::DedupMetrics;
use strandline_operators::dedup::read_back::{ReadBack, gather_ids, missing};
use strandline_operators::dedup::recover::recover;
use strandline_operators::dedup::shares::IdsByShare;
use strandline_operators::failpoint::{Failpoint, reached};
use strandline_operators::flow::DedupState;
use strandline_operators::host::Host;
use strandline_operators::io::{IdStore, IdsByBucket, StateMarker};
use strandline_operators::{Error, Result};

use crate::connectors::iceberg::{Visitor, read_back};
use crate::connectors::rocksdb::{RocksIdStore, StoreCache, StoreIdentity};
use crate::engine::JobRun;
use crate::engine::start::StartingPoint;

/// The part of a job's memory that the filters may take, all workers of the process together.
pub(crate) const FILTER_SHARE: u64 = 8;

/// The part of a job's memory that RocksDB's cache may take, all workers of the process together.
const CACHE_SHARE: u64 = 8;

/// Ids that one thread has read back before it passes them on, those of all workers together: 2 MB.
const IDS_GATHERED: usize = 1 << 17;

/// Such sets of ids that wait for a worker's store.
const WAITING_SETS: usize = 4;

/// Opens the state of each worker of this process; empty entries when the job does not deduplicate.
///
/// # Errors
/// A state directory that cannot be used, or a table that cannot be read back.
pub fn open(
    run: &JobRun,
    start: &StartingPoint,
    host: &dyn Host,
) -> Result<Vec<Option<DedupState>>> {
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
        stores.push((worker, Arc::new(opened.store)));
    }

    let up_to = progress.epoch.map(|epoch| StateMarker {
        generation: epoch.generation(),
        epoch,
    });
    let complete = stores
        .iter()
        .map(|(_, store)| store.marker().map(|m| m.epoch));
    let missing = missing(complete, progress, retention);
    if missing.is_some() {
        reached(host, Failpoint::Rebuild)?;
    }
    let live_from = progress.watermark.map(first_live_bucket);
    let metrics = Arc::new(DedupMetrics::default());
    let filter_bytes = share(FILTER_SHARE) / workers as u64;
    thread::scope(|scope| {
        let mut feeds = Vec::new();
        let mut judges = Vec::new();
        for (worker, store) in &stores {
            let (feed, ids) = bounded::<Result<IdsByBucket>>(WAITING_SETS);
            feeds.push(feed);
            judges.push(scope.spawn(move || {
                recover(
                    &**store,
                    *worker,
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

/// What reads the missing rows, on one thread: it gives each worker its own of them. A worker that has failed
/// no longer listens, and the rest go on.
struct Reader {
    ids: IdsByShare,
    feeds: Vec<Sender<Result<IdsByBucket>>>,
}

impl Reader {
    /// Passes on what has gathered for each worker, when it is at least this much.
    fn pass_on(&mut self, at_least: usize) {
        for (place, feed) in self.feeds.iter().enumerate() {
            if let Some(ids) = self.ids.take(place, at_least) {
                let _ = feed.send(Ok(ids));
            }
        }
    }
}

/// Reads the missing rows once, on as many threads as there are workers.
fn feed_all(
    run: &JobRun,
    start: &StartingPoint,
    retention: Retention,
    missing: Option<ReadBack>,
    feeds: Vec<Sender<Result<IdsByBucket>>>,
) {
    let (Some(missing), Some(dedup)) = (missing, &run.settings.dedup) else {
        return;
    };
    let columns = [
        dedup.key.as_str(),
        run.settings.event_time.as_str(),
        "ingest_watermark",
    ];
    let first = run.shape.process * run.shape.workers;
    let local = first..first + run.shape.workers;
    let mut readers: Vec<Reader> = feeds
        .iter()
        .map(|_| Reader {
            ids: IdsByShare::new(local.clone(), run.shape.peers()),
            feeds: feeds.clone(),
        })
        .collect();
    let visitors = readers.iter_mut().map(|reader| -> Visitor<'_> {
        Box::new(move |rows: &RecordBatch| {
            gather_ids(rows, missing, &start.progress, retention, &mut reader.ids)?;
            reader.pass_on(IDS_GATHERED / reader.feeds.len());
            Ok(())
        })
    });
    let configured = &run.catalog.properties;
    match read_back(
        &start.tables,
        configured,
        &columns,
        missing,
        visitors.collect(),
    ) {
        Ok(()) => readers.iter_mut().for_each(|reader| reader.pass_on(0)),
        Err(error) => {
            for feed in &feeds {
                let _ = feed.send(Err(error.clone()));
            }
        }
    }
}
