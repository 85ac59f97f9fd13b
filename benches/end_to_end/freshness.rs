//! Freshness: from the sending of an event to the moment at which a reader first sees a snapshot that has it.

use std::time::{Duration, Instant};

use crate::Outcome;
use crate::check::{self, Expected};
use crate::drain::add_usage;
use crate::engine::{self, Engine, Work, tail};
use crate::options::{EngineKind, Options, Scenario};
use crate::report::{Measurement, Report};
use crate::table::{Seen, View};
use crate::topic::{self, Load};
use crate::usage::Watch;
use crate::workload::Workload;

/// How often a reader looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Sent and landed before the measured events, so that start-up is no part of them.
const WARM_UP_SECONDS: u64 = 15;
/// What was sent must have landed within this.
const LANDING_DEADLINE: Duration = Duration::from_secs(120);

/// Runs every engine at every rate, in turns.
///
/// # Errors
/// An engine that fails, or whose table is not what it must be.
pub fn run(options: &Options, report: &mut Report) -> Outcome {
    for &rate in &options.rates {
        for round in 1..=options.rounds {
            for &kind in &options.engines {
                measure(options, report, kind, rate, round)?;
            }
        }
    }
    Ok(())
}

fn measure(
    options: &Options,
    report: &mut Report,
    kind: EngineKind,
    rate: u64,
    round: u64,
) -> Outcome {
    let servers = options.service("kafka", "bootstrap_servers")?;
    let topic = format!(
        "bench-freshness-{}-{}-{rate}-{round}",
        std::process::id(),
        engine::name(kind)
    );
    topic::create(servers, &topic, topic::PARTITIONS)?;
    let folder = tempfile::tempdir()?;
    let interval_ms = options.intervals_ms.first().copied().unwrap_or(1000);
    let work = Work {
        workload: Workload::Conversions,
        topic: topic.clone(),
        folder: folder.path().join(engine::name(kind)),
        interval_ms,
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
    let load = Load::start(servers, &topic, rate, all);
    let mut seen = Seen::default();
    let mut watch = None;
    let mut counted_from = 0;
    let began = Instant::now();
    let view = loop {
        if watch.is_none() && began.elapsed() >= Duration::from_secs(WARM_UP_SECONDS) {
            watch = Some(Watch::start(engine.processes(), options.broker()?));
            counted_from = load.sent();
        }
        let changed = seen.look(engine.metadata_file()?)?;
        if let Some(view) = changed.filter(|view| view.rows() >= all) {
            break view;
        }
        engine.tend()?;
        if began.elapsed() > LANDING_DEADLINE + Duration::from_secs(all / rate.max(1)) {
            return Err(format!("not all has landed\n{}", tail(&engine.logs())).into());
        }
        std::thread::sleep(LOOK_INTERVAL);
    };
    let produced = load.wait()?;
    let used = watch.map(Watch::stop).unwrap_or_default();
    engine.stop()?;
    let expected = Expected {
        rows: produced,
        contents: None,
        fingerprint: None,
    };
    let checked = check::table(&view.metadata_file, &Workload::Conversions, expected)?;
    // What was sent last: the warm-up is left out by its place in the order of time.
    let latencies = measured_latencies(&mut *engine, &view, &seen, measured)?;
    let at = |q: f64| latencies[((latencies.len() - 1) as f64 * q) as usize];
    let mut measurement = Measurement::of(Scenario::Freshness, kind, round)
        .parameter("rate", rate)
        .parameter("interval_ms", interval_ms)
        .checked(&checked);
    for (name, q) in [
        ("p50_ms", 0.5),
        ("p99_ms", 0.99),
        ("p999_ms", 0.999),
        ("max_ms", 1.0),
    ] {
        measurement.add(name, at(q));
    }
    add_usage(
        &mut measurement,
        used,
        produced.saturating_sub(counted_from),
    );
    measurement.add("snapshots", seen.at.len() as f64);
    report.add(measurement);
    topic::delete(servers, &topic)
}

/// Sorted milliseconds of the events that were sent last.
fn measured_latencies(
    engine: &mut dyn Engine,
    view: &View,
    seen: &Seen,
    measured: u64,
) -> Outcome<Vec<f64>> {
    let mut latencies = view.latencies_ms(&seen.at, measured)?;
    latencies.sort_by(f64::total_cmp);
    if latencies.len() as u64 != measured {
        return Err(format!(
            "{measured} events were measured, {} have a snapshot\n{}",
            latencies.len(),
            tail(&engine.logs())
        )
        .into());
    }
    Ok(latencies)
}
