//! The judge, as a part of a report: its verdict is kept even when it is a bad one.

use std::fs;

use serde_json::Value;

use crate::support::{RomanNumerals, program, unique};

/// Differences that are losses, and those that are duplicates, in the judge's words.
const LOSSES: [&str; 3] = [
    "a row is missing",
    "an id is lost",
    "a dead letter is missing",
];
const DUPLICATES: [&str; 3] = [
    "a record landed twice",
    "an id landed twice",
    "a dead letter stands in the table twice",
];

/// What the judge found.
pub struct Verdict {
    /// Its report.
    pub report: Value,
    /// Records that are nowhere.
    pub losses: u64,
    /// Records that are there twice.
    pub duplicates: u64,
    /// What it says is wrong; empty when all is as it must be.
    pub failure: String,
}

/// Has topic, tables and the account that a run printed compared.
pub fn judge(job: &RomanNumerals, printed: &Value, lean: bool) -> Verdict {
    let account = job.path().join(unique("account"));
    fs::write(&account, printed.to_string()).expect("write the account");
    let mode = if lean { "stream" } else { "events" };
    let mut arguments = job.judge_arguments(mode);
    arguments.extend(["--account".to_owned(), account.display().to_string()]);
    verdict(&arguments)
}

/// What the judge finds when it is called like this.
pub fn verdict(arguments: &[String]) -> Verdict {
    let output = program("judge.py")
        .args(arguments)
        .output()
        .expect("run the judge's Python");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("the judge cannot judge: {}\n{stderr}", output.status));
    let count = |kinds: &[&str]| {
        let counted = |kind: &&str| report["differences"][*kind]["count"].as_u64();
        kinds.iter().filter_map(counted).sum()
    };
    Verdict {
        losses: count(&LOSSES),
        duplicates: count(&DUPLICATES),
        failure: if output.status.success() {
            String::new()
        } else {
            stderr
        },
        report,
    }
}
