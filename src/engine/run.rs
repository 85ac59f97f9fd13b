//! One process of a run, from the first handshake to the account.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use strandline_operators::context::OnFailure;
use strandline_operators::observed::Observed;
use strandline_operators::{Error, Result};

use crate::connectors::iceberg::{IcebergConnector, JobTables, open_files};
use crate::engine::cluster::{Agreement, Cluster};
use crate::engine::interrupt::Interrupt;
use crate::engine::report::{RunReport, TableReport};
use crate::engine::start;
use crate::engine::state;
use crate::engine::watch::{Causes, Watch};
use crate::engine::workers::{WorkerParts, work};
use crate::engine::{JobRun, start::StartingPoint};

/// Runs the job in this process until it has drained: caught up if so asked, or by a signal. Process 0
/// returns the report, the others `None`, as it does when a signal came before its peers were there.
///
/// # Errors
/// Whatever keeps it from starting. What fails while it runs ends the process through `on_failure`.
pub fn run(
    run: &JobRun,
    interrupt: &Interrupt,
    observed: Arc<Observed>,
    on_failure: OnFailure,
) -> Result<Option<RunReport>> {
    let started = Instant::now();
    let _lock = (run.shape.process == 0)
        .then(|| lock(&run.job_dir()))
        .transpose()?;
    let iceberg = IcebergConnector::open(&run.catalog)?;
    let agreement = Agreement {
        job: run.settings.name.clone(),
        configuration: format!("{:?}", run.settings),
    };
    let mut tables = None;
    let formed = Cluster::form::<StartingPoint>(&run.shape, &agreement, &interrupt.flag(), || {
        let (start, prepared) = start::prepare(run, &iceberg)?;
        tables = Some(prepared);
        Ok(start)
    })?;
    let Some((mut cluster, start)) = formed else {
        return Ok(None);
    };
    let files = open_files(&start.tables)?;
    let dedup = state::open(run, &start)?;
    cluster.wait_until_all_are_ready()?;
    let table = tables.map(JobTables::into_committer);
    let causes = Causes::default();
    let watch = (run.shape.process == 0)
        .then(|| {
            let (observed, on_failure) = (Arc::clone(&observed), Arc::clone(&on_failure));
            Watch::start(
                &run.settings.name,
                observed,
                Arc::clone(&causes),
                on_failure,
            )
        })
        .transpose()?;
    let before = start.account();
    let (discovered, looking) = start.discover(run)?;
    let parts = WorkerParts {
        run: run.clone(),
        start,
        discovered: Mutex::new(discovered.into_iter().map(Some).collect()),
        files,
        table: Mutex::new(table),
        dedup: Mutex::new(dedup),
        observed: Arc::clone(&observed),
        causes,
        stop: interrupt.flag(),
        on_failure,
    };
    work(cluster, parts)?;
    drop((looking, watch));
    if run.shape.process != 0 {
        return Ok(None);
    }
    let done = observed.committed_view().account;
    let mut account = before;
    account += done;
    let mut reports = Vec::new();
    let settings = &run.settings;
    for name in [Some(&settings.table), settings.dead_letter_table.as_ref()]
        .into_iter()
        .flatten()
    {
        if let Some(facts) = iceberg.inspect(name)? {
            reports.push(TableReport {
                name: name.clone(),
                metadata_location: facts.metadata_location,
                rows: facts.rows,
            });
        }
    }
    Ok(Some(RunReport::new(
        &settings.name,
        account,
        done,
        reports,
        started.elapsed(),
    )))
}

/// How long a lock that is taken is tried again.
const LOCK_PATIENCE: Duration = Duration::from_millis(200);

/// Takes the lock that says that the job runs here; held until the value is dropped.
fn lock(dir: &Path) -> Result<std::fs::File> {
    let path = dir.join("lock");
    let cannot = |e: std::io::Error| {
        Error::configuration(format!(
            "cannot use the state directory `{}`: {e}",
            dir.display()
        ))
        .hint("set `state_dir` to a folder that this user may write")
    };
    std::fs::create_dir_all(dir).map_err(cannot)?;
    let file = std::fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(cannot)?;
    // `list` holds the lock for a moment when it looks whether the job runs.
    let deadline = Instant::now() + LOCK_PATIENCE;
    let mut locked = file.try_lock();
    while matches!(locked, Err(std::fs::TryLockError::WouldBlock)) && Instant::now() < deadline {
        std::thread::sleep(LOCK_PATIENCE / 10);
        locked = file.try_lock();
    }
    match locked {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::unreachable(format!(
            "the job runs already on this host: `{}` is locked",
            path.display()
        ))
        .hint("end the other process first; `strandline list` shows what runs here")),
        Err(std::fs::TryLockError::Error(e)) => Err(cannot(e)),
    }
}
