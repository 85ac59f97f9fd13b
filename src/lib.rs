//! Strandline lands Kafka topics in Apache Iceberg tables, exactly once, on timely dataflow.
//!
//! A job is a constant; a program of your own jobs is this:
//!
//! ```no_run
//! use strandline::{Column, ColumnType, Job};
//!
//! const ORDERS: Job = Job {
//!     name: "orders",
//!     description: "Orders of the shop",
//!     topics: &["orders"],
//!     columns: &[
//!         Column::required("event_id", ColumnType::String),
//!         Column::required("event_time", ColumnType::Timestamptz),
//!         Column::optional("amount", ColumnType::Double),
//!     ],
//!     table: "bronze.orders",
//!     dead_letter_table: Some("bronze.orders_dead_letters"),
//!     ..Job::BRONZE
//! };
//!
//! fn main() -> std::process::ExitCode {
//!     strandline::main(&[ORDERS])
//! }
//! ```
//!
//! and has every command (`run`, `launch`, `check`, `peek`, `audit`, `plan`, ...) for them. What Strandline
//! reads from its configuration file is in [`config`].

pub mod cli;
pub mod commands;
pub mod config;
pub mod connectors;
pub mod engine;
pub mod generator;
pub mod http;
mod logging;
pub mod status;

use std::process::ExitCode;

use strandline_operators::{Error, ErrorKind, Result};

use crate::engine::parent::exit_now;

pub use strandline_operators::job::{
    CommitPolicy, DedupPolicy, Format, InvalidJob, Job, JobSettings, LatenessPolicy, OnGap,
    StartingOffsets, TooLate, WatermarkPolicy,
};
pub use strandline_operators::schema::{Column, ColumnType};

/// Gives back what is free, on a thread of its own: of glibc's arenas four fifths were free memory that grew with the
/// length of the run (`benches/budget.md`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The whole program: reads the command line, does what it says with the given jobs, and gives the exit
/// status that the command interface promises (0 done, 1 internal, 2 usage or configuration,
/// 3 unreachable, 4 refused, 128 + n after signal n).
///
/// Facts go to stdout, logs and errors to stderr. A panic anywhere ends the process at once.
pub fn main(jobs: &'static [Job]) -> ExitCode {
    end_on_panic();
    let status = cli::run(jobs, std::env::args_os());
    ExitCode::from(status)
}

/// How timely's network threads begin the panic by which they say that a peer is gone. timely promises not
/// to reword it (`timely_communication`, `tcp_panic`).
const PEER_LOST: &str = "timely communication error:";

/// A panic is an outage: a thread that dies must take the process with it, or the dataflow would go on
/// without one of its workers. `panic = "abort"` would say the same, but builds every dependency twice
/// (see the profiles in Cargo.toml), and end with another status than the command interface promises.
fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        cli::screen::leave();
        let text = panic.payload_as_str().unwrap_or_default();
        if text.starts_with(PEER_LOST) {
            let lost = Error::unreachable(format!("another process of the job is gone: {text}"))
                .hint("its own log says why; start all processes again, they go on from the table");
            cli::output::print_error(&lost);
            engine::supervised::last_words(&lost);
            exit_now(lost.kind().exit_code());
        }
        report(panic);
        let mut error = Error::internal(format!("a thread panicked: {text}"));
        engine::supervised::last_words(&error);
        if let Some(left) = engine::crash::report(&format!("a thread panicked: {panic}")) {
            // Last, and whatever `RUST_LOG` says: it is what is looked for first.
            error = error.hint(format!(
                "this is a defect of strandline, and a report of it is at {}; {}",
                left.path.display(),
                left.afterwards
            ));
        }
        cli::output::print_error(&error);
        exit_now(ErrorKind::Internal.exit_code());
    }));
}

/// Checks every job's definition, and that no two have the same name.
///
/// # Errors
/// The first definition that is wrong.
///
/// ```
/// use strandline::{Job, validate};
/// let error = validate(&[Job { name: "No Spaces", ..Job::BRONZE }]).unwrap_err();
/// assert_eq!(error.message(), "job `No Spaces`: its name must be lower-case letters, digits and hyphens");
/// ```
pub fn validate(jobs: &[Job]) -> Result<()> {
    for (i, job) in jobs.iter().enumerate() {
        job.validate().map_err(|invalid| {
            Error::configuration(invalid.to_string()).hint("this is in the job's Rust code")
        })?;
        if jobs[..i].iter().any(|other| other.name == job.name) {
            return Err(
                Error::configuration(format!("two jobs have the name `{}`", job.name))
                    .hint("this is in the list given to `strandline::main`"),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Set in the process that is to panic.
    const PANICS: &str = "STRANDLINE_TEST_PANICS";

    #[test]
    fn a_panic_on_any_thread_ends_the_process_with_the_promised_status() {
        if let Ok(text) = std::env::var(PANICS) {
            end_on_panic();
            let _ = std::thread::spawn(move || panic!("{text}")).join();
            return;
        }
        for (text, status) in [("on purpose", 1), ("timely communication error: gone", 3)] {
            let output = Command::new(std::env::current_exe().expect("this test"))
                .args(["--exact", "--nocapture"])
                .arg("tests::a_panic_on_any_thread_ends_the_process_with_the_promised_status")
                .env(PANICS, text)
                .output()
                .expect("started");
            assert_eq!(output.status.code(), Some(status), "{output:?}");
            assert!(
                String::from_utf8_lossy(&output.stderr).contains(text),
                "{output:?}"
            );
        }
    }
}
