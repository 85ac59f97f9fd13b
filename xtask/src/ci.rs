//! `cargo xtask ci`: everything that must hold before a change lands.

use crate::cargo::{announce_build, cargo};
use crate::command::{run as run_command, say};
use crate::{Result, instructions, machine, test};

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

    say("tests");
    test::run(&[])
}
