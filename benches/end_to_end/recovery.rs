//! Recovery: kill -9 of a process that works, under load, until the first snapshot that holds an event sent after
//! that, again and again; and the rows counted afterwards.

use std::time::{Duration, Instant};

use crate::Outcome;
use crate::check;
use crate::engine::{self, Engine, Work, tail};
use crate::options::{EngineKind, Options, Scenario};
use crate::report::{Measurement, Report};
use crate::table::{Seen, View};
use crate::topic::{self, Load, Spread};
use crate::workload::Workload;

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
    let filled = topic::fill(
        servers,
        &name,
        &Workload::Conversions,
        options.ids,
        options.seed,
        Spread::USUAL,
    )?;
    let folder = tempfile::tempdir()?;
    let work = Work {
        workload: Workload::Conversions,
        table: options.table(&Workload::Conversions),
        rest: options.rest.clone(),
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
    let view = wait_for_rows(&mut *engine, &mut seen, filled.ids, FILLING_DEADLINE)?;
    if view.rows() < filled.ids {
        let (landed, logs) = (view.rows(), tail(&engine.logs()));
        return Err(format!("{landed} of {} rows have landed\n{logs}", filled.ids).into());
    }
    eprintln!(
        "{} ids are in the state of {}",
        filled.ids,
        engine::name(kind)
    );
    let load = Load::start(
        servers,
        &name,
        Workload::Conversions.fresh(),
        rate,
        u64::MAX,
    );
    let mut seconds = Vec::new();
    for kill in 1..=options.kills {
        let rest = Instant::now();
        while rest.elapsed() < REST {
            engine.tend()?;
            std::thread::sleep(LOOK_INTERVAL);
        }
        engine.kill_one(kill)?;
        let killed = Instant::now();
        // Every event of the load has an id of its own, and so becomes a row.
        let rows_before = filled.ids + load.sent();
        let took = wait_for_recovery(&mut *engine, &mut seen, rows_before, killed)?;
        eprintln!("kill {kill}: {:.2} s", took.as_secs_f64());
        seconds.push(took.as_secs_f64());
    }
    let produced = load.stop()?;
    let rows = filled.ids + produced;
    let view = wait_for_rows(&mut *engine, &mut seen, rows, RECOVERY_DEADLINE)?;
    engine.stop()?;
    // Counted, not only checked: what an engine loses or doubles under kills is a figure of this scenario.
    let checked = check::count(&view.metadata_file, &Workload::Conversions)?;
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

/// Waits for the first snapshot that holds an event sent after the kill. One that comes earlier only claims the table
/// for a new generation, or was in the making when the process died. Flink's next spare is started only afterwards: a JVM
/// that starts would take processor time from the recovery.
fn wait_for_recovery(
    engine: &mut dyn Engine,
    seen: &mut Seen,
    rows_before: u64,
    killed: Instant,
) -> Outcome<Duration> {
    loop {
        if let Some(view) = seen.look(engine.metadata_file()?)?
            && view.rows() > rows_before
        {
            return Ok(killed.elapsed());
        }
        if killed.elapsed() > RECOVERY_DEADLINE {
            return Err(format!("no new snapshot\n{}", tail(&engine.logs())).into());
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// Waits until the table has so many rows, or for so long; returns it as it is then. Whoever has lost rows never gets
/// there, and that is to be counted.
fn wait_for_rows(
    engine: &mut dyn Engine,
    seen: &mut Seen,
    rows: u64,
    deadline: Duration,
) -> Outcome<View> {
    let began = Instant::now();
    let mut newest = None;
    while began.elapsed() < deadline {
        engine.tend()?;
        if let Some(view) = seen.look(engine.metadata_file()?)? {
            if view.rows() >= rows {
                return Ok(view);
            }
            newest = Some(view);
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    match newest {
        Some(view) => Ok(view),
        // Unchanged since an earlier look.
        None => View::read(&engine.metadata_file()?.ok_or("there is no table")?),
    }
}
