//! The broker stops for a while: the job waits, says so, and goes on by itself.

mod support;

use std::time::Duration;

use support::{
    Catalog, OwnStack, RomanNumerals, events, later_events, wait_for_status, wait_until,
};

const PARTITIONS: i32 = 3;
const DEADLINE: Duration = Duration::from_secs(240);

#[test]
fn a_job_outlives_its_broker_and_says_what_it_waits_for() {
    let stack = OwnStack::up(&["kafka"]);
    let job = RomanNumerals::on(
        &stack.description(),
        Catalog::Sql,
        PARTITIONS,
        "commit: { interval: 100ms }\npartition_discovery_interval: 500ms",
    );
    job.topic.produce(events(3000, PARTITIONS, 1));
    let mut running = job.spawn(&["run", "roman-numerals", "-w", "2", "--json"]);
    job.wait_until_consumed(&mut running, 3000, DEADLINE);

    stack.stop("kafka");
    wait_until("the job to say what it waits for", DEADLINE, || {
        assert!(running.is_running(), "it ended: {}", running.stderr());
        let log = running.stderr();
        log.contains("no Kafka broker can be reached").then_some(())
    });
    stack.start("kafka");
    job.topic.produce(later_events(3000, 2000, PARTITIONS));
    job.wait_until_consumed(&mut running, 5000, DEADLINE);
    let log = running.stderr();
    assert!(log.contains("records come in again"), "{log}");
    running.terminate();
    let printed = running.wait(DEADLINE).expect_exit(143).json();

    job.judge_with_account(&printed);
    job.expect_audit(DEADLINE);
}

#[test]
fn a_job_that_is_to_end_without_its_broker_leaves_the_rest_to_the_next_start() {
    let stack = OwnStack::up(&["kafka"]);
    let long = "commit: { interval: 1h }";
    let job = RomanNumerals::on(&stack.description(), Catalog::Sql, PARTITIONS, long);
    // The first epoch is short, whatever the interval.
    job.topic.produce(events(100, PARTITIONS, 1));
    let mut running = job.spawn(&["run", "roman-numerals", "-w", "2"]);
    job.wait_until_consumed(&mut running, 1, DEADLINE);
    job.topic.produce(later_events(100, 2000, PARTITIONS));
    wait_for_status(&job, "everything read", |status| {
        let operators = status["operators"].as_array();
        operators.is_some_and(|operators| {
            let mut read = operators.iter().filter(|o| o["name"] == "read");
            read.any(|o| o["count"] == 2100)
        })
    });
    let committed = &job.expect_audit(DEADLINE)["account"]["consumed"];
    assert!(committed.as_u64() < Some(2100), "{committed}");

    stack.stop("kafka");
    running.terminate();
    let ended = running.wait(Duration::from_secs(60)).expect_exit(3);
    let said = "is read again at the next start";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);

    // What the table holds is right as far as it can tell alone, and to be asked again.
    let audit = job.run(&["audit", "roman-numerals", "--json"], DEADLINE);
    let audit = audit.expect_exit(3).json();
    assert_eq!(audit["problems"], serde_json::json!([]), "{audit}");
    assert!(audit["unanswered"].is_string(), "{audit}");

    stack.start("kafka");
    let printed = job.run_until_caught_up(&[], DEADLINE);
    assert_eq!(printed["account"]["consumed"], 2100, "{printed}");
    job.judge_with_account(&printed);
}
