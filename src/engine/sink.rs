//! Where the rows of a run go, and what has to be done for it at start and at the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use strandline_operators::host::Host;
use strandline_operators::io::{Files, Table, TableColumns};
use strandline_operators::job::{JobSettings, Sink};
use strandline_operators::landing::confirmed::Confirmed;
use strandline_operators::progress::Progress;
use strandline_operators::{ErrorKind, Result};

use crate::connectors::iceberg::{IcebergConnector, JobTables, TableFacts, open_files};
use crate::connectors::kafka::identity::KafkaTopics;
use crate::connectors::kafka::metadata::Cluster as KafkaCluster;
use crate::connectors::schema_registry::SchemaRegistry;
use crate::connectors::terminal::{TerminalFiles, TerminalTable};
use crate::engine::JobRun;
use crate::engine::parent::exit_now;
use crate::engine::report::TableReport;
use crate::engine::start::{self, StartingPoint};
use crate::status::collect::Sources;

/// How long a report waits for a catalog that cannot be reached.
const REPORT_PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two tries.
const REPORT_PAUSE: Duration = Duration::from_millis(200);

/// Where rows are written, and what adds columns to it.
type Written = (Arc<dyn Files>, Option<Arc<dyn TableColumns>>);

/// The sink of a run, opened.
pub(crate) enum OpenSink {
    Tables(IcebergConnector),
    Terminal,
}

/// What the process has prepared that commits.
pub(crate) enum Prepared {
    Tables(Box<JobTables>, KafkaCluster),
    Terminal,
}

impl OpenSink {
    pub fn open(run: &JobRun, host: &Arc<dyn Host>) -> Result<OpenSink> {
        Ok(match run.settings.sink {
            Sink::Tables => {
                OpenSink::Tables(IcebergConnector::open(&run.catalog)?.on(Arc::clone(host)))
            }
            Sink::Terminal => OpenSink::Terminal,
        })
    }

    /// Decides where reading starts, and claims it. Only one process does this.
    pub fn prepare(
        &self,
        run: &JobRun,
        registry: Option<&SchemaRegistry>,
    ) -> Result<(StartingPoint, Prepared)> {
        match self {
            OpenSink::Tables(iceberg) => {
                let (start, tables, kafka) = start::prepare(run, iceberg, registry)?;
                Ok((start, Prepared::Tables(Box::new(tables), kafka)))
            }
            OpenSink::Terminal => Ok((
                start::prepare_without_tables(run, registry)?,
                Prepared::Terminal,
            )),
        }
    }

    /// Whether this process sees what process 0 sees.
    pub fn agree(&self, run: &JobRun, start: &StartingPoint) -> Result<()> {
        match self {
            OpenSink::Tables(iceberg) => start::agree(run, iceberg, start),
            OpenSink::Terminal => Ok(()),
        }
    }

    /// Where rows are written, and what adds columns to it, if the job's columns follow its schemas.
    pub fn files(&self, run: &JobRun, start: &StartingPoint) -> Result<Written> {
        let settings = &run.settings;
        match self {
            OpenSink::Tables(iceberg) => {
                let files = open_files(&start.tables, &run.catalog.properties)?;
                let generation = start.generation();
                let columns = settings
                    .adds_columns()
                    .then(|| iceberg.columns(settings, generation, Arc::clone(&files)));
                Ok((files, columns))
            }
            OpenSink::Terminal => {
                let files = TerminalFiles::new(settings, || exit_now(0));
                Ok((Arc::new(files), None))
            }
        }
    }

    /// The tables as they are at the end.
    pub fn reports(&self, settings: &JobSettings) -> Result<Vec<TableReport>> {
        match self {
            OpenSink::Tables(iceberg) => reports(iceberg, settings),
            OpenSink::Terminal => Ok(Vec::new()),
        }
    }
}

/// The tables of a job as they are now, the primary first.
///
/// # Errors
/// The catalog cannot be reached for half a minute.
pub(crate) fn reports(
    iceberg: &IcebergConnector,
    settings: &JobSettings,
) -> Result<Vec<TableReport>> {
    let secondaries = settings.secondary_tables();
    let secondaries = secondaries.iter().map(|secondary| secondary.name);
    let mut reports = Vec::new();
    for name in std::iter::once(settings.table.as_str()).chain(secondaries) {
        if let Some(facts) = inspect(iceberg, name)? {
            reports.push(TableReport {
                name: name.to_owned(),
                metadata_location: facts.metadata_location,
                rows: facts.rows,
            });
        }
    }
    Ok(reports)
}

impl Prepared {
    /// The commit point. A commit asks Kafka whether the topics are still those of `progress`.
    pub fn into_table(
        self,
        host: &Arc<dyn Host>,
        progress: &Progress,
        sources: &Sources,
    ) -> Box<dyn Table> {
        match self {
            Prepared::Tables(tables, kafka) => Box::new(Confirmed::new(
                Arc::clone(host),
                Box::new(KafkaTopics::new(kafka)),
                progress,
                Arc::clone(&sources.observed),
                sources.trouble.clone(),
                tables.into_committer(&sources.trouble, &sources.behind),
            )),
            Prepared::Terminal => Box::new(TerminalTable),
        }
    }
}

/// Looks at a table for the report. Everything is committed by now: a catalog that is away for a moment
/// should not make a failure of it.
fn inspect(iceberg: &IcebergConnector, table: &str) -> Result<Option<TableFacts>> {
    let deadline = Instant::now() + REPORT_PATIENCE;
    loop {
        match iceberg.inspect(table) {
            Err(e) if e.kind() == ErrorKind::Unreachable && Instant::now() < deadline => {
                std::thread::sleep(REPORT_PAUSE);
            }
            done => return done,
        }
    }
}
