//! Watermarks: a partition that holds them, and a clock that is ahead.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::compare::compare_finding_in_time;
use crate::support::{DEADLINE, Message, served, status, wait_until, wait_until_consumed};
use crate::{JOB, end};

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock after 1970").as_millis() as i64
}

/// An event at a time; its record has the same.
fn event(partition: i32, id: &str, at_ms: i64) -> Message {
    let value = json!({ "event_id": id, "event_time": at_ms, "input_value": 7 });
    Message {
        partition,
        value: Some(value.to_string().into_bytes()),
        timestamp_ms: Some(at_ms),
        ..Message::default()
    }
}

#[test]
fn watermarks_and_clocks() {
    let job = served(2);
    let now = now_ms();
    job.topic.produce([
        event(0, "first", now - 60_000),
        event(1, "other", now - 60_000),
    ]);
    let running = job.spawn(&["run", JOB]);
    wait_until_consumed(&job, 2);
    // The other partition goes on alone.
    let alone = Instant::now();
    let mut seconds = 0;
    wait_until("a watermark that is held", DEADLINE, || {
        seconds += 1;
        let at = now - 50_000 + 10 * seconds;
        job.topic
            .produce([event(1, &format!("next-{seconds}"), at)]);
        let findings = status(&job)?["findings"].clone();
        let held = findings
            .as_array()?
            .iter()
            .any(|f| f["kind"] == "watermark_held");
        held.then_some(())
    });
    compare_finding_in_time("idle_partition", &job, "watermark_held", alone);
    let ahead = Instant::now();
    job.topic.produce([event(1, "tomorrow", now + 30 * 60_000)]);
    compare_finding_in_time("partition_ahead", &job, "partition_ahead", ahead);
    end(running);
}
