//! `cargo xtask demo`: from a clean clone to a million events in a table.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::cargo::{announce_build, cargo};
use crate::{Result, machine, places};

/// Builds and becomes `strandline demo ARGS`.
pub fn run(args: &[String]) -> Result {
    machine::provide(&[machine::TO_BUILD])?;
    announce_build()?;
    crate::command::run(cargo()?.args(["build", "--release", "--workspace"]))?;
    let binary = places::target()?.join("release/strandline");
    // Replaces this process, so that Ctrl-C and the exit status are the demo's own.
    let error = Command::new(&binary).arg("demo").args(args).exec();
    Err(format!("cannot run `{}`: {error}", binary.display()))
}
