//! `status [JOB]`: how the jobs of this host are, from another shell.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};
use strandline_operators::numbers::grouped;
use strandline_operators::{Error, Result};

use super::stopped;
use crate::cli::arguments::StatusArgs;
use crate::cli::{Context, output};
use crate::config::Draft;
use crate::http::socket;
use crate::status::job::JobStatus;

/// Prints the status of one job, or a line for each.
///
/// # Errors
/// `Unreachable` when the job that was asked for does not run here.
pub fn run(context: &Context, args: &StatusArgs) -> Result<()> {
    let draft = context.draft(None, &[])?;
    match &args.job {
        Some(job) => {
            context.job(job)?;
            let Some(status) = ask(&draft, job)? else {
                if args.json {
                    output::print_json(&stopped::document(&draft, job))?;
                }
                return Err(stopped::not_running(&draft, job));
            };
            if args.json {
                output::print_json(&status)
            } else {
                output::print(&text(&status))
            }
        }
        None => {
            let mut rows = vec![
                [
                    "JOB",
                    "STATE",
                    "LAG",
                    "WATERMARK",
                    "EVENTS/S",
                    "P99",
                    "RESTARTS",
                    "LAST COMMIT",
                ]
                .map(str::to_owned)
                .to_vec(),
            ];
            let mut documents: Vec<Value> = Vec::new();
            for job in context.jobs() {
                // One that does not answer should not hide the others.
                match ask(&draft, job.name) {
                    Ok(Some(status)) => {
                        rows.push(row(&status));
                        documents.push(serde_json::to_value(&status).unwrap_or_default());
                    }
                    Ok(None) => {
                        documents.push(stopped::document(&draft, job.name));
                        let mut row = vec![job.name.to_owned(), "stopped".to_owned()];
                        row.resize(rows[0].len() - 1, String::new());
                        row.extend(stopped::committed_at(&draft, job.name));
                        rows.push(row);
                    }
                    Err(error) => {
                        documents.push(json!({ "job": job.name, "state": "unknown", "error": error.message() }));
                        rows.push(vec![job.name.to_owned(), "does not answer".to_owned()]);
                    }
                }
            }
            if args.json {
                output::print_json(&json!({ "jobs": documents }))
            } else {
                output::print(&output::table(&rows))
            }
        }
    }
}

/// The status of a job, by its socket; `None` when it does not run here.
///
/// # Errors
/// It runs and does not answer.
pub(crate) fn ask(draft: &Draft, job: &str) -> Result<Option<JobStatus>> {
    ask_within(draft, job, socket::TIMEOUT)
}

/// As [`ask`], with a limit of its own.
///
/// # Errors
/// As [`ask`].
pub(crate) fn ask_within(draft: &Draft, job: &str, limit: Duration) -> Result<Option<JobStatus>> {
    let folder = draft.engine.job_dir(job);
    let path = format!("/api/v1/jobs/{job}");
    let answer = socket::ask_within(&folder, Method::GET, &path, limit)?;
    let Some((_, body)) = answer else {
        return Ok(None);
    };
    serde_json::from_slice(&body).map(Some).map_err(|e| {
        Error::unreachable(format!(
            "the job {job} gives an answer that cannot be read: {e}"
        ))
        .hint("another release of strandline runs it; ask with that one")
    })
}

fn milliseconds(ms: Option<f64>) -> String {
    ms.map_or_else(|| "-".to_owned(), |ms| format!("{} ms", grouped(ms as u64)))
}

fn row(status: &JobStatus) -> Vec<String> {
    vec![
        status.job.clone(),
        status.state.name().to_owned(),
        grouped(status.lag),
        status
            .watermark
            .time
            .clone()
            .unwrap_or_else(|| "none yet".to_owned()),
        grouped(status.rates.read as u64),
        milliseconds(status.freshness.p99_ms),
        status.restarts.total.to_string(),
        status
            .commits
            .last
            .first()
            .map_or_else(|| "none yet".to_owned(), |commit| commit.at.clone()),
    ]
}

/// The status, for people.
fn text(status: &JobStatus) -> String {
    format!("{}{}", summary(status), partitions(status))
}

/// The job as a whole, for people.
pub(crate) fn summary(status: &JobStatus) -> String {
    let mut text = format!("{} is {}", status.job, status.state.name());
    if let Some(generation) = status.generation {
        text.push_str(&format!(", generation {generation}"));
    }
    text.push_str(&format!(", since {}\n", status.started_at));
    if let Some(http) = &status.http {
        text.push_str(&format!("  UI                 {http}/\n"));
    }
    for finding in &status.findings {
        text.push_str(&format!(
            "  ! {}\n      hint: {}\n",
            finding.message, finding.hint
        ));
    }
    let account = &status.account;
    let watermark = &status.watermark;
    let commit = status.commits.last.first();
    let lines = [
        (
            "reads",
            format!(
                "{} events/s, {} behind",
                grouped(status.rates.read as u64),
                grouped(status.lag)
            ),
        ),
        ("consumed", grouped(account.consumed)),
        (
            "landed",
            format!(
                "{}, of them late {}",
                grouped(account.landed),
                grouped(account.late)
            ),
        ),
        ("duplicates", grouped(account.duplicates)),
        ("dead letters", grouped(account.dead_letters)),
        ("dropped", grouped(account.dropped)),
        ("gaps", grouped(account.gaps)),
        (
            "watermark",
            match (&watermark.time, watermark.lag_seconds) {
                (Some(time), Some(lag)) => format!(
                    "{time}, {} s behind the clock",
                    grouped(lag.max(0.0) as u64)
                ),
                _ => "none yet".to_owned(),
            },
        ),
        (
            "freshness",
            format!(
                "p50 {}, p99 {}",
                milliseconds(status.freshness.p50_ms),
                milliseconds(status.freshness.p99_ms)
            ),
        ),
        (
            "last commit",
            commit.map_or_else(
                || "none yet".to_owned(),
                |commit| {
                    format!(
                        "{}: {} rows in {} files, {} ms",
                        commit.at,
                        grouped(commit.rows),
                        commit.files,
                        commit.duration_ms
                    )
                },
            ),
        ),
        (
            "restarts",
            match status.restarts.last.first() {
                Some(last) => format!(
                    "{}, the last at {}: {}",
                    status.restarts.total, last.at, last.cause
                ),
                None => status.restarts.total.to_string(),
            },
        ),
    ];
    for (name, value) in lines {
        text.push_str(&format!("  {name:<18} {value}\n"));
    }
    text
}

/// Its partitions, for people.
pub(crate) fn partitions(status: &JobStatus) -> String {
    let mut rows = vec![
        ["PARTITION", "COMMITTED", "END", "LAG", "WATERMARK", ""]
            .map(str::to_owned)
            .to_vec(),
    ];
    let number = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |v| v.to_string());
    for partition in &status.partitions {
        let remark = match (partition.idle, partition.holds_watermark) {
            (true, _) => "idle",
            (_, true) => "holds the watermark",
            _ => "",
        };
        rows.push(vec![
            format!("{}[{}]", partition.topic, partition.partition),
            number(partition.committed),
            number(partition.end),
            partition.lag.map_or_else(|| "-".to_owned(), grouped),
            partition
                .watermark
                .clone()
                .unwrap_or_else(|| "-".to_owned()),
            remark.to_owned(),
        ]);
    }
    output::indented(&output::table(&rows))
}
