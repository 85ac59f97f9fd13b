//! A topic that is deleted and created again under the same name: its offsets mean other records, so the job
//! does not go on.

mod support;

use std::time::Duration;

use support::{Catalog, RomanNumerals, events, go_on, stop};

const PARTITIONS: i32 = 2;
const DEADLINE: Duration = Duration::from_secs(180);
const SAID: &str = "was deleted and created again";

#[test]
fn a_topic_created_again_while_the_job_was_down_is_refused() {
    let job = RomanNumerals::new(Catalog::Sql, PARTITIONS, "");
    job.topic.produce(events(100, PARTITIONS, 1));
    job.run_until_caught_up(&[], DEADLINE);
    job.topic.create_again(PARTITIONS);
    // More than before: the committed positions lie inside of the new log.
    job.topic.produce(events(500, PARTITIONS, 2));

    let args = ["run", "roman-numerals", "--until-caught-up", "--json"];
    let refused = job.run(&args, DEADLINE).expect_exit(4);
    assert!(refused.stderr.contains(SAID), "{}", refused.stderr);
    let audit = job.audit(DEADLINE).expect("an account");
    assert_eq!(audit["account"]["consumed"], 100, "{audit}");
}

#[test]
fn a_topic_created_again_while_the_job_runs_ends_it() {
    let job = RomanNumerals::new(
        Catalog::Sql,
        PARTITIONS,
        "commit: { interval: 100ms }\npartition_discovery_interval: 200ms",
    );
    job.topic.produce(events(100, PARTITIONS, 1));
    let mut running = job.spawn(&["run", "roman-numerals", "-w", "2"]);
    job.wait_until_consumed(&mut running, 100, DEADLINE);
    job.topic.create_again(PARTITIONS);

    let refused = running.wait(DEADLINE).expect_exit(4);
    assert!(refused.stderr.contains(SAID), "{}", refused.stderr);
}

#[test]
fn a_position_that_the_new_topic_does_not_have_is_explained_before_the_next_look() {
    // No look of its own in this time: it is asked for.
    let job = RomanNumerals::new(
        Catalog::Sql,
        PARTITIONS,
        "commit: { interval: 100ms }\npartition_discovery_interval: 1h",
    );
    job.topic.produce(events(100, PARTITIONS, 1));
    let mut running = job.spawn(&["launch", "roman-numerals", "-n", "2"]);
    job.wait_until_consumed(&mut running, 100, DEADLINE);
    job.topic.create_again(PARTITIONS);
    job.topic.produce(events(10, PARTITIONS, 2));

    let refused = running.wait(DEADLINE).expect_exit(4);
    assert!(refused.stderr.contains(SAID), "{}", refused.stderr);
}

#[test]
fn a_topic_created_again_and_filled_beyond_the_position_at_once_ends_the_job_before_anything_lands()
{
    // No look of its own in this time either, and the broker holds records at the very offsets that come next.
    let job = RomanNumerals::new(
        Catalog::Sql,
        PARTITIONS,
        "commit: { interval: 100ms }\npartition_discovery_interval: 1h",
    );
    job.topic.produce(events(100, PARTITIONS, 1));
    let mut running = job.spawn(&["run", "roman-numerals", "-w", "2"]);
    job.wait_until_consumed(&mut running, 100, DEADLINE);
    // It does not look while this happens.
    stop(running.pid());
    job.topic.create_again(PARTITIONS);
    job.topic.produce(events(500, PARTITIONS, 2));
    go_on(running.pid());

    let refused = running.wait(DEADLINE).expect_exit(4);
    assert!(refused.stderr.contains(SAID), "{}", refused.stderr);
    let audit = job.audit(DEADLINE).expect("an account");
    assert_eq!(audit["account"]["consumed"], 100, "{audit}");
}
