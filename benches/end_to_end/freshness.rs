//! Freshness: from the sending of an event to the moment at which a reader first sees a snapshot that has it. The events
//! of one job, or of several jobs that run side by side.

use std::time::{Duration, Instant};

use crate::Outcome;
use crate::check::{self, Expected};
use crate::drain::add_usage;
use crate::engine::{self, Engine, Work, tail};
use crate::options::{EngineKind, Options, Scenario};
use crate::report::{Measurement, Report};
use crate::table::{Seen, View};
use crate::topic::{self, Load};
use crate::usage::{Processes, Watch};
use crate::workload::Workload;

/// How often a reader looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Sent and landed before the measured events, so that start-up is no part of them: of the engine, and of a broker whose
/// code is still being compiled (for half a minute that takes a third of a core).
const WARM_UP_SECONDS: u64 = 30;
/// What was sent must have landed within this.
const LANDING_DEADLINE: Duration = Duration::from_secs(120);
/// Messages a second of a crypto data platform's two exchanges.
const CRYPTO_RATES: [u64; 2] = [10_000, 500];

/// Runs every engine at every rate, in turns.
///
/// # Errors
/// An engine that fails, or whose table is not what it must be.
pub fn run(options: &Options, report: &mut Report) -> Outcome {
    for &rate in &options.rates {
        for round in 1..=options.rounds {
            for &kind in &options.engines {
                let feeds = [(Workload::Conversions, rate)];
                measure(options, report, (Scenario::Freshness, kind, round), &feeds)?;
            }
        }
    }
    Ok(())
}

/// Runs the jobs of both exchanges side by side, each at its rate.
///
/// # Errors
/// As [`run`].
pub fn run_crypto(options: &Options, report: &mut Report) -> Outcome {
    let feeds: Vec<(Workload, u64)> = Workload::of_exchanges()?
        .into_iter()
        .zip(CRYPTO_RATES)
        .collect();
    for round in 1..=options.rounds {
        for &kind in &options.engines {
            measure(options, report, (Scenario::Crypto, kind, round), &feeds)?;
        }
    }
    Ok(())
}

/// A job, its events, and what a reader saw of its table.
struct Feed {
    workload: Workload,
    topic: String,
    measured: u64,
    all: u64,
    engine: Box<dyn Engine>,
    load: Load,
    seen: Seen,
    landed: Option<View>,
}

impl Feed {
    fn start(
        options: &Options,
        kind: EngineKind,
        folder: &std::path::Path,
        number: usize,
        (workload, rate): &(Workload, u64),
    ) -> Outcome<Feed> {
        let servers = options.service("kafka", "bootstrap_servers")?;
        let topic = format!(
            "bench-freshness-{}-{}-{number}-{rate}-{}",
            std::process::id(),
            engine::name(kind),
            folder.file_name().unwrap_or_default().to_string_lossy()
        );
        topic::create(servers, &topic, topic::PARTITIONS)?;
        let work = Work {
            workload: workload.clone(),
            table: options.table(workload),
            rest: options.rest.clone(),
            topic: topic.clone(),
            folder: folder.join(format!("{}-{number}", engine::name(kind))),
            interval_ms: interval_ms(options),
            is_bounded: false,
            processes: 1,
            workers: options.workers,
            will_be_killed: false,
        };
        let mut engine = engine::of(kind, options, work)?;
        engine.prepare()?;
        engine.start()?;
        let measured = rate * options.seconds;
        let all = measured + rate * WARM_UP_SECONDS;
        let load = Load::start(servers, &topic, workload.fresh(), *rate, all);
        Ok(Feed {
            workload: workload.clone(),
            topic,
            measured,
            all,
            engine,
            load,
            seen: Seen::default(),
            landed: None,
        })
    }

    /// Looks at the table.
    fn look(&mut self) -> Outcome {
        if self.landed.is_none() {
            let changed = self.seen.look(self.engine.metadata_file()?)?;
            self.landed = changed.filter(|view| view.rows() >= self.all);
            self.engine.tend()?;
        }
        Ok(())
    }

    /// Ends it; its latencies in milliseconds, and what a judge found in its table.
    fn end(mut self, options: &Options) -> Outcome<(Vec<f64>, check::Checked)> {
        let view = self.landed.take().ok_or("not all has landed")?;
        let rows = self.load.wait()?;
        self.engine.stop()?;
        let expected = Expected {
            rows,
            contents: None,
            fingerprint: None,
        };
        let checked = check::table(&view.metadata_file, &self.workload, expected)?;
        // What was sent last: the warm-up is left out by its place in the order of time.
        let latencies = view.latencies_ms(&self.seen.at, self.measured)?;
        if latencies.len() as u64 != self.measured {
            return Err(format!(
                "{} events were measured, {} have a snapshot\n{}",
                self.measured,
                latencies.len(),
                tail(&self.engine.logs())
            )
            .into());
        }
        topic::delete(options.service("kafka", "bootstrap_servers")?, &self.topic)?;
        Ok((latencies, checked))
    }
}

fn interval_ms(options: &Options) -> u64 {
    options.intervals_ms.first().copied().unwrap_or(1000)
}

fn measure(
    options: &Options,
    report: &mut Report,
    (scenario, kind, round): (Scenario, EngineKind, u64),
    feeds: &[(Workload, u64)],
) -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut running = Vec::new();
    for (number, feed) in feeds.iter().enumerate() {
        running.push(Feed::start(options, kind, folder.path(), number, feed)?);
    }
    let rate: u64 = feeds.iter().map(|(_, rate)| rate).sum();
    let deadline = LANDING_DEADLINE + Duration::from_secs(options.seconds + WARM_UP_SECONDS);
    let began = Instant::now();
    let sent = |running: &[Feed]| running.iter().map(|feed| feed.load.sent()).sum::<u64>();
    let mut watch = None;
    while running.iter().any(|feed| feed.landed.is_none()) {
        if watch.is_none() && began.elapsed() >= Duration::from_secs(WARM_UP_SECONDS) {
            let mut processes = Processes::default();
            for feed in &mut running {
                let of = feed.engine.processes();
                processes.workers.extend(of.workers);
                processes.coordinators.extend(of.coordinators);
            }
            let watching = Watch::start(processes, options.broker()?);
            watch = Some((watching, sent(&running), Instant::now()));
        }
        for feed in &mut running {
            feed.look()?;
        }
        if began.elapsed() > deadline {
            let logs: Vec<String> = running
                .iter()
                .map(|feed| tail(&feed.engine.logs()))
                .collect();
            return Err(format!("not all has landed\n{}", logs.join("\n")).into());
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    let (watch, counted_from, since) = watch.ok_or("all has landed before it was measured")?;
    let (events, seconds) = (sent(&running) - counted_from, since.elapsed().as_secs_f64());
    let used = watch.stop();
    let mut measurement = Measurement::of(scenario, kind, round)
        .parameter("rate", rate)
        .parameter("interval_ms", interval_ms(options));
    measurement.add(
        "cores",
        (used.cpu_seconds + used.coordinator_cpu_seconds) / seconds,
    );
    add_usage(&mut measurement, used, events);
    let snapshots: usize = running.iter().map(|feed| feed.seen.at.len()).sum();
    measurement.add("snapshots", snapshots as f64);
    let mut latencies = Vec::new();
    for feed in running {
        let (of_feed, checked) = feed.end(options)?;
        latencies.extend(of_feed);
        measurement = measurement.checked(&checked);
    }
    latencies.sort_by(f64::total_cmp);
    let at = |q: f64| latencies[((latencies.len() - 1) as f64 * q) as usize];
    for (name, q) in [
        ("p50_ms", 0.5),
        ("p99_ms", 0.99),
        ("p999_ms", 0.999),
        ("max_ms", 1.0),
    ] {
        measurement.add(name, at(q));
    }
    report.add(measurement);
    Ok(())
}
