//! Scale: what the same work costs with more workers, processes, partitions and ids. By Strandline alone.
//!
//! | curve | from | to |
//! |---|---|---|
//! | workers of a process | 1 | `--workers` |
//! | processes of one worker | 1 | `--workers` |
//! | partitions, all with events | 1 | 64 |
//! | partitions of which six have events | 6 | 1,000 |
//! | ids | the first of `--ids-curve` | its last; each also rebuilt from the table |
//!
//! All but the last are drains of `--ids` ids.

use std::time::Instant;

use crate::check::Expected;
use crate::drain::{Drained, drain};
use crate::engine::{Engine, Work, tail};
use crate::options::{EngineKind, Options, Scenario};
use crate::report::{Measurement, Report};
use crate::topic::{self, Filled, PARTITIONS, Spread};
use crate::workload::Workload;
use crate::{Outcome, engine};

const LOOK_INTERVAL: std::time::Duration = std::time::Duration::from_millis(5);
/// Partitions with events.
const SPREADS: [i32; 3] = [1, PARTITIONS, 64];
/// Partitions of which most are idle.
const MOSTLY_IDLE: i32 = 1000;

/// Runs all curves.
///
/// # Errors
/// An engine that fails, or whose table is not what it must be.
pub fn run(options: &Options, report: &mut Report) -> Outcome {
    let most = options.workers;
    with_topic(options, options.ids, Spread::USUAL, |filled| {
        for workers in 1..=most {
            report.add(one(options, filled, Spread::USUAL, 1, workers)?.measurement);
        }
        for processes in 2..=most {
            report.add(one(options, filled, Spread::USUAL, processes, 1)?.measurement);
        }
        Ok(())
    })?;
    let spreads = SPREADS.map(|partitions| Spread {
        partitions,
        busy: partitions,
    });
    let mostly_idle = Spread {
        partitions: MOSTLY_IDLE,
        busy: PARTITIONS,
    };
    for spread in spreads.into_iter().chain([mostly_idle]) {
        with_topic(options, options.ids, spread, |filled| {
            report.add(one(options, filled, spread, 1, most)?.measurement);
            Ok(())
        })?;
    }
    for &ids in &options.ids_curve {
        with_topic(options, ids, Spread::USUAL, |filled| {
            let Drained {
                mut measurement,
                mut engine,
                folder,
                ..
            } = one(options, filled, Spread::USUAL, 1, most)?;
            let with_state = restart(&mut *engine)?;
            let state = folder
                .path()
                .join(engine::name(EngineKind::Strandline))
                .join("state");
            std::fs::remove_dir_all(state)?;
            let without_state = restart(&mut *engine)?;
            measurement.add("restart_seconds", with_state);
            measurement.add("restart_without_state_seconds", without_state);
            report.add(measurement);
            Ok(())
        })?;
    }
    Ok(())
}

/// Fills a topic for some work, and deletes it: they take gigabytes.
fn with_topic(
    options: &Options,
    ids: u64,
    spread: Spread,
    work: impl FnOnce(&Filled) -> Outcome,
) -> Outcome {
    let servers = options.service("kafka", "bootstrap_servers")?;
    let name = format!(
        "bench-scale-{}-{ids}-{}",
        std::process::id(),
        spread.partitions
    );
    let filled = topic::fill(
        servers,
        &name,
        &Workload::Conversions,
        ids,
        options.seed,
        spread,
    )?;
    let worked = work(&filled);
    topic::delete(servers, &name)?;
    worked
}

fn one(
    options: &Options,
    filled: &Filled,
    spread: Spread,
    processes: u64,
    workers: u64,
) -> Outcome<Drained> {
    let kind = EngineKind::Strandline;
    let interval_ms = options.intervals_ms.first().copied().unwrap_or(1000);
    let work = Work {
        workload: Workload::Conversions,
        table: options.table(&Workload::Conversions),
        rest: options.rest.clone(),
        topic: filled.topic.clone(),
        folder: std::path::PathBuf::new(),
        interval_ms,
        is_bounded: true,
        processes,
        workers,
        will_be_killed: false,
    };
    let measurement = Measurement::of(Scenario::Scale, kind, 1)
        .parameter("ids", filled.ids)
        .parameter("partitions", spread.partitions as u64)
        .parameter("partitions_with_events", spread.busy as u64)
        .parameter("processes", processes)
        .parameter("workers_each", workers);
    let expected = Expected {
        rows: filled.ids,
        contents: None,
        fingerprint: None,
    };
    drain(options, measurement, kind, work, filled, expected)
}

/// Starts an engine that has nothing left to read; the seconds until it has found that out.
fn restart(engine: &mut dyn Engine) -> Outcome<f64> {
    let began = Instant::now();
    engine.start()?;
    while !engine.is_done()? {
        if began.elapsed() > engine::REBUILD_DEADLINE {
            return Err(format!("no restart\n{}", tail(&engine.logs())).into());
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    let took = began.elapsed().as_secs_f64();
    engine.stop()?;
    Ok(took)
}
