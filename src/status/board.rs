//! The one place where a job is shown: facts of its processes come in, its status goes out.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use strandline_operators::job::JobSettings;
use strandline_operators::observed::histogram::Distribution;
use strandline_operators::time::EventTime;
use strandline_operators::{Error, Result};
use tokio::sync::watch;

use super::diagnosis::{Diagnosis, Finding, Look};
use super::facts::{CommitFacts, OperatorCounts, ProcessFacts, Stage};
use super::history::{History, Point};
use super::job::{
    Commits, DedupStatus, End, JobState, JobStatus, Rates, Restart, RestartsStatus, SettingStatus,
};
use super::last_seen::{KEEP_INTERVAL, Keeper, Kept, LastSeen};
use super::merge::{Merged, merge};
use super::shown::{
    COMMITS_SHOWN, account_of, commits_of, epochs_of, lag_of, letters_of, operators_of,
    partitions_of, per_second, process_of, tables_behind_of, watermark_of, workers_of,
};
use crate::engine::interrupt::Interrupt;
use crate::engine::notify::Notify;

/// How often the status is made anew.
const TICK: Duration = Duration::from_millis(500);
/// Looks that a rate is taken over.
const RATE_LOOKS: usize = 6;
/// Restarts that are remembered.
const RESTARTS_KEPT: usize = 30;
/// A finding that lasts is logged again after this long.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// What does not change while the job runs.
#[derive(Clone, Debug)]
pub struct About {
    /// The job's settings.
    pub settings: JobSettings,
    /// Every setting in force.
    pub in_force: Vec<SettingStatus>,
    /// `kafka.bootstrap_servers`.
    pub bootstrap_servers: String,
    /// The folder of its state.
    pub folder: PathBuf,
}

/// What a status is published as.
#[derive(Debug, Default)]
pub struct Published {
    /// The status.
    pub status: JobStatus,
    /// Latencies and durations since the start, for metrics.
    pub latency: Distribution,
    /// How long commits took since the start.
    pub commit_duration: Distribution,
    /// The last point of the history, in every publication until the next: of several, one who listens hears only the last.
    pub point: Option<Point>,
}

/// Of runs that have ended: what is shown never goes back.
#[derive(Debug, Default)]
struct Carried {
    /// What the last of them knew that had claimed a generation.
    before: Option<Merged>,
    /// The last commits, the oldest first.
    commits: Vec<CommitFacts>,
    latency: Distribution,
    commit_duration: Distribution,
    committed: u64,
    failed: u64,
    bytes: u64,
}

struct Inner {
    processes: BTreeMap<usize, ProcessFacts>,
    carried: Carried,
    restarts: Vec<Restart>,
    restarts_total: u64,
    is_restarting: bool,
    end: Option<End>,
    /// Told to end at once.
    is_cancelled: bool,
    http: Option<String>,
    looks: VecDeque<(Instant, OperatorCounts, u64, u64)>,
    history: History,
    diagnosis: Diagnosis,
    said: BTreeMap<String, Instant>,
}

/// Shows one job. Shared by whoever runs it and whoever asks.
pub struct Board {
    about: About,
    interrupt: Interrupt,
    started_at: EventTime,
    inner: Mutex<Inner>,
    published: watch::Sender<Arc<Published>>,
    /// Once the status is kept.
    keeper: OnceLock<Keeper>,
    /// Hears of every look, once the status is kept.
    notify: Mutex<Notify>,
}

impl Board {
    /// A job that has just been started; `interrupt` is what `stop` raises.
    pub fn new(about: About, interrupt: &Interrupt) -> Arc<Board> {
        Arc::new(Board {
            about,
            interrupt: interrupt.clone(),
            started_at: EventTime::now(),
            inner: Mutex::new(Inner {
                processes: BTreeMap::new(),
                carried: Carried::default(),
                restarts: Vec::new(),
                restarts_total: 0,
                is_restarting: false,
                end: None,
                is_cancelled: false,
                http: None,
                looks: VecDeque::new(),
                history: History::default(),
                diagnosis: Diagnosis::default(),
                said: BTreeMap::new(),
            }),
            published: watch::Sender::default(),
            keeper: OnceLock::new(),
            notify: Mutex::default(),
        })
    }

    /// Makes the status anew, twice a second, as long as the board is there, and leaves it in the folder of the state
    /// now and then.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn keep(self: &Arc<Board>) -> Result<()> {
        let cannot =
            |e: io::Error| Error::internal(format!("cannot start the thread of the status: {e}"));
        let board = Arc::downgrade(self);
        self.look(Instant::now());
        let keeper = Keeper::start(self.about.folder.clone()).map_err(cannot)?;
        // A board is kept once.
        let _ = self.keeper.set(keeper);
        *self.notify() = Notify::from_environment();
        std::thread::Builder::new()
            .name("status".to_owned())
            .spawn(move || {
                let mut kept: Option<Instant> = None;
                while let Some(board) = board.upgrade() {
                    let now = Instant::now();
                    board.look(now);
                    board.tell_system();
                    if kept.is_none_or(|at| now.duration_since(at) >= KEEP_INTERVAL) {
                        kept = Some(now);
                        board.leave_behind();
                    }
                    drop(board);
                    std::thread::sleep(TICK);
                }
            })
            .map_err(cannot)?;
        Ok(())
    }

    fn notify(&self) -> MutexGuard<'_, Notify> {
        self.notify.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells systemd how the job is.
    fn tell_system(&self) {
        // Locked first, so that what is told last is what was published last.
        let mut notify = self.notify();
        notify.look(self.published().status.state);
    }

    /// Has the status kept for the time when the job does not run.
    fn leave_behind(&self) -> Option<Kept> {
        let keeper = self.keeper.get()?;
        // Locked, so that nothing comes after the end which does not know of it.
        let inner = self.lock();
        let published = self.published();
        let is_cancelled = inner.is_cancelled || self.interrupt.is_cancelled();
        let seen = LastSeen::of(&published.status, inner.end.as_ref(), is_cancelled);
        Some(keeper.keep(seen))
    }

    /// The job's name.
    pub fn job(&self) -> &str {
        &self.about.settings.name
    }

    /// What does not change.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// What asks the job to drain.
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// A process says what it knows.
    pub fn tell(&self, facts: ProcessFacts) {
        let mut inner = self.lock();
        inner.is_restarting = false;
        inner.processes.insert(facts.process, facts);
    }

    /// Served there.
    pub fn served_at(&self, address: String) {
        self.lock().http = Some(address);
    }

    /// The processes have ended, because of `cause`, and will be started again.
    pub fn restarting(&self, cause: &str, ran: Duration) {
        let mut inner = self.lock();
        let processes = std::mem::take(&mut inner.processes);
        let merged = merge(&processes);
        let commits = &mut inner.carried.commits;
        commits.extend(merged.first.commits.iter().cloned());
        commits.drain(..commits.len().saturating_sub(COMMITS_SHOWN));
        if merged.first.generation.is_some() {
            inner.carried.before = Some(merged);
        }
        for facts in processes.values() {
            let carried = &mut inner.carried;
            carried.latency.add(&facts.latency);
            carried.commit_duration.add(&facts.commit_duration);
            carried.committed += facts.committed;
            carried.failed += facts.failed;
            carried.bytes += facts.operators.bytes;
        }
        inner.looks.clear();
        inner.is_restarting = true;
        inner.restarts_total += 1;
        if inner.restarts.len() == RESTARTS_KEPT {
            inner.restarts.remove(0);
        }
        inner.restarts.push(Restart {
            at: EventTime::now().to_string(),
            cause: cause.to_owned(),
            ran_seconds: ran.as_secs_f64(),
        });
    }

    /// The job has ended, well or with this error.
    pub fn ended(&self, error: Option<&Error>, exit_status: u8) {
        let mut inner = self.lock();
        let report = inner.processes.get(&0).and_then(|p| p.report.clone());
        inner.end = Some(End {
            error: error.map(Error::to_string),
            exit_status,
            report,
        });
        drop(inner);
        self.look(Instant::now());
        // A drain may be over before the next look.
        self.tell_system();
        if let Some(kept) = self.leave_behind() {
            kept.wait();
        }
    }

    /// Asks for an end at once, after which nothing can be said any more.
    pub fn cancel(&self) {
        self.lock().is_cancelled = true;
        if let Some(kept) = self.leave_behind() {
            kept.wait();
        }
        self.interrupt.cancel();
    }

    /// The status as it was last made.
    pub fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published.borrow())
    }

    /// Hears of every new status; of several only of the last.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Published>> {
        self.published.subscribe()
    }

    /// The history, the oldest point first.
    pub fn history(&self) -> Vec<Point> {
        self.lock().history.points()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, now: Instant) {
        let mut inner = self.lock();
        let merged = merge(&inner.processes);
        // Until the next generation is claimed, the table is as the last one left it.
        let shown = match &inner.carried.before {
            Some(before) if merged.first.generation.is_none() => before.left_behind(),
            _ => merged.clone(),
        };
        let rates = inner.rates(now, &merged);
        let mut latency = inner.carried.latency.clone();
        latency.add(&merged.latency);
        let mut commit_duration = inner.carried.commit_duration.clone();
        commit_duration.add(&merged.first.commit_duration);
        let state = self.state(&inner, &merged);
        let findings = self.findings(&mut inner, now, state, &merged);
        let lag = lag_of(&shown);
        let point = Point {
            t: EventTime::now().0 as f64 / 1e6,
            read: rates.read,
            landed: rates.landed,
            lag,
            ..Point::default()
        };
        let point = inner.history.look(now, &latency, point);
        let first = &merged.first;
        let status = JobStatus {
            job: self.about.settings.name.clone(),
            state,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at.to_string(),
            at: EventTime::now().to_string(),
            http: inner.http.clone(),
            ready: first.committed > 0 && inner.end.is_none(),
            generation: first.generation,
            account: account_of(&shown),
            run: first.account,
            rates,
            lag,
            watermark: watermark_of(&shown),
            freshness: inner.history.freshness(&latency),
            epochs: epochs_of(first),
            findings,
            operators: operators_of(&merged, &inner.looks),
            processes: inner.processes.values().map(process_of).collect(),
            workers: inner.processes.values().flat_map(workers_of).collect(),
            partitions: partitions_of(&shown),
            commits: Commits {
                succeeded: inner.carried.committed + first.committed,
                failed: inner.carried.failed + first.failed,
                last: commits_of(inner.carried.commits.iter().chain(&first.commits)),
            },
            tables_behind: tables_behind_of(first),
            dead_letters: letters_of(&inner.processes, &merged),
            restarts: RestartsStatus {
                total: inner.restarts_total,
                last: inner.restarts.iter().rev().cloned().collect(),
            },
            dedup: DedupStatus {
                entries: merged.dedup_entries,
                answers: merged.dedup_answers.clone(),
            },
            memory: merged.memory.clone(),
            bytes_consumed: inner.carried.bytes + merged.operators.bytes,
            end: inner.end.clone(),
        };
        drop(inner);
        self.published.send_replace(Arc::new(Published {
            status,
            latency,
            commit_duration,
            point,
        }));
    }

    fn state(&self, inner: &Inner, merged: &Merged) -> JobState {
        if inner.end.is_some() {
            return JobState::Ended;
        }
        if inner.is_restarting {
            return JobState::Restarting;
        }
        match merged.stage {
            Stage::Draining => JobState::Draining,
            _ if self.interrupt.is_raised() => JobState::Draining,
            Stage::Starting => JobState::Starting,
            Stage::Running => JobState::Running,
        }
    }

    /// What is wrong; said aloud once, and again while it lasts.
    fn findings(
        &self,
        inner: &mut Inner,
        now: Instant,
        state: JobState,
        merged: &Merged,
    ) -> Vec<Finding> {
        let settings = &self.about.settings;
        let workers = inner.processes.values().flat_map(|p| &p.workers);
        let waits = |why: &'static str| workers.clone().any(|w| w.waits == why).then_some(why);
        let samples = inner.processes.values().flat_map(|p| &p.letter_samples);
        let look = Look {
            state,
            read: merged.operators.read,
            consumed: account_of(merged).consumed,
            account: merged.first.account,
            partitions: &merged.partitions,
            waits: waits("commit").or(waits("memory")),
            committing: merged
                .first
                .committing
                .map(|(epoch, ms)| (epoch, Duration::from_millis(ms))),
            commit_trouble: merged.first.commit_trouble.as_deref(),
            awaits_kafka: merged.first.awaits_kafka,
            tables_behind: &merged.first.tables_behind,
            complaint: merged.complaint.as_deref(),
            has_lost_brokers: merged.has_lost_brokers,
            decoded: merged.operators.decoded,
            letters: merged.letters.clone(),
            samples: samples.collect(),
            group_trouble: merged.group_trouble.as_deref(),
            held_back: merged.held_back,
            registry_trouble: merged.registry_trouble.as_deref(),
            store_trouble: merged.store_trouble.as_deref(),
            wall_clock: EventTime::now().0,
            out_of_orderness_micros: i64::try_from(settings.watermark.out_of_orderness.as_micros())
                .unwrap_or(i64::MAX),
            idle_timeout: settings.watermark.idle_timeout,
            bootstrap_servers: &self.about.bootstrap_servers,
            dedup_key: settings.dedup.as_ref().map(|dedup| dedup.key.as_str()),
            commit_interval: settings.commit.interval,
            is_terminal: settings.sink == strandline_operators::job::Sink::Terminal,
        };
        let findings = inner.diagnosis.look(now, &look);
        let job = self.job();
        inner.said.retain(|kind, _| {
            let lasts = findings.iter().any(|f| f.kind == *kind);
            if !lasts {
                tracing::info!(job, kind, "over: {kind}");
            }
            lasts
        });
        for finding in &findings {
            let is_new = |said: &Instant| now.duration_since(*said) >= REPEAT_AFTER;
            if inner.said.get(&finding.kind).is_none_or(is_new) {
                inner.said.insert(finding.kind.clone(), now);
                let (kind, hint) = (&finding.kind, &finding.hint);
                match finding.severity {
                    super::diagnosis::Severity::Note => {
                        tracing::info!(job, kind, hint, "{}", finding.message);
                    }
                    _ => tracing::warn!(job, kind, hint, "{}", finding.message),
                }
            }
        }
        findings
    }
}

impl Inner {
    fn rates(&mut self, now: Instant, merged: &Merged) -> Rates {
        let account = merged.first.account;
        let current = (now, merged.operators, account.consumed, account.landed);
        if self.looks.len() == RATE_LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back(current);
        let Some(&(since, before, consumed, landed)) = self.looks.front() else {
            return Rates::default();
        };
        let seconds = now.duration_since(since).as_secs_f64();
        let rate = |now: u64, before: u64| per_second(now, before, seconds);
        Rates {
            read: rate(merged.operators.read, before.read),
            bytes: rate(merged.operators.bytes, before.bytes),
            consumed: rate(account.consumed, consumed),
            landed: rate(account.landed, landed),
        }
    }
}

/// A status and what is new in its history, as they are pushed to the UI.
#[derive(Serialize)]
pub struct Event<'a> {
    /// The status.
    pub status: &'a JobStatus,
    /// The last point of the history, told again until there is another.
    pub point: Option<Point>,
}

#[cfg(test)]
mod tests;
