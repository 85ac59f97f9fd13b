//! Where reading starts in each partition, and why. Pure: facts in, positions or a refusal out.
//!
//! What the table has committed always wins; `starting_offsets` is for topics the table knows nothing of. A
//! partition that was added to a topic which the table has been reading is read from offset 0: all of it is
//! new, and what retention took of it is a loss. A position that Kafka no longer holds is never skipped in silence: the job stops and says what is
//! lost, or, with `on_gap: record`, starts behind the loss and has the lost range in its account, because
//! the partition's start stays where the loss begins.

use std::collections::{BTreeMap, BTreeSet};

use strandline_operators::io::AssignedPartition;
use strandline_operators::job::{OnGap, StartingOffsets};
use strandline_operators::progress::{OffsetReset, Progress};
use strandline_operators::record::TopicPartition;
use strandline_operators::{Error, Result};

use super::metadata::TopicMetadata;

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
/// - configuration: an explicit offset that the broker does not hold, or for a partition that is not there.
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
    let reason = format!("{source}: from {}, {lost}{by}", grouped(read_from));
    Ok(position(fact, 0, read_from, None, None, reason))
}

/// Refuses another cluster than the one the table was filled from.
pub(super) fn check_cluster(then: Option<&str>, now: Option<&str>) -> Result<()> {
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
pub(super) fn check_topic_id(name: &str, then: Option<&str>, now: Option<&str>) -> Result<()> {
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
        None => format!("{source}: from {}, {by}", grouped(known.next)),
        Some(lost) => format!(
            "{source}: from {}, {lost}; the table is at {}, {by}",
            grouped(read_from),
            grouped(known.next)
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
        grouped(reset.from),
        grouped(reset.to),
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
                let by = "where the consumer group stands (`starting_offsets: group`)".to_owned();
                let (read_from, lost) = held_from(fact, group, &by, on_gap)?;
                let reason = match lost {
                    None => format!("{source}: from {}, {by}; new to the table", grouped(group)),
                    Some(lost) => format!(
                        "{source}: from {}, {lost}; {} is {by}; new to the table",
                        grouped(read_from),
                        grouped(group)
                    ),
                };
                return Ok(position(fact, group, read_from, None, None, reason));
            }
            None => earliest("the consumer group has no position there"),
        },
        StartingOffsets::Timestamp(ms) => {
            let when = strandline_operators::time::EventTime(ms.saturating_mul(1000));
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
                Some(&offset) if offset < fact.log_start || offset > fact.end => {
                    return Err(Error::configuration(format!(
                        "`starting_offsets.explicit` starts {source} at offset {}, the broker holds {} to {}",
                        grouped(offset),
                        grouped(fact.log_start),
                        grouped(fact.end)
                    ))
                    .hint("use an offset in that range, or `earliest`"));
                }
                Some(&offset) => (offset, "as `starting_offsets.explicit` says".to_owned()),
                None => earliest("`starting_offsets.explicit` does not name it"),
            }
        }
    };
    // What was looked up a moment ago may have passed out of the log since; it may not be asked for below.
    let start = start.clamp(fact.log_start, fact.end.max(fact.log_start));
    let reason = format!("{source}: from {}, {why}; new to the table", grouped(start));
    Ok(position(fact, start, start, None, None, reason))
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
            grouped(fact.end),
            grouped(next)
        ))
        .hint("records that landed are no longer on the broker, and their offsets will be given to others; restore the log, or land the topic in another table"));
    }
    if next >= fact.log_start {
        return Ok((next, None));
    }
    let lost = format!(
        "offsets {} to {} are lost ({} offsets)",
        grouped(next),
        grouped(fact.log_start - 1),
        grouped(fact.log_start - next)
    );
    match on_gap {
        OnGap::Record => Ok((fact.log_start, Some(lost))),
        OnGap::Stop => Err(Error::refused(format!(
            "partition {source} begins at offset {}, but the next one to read is {} ({by}): retention passed us, {lost}",
            grouped(fact.log_start),
            grouped(next)
        ))
        .hint("set `on_gap: record` to go on behind the loss and have it in the account as gaps")),
    }
}

fn position(
    fact: &PartitionFacts,
    start: i64,
    read_from: i64,
    leader_epoch: Option<i32>,
    max_event_time: Option<strandline_operators::time::EventTime>,
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

/// A number with commas between thousands.
fn grouped(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    if n < 0 {
        text.push('-');
    }
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use strandline_operators::ErrorKind;
    use strandline_operators::account::Account;
    use strandline_operators::progress::{LeaderEpoch, PartitionProgress, TopicProgress};
    use strandline_operators::time::{Epoch, EventTime};

    use super::*;

    const TOPIC: &str = "roman-numeral-events";

    fn topic() -> TopicMetadata {
        TopicMetadata {
            name: TOPIC.to_owned(),
            id: Some("one".to_owned()),
            partitions: vec![3],
        }
    }

    fn fact(log_start: i64, end: i64) -> PartitionFacts {
        PartitionFacts {
            source: TopicPartition::new(TOPIC, 3),
            log_start,
            end,
            group: None,
            at_timestamp: None,
        }
    }

    fn nothing_known() -> Progress {
        Progress::new("job", "uuid", 1, "fingerprint")
    }

    fn committed(next: i64) -> Progress {
        let mut progress = nothing_known();
        for _ in 0..7 {
            progress.claim();
        }
        progress.epoch = Some(Epoch(Epoch::first_of(7).0 + 31));
        progress.cluster_id = Some("cluster".to_owned());
        let partition = PartitionProgress {
            reset: None,
            start: 0,
            next,
            leader_epoch: None,
            max_event_time: Some(EventTime(5)),
            account: Account::default(),
        };
        progress.topics.insert(
            TOPIC.to_owned(),
            TopicProgress {
                topic_id: Some("one".to_owned()),
                partitions: BTreeMap::from([(3, partition)]),
            },
        );
        progress
    }

    fn one(
        fact: PartitionFacts,
        progress: &Progress,
        starting: &StartingOffsets,
        on_gap: OnGap,
    ) -> Result<Position> {
        let positions = decide(
            Some("cluster"),
            &[topic()],
            &[fact],
            progress,
            starting,
            on_gap,
        )?;
        assert_eq!(positions.len(), 1);
        Ok(positions.into_iter().next().expect("one"))
    }

    #[test]
    fn the_committed_position_wins_over_the_setting_and_says_so() {
        for starting in [
            StartingOffsets::Earliest,
            StartingOffsets::Latest,
            StartingOffsets::Group,
        ] {
            let position = one(
                fact(0, 2_000_000),
                &committed(1_204_331),
                &starting,
                OnGap::Stop,
            )
            .expect("position");
            assert_eq!(position.assigned.start, 1_204_331);
            assert_eq!(position.read_from, 1_204_331);
            assert_eq!(position.assigned.end_at_start, 2_000_000);
            assert_eq!(position.assigned.max_event_time, Some(EventTime(5)));
            assert_eq!(
                position.reason,
                "roman-numeral-events[3]: from 1,204,331, committed by generation 7 (epoch 7.31)"
            );
        }
    }

    #[test]
    fn retention_that_passed_us_stops_the_job_and_names_the_lost_range() {
        let error = one(
            fact(150, 200),
            &committed(100),
            &StartingOffsets::Earliest,
            OnGap::Stop,
        )
        .expect_err("lost");
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(
            error
                .message()
                .contains("offsets 100 to 149 are lost (50 offsets)"),
            "{error}"
        );
    }

    #[test]
    fn a_recorded_gap_stays_inside_the_account() {
        let position = one(
            fact(150, 200),
            &committed(100),
            &StartingOffsets::Earliest,
            OnGap::Record,
        )
        .expect("position");
        assert_eq!((position.assigned.start, position.read_from), (100, 150));
    }

    #[test]
    fn a_truncated_log_is_refused_even_where_gaps_are_recorded() {
        for on_gap in [OnGap::Stop, OnGap::Record] {
            let error = one(
                fact(0, 99),
                &committed(100),
                &StartingOffsets::Earliest,
                on_gap,
            )
            .expect_err("truncated");
            assert_eq!(error.kind(), ErrorKind::Refused);
        }
        one(
            fact(0, 100),
            &committed(100),
            &StartingOffsets::Earliest,
            OnGap::Stop,
        )
        .expect("caught up is no truncation");
    }

    #[test]
    fn another_topic_id_or_cluster_or_a_missing_partition_is_refused() {
        let mut other = topic();
        other.id = Some("two".to_owned());
        let decide_with = |cluster: &str, topic: TopicMetadata, facts: &[PartitionFacts]| {
            decide(
                Some(cluster),
                &[topic],
                facts,
                &committed(100),
                &StartingOffsets::Earliest,
                OnGap::Record,
            )
        };
        let facts = [fact(0, 200)];
        assert_eq!(
            decide_with("cluster", other, &facts)
                .expect_err("recreated")
                .kind(),
            ErrorKind::Refused
        );
        assert_eq!(
            decide_with("elsewhere", topic(), &facts)
                .expect_err("cluster")
                .kind(),
            ErrorKind::Refused
        );
        assert_eq!(
            decide_with("cluster", topic(), &[])
                .expect_err("gone")
                .kind(),
            ErrorKind::Refused
        );
        let mut untold = topic();
        untold.id = None;
        decide_with("cluster", untold, &facts).expect("a broker that tells no id is believed");
    }

    #[test]
    fn a_partition_new_to_the_table_starts_where_the_setting_says() {
        let explicit = |offset| {
            StartingOffsets::Explicit(BTreeMap::from([(
                TOPIC.to_owned(),
                BTreeMap::from([(3, offset)]),
            )]))
        };
        let facts = PartitionFacts {
            group: Some(40),
            at_timestamp: Some(60),
            ..fact(10, 90)
        };
        for (starting, expected) in [
            (StartingOffsets::Earliest, 10),
            (StartingOffsets::Latest, 90),
            (StartingOffsets::Group, 40),
            (StartingOffsets::Timestamp(1), 60),
            (explicit(17), 17),
            (explicit(90), 90),
            (StartingOffsets::Explicit(BTreeMap::new()), 10),
        ] {
            let position =
                one(facts.clone(), &nothing_known(), &starting, OnGap::Stop).expect("position");
            assert_eq!(
                (position.assigned.start, position.read_from),
                (expected, expected),
                "{starting:?}"
            );
            assert!(
                position.reason.contains("new to the table"),
                "{}",
                position.reason
            );
        }
        let silent = fact(10, 90);
        for (starting, expected) in [
            (StartingOffsets::Group, 10),
            (StartingOffsets::Timestamp(1), 90),
        ] {
            let position =
                one(silent.clone(), &nothing_known(), &starting, OnGap::Stop).expect("position");
            assert_eq!(position.assigned.start, expected, "{starting:?}");
        }
        for offset in [-1, 9, 91] {
            let error = one(
                facts.clone(),
                &nothing_known(),
                &explicit(offset),
                OnGap::Stop,
            )
            .expect_err("not held");
            assert_eq!(error.kind(), ErrorKind::Configuration);
        }
        let elsewhere = StartingOffsets::Explicit(BTreeMap::from([(
            "other".to_owned(),
            BTreeMap::from([(0, 1)]),
        )]));
        assert!(one(facts, &nothing_known(), &elsewhere, OnGap::Stop).is_err());
    }

    #[test]
    fn a_partition_added_to_a_known_topic_is_read_from_offset_0_whatever_the_setting() {
        let added = |log_start, on_gap| {
            let facts = [
                fact(0, 200),
                PartitionFacts {
                    source: TopicPartition::new(TOPIC, 4),
                    ..fact(log_start, 70)
                },
            ];
            let positions = decide(
                Some("cluster"),
                &[topic()],
                &facts,
                &committed(100),
                &StartingOffsets::Latest,
                on_gap,
            )?;
            Ok::<_, Error>((positions[1].assigned.start, positions[1].read_from))
        };
        assert_eq!(added(0, OnGap::Stop).expect("position"), (0, 0));
        assert_eq!(added(20, OnGap::Record).expect("position"), (0, 20));
        let error = added(20, OnGap::Stop).expect_err("lost");
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(
            error.message().contains("offsets 0 to 19 are lost"),
            "{error}"
        );
    }

    #[test]
    fn the_leader_epoch_is_compared_at_the_last_record_while_the_broker_holds_it() {
        let mut progress = committed(100);
        let known = progress.topics.get_mut(TOPIC).expect("topic");
        let partition = known.partitions.get_mut(&3).expect("partition");
        // Offsets 95 to 99 were gaps.
        partition.leader_epoch = Some(LeaderEpoch {
            epoch: 7,
            offset: 94,
        });
        let at = |log_start| {
            let fact = fact(log_start, 200);
            let position =
                one(fact, &progress, &StartingOffsets::Earliest, OnGap::Record).expect("position");
            assert_eq!(position.assigned.start, 100);
            (position.read_from, position.leader_epoch)
        };
        assert_eq!(at(94), (95, Some(7)));
        assert_eq!(at(95), (100, None));
        assert_eq!(at(110), (110, None));
    }

    #[test]
    fn a_group_position_that_is_lost_is_treated_like_a_committed_one() {
        let facts = PartitionFacts {
            group: Some(4),
            ..fact(10, 90)
        };
        let error = one(
            facts.clone(),
            &nothing_known(),
            &StartingOffsets::Group,
            OnGap::Stop,
        )
        .expect_err("lost");
        assert_eq!(error.kind(), ErrorKind::Refused);
        let position = one(
            facts,
            &nothing_known(),
            &StartingOffsets::Group,
            OnGap::Record,
        )
        .expect("position");
        assert_eq!((position.assigned.start, position.read_from), (4, 10));
    }

    proptest! {
        #[test]
        fn reading_never_starts_outside_of_the_log_and_never_skips_in_silence(
            log_start in 0_i64..1000, length in 0_i64..1000, next in 0_i64..2500, record: bool,
        ) {
            let end = log_start + length;
            let on_gap = if record { OnGap::Record } else { OnGap::Stop };
            match one(fact(log_start, end), &committed(next), &StartingOffsets::Latest, on_gap) {
                Ok(position) => {
                    prop_assert_eq!(position.assigned.start, next);
                    prop_assert!((log_start..=end).contains(&position.read_from));
                    prop_assert!(position.read_from == next || (record && next < log_start));
                }
                Err(error) => {
                    prop_assert_eq!(error.kind(), ErrorKind::Refused);
                    prop_assert!(next > end || (next < log_start && !record));
                }
            }
        }

        #[test]
        fn partitions_spread_evenly_over_the_workers(
            topics in 1_usize..5, partitions in 1_i32..40, workers in 1_usize..9,
        ) {
            for topic in 0..topics {
                let mut load = vec![0; workers];
                for partition in 0..partitions {
                    load[worker_of(topic, partition, workers)] += 1;
                }
                prop_assert!(load.iter().max().zip(load.iter().min()).is_some_and(|(a, b)| a - b <= 1));
            }
        }
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_204_331), "1,204,331");
        assert_eq!(grouped(-1000), "-1,000");
    }
}
