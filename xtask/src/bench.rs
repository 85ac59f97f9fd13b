//! `cargo xtask bench`: the figures of the main job on a real broker.

use crate::cargo::{announce_build, cargo};
use crate::command::run as run_command;
use crate::stack::guarded::GuardedStack;
use crate::{Result, machine};

/// Runs a scenario of `benches/end_to_end.rs`; `args` are its own.
pub fn run(args: &[String]) -> Result {
    machine::provide(&[machine::TO_BUILD, machine::TO_RUN_THE_STACK])?;
    announce_build()?;
    // The profile of everything else, so that nothing is built twice.
    let bench = ["bench", "--profile", "release", "--bench", "end_to_end"];
    run_command(cargo()?.args(bench).arg("--no-run"))?;
    let stack = GuardedStack::up()?;
    let measured = run_command(
        cargo()?
            .args(bench)
            .arg("--")
            .args(args)
            .env("STRANDLINE_STACK", stack.description()),
    );
    let downed = stack.down(measured.is_err());
    measured.and(downed)
}
