//! Where reading starts in each partition, and why. Pure: facts in, positions or a refusal out.
//!
//! What the table has committed always wins; `starting_offsets` is for topics the table knows nothing of. A
//! partition that was added to a topic which the table has been reading is read from offset 0: all of it is
//! new, and what retention took of it is a loss. A position that Kafka no longer holds is never skipped in
//! silence: the job stops and says what is lost, or, with `on_gap: record`, starts behind the loss and has the
//! lost range in its account, because the partition's start stays where the loss begins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::io::AssignedPartition;
use crate::job::{OnGap, StartingOffsets};
use crate::numbers::grouped_signed;
use crate::progress::{OffsetReset, Progress};
use crate::record::TopicPartition;
use crate::time::EventTime;

/// A topic, as the cluster describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Its name.
    pub name: String,
    /// Kafka's id of it; `None` when the broker does not tell (before Kafka 2.8).
    pub id: Option<String>,
    /// Its partitions, ascending.
    pub partitions: Vec<i32>,
}

impl TopicMetadata {
    /// Its partitions.
    pub fn sources(&self) -> impl Iterator<Item = TopicPartition> {
        let name: Arc<str> = self.name.as_str().into();
        self.partitions
            .iter()
            .map(move |&p| TopicPartition::new(Arc::clone(&name), p))
    }
}

/// What Kafka says of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionFacts {
    /// The partition.
    pub source: TopicPartition,
    /// The oldest offset that the broker holds.
    pub log_start: i64,
    /// The end: the offset after the last record that a `read_committed` reader sees.
    pub end: i64,
    /// Where the consumer group stands; needed only for [`StartingOffsets::Group`].
    pub group: Option<i64>,
    /// The first offset at or after the time; needed only for [`StartingOffsets::Timestamp`].
    pub at_timestamp: Option<i64>,
}

/// Where reading starts in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// As the source sees it: `start` is the first offset that the account covers.
    pub assigned: AssignedPartition,
    /// The first offset that Kafka is asked for. Above `assigned.start` when a range was lost and the job
    /// says `on_gap: record`; below it when gaps lie between it and the last record that was read.
    pub read_from: i64,
    /// The epoch of the leader that wrote the record before `read_from`, when the table knows it: the broker
    /// is asked whether its log still holds that record, or another one in its place.
    pub leader_epoch: Option<i32>,
    /// Where and why, for a person.
    pub reason: String,
}

/// Checks the topics and decides where reading starts, by topic and partition.
///
/// `facts` are those of all partitions of `topics`, in any order.
///
/// # Errors
/// - refused (exit status 4): another cluster, a topic created again, a partition that is gone, a committed
///   position below the log start (unless `on_gap` says to record the loss) or behind the end;
/// - configuration: an explicit offset beyond the partition's end, or for a partition that is not there.
pub fn decide(
    cluster_id: Option<&str>,
    topics: &[TopicMetadata],
    facts: &[PartitionFacts],
    progress: &Progress,
    starting: &StartingOffsets,
    on_gap: OnGap,
) -> Result<Vec<Position>> {
    check_identity(cluster_id, topics, progress)?;
    let facts: BTreeMap<&TopicPartition, &PartitionFacts> =
        facts.iter().map(|f| (&f.source, f)).collect();
    check_known_partitions(topics, &facts, progress)?;
    check_explicit(&facts, starting)?;
    facts
        .values()
        .map(|fact| match progress.partition(&fact.source) {
            Some(_) => from_progress(fact, progress, on_gap),
            None if progress.knows(&fact.source.topic) => of_added(fact, on_gap),
            None => from_setting(fact, starting, on_gap),
        })
        .collect()
}

/// The worker that reads a partition, out of `workers`, counted over the whole cluster.
///
/// `topic_index` is the topic's place in the job's list of topics. Round robin over the partitions of a
/// topic, each topic starting one worker further, so that many small topics spread as well as one large
/// one. A partition that is added later moves no other one.
pub fn worker_of(topic_index: usize, partition: i32, workers: usize) -> usize {
    (topic_index + partition.max(0) as usize) % workers.max(1)
}

/// Where a partition starts that was added to a topic which the table has been reading.
///
/// # Errors
/// Refused when the broker no longer holds its first records, unless `on_gap` says to record the loss.
pub fn of_added(fact: &PartitionFacts, on_gap: OnGap) -> Result<Position> {
    let source = &fact.source;
    let by = "a partition added to a topic that the table has been reading";
    let (read_from, lost) = held_from(fact, 0, by, on_gap)?;
    let lost = lost.map_or_else(String::new, |lost| format!("{lost}; "));
    let reason = format!("{source}: from {}, {lost}{by}", grouped_signed(read_from));
    Ok(position(fact, 0, read_from, None, None, reason))
}

/// Refuses another cluster than the one the table was filled from.
///
/// # Errors
/// `Refused`, with both.
pub fn check_cluster(then: Option<&str>, now: Option<&str>) -> Result<()> {
    if let (Some(then), Some(now)) = (then, now)
        && then != now
    {
        return Err(Error::refused(format!(
            "the table was filled from Kafka cluster `{then}`, but the broker belongs to cluster `{now}`: its offsets mean other records"
        ))
        .hint("set `kafka.bootstrap_servers` to the cluster the table was filled from, or land this one in another table"));
    }
    Ok(())
}

/// Refuses a topic that was created again under the same name.
///
/// # Errors
/// `Refused`, with both ids.
pub fn check_topic_id(name: &str, then: Option<&str>, now: Option<&str>) -> Result<()> {
    if let (Some(then), Some(now)) = (then, now)
        && then != now
    {
        return Err(Error::refused(format!(
            "topic `{name}` was deleted and created again (id `{then}` when the table was filled, `{now}` now): its offsets mean other records"
        ))
        .hint("land the new topic in another table, or restore the old one"));
    }
    Ok(())
}

/// Refuses when cluster or topics are others than those that the table was filled from.
///
/// # Errors
/// `Refused`, with what has changed.
pub fn check_same(cluster_id: &str, topics: &[TopicMetadata], progress: &Progress) -> Result<()> {
    check_identity(Some(cluster_id), topics, progress)
}

fn check_identity(
    cluster_id: Option<&str>,
    topics: &[TopicMetadata],
    progress: &Progress,
) -> Result<()> {
    if !progress.topics.is_empty() {
        check_cluster(progress.cluster_id.as_deref(), cluster_id)?;
    }
    for topic in topics {
        if let Some(known) = progress.topics.get(&*topic.name) {
            check_topic_id(&topic.name, known.topic_id.as_deref(), topic.id.as_deref())?;
        }
    }
    Ok(())
}

fn check_known_partitions(
    topics: &[TopicMetadata],
    facts: &BTreeMap<&TopicPartition, &PartitionFacts>,
    progress: &Progress,
) -> Result<()> {
    for topic in topics {
        let Some(known) = progress.topics.get(&*topic.name) else {
            continue;
        };
        for &partition in known.partitions.keys() {
            let source = TopicPartition::new(topic.name.clone(), partition);
            if !facts.contains_key(&source) {
                return Err(Error::refused(format!(
                    "partition {source} is gone: the table was filled from it, the topic has {} partitions now",
                    topic.partitions.len()
                ))
                .hint("the topic was deleted and created again; land it in another table"));
            }
        }
    }
    Ok(())
}

fn check_explicit(
    facts: &BTreeMap<&TopicPartition, &PartitionFacts>,
    starting: &StartingOffsets,
) -> Result<()> {
    let StartingOffsets::Explicit(offsets) = starting else {
        return Ok(());
    };
    let topics: BTreeSet<&str> = facts.keys().map(|s| &*s.topic).collect();
    for (topic, partitions) in offsets {
        if !topics.contains(topic.as_str()) {
            return Err(Error::configuration(format!(
                "`starting_offsets.explicit` names topic `{topic}`, which the job does not read"
            )));
        }
        for &partition in partitions.keys() {
            let source = TopicPartition::new(topic.as_str(), partition);
            if !facts.contains_key(&source) {
                return Err(Error::configuration(format!(
                    "`starting_offsets.explicit` names {source}, which does not exist"
                )));
            }
        }
    }
    Ok(())
}

fn from_progress(fact: &PartitionFacts, progress: &Progress, on_gap: OnGap) -> Result<Position> {
    let source = &fact.source;
    let known = progress
        .partition(source)
        .ok_or_else(|| Error::internal(format!("no progress for partition {source}")))?;
    let by = match (progress.epoch, &known.reset) {
        (_, Some(reset)) if reset.to == known.next => reset_from(reset),
        (Some(epoch), reset) => format!(
            "committed by generation {} (epoch {epoch}){}",
            epoch.generation(),
            reset
                .as_ref()
                .map_or_else(String::new, |reset| format!("; {}", reset_from(reset)))
        ),
        (None, _) => "committed".to_owned(),
    };
    let (read_from, lost) = held_from(fact, known.next, &by, on_gap)?;
    let reason = match lost {
        None => format!("{source}: from {}, {by}", grouped_signed(known.next)),
        Some(lost) => format!(
            "{source}: from {}, {lost}; the table is at {}, {by}",
            grouped_signed(read_from),
            grouped_signed(known.next)
        ),
    };
    // From behind the last record on: a marker that follows it may be of a later leader. Where retention has
    // passed the record there is nothing left to be compared.
    let last = known.leader_epoch.filter(|of| of.offset >= fact.log_start);
    Ok(position(
        fact,
        known.next,
        last.map_or(read_from, |of| of.offset + 1),
        last.map(|of| of.epoch),
        known.max_event_time,
        reason,
    ))
}

/// What a person did, for a person.
fn reset_from(reset: &OffsetReset) -> String {
    format!(
        "reset from {} to {} at {} by {} (`offsets reset`)",
        grouped_signed(reset.from),
        grouped_signed(reset.to),
        reset.at,
        reset.by
    )
}

fn from_setting(
    fact: &PartitionFacts,
    starting: &StartingOffsets,
    on_gap: OnGap,
) -> Result<Position> {
    let source = &fact.source;
    let earliest = |why: &str| {
        (
            fact.log_start,
            format!("the oldest record that the broker holds ({why})"),
        )
    };
    let (start, why) = match starting {
        StartingOffsets::Earliest => earliest("`starting_offsets: earliest`"),
        StartingOffsets::Latest => (
            fact.end,
            "the end of the partition (`starting_offsets: latest`)".to_owned(),
        ),
        StartingOffsets::Group => match fact.group {
            Some(group) => {
                let by = "where the consumer group stands (`starting_offsets: group`)";
                return from_offset(fact, group, by, on_gap);
            }
            None => earliest("the consumer group has no position there"),
        },
        StartingOffsets::Timestamp(ms) => {
            let when = EventTime(ms.saturating_mul(1000));
            match fact.at_timestamp {
                Some(offset) => (
                    offset,
                    format!("the first record since {when} (`starting_offsets: timestamp`)"),
                ),
                None => (
                    fact.end,
                    format!(
                        "the end of the partition: no record since {when} (`starting_offsets: timestamp`)"
                    ),
                ),
            }
        }
        StartingOffsets::Explicit(offsets) => {
            match offsets
                .get(&*source.topic)
                .and_then(|partitions| partitions.get(&source.partition))
            {
                Some(&offset) if offset < 0 || offset > fact.end => {
                    return Err(Error::configuration(format!(
                        "`starting_offsets.explicit` starts {source} at offset {}, the broker holds {} to {}",
                        grouped_signed(offset),
                        grouped_signed(fact.log_start),
                        grouped_signed(fact.end)
                    ))
                    .hint("use an offset in that range, or `earliest`"));
                }
                Some(&offset) => {
                    let by = "as `starting_offsets.explicit` says";
                    return from_offset(fact, offset, by, on_gap);
                }
                None => earliest("`starting_offsets.explicit` does not name it"),
            }
        }
    };
    // What was looked up a moment ago may have passed out of the log since; it may not be asked for below.
    let start = start.clamp(fact.log_start, fact.end.max(fact.log_start));
    let reason = format!(
        "{source}: from {}, {why}; new to the table",
        grouped_signed(start)
    );
    Ok(position(fact, start, start, None, None, reason))
}

/// From an offset that somebody has named, of a partition that is new to the table.
fn from_offset(fact: &PartitionFacts, offset: i64, by: &str, on_gap: OnGap) -> Result<Position> {
    let source = &fact.source;
    let (read_from, lost) = held_from(fact, offset, by, on_gap)?;
    let reason = match lost {
        None => format!(
            "{source}: from {}, {by}; new to the table",
            grouped_signed(offset)
        ),
        Some(lost) => format!(
            "{source}: from {}, {lost}; {} is {by}; new to the table",
            grouped_signed(read_from),
            grouped_signed(offset)
        ),
    };
    Ok(position(fact, offset, read_from, None, None, reason))
}

/// Where to read from so that `next` is what comes next, and what is lost when the broker holds it no more.
fn held_from(
    fact: &PartitionFacts,
    next: i64,
    by: &str,
    on_gap: OnGap,
) -> Result<(i64, Option<String>)> {
    let source = &fact.source;
    if next > fact.end {
        return Err(Error::refused(format!(
            "partition {source} ends at offset {}, but the next one to read is {} ({by}): the log was truncated, or the topic created again",
            grouped_signed(fact.end),
            grouped_signed(next)
        ))
        .hint("records that landed are no longer on the broker, and their offsets will be given to others; restore the log, or land the topic in another table"));
    }
    if next >= fact.log_start {
        return Ok((next, None));
    }
    let lost = format!(
        "offsets {} to {} are lost ({} offsets)",
        grouped_signed(next),
        grouped_signed(fact.log_start - 1),
        grouped_signed(fact.log_start - next)
    );
    match on_gap {
        OnGap::Record => Ok((fact.log_start, Some(lost))),
        OnGap::Stop => Err(Error::refused(format!(
            "partition {source} begins at offset {}, but the next one to read is {} ({by}): retention passed us, {lost}",
            grouped_signed(fact.log_start),
            grouped_signed(next)
        ))
        .hint("set `on_gap: record` to go on behind the loss and have it in the account as gaps")),
    }
}

fn position(
    fact: &PartitionFacts,
    start: i64,
    read_from: i64,
    leader_epoch: Option<i32>,
    max_event_time: Option<EventTime>,
    reason: String,
) -> Position {
    let assigned = AssignedPartition {
        source: fact.source.clone(),
        start,
        end_at_start: fact.end,
        max_event_time,
    };
    Position {
        assigned,
        read_from,
        leader_epoch,
        reason,
    }
}

#[cfg(test)]
mod tests;
