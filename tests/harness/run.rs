//! One run, from the services to the judge's verdict.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::cluster::{Cluster, JOB, tail};
use super::load::{Load, PARTITIONS};
use super::options::Options;
use super::reader::{Reader, by_strandline};
use super::report::{Recovery, Tally, publish};
use super::schedule::{Fault, Shape, Step};
use super::{disk, judge, phases};
use crate::support::{Catalog, OwnStack, RomanNumerals};

/// The first commit after a fault must come within this. The watchdog of a hung process alone has 120 s.
pub const RECOVERY_DEADLINE: Duration = Duration::from_secs(300);
/// The end of the log must be reached within this, once the producer has stopped.
pub const CATCH_UP_DEADLINE: Duration = Duration::from_secs(3600);
/// How often a condition is looked at: as exact as the reader is.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A run in progress.
pub struct Run {
    pub(super) options: Options,
    pub(super) stack: OwnStack,
    pub(super) job: RomanNumerals,
    /// The folders of two hosts: the same job, each with a state of its own.
    hosts: [PathBuf; 2],
    host: usize,
    pub(super) cluster: Option<Cluster>,
    load: Option<Load>,
    pub(super) reader: Reader,
    pub(super) tally: Tally,
}

/// The moment of a fault.
#[derive(Clone, Copy)]
pub struct Mark {
    since: Instant,
    at: SystemTime,
    generation: u64,
}

/// Runs the schedule that the options ask for, has everything judged, prints the report and writes it as
/// JSON to `to`. Panics, once the report is out, when anything is not as it must be.
pub fn run(options: Options, to: &Path) {
    eprintln!(
        "kills: seed {}, {} faults; the report will be in {}",
        options.seed,
        options.schedule().steps.len(),
        to.display()
    );
    let mut run = Run::start(options);
    for (at, step) in run.options.schedule().steps.into_iter().enumerate() {
        run.tally.say(&format!(
            "fault {at}: {} ({:?})",
            step.fault.name(),
            step.shape
        ));
        run.step(step);
    }
    run.finish(to);
}

impl Run {
    fn start(options: Options) -> Run {
        let stack = if options.owns_stack {
            OwnStack::given()
        } else {
            OwnStack::up(&["kafka", "rest"])
        };
        let settings = format!(
            "commit: {{ interval: {}ms, max_bytes: 8MiB }}",
            options.interval_ms
        );
        let job = RomanNumerals::on(&stack.description(), Catalog::Rest, PARTITIONS, &settings);
        job.configure("restart: { attempts: 1000000, delay: 0s }");
        let hosts = [job.path().to_owned(), other_host(job.path())];
        let (load, at_once) = Load::of(&options, &job.topic);
        let reader = Reader::start(&stack.description().rest_uri, &job.table, by_strandline);
        let mut run = Run {
            options,
            stack,
            job,
            hosts,
            host: 0,
            cluster: None,
            load: Some(load),
            reader,
            tally: Tally::new(),
        };
        run.preload(at_once);
        run.produce(true);
        run
    }

    /// Waits for the records that come before the first fault, and drains them.
    fn preload(&mut self, records: u64) {
        if records == 0 {
            return;
        }
        while self
            .load
            .as_ref()
            .is_some_and(|load| load.delivered() < records)
        {
            std::thread::sleep(LOOK_INTERVAL);
        }
        self.tally
            .say(&format!("{records} records are in the topic"));
        self.catch_up();
        self.tally.say("and in the table");
    }

    /// Runs the job to the end of the log; returns what it printed.
    fn catch_up(&mut self) -> Value {
        let args = [
            "launch",
            JOB,
            "-n",
            "2",
            "-w",
            "1",
            "--until-caught-up",
            "--json",
        ];
        let finished = crate::support::spawn(&self.hosts[self.host], &args).wait(CATCH_UP_DEADLINE);
        self.tally.ended(&finished);
        finished.expect_exit(0).json()
    }

    fn step(&mut self, step: Step) {
        if matches!(step.fault, Fault::FullState | Fault::FullWarehouse) {
            if let Some(old) = self.cluster.take() {
                old.drain(&mut self.tally);
            }
            self.produce(false);
            disk::fill(self, step);
            self.produce(true);
            return;
        }
        if self.cluster.as_ref().is_none_or(|c| c.shape != step.shape) {
            if let Some(old) = self.cluster.take() {
                old.drain(&mut self.tally);
            }
            let mark = self.mark();
            self.start_cluster(step.shape);
            self.wait_for_commit(mark, true);
        }
        self.rest(step.rest_ms);
        self.inflict(step);
        *self.tally.faults.entry(step.fault.name()).or_default() += 1;
    }

    fn produce(&self, on: bool) {
        if let Some(load) = &self.load {
            load.go_on(if on { self.options.rate } else { 0 });
        }
    }

    /// Lets the job work.
    pub(super) fn rest(&mut self, ms: u64) {
        let until = Instant::now() + Duration::from_millis(ms);
        while Instant::now() < until {
            self.tend();
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    pub(super) fn start_cluster(&mut self, shape: Shape) {
        self.cluster = Some(Cluster::start(&self.hosts[self.host], shape));
    }

    /// The folder of the host on which the job runs now.
    pub(super) fn host(&self) -> &Path {
        &self.hosts[self.host]
    }

    /// From now on the job runs on the other host.
    pub(super) fn change_host(&mut self) {
        self.host = 1 - self.host;
    }

    pub(super) fn tend(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.tend(&mut self.tally);
        }
    }

    /// Now.
    pub(super) fn mark(&self) -> Mark {
        self.reader.hurry(true);
        Mark {
            since: Instant::now(),
            at: SystemTime::now(),
            generation: self.reader.generation(),
        }
    }

    /// Waits for the first commit after the mark; of a new generation, if only that counts.
    pub(super) fn wait_for_commit(&mut self, mark: Mark, of_new_generation: bool) -> Duration {
        let above = if of_new_generation {
            mark.generation
        } else {
            0
        };
        loop {
            if let Some(commit) = self.reader.commit_after(mark.since, above) {
                self.reader.hurry(false);
                return commit.seen - mark.since;
            }
            if mark.since.elapsed() > RECOVERY_DEADLINE {
                let log = self.cluster.as_ref().map(Cluster::log).unwrap_or_default();
                panic!(
                    "no commit within {RECOVERY_DEADLINE:?} (seed {}); the job logged\n{}",
                    self.options.seed,
                    tail(&log)
                );
            }
            self.tend();
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Waits for the first commit after a fault, and notes how long it took.
    pub(super) fn recover(&mut self, fault: Fault, mark: Mark, of_new_generation: bool) {
        let took = self.wait_for_commit(mark, of_new_generation);
        self.tally.recoveries.push(Recovery {
            fault,
            at: mark.at,
            committed_at: mark.at + took,
            took,
        });
    }

    fn finish(mut self, to: &Path) {
        if let Some(cluster) = self.cluster.take() {
            cluster.drain(&mut self.tally);
        }
        self.tally.say("the producer stops, the job catches up");
        let produced = self.load.take().map_or(0, Load::finish);
        let printed = self.catch_up();
        self.tally.say("the judge reads");
        let judging = Instant::now();
        let verdict = judge::judge(&self.job, &printed, self.options.lean);
        let seen = self.reader.seen();
        let report = self.tally.json(json!({
            "engine": "strandline",
            "seed": self.options.seed,
            "rate": self.options.rate,
            "produced": produced,
            // Every generation but the first is a start after an end.
            "restarts": seen.generation.saturating_sub(1),
            "commits": seen.commits.len(),
            "account": printed["account"],
            "losses": verdict.losses,
            "duplicates": verdict.duplicates,
            "differences": verdict.report["differences"],
            "judge": verdict.report,
            "judge_seconds": judging.elapsed().as_secs_f64(),
            "recovery_phases_ms": phases::of_recoveries(&self.tally),
            "read_back": phases::read_back(&self.tally),
        }));
        publish(&report, to);
        assert!(verdict.failure.is_empty(), "{}", verdict.failure);
        // The log may hold more than the producer has heard of, which was cut off now and then; the judge reads
        // the log itself. It cannot hold less.
        let consumed = printed["account"]["consumed"].as_u64();
        assert!(consumed >= Some(produced), "{produced} produced: {printed}");
        assert!(self.tally.findings.is_empty(), "{:#?}", self.tally.findings);
    }
}

/// A folder with the same configuration and another state, as another machine would have.
fn other_host(first: &Path) -> PathBuf {
    let second = first.join("other-host");
    std::fs::create_dir(&second).expect("a folder");
    let text = std::fs::read_to_string(first.join("strandline.yaml")).expect("the configuration");
    let state = |host: &Path| format!("state_dir: {}/state", host.display());
    assert!(text.contains(&state(first)), "{text}");
    let text = text.replace(&state(first), &state(&second));
    std::fs::write(second.join("strandline.yaml"), text).expect("write the configuration");
    second
}
