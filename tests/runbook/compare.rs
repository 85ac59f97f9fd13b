//! What a command, or a running job, says of a fault, compared with the runbook.

use std::time::Instant;

use serde_json::Value;

use crate::JOB;
use crate::support::{DEADLINE, Finished, RomanNumerals, assert_named_in_time, named};
use crate::table::{rows, says};

/// Compares what was said of a fault with the runbook; `exit` is `-` of a job that goes on.
#[track_caller]
fn compare(fault: &str, exit: &str, said: &str) {
    let rows = rows();
    let row = rows.iter().find(|row| row.fault == fault);
    let row = row.unwrap_or_else(|| panic!("the runbook has no `{fault}`"));
    eprintln!("{fault}: {said}");
    assert!(
        says(said, &row.message),
        "{fault}: the runbook has\n{}\nand what is said is\n{said}",
        row.message
    );
    assert_eq!(exit, row.exit, "{fault}: {said}");
}

/// Compares how a command ended.
#[track_caller]
pub fn compare_end(fault: &str, finished: &Finished) {
    let exit = finished
        .status
        .code()
        .map_or_else(String::new, |c| c.to_string());
    let said = format!("{}{}", finished.stdout, finished.stderr);
    compare(fault, &exit, &said);
    assert!(said.contains("hint: "), "{fault} has no next step: {said}");
}

/// Waits until the running job names a finding, and compares that.
#[track_caller]
pub fn compare_finding(fault: &str, job: &RomanNumerals, kind: &str) -> Value {
    let found = named(job, kind);
    let said = found["message"].as_str().unwrap_or_default();
    assert_ne!(found["hint"], "", "{fault} has no next step");
    compare(fault, "-", said);
    found
}

/// The same of a fault that was caused at this moment, and is to be named within the time that is promised.
#[track_caller]
pub fn compare_finding_in_time(
    fault: &str,
    job: &RomanNumerals,
    kind: &str,
    caused: Instant,
) -> Value {
    let found = compare_finding(fault, job, kind);
    assert_named_in_time(fault, caused);
    found
}

/// Runs `check` and `run`, which must say the same.
#[track_caller]
pub fn compare_start(fault: &str, job: &RomanNumerals) {
    for command in ["check", "run"] {
        compare_end(fault, &job.run(&[command, JOB], DEADLINE));
    }
}
