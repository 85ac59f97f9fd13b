//! `cargo xtask bench`: the figures of the main job on a real broker.

use std::process::Command;

use crate::cargo::{announce_build, cargo};
use crate::command::run as run_command;
use crate::stack::guarded::GuardedStack;
use crate::test::with_stack;
use crate::{Result, machine, places, python};

/// Scenarios of `benches/kills.rs`; the others but [`READ_BACK`] are those of `benches/end_to_end.rs`.
const KILLS: [&str; 2] = ["kills", "soak"];

/// The scenario of `benches/read_back.rs`, which needs no services.
const READ_BACK: &str = "read-back";

/// Runs a scenario; `args` are its own.
pub fn run(args: &[String]) -> Result {
    if args.first().is_some_and(|arg| arg == READ_BACK) {
        machine::provide(&[machine::TO_BUILD])?;
        announce_build()?;
        return run_command(bench("read_back")?.arg("--").args(args));
    }
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
    run_command(bench(target)?.arg("--no-run"))?;
    let stack = GuardedStack::up()?;
    let mut measure = bench(target)?;
    measure.arg("--").args(args);
    let measured = with_stack(measure, &python, &stack.description())
        .and_then(|mut measure| run_command(&mut measure));
    let downed = stack.down(measured.is_err());
    measured.and(downed)
}

/// Builds and runs a benchmark, with the profile of everything else, so that nothing is built twice.
fn bench(target: &str) -> Result<Command> {
    let mut command = cargo()?;
    command.args(["bench", "--profile", "release", "--bench", target]);
    Ok(command)
}
