//! Events as the Roman numeral service would send them, and every kind of bad input, from a seed.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::topic::Message;

/// The clock of the first event: 2025-06-01T00:00:00Z. In the past, so that no event is from the future.
const FIRST_EVENT_MS: i64 = 1_748_736_000_000;
/// The clock between two events. A million of them are 2.8 hours: far from any id's expiry.
const STEP_MS: i64 = 10;
const MINUTE_MS: i64 = 60_000;

/// How many of a hundred events are of each kind; the rest are plain.
const DUPLICATES: u32 = 10;
const DUPLICATES_ELSEWHERE: u32 = 1;
const LATE: u32 = 5;
const TOO_LATE: u32 = 1;
const BAD: u32 = 1;

/// `count` messages over `partitions` partitions, with duplicates (also in other partitions), late, too
/// late and bad ones. The same for the same seed, which is printed.
pub fn events(count: usize, partitions: i32, seed: u64) -> impl Iterator<Item = Message> {
    eprintln!("events from seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut recent: Vec<Message> = Vec::new();
    (0..count).map(move |i| {
        let clock = FIRST_EVENT_MS + i as i64 * STEP_MS;
        let kind = rng.random_range(0..100);
        if kind < DUPLICATES + DUPLICATES_ELSEWHERE && !recent.is_empty() {
            let original = &recent[rng.random_range(0..recent.len())];
            let partition = if kind < DUPLICATES {
                original.partition
            } else {
                rng.random_range(0..partitions)
            };
            return Message {
                partition,
                timestamp_ms: Some(clock),
                ..original.clone()
            };
        }
        let kind = kind.saturating_sub(DUPLICATES + DUPLICATES_ELSEWHERE);
        let behind_ms = match kind {
            _ if kind < LATE => rng.random_range(6 * MINUTE_MS..60 * MINUTE_MS),
            _ if kind < LATE + TOO_LATE => rng.random_range(70 * MINUTE_MS..600 * MINUTE_MS),
            _ => rng.random_range(0..MINUTE_MS),
        };
        let is_bad = (LATE + TOO_LATE..LATE + TOO_LATE + BAD).contains(&kind);
        let key = format!("event-{i:09}");
        let value = if is_bad {
            bad(&mut rng, &key, clock)
        } else {
            Some(good(&mut rng, &key, clock - behind_ms))
        };
        let message = Message {
            partition: rng.random_range(0..partitions),
            key: Some(key.into_bytes()),
            value,
            timestamp_ms: Some(clock),
            headers: Vec::new(),
        };
        if !is_bad {
            remember(&mut recent, &mut rng, message.clone());
        }
        message
    })
}

/// `count` messages whose ids and clock follow those of `before` earlier ones.
pub fn later_events(before: usize, count: usize, partitions: i32) -> impl Iterator<Item = Message> {
    events(before + count, partitions, before as u64).skip(before)
}

/// Keeps a sample of what was sent, old and new, to be sent again.
fn remember(recent: &mut Vec<Message>, rng: &mut StdRng, message: Message) {
    const KEPT: usize = 10_000;
    if recent.len() < KEPT {
        recent.push(message);
    } else {
        recent[rng.random_range(0..KEPT)] = message;
    }
}

fn good(rng: &mut StdRng, id: &str, event_time_ms: i64) -> Vec<u8> {
    let mut event = json!({
        "event_id": id,
        "event_type": "conversion",
        "event_time": event_time_ms,
        "user_id": format!("user-{}", rng.random_range(0..5000)),
        "session_id": null,
        "input_value": rng.random_range(1..4000),
        "roman_numeral": "MCMXCIV",
        "response_time_ms": f64::from(rng.random_range(1..100_000)) / 1000.0,
        "source": "web \"ä\" \u{1f3db}",
    });
    match rng.random_range(0..10) {
        0 => event["event_time"] = iso_8601(event_time_ms).into(),
        1 => event["field of tomorrow"] = json!({"nested": [1, 2, {"deep": null}]}),
        2 => event["response_time_ms"] = 7.into(),
        3 => drop(event.as_object_mut().map(|fields| fields.remove("source"))),
        _ => {}
    }
    event.to_string().into_bytes()
}

fn iso_8601(ms: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(ms).expect("a time within chrono's range");
    time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// A value that cannot land, of any of the kinds that the interface names.
fn bad(rng: &mut StdRng, id: &str, clock_ms: i64) -> Option<Vec<u8>> {
    const KINDS: u32 = 22;
    bad_of_kind(rng.random_range(0..KINDS), id, clock_ms)
}

fn bad_of_kind(kind: u32, id: &str, clock_ms: i64) -> Option<Vec<u8>> {
    let event = |fields: &str| {
        format!("{{\"event_id\":\"{id}\",\"event_time\":{clock_ms},{fields}}}").into_bytes()
    };
    let timed =
        |time: &str| format!("{{\"event_id\":\"{id}\",\"event_time\":{time}}}").into_bytes();
    Some(match kind {
        0 => return None,
        1 => Vec::new(),
        2 => event("\"source\":\"cut off")[..60].to_vec(),
        3 => b"\x00\x00\x00\x00\x07\x0c\xff\xfe".to_vec(),
        4 => event("\"source\":\"?\"")
            .iter()
            .map(|&b| if b == b'?' { 0xff } else { b })
            .collect(),
        5 => event("\"event_id\":\"another\""),
        6 => event(&format!("\"x\":{}1{}", "[".repeat(100), "]".repeat(100))),
        7 => [event("\"x\":1"), b"{}".to_vec()].concat(),
        8 => event("\"input_value\":\"7\""),
        9 => event("\"input_value\":2147483648"),
        10 => event("\"input_value\":1.5"),
        11 => event("\"response_time_ms\":1e999"),
        12 => event("\"source\":17"),
        13 => b"[1, 2, 3]".to_vec(),
        14 => format!("{{\"event_time\":{clock_ms}}}").into_bytes(),
        15 => format!("{{\"event_id\":\"\",\"event_time\":{clock_ms}}}").into_bytes(),
        16 => format!("{{\"event_id\":\"{id}\"}}").into_bytes(),
        17 => timed("null"),
        18 => timed("\"yesterday\""),
        19 => timed("\"0001-01-01T00:00:00Z\""),
        20 => timed("\"9999-12-31T23:59:59Z\""),
        _ => timed(&(clock_ms + 61 * MINUTE_MS).to_string()),
    })
}

/// Every kind of bad value once, and one over the limit of a record.
pub fn every_kind_of_bad_input(partitions: i32) -> Vec<Message> {
    let too_large = format!(
        "{{\"event_id\":\"large\",\"x\":\"{}\"}}",
        "x".repeat(8 << 20)
    )
    .into_bytes();
    let values = (0..22).map(|kind| bad_of_kind(kind, &format!("bad-{kind}"), FIRST_EVENT_MS));
    values
        .chain([Some(too_large)])
        .enumerate()
        .map(|(i, value)| Message {
            partition: i as i32 % partitions,
            key: (i % 3 != 0).then(|| vec![0xff, i as u8]),
            value,
            timestamp_ms: Some(FIRST_EVENT_MS),
            headers: vec![
                ("absurd \u{1f3db}".repeat(100), Some(vec![0xff; 1000])),
                (String::new(), None),
            ],
        })
        .collect()
}
