//! The dataflow of a Bronze job, from the log to the commit.
//!
//! ```text
//! read -> decode -> deduplicate -> route -+-> write files ----+-> commit -> durable frontier
//!                   (keys exchanged       +-> dead letters ---+
//!                    by hash)             +-> account --------+
//! ```

use std::sync::Arc;

use arrow_array::StringArray;
use timely::dataflow::operators::Concat;
use timely::worker::Worker;

use crate::commit::CommitEpochs;
use crate::context::Context;
use crate::dead_letters::{DeliverDeadLetters, LetterRows};
use crate::decode;
use crate::decode::operator::{DecodeRecords, Eventize, HashIds};
use crate::dedup::JudgedBatch;
use crate::dedup::expiry::Retention;
use crate::dedup::hash::hash_strings;
use crate::dedup::judge::Judge;
use crate::dedup::metrics::DedupMetrics;
use crate::dedup::operator::{DedupConfig, Deduplicate};
use crate::error::{Error, Result};
use crate::io::{DeadLetterTopic, Files, IdStore, Log, Schemas, Table, TableColumns, TableIndex};
use crate::job::{JobSettings, Sink};
use crate::record::EventBatch;
use crate::route::{Route, Router};
use crate::source::Read;
use crate::time::IngestTime;
use crate::watermark::LatenessJudge;
use crate::write::WriteFiles;

/// The outside, as one worker reaches it.
pub struct Ports {
    /// The partitions that this worker reads.
    pub log: Box<dyn Log>,
    /// Where data files are written.
    pub files: Arc<dyn Files>,
    /// The commit point; on worker 0.
    pub table: Option<Box<dyn Table>>,
    /// The dead-letter topic, if the job has one.
    pub dead_letter_topic: Option<Box<dyn DeadLetterTopic>>,
    /// The schema registry, if there is one.
    pub schemas: Option<Box<dyn Schemas>>,
    /// The tables' columns, if they follow the schemas.
    pub columns: Option<Arc<dyn TableColumns>>,
    /// The state of the deduplication, if the job deduplicates.
    pub dedup: Option<DedupState>,
}

/// What deduplication knows when the job starts, brought up to the table by
/// [`recover`](crate::dedup::recover::recover).
pub struct DedupState {
    /// This worker's share of the ids.
    pub store: Arc<dyn IdStore>,
    /// The judge over it.
    pub judge: Judge,
    /// The seed of the id hash, from the table's progress.
    pub hash_seed: u64,
    /// Where deduplication counts; one for a process.
    pub metrics: Arc<DedupMetrics>,
}

impl Retention {
    /// The retention that a job's settings ask for; `None` when it does not deduplicate.
    pub fn of(settings: &JobSettings) -> Option<Retention> {
        settings.dedup.as_ref().map(|dedup| Retention {
            ttl: dedup.ttl,
            allowed_lateness: settings.lateness.allowed,
            too_late: settings.lateness.too_late,
        })
    }
}

/// Builds a Bronze job on this worker: every record lands once, is a duplicate, or is a dead letter with
/// its cause, and what became of it is committed together with it.
///
/// # Errors
/// Settings that do not fit together; found before anything is read.
pub fn bronze(worker: &mut Worker, context: &Context, ports: Ports) -> Result<()> {
    let settings = Arc::clone(&context.settings);
    let decoder = decode::decoder(&settings, ports.schemas.is_some())?;
    let hash = ports.dedup.as_ref().map(|dedup| {
        let seed = dedup.hash_seed;
        Box::new(move |ids: &StringArray| hash_strings(ids, seed)) as HashIds
    });
    let eventize = Eventize::new(context, hash)?;
    let dedup = dedup_config(ports.dedup, context)?;
    let lateness = LatenessJudge::new(&settings.lateness);
    let router = Router::new(Arc::clone(&ports.files), lateness);
    let routes = settings.routes.iter().enumerate();
    let router = routes.fold(router, |router, (place, route)| {
        router.with_route(TableIndex::of_route(place), route.takes)
    });
    // A terminal shows what cannot land too.
    let keeps_letters = settings.dead_letter_table.is_some() || settings.sink == Sink::Terminal;
    let letter_rows = keeps_letters.then(|| {
        let job = settings.name.clone();
        Box::new(move |letters: &[_], epoch| crate::dead_letter::to_rows(letters, &job, epoch))
            as LetterRows
    });

    worker.dataflow::<IngestTime, _, _>(|scope| {
        let records = scope.read(ports.log, context);
        let events = records.decode(decoder, ports.schemas, ports.columns, eventize, context);
        let judged = match dedup {
            Some(dedup) => events.deduplicate(dedup),
            None => admit_all(events),
        };
        let (rows, letters, account) = judged.route(router, context);
        let (letter_rows, acknowledged) =
            letters.deliver_dead_letters(ports.dead_letter_topic, letter_rows, context);
        rows.concat(letter_rows)
            .write_files(ports.files, context)
            .commit_epochs(account, acknowledged, ports.table, context);
    });
    Ok(())
}

fn dedup_config(state: Option<DedupState>, context: &Context) -> Result<Option<DedupConfig>> {
    match (state, Retention::of(&context.settings)) {
        (None, None) => Ok(None),
        (Some(state), Some(retention)) => {
            let (job, worker) = (context.settings.name.clone(), context.worker);
            let on_failure = Arc::clone(&context.on_failure);
            Ok(Some(DedupConfig {
                host: Arc::clone(&context.host),
                retention,
                generation: context.start.epoch.generation(),
                store: state.store,
                judge: state.judge,
                durable: context.durable.clone(),
                metrics: state.metrics,
                on_failure: Arc::new(move |error: Error| {
                    on_failure(error.context(format!("job {job}, worker {worker}")));
                }),
            }))
        }
        _ => Err(Error::internal(
            "the state of the deduplication does not fit the job's settings",
        )),
    }
}

/// `dedup: off`: no record is a duplicate.
fn admit_all(
    events: timely::dataflow::StreamVec<'_, IngestTime, EventBatch>,
) -> timely::dataflow::StreamVec<'_, IngestTime, JudgedBatch> {
    use timely::dataflow::operators::vec::Map;
    events.map(|events| JudgedBatch {
        duplicates: vec![false; events.rows.len()],
        events,
    })
}
