//! Against the embedded broker, which tells no topic ids; `tests/kafka_recreated_topic.rs` has a real one.

use super::super::embedded::EmbeddedKafka;
use super::*;

const TOPIC: &str = "events";
const DEADLINE: Duration = Duration::from_secs(30);

fn known(cluster_id: Option<&str>) -> Known {
    Known {
        cluster_id: cluster_id.map(str::to_owned),
        topics: vec![KnownTopic {
            name: TOPIC.to_owned(),
            id: None,
            partitions: BTreeSet::from([0]),
        }],
    }
}

fn ends(kafka: &EmbeddedKafka, known: Known, interval: Duration) -> (Vec<Discovered>, Looking) {
    let workers = Workers {
        local: 2..4,
        peers: 4,
    };
    discover(
        &kafka.settings(),
        "job",
        known,
        OnGap::Stop,
        interval,
        workers,
    )
    .expect("a thread")
}

fn partitions(positions: &[Position]) -> Vec<(i32, i64)> {
    positions
        .iter()
        .map(|p| (p.assigned.source.partition, p.read_from))
        .collect()
}

#[test]
fn a_partition_that_was_added_goes_once_to_the_worker_that_reads_it() {
    let kafka = EmbeddedKafka::start(&[(TOPIC, 8)]).expect("kafka");
    let (ends, looking) = ends(&kafka, known(None), Duration::from_millis(50));
    // Of partitions 1 to 7; workers 0 and 1 are in another process.
    for (end, expected) in ends.iter().zip([[(2, 0), (6, 0)], [(3, 0), (7, 0)]]) {
        match end.news.recv_timeout(DEADLINE) {
            Ok(News::Added(positions)) => assert_eq!(partitions(&positions), expected),
            _ => panic!("waited for {expected:?}"),
        }
    }
    // A look that began after it was asked for has nothing new to tell.
    assert!(ends[0].ask());
    for end in &ends {
        match end.news.recv_timeout(DEADLINE) {
            Ok(News::Looked(there)) => assert_eq!(there.len(), 8),
            _ => panic!("waited for an answer"),
        }
    }
    drop((ends, looking));
}

#[test]
fn another_cluster_is_refused_to_every_worker_and_then_nobody_answers() {
    let kafka = EmbeddedKafka::start(&[(TOPIC, 1)]).expect("kafka");
    let (ends, looking) = ends(&kafka, known(Some("elsewhere")), Duration::from_secs(3600));
    assert!(ends[1].ask(), "asked, it does not wait for the interval");
    for end in &ends {
        match end.news.recv_timeout(DEADLINE) {
            Ok(News::Refused(error)) => {
                assert_eq!(error.kind(), ErrorKind::Refused);
                assert!(error.message().contains("elsewhere"), "{error}");
            }
            _ => panic!("waited for the refusal"),
        }
    }
    assert_eq!(
        looking.ended.recv_timeout(DEADLINE),
        Err(RecvTimeoutError::Disconnected),
        "the thread has ended"
    );
    assert!(!ends[0].ask(), "nobody will answer");
}

#[test]
fn the_thread_ends_with_the_logs() {
    let kafka = EmbeddedKafka::start(&[(TOPIC, 1)]).expect("kafka");
    let (ends, looking) = ends(&kafka, known(None), Duration::from_secs(3600));
    drop(ends);
    assert_eq!(
        looking.ended.recv_timeout(DEADLINE),
        Err(RecvTimeoutError::Disconnected)
    );
}
