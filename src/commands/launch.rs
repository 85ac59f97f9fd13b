//! `launch JOB`: the processes of a job on this host, supervised.

use strandline_operators::Result;

use crate::cli::Context;
use crate::cli::arguments::LaunchArgs;
use crate::engine::interrupt::Interrupt;
use crate::engine::supervise::{Launch, RestartPolicy, supervise};

/// Runs the command.
///
/// # Errors
/// The failure of the last attempt.
pub fn run(context: &Context, args: &LaunchArgs) -> Result<()> {
    // Read here too, so that a wrong configuration is one error and not one a process.
    let config = context.config_for(&args.job, &args.set)?;
    let mut arguments = Vec::new();
    if let Some(file) = context.config_file() {
        arguments.extend(["-c".to_owned(), file.display().to_string()]);
    }
    arguments.extend([
        "run".to_owned(),
        args.job.clone(),
        "-w".to_owned(),
        args.workers.to_string(),
    ]);
    if args.until_caught_up {
        arguments.push("--until-caught-up".to_owned());
    }
    if args.accept_new_fingerprint {
        arguments.push("--accept-new-fingerprint".to_owned());
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
    };
    let launch = Launch {
        arguments,
        processes: args.processes,
        restart,
        job: args.job.clone(),
    };
    let interrupt = Interrupt::install()?;
    context.ended_with(supervise(&launch, &interrupt)?);
    Ok(())
}
