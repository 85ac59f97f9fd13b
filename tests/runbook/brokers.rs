//! The broker goes away while a job runs, or hangs while records wait.

use std::time::Instant;

use crate::compare::{compare_finding, compare_finding_in_time};
use crate::support::{
    Catalog, DEADLINE, OwnStack, RomanNumerals, events, go_on, later_events, stop, wait_for_status,
};
use crate::{JOB, end};

/// Produced one after the other, each is a batch of the log, or two.
const BATCHES: usize = 20;
const BATCH: usize = 100;

/// A batch a fetch, and a second before the next one: while there is something in the client's queue, it takes the queue
/// for full. The broker is stopped long before all is read. The client gives it a minute, so that what is found is not
/// that no broker can be reached.
const ONE_BATCH_A_SECOND: &str = "{ fetch.message.max.bytes: '1', queued.min.messages: '1', \
                                  fetch.queue.backoff.ms: '1000', socket.timeout.ms: '60000' }";

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

#[test]
fn a_broker_that_hangs_while_records_wait() {
    let stack = OwnStack::up(&["kafka"]);
    let commits = "commit: { interval: 200ms }";
    let job = RomanNumerals::on(&stack.description(), Catalog::Sql, 1, commits);
    let servers = format!("bootstrap_servers: {}", job.topic.bootstrap_servers);
    job.reconfigure(
        &servers,
        &format!("{servers}\n  properties: {ONE_BATCH_A_SECOND}"),
    );
    for batch in 0..BATCHES {
        job.topic.produce(later_events(batch * BATCH, BATCH, 1));
    }
    let all = (BATCHES * BATCH) as i64;
    let mut running = job.spawn(&["run", JOB]);
    // It knows the end, and is not there.
    wait_for_status(&job, "a commit, and records that wait", |status| {
        let partition = &status["partitions"][0];
        let is_between = partition["next"].as_i64().is_some_and(|next| next < all);
        is_between && partition["end"] == all && status["account"]["consumed"] != 0
    });

    // Its connections stay open, and nothing comes through them.
    let broker = stack.pid("kafka");
    stop(broker);
    let hangs = Instant::now();
    let found = compare_finding_in_time("not_reading", &job, "not_reading", hangs);
    assert_eq!(found["severity"], "stalled");
    go_on(broker);
    job.wait_until_consumed(&mut running, all as u64, DEADLINE);
    end(running);
}
