//! The workers of this process: timely threads that run the dataflow on the real ports.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use strandline_operators::clock::Clock;
use strandline_operators::context::{Context, OnFailure, WorkerContext};
use strandline_operators::control::control;
use strandline_operators::credit::Budget;
use strandline_operators::dead_letter::to_json;
use strandline_operators::flow::{DedupState, Ports, bronze};
use strandline_operators::host::Host;
use strandline_operators::io::{DeadLetterTopic, Files, Table, TableColumns};
use strandline_operators::job::JobSettings;
use strandline_operators::observed::Observed;
use strandline_operators::partitions::WorkerPartitions;
use strandline_operators::wake::{Mailbox, Signal};
use strandline_operators::{Error, Result};
use timely::dataflow::ProbeHandle;
use timely::worker::Worker;

use crate::connectors::kafka::dead_letters::KafkaDeadLetters;
use crate::connectors::kafka::discovery::Discovered;
use crate::connectors::kafka::fetching::Fetching;
use crate::connectors::kafka::log::KafkaLog;
use crate::connectors::schema_registry::SchemaRegistry;
use crate::engine::JobRun;
use crate::engine::cluster::Cluster;
use crate::engine::start::StartingPoint;
use crate::engine::turns::Turns;
use crate::engine::watch::Causes;

/// The longest that a worker parks without looking for itself.
const PARK: Duration = Duration::from_millis(100);

/// The part of a job's memory that records in flight may take; the rest is for filters, caches, open
/// files and the client's fetch queues.
pub(crate) const RECORDS_SHARE: u64 = 16;

/// The part of a job's memory that the client's fetch queues may take, all workers together.
const FETCH_SHARE: u64 = 16;

/// The part of a commit interval that a broker may collect records for before it answers a fetch, and its bounds.
/// Where records trickle, fewer and larger answers save most of the client's CPU time; freshness loses 2.5 % of the
/// interval on average.
const FETCHES_IN_AN_INTERVAL: u32 = 20;
const FETCH_WAIT_MIN: Duration = Duration::from_millis(5);
const FETCH_WAIT_MAX: Duration = Duration::from_millis(100);

/// What the workers of this process are given. Each takes its own part out of it.
pub struct WorkerParts {
    /// Clocks and threads.
    pub host: Arc<dyn Host>,
    /// The run.
    pub run: JobRun,
    /// Where the generation starts.
    pub start: StartingPoint,
    /// Where data files are written.
    pub files: Arc<dyn Files>,
    /// What adds columns to the tables, if the job's columns follow its schemas.
    pub columns: Option<Arc<dyn TableColumns>>,
    /// The commit point, in process 0.
    pub table: Mutex<Option<Box<dyn Table>>>,
    /// The deduplication state of each local worker, by its index in this process.
    pub dedup: Mutex<Vec<Option<DedupState>>>,
    /// What each local worker hears of new partitions, by its index in this process.
    pub discovered: Mutex<Vec<Option<Discovered>>>,
    /// The schema registry, if the job's format has to do with it.
    pub registry: Option<SchemaRegistry>,
    /// What people see.
    pub observed: Arc<Observed>,
    /// Bytes of records that may be in flight.
    pub budget: Budget,
    /// Where each worker's client tells what it retries.
    pub causes: Causes,
    /// Asks for a drain.
    pub stop: Arc<AtomicBool>,
    /// Where the workers say that they turn.
    pub turns: Turns,
    /// Ends the job.
    pub on_failure: OnFailure,
}

/// Runs the workers of this process until the job has drained.
///
/// # Errors
/// Workers that cannot be started. What fails while they run goes to `on_failure`.
pub fn work(cluster: Cluster, parts: WorkerParts) -> Result<()> {
    let (allocators, guard) = cluster.allocators()?;
    let parts = Arc::new(parts);
    let guards = timely::execute::execute_from(
        allocators,
        guard,
        timely::WorkerConfig::default(),
        move |worker| {
            if let Err(error) = run_worker(worker, &parts) {
                (parts.on_failure)(error);
            }
        },
    )
    .map_err(|e| Error::internal(format!("cannot start the workers: {e}")))?;
    for result in guards.join() {
        result.map_err(|e| Error::internal(format!("a worker ended early: {e}")))?;
    }
    Ok(())
}

fn run_worker(worker: &mut Worker, parts: &Arc<WorkerParts>) -> Result<()> {
    let context = context(worker, parts);
    let ports = ports(worker, parts)?;
    control(worker, &context);
    bronze(worker, &context, ports)?;
    let local = worker.index() % parts.run.shape.workers;
    while !context.durable.done() {
        parts.turns.turn(local);
        worker.step_or_park(Some(PARK));
    }
    parts.turns.done(local);
    context.finished.set(true);
    Ok(())
}

fn context(worker: &Worker, parts: &WorkerParts) -> Context {
    let (index, peers) = (worker.index(), worker.peers());
    let settings = Arc::new(parts.run.settings.clone());
    let clock = (index == 0).then(|| {
        RefCell::new(Clock::new(
            settings.commit,
            parts.start.time(),
            peers,
            parts.run.until_caught_up,
            Instant::now(),
        ))
    });
    Rc::new(WorkerContext {
        host: Arc::clone(&parts.host),
        worker: index as u32,
        peers: peers as u32,
        start: parts.start.time(),
        budget: parts.budget.clone(),
        on_failure: Arc::clone(&parts.on_failure),
        observed: Arc::clone(&parts.observed),
        stop: Arc::clone(&parts.stop),
        durable: ProbeHandle::new(),
        partitions: RefCell::new(WorkerPartitions::new(settings.watermark)),
        latency: RefCell::default(),
        ticks: Mailbox::default(),
        report: Mailbox::default(),
        clock,
        finished: Signal::default(),
        settings,
    })
}

/// How each of the `workers` clients of a process fetches.
fn fetching(settings: &JobSettings, workers: usize) -> Fetching {
    let wait = settings.commit.interval / FETCHES_IN_AN_INTERVAL;
    Fetching {
        queue_bytes: settings.memory / FETCH_SHARE / workers as u64,
        wait: wait.clamp(FETCH_WAIT_MIN, FETCH_WAIT_MAX),
    }
}

fn ports(worker: &Worker, parts: &WorkerParts) -> Result<Ports> {
    let settings = &parts.run.settings;
    let index = worker.index();
    let mut log = KafkaLog::open(
        &parts.run.kafka,
        &settings.group_id,
        &parts.start.positions_of(index),
        settings.on_gap,
        fetching(settings, parts.run.shape.workers),
    )?;
    if settings.wants_headers() {
        log.keep_headers();
    }
    let schemas = parts.registry.as_ref();
    let schemas = schemas.map(SchemaRegistry::schemas).transpose()?;
    let local = index % parts.run.shape.workers;
    if let Some(discovered) = take_nth(&parts.discovered, local) {
        log.follow(discovered);
    }
    let mut causes = parts
        .causes
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    causes.push(log.diagnosis());
    drop(causes);
    let dead_letter_topic = settings
        .dead_letter_topic
        .as_ref()
        .map(|topic| -> Result<Box<dyn DeadLetterTopic>> {
            Ok(Box::new(KafkaDeadLetters::open(
                &parts.run.kafka,
                topic,
                &settings.name,
                to_json,
            )?))
        })
        .transpose()?;
    let table = if index == 0 { take(&parts.table) } else { None };
    let dedup = take_nth(&parts.dedup, local);
    Ok(Ports {
        log: Box::new(log),
        files: Arc::clone(&parts.files),
        table,
        dead_letter_topic,
        schemas,
        columns: parts.columns.clone(),
        dedup,
    })
}

fn take_nth<T>(slots: &Mutex<Vec<Option<T>>>, nth: usize) -> Option<T> {
    slots
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .get_mut(nth)
        .and_then(Option::take)
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .take()
}

#[cfg(test)]
mod tests {
    use strandline_operators::job::Job;

    use super::*;

    #[test]
    fn a_broker_may_collect_for_a_twentieth_of_the_commit_interval_within_bounds() {
        let wait_of = |interval_ms| {
            let mut settings = Job::BRONZE.settings();
            settings.commit.interval = Duration::from_millis(interval_ms);
            fetching(&settings, 2).wait.as_millis()
        };
        assert_eq!(wait_of(1_000), 50);
        assert_eq!(wait_of(10), 5);
        assert_eq!(wait_of(60_000), 100);
    }

    #[test]
    fn the_clients_of_a_process_share_a_part_of_its_memory() {
        let mut settings = Job::BRONZE.settings();
        settings.memory = 1 << 30;
        assert_eq!(fetching(&settings, 2).queue_bytes, 32 << 20);
    }
}
