//! `cargo xtask ci`: everything that must hold before a change lands.

use std::process::Command;

use crate::cargo::{announce_build, cargo};
use crate::command::{output_of, run as run_command, say};
use crate::{Result, instructions, machine, test};

/// Rounds of changed records for each decoder, which take about two and a half minutes on two cores, changed schemas among them,
/// one in 5 rounds or in 20. The tests have a few thousand.
const FUZZ_ROUNDS: &str = "500000";

/// So many seeds lie between commits a second apart.
const SEEDS_A_SECOND: u64 = 1000;

/// Runs the checks, the cheap ones first, up to the first that fails.
pub fn run() -> Result {
    machine::provide(&[
        machine::TO_BUILD,
        machine::TO_RUN_THE_STACK,
        machine::TO_JUDGE,
    ])?;

    say("format");
    let formatted = |args: &[&str]| {
        run_command(cargo()?.arg("fmt").args(args))
            .map_err(|e| format!("{e}\n  hint: run `cargo fmt`"))
    };
    formatted(&["--all", "--check"])?;
    formatted(&["--manifest-path", test::OWN_JOB, "--check"])?;

    say("clippy");
    announce_build()?;
    let clippy = [
        "clippy",
        "--release",
        "--workspace",
        "--all-targets",
        "--locked",
        "--features",
        "strandline/failpoints",
        "--",
        "-D",
        "warnings",
    ];
    run_command(cargo()?.args(clippy))?;

    say("the build that people run, which has no failpoints");
    let check = ["check", "--release", "--workspace", "--locked"];
    run_command(cargo()?.args(check))?;

    say("docs");
    let docs = ["doc", "--release", "--workspace", "--no-deps", "--locked"];
    run_command(cargo()?.args(docs).env("RUSTDOCFLAGS", "-D warnings"))?;

    say("instructions a record");
    instructions::run(&[])?;

    say("decoders, fed records that are changed at random");
    let fuzz = [
        "test",
        "--release",
        "--locked",
        "--lib",
        "survives_any_change",
    ];
    run_command(
        cargo()?
            .args(fuzz)
            .args(test::packages(&[]))
            .env("STRANDLINE_FUZZ_ROUNDS", FUZZ_ROUNDS)
            .env("STRANDLINE_FUZZ_SEED", fuzz_seed()),
    )?;

    say("tests");
    test::run(&[])
}

/// Where the random changes begin: elsewhere with each commit, and at the same place when it is checked again.
fn fuzz_seed() -> String {
    let committed_at = output_of(Command::new("git").args(["log", "-1", "--format=%ct"]));
    // Without git it is always the same place.
    let seconds = committed_at
        .ok()
        .and_then(|at| at.trim().parse::<u64>().ok());
    (seconds.unwrap_or(0) * SEEDS_A_SECOND).to_string()
}
