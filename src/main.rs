//! The `strandline` command, with the jobs that ship with it.

use std::process::ExitCode;

fn main() -> ExitCode {
    strandline::main(strandline_jobs::ALL)
}
