//! Drain: a topic that is there already, read to its end, landed.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::check::{self, Expected};
use crate::engine::{self, Engine, Work, tail};
use crate::options::{EngineKind, Options, Scenario};
use crate::report::{Measurement, Moment, Report};
use crate::table::{Snapshot, View};
use crate::topic::{self, Filled, Spread};
use crate::usage::{Used, Watch, used_so_far};
use crate::workload::Workload;
use crate::{Outcome, machine};

/// Slower than any engine here by far.
const SLOWEST_EVENTS_PER_SECOND: u64 = 20_000;
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Between two points of a course.
const COURSE_INTERVAL: Duration = Duration::from_secs(1);
/// The stretch in which a dip of the rate counts.
const DIP_MS: i64 = 10_000;

/// Runs every engine over the same topic, in turns, with what the scenario's records are.
///
/// # Errors
/// An engine that fails, or whose table is not what it must be.
pub fn run(scenario: Scenario, options: &Options, report: &mut Report) -> Outcome {
    let servers = options.service("kafka", "bootstrap_servers")?;
    let workload = Workload::of(scenario)?;
    let name = format!("bench-{}-{}", workload.job(), std::process::id());
    let filled = topic::fill(
        servers,
        &name,
        &workload,
        options.ids,
        options.seed,
        Spread::USUAL,
    )?;
    // Of the rows of the first engine.
    let mut fingerprint: Option<String> = None;
    for &interval_ms in &options.intervals_ms {
        for round in 1..=options.rounds {
            for &kind in &options.engines {
                let work = Work {
                    workload: workload.clone(),
                    table: options.table(&workload),
                    rest: options.rest.clone(),
                    topic: filled.topic.clone(),
                    folder: PathBuf::new(),
                    interval_ms,
                    is_bounded: true,
                    processes: 1,
                    workers: options.workers,
                    will_be_killed: false,
                };
                let measurement = Measurement::of(scenario, kind, round)
                    .parameter("ids", options.ids)
                    .parameter("interval_ms", interval_ms)
                    .parameter("record_bytes", filled.mean_bytes);
                let expected = Expected {
                    rows: filled.ids,
                    contents: filled.contents.clone(),
                    fingerprint: fingerprint.clone(),
                };
                let drained = drain(options, measurement, kind, work, &filled, expected)?;
                fingerprint.get_or_insert(drained.fingerprint);
                report.add(drained.measurement);
            }
        }
    }
    topic::delete(servers, &name)
}

/// A drain that is done.
pub struct Drained {
    /// What was measured.
    pub measurement: Measurement,
    /// Of the rows.
    pub fingerprint: String,
    /// The engine, stopped, with its table and state.
    pub engine: Box<dyn Engine>,
    /// Holds its folder as long as it lives.
    pub folder: tempfile::TempDir,
}

/// Has an engine read a topic to its end, in a folder of its own, and the table judged.
///
/// # Errors
/// An engine that fails, or whose table is not as expected.
pub fn drain(
    options: &Options,
    measurement: Measurement,
    kind: EngineKind,
    mut work: Work,
    filled: &Filled,
    expected: Expected,
) -> Outcome<Drained> {
    let folder = tempfile::tempdir()?;
    work.folder = folder.path().join(engine::name(kind));
    let workload = work.workload.clone();
    let mut engine = engine::of(kind, options, work)?;
    engine.prepare()?;
    let watch = Watch::start(engine.processes(), options.broker()?);
    engine.start()?;
    // From when the job is accepted: the JVM of Flink's command line is not what is measured.
    let started = Instant::now();
    let deadline = Duration::from_secs(120 + filled.records / SLOWEST_EVENTS_PER_SECOND);
    let mut course: Vec<Moment> = Vec::new();
    while !engine.is_done()? {
        // A launcher starts its processes a moment after itself.
        watch.set(engine.processes());
        let elapsed = started.elapsed();
        if elapsed > deadline {
            return Err(format!("not done after {deadline:?}\n{}", tail(&engine.logs())).into());
        }
        if elapsed >= COURSE_INTERVAL * (course.len() as u32 + 1) {
            course.push(moment(&mut *engine, elapsed)?);
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    let wall = started.elapsed();
    let used = watch.stop();
    let random_read_ns = machine::random_read_ns();
    let file = engine.metadata_file()?.ok_or("there is no table")?;
    let view = View::read(&file)?;
    engine.stop()?;
    let checked = check::table(&view.metadata_file, &workload, expected)?;
    let mut measurement = measurement.checked(&checked).along(course);
    add_usage(&mut measurement, used, filled.records);
    measurement.add(
        "events_per_second",
        filled.records as f64 / wall.as_secs_f64(),
    );
    measurement.add("wall_seconds", wall.as_secs_f64());
    let (bytes, files) = view.size()?;
    measurement.add(
        "table_bytes_per_row",
        bytes as f64 / filled.ids.max(1) as f64,
    );
    measurement.add("files", files as f64);
    measurement.add("random_read_ns_of_the_machine", random_read_ns);
    if let Some(dip) = slowest_stretch(&view.snapshots()) {
        measurement.add("slowest_10s_of_mean", dip);
    }
    Ok(Drained {
        measurement,
        fingerprint: checked.fingerprint,
        engine,
        folder,
    })
}

/// How far an engine is, and what it has used.
fn moment(engine: &mut dyn Engine, elapsed: Duration) -> Outcome<Moment> {
    let (cpu_seconds, rss_bytes) = used_so_far(&engine.processes());
    // A file that is being replaced is read at the next look.
    let view = engine
        .metadata_file()?
        .and_then(|file| View::read(&file).ok());
    Ok(Moment {
        seconds: elapsed.as_secs_f64(),
        rows: view.map_or(0, |view| view.rows()),
        cpu_seconds,
        rss_mib: rss_bytes as f64 / f64::from(1 << 20),
    })
}

/// Adds what processes used for so many events.
pub fn add_usage(measurement: &mut Measurement, used: Used, events: u64) {
    let each = |seconds: f64| seconds * 1e6 / events.max(1) as f64;
    measurement.add("cpu_us_per_event", each(used.cpu_seconds));
    if used.coordinator_cpu_seconds > 0.0 {
        measurement.add(
            "coordinator_cpu_us_per_event",
            each(used.coordinator_cpu_seconds),
        );
    }
    measurement.add(
        "all_processes_cpu_us_per_event",
        each(used.cpu_seconds + used.coordinator_cpu_seconds),
    );
    measurement.add("machine_cpu_us_per_event", each(used.machine_cpu_seconds));
    measurement.add(
        "peak_rss_mib",
        used.peak_rss_bytes as f64 / f64::from(1 << 20),
    );
}

/// The rate of the slowest ten seconds between two commits, as a part of the mean; `None` for runs that are
/// too short to have one.
fn slowest_stretch(snapshots: &[Snapshot]) -> Option<f64> {
    let (first, last) = (snapshots.first()?, snapshots.last()?);
    let whole_ms = last.committed_ms - first.committed_ms;
    if whole_ms < 2 * DIP_MS {
        return None;
    }
    let mean = (last.total_rows - first.total_rows) as f64 / whole_ms as f64;
    let mut slowest = f64::INFINITY;
    for (at, from) in snapshots.iter().enumerate() {
        let to = snapshots[at..]
            .iter()
            .find(|s| s.committed_ms - from.committed_ms >= DIP_MS);
        let Some(to) = to else {
            break;
        };
        let rows = (to.total_rows - from.total_rows) as f64;
        slowest = slowest.min(rows / (to.committed_ms - from.committed_ms) as f64);
    }
    slowest.is_finite().then_some(slowest / mean)
}
