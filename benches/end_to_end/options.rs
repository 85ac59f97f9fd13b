//! What a run is asked to do.

use std::path::PathBuf;

use serde_json::Value;

use crate::Outcome;
use crate::catalog::RestCatalog;
use crate::workload::Workload;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A topic that is there already, from its beginning to its end.
    Drain,
    /// The same with trades in Avro, kept byte for byte.
    RawAvro,
    /// The same with Debezium's changes in JSON, flattened.
    Debezium,
    /// From the sending of an event to a snapshot that has it.
    Freshness,
    /// The same of the jobs of two exchanges, side by side.
    Crypto,
    /// From kill -9 under load to the first new snapshot.
    Recovery,
    /// Drains with more workers, processes, partitions and ids.
    Scale,
}

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// This engine.
    Strandline,
    /// Apache Flink, tuned.
    Flink,
}

/// The options of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// In this order.
    pub scenarios: Vec<Scenario>,
    /// In this order, taking turns.
    pub engines: Vec<EngineKind>,
    /// Distinct ids of a drain, or in state before the first kill.
    pub ids: u64,
    /// How often each engine does each measurement.
    pub rounds: u64,
    /// Commit or checkpoint intervals of the drains, in milliseconds.
    pub intervals_ms: Vec<u64>,
    /// Events a second, of freshness runs (each) and of the load under kills (the first).
    pub rates: Vec<u64>,
    /// Distinct ids of the drains that show what more of them cost.
    pub ids_curve: Vec<u64>,
    /// Seconds of a freshness run.
    pub seconds: u64,
    /// Kills of a recovery run.
    pub kills: u64,
    /// Workers, or slots.
    pub workers: u64,
    /// Of the events.
    pub seed: u64,
    /// Where both engines have their tables, if not in a catalog of their own kind each.
    pub rest: Option<RestCatalog>,
    /// Lines `KEY: VALUE` for Flink's configuration, stronger than its own of the same key: to try what else
    /// would make it faster.
    pub flink_conf: String,
    /// The running services, as `cargo xtask` describes them.
    pub services: Value,
    /// Where the report goes.
    pub report: PathBuf,
}

/// One in ten events is a copy of another.
pub const DUPLICATES: f64 = 0.10;

impl Options {
    /// Reads the command line.
    ///
    /// # Errors
    /// An option that is none, a value that is none, Flink where only Strandline is measured, or a call past
    /// `cargo xtask`.
    pub fn parse(args: &[String]) -> Outcome<Options> {
        let services =
            std::env::var("STRANDLINE_STACK").map_err(|_| "run through `cargo xtask bench`")?;
        let (scenarios, engines): (&[Scenario], &[EngineKind]) = match args
            .first()
            .map(String::as_str)
        {
            None | Some("drain") => (&[Scenario::Drain], &[EngineKind::Strandline]),
            Some("raw-avro") => (&[Scenario::RawAvro], &[EngineKind::Strandline]),
            Some("debezium") => (&[Scenario::Debezium], &[EngineKind::Strandline]),
            Some("freshness") => (&[Scenario::Freshness], &[EngineKind::Strandline]),
            Some("crypto") => (&[Scenario::Crypto], &[EngineKind::Strandline]),
            Some("recovery") => (&[Scenario::Recovery], &[EngineKind::Strandline]),
            Some("scale") => (&[Scenario::Scale], &[EngineKind::Strandline]),
            Some("flink") => (
                &[
                    Scenario::Drain,
                    Scenario::RawAvro,
                    Scenario::Debezium,
                    Scenario::Freshness,
                    Scenario::Recovery,
                ],
                &[EngineKind::Strandline, EngineKind::Flink],
            ),
            Some(other) => {
                return Err(format!(
                        "there is no benchmark `{other}`: drain, raw-avro, debezium, freshness, crypto, recovery, scale, flink"
                    )
                    .into());
            }
        };
        let both = engines.len() > 1;
        let mut options = Options {
            scenarios: scenarios.to_vec(),
            engines: engines.to_vec(),
            ids: 10_000_000,
            rounds: if both { 3 } else { 1 },
            intervals_ms: if both { vec![1000, 10_000] } else { vec![1000] },
            rates: if both { vec![5000, 50_000] } else { vec![5000] },
            ids_curve: vec![1_000_000, 5_000_000, 10_000_000, 54_000_000],
            seconds: 60,
            kills: 10,
            workers: 2,
            seed: 1,
            rest: None,
            flink_conf: String::new(),
            services: serde_json::from_str(&std::fs::read_to_string(services)?)?,
            report: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/report"),
        };
        let mut args = args.iter().skip(1);
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            let numbers = || -> Outcome<Vec<u64>> {
                let parse = |text: &str| text.replace('_', "").parse::<u64>();
                let numbers: Result<Vec<u64>, _> = value.split(',').map(parse).collect();
                Ok(numbers.map_err(|e| format!("{name} {value}: {e}"))?)
            };
            let number = || -> Outcome<u64> {
                let first = numbers()?.first().copied();
                Ok(first.ok_or_else(|| format!("{name} needs a number"))?)
            };
            match name.as_str() {
                "--ids" => options.ids = number()?.max(1),
                "--rounds" => options.rounds = number()?.max(1),
                "--interval-ms" => options.intervals_ms = numbers()?,
                "--rate" => options.rates = numbers()?,
                "--ids-curve" => options.ids_curve = numbers()?,
                "--seconds" => options.seconds = number()?.max(1),
                "--kills" => options.kills = number()?.max(1),
                "--workers" => options.workers = number()?.max(1),
                "--seed" => options.seed = number()?,
                "--catalog" => options.rest = options.catalog(value)?,
                "--flink-conf" => options.flink_conf = std::fs::read_to_string(value)?,
                "--report" => options.report = PathBuf::from(value),
                "--scenarios" => options.scenarios = named(name, value, scenario)?,
                "--engines" => options.engines = named(name, value, engine)?,
                _ => {
                    return Err(format!(
                        "there is no option `{name}`: --ids, --rounds, --interval-ms, --rate, --ids-curve, --seconds, --kills, --workers, --seed, --catalog, --flink-conf, --report, --scenarios, --engines"
                    )
                    .into());
                }
            }
        }
        let alone = [Scenario::Scale, Scenario::Crypto];
        if options.scenarios.iter().any(|s| alone.contains(s))
            && options.engines.contains(&EngineKind::Flink)
        {
            return Err(
                "`scale` and `crypto` measure Strandline alone: leave `--engines flink` out, or compare both with \
                 `cargo xtask bench flink`"
                    .into(),
            );
        }
        Ok(options)
    }

    /// The broker's process.
    ///
    /// # Errors
    /// It does not run.
    pub fn broker(&self) -> Outcome<u32> {
        let pid = self.services["kafka"]["pid"].as_u64();
        Ok(u32::try_from(pid.ok_or("no broker runs")?)?)
    }

    /// A table for a run: in the one REST catalog a name of its own.
    pub fn table(&self, workload: &Workload) -> String {
        let table = workload.table();
        match self.rest {
            None => table.to_owned(),
            Some(_) => format!("{table}_{:08x}", rand::random::<u32>()),
        }
    }

    fn catalog(&self, kind: &str) -> Outcome<Option<RestCatalog>> {
        match kind {
            "sql" => Ok(None),
            "rest" => Ok(Some(RestCatalog {
                uri: self.service("rest", "uri")?.to_owned(),
                warehouse: self.service("rest", "warehouse")?.to_owned(),
                database: PathBuf::from(self.service("rest", "database")?),
            })),
            _ => Err(format!("--catalog: there is no `{kind}`: sql, rest").into()),
        }
    }

    /// A fact about one of the services.
    ///
    /// # Errors
    /// The service does not run.
    pub fn service(&self, service: &str, key: &str) -> Outcome<&str> {
        let fact = self.services[service][key].as_str();
        Ok(fact.ok_or_else(|| format!("no `{key}` of `{service}`: does it run?"))?)
    }
}

fn named<T>(option: &str, value: &str, of: fn(&str) -> Option<T>) -> Outcome<Vec<T>> {
    let named = value
        .split(',')
        .map(|name| of(name).ok_or_else(|| format!("{option}: there is no `{name}`").into()));
    named.collect()
}

fn scenario(name: &str) -> Option<Scenario> {
    match name {
        "drain" => Some(Scenario::Drain),
        "raw-avro" => Some(Scenario::RawAvro),
        "debezium" => Some(Scenario::Debezium),
        "freshness" => Some(Scenario::Freshness),
        "crypto" => Some(Scenario::Crypto),
        "recovery" => Some(Scenario::Recovery),
        "scale" => Some(Scenario::Scale),
        _ => None,
    }
}

fn engine(name: &str) -> Option<EngineKind> {
    match name {
        "strandline" => Some(EngineKind::Strandline),
        "flink" => Some(EngineKind::Flink),
        _ => None,
    }
}
