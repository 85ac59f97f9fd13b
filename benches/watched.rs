//! A long look at a job: two real browsers with its page open, its metrics scraped every second. Does anything grow?
//!
//! `cargo xtask bench watched [--minutes M]`. The job is launched, so that the process that is watched does nothing
//! else: its supervisor collects the status, and serves page, stream and metrics.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{DEADLINE, Steady, address, client, http, served, wait_for_status};

const PARTITIONS: i32 = 4;
const PAGES: usize = 2;
/// How long it is without `--minutes`: what issue and runbook speak of.
const MINUTES: f64 = 60.0;
/// How often the pages' garbage is collected and memory is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);
const SCRAPE_INTERVAL: Duration = Duration::from_secs(1);
/// The part of the run that is not judged: caches and the pages' charts fill up.
const WARM_UP: f64 = 1.0 / 3.0;
/// What may be more at the end than after the warm-up, by the median of a tenth of the samples. The charts of a page
/// keep a quarter of an hour, 36 KB.
const HEAP_LEFT_BYTES: f64 = 2e6;
/// An allocator's give and take; a status of 20 KB a second that is kept would be 70 MB after an hour.
const RESIDENT_LEFT_BYTES: f64 = 8e6;

/// What is seen at one time: its second, and figures by their name.
type Sample = (f64, Vec<(String, f64)>);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench" && arg != "watched")
        .collect();
    let minutes = match args.as_slice() {
        [] => MINUTES,
        [option, minutes] if option == "--minutes" => minutes.parse().unwrap_or(0.0),
        _ => 0.0,
    };
    if minutes * 60.0 < 6.0 * SAMPLE_INTERVAL.as_secs_f64() {
        eprintln!("error: write `--minutes M`, with at least one minute");
        return ExitCode::from(2);
    }
    match watch(minutes) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Watches a job, prints what came of it, and returns whether nothing grew.
fn watch(minutes: f64) -> bool {
    let job = served(PARTITIONS);
    let load = Steady::begin(&job, PARTITIONS, 1);
    let launcher = job.spawn(&["launch", "roman-numerals", "-n", "1"]);
    let status = wait_for_status(&job, "a commit", |status| status["ready"] == true);
    let address = address(&status);
    let pids = [
        ("supervisor", launcher.pid()),
        ("worker process", launcher.children()[0]),
    ];
    let (done, scrapes) = (AtomicBool::new(false), AtomicU64::new(0));
    let samples = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(http(&address, "GET /metrics", "").status, 200);
                scrapes.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(SCRAPE_INTERVAL);
            }
        });
        let samples = follow(&address, minutes, &pids);
        done.store(true, Ordering::Relaxed);
        samples
    });
    let ended = wait_for_status(&job, "it still runs", |status| status["ready"] == true);
    launcher.terminate();
    launcher.wait(DEADLINE).expect_exit(143);
    drop(load);
    let (report, grew) = judge(&samples);
    let report = json!({
        "minutes": minutes,
        "scrapes": scrapes.into_inner(),
        "account": ended["account"],
        "restarts": ended["restarts"]["total"],
        "figures": report,
        "grew": grew,
    });
    println!("{report:#}");
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("watched.json");
    fs::write(&to, format!("{report:#}\n")).expect("write the report");
    grew.is_empty()
}

/// Opens the pages, and looks at them and at the processes until the time is up.
fn follow(address: &str, minutes: f64, pids: &[(&str, u32)]) -> Vec<Sample> {
    let count = (minutes * 60.0 / SAMPLE_INTERVAL.as_secs_f64()) as u64;
    let mut browsers = client("ui_watch.py");
    browsers.arg(format!("http://{address}"));
    for argument in [PAGES as u64, count, SAMPLE_INTERVAL.as_secs()] {
        browsers.arg(argument.to_string());
    }
    let mut browsers = browsers
        .stdout(Stdio::piped())
        .spawn()
        .expect("run the clients' Python");
    let lines = BufReader::new(browsers.stdout.take().expect("a pipe")).lines();
    let begun = Instant::now();
    let mut samples = Vec::new();
    for line in lines {
        let pages: Vec<Value> = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let mut figures = Vec::new();
        for (page, kept) in pages.iter().enumerate() {
            for (key, name) in [("heap_bytes", "heap"), ("elements", "elements")] {
                let figure = kept[key].as_f64().expect("a number");
                figures.push((format!("page {page}: {name}"), figure));
            }
        }
        for (name, pid) in pids {
            figures.push((format!("{name}: resident"), resident_bytes(*pid)));
            figures.push((
                format!("{name}: open files"),
                entries(&format!("/proc/{pid}/fd")),
            ));
            figures.push((
                format!("{name}: threads"),
                entries(&format!("/proc/{pid}/task")),
            ));
        }
        let at = begun.elapsed().as_secs_f64();
        let said: Vec<String> = figures.iter().map(|(n, f)| format!("{n} {f}")).collect();
        eprintln!("{at:.0} s: {}", said.join(", "));
        samples.push((at, figures));
    }
    let ended = browsers.wait().expect("the browsers' end");
    assert!(ended.success(), "the pages were not watched to the end");
    assert_eq!(samples.len() as u64, count);
    samples
}

/// Each figure over time, and the names of those that grew.
fn judge(samples: &[Sample]) -> (Value, Vec<String>) {
    let end = samples.last().map_or(0.0, |(at, _)| *at);
    let judged: Vec<&Sample> = samples
        .iter()
        .filter(|(at, _)| *at >= end * WARM_UP)
        .collect();
    let mut report = serde_json::Map::new();
    let mut grew = Vec::new();
    let names = judged.first().map(|(_, figures)| figures.as_slice());
    for (index, (name, _)) in names.unwrap_or_default().iter().enumerate() {
        let points: Vec<(f64, f64)> = judged
            .iter()
            .map(|(at, figures)| (*at / 60.0, figures[index].1))
            .collect();
        let tenth = (points.len() / 10).max(1);
        let (first, last) = (
            median(&points[..tenth]),
            median(&points[points.len() - tenth..]),
        );
        let left = match name {
            name if name.ends_with("heap") => HEAP_LEFT_BYTES,
            // The worker process fills its filters and its recent ids, as it does when nobody looks.
            name if name == "supervisor: resident" => RESIDENT_LEFT_BYTES,
            name if name == "worker process: resident" => f64::INFINITY,
            // The rows of the tables come and go; so do connections of the scraper.
            _ => 50.0,
        };
        if last - first > left {
            grew.push(name.clone());
        }
        let figures = json!({ "after_warm_up": first, "at_the_end": last, "slope_per_minute": slope(&points) });
        report.insert(name.clone(), figures);
    }
    (Value::Object(report), grew)
}

fn median(points: &[(f64, f64)]) -> f64 {
    let mut values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The slope of a line through the points, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (x, y) = (
        points.iter().map(|p| p.0).sum::<f64>() / n,
        points.iter().map(|p| p.1).sum::<f64>() / n,
    );
    let sxx: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    let sxy: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    if sxx > 0.0 { sxy / sxx } else { 0.0 }
}

fn resident_bytes(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.expect("its resident size") * 1024.0
}

fn entries(folder: &str) -> f64 {
    fs::read_dir(folder).expect("the process runs").count() as f64
}
