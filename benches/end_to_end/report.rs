//! What was measured: for the terminal, as JSON, and as a page.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};

use crate::check::Checked;
use crate::engine;
use crate::options::{EngineKind, Options, Scenario};
use crate::{Outcome, machine, page};

/// One engine, one scenario, one time.
#[derive(Clone, Debug)]
pub struct Measurement {
    scenario: Scenario,
    engine: EngineKind,
    round: u64,
    parameters: BTreeMap<&'static str, u64>,
    figures: BTreeMap<&'static str, f64>,
    course: Vec<Moment>,
    rows: u64,
    late: u64,
}

/// How far an engine was at one moment, and what it had used.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Moment {
    /// Since the job was accepted.
    pub seconds: f64,
    /// Rows in the table.
    pub rows: u64,
    /// By all its processes.
    pub cpu_seconds: f64,
    /// Of all its processes.
    pub rss_mib: f64,
}

impl Measurement {
    /// Nothing measured yet.
    pub fn of(scenario: Scenario, engine: EngineKind, round: u64) -> Measurement {
        Measurement {
            scenario,
            engine,
            round,
            parameters: BTreeMap::new(),
            figures: BTreeMap::new(),
            course: Vec::new(),
            rows: 0,
            late: 0,
        }
    }

    /// What was asked for.
    #[must_use]
    pub fn parameter(mut self, name: &'static str, value: u64) -> Measurement {
        self.parameters.insert(name, value);
        self
    }

    /// What the judge found.
    #[must_use]
    pub fn checked(mut self, checked: &Checked) -> Measurement {
        (self.rows, self.late) = (checked.rows, checked.late);
        self
    }

    /// What was seen on the way.
    #[must_use]
    pub fn along(mut self, course: Vec<Moment>) -> Measurement {
        self.course = course;
        self
    }

    /// A figure; its unit stands in its name.
    pub fn add(&mut self, name: &'static str, value: f64) {
        self.figures.insert(name, value);
    }

    fn json(&self) -> Value {
        json!({
            "scenario": scenario_name(self.scenario),
            "engine": engine::name(self.engine),
            "round": self.round,
            "parameters": self.parameters,
            "figures": self.figures,
            "course": self.course,
            "checked": {"rows": self.rows, "late": self.late},
        })
    }
}

fn scenario_name(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::Drain => "drain",
        Scenario::RawAvro => "raw-avro",
        Scenario::Debezium => "debezium",
        Scenario::Freshness => "freshness",
        Scenario::Crypto => "crypto",
        Scenario::Recovery => "recovery",
        Scenario::Scale => "scale",
    }
}

/// Everything measured in one run.
pub struct Report {
    folder: PathBuf,
    facts: Value,
    measurements: Vec<Measurement>,
}

impl Report {
    /// An empty one, which knows the machine.
    ///
    /// # Errors
    /// Linux does not tell about the machine.
    pub fn begin(options: &Options) -> Outcome<Report> {
        let command_line: Vec<String> = std::env::args()
            .skip(1)
            .filter(|a| a != "--bench")
            .collect();
        let facts = json!({
            "date": chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            "command": format!("cargo xtask bench {}", command_line.join(" ")),
            "machine": machine::facts()?,
            "versions": {
                "strandline": env!("CARGO_PKG_VERSION"),
                "commit": machine::commit(),
                "flink": std::env::var("STRANDLINE_FLINK_VERSIONS").unwrap_or_default(),
                "kafka": options.service("kafka", "lib").map(file_before_lib).unwrap_or_default(),
            },
        });
        Ok(Report {
            folder: options.report.clone(),
            facts,
            measurements: Vec::new(),
        })
    }

    /// Takes a measurement in, and tells who watches.
    pub fn add(&mut self, measurement: Measurement) {
        let figures: Vec<String> = measurement
            .figures
            .iter()
            .map(|(name, value)| format!("{name} {}", shown(*value)))
            .collect();
        eprintln!(
            "{} {:?} {} round {}: {}; {} rows",
            scenario_name(measurement.scenario),
            measurement.parameters,
            engine::name(measurement.engine),
            measurement.round,
            figures.join(", "),
            measurement.rows
        );
        self.measurements.push(measurement);
    }

    /// Writes `report.json` and `index.html`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self) -> Outcome {
        std::fs::create_dir_all(&self.folder)?;
        let report = self.json();
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(self.folder.join("report.json"), format!("{text}\n"))?;
        std::fs::write(self.folder.join("index.html"), page::of(&report))?;
        Ok(())
    }

    fn json(&self) -> Value {
        let measurements: Vec<Value> = self.measurements.iter().map(Measurement::json).collect();
        json!({
            "facts": self.facts,
            "comparison": self.comparison(),
            "measurements": measurements,
        })
    }

    /// The median of each figure by engine, and Flink's as a multiple of ours where both were measured.
    fn comparison(&self) -> Vec<Value> {
        let mut groups: Vec<(String, Vec<&Measurement>)> = Vec::new();
        for measurement in &self.measurements {
            let parameters: Vec<String> = measurement
                .parameters
                .iter()
                .map(|(name, value)| format!("{name} {value}"))
                .collect();
            let title = format!(
                "{}: {}",
                scenario_name(measurement.scenario),
                parameters.join(", ")
            );
            match groups.iter_mut().find(|(known, _)| *known == title) {
                Some((_, group)) => group.push(measurement),
                None => groups.push((title, vec![measurement])),
            }
        }
        let compare = |(title, group): (String, Vec<&Measurement>)| {
            let mut names: Vec<&str> = group
                .iter()
                .flat_map(|m| m.figures.keys().copied())
                .collect();
            names.sort_unstable();
            names.dedup();
            let median = |kind: EngineKind, name: &str| {
                let of = group.iter().filter(|m| m.engine == kind);
                median(of.filter_map(|m| m.figures.get(name).copied()).collect())
            };
            let figures: BTreeMap<&str, Value> = names
                .into_iter()
                .map(|name| {
                    let ours = median(EngineKind::Strandline, name);
                    let theirs = median(EngineKind::Flink, name);
                    let ratio = ours.zip(theirs).map(|(ours, theirs)| theirs / ours);
                    (
                        name,
                        json!({"strandline": ours, "flink": theirs, "flink_to_strandline": ratio}),
                    )
                })
                .collect();
            json!({"title": title, "rounds": group.len(), "figures": figures})
        };
        groups.into_iter().map(compare).collect()
    }

    /// The table for the terminal.
    pub fn print(&self) {
        for group in self.comparison() {
            println!("{}", group["title"].as_str().unwrap_or_default());
            println!(
                "  {:<32}{:>14}{:>14}{:>10}",
                "median", "strandline", "flink", "ratio"
            );
            for (name, figure) in group["figures"].as_object().into_iter().flatten() {
                let cell = |key: &str| figure[key].as_f64().map_or_else(String::new, shown);
                println!(
                    "  {name:<32}{:>14}{:>14}{:>10}",
                    cell("strandline"),
                    cell("flink"),
                    cell("flink_to_strandline")
                );
            }
        }
        println!("written to {}", self.folder.display());
    }
}

/// A number as people read it.
pub fn shown(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 100.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// `kafka-4.3.1` of `.../kafka-4.3.1/lib`.
fn file_before_lib(lib: &str) -> String {
    let folder = std::path::Path::new(lib).parent();
    let name = folder.and_then(|folder| folder.file_name());
    name.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
