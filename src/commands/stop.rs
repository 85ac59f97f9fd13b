//! `stop JOB` and `cancel JOB`, from another shell.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use strandline_operators::job::Sink;
use strandline_operators::{Error, ErrorKind, Result};

use super::run::{catalog_settings, print_report};
use super::status;
use super::stopped::not_running;
use crate::cli::arguments::StopArgs;
use crate::cli::{Context, output};
use crate::config::Draft;
use crate::connectors::iceberg::IcebergConnector;
use crate::engine::lock;
use crate::engine::report::RunReport;
use crate::engine::sink::reports;
use crate::http::socket;
use crate::status::job::{End, JobStatus};

/// One question for the end; the job answers it earlier, and is asked again.
const END_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a job that has said that it ends may take to be gone.
const GONE_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Drains the job, waits for its end, and prints its account.
///
/// # Errors
/// `Unreachable` when it does not run here; what the job itself failed with.
pub fn stop(context: &Context, args: &StopArgs) -> Result<()> {
    context.job(&args.job)?;
    let draft = context.draft(None, &[])?;
    let folder = draft.engine.job_dir(&args.job);
    let status = known(&draft, &args.job);
    command(&folder, &args.job, "stop")?.ok_or_else(|| not_running(&draft, &args.job))?;
    let end = wait_for_end(&folder, &args.job)?;
    wait_until_gone(&folder)?;
    if let Some(error) = end.error {
        let kind = match end.exit_status {
            2 => ErrorKind::Configuration,
            3 => ErrorKind::Unreachable,
            4 => ErrorKind::Refused,
            _ => ErrorKind::Internal,
        };
        return Err(Error::new(
            kind,
            format!("the job {} failed while it drained: {error}", args.job),
        ));
    }
    // It has none when it was between two lives, or had not begun to read.
    match end.report.or_else(|| from_table(context, status.as_ref())) {
        Some(report) => print_report(&report, args.json),
        None if args.json => output::print_json(&json!({ "job": args.job, "account": null })),
        None => output::print(&format!(
            "{} has ended; it had not begun to read, or nothing is known here of what it has read\n",
            args.job
        )),
    }
}

/// Ends the job at once. Nothing is lost: it goes on from its table.
///
/// # Errors
/// `Unreachable` when it does not run here, or does not end.
pub fn cancel(context: &Context, args: &StopArgs) -> Result<()> {
    context.job(&args.job)?;
    let draft = context.draft(None, &[])?;
    let folder = draft.engine.job_dir(&args.job);
    let status = known(&draft, &args.job);
    command(&folder, &args.job, "cancel")?.ok_or_else(|| not_running(&draft, &args.job))?;
    wait_until_gone(&folder)?;
    let report = from_table(context, status.as_ref());
    if !args.json {
        output::print(&format!(
            "{} has ended; it goes on from its table when it is started again\n",
            args.job
        ))?;
    }
    match report {
        Some(report) => print_report(&report, args.json),
        None if args.json => output::print_json(&json!({ "job": args.job, "account": null })),
        None => Ok(()),
    }
}

/// What a job says of itself before it is told to end, for its report. One of another release may say it in words that
/// are not understood here, and is told to end all the same.
fn known(draft: &Draft, job: &str) -> Option<JobStatus> {
    status::ask(draft, job).ok().flatten()
}

/// The account as the table holds it, of a job that ended without a report. `None` when the table cannot be read, or
/// when it is not the one that this job wrote to: it may have been started with other settings than those here.
fn from_table(context: &Context, status: Option<&JobStatus>) -> Option<RunReport> {
    let status = status?;
    let config = context.config_for(&status.job, &[]).ok()?;
    let settings = config.engine.jobs.get(&status.job)?;
    if settings.sink != Sink::Tables {
        return None;
    }
    let iceberg = IcebergConnector::open(&catalog_settings(&config)).ok()?;
    let progress = iceberg
        .view(&settings.table)
        .ok()??
        .progress(settings)
        .ok()??;
    let generation = progress.generation();
    if status.generation.is_some_and(|known| known != generation) {
        return None;
    }
    // Of its last life: the ones before are in the account that the status had at its begin.
    let began = status.restarts.last.first();
    let began = began.map_or(&status.started_at, |restart| &restart.at);
    let began = chrono::DateTime::parse_from_rfc3339(began).ok()?;
    let ran = chrono::Utc::now().signed_duration_since(began);
    let account = progress.account();
    let before = status.account.since(&status.run);
    Some(RunReport::new(
        &status.job,
        account,
        account.since(&before),
        reports(&iceberg, settings).ok()?,
        ran.to_std().unwrap_or_default(),
    ))
}

/// Gives a command; `None` when nobody is there to take it.
fn command(folder: &Path, job: &str, command: &str) -> Result<Option<()>> {
    let path = format!("/api/v1/jobs/{job}/{command}");
    match socket::ask(folder, Method::POST, &path)? {
        None => Ok(None),
        Some((StatusCode::ACCEPTED, _)) => Ok(Some(())),
        Some((status, body)) => Err(Error::internal(format!(
            "the job {job} did not take `{command}`: {status} {}",
            String::from_utf8_lossy(&body)
        ))),
    }
}

fn wait_for_end(folder: &Path, job: &str) -> Result<End> {
    let path = format!("/api/v1/jobs/{job}/end");
    loop {
        let answer = socket::ask_within(folder, Method::GET, &path, END_TIMEOUT);
        let body = match answer {
            Ok(Some((StatusCode::ACCEPTED, _))) => continue,
            Ok(Some((StatusCode::OK, body))) => body,
            // It ended before it was asked, or while it was.
            _ => return Ok(End::default()),
        };
        let document: Value = serde_json::from_slice(&body).unwrap_or_default();
        return serde_json::from_value(document["end"].clone())
            .map_err(|e| Error::internal(format!("cannot read how the job {job} ended: {e}")));
    }
}

/// Waits until nobody holds the job's locks any more.
fn wait_until_gone(folder: &Path) -> Result<()> {
    let deadline = Instant::now() + GONE_TIMEOUT;
    loop {
        let taken = lock::is_taken(folder, lock::RUN) || lock::is_taken(folder, lock::LAUNCH);
        if !taken {
            return Ok(());
        }
        if Instant::now() >= deadline {
            // Standard error may be gone; the error below says the same.
            let _ = std::io::stderr().flush();
            return Err(Error::unreachable(format!(
                "the job still runs {} s after it was asked to end",
                GONE_TIMEOUT.as_secs()
            ))
            .hint("`strandline list` shows what runs here"));
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}
