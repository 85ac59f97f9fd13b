//! `top JOB`: the status of a running job, live in a terminal.

use std::time::Duration;

use strandline_operators::Result;
use strandline_operators::numbers::grouped;

use super::status::{ask, ask_within, partitions, summary};
use super::stopped::not_running;
use crate::cli::arguments::StopArgs;
use crate::cli::screen::Screen;
use crate::cli::{Context, output};
use crate::status::job::JobStatus;

/// Time between two pictures.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the job may take to answer: a key is heard after that.
const PATIENCE: Duration = Duration::from_secs(2);
/// What stands below each picture.
const LAST_LINE: &str = "q or Ctrl-C leaves; the job goes on";

/// Shows the job until somebody leaves (`q`, Ctrl-C), or the job ends. Without a terminal, once.
///
/// # Errors
/// `Unreachable` when the job does not run here.
pub fn run(context: &Context, args: &StopArgs) -> Result<()> {
    let job = &args.job;
    context.job(job)?;
    let draft = context.draft(None, &[])?;
    let Some(status) = ask(&draft, job)? else {
        return Err(not_running(&draft, job));
    };
    if args.json {
        return output::print_json(&status);
    }
    let mut picture = picture_of(&status);
    let Some(screen) = Screen::open()? else {
        return output::print(&picture);
    };
    loop {
        screen.show(&picture, LAST_LINE)?;
        if let Some(leave) = screen.wait(INTERVAL) {
            context.ended_with(leave.exit_status());
            return Ok(());
        }
        picture = match ask_within(&draft, job, PATIENCE) {
            Ok(Some(status)) => picture_of(&status),
            Ok(None) => {
                // On the screen that stays.
                drop(screen);
                return output::print(&format!("{job} has ended\n"));
            }
            // It may hang, or be about to end; it is asked again.
            Err(error) => format!("{error}\n"),
        };
    }
}

/// What matters most comes first: a terminal may be small, and partitions many.
fn picture_of(status: &JobStatus) -> String {
    format!("{}{}{}", summary(status), flow(status), partitions(status))
}

/// The dataflow, with the rate of each stage and what waits before it.
fn flow(status: &JobStatus) -> String {
    let mut rows = vec![
        ["STAGE", "PER SECOND", "WAITING", ""]
            .map(str::to_owned)
            .to_vec(),
    ];
    for operator in &status.operators {
        rows.push(vec![
            operator.name.clone(),
            grouped(operator.rate as u64),
            grouped(operator.waiting),
            operator.says.clone(),
        ]);
    }
    output::indented(&output::table(&rows))
}
