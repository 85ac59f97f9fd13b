//! Turns the counters of this process into [`ProcessFacts`], twice a second, on a thread of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use strandline_operators::credit::Budget;
use strandline_operators::decode::recognise;
use strandline_operators::dedup::metrics::DedupMetrics;
use strandline_operators::landing::behind::SecondariesBehind;
use strandline_operators::landing::trouble::CommitTrouble;
use strandline_operators::observed::Observed;
use strandline_operators::observed::seen::{LetterSample, Waits};
use strandline_operators::progress::Progress;
use strandline_operators::{Error, Result};

use super::facts::{
    CommitFacts, LetterFacts, OperatorCounts, PartitionFacts, ProcessFacts, Stage, Tell,
    WorkerFacts,
};
use crate::connectors::iceberg::store_trouble;
use crate::connectors::kafka::commits;
use crate::connectors::schema_registry::RegistryTrouble;
use crate::engine::heartbeat::PeersHeldBack;
use crate::engine::report::RunReport;
use crate::engine::watch::Causes;

/// How often facts are told. Twice this is the age of what people see, at most.
const TELL_INTERVAL: Duration = Duration::from_millis(500);
/// What a client complained of this long ago may still be the cause of what goes wrong now.
const COMPLAINT_AGE: Duration = Duration::from_secs(30);

/// What is known only once the run has come so far.
#[derive(Default)]
struct Known {
    stage: Stage,
    progress: Option<Progress>,
    metrics: Option<Arc<DedupMetrics>>,
    budget: Option<Budget>,
    filter_bytes: u64,
    registry: Option<RegistryTrouble>,
    report: Option<RunReport>,
}

/// Where the facts of one process come from.
pub(crate) struct Sources {
    pub process: usize,
    pub observed: Arc<Observed>,
    pub causes: Causes,
    pub trouble: CommitTrouble,
    pub behind: SecondariesBehind,
    pub stop: Arc<AtomicBool>,
    pub peers_held_back: PeersHeldBack,
    known: Mutex<Known>,
}

impl Sources {
    pub(crate) fn new(
        process: usize,
        observed: Arc<Observed>,
        causes: Causes,
        stop: Arc<AtomicBool>,
    ) -> Sources {
        Sources {
            process,
            observed,
            causes,
            trouble: CommitTrouble::default(),
            behind: SecondariesBehind::default(),
            stop,
            peers_held_back: PeersHeldBack::default(),
            known: Mutex::default(),
        }
    }

    /// The job asks a schema registry.
    pub(crate) fn asks(&self, registry: RegistryTrouble) {
        self.known().registry = Some(registry);
    }

    /// A generation is claimed.
    pub(crate) fn claimed(&self, progress: &Progress) {
        self.known().progress = Some(progress.clone());
    }

    /// The workers begin to read.
    pub(crate) fn reads(
        &self,
        metrics: Option<Arc<DedupMetrics>>,
        budget: &Budget,
        filter_bytes: u64,
    ) {
        let mut known = self.known();
        known.stage = Stage::Running;
        known.metrics = metrics;
        known.budget = Some(budget.clone());
        known.filter_bytes = filter_bytes;
    }

    /// The run has ended well.
    pub(crate) fn ended(&self, report: &RunReport) {
        self.known().report = Some(report.clone());
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this process knows now.
    pub(crate) fn facts(&self) -> ProcessFacts {
        let observed = &*self.observed;
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let view = observed.committed_view();
        let letters = observed.letters_seen();
        let (workers, mut partitions) = self.workers();
        let known = self.known();
        if self.process == 0
            && let Some(progress) = &known.progress
        {
            add_committed(&mut partitions, progress, &view.positions);
        }
        let (complaint, has_lost_brokers) = self.complaints();
        let group_trouble = self.group_trouble();
        let metrics = known.metrics.as_deref();
        let answers = metrics.map(DedupMetrics::answers).unwrap_or_default();
        let mut memory = std::collections::BTreeMap::new();
        memory.insert(
            "records".to_owned(),
            known.budget.as_ref().map_or(0, Budget::in_flight),
        );
        memory.insert("filters".to_owned(), known.filter_bytes);
        memory.insert("resident".to_owned(), resident_bytes());
        let open = read(&observed.open_epoch);
        ProcessFacts {
            process: self.process,
            pid: std::process::id(),
            stage: match known.stage {
                Stage::Running if self.stop.load(Ordering::Relaxed) => Stage::Draining,
                stage => stage,
            },
            generation: known.progress.as_ref().map(Progress::generation),
            account_before: known
                .progress
                .as_ref()
                .map(Progress::account)
                .unwrap_or_default(),
            account: view.account,
            lag: read(&observed.lag),
            open_epoch: (open > 0).then_some(open),
            epoch: view.epoch.map(|epoch| epoch.0),
            watermark: observed
                .watermark()
                .or(known.progress.as_ref().and_then(|p| p.watermark))
                .map(|w| w.0),
            operators: OperatorCounts {
                read: read(&observed.records_read),
                bytes: read(&observed.bytes_read),
                decoded: read(&observed.records_decoded),
                judged: read(&observed.records_judged),
                routed: read(&observed.rows_routed),
                encoded: read(&observed.rows_encoded),
                waited_for_memory_us: read(&observed.waited_for_memory_us),
                waited_for_commit_us: read(&observed.waited_for_commit_us),
            },
            workers,
            partitions,
            commits: self.commits(),
            committed: read(&observed.commits),
            failed: read(&observed.failed_commits),
            commit_duration: observed.commit_duration.read(),
            committing: observed
                .commit_under_way()
                .map(|(epoch, since)| (epoch.0, millis(since.elapsed()))),
            commit_trouble: self.trouble.last(),
            awaits_kafka: observed.awaits_kafka.load(Ordering::Relaxed),
            tables_behind: self.behind.facts(),
            latency: observed.latency.read(),
            letters: letters
                .counts()
                .map(|(kind, count)| (kind.to_owned(), count))
                .collect(),
            letter_samples: letters.samples().map(letter).collect(),
            dedup_entries: metrics.map_or(0, DedupMetrics::entries),
            dedup_answers: [
                ("memory", answers.memory),
                ("filter", answers.filter),
                ("store", answers.store),
            ]
            .map(|(by, count)| (by.to_owned(), count))
            .into(),
            memory,
            complaint,
            has_lost_brokers,
            group_trouble,
            held_back: read(&observed.held_back),
            peers_held_back: self.peers_held_back.count(),
            store_trouble: store_trouble(),
            registry_trouble: known.registry.as_ref().and_then(RegistryTrouble::last),
            report: known.report.clone(),
        }
    }

    fn workers(&self) -> (Vec<WorkerFacts>, Vec<PartitionFacts>) {
        let (mut workers, mut partitions) = (Vec::new(), Vec::new());
        for (worker, seen) in self.observed.workers() {
            workers.push(WorkerFacts {
                worker,
                partitions: seen.partitions.len(),
                waits: match seen.waits {
                    Waits::No => "no",
                    Waits::Memory => "memory",
                    Waits::Commit => "commit",
                }
                .to_owned(),
            });
            partitions.extend(seen.partitions.iter().map(|p| PartitionFacts {
                topic: p.source.topic.to_string(),
                partition: p.source.partition,
                next: Some(p.next),
                end: p.end,
                watermark: p.watermark.map(|w| w.0),
                at_end_ms: p.at_end_for.map(millis),
                is_idle: p.is_idle,
                worker: Some(worker),
                ..PartitionFacts::default()
            }));
        }
        (workers, partitions)
    }

    fn commits(&self) -> Vec<CommitFacts> {
        let commits = self.observed.last_commits().into_iter();
        let facts = commits.map(|commit| CommitFacts {
            epoch: commit.epoch.0,
            at: commit.at.0,
            took_ms: millis(commit.took),
            account: commit.account,
            files: commit.files,
            bytes: commit.bytes,
            snapshot_id: commit.snapshot_id,
            watermark: commit.watermark.map(|w| w.0),
        });
        facts.collect()
    }

    /// Why the broker does not take the group's offsets.
    fn group_trouble(&self) -> Option<String> {
        let causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut errors = causes.iter().flat_map(|d| d.recent(COMPLAINT_AGE));
        let refusal = errors.find(|e| e.text.starts_with(commits::REFUSED))?;
        Some(refusal.text)
    }

    /// The last complaint of any client, and whether all brokers were lost.
    fn complaints(&self) -> (Option<String>, bool) {
        let causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |d: &&Arc<crate::connectors::kafka::client::Diagnosis>| {
            !d.recent(COMPLAINT_AGE).is_empty()
        };
        let complaint = causes.iter().find(is_recent).and_then(|d| d.last());
        let lost = causes.iter().any(|d| d.has_lost_brokers(COMPLAINT_AGE));
        (complaint, lost)
    }
}

/// What the table says of each partition, and this run has committed since.
fn add_committed(
    partitions: &mut Vec<PartitionFacts>,
    progress: &Progress,
    positions: &std::collections::BTreeMap<strandline_operators::record::TopicPartition, i64>,
) {
    let mut entry = |topic: &str, partition: i32, start: Option<i64>, committed: i64| {
        let known = partitions
            .iter_mut()
            .find(|p| p.partition == partition && p.topic == topic);
        match known {
            Some(known) => {
                known.start = start.or(known.start);
                known.committed = Some(committed);
            }
            None => partitions.push(PartitionFacts {
                topic: topic.to_owned(),
                partition,
                start,
                committed: Some(committed),
                ..PartitionFacts::default()
            }),
        }
    };
    for (topic, of) in &progress.topics {
        for (&partition, at) in &of.partitions {
            entry(topic, partition, Some(at.start), at.next);
        }
    }
    for (source, &next) in positions {
        entry(&source.topic, source.partition, None, next);
    }
}

fn letter(sample: &LetterSample) -> LetterFacts {
    LetterFacts {
        topic: sample.source.topic.to_string(),
        partition: sample.source.partition,
        offset: sample.offset,
        error_type: sample.error_type.name().to_owned(),
        message: sample.message.clone(),
        at: sample.failed_at.0,
        payload: sample
            .payload
            .as_deref()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        payload_bytes: sample.payload_bytes,
        hex: sample
            .payload
            .as_deref()
            .map(recognise::hex)
            .unwrap_or_default(),
        text: sample
            .payload
            .as_deref()
            .map(recognise::text)
            .unwrap_or_default(),
        seen: sample.look.as_ref().map(|look| look.seen.clone()),
        format: sample.format.name().to_owned(),
        expects: sample.format.expects().to_owned(),
        setting: sample.setting.clone(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Memory of this process that is in RAM, in bytes; 0 when the system does not tell.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Tells until dropped, and then once more.
pub(crate) struct Teller {
    /// Closed at the end of the run.
    runs: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Teller {
    /// Starts to tell.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn start(sources: Arc<Sources>, tell: Tell) -> Result<Teller> {
        let (runs, ends) = bounded(0);
        let thread = std::thread::Builder::new()
            .name("facts".to_owned())
            .spawn(move || {
                tell(sources.facts());
                while ends.recv_timeout(TELL_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    tell(sources.facts());
                }
                tell(sources.facts());
            })
            .map_err(|e| Error::internal(format!("cannot start the thread for facts: {e}")))?;
        Ok(Teller {
            runs: Some(runs),
            thread: Some(thread),
        })
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.runs = None;
        if let Some(thread) = self.thread.take() {
            // Only people miss what a panicked one would have told.
            let _ = thread.join();
        }
    }
}
