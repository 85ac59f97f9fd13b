//! Broker, topic or catalog missing: an error within ten seconds that says what was tried and what to do.

mod support;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use support::{Catalog, RomanNumerals};

/// What INTERFACES promises, and a little for starting a process on a busy machine.
const PROMISED: Duration = Duration::from_secs(10);
const DEADLINE: Duration = Duration::from_secs(30);

/// An address on which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.local_addr().expect("an address").to_string()
}

#[track_caller]
fn assert_unreachable(job: &RomanNumerals, says: &[&str]) {
    for command in [&["run", "roman-numerals"][..], &["check", "roman-numerals"]] {
        let started = Instant::now();
        let finished = job.run(command, DEADLINE);
        let took = started.elapsed();
        let said = format!("{}{}", finished.stdout, finished.stderr);
        finished.expect_exit(3);
        assert!(took < PROMISED, "{command:?} took {took:?}: {said}");
        for text in says.iter().chain(&["hint:"]) {
            assert!(
                said.contains(text),
                "{command:?} does not say `{text}`: {said}"
            );
        }
    }
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    let job = RomanNumerals::new(Catalog::Sql, 1, "");
    let address = nobody();
    job.reconfigure(&job.topic.bootstrap_servers, &address);
    assert_unreachable(&job, &["Kafka", &address]);
}

#[test]
fn a_topic_that_is_not_there_is_named() {
    let job = RomanNumerals::new(Catalog::Sql, 1, "");
    job.reconfigure(
        &format!("topics: [{}]", job.topic.name),
        "topics: [no-such-topic]",
    );
    assert_unreachable(&job, &["no-such-topic"]);
}

#[test]
fn a_catalog_that_is_not_there_is_named() {
    let job = RomanNumerals::new(Catalog::Rest, 1, "");
    let address = nobody();
    job.reconfigure(&support::stack().rest_uri, &format!("http://{address}"));
    assert_unreachable(&job, &["catalog", &address]);
}
