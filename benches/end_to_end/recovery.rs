//! Recovery: kill -9 of a process that works, under load, until the first new snapshot, again and again; and
//! the rows judged afterwards.

use std::time::{Duration, Instant};

use crate::Outcome;
use crate::check;
use crate::engine::{self, Engine, Work, tail};
use crate::options::{EngineKind, Options, Scenario};
use crate::report::{Measurement, Report};
use crate::table::Seen;
use crate::topic::{self, Load, Spread};

const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// What was filled in before must have landed within this.
const FILLING_DEADLINE: Duration = Duration::from_secs(1800);
/// The first new snapshot must be there within this.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(300);
/// Undisturbed work before a kill: longer than a spare takes to be there again.
const REST: Duration = Duration::from_secs(10);

/// Runs every engine once.
///
/// # Errors
/// An engine that fails; a row that Strandline lost or doubled.
pub fn run(options: &Options, report: &mut Report) -> Outcome {
    for &kind in &options.engines {
        measure(options, report, kind)?;
    }
    Ok(())
}

fn measure(options: &Options, report: &mut Report, kind: EngineKind) -> Outcome {
    let servers = options.service("kafka", "bootstrap_servers")?;
    let rate = options.rates.first().copied().unwrap_or(5000);
    let interval_ms = options.intervals_ms.first().copied().unwrap_or(1000);
    let name = format!(
        "bench-recovery-{}-{}",
        std::process::id(),
        engine::name(kind)
    );
    let filled = topic::fill(servers, &name, options.ids, options.seed, Spread::USUAL)?;
    let folder = tempfile::tempdir()?;
    let work = Work {
        topic: name.clone(),
        folder: folder.path().join(engine::name(kind)),
        interval_ms,
        is_bounded: false,
        processes: options.workers,
        workers: 1,
        will_be_killed: true,
    };
    let mut engine = engine::of(kind, options, work)?;
    engine.prepare()?;
    engine.start()?;
    let mut seen = Seen::default();
    wait_for_rows(&mut *engine, &mut seen, filled.ids, FILLING_DEADLINE)?;
    eprintln!(
        "{} ids are in the state of {}",
        filled.ids,
        engine::name(kind)
    );
    let load = Load::start(servers, &name, rate, u64::MAX);
    let mut seconds = Vec::new();
    let mut rows = filled.ids;
    for kill in 1..=options.kills {
        let rest = Instant::now();
        while rest.elapsed() < REST {
            engine.tend()?;
            if let Some(view) = seen.look(engine.metadata_file()?)? {
                rows = view.rows();
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        let killed = Instant::now();
        engine.kill_one(kill)?;
        let took = wait_for_recovery(&mut *engine, &mut seen, &mut rows, killed)?;
        eprintln!("kill {kill}: {:.2} s", took.as_secs_f64());
        seconds.push(took.as_secs_f64());
    }
    let produced = load.stop()?;
    let rows = filled.ids + produced;
    let file = wait_for_rows(&mut *engine, &mut seen, rows, RECOVERY_DEADLINE)?;
    engine.stop()?;
    // Counted, not only checked: what an engine loses or doubles under kills is a figure of this scenario.
    let checked = check::count(&file)?;
    let lost = rows.saturating_sub(checked.ids);
    let doubled = checked.rows - checked.ids;
    seconds.sort_by(f64::total_cmp);
    let at = |q: f64| seconds[((seconds.len() - 1) as f64 * q).round() as usize];
    let mut measurement = Measurement::of(Scenario::Recovery, kind, 1)
        .parameter("ids", options.ids)
        .parameter("rate", rate)
        .parameter("interval_ms", interval_ms)
        .checked(&checked);
    measurement.add("kills", seconds.len() as f64);
    measurement.add("p50_seconds", at(0.5));
    measurement.add("worst_seconds", at(1.0));
    measurement.add("lost", lost as f64);
    measurement.add("doubled", doubled as f64);
    report.add(measurement);
    if kind == EngineKind::Strandline && lost + doubled > 0 {
        return Err(format!("{lost} rows are lost and {doubled} doubled: {checked:?}").into());
    }
    topic::delete(servers, &name)
}

/// Waits for the first snapshot with more rows. One that only claims the table for a new generation has none,
/// and one that comes at once was made by the living, not by the recovered.
fn wait_for_recovery(
    engine: &mut dyn Engine,
    seen: &mut Seen,
    rows: &mut u64,
    killed: Instant,
) -> Outcome<Duration> {
    /// Longer than a commit takes that was begun before the kill.
    const IN_FLIGHT: Duration = Duration::from_millis(300);
    loop {
        engine.tend()?;
        if let Some(view) = seen.look(engine.metadata_file()?)? {
            let is_new = view.rows() > *rows && killed.elapsed() > IN_FLIGHT;
            *rows = view.rows();
            if is_new {
                return Ok(killed.elapsed());
            }
        }
        if killed.elapsed() > RECOVERY_DEADLINE {
            return Err(format!("no new snapshot\n{}", tail(&engine.logs())).into());
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// Waits until the table has so many rows; returns its metadata file.
fn wait_for_rows(
    engine: &mut dyn Engine,
    seen: &mut Seen,
    rows: u64,
    deadline: Duration,
) -> Outcome<std::path::PathBuf> {
    let began = Instant::now();
    let mut found = 0;
    loop {
        engine.tend()?;
        if let Some(view) = seen.look(engine.metadata_file()?)? {
            found = view.rows();
            if found >= rows {
                return Ok(view.metadata_file);
            }
        }
        if began.elapsed() > deadline {
            return Err(format!(
                "{found} of {rows} rows have landed\n{}",
                tail(&engine.logs())
            )
            .into());
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}
