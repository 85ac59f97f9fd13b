//! Where reading starts is decided once, not at every start.

mod support;

use std::time::Duration;

use support::{Catalog, RomanNumerals, events, unique};

const DEADLINE: Duration = Duration::from_secs(120);

#[test]
fn latest_is_the_end_at_the_first_start_and_nothing_after_it_is_skipped() {
    let job = RomanNumerals::new(Catalog::Sql, 3, "starting_offsets: latest");
    job.topic.produce(events(300, 3, 1));
    let first = job.run_until_caught_up(&[], DEADLINE);
    assert_eq!(first["account"]["consumed"], 0, "{first}");

    // Written while the job is down: after the first start, so it must land.
    job.topic.produce(events(200, 3, 2));
    let second = job.run_until_caught_up(&[], DEADLINE);
    assert_eq!(second["account"]["consumed"], 200, "{second}");
}

/// Where a first run over 300 records of one partition starts, and why it says so.
#[track_caller]
fn starts(settings: &str, consumed: u64, words: &str) {
    let job = RomanNumerals::new(Catalog::Sql, 1, settings);
    job.topic.produce(events(300, 1, 1));
    starts_in(&job, consumed, words);
}

#[track_caller]
fn starts_in(job: &RomanNumerals, consumed: u64, words: &str) {
    let args = ["run", "roman-numerals", "--until-caught-up", "--json"];
    let run = job.run(&args, DEADLINE).expect_exit(0);
    let reason = format!("{}[0]: from {}, {words}", job.topic.name, 300 - consumed);
    assert!(run.stderr.contains(&reason), "`{reason}`: {}", run.stderr);
    assert_eq!(run.json()["account"]["consumed"], consumed);
}

#[test]
fn earliest_is_the_oldest_record_that_the_broker_holds() {
    let job = RomanNumerals::new(Catalog::Sql, 1, "starting_offsets: earliest");
    job.topic.produce(events(300, 1, 1));
    job.topic.delete_records(0, 40);
    starts_in(
        &job,
        260,
        "the oldest record that the broker holds (`starting_offsets: earliest`)",
    );
}

#[test]
fn a_timestamp_is_the_first_record_since_then() {
    // Of the records the 101st is of the first second of that day.
    let since = "starting_offsets: { timestamp: '2025-06-01T00:00:01Z' }";
    starts(since, 200, "the first record since 2025-06-01T00:00:01");
    let never = "starting_offsets: { timestamp: '2035-06-01T00:00:00Z' }";
    starts(
        never,
        0,
        "the end of the partition: no record since 2035-06-01T00:00:00",
    );
}

#[test]
fn an_explicit_offset_is_where_reading_starts() {
    let job = RomanNumerals::new(Catalog::Sql, 1, "");
    job.topic.produce(events(300, 1, 1));
    let set = |offset: i64| {
        let name = &job.topic.name;
        format!("starting_offsets={{explicit: {{{name}: {{0: {offset}}}}}}}")
    };
    let run = |offset: i64| {
        let set = set(offset);
        let args = [
            "run",
            "roman-numerals",
            "--until-caught-up",
            "--json",
            "--set",
            &set,
        ];
        job.run(&args, DEADLINE)
    };
    let refused = run(301);
    assert!(
        refused.stderr.contains("the broker holds 0 to 300"),
        "{}",
        refused.stderr
    );
    refused.expect_exit(2);
    let started = run(290).expect_exit(0);
    let reason = "from 290, as `starting_offsets.explicit` says; new to the table";
    assert!(started.stderr.contains(reason), "{}", started.stderr);
    assert_eq!(started.json()["account"]["consumed"], 10);
    // It is for partitions that the table knows nothing of.
    let again = run(0).expect_exit(0);
    assert!(
        again.stderr.contains("from 300, committed by generation 1"),
        "{}",
        again.stderr
    );
    assert_eq!(again.json()["account"]["consumed"], 10);
}

#[test]
fn the_group_is_where_another_consumer_of_it_has_come_to() {
    let group = unique("others");
    let settings = format!("starting_offsets: group\ngroup_id: {group}");
    starts(
        &settings,
        300,
        "the oldest record that the broker holds (the consumer group has no position there)",
    );

    let job = RomanNumerals::new(Catalog::Sql, 1, &settings);
    job.topic.produce(events(300, 1, 1));
    job.topic.commit_group(&group, 0, 120);
    starts_in(
        &job,
        180,
        "where the consumer group stands (`starting_offsets: group`)",
    );
}
