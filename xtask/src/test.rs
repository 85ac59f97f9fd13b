//! `cargo xtask test`: every test, against a real broker and a real catalog.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::{announce_build, cargo};
use crate::clients::{self, Clients};
use crate::command::{run as run_command, say};
use crate::stack::guarded::GuardedStack;
use crate::{Result, machine, places, python};

/// The example of a job of one's own. A crate apart from the workspace, as its users' are.
pub const OWN_JOB: &str = "examples/own-job/Cargo.toml";

/// Runs all tests, or those that `args` (of `cargo test`) choose.
pub fn run(args: &[String]) -> Result {
    machine::provide(&[
        machine::TO_BUILD,
        machine::TO_RUN_THE_STACK,
        machine::TO_JUDGE,
        machine::TO_READ_UNITS,
    ])?;
    let repository = places::repository()?;
    let python = python::environment(&repository, &python::JUDGE)?;
    let clients = clients::provide(&repository)?;

    announce_build()?;
    // Built first: neither the broker nor a deadline in a test should compete with the compiler.
    let build = ["test", "--release", "--no-run"];
    run_command(cargo()?.args(build).args(packages(args)).args(args))?;
    if args.is_empty() {
        run_command(cargo()?.args(["test", "--release", "--no-run", "--manifest-path", OWN_JOB]))?;
    }

    let stack = GuardedStack::up()?;
    let tested = run_tests(args, &repository, &python, &clients, &stack.description());
    let downed = stack.down(tested.is_err());
    tested.and(downed)
}

fn run_tests(
    args: &[String],
    repository: &Path,
    python: &Path,
    clients: &Clients,
    stack: &Path,
) -> Result {
    let tests = |args: &[&str]| {
        let mut command = cargo()?;
        command.args(["test", "--release"]).args(args);
        clients.give(&mut command);
        with_stack(command, python, stack)
    };
    if !args.is_empty() {
        return run_command(tests(packages(args))?.args(args));
    }

    // All of them, whatever fails, so that one run says everything.
    let mut failed: Vec<String> = Vec::new();
    let mut note = |done: Result| failed.extend(done.err());
    say("the judge judges itself");
    let mut judge = Command::new(python);
    judge.arg(repository.join("tests/judge/self_test.py"));
    note(run_command(&mut with_stack(judge, python, stack)?));
    say("the workspace's tests");
    let workspace = [packages(&[]), &["--no-fail-fast"]].concat();
    note(run_command(&mut tests(&workspace)?));
    say("a job of one's own");
    note(run_command(&mut tests(&["--manifest-path", OWN_JOB])?));
    if failed.is_empty() {
        Ok(())
    } else {
        Err(failed.join("\n       "))
    }
}

/// The whole workspace, unless the arguments choose packages themselves.
/// With failpoints, which do nothing unless a test asks for it.
pub fn packages(args: &[String]) -> &'static [&'static str] {
    let choose = |arg: &String| {
        let long = ["--package", "--manifest-path"];
        arg.starts_with("-p") || long.iter().any(|option| arg.starts_with(option))
    };
    if args.iter().any(choose) {
        &[]
    } else {
        &["--workspace", "--features", "strandline/failpoints"]
    }
}

/// What tests find the real services by.
pub fn with_stack(mut command: Command, python: &Path, stack: &Path) -> Result<Command> {
    let xtask: PathBuf =
        std::env::current_exe().map_err(|e| format!("cannot tell this program's path: {e}"))?;
    command
        .env("STRANDLINE_STACK", stack)
        .env("STRANDLINE_PYTHON", python)
        .env("STRANDLINE_XTASK", xtask);
    Ok(command)
}
