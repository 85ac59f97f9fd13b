//! What a recovery consists of, as the logs of the processes tell it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::report::{Tally, quantiles};
use super::schedule::Fault;

/// Lines of the log that end a phase: the phase's name, and what the message has in it.
const PHASES: [(&str, &str); 4] = [
    ("1 found by the launcher", "trying again from the table"),
    ("2 started, met, claimed", "claimed"),
    ("3 state complete", "deduplication state is complete"),
    ("4 all are ready", "reading begins"),
];

/// One line of a log.
struct Line {
    at: SystemTime,
    value: Value,
}

/// For recoveries from the death of one process: how long each phase took, in milliseconds.
pub fn of_recoveries(tally: &Tally) -> Value {
    let lines = lines(tally);
    let mut phases: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for recovery in &tally.recoveries {
        if recovery.fault != Fault::KillOne {
            continue;
        }
        let from = lines.partition_point(|line| line.at < recovery.at);
        let to = lines.partition_point(|line| line.at < recovery.committed_at);
        let within = &lines[from..to.max(from)];
        // The last of them: the state is complete when the last worker's is.
        let ends: Vec<Option<SystemTime>> = PHASES
            .iter()
            .map(|(_, words)| {
                let mut found = within.iter().rev();
                found
                    .find(|line| message(line).contains(words))
                    .map(|line| line.at)
            })
            .collect();
        if ends.iter().any(Option::is_none) {
            continue;
        }
        let mut before = recovery.at;
        for (&(name, _), end) in PHASES.iter().zip(ends) {
            let end = end.unwrap_or(before);
            phases.entry(name).or_default().push(millis(before, end));
            before = end;
        }
        phases
            .entry("5 first commit seen")
            .or_default()
            .push(millis(before, recovery.committed_at));
    }
    phases
        .into_iter()
        .map(|(name, values)| (name.to_owned(), quantiles(values)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The fastest reading back of ids that any worker logged, where it read a good number of them.
pub fn read_back(tally: &Tally) -> Value {
    const ENOUGH: u64 = 100_000;
    let lines = lines(tally);
    let rates: Vec<f64> = lines
        .iter()
        .filter(|line| line.value["read_back"].as_u64().unwrap_or(0) >= ENOUGH)
        .filter_map(|line| line.value["read_back_per_second"].as_f64())
        .collect();
    if rates.is_empty() {
        return Value::Null;
    }
    json!({"ids_per_second_and_worker": quantiles(rates)})
}

fn millis(from: SystemTime, to: SystemTime) -> f64 {
    let took = to.duration_since(from).unwrap_or(Duration::ZERO);
    took.as_secs_f64() * 1000.0
}

fn message(line: &Line) -> &str {
    line.value["message"].as_str().unwrap_or("")
}

/// The lines of all logs, in the order of their time.
fn lines(tally: &Tally) -> Vec<Line> {
    let all = tally.logs.iter().flat_map(|log| log.lines());
    let mut lines: Vec<Line> = all.filter_map(line).collect();
    lines.sort_by_key(|line| line.at);
    lines
}

fn line(text: &str) -> Option<Line> {
    let value: Value = serde_json::from_str(text).ok()?;
    let at = chrono::DateTime::parse_from_rfc3339(value["timestamp"].as_str()?).ok()?;
    Some(Line {
        at: at.into(),
        value,
    })
}
