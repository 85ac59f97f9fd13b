use crate::ErrorKind;
use crate::account::Account;
use crate::progress::{LeaderEpoch, PartitionProgress, TopicProgress};
use crate::time::{Epoch, EventTime};
use proptest::prelude::*;

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
    for offset in [-1, 91] {
        let error = one(
            facts.clone(),
            &nothing_known(),
            &explicit(offset),
            OnGap::Stop,
        )
        .expect_err("not held");
        assert_eq!(error.kind(), ErrorKind::Configuration);
    }
    let passed = |on_gap| one(facts.clone(), &nothing_known(), &explicit(4), on_gap);
    let error = passed(OnGap::Stop).expect_err("retention has passed it");
    assert_eq!(error.kind(), ErrorKind::Refused);
    let position = passed(OnGap::Record).expect("what is lost becomes gaps");
    assert_eq!((position.assigned.start, position.read_from), (4, 10));
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
