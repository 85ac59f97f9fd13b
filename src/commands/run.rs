//! `run JOB`: one process in the foreground; and what `launch` and `demo` share with it.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use strandline_operators::job::Sink;
use strandline_operators::observed::Observed;
use strandline_operators::{Error, Result};

use super::operate::{Shown, ToShow, end_process, report_crashes};
use crate::cli::Context;
use crate::cli::arguments::{Cluster, RunArgs};
use crate::config::{CatalogType, Config, SchemaRegistry};
use crate::connectors::iceberg::{CatalogKind, CatalogSettings};
use crate::connectors::kafka::client::KafkaSettings;
use crate::connectors::schema_registry::RegistrySettings;
use crate::engine::cluster::ClusterShape;
use crate::engine::interrupt::Interrupt;
use crate::engine::report::RunReport;
use crate::engine::run::run as run_process;
use crate::engine::supervised;
use crate::engine::{self, JobRun, file_limit};
use crate::status::facts::Tell;

/// The port of process 0 when no host file is given; the others follow. timely's own.
const FIRST_PORT: usize = 2101;

/// Runs the command.
///
/// # Errors
/// Whatever keeps the job from starting or going on.
pub fn run(context: &Context, args: &RunArgs) -> Result<()> {
    if args.supervised {
        supervised::answer()?;
    }
    run_job(context, args).inspect_err(supervised::last_words)
}

fn run_job(context: &Context, args: &RunArgs) -> Result<()> {
    file_limit::raise();
    let config = context.config_for(&args.job, &args.set)?;
    if args.from_savepoint.is_some() {
        context.job_with_tables(&args.job)?;
    }
    let shape = shape(&args.cluster, args.workers)?;
    let mut run = job_run(&config, &args.job, shape, args.until_caught_up)?;
    run.accept_new_fingerprint = args.accept_new_fingerprint;
    run.from_savepoint = args.from_savepoint.clone();
    let interrupt = Interrupt::install()?;
    interrupt.end_when_cancelled()?;
    let _lock = engine::run::lock(&run)?;
    let observed = Arc::new(Observed::new());
    report_crashes(&config.engine, &run, &observed);
    if args.supervised || run.shape.process != 0 {
        // It is shown by the launcher; of several without one, by process 0. So is its end.
        interrupt.end_while_starting(|_| {})?;
        let tell: Tell = Arc::new(|facts| supervised::tell(&facts));
        let report = run_process(&run, &interrupt, observed, tell, end_process())?;
        if let Some(report) = report {
            print_end(&run, &report, args.json)?;
        }
        context.ended_with(interrupt.exit_code());
        return Ok(());
    }
    let to_show = ToShow {
        jobs: context.jobs(),
        engine: &config.engine,
        settings: &run.settings,
        kafka: &run.kafka,
        catalog: &run.catalog,
        state_dir: &run.state_dir,
    };
    let shown = Shown::begin(&to_show, &interrupt)?;
    interrupt.end_while_starting(shown.on_early_end())?;
    let board = Arc::clone(&shown.board);
    let tell: Tell = Arc::new(move |facts| board.tell(facts));
    let done = run_process(&run, &interrupt, observed, tell, shown.on_failure());
    shown.end(&done, interrupt.exit_code().unwrap_or(0));
    if let Some(report) = done? {
        print_end(&run, &report, args.json)?;
    }
    context.ended_with(interrupt.exit_code());
    Ok(())
}

/// Prints the account, last; beside the records that went to standard output, not among them.
fn print_end(run: &JobRun, report: &RunReport, json: bool) -> Result<()> {
    if run.settings.sink == Sink::Tables {
        return print_report(report, json);
    }
    // Nobody who reads this far minds when the rest cannot be told.
    let _ = report.print(&mut std::io::stderr().lock(), json);
    Ok(())
}

/// Everything in force for one process of a job.
///
/// # Errors
/// The configuration has no settings for the job.
pub fn job_run(
    config: &Config,
    job: &str,
    shape: ClusterShape,
    until_caught_up: bool,
) -> Result<JobRun> {
    let settings = config.engine.jobs.get(job).cloned().ok_or_else(|| {
        Error::internal(format!("the configuration has no settings for job `{job}`"))
    })?;
    Ok(JobRun {
        settings,
        kafka: kafka_settings(config),
        catalog: catalog_settings(config),
        registry: config.schema_registry.as_ref().map(registry_settings),
        state_dir: config.engine.state_dir.clone(),
        shape,
        until_caught_up,
        accept_new_fingerprint: false,
        from_savepoint: None,
    })
}

/// Where Kafka is.
pub fn kafka_settings(config: &Config) -> KafkaSettings {
    KafkaSettings {
        bootstrap_servers: config.kafka.bootstrap_servers.clone(),
        properties: config
            .kafka
            .properties
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
    }
}

/// Where the schema registry is, and who we are to it.
pub fn registry_settings(registry: &SchemaRegistry) -> RegistrySettings {
    RegistrySettings {
        url: registry.url.clone(),
        basic: registry.username.clone().zip(registry.password.clone()),
        bearer_token: registry.bearer_token.clone(),
        ssl_ca_location: registry.ssl_ca_location.clone(),
        ssl_client: registry
            .ssl_certificate_location
            .clone()
            .zip(registry.ssl_key_location.clone()),
    }
}

/// Where the catalog is.
pub fn catalog_settings(config: &Config) -> CatalogSettings {
    CatalogSettings {
        kind: match config.catalog.catalog_type {
            CatalogType::Sql => CatalogKind::Sql,
            CatalogType::Rest => CatalogKind::Rest,
        },
        uri: config.catalog.uri.clone(),
        warehouse: config.catalog.warehouse.clone().unwrap_or_default(),
        properties: config
            .catalog
            .properties
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
    }
}

fn shape(cluster: &Cluster, workers: usize) -> Result<ClusterShape> {
    if cluster.processes == 1 {
        return Ok(ClusterShape::alone(workers));
    }
    let addresses = match &cluster.hostfile {
        Some(path) => read_hostfile(path, cluster.processes)?,
        // As timely does without a host file: neighbouring ports of this host.
        None => (0..cluster.processes)
            .map(|process| format!("127.0.0.1:{}", FIRST_PORT + process))
            .collect(),
    };
    Ok(ClusterShape {
        workers,
        process: cluster.process,
        addresses,
    })
}

fn read_hostfile(path: &Path, processes: usize) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        Error::configuration(format!(
            "cannot read the host file `{}`: {e}",
            path.display()
        ))
    })?;
    let addresses: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take(processes)
        .map(str::to_owned)
        .collect();
    if addresses.len() < processes {
        return Err(Error::configuration(format!(
            "the host file `{}` names {} processes, -n says {processes}",
            path.display(),
            addresses.len()
        )));
    }
    Ok(addresses)
}

/// Prints the account, last.
///
/// # Errors
/// stdout cannot be written, other than because nobody reads it.
pub fn print_report(report: &RunReport, json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match report.print(&mut out, json).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::internal(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}
