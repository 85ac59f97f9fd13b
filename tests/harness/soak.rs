//! A long quiet run: does memory grow?

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use strandline::generator::GeneratorConfig;

use super::cluster::{Cluster, JOB};
use super::load::Load;
use super::options::Options;
use super::processes::resident_bytes;
use super::report::Tally;
use super::schedule::{Mode, Shape};
use crate::support::{Catalog, OwnStack, RomanNumerals};

/// How often memory is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// The part of the run that is not judged. Up to its half the state grows to the ids of a TTL. They expire in slabs of a fifth of
/// the TTL, so the first of them go at six tenths of the run, with a peak, and then caches and pools have seen everything.
const WARM_UP: f64 = 0.65;
/// A reader catches up within this.
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(3600);

/// Runs the job for `--minutes` at `--rate`, and prints how resident memory moved.
pub fn soak(options: &Options, to: &Path) {
    let stack = OwnStack::given();
    let settings = format!("commit: {{ interval: {}ms }}", options.interval_ms);
    let job = RomanNumerals::on(&stack.description(), Catalog::Rest, 6, &settings);
    let events = (options.minutes * 60.0 * options.rate as f64) as u64;
    // A TTL's ids are reached half way: what follows must not grow.
    let config = GeneratorConfig {
        seed: options.seed,
        events: events.max(1),
        ..GeneratorConfig::default()
    }
    .within(48 * 3600);
    let config = GeneratorConfig {
        events: u64::MAX,
        ..config
    };
    let shape = Shape {
        mode: Mode::Separate,
        processes: 1,
        workers: 2,
    };
    let mut tally = Tally::new();
    let load = Load::start(&job.topic, config, 0);
    load.go_on(options.rate);
    let cluster = Cluster::start(job.path(), shape);
    let mut samples: Vec<(f64, f64)> = Vec::new();
    let started = Instant::now();
    let minutes = || started.elapsed().as_secs_f64() / 60.0;
    while minutes() < options.minutes {
        std::thread::sleep(SAMPLE_INTERVAL);
        let bytes: u64 = cluster.all().into_iter().map(resident_bytes).sum();
        samples.push((minutes(), bytes as f64 / f64::from(1 << 20)));
        if samples.len().is_multiple_of(60) {
            tally.say(&format!(
                "{:.0} MiB, {} records produced",
                bytes as f64 / f64::from(1 << 20),
                load.delivered()
            ));
        }
    }
    let produced = load.finish();
    cluster.drain(&mut tally);
    let args = ["run", JOB, "--until-caught-up", "--json", "-w", "2"];
    let printed = job.run(&args, CATCH_UP_DEADLINE).expect_exit(0).json();
    let audit = job.run(&["audit", JOB, "--json"], CATCH_UP_DEADLINE);
    let judged: Vec<(f64, f64)> = samples
        .iter()
        .copied()
        .filter(|&(at, _)| at >= options.minutes * WARM_UP)
        .collect();
    let (slope, error) = slope(&judged);
    let report = json!({
        "seed": options.seed,
        "minutes": options.minutes,
        "produced": produced,
        "account": printed["account"],
        "audit": audit.status.code(),
        "rss_mib": {
            "first": judged.first().map(|s| s.1),
            "last": judged.last().map(|s| s.1),
            "by_minute": samples.iter().step_by(60).map(|s| s.1.round()).collect::<Vec<_>>(),
            "highest": samples.iter().map(|s| s.1).fold(0.0, f64::max),
            "slope_per_minute": slope,
            "standard_error": error,
        },
        "findings": tally.findings,
    });
    println!("{report:#}");
    std::fs::write(to, format!("{report:#}\n")).expect("write the report");
    assert_eq!(printed["account"]["consumed"], produced);
    assert_eq!(audit.status.code(), Some(0), "{}", audit.stderr);
}

/// The slope of a line through the points by least squares, and its standard error.
fn slope(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    if points.len() < 3 {
        return (0.0, 0.0);
    }
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let sxx: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    let sxy: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    let slope = sxy / sxx;
    let residuals: f64 = points
        .iter()
        .map(|p| (p.1 - y - slope * (p.0 - x)).powi(2))
        .sum();
    (slope, (residuals / (n - 2.0) / sxx).sqrt())
}
