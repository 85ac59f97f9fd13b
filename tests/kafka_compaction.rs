//! Compacted topics: what the cleaner removes are gaps of the account, tombstones are dead letters.

mod support;

use std::time::Duration;

use rdkafka::admin::TopicReplication;
use serde_json::json;
use support::{BROKER_DEADLINE, Catalog, Message, RomanNumerals, Topic, unique, wait_until};

const DEADLINE: Duration = Duration::from_secs(180);
const KEYS: i64 = 20;
/// 2025-06-01T00:00:00Z.
const FIRST_MS: i64 = 1_748_736_000_000;
/// Between two rounds of all keys: longer than a segment lasts, so that each round begins a new one.
const ROUND_MS: i64 = 10 * 60_000;

/// A round of all keys; keys below `dead` get a tombstone instead of an event.
fn round(number: i64, dead: i64) -> Vec<Message> {
    let message = |key: i64| {
        let at = FIRST_MS + number * ROUND_MS + key;
        let event = json!({ "event_id": format!("{number}-{key}"), "event_time": at });
        Message {
            key: Some(format!("key-{key}").into_bytes()),
            value: (key >= dead).then(|| event.to_string().into_bytes()),
            timestamp_ms: Some(at),
            ..Message::default()
        }
    };
    (0..KEYS).map(message).collect()
}

/// Waits until the cleaner has left these offsets; all later ones of the last round stand in the open
/// segment.
fn wait_until_compacted(topic: &Topic, left: &[i64]) {
    wait_until("the log cleaner", BROKER_DEADLINE, || {
        (topic.offsets(0) == left).then_some(())
    });
}

#[test]
fn compacted_records_are_gaps_and_tombstones_are_dead_letters() {
    let mut job = RomanNumerals::new(Catalog::Sql, 1, "commit: { interval: 100ms }");
    let compacted = Topic::create_with(
        &job.topic.bootstrap_servers,
        &unique("compacted"),
        1,
        TopicReplication::Fixed(1),
        &[
            ("cleanup.policy", "compact"),
            ("segment.ms", "60000"),
            ("min.cleanable.dirty.ratio", "0.01"),
        ],
    );
    job.read(&compacted);
    for number in 0..3 {
        compacted.produce(round(number, 0));
    }
    compacted.produce(round(3, 5));
    // The last round of the closed segments shadows all others; the open one is not compacted.
    compacted.produce(round(4, 0));
    let left: Vec<i64> = (3 * KEYS..5 * KEYS).collect();
    wait_until_compacted(&compacted, &left);

    let printed = job.run_until_caught_up(&[], DEADLINE);
    let report = job.judge_with_account(&printed);
    assert_eq!(
        report["dead_letters"],
        json!({ "null_value": 5 }),
        "{report}"
    );
    assert_eq!(printed["account"]["gaps"], 3 * KEYS, "{printed}");
    assert_eq!(printed["account"]["landed"], 2 * KEYS - 5, "{printed}");

    // The cleaner passes the committed position while the job is down: what it removes there was never read.
    compacted.produce(round(5, 0));
    compacted.produce(round(6, 0));
    compacted.produce(round(7, 0));
    let left: Vec<i64> = (6 * KEYS..8 * KEYS).collect();
    wait_until_compacted(&compacted, &left);
    job.run_until_caught_up(&[], DEADLINE);
    let audit = job.expect_audit(DEADLINE);
    assert_eq!(audit["account"]["consumed"], 4 * KEYS, "{audit}");
    assert_eq!(audit["account"]["gaps"], 4 * KEYS, "{audit}");
}
