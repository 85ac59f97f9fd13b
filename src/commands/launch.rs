//! `launch JOB`: the processes of a job on this host, supervised.

use strandline_operators::Result;

use super::operate::{Shown, ToShow};
use super::run::{catalog_settings, kafka_settings};
use crate::cli::Context;
use crate::cli::arguments::LaunchArgs;
use crate::engine::interrupt::Interrupt;
use crate::engine::restarts::{HEALTHY_RUN, RestartPolicy};
use crate::engine::supervise::{Launch, supervise};
use crate::engine::{file_limit, lock};

/// Runs the command.
///
/// # Errors
/// The failure of the last attempt.
pub fn run(context: &Context, args: &LaunchArgs) -> Result<()> {
    file_limit::raise();
    context.job_with_tables(&args.job)?;
    // Read here too, so that a wrong configuration is one error and not one a process.
    let config = context.config_for(&args.job, &args.set)?;
    let mut arguments = Vec::new();
    if let Some(file) = context.config_file() {
        arguments.extend(["-c".to_owned(), file.display().to_string()]);
    }
    arguments.extend([
        "run".to_owned(),
        args.job.clone(),
        "--supervised".to_owned(),
        "-w".to_owned(),
        args.workers.to_string(),
    ]);
    if args.until_caught_up {
        arguments.push("--until-caught-up".to_owned());
    }
    if args.accept_new_fingerprint {
        arguments.push("--accept-new-fingerprint".to_owned());
    }
    if let Some(from) = &args.from_savepoint {
        // The same request for every start: those after a failure do not go back again.
        for (option, value) in [
            ("--from-savepoint", Some(&from.name)),
            ("--savepoint-table", from.table.as_ref()),
            ("--savepoint-request", Some(&from.id)),
        ] {
            arguments.extend(
                value
                    .into_iter()
                    .flat_map(|v| [option.to_owned(), v.clone()]),
            );
        }
    }
    if args.json {
        arguments.push("--json".to_owned());
    }
    for set in &args.set {
        arguments.extend(["--set".to_owned(), set.clone()]);
    }
    let restart = RestartPolicy {
        attempts: config.engine.restart.attempts,
        delay: config.engine.restart.delay,
        healthy: HEALTHY_RUN,
    };
    let launch = Launch {
        arguments,
        processes: args.processes,
        restart,
        job: args.job.clone(),
    };
    // At once and here: a process that finds the job running would be started again and again.
    let dir = config.engine.job_dir(&args.job);
    let _lock = lock::take(&dir, lock::LAUNCH, &format!("launch {}", args.job))?;
    lock::refuse_if_taken(&dir, lock::RUN)?;
    let interrupt = Interrupt::install()?;
    let settings = config.engine.job(&args.job)?;
    let to_show = ToShow {
        jobs: context.jobs(),
        engine: &config.engine,
        settings,
        kafka: &kafka_settings(&config),
        catalog: &catalog_settings(&config),
        state_dir: &config.engine.state_dir,
    };
    let shown = Shown::begin(&to_show, &interrupt)?;
    let done = supervise(&launch, &interrupt, &shown.board);
    let exit_status = done.as_ref().ok().copied().flatten().unwrap_or(0);
    shown.end(&done, exit_status);
    context.ended_with(done?);
    Ok(())
}
