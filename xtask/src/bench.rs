//! `cargo xtask bench`: the figures of the main job on a real broker.

use crate::cargo::{announce_build, cargo};
use crate::command::run as run_command;
use crate::stack::guarded::GuardedStack;
use crate::test::with_stack;
use crate::{Result, machine, places, python};

/// Scenarios of `benches/kills.rs`; the others are those of `benches/end_to_end.rs`.
const KILLS: [&str; 2] = ["kills", "soak"];

/// Runs a scenario; `args` are its own.
pub fn run(args: &[String]) -> Result {
    let kills = args
        .first()
        .is_some_and(|arg| KILLS.contains(&arg.as_str()));
    machine::provide(&[
        machine::TO_BUILD,
        machine::TO_RUN_THE_STACK,
        machine::TO_JUDGE,
    ])?;
    let python = python::environment(&places::repository()?)?;
    announce_build()?;
    let target = if kills { "kills" } else { "end_to_end" };
    // The profile of everything else, so that nothing is built twice.
    let bench = ["bench", "--profile", "release", "--bench", target];
    run_command(cargo()?.args(bench).arg("--no-run"))?;
    let stack = GuardedStack::up()?;
    let mut measure = cargo()?;
    measure.args(bench).arg("--").args(args);
    let measured = with_stack(measure, &python, &stack.description())
        .and_then(|mut measure| run_command(&mut measure));
    let downed = stack.down(measured.is_err());
    measured.and(downed)
}
