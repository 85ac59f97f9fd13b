//! Catalogs that do not answer, answer late, or do not let a job in.

use std::time::Instant;

use serde_json::Value;

use crate::compare::{compare_end, compare_finding_in_time, compare_start};
use crate::support::{
    Answered, Applied, Catalog, CatalogProxy, DEADLINE, Fault, RomanNumerals, Stack, load,
    refusing_server, stack, status, wait_until_consumed,
};
use crate::{JOB, nobody};

/// Many times what fits into three epochs of the least `commit.max_bytes`: one that is committed, one that waits for its
/// commit, and one that is open and holds twice of it and a batch.
const MORE_THAN_EPOCHS_HOLD: u64 = 50_000;

/// A job whose catalog is a REST server, behind a proxy.
fn behind_proxy() -> (CatalogProxy, RomanNumerals) {
    let stack = stack();
    let proxy = CatalogProxy::before(&stack.rest_uri);
    let through = Stack {
        rest_uri: proxy.uri(),
        ..stack
    };
    let job = RomanNumerals::on(&through, Catalog::Rest, 1, "commit: { interval: 50ms }");
    job.reconfigure("http: \"off\"", "http: 127.0.0.1:0");
    (proxy, job)
}

/// From now on every commit is answered so, and none is made.
fn answer_commits(proxy: &CatalogProxy, answered: Answered) {
    let applied = Applied::Never;
    proxy.inject(vec![Fault { applied, answered }; 1_000], 1);
}

/// What a status says of a stage of the dataflow: whether it waits or is waited for, and that in words.
#[track_caller]
fn pressure<'a>(status: &'a Value, name: &str) -> (&'a str, &'a str) {
    let mut stages = status["operators"].as_array().into_iter().flatten();
    let stage = stages.find(|stage| stage["name"] == name);
    let stage = stage.unwrap_or_else(|| panic!("no stage `{name}` in {status}"));
    let pressure = stage["pressure"].as_str();
    let says = stage["says"].as_str();
    (pressure.unwrap_or("missing"), says.unwrap_or("missing"))
}

#[test]
fn catalogs_that_do_not_answer() {
    let job = RomanNumerals::new(Catalog::Rest, 1, "");
    job.reconfigure(&stack().rest_uri, &format!("http://{}", nobody()));
    compare_start("catalog_unreachable", &job);

    let job = RomanNumerals::new(Catalog::Rest, 1, "");
    job.reconfigure(&stack().rest_uri, &refusing_server());
    compare_start("catalog_credentials", &job);

    for (fault, kind, answered) in [
        ("catalog_slow", "commit_slow", Answered::Stalled),
        ("catalog_failing", "commit_failing", Answered::Status(503)),
    ] {
        let (proxy, job) = behind_proxy();
        load(&job, 1, 0, 100, 1);
        let running = job.spawn(&["run", JOB]);
        wait_until_consumed(&job, 100);
        answer_commits(&proxy, answered);
        let caused = Instant::now();
        load(&job, 1, 100, 100, 2);
        compare_finding_in_time(fault, &job, kind, caused);
        drop(running);
    }
}

#[test]
fn a_commit_that_is_not_answered_holds_up_the_reading() {
    let (proxy, job) = behind_proxy();
    job.reconfigure("interval: 50ms", "interval: 50ms, max_bytes: 64KiB");
    load(&job, 1, 0, 100, 1);
    let running = job.spawn(&["run", JOB, "-w", "1"]);
    wait_until_consumed(&job, 100);
    answer_commits(&proxy, Answered::Stalled);
    load(&job, 1, 100, MORE_THAN_EPOCHS_HOLD, 2);
    let caused = Instant::now();
    compare_finding_in_time("waits_for_commit", &job, "waits_for_commit", caused);

    let status = status(&job).expect("it runs");
    let (is, says) = pressure(&status, "read");
    let why = "% of the time: earlier epochs wait for their commit";
    assert!(
        is == "waits" && says.starts_with("reads nothing ") && says.ends_with(why),
        "{is}: {says}"
    );
    let (is, says) = pressure(&status, "commit");
    assert!(
        is == "busy" && says.starts_with("the others wait for it: "),
        "{is}: {says}"
    );
    for stage in ["decode", "deduplicate", "write files"] {
        assert_eq!(pressure(&status, stage), ("ok", ""), "{stage}");
    }
    drop(running);
}

#[test]
fn a_catalog_that_forbids_the_commit() {
    let (proxy, job) = behind_proxy();
    load(&job, 1, 0, 100, 1);
    let running = job.spawn(&["run", JOB]);
    wait_until_consumed(&job, 100);
    answer_commits(&proxy, Answered::Status(403));
    load(&job, 1, 100, 100, 2);
    compare_end("catalog_forbids", &running.wait(DEADLINE));
}
