//! The judge: a program in Python that shares no code with the engine.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::stack::variable;

/// A program of `tests/judge`, in the Python that it needs.
#[track_caller]
pub fn program(name: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judge");
    let mut command = Command::new(variable("STRANDLINE_PYTHON"));
    command.arg(path.join(name));
    command
}

/// Runs `tests/judge/judge.py ARGS` and returns its report; panics with what the judge finds wrong.
#[track_caller]
pub fn judge(args: &[String]) -> Value {
    judge_in(&[], args)
}

/// The same with further variables in its environment.
#[track_caller]
pub fn judge_in(environment: &[(String, String)], args: &[String]) -> Value {
    let output = program("judge.py")
        .args(args)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .output()
        .expect("run the judge's Python");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "judge.py {}: {}\n{stderr}",
        args.join(" "),
        output.status
    );
    serde_json::from_slice(&output.stdout).expect("the judge's report is JSON")
}
