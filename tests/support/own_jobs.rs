//! A program of jobs that only a test has: the test's own binary, started once more.

use std::process::Command;

use serde_json::Value;
use strandline::Job;

use super::Finished;

/// The command line that the process is to carry out as the program of its test, one argument a line.
const ARGUMENTS: &str = "STRANDLINE_TEST_ARGUMENTS";

/// Carries out a command and ends the process, if it is one of [`own_program`]. To be called first thing.
pub fn be_own_program(jobs: &'static [Job]) {
    if let Ok(arguments) = std::env::var(ARGUMENTS) {
        let status = strandline::cli::run(jobs, arguments.lines().map(Into::into));
        std::process::exit(status.into());
    }
}

/// `strandline ARGS` with the jobs that the test of this name gives to [`be_own_program`].
pub fn own_program(test: &str, args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command
        .args(["--exact", "--nocapture", test])
        .env(ARGUMENTS, [&["strandline"][..], args].concat().join("\n"))
        .env_remove("STRANDLINE_CONFIG");
    command
}

impl Finished {
    /// The document that a command of [`own_program`] printed, behind what the test harness says first.
    #[track_caller]
    pub fn own_json(&self) -> Value {
        let document = self.stdout.find('{').map(|start| &self.stdout[start..]);
        serde_json::from_str(document.unwrap_or_default())
            .unwrap_or_else(|e| panic!("no JSON document: {e}\n{}", self.stdout))
    }
}
