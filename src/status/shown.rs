//! What is shown of the facts: the parts of a status, each from the merged facts alone.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use strandline_operators::account::Account;
use strandline_operators::observed::seen::SAMPLE_BYTES;
use strandline_operators::time::EventTime;

use super::diagnosis::holder;
use super::facts::{CommitFacts, OperatorCounts, PartitionFacts, ProcessFacts};
use super::job::{
    CommitStatus, DeadLetterSample, DeadLetters, Epochs, OperatorStatus, PartitionStatus,
    ProcessStatus, TableBehind, WatermarkStatus, WorkerStatus,
};
use super::merge::Merged;

/// Commits that the status shows.
pub(super) const COMMITS_SHOWN: usize = 30;
/// Records waiting before a stage that are worth a colour: less is a batch on its way.
const WORTH_A_WORD: u64 = 20_000;

pub(super) fn per_second(now: u64, before: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        now.saturating_sub(before) as f64 / seconds
    } else {
        0.0
    }
}

pub(super) fn account_of(merged: &Merged) -> Account {
    let mut account = merged.first.account_before;
    account += merged.first.account;
    account
}

/// Records between what is committed and the ends, so that it falls only when something has landed.
pub(super) fn lag_of(merged: &Merged) -> u64 {
    merged.partitions.iter().filter_map(partition_lag).sum()
}

fn partition_lag(partition: &PartitionFacts) -> Option<u64> {
    let from = partition.committed.or(partition.start).or(partition.next)?;
    u64::try_from((partition.end? - from).max(0)).ok()
}

fn time(micros: i64) -> String {
    EventTime(micros).to_string()
}

pub(super) fn watermark_of(merged: &Merged) -> WatermarkStatus {
    let watermark = merged.first.watermark;
    WatermarkStatus {
        time: watermark.map(time),
        lag_seconds: watermark.map(|w| (EventTime::now().0 - w) as f64 / 1e6),
        held_by: holder(&merged.partitions).map(|p| format!("{}[{}]", p.topic, p.partition)),
    }
}

pub(super) fn epochs_of(first: &ProcessFacts) -> Epochs {
    let open = first.open_epoch;
    Epochs {
        open,
        committing: first.committing.map(|(epoch, _)| epoch),
        committing_ms: first.committing.map(|(_, ms)| ms),
        committed: first.epoch,
        in_flight: match (open, first.epoch) {
            (Some(open), Some(committed)) => open.saturating_sub(committed),
            (Some(_), None) => 1,
            _ => 0,
        },
    }
}

pub(super) fn process_of(facts: &ProcessFacts) -> ProcessStatus {
    ProcessStatus {
        process: facts.process,
        pid: facts.pid,
        resident_bytes: facts.memory.get("resident").copied().unwrap_or(0),
        complaint: facts.complaint.clone(),
    }
}

pub(super) fn workers_of(facts: &ProcessFacts) -> impl Iterator<Item = WorkerStatus> {
    facts.workers.iter().map(|worker| WorkerStatus {
        worker: worker.worker,
        process: facts.process,
        partitions: worker.partitions,
        waits: worker.waits.clone(),
    })
}

pub(super) fn partitions_of(merged: &Merged) -> Vec<PartitionStatus> {
    let holder = holder(&merged.partitions).map(|p| (&p.topic, p.partition));
    let partitions = merged.partitions.iter();
    let status = partitions.map(|p| PartitionStatus {
        topic: p.topic.clone(),
        partition: p.partition,
        worker: p.worker,
        start: p.start,
        committed: p.committed,
        next: p.next,
        end: p.end,
        lag: partition_lag(p),
        watermark: p.watermark.map(time),
        idle: p.is_idle,
        holds_watermark: holder == Some((&p.topic, p.partition)),
    });
    status.collect()
}

/// The newest first.
pub(super) fn commits_of<'a>(
    commits: impl DoubleEndedIterator<Item = &'a CommitFacts>,
) -> Vec<CommitStatus> {
    let last = commits.rev().take(COMMITS_SHOWN);
    let status = last.map(|commit| CommitStatus {
        epoch: commit.epoch,
        at: time(commit.at),
        duration_ms: commit.took_ms,
        rows: commit.account.landed,
        files: commit.files,
        bytes: commit.bytes,
        snapshot_id: commit.snapshot_id.map(|id| id.to_string()),
        account: commit.account,
        watermark: commit.watermark.map(time),
    });
    status.collect()
}

pub(super) fn tables_behind_of(first: &ProcessFacts) -> Vec<TableBehind> {
    let behind = first.tables_behind.iter().map(|behind| TableBehind {
        table: behind.table.clone(),
        epochs: behind.epochs,
        files: behind.files,
        why: behind.why.clone(),
    });
    behind.collect()
}

pub(super) fn letters_of(
    processes: &BTreeMap<usize, ProcessFacts>,
    merged: &Merged,
) -> DeadLetters {
    let mut samples: Vec<_> = processes.values().flat_map(|p| &p.letter_samples).collect();
    samples.sort_by_key(|sample| std::cmp::Reverse(sample.at));
    // As many as one process keeps, however many processes there are.
    let most = processes.values().map(|p| p.letter_samples.len()).max();
    samples.truncate(most.unwrap_or(0));
    let samples = samples.into_iter().map(|sample| DeadLetterSample {
        kafka_topic: sample.topic.clone(),
        kafka_partition: sample.partition,
        kafka_offset: sample.offset,
        error_type: sample.error_type.clone(),
        error_message: sample.message.clone(),
        failed_at: time(sample.at),
        original_payload: sample.payload.clone(),
        payload_bytes: sample.payload_bytes,
        payload_cut: sample.payload_bytes > SAMPLE_BYTES,
    });
    DeadLetters {
        by_type: merged.letters.clone(),
        samples: samples.collect(),
    }
}

pub(super) fn operators_of(
    merged: &Merged,
    looks: &VecDeque<(Instant, OperatorCounts, u64, u64)>,
) -> Vec<OperatorStatus> {
    let counts = &merged.operators;
    let committed = merged.first.account.consumed;
    let (before, committed_before, seconds) = match (looks.front(), looks.back()) {
        (Some(&(from, before, consumed, _)), Some(&(to, ..))) => {
            (before, consumed, to.duration_since(from).as_secs_f64())
        }
        _ => (*counts, committed, 0.0),
    };
    let waited = |now: u64, before: u64| {
        let micros = now.saturating_sub(before) as f64;
        let workers = merged.workers.max(1) as f64;
        if seconds > 0.0 {
            (micros / 1e6 / seconds / workers).min(1.0)
        } else {
            0.0
        }
    };
    let for_memory = waited(counts.waited_for_memory_us, before.waited_for_memory_us);
    let for_commit = waited(counts.waited_for_commit_us, before.waited_for_commit_us);
    let mut stages = vec![
        stage("read", "records", counts.read, before.read, 0, seconds),
        stage(
            "decode",
            "records",
            counts.decoded,
            before.decoded,
            counts.read.saturating_sub(counts.decoded),
            seconds,
        ),
        stage(
            "deduplicate",
            "records",
            counts.judged,
            before.judged,
            counts.decoded.saturating_sub(counts.judged),
            seconds,
        ),
        stage(
            "write files",
            "rows",
            counts.encoded,
            before.encoded,
            counts.routed.saturating_sub(counts.encoded),
            seconds,
        ),
        stage(
            "commit",
            "records",
            committed,
            committed_before,
            counts.judged.saturating_sub(committed),
            seconds,
        ),
    ];
    let is_held = for_memory > 0.05 || for_commit > 0.05;
    if is_held {
        let (share, what) = if for_commit > for_memory {
            (for_commit, "earlier epochs wait for their commit")
        } else {
            (for_memory, "the records in flight fill their memory")
        };
        stages[0].pressure = "waits".to_owned();
        stages[0].says = format!("reads nothing {:.0} % of the time: {what}", share * 100.0);
        // Who is in the way: what most records wait for. A commit takes in what it waits for anyway.
        let slowest = if for_commit > for_memory {
            4
        } else {
            (1..4).max_by_key(|&i| stages[i].waiting).unwrap_or(4)
        };
        let slow = &mut stages[slowest];
        slow.pressure = "busy".to_owned();
        slow.says = format!(
            "the others wait for it: {} {} before it",
            slow.waiting, slow.unit
        );
    } else {
        for slow in stages[1..4].iter_mut().filter(|s| s.waiting > WORTH_A_WORD) {
            slow.pressure = "busy".to_owned();
            slow.says = format!("{} {} wait for it", slow.waiting, slow.unit);
        }
    }
    stages
}

fn stage(
    name: &str,
    unit: &str,
    count: u64,
    before: u64,
    waiting: u64,
    seconds: f64,
) -> OperatorStatus {
    OperatorStatus {
        name: name.to_owned(),
        unit: unit.to_owned(),
        count,
        rate: per_second(count, before, seconds),
        waiting,
        pressure: "ok".to_owned(),
        says: String::new(),
    }
}

#[cfg(test)]
mod tests;
