//! `top JOB`: the status of a running job, live in a terminal.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use strandline_operators::Result;
use strandline_operators::numbers::grouped;

use super::status::{ask, not_running, text};
use crate::cli::Context;
use crate::cli::arguments::StopArgs;
use crate::cli::output;
use crate::status::job::JobStatus;

/// Time between two pictures.
const INTERVAL: Duration = Duration::from_secs(1);
/// Clears the screen and goes to its corner.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Shows the job until it ends, or Ctrl-C. Without a terminal, once.
///
/// # Errors
/// `Unreachable` when the job does not run here.
pub fn run(context: &Context, args: &StopArgs) -> Result<()> {
    context.job(&args.job)?;
    let draft = context.draft(None, &[])?;
    let mut seen = false;
    loop {
        let Some(status) = ask(&draft, &args.job)? else {
            if seen {
                return output::print(&format!("{} has ended\n", args.job));
            }
            return Err(not_running(&draft, &args.job));
        };
        seen = true;
        if args.json {
            return output::print_json(&status);
        }
        let live = std::io::stdout().is_terminal();
        let picture = format!("{}{}", flow(&status), text(&status));
        if !live {
            return output::print(&picture);
        }
        output::print(&format!("{CLEAR}{picture}"))?;
        // A terminal that is gone is found at the next picture.
        let _ = std::io::stdout().flush();
        std::thread::sleep(INTERVAL);
    }
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
    output::table(&rows)
}
