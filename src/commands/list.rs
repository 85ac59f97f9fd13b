//! `list`: the jobs, their topics and tables, and whether they run on this host.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use strandline_operators::Result;
use strandline_operators::job::Sink;

use crate::cli::arguments::ListArgs;
use crate::cli::{Context, output};
use crate::engine::lock;

/// Prints the list.
///
/// # Errors
/// The configuration is wrong. No configuration at all is none: then the jobs' code says it all.
pub fn run(context: &Context, args: &ListArgs) -> Result<()> {
    let engine = context.draft(None, &[])?.engine;
    let mut rows = vec![
        ["JOB", "RUNS", "TOPICS", "TABLE", "DESCRIPTION"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let mut listed = Vec::new();
    for job in context.jobs() {
        let settings = engine.job(job.name)?;
        let running = is_running(&engine.job_dir(job.name));
        listed.push(json!({
            "name": job.name,
            "description": job.description,
            "topics": settings.topics,
            "table": settings.table,
            "routes": settings.routes.iter().map(|r| (r.name, &r.table)).collect::<BTreeMap<_, _>>(),
            "dead_letters": { "topic": settings.dead_letter_topic, "table": settings.dead_letter_table },
            "running": running,
        }));
        let runs = if running { "yes" } else { "no" };
        rows.push(vec![
            job.name.to_owned(),
            runs.to_owned(),
            settings.topics.join(","),
            match settings.sink {
                Sink::Tables => settings.table.clone(),
                Sink::Terminal => "(terminal)".to_owned(),
            },
            job.description.to_owned(),
        ]);
    }
    if args.json {
        output::print_json(&json!({ "jobs": listed }))
    } else {
        output::print(&output::table(&rows))
    }
}

/// Whether a process of this host runs the job, or will start it again.
fn is_running(job_dir: &Path) -> bool {
    lock::is_taken(job_dir, lock::RUN) || lock::is_taken(job_dir, lock::LAUNCH)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_job_runs_while_its_lock_is_held() {
        let dir = tempfile::tempdir().expect("temporary folder");
        assert!(!is_running(dir.path()), "there is no lock file");
        let held = File::create(dir.path().join(lock::RUN)).expect("create");
        assert!(!is_running(dir.path()), "nobody holds it");
        held.try_lock().expect("lock");
        assert!(is_running(dir.path()), "it is held");
        drop(held);
        assert!(!is_running(dir.path()), "it was let go");
    }
}
