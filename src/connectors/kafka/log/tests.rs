//! Against the embedded broker.

use rdkafka::producer::BaseRecord;
use strandline_operators::ErrorKind;
use strandline_operators::job::StartingOffsets;
use strandline_operators::positions;
use strandline_operators::progress::Progress;
use strandline_operators::time::EventTime;

use super::super::client::RecordProducer;
use super::super::discovery::{Known, KnownTopic, Workers, discover};
use super::super::embedded::EmbeddedKafka;
use super::super::metadata::Cluster;
use super::reader::{MAX_BATCH_BYTES, UNKNOWN_GRACE};
use super::*;
use crate::generator::{Generator, GeneratorConfig, producer};

const TOPIC: &str = "events";
const DEADLINE: Duration = Duration::from_secs(30);
const FETCHING: Fetching = Fetching {
    queue_bytes: 64 << 20,
    wait: Duration::ZERO,
};

fn roomy() -> Budget {
    Budget::new(u64::MAX)
}

fn generated(events: u64, partitions: i32) -> GeneratorConfig {
    GeneratorConfig {
        events,
        partitions,
        ..GeneratorConfig::default()
    }
}

/// An embedded broker with generated records.
fn kafka_with(config: &GeneratorConfig) -> EmbeddedKafka {
    let kafka = EmbeddedKafka::start(&[(TOPIC, config.partitions)]).expect("kafka");
    producer::produce(
        &kafka.settings(),
        TOPIC,
        &mut Generator::new(config.clone()),
        None,
        &|| true,
    )
    .expect("produce");
    kafka
}

fn open(kafka: &EmbeddedKafka, starting: &StartingOffsets) -> KafkaLog {
    let cluster = Cluster::connect(&kafka.settings()).expect("cluster");
    let topics = [cluster.topic(TOPIC).expect("topic")];
    let facts = cluster.facts(&topics, "group", starting).expect("facts");
    let progress = Progress::new("job", "uuid", 1, "fingerprint");
    let positions = positions::decide(
        Some(cluster.id()),
        &topics,
        &facts,
        &progress,
        starting,
        OnGap::Stop,
    )
    .expect("positions");
    let settings = kafka.settings();
    KafkaLog::open(&settings, "group", &positions, OnGap::Stop, FETCHING).expect("log")
}

fn from_offset(kafka: &EmbeddedKafka, partition: i32, offset: i64) -> KafkaLog {
    from_offset_with(kafka, partition, offset, OnGap::Stop)
}

fn from_offset_with(kafka: &EmbeddedKafka, partition: i32, offset: i64, on_gap: OnGap) -> KafkaLog {
    let assigned = AssignedPartition {
        source: TopicPartition::new(TOPIC, partition),
        start: offset,
        end_at_start: offset,
        max_event_time: None,
    };
    let position = Position {
        assigned,
        read_from: offset,
        leader_epoch: None,
        reason: String::new(),
    };
    let settings = kafka.settings();
    KafkaLog::open(&settings, "group", &[position], on_gap, FETCHING).expect("log")
}

/// Polls until `done`, which sees everything but `Nothing`.
fn poll_until(
    log: &mut KafkaLog,
    budget: &Budget,
    what: &str,
    mut done: impl FnMut(Polled) -> bool,
) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match log.poll(1000, budget).expect("poll") {
            Polled::Nothing => std::thread::yield_now(),
            polled => {
                if done(polled) {
                    return;
                }
            }
        }
        assert!(
            Instant::now() < deadline,
            "waited for {what}; diagnosis: {:?}",
            log.diagnosis().recent(DEADLINE)
        );
    }
}

fn produce_one(kafka: &EmbeddedKafka, value: &[u8]) {
    let producer = RecordProducer::bulk(&kafka.settings()).expect("producer");
    producer
        .send(BaseRecord::to(TOPIC).partition(0).payload(value))
        .expect("send");
    producer.flush("produce", DEADLINE).expect("flush");
}

#[test]
fn every_record_is_read_once_in_order_with_its_bytes_and_then_the_end_is_told() {
    let config = generated(20_000, 3);
    let kafka = kafka_with(&config);
    let mut expected = vec![Vec::new(); 3];
    for record in Generator::new(config) {
        expected[record.partition as usize].push(record);
    }
    let mut log = open(&kafka, &StartingOffsets::Earliest);
    assert_eq!(log.partitions().len(), 3);
    let budget = roomy();
    let mut next = [0_i64; 3];
    let mut ended = [false; 3];
    poll_until(&mut log, &budget, "the end of all partitions", |polled| {
        match polled {
            Polled::Batch(batch) => {
                let p = batch.source.partition as usize;
                assert!(!ended[p]);
                assert_eq!(batch.start, next[p]);
                assert_eq!(batch.gaps(), 0);
                assert!(batch.records.len() <= 1000);
                for record in &batch.records {
                    let wanted = &expected[p][record.offset as usize];
                    assert_eq!(batch.value(record), wanted.value.as_deref());
                    assert_eq!(batch.key(record), wanted.key.as_deref());
                    assert_eq!(
                        record.timestamp,
                        Some(EventTime(wanted.timestamp_ms * 1000))
                    );
                }
                next[p] = batch.next;
            }
            Polled::EndOfPartition { source, next: end } => {
                let p = source.partition as usize;
                assert_eq!((end, end), (next[p], expected[p].len() as i64));
                ended[p] = true;
            }
            Polled::Nothing => unreachable!("not passed on"),
        }
        ended.iter().all(|&e| e)
    });
    assert_eq!(budget.in_flight(), 0, "credits came back with the batches");
    let ends = log.end_offsets();
    assert_eq!(ends.len(), 3);
    assert!(
        ends.iter()
            .all(|(s, end)| *end == expected[s.partition as usize].len() as i64),
        "{ends:?}"
    );
}

#[test]
fn reading_resumes_at_a_position() {
    let config = generated(3000, 1);
    let kafka = kafka_with(&config);
    let mut log = from_offset(&kafka, 0, 1234);
    let mut first = None;
    poll_until(&mut log, &roomy(), "the end", |polled| match polled {
        Polled::Batch(batch) => {
            first.get_or_insert((batch.start, batch.records[0].offset));
            false
        }
        Polled::EndOfPartition { next, .. } => next == 3000,
        Polled::Nothing => false,
    });
    assert_eq!(first, Some((1234, 1234)));
}

#[test]
fn out_of_credit_nothing_is_read_and_with_credit_nothing_is_missing() {
    let config = generated(10_000, 2);
    let kafka = kafka_with(&config);
    let mut log = open(&kafka, &StartingOffsets::Earliest);
    // Room for one batch: has_room is true at zero only.
    let budget = Budget::new(1);
    let mut held = Vec::new();
    let mut read = 0;
    poll_until(&mut log, &budget, "a batch", |polled| match polled {
        Polled::Batch(batch) => {
            read += batch.records.len();
            held.push(batch);
            true
        }
        _ => false,
    });
    assert!(budget.in_flight() as usize >= held[0].arena.len());
    let patience = Instant::now() + Duration::from_millis(300);
    while Instant::now() < patience {
        assert!(matches!(
            log.poll(1000, &budget).expect("poll"),
            Polled::Nothing
        ));
    }
    held.clear();
    let mut ended = 0;
    poll_until(&mut log, &budget, "the end of both partitions", |polled| {
        match polled {
            Polled::Batch(batch) => read += batch.records.len(),
            Polled::EndOfPartition { .. } => ended += 1,
            Polled::Nothing => {}
        }
        ended == 2
    });
    assert_eq!(read, 10_000);
}

#[test]
fn a_record_that_comes_in_later_is_found_because_its_queue_says_so() {
    let kafka = kafka_with(&generated(0, 1));
    let mut log = open(&kafka, &StartingOffsets::Earliest);
    poll_until(&mut log, &roomy(), "the end", |polled| {
        matches!(polled, Polled::EndOfPartition { .. })
    });
    while !matches!(log.poll(1, &roomy()).expect("poll"), Polled::Nothing) {}
    // Swept queues are ready by our own hand: start from queues that are known to be empty.
    log.swept_at = Instant::now() + DEADLINE;
    let _ = log.poll(1, &roomy()).expect("poll");
    produce_one(&kafka, b"late");
    poll_until(&mut log, &roomy(), "the record", |polled| match polled {
        Polled::Batch(batch) => batch.value(&batch.records[0]) == Some(b"late"),
        _ => false,
    });
}

#[test]
fn an_offset_that_the_broker_does_not_hold_is_refused_unless_a_restart_records_it() {
    let kafka = kafka_with(&generated(100, 1));
    for (on_gap, kind, says) in [
        (OnGap::Stop, ErrorKind::Refused, "start again"),
        (
            OnGap::Record,
            ErrorKind::Unreachable,
            "its next start records the lost offsets as gaps",
        ),
    ] {
        let mut log = from_offset_with(&kafka, 0, 5000, on_gap);
        let deadline = Instant::now() + DEADLINE;
        let error = loop {
            match log.poll(1000, &roomy()) {
                Err(error) => break error,
                Ok(Polled::Nothing) => assert!(Instant::now() < deadline, "waited for the error"),
                Ok(other) => panic!("read {other:?}"),
            }
        };
        assert_eq!(error.kind(), kind);
        let text = error.to_string();
        assert!(
            text.contains("offset 5000 of partition events[0]"),
            "{text}"
        );
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn what_is_delivered_again_after_a_rewind_is_skipped_not_doubled() {
    let kafka = kafka_with(&generated(3000, 1));
    let mut log = open(&kafka, &StartingOffsets::Earliest);
    let mut next = 0;
    poll_until(&mut log, &roomy(), "some records", |polled| {
        if let Polled::Batch(batch) = polled {
            next = batch.next;
        }
        next > 0
    });
    log.consumer
        .seek(TOPIC, 0, Offset::Offset(0), DEADLINE)
        .expect("seek");
    log.readers[0].queue.readiness().set();
    poll_until(&mut log, &roomy(), "the end", |polled| match polled {
        Polled::Batch(batch) => {
            assert_eq!(batch.start, next);
            assert!(
                batch
                    .records
                    .iter()
                    .zip(next..)
                    .all(|(r, offset)| r.offset == offset)
            );
            next = batch.next;
            false
        }
        Polled::EndOfPartition { next: end, .. } => end == 3000,
        Polled::Nothing => false,
    });
    assert_eq!(next, 3000);
}

#[test]
fn group_offsets_are_what_lag_tools_see() {
    let kafka = kafka_with(&generated(100, 2));
    let mut log = open(&kafka, &StartingOffsets::Earliest);
    let sources = [TopicPartition::new(TOPIC, 0), TopicPartition::new(TOPIC, 1)];
    log.commit_group_offsets(&[(sources[0].clone(), 10), (sources[1].clone(), 20)]);
    log.commit_group_offsets(&[(sources[0].clone(), 11)]);
    drop(log);
    let cluster = Cluster::connect(&kafka.settings()).expect("cluster");
    let offsets = cluster.group_offsets(&sources, "group").expect("offsets");
    assert_eq!(offsets.into_values().collect::<Vec<_>>(), [11, 20]);
    let positions = open(&kafka, &StartingOffsets::Group);
    assert_eq!(
        positions
            .partitions()
            .iter()
            .map(|p| p.start)
            .collect::<Vec<_>>(),
        [11, 20]
    );
}

#[test]
fn partitions_assigned_while_running_are_read_and_do_not_disturb_the_others() {
    let config = generated(2000, 2);
    let kafka = kafka_with(&config);
    let mut log = from_offset(&kafka, 0, 0);
    let mut read = 0;
    poll_until(
        &mut log,
        &roomy(),
        "the end of the first",
        |polled| match polled {
            Polled::Batch(batch) => {
                read += batch.records.len();
                false
            }
            polled => matches!(polled, Polled::EndOfPartition { .. }),
        },
    );
    let assigned = AssignedPartition {
        source: TopicPartition::new(TOPIC, 1),
        start: 0,
        end_at_start: 0,
        max_event_time: None,
    };
    log.assign(&[Position {
        assigned,
        read_from: 0,
        leader_epoch: None,
        reason: String::new(),
    }])
    .expect("assign");
    poll_until(
        &mut log,
        &roomy(),
        "the end of the second",
        |polled| match polled {
            Polled::Batch(batch) => {
                assert_eq!(batch.source.partition, 1);
                read += batch.records.len();
                false
            }
            Polled::EndOfPartition { source, .. } => source.partition == 1,
            Polled::Nothing => false,
        },
    );
    assert_eq!(read, 2000);
    assert_eq!(log.partitions().len(), 2);
}

#[test]
fn large_records_are_split_over_batches_and_a_null_is_not_an_empty_value() {
    let kafka = kafka_with(&generated(0, 1));
    let producer = RecordProducer::bulk(&kafka.settings()).expect("producer");
    let large = vec![b'x'; 900_000];
    for _ in 0..4 {
        for _ in 0..3 {
            producer
                .send(BaseRecord::to(TOPIC).partition(0).payload(&large))
                .expect("send");
        }
        producer.flush("produce", DEADLINE).expect("flush");
        let mut log = from_offset(&kafka, 0, 0);
        let mut read = 0;
        poll_until(&mut log, &roomy(), "the end", |polled| match polled {
            Polled::Batch(batch) => {
                assert!(batch.arena.len() <= MAX_BATCH_BYTES);
                read += batch.records.len();
                false
            }
            polled => matches!(polled, Polled::EndOfPartition { .. }),
        });
        if read >= 5 {
            break;
        }
    }
    producer
        .send(
            BaseRecord::<[u8], [u8]>::to(TOPIC)
                .partition(0)
                .key(b"tombstone"),
        )
        .expect("send");
    producer
        .send(
            BaseRecord::<[u8], [u8]>::to(TOPIC)
                .partition(0)
                .payload(b""),
        )
        .expect("send");
    producer.flush("produce", DEADLINE).expect("flush");
    let cluster = Cluster::connect(&kafka.settings()).expect("cluster");
    let source = TopicPartition::new(TOPIC, 0);
    let end = cluster.ends(std::slice::from_ref(&source)).expect("ends")[&source];
    let mut log = from_offset(&kafka, 0, end - 2);
    let mut values = Vec::new();
    poll_until(&mut log, &roomy(), "the end", |polled| match polled {
        Polled::Batch(batch) => {
            values.extend(
                batch
                    .records
                    .iter()
                    .map(|r| batch.value(r).map(<[u8]>::to_vec)),
            );
            false
        }
        polled => matches!(polled, Polled::EndOfPartition { .. }),
    });
    assert_eq!(values, [None, Some(Vec::new())]);
}

/// A log of partition 0 that hears of what else there is.
fn following(kafka: &EmbeddedKafka, offset: i64, interval: Duration) -> KafkaLog {
    let mut log = from_offset(kafka, 0, offset);
    let known = Known {
        cluster_id: None,
        topics: vec![KnownTopic {
            name: TOPIC.to_owned(),
            id: None,
            partitions: [0].into(),
        }],
    };
    let workers = Workers {
        local: 0..1,
        peers: 1,
    };
    let (ends, looking) = discover(
        &kafka.settings(),
        "job",
        known,
        OnGap::Stop,
        interval,
        workers,
    )
    .expect("discovery");
    log.follow(ends.into_iter().next().expect("one worker"));
    // It would wait for the thread, which ends with the log.
    std::mem::forget(looking);
    log
}

#[test]
fn a_partition_that_the_discovery_finds_is_read_from_offset_0() {
    let config = generated(2000, 2);
    let kafka = kafka_with(&config);
    let mut log = following(&kafka, 0, Duration::from_millis(50));
    let mut next = [0, 0];
    let mut ended = 0;
    poll_until(&mut log, &roomy(), "the end of both", |polled| {
        match polled {
            Polled::Batch(batch) => {
                let p = batch.source.partition as usize;
                assert_eq!(batch.start, next[p]);
                next[p] = batch.next;
            }
            Polled::EndOfPartition { .. } => ended += 1,
            Polled::Nothing => {}
        }
        ended == 2
    });
    assert_eq!(next[0] + next[1], 2000);
    let assigned = log.partitions();
    assert_eq!((assigned[1].start, assigned[1].end_at_start), (0, next[1]));
}

#[test]
fn an_offset_that_is_gone_ends_the_job_after_a_look_that_explains_nothing() {
    let kafka = kafka_with(&generated(100, 1));
    let mut log = following(&kafka, 5000, Duration::from_secs(3600));
    let deadline = Instant::now() + DEADLINE;
    let mut looked_for = Duration::ZERO;
    let error = loop {
        match log.poll(1000, &roomy()) {
            Err(error) => break error,
            Ok(Polled::Nothing) => assert!(Instant::now() < deadline, "waited for the error"),
            Ok(other) => panic!("read {other:?}"),
        }
        looked_for = log.doubt.as_ref().map_or(looked_for, |d| d.since.elapsed());
    };
    assert!(
        !looked_for.is_zero() && looked_for < EXPLANATION_TIMEOUT,
        "a look answered"
    );
    assert!(error.to_string().contains("offset 5000"), "{error}");
}

#[test]
fn a_partition_unknown_for_long_that_is_there_after_all_is_read_on() {
    let kafka = kafka_with(&generated(100, 1));
    let mut log = following(&kafka, 0, Duration::from_secs(3600));
    log.readers[0].unknown_since = Instant::now().checked_sub(UNKNOWN_GRACE);
    assert!(log.readers[0].unknown_since.is_some());
    poll_until(&mut log, &roomy(), "the end", |polled| {
        matches!(polled, Polled::EndOfPartition { .. })
    });
}

/// A log of partition 0 from an offset whose record before was written by the leader of an epoch.
fn after_epoch(kafka: &EmbeddedKafka, offset: i64, epoch: i32) -> KafkaLog {
    let mut log =
        KafkaLog::open(&kafka.settings(), "group", &[], OnGap::Record, FETCHING).expect("log");
    let assigned = AssignedPartition {
        source: TopicPartition::new(TOPIC, 0),
        start: offset,
        end_at_start: offset,
        max_event_time: None,
    };
    log.assign(&[Position {
        assigned,
        read_from: offset,
        leader_epoch: Some(epoch),
        reason: String::new(),
    }])
    .expect("assign");
    log
}

#[test]
fn a_position_of_the_log_is_read_on_and_one_of_another_log_is_refused() {
    let kafka = kafka_with(&generated(1000, 1));
    let mut log = from_offset(&kafka, 0, 0);
    let mut epoch = None;
    poll_until(&mut log, &roomy(), "the end", |polled| {
        if let Polled::Batch(batch) = &polled {
            epoch = batch.leader_epoch;
        }
        matches!(polled, Polled::EndOfPartition { .. })
    });
    let epoch = epoch.expect("the broker tells leader epochs");
    let mut log = after_epoch(&kafka, 500, epoch);
    poll_until(&mut log, &roomy(), "the end", |polled| {
        matches!(polled, Polled::EndOfPartition { next: 1000, .. })
    });
    // A leader that this log never had: what it wrote was truncated, whatever stands there now.
    let mut log = after_epoch(&kafka, 500, epoch + 5);
    let deadline = Instant::now() + DEADLINE;
    let error = loop {
        match log.poll(1000, &roomy()) {
            Err(error) => break error,
            Ok(Polled::Nothing) => assert!(Instant::now() < deadline, "waited for the error"),
            Ok(other) => panic!("read {other:?}"),
        }
    };
    assert_eq!(error.kind(), ErrorKind::Refused, "whatever `on_gap` says");
    assert!(
        error.message().contains("truncated below offset 500"),
        "{error}"
    );
}

#[test]
fn leader_epochs_that_go_back_are_those_of_another_log() {
    let kafka = kafka_with(&generated(100, 1));
    let mut log = from_offset(&kafka, 0, 0);
    log.readers[0].leader_epoch = Some(i32::MAX);
    let deadline = Instant::now() + DEADLINE;
    let error = loop {
        match log.poll(1000, &roomy()) {
            Err(error) => break error,
            Ok(Polled::Nothing) => assert!(Instant::now() < deadline, "waited for the error"),
            Ok(other) => panic!("read {other:?}"),
        }
    };
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.message().contains("was replaced"), "{error}");
}
