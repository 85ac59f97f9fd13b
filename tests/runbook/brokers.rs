//! The broker goes away while a job runs.

use std::time::Instant;

use crate::compare::{compare_finding, compare_finding_in_time};
use crate::support::{
    Catalog, DEADLINE, OwnStack, RomanNumerals, events, later_events, wait_for_status,
};
use crate::{JOB, end};

#[test]
fn broker_away() {
    let stack = OwnStack::up(&["kafka"]);
    // The first epoch is short whatever the interval. The second is still open when the broker goes.
    let commits = "commit: { interval: 15s }";
    let job = RomanNumerals::on(&stack.description(), Catalog::Sql, 1, commits);
    job.topic.produce(events(100, 1, 1));
    let mut running = job.spawn(&["run", JOB]);
    job.wait_until_consumed(&mut running, 100, DEADLINE);
    job.topic.produce(later_events(100, 2000, 1));
    wait_for_status(&job, "everything read", |status| {
        let partitions = status["partitions"].as_array();
        partitions.is_some_and(|of| of.iter().any(|partition| partition["next"] == 2100))
    });

    stack.stop("kafka");
    let gone = Instant::now();
    compare_finding_in_time("broker_away", &job, "brokers_unreachable", gone);
    // That one begins with a commit, which comes when it comes.
    compare_finding("broker_away_at_commit", &job, "waits_for_kafka");
    stack.start("kafka");
    job.wait_until_consumed(&mut running, 2100, DEADLINE);
    end(running);
}
