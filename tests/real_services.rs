//! From a real broker into a real catalog, the outcome judged by a program that shares no code with us.

mod support;

use std::time::Duration;

use support::{Catalog, RomanNumerals, events, every_kind_of_bad_input};

const PARTITIONS: i32 = 6;
/// Of a run over some tens of thousands of events; generous, for a machine that does other things too.
const DEADLINE: Duration = Duration::from_secs(180);

fn what_lands_is_what_must_land(catalog: Catalog) {
    let job = RomanNumerals::new(catalog, PARTITIONS, "commit: { interval: 200ms }");
    job.topic.produce(every_kind_of_bad_input(PARTITIONS));
    job.topic
        .produce(events(50_000, PARTITIONS, rand::random()));

    let printed = job.run_until_caught_up(&["-w", "2"], DEADLINE);

    let report = job.judge_with_account(&printed);
    for outcome in ["landed", "late", "duplicates", "contested_ids"] {
        assert!(
            report[outcome].as_u64() > Some(0),
            "the events must show {outcome}: {report}"
        );
    }
    job.judge_readers();
}

#[test]
fn what_lands_is_what_must_land_with_an_sql_catalog() {
    what_lands_is_what_must_land(Catalog::Sql);
}

#[test]
fn what_lands_is_what_must_land_with_a_rest_catalog() {
    what_lands_is_what_must_land(Catalog::Rest);
}

#[test]
fn a_second_run_over_the_same_topic_lands_nothing_twice() {
    let job = RomanNumerals::new(Catalog::Sql, PARTITIONS, "");
    job.topic
        .produce(events(10_000, PARTITIONS, rand::random()));
    job.run_until_caught_up(&[], DEADLINE);
    job.topic
        .produce(events(10_000, PARTITIONS, rand::random()));
    job.delete_state();

    job.run_until_caught_up(&["-w", "2"], DEADLINE);

    job.judge(&[]);
}
