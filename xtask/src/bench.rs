//! `cargo xtask bench`: the figures of the main job on a real broker, alone or beside Flink's.

use std::process::Command;

use crate::cargo::{announce_build, cargo};
use crate::command::run as run_command;
use crate::stack::guarded::GuardedStack;
use crate::test::with_stack;
use crate::{Result, clients, flink, instructions, machine, places, python};

/// Scenarios of `benches/kills`; those without a constant here are in `benches/end_to_end`.
const KILLS: [&str; 2] = ["kills", "soak"];

/// What `benches/instructions.rs` is run for, which needs no services.
const INSTRUCTIONS: &str = "instructions";

/// The scenario of `benches/read_back.rs`, which needs no services.
const READ_BACK: &str = "read-back";

/// The scenario of `benches/watched.rs`, which opens browsers.
const WATCHED: &str = "watched";

/// Runs a scenario; `args` are its own.
pub fn run(args: &[String]) -> Result {
    if args.first().is_some_and(|arg| arg == INSTRUCTIONS) {
        return instructions::run(&args[1..]);
    }
    if args.first().is_some_and(|arg| arg == READ_BACK) {
        machine::provide(&[machine::TO_BUILD])?;
        announce_build()?;
        return run_command(bench("read_back")?.arg("--").args(args));
    }
    let scenario = args.first().map_or("", String::as_str);
    machine::provide(&[
        machine::TO_BUILD,
        machine::TO_RUN_THE_STACK,
        machine::TO_JUDGE,
    ])?;
    let repository = places::repository()?;
    let python = python::environment(&repository, &python::JUDGE)?;
    let browsers = (scenario == WATCHED)
        .then(|| clients::provide(&repository))
        .transpose()?;
    announce_build()?;
    let target = match scenario {
        scenario if KILLS.contains(&scenario) => "kills",
        WATCHED => "watched",
        _ => "end_to_end",
    };
    run_command(bench(target)?.arg("--no-run"))?;
    let mut measure = bench(target)?;
    measure.arg("--").args(args);
    if args.iter().any(|arg| arg.contains("flink")) {
        flink::provide(&mut measure)?;
    }
    if let Some(browsers) = &browsers {
        browsers.give(&mut measure);
    }
    let stack = GuardedStack::up()?;
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
