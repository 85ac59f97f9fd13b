//! Logs on standard error: JSON where no terminal is, and a line for each thing that befalls a job.

mod support;

use std::net::TcpListener;

use chrono::{DateTime, FixedOffset, TimeDelta};
use serde_json::Value;
use support::{
    Catalog, DEADLINE, RomanNumerals, Transaction, Transactions, events, load, served, stack,
    wait_until, wait_until_consumed,
};

const JOB: &str = "roman-numerals";
const PARTITIONS: i32 = 2;
/// Loads that are each committed before the next, and the records of each.
const LOADS: u64 = 5;
const RECORDS: u64 = 200;
/// Records of a transaction that stays open for a while.
const HELD: usize = 50;
/// Summaries are promised to be 10 s apart; a line may be written late.
const APART: TimeDelta = TimeDelta::seconds(9);

/// The job, whose programs log what a filter says; an empty one says nothing.
fn with_log(mut job: RomanNumerals, filter: &str) -> RomanNumerals {
    let variable = ("RUST_LOG".to_owned(), filter.to_owned());
    job.environment.push(variable);
    job
}

/// A line of the log, which has what every line has.
#[track_caller]
fn document(line: &str) -> Value {
    let document: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    for field in ["level", "target", "message"] {
        assert!(document[field].is_string(), "no `{field}` in {line}");
    }
    time(&document);
    document
}

#[track_caller]
fn time(document: &Value) -> DateTime<FixedOffset> {
    let text = document["timestamp"].as_str().unwrap_or_default();
    DateTime::parse_from_rfc3339(text).unwrap_or_else(|e| panic!("{e}: {document}"))
}

/// Those of the lines that are of one kind.
fn those(documents: &[Value], are: impl Fn(&Value) -> bool) -> Vec<&Value> {
    documents.iter().filter(|of| are(of)).collect()
}

#[test]
fn a_run_logs_its_start_where_it_reads_what_it_commits_and_what_holds_it() {
    let job = with_log(served(PARTITIONS), "");
    let running = job.spawn(&["run", JOB]);
    let logged = |what: &str| {
        wait_until(what, DEADLINE, || {
            running.stderr().contains(what).then_some(())
        });
    };
    logged("topic_empty");
    for seed in 1..=LOADS {
        load(&job, PARTITIONS, (seed - 1) * RECORDS, RECORDS, seed);
        wait_until_consumed(&job, seed * RECORDS);
    }
    let transactions = Transactions::to(&job.topic);
    transactions.write(events(HELD, PARTITIONS, 9), Transaction::Open);
    logged("open_transaction");
    transactions.commit();
    let all = LOADS * RECORDS + HELD as u64;
    let seen = wait_until_consumed(&job, all);
    running.terminate();
    let ended = running.wait(DEADLINE).expect_exit(143);

    let log = &ended.stderr;
    let documents: Vec<Value> = ended.stderr.lines().map(document).collect();
    let starting = those(&documents, |of| of["message"] == "starting");
    let [starting] = starting.as_slice() else {
        panic!("not one start: {log}");
    };
    assert_eq!(starting["job"], JOB);
    assert_eq!(starting["version"], env!("CARGO_PKG_VERSION"));
    let reads = those(&documents, |of| of["message"] == "reading begins");
    assert_eq!(reads.len(), 1, "{log}");
    assert_eq!(reads[0]["generation"], 1);

    let mut assigned = those(&documents, |of| of["offset"].is_number());
    assigned.sort_by_key(|of| of["partition"].as_i64());
    assert_eq!(assigned.len(), PARTITIONS as usize, "{log}");
    for (partition, of) in assigned.iter().enumerate() {
        assert_eq!(of["topic"], job.topic.name);
        assert_eq!(of["partition"], partition);
        assert_eq!(of["offset"], 0);
        let why = of["message"].as_str().unwrap_or_default();
        assert!(why.contains("`starting_offsets: earliest`"), "{why}");
    }

    for (kind, level) in [("topic_empty", "INFO"), ("open_transaction", "WARN")] {
        let named = those(&documents, |of| {
            of["kind"] == kind && of["hint"].is_string()
        });
        assert_eq!(named.len(), 1, "`{kind}`: {log}");
        assert_eq!(named[0]["level"], level);
        let over = those(&documents, |of| of["message"] == format!("over: {kind}"));
        assert_eq!(over.len(), 1, "`{kind}`: {log}");
    }

    let summaries = those(&documents, |of| of["message"] == "commit summary");
    let commits = summaries.iter().filter_map(|of| of["commits"].as_u64());
    let commits: u64 = commits.sum();
    assert!(commits >= LOADS, "{commits} commits: {log}");
    assert!(Some(commits) >= seen["commits"]["succeeded"].as_u64());
    let last = summaries.last().expect("a summary");
    assert_eq!(last["consumed"], all);
    // The first commit is told at once, and the last ones at the end.
    let after_first = summaries.iter().skip_while(|of| of["consumed"] == 0);
    let mut between: Vec<&&Value> = after_first.collect();
    between.pop();
    for pair in between.windows(2) {
        assert!(time(pair[1]) - time(pair[0]) >= APART, "{log}");
    }
}

#[test]
fn what_is_logged_is_what_rust_log_says_and_standard_output_has_none_of_it() {
    let run = [&["run", JOB][..], &["--until-caught-up", "--json"]].concat();
    let mut job = with_log(served(PARTITIONS), "error");
    load(&job, PARTITIONS, 0, RECORDS, 1);
    let silent = job.run(&run, DEADLINE).expect_exit(0);
    assert_eq!(silent.stderr, "");
    assert_eq!(silent.json()["account"]["consumed"], RECORDS);

    job.environment.clear();
    let job = with_log(job, "strandline::engine::start=info");
    let told = job.run(&run, DEADLINE).expect_exit(0);
    let documents: Vec<Value> = told.stderr.lines().map(document).collect();
    assert_eq!(documents.len(), PARTITIONS as usize, "{}", told.stderr);
    for of in &documents {
        assert_eq!(of["target"], "strandline::engine::start", "{of}");
    }
    assert_eq!(told.json()["account"]["consumed"], RECORDS);
}

#[test]
fn a_restart_is_one_line_with_its_cause() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = nobody.local_addr().expect("an address").to_string();
    drop(nobody);
    let job = with_log(RomanNumerals::new(Catalog::Rest, 1, ""), "");
    job.configure("restart: { attempts: 1, delay: 100ms }");
    job.reconfigure(&stack().rest_uri, &format!("http://{address}"));
    let ended = job.run(&["launch", JOB], DEADLINE).expect_exit(3);
    // Between the lines of the log are the errors with which processes end, for people.
    let lines = ended.stderr.lines().filter(|line| line.starts_with('{'));
    let documents: Vec<Value> = lines.map(document).collect();
    let starts = those(&documents, |of| of["message"] == "starting");
    assert_eq!(starts.len(), 2, "{}", ended.stderr);
    let restarts = those(&documents, |of| of["restart"].is_number());
    let [restart] = restarts.as_slice() else {
        panic!("not one restart: {}", ended.stderr);
    };
    assert_eq!(restart["job"], JOB);
    assert_eq!(restart["level"], "WARN");
    assert_eq!(restart["restart"], 1);
    assert_eq!(restart["of"], 1);
    let why = restart["message"].as_str().unwrap_or_default();
    assert!(why.contains(&address), "{why}");
}
