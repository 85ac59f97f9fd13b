//! What a run has seen, as text and as JSON.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::schedule::Fault;
use crate::support::Finished;

/// Characters of an error that are kept.
const MESSAGE_CHARS: usize = 300;

/// A fault, and the first commit after it.
#[derive(Clone, Copy, Debug)]
pub struct Recovery {
    /// What happened.
    pub fault: Fault,
    /// From when it is counted.
    pub at: SystemTime,
    /// When a reader saw the first commit.
    pub committed_at: SystemTime,
    /// How long that took.
    pub took: Duration,
}

/// Everything that is counted while faults happen.
pub struct Tally {
    started: Instant,
    /// kill -9, by whom it hit.
    pub kills: BTreeMap<&'static str, u64>,
    /// Faults done, by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// Faults not done, and why.
    pub skipped: BTreeMap<&'static str, String>,
    /// Every recovery.
    pub recoveries: Vec<Recovery>,
    /// Exit statuses of `launch` and `run`.
    exits: BTreeMap<String, u64>,
    /// What they said when they failed, digits and names taken out.
    messages: BTreeMap<String, u64>,
    /// Logs of everything that has ended, for the phases of recoveries.
    pub logs: Vec<String>,
    /// What should not have happened.
    pub findings: Vec<String>,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Tally {
        Tally {
            started: Instant::now(),
            kills: BTreeMap::new(),
            faults: BTreeMap::new(),
            skipped: BTreeMap::new(),
            recoveries: Vec::new(),
            exits: BTreeMap::new(),
            messages: BTreeMap::new(),
            logs: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// Counts a kill -9.
    pub fn killed(&mut self, whom: &'static str) {
        *self.kills.entry(whom).or_default() += 1;
    }

    /// Something that should not have happened; the run goes on, and fails at its end.
    pub fn find(&mut self, what: String) {
        self.say(&format!("FOUND: {what}"));
        self.findings.push(what);
    }

    /// Tells who watches.
    pub fn say(&self, what: &str) {
        eprintln!("[{:7.1} s] {what}", self.started.elapsed().as_secs_f64());
    }

    /// Takes in how a program ended.
    pub fn ended(&mut self, finished: &Finished) {
        let command = finished.line.split_whitespace().nth(1).unwrap_or("");
        *self
            .exits
            .entry(format!("{command}: {}", finished.status))
            .or_default() += 1;
        let mut lines = finished.stderr.lines().peekable();
        while let Some(line) = lines.next() {
            if !line.starts_with("error: ") {
                continue;
            }
            let mut message = line.to_owned();
            while let Some(more) = lines.next_if(|line| line.starts_with("  ")) {
                message.push(' ');
                message.push_str(more.trim());
            }
            *self.messages.entry(normal(&message)).or_default() += 1;
        }
        self.logs.push(finished.stderr.clone());
    }

    /// Everything as JSON, with what the run adds: the judge's part, the phases.
    pub fn json(&self, more: Value) -> Value {
        let mut by_fault: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for recovery in &self.recoveries {
            let seconds = by_fault.entry(recovery.fault.name()).or_default();
            seconds.push(recovery.took.as_secs_f64());
        }
        let recoveries: BTreeMap<&str, Value> = by_fault
            .into_iter()
            .map(|(fault, seconds)| (fault, quantiles(seconds)))
            .collect();
        let of_processes = self.recoveries.iter().filter(|r| is_of_processes(r.fault));
        let of_processes = quantiles(of_processes.map(|r| r.took.as_secs_f64()).collect());
        let mut all = json!({
            "faults": self.faults,
            "kills": {"total": self.kills.values().sum::<u64>(), "by": self.kills},
            "skipped": self.skipped,
            "recovery_seconds": {"processes_killed": of_processes, "by_fault": recoveries},
            "exits": self.exits,
            "messages": self.messages,
            "findings": self.findings,
            "wall_seconds": self.started.elapsed().as_secs_f64(),
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        all
    }
}

/// Faults after which only the job has to come back, nothing that it needs.
fn is_of_processes(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::KillOne | Fault::KillAll | Fault::KillLauncher | Fault::KillAgain
    )
}

/// p50, p99, the worst, and of how many; seconds to the millisecond.
pub fn quantiles(mut values: Vec<f64>) -> Value {
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else {
        return Value::Null;
    };
    let at = |q: f64| {
        let value = values[(last as f64 * q).round() as usize];
        (value * 1000.0).round() / 1000.0
    };
    json!({"count": values.len(), "p50": at(0.5), "p99": at(0.99), "worst": at(1.0)})
}

/// A message without what differs from one time to the next.
fn normal(message: &str) -> String {
    let mut text = String::new();
    let mut digits = false;
    for c in message.chars() {
        // Hexadecimal names count as digits once they have begun with one.
        let is_digit = c.is_ascii_digit() || (digits && c.is_ascii_hexdigit());
        if is_digit && !digits {
            text.push('#');
        } else if !is_digit {
            text.push(c);
        }
        digits = is_digit;
    }
    text.chars().take(MESSAGE_CHARS).collect()
}

/// Prints the report, and writes it as JSON to `to`.
pub fn publish(report: &Value, to: &Path) {
    print(report);
    let text = serde_json::to_string_pretty(report).expect("JSON");
    std::fs::write(to, text).expect("write the report");
    println!("  written to {}", to.display());
}

/// The report for people.
fn print(report: &Value) {
    println!(
        "{}, seed {}, {} events a second",
        report["engine"].as_str().unwrap_or_default(),
        report["seed"],
        report["rate"]
    );
    for part in [
        "versions",
        "faults",
        "kills",
        "skipped",
        "restarts",
        "commits",
        "produced",
        "account",
        "counted",
        "losses",
        "duplicates",
        "differences",
        "recovery_seconds",
        "recovery_phases_ms",
        "read_back",
        "exits",
        "messages",
        "findings",
        "judge_seconds",
        "wall_seconds",
    ] {
        print_part(part, &report[part], 0);
    }
}

fn print_part(name: &str, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth + 1);
    match value {
        Value::Object(parts) if parts.values().any(Value::is_object) => {
            println!("{indent}{name}");
            for (name, part) in parts {
                print_part(name, part, depth + 1);
            }
        }
        Value::Object(parts) if name == "messages" || name == "exits" => {
            println!("{indent}{name}");
            for (text, count) in parts {
                println!("{indent}  {count:>5} x {text}");
            }
        }
        Value::Object(parts) => {
            let parts: Vec<String> = parts.iter().map(|(k, v)| format!("{k} {v}")).collect();
            println!("{indent}{name:<20} {}", parts.join(", "));
        }
        Value::Null => {}
        value => println!("{indent}{name:<20} {value}"),
    }
}
