//! `cargo xtask bench`: the figures of the main job on a real broker, alone or beside Flink's.

use crate::cargo::{announce_build, cargo};
use crate::command::run as run_command;
use crate::stack::guarded::GuardedStack;
use crate::test::with_stack;
use crate::{Result, flink, instructions, machine, places, python};

/// Scenarios of `benches/kills.rs`; the others are those of `benches/end_to_end`.
const KILLS: [&str; 2] = ["kills", "soak"];

/// Runs a scenario; `args` are its own.
pub fn run(args: &[String]) -> Result {
    if args.first().is_some_and(|arg| arg == "instructions") {
        return instructions::run(&args[1..]);
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
    // The profile of everything else, so that nothing is built twice.
    let bench = ["bench", "--profile", "release", "--bench", target];
    run_command(cargo()?.args(bench).arg("--no-run"))?;
    let mut measure = cargo()?;
    measure.args(bench).arg("--").args(args);
    if args.iter().any(|arg| arg.contains("flink")) {
        flink::provide(&mut measure)?;
    }
    let stack = GuardedStack::up()?;
    let measured = with_stack(measure, &python, &stack.description())
        .and_then(|mut measure| run_command(&mut measure));
    let downed = stack.down(measured.is_err());
    measured.and(downed)
}
