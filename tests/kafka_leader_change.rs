//! A replicated topic whose leader dies under load: another broker leads, and nothing is lost or doubled.

mod support;

use std::time::Duration;

use rdkafka::admin::TopicReplication;
use support::{Catalog, OwnStack, RomanNumerals, Topic, later_events, unique};

const PARTITIONS: i32 = 2;
const DEADLINE: Duration = Duration::from_secs(300);
/// How soon everything is committed after the leader was killed. It takes 9 s until others know that it is gone.
const RECOVERY: Duration = Duration::from_secs(60);
/// The load: so many messages at a time, so often, so that it lasts for seconds.
const CHUNK: usize = 1000;
const CHUNKS: usize = 20;
const PAUSE: Duration = Duration::from_millis(100);

#[test]
fn a_leader_that_dies_under_load_costs_no_row_and_doubles_none() {
    let stack = OwnStack::up(&["kafka"]);
    let services = stack.description();
    let mut job = RomanNumerals::on(
        &services,
        Catalog::Sql,
        1,
        "commit: { interval: 100ms }\npartition_discovery_interval: 500ms",
    );
    // Later than the topic of the dead letters, which has no replica and must not be on it. It leads both
    // partitions: the first broker is the only controller.
    stack.start("kafka2");
    let replicated = Topic::create_with(
        &services.bootstrap_servers,
        &unique("replicated"),
        PARTITIONS,
        TopicReplication::Variable(&[&[2, 1], &[2, 1]]),
        &[("min.insync.replicas", "1")],
    );
    job.read(&replicated);
    let mut running = job.spawn(&["run", "roman-numerals", "-w", "2", "--json"]);
    let mut produced: u64 = 0;
    for _ in 0..2 {
        replicated.wait_until_led_by(2);
        let load = {
            let topic = replicated.clone();
            std::thread::spawn(move || {
                let mut events = later_events(produced as usize, CHUNKS * CHUNK, PARTITIONS);
                for _ in 0..CHUNKS {
                    topic.produce(events.by_ref().take(CHUNK));
                    std::thread::sleep(PAUSE);
                }
            })
        };
        job.wait_until_consumed(&mut running, produced + CHUNK as u64, DEADLINE);
        stack.kill("kafka2");
        load.join().expect("all produced");
        produced += (CHUNKS * CHUNK) as u64;
        job.wait_until_consumed(&mut running, produced, RECOVERY);
        // Back in the replica set, it leads again: the second change, in good order.
        stack.start("kafka2");
    }
    running.terminate();
    let printed = running.wait(DEADLINE).expect_exit(143).json();

    assert_eq!(printed["account"]["consumed"], produced, "{printed}");
    job.judge_with_account(&printed);
    job.expect_audit(DEADLINE);
}
