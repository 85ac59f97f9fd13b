//! One process of a run, from the first handshake to the account.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use strandline_operators::context::OnFailure;
use strandline_operators::credit::Budget;
use strandline_operators::decode::decoder;
use strandline_operators::observed::Observed;
use strandline_operators::{Error, Result};

use crate::connectors::schema_registry::SchemaRegistry;
use crate::engine::cluster::{Agreement, Cluster};
use crate::engine::failpoints;
use crate::engine::heartbeat::Heartbeats;
use crate::engine::interrupt::Interrupt;
use crate::engine::report::RunReport;
use crate::engine::shared_facts::SharedFacts;
use crate::engine::sink::OpenSink;
use crate::engine::state::{self, FILTER_SHARE};
use crate::engine::supervised;
use crate::engine::turns::Turns;
use crate::engine::watch::{Causes, Watch};
use crate::engine::workers::{RECORDS_SHARE, WorkerParts, work};
use crate::engine::{JobRun, lock, lock::Lock, recognise, start::StartingPoint};
use crate::status::collect::{Sources, Teller};
use crate::status::facts::Tell;

/// Runs the job in this process until it has drained: caught up if so asked, or by a signal. Process 0
/// returns the report, the others `None`, as it does when a signal came before its peers were there. What the
/// process knows meanwhile goes to `tell`. Process 0 holds [`lock()`].
///
/// # Errors
/// Whatever keeps it from starting. What fails while it runs ends the process through `on_failure`.
pub fn run(
    run: &JobRun,
    interrupt: &Interrupt,
    observed: Arc<Observed>,
    tell: Tell,
    on_failure: OnFailure,
) -> Result<Option<RunReport>> {
    let started = Instant::now();
    tracing::info!(
        job = run.settings.name,
        version = env!("CARGO_PKG_VERSION"),
        process = run.shape.process,
        processes = run.shape.processes(),
        workers = run.shape.workers,
        "starting"
    );
    let causes = Causes::default();
    let sources = Arc::new(Sources::new(
        run.shape.process,
        Arc::clone(&observed),
        Arc::clone(&causes),
        interrupt.flag(),
    ));
    let has_launcher = supervised::has_launcher();
    let (facts, tell) = SharedFacts::of(run.shape.process, has_launcher, tell);
    let teller = Teller::start(Arc::clone(&sources), tell)?;
    let registry = schema_registry(run)?;
    if let Some(registry) = &registry {
        sources.asks(registry.trouble());
    }
    // Every process by itself, before they meet: whoever has met waits for the others with a deadline.
    if waits_for_records(run)
        && !recognise::wait_for_records(&run.settings, &run.kafka, &interrupt.flag())?
    {
        return Ok(None);
    }
    let host = failpoints::host()?;
    let sink = OpenSink::open(run, &host)?;
    let agreement = Agreement {
        job: run.settings.name.clone(),
        configuration: format!("{:?}", run.settings),
    };
    let mut tables = None;
    // Before anything that it watches, so that it is the last to be dropped.
    let mut met = None;
    let mut heartbeats = Heartbeats::new(
        &run.settings.name,
        Arc::clone(&on_failure),
        Arc::clone(&observed),
        sources.peers_held_back.clone(),
        facts,
    );
    let formed = Cluster::form::<StartingPoint>(
        &run.shape,
        &agreement,
        &interrupt.flag(),
        &mut heartbeats,
        || {
            met = Some(started.elapsed());
            let (start, prepared) = sink.prepare(run, registry.as_ref())?;
            tables = Some(prepared);
            Ok(start)
        },
    )?;
    let Some((mut cluster, start)) = formed else {
        return Ok(None);
    };
    let run = &run.of_records(&start.formats, &start.tables.added);
    let claimed = started.elapsed();
    sources.claimed(&start.progress);
    let (files, columns) = sink.files(run, &start)?;
    // Beside the load of the state, which it does not delay.
    let dedup = std::thread::scope(|scope| {
        let agreed = (run.shape.process != 0).then(|| scope.spawn(|| sink.agree(run, &start)));
        let dedup = state::open(run, &start, &*host);
        if let Some(agreed) = agreed {
            agreed.join().map_err(|_| {
                Error::internal("the thread that compares Kafka and catalog panicked")
            })??;
        }
        dedup
    })?;
    let loaded = started.elapsed();
    cluster.wait_until_all_are_ready()?;
    if let Some(met) = met {
        let all_ready = started.elapsed();
        let ms = |from: Duration, to: Duration| (to - from).as_millis() as u64;
        tracing::info!(
            job = run.settings.name,
            generation = start.generation(),
            meet_ms = ms(Duration::ZERO, met),
            claim_ms = ms(met, claimed),
            state_ms = ms(claimed, loaded),
            wait_ms = ms(loaded, all_ready),
            "reading begins"
        );
    }
    interrupt.can_drain();
    let turns = Turns::new(run.shape.workers);
    let turns_watch = turns.watch(&run.settings.name, Arc::clone(&on_failure))?;
    let table = tables.map(|tables| tables.into_table(&host, &start.progress, &sources));
    let budget = Budget::new(run.settings.memory / RECORDS_SHARE);
    let metrics = dedup.iter().flatten().next();
    let metrics = metrics.map(|state| Arc::clone(&state.metrics));
    let filters = match run.settings.dedup {
        Some(_) => run.settings.memory / FILTER_SHARE,
        None => 0,
    };
    sources.reads(metrics, &budget, filters);
    let watch = (run.shape.process == 0)
        .then(|| {
            let (observed, on_failure) = (Arc::clone(&observed), Arc::clone(&on_failure));
            Watch::start(
                &run.settings.name,
                run.settings.commit.interval,
                observed,
                Arc::clone(&causes),
                sources.peers_held_back.clone(),
                on_failure,
            )
        })
        .transpose()?;
    let before = start.account();
    let (discovered, looking) = start.discover(run)?;
    let parts = WorkerParts {
        host,
        run: run.clone(),
        start,
        discovered: Mutex::new(discovered.into_iter().map(Some).collect()),
        files,
        columns,
        registry,
        table: Mutex::new(table),
        dedup: Mutex::new(dedup),
        observed: Arc::clone(&observed),
        budget,
        causes,
        stop: interrupt.flag(),
        turns,
        on_failure,
    };
    work(cluster, parts)?;
    drop((looking, watch, turns_watch));
    if run.shape.process != 0 {
        return Ok(None);
    }
    let done = observed.committed_view().account;
    let mut account = before;
    account += done;
    let settings = &run.settings;
    let reports = sink.reports(settings)?;
    let report = RunReport::new(&settings.name, account, done, reports, started.elapsed());
    sources.ended(&report);
    drop(teller);
    Ok(Some(report))
}

/// Whether the first records are waited for. A run that ends at the end of the topics would end before them.
fn waits_for_records(run: &JobRun) -> bool {
    let settings = &run.settings;
    settings.leaves_format_open() && settings.peek.is_none() && !run.until_caught_up
}

/// Takes the lock of a run, which process 0 holds as long as it runs.
///
/// # Errors
/// As [`lock::take`].
pub fn lock(run: &JobRun) -> Result<Option<Lock>> {
    let is_first = run.shape.process == 0;
    let command = format!("run {}", run.settings.name);
    is_first
        .then(|| lock::take(&run.job_dir(), lock::RUN, &command))
        .transpose()
}

/// The registry, when the job's format has to do with one. What the format lacks is found here, before
/// anything is claimed.
fn schema_registry(run: &JobRun) -> Result<Option<SchemaRegistry>> {
    let settings = run.registry.as_ref();
    let settings = settings.filter(|_| run.settings.has_schema_ids());
    if !run.settings.leaves_format_open() {
        decoder(&run.settings, settings.is_some())?;
    }
    let opened = settings.map(SchemaRegistry::open).transpose();
    opened.map_err(|error| error.context(format!("job {}", run.settings.name)))
}
