//! Topics that are not there or hold nothing to read, records of another format, and what holds up their readers.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::compare::{compare_end, compare_finding, compare_finding_in_time, compare_start};
use crate::support::{
    DEADLINE, Message, Transaction, Transactions, assert_named_in_time, events, load, served,
    unique, wait_until, wait_until_consumed, wait_until_it_reads,
};
use crate::{JOB, end};

/// What a producer sends twice is over sooner: for so long nothing is said of records of which none lands.
const NOTHING_LANDS_AFTER: Duration = Duration::from_secs(10);

#[test]
fn topics_and_offsets() {
    let job = served(1);
    job.reconfigure(
        &format!("topics: [{}]", job.topic.name),
        "topics: [no-such-topic]",
    );
    compare_start("topic_missing", &job);

    let job = served(1);
    let running = job.spawn(&["run", JOB]);
    let reads = wait_until_it_reads(&job);
    compare_finding_in_time("topic_empty", &job, "topic_empty", reads);
    end(running);

    let job = served(1);
    load(&job, 1, 0, 100, 1);
    job.reconfigure("commit:", "starting_offsets: latest\n    commit:");
    let running = job.spawn(&["run", JOB]);
    let reads = wait_until_it_reads(&job);
    compare_finding_in_time("at_the_end", &job, "nothing_new", reads);
    end(running);
}

#[test]
fn wrong_format() {
    let job = served(1);
    let with_header = |i: u8| Message {
        value: Some([&[0, 0, 0, 0, 7, i][..], b"avro"].concat()),
        ..Message::default()
    };
    job.topic.produce((0..20).map(with_header));
    let check = job.run(&["check", JOB], DEADLINE);
    compare_end("wrong_format", &check);
    let fits = "for which `format: avro_sr` or `format: protobuf_sr` would fit";
    assert!(check.stdout.contains(fits), "{}", check.stdout);
}

#[test]
fn check_tells_of_seconds_where_milliseconds_are_meant() {
    let job = served(1);
    let seconds = |i: u64| Message {
        value: Some(format!(r#"{{"event_id": "{i}", "event_time": 1767225600}}"#).into_bytes()),
        ..Message::default()
    };
    job.topic.produce((0..20).map(seconds));
    let check = job.run(&["check", JOB], DEADLINE).expect_exit(0);
    let told = "warn  event time: 20 of 20 event times in `event_time` are before the year 2000";
    assert!(check.stdout.contains(told), "{}", check.stdout);
}

#[test]
fn wrong_format_running() {
    let job = served(1);
    let with_header = events(200, 1, 1).map(|message| Message {
        value: message
            .value
            .map(|json| [&[0, 0, 0, 0, 7][..], &json[..]].concat()),
        ..message
    });
    job.topic.produce(with_header);
    let running = job.spawn(&["run", JOB]);
    let reads = wait_until_it_reads(&job);
    let found = compare_finding_in_time("wrong_format_running", &job, "dead_letters", reads);
    let hint = found["hint"].as_str().unwrap_or_default();
    assert!(hint.contains("`format: json_sr` would fit"), "{hint}");
    end(running);
}

#[test]
fn same_key() {
    let job = served(1);
    let same = |_| Message {
        value: Some(br#"{"event_id": "e", "event_time": "2026-01-01T00:00:00Z"}"#.to_vec()),
        ..Message::default()
    };
    let running = job.spawn(&["run", JOB]);
    let begun = wait_until_it_reads(&job);
    let mut sent = 0;
    wait_until("nothing_lands", DEADLINE, || {
        job.topic.produce((0..20).map(same));
        sent += 20;
        let status = wait_until_consumed(&job, sent);
        let findings = status["findings"].as_array()?;
        let is_named = findings.iter().any(|of| of["kind"] == "nothing_lands");
        is_named.then_some(())
    });
    assert!(begun.elapsed() >= NOTHING_LANDS_AFTER, "it is too soon");
    assert_named_in_time("nothing_lands", begun + NOTHING_LANDS_AFTER);
    let found = compare_finding("same_key", &job, "nothing_lands");
    let hint = found["hint"].as_str().unwrap_or_default();
    assert!(hint.contains("`dedup.key` is `event_id`"), "{hint}");
    end(running);
}

#[test]
fn open_transaction() {
    let job = served(1);
    load(&job, 1, 0, 100, 1);
    let running = job.spawn(&["run", JOB]);
    wait_until_consumed(&job, 100);
    let transactions = Transactions::to(&job.topic);
    let caused = Instant::now();
    transactions.write(events(50, 1, 2), Transaction::Open);
    compare_finding_in_time("open_transaction", &job, "open_transaction", caused);
    transactions.commit();
    wait_until_consumed(&job, 150);
    end(running);
}

#[test]
fn another_consumer_holds_the_group() {
    let job = served(1);
    load(&job, 1, 0, 100, 1);
    let group = unique("taken");
    job.reconfigure("commit:", &format!("group_id: {group}\n    commit:"));
    let other: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &job.topic.bootstrap_servers)
        .set("group.id", &group)
        .set("client.id", "somebody-else")
        .create()
        .expect("a Kafka consumer");
    other.subscribe(&[&job.topic.name]).expect("subscribe");
    wait_until("the other one to be a member", DEADLINE, || {
        other.poll(Duration::from_millis(100));
        let assigned = other.assignment().expect("an assignment");
        (assigned.count() > 0).then_some(())
    });
    compare_end("group_taken", &job.run(&["check", JOB], DEADLINE));
    let running = job.spawn(&["run", JOB]);
    compare_finding("group_refused", &job, "group_refused");
    end(running);
}
