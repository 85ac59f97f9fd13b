//! A job that does not run: whoever asks for it hears how it ended, what it committed last, and what to do.

mod support;

use std::net::TcpListener;

use serde_json::Value;
use support::{
    DEADLINE, RomanNumerals, Running, load, served, wait_for_status, wait_until,
    wait_until_consumed,
};

const JOB: &str = "roman-numerals";
const RECORDS: u64 = 100;

/// What `status` says of the job: its error, and the document that it prints with `--json`.
#[track_caller]
fn told(job: &RomanNumerals) -> (String, Value) {
    let text = job.run(&["status", JOB], DEADLINE).expect_exit(3);
    assert_eq!(text.stdout, "", "only the error");
    let with_json = job.run(&["status", JOB, "--json"], DEADLINE);
    let with_json = with_json.expect_exit(3);
    let document = with_json.json();
    assert_eq!(with_json.stderr, text.stderr);
    assert_eq!(document["job"], JOB);
    assert_eq!(document["state"], "stopped");
    let first = format!("error: the job {JOB} does not run on this host: ");
    assert!(text.stderr.starts_with(&first), "{}", text.stderr);
    let next = format!("hint: `strandline run {JOB}` starts it");
    assert!(text.stderr.contains(&next), "{}", text.stderr);
    (text.stderr, document)
}

#[track_caller]
fn started(job: &RomanNumerals) -> Running {
    let running = job.spawn(&["run", JOB]);
    wait_for_status(job, "it reads", |status| status["state"] == "running");
    running
}

#[test]
fn status_says_how_a_job_ended_what_it_committed_last_and_what_to_do() {
    let job = served(1);
    let (text, document) = told(&job);
    assert!(text.contains("nothing is known here of an earlier run"));
    assert_eq!(document["last_seen"], Value::Null);

    load(&job, 1, 0, RECORDS, 1);
    let printed = job.run_until_caught_up(&[], DEADLINE);
    let (text, document) = told(&job);
    assert!(text.contains(": it ended in good order at 2"), "{text}");
    let last = &document["last_seen"];
    assert_eq!(last["account"], printed["account"]);
    assert_eq!(last["ending"]["exit_status"], 0, "{last}");
    let commit = last["commit"].clone();
    assert!(commit["snapshot_id"].is_string(), "{last}");
    let at = commit["at"].as_str().expect("a time");
    let is_known = |text: &str, document: &Value| {
        assert!(
            text.contains("its last commit is that of epoch 1."),
            "{text}"
        );
        assert!(text.contains(at), "{text}");
        assert_eq!(document["last_seen"]["commit"], commit, "{document}");
    };
    is_known(&text, &document);
    let all = job.run(&["status"], DEADLINE).expect_exit(0).stdout;
    let mut lines = all.lines();
    let ours = lines.find(|line| line.split(' ').next() == Some(JOB));
    let ours = ours.expect("a line of the job");
    assert!(ours.contains("stopped") && ours.ends_with(at), "{all}");

    // Lives without a commit do not forget it.
    let running = started(&job);
    running.terminate();
    running.wait(DEADLINE).expect_exit(143);
    let (text, document) = told(&job);
    assert!(text.contains("it was told to end by a signal"), "{text}");
    assert_eq!(document["last_seen"]["ending"]["exit_status"], 143);
    is_known(&text, &document);

    started(&job).kill_9();
    let (text, document) = told(&job);
    assert!(
        text.contains("did not say how it ended: it was killed"),
        "{text}"
    );
    assert_eq!(document["last_seen"]["ending"], Value::Null);
    assert_eq!(document["crash_report"], Value::Null);
    is_known(&text, &document);

    let running = started(&job);
    job.run(&["cancel", JOB], DEADLINE).expect_exit(0);
    running.wait(DEADLINE).expect_exit(0);
    let (text, document) = told(&job);
    assert!(text.contains("it was cancelled at 2"), "{text}");
    assert_eq!(document["last_seen"]["ending"]["cancelled"], true);
    is_known(&text, &document);

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    job.reconfigure("http: 127.0.0.1:0", &format!("http: {address}"));
    job.run(&["run", JOB], DEADLINE).expect_exit(3);
    let (text, document) = told(&job);
    let why = format!("with exit status 3: cannot serve HTTP at `{address}`");
    assert!(
        text.contains(": it failed at 2") && text.contains(&why),
        "{text}"
    );
    let error = document["last_seen"]["ending"]["error"].as_str();
    assert!(error.is_some_and(|error| error.contains("hint: ")));
    is_known(&text, &document);
    let stop = job.run(&["stop", JOB], DEADLINE).expect_exit(3);
    assert_eq!(stop.stderr, text);
}

#[test]
fn a_launched_job_leaves_word_of_its_end_too() {
    let job = served(1);
    load(&job, 1, 0, RECORDS, 1);
    let launcher = job.spawn(&["launch", JOB]);
    let seen = wait_until_consumed(&job, RECORDS);
    launcher.terminate();
    launcher.wait(DEADLINE).expect_exit(143);
    let (text, document) = told(&job);
    assert!(text.contains("it was told to end by a signal"), "{text}");
    let last = &document["last_seen"];
    assert_eq!(last["account"], seen["account"]);
    assert_eq!(last["commit"], seen["commits"]["last"][0]);
}

#[test]
fn a_job_that_is_told_to_end_while_it_starts_leaves_word_of_its_end_too() {
    let job = served(1);
    // It takes the connection, and never answers.
    let broker = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = broker.local_addr().expect("an address").to_string();
    job.reconfigure(&job.topic.bootstrap_servers, &address);
    for command in ["run", "launch"] {
        let starting = job.spawn(&[command, JOB]);
        wait_until("its board", DEADLINE, || {
            let log = starting.stderr();
            log.contains("metrics at http://").then_some(())
        });
        starting.terminate();
        let ended = starting.wait(DEADLINE).expect_exit(143);
        let (text, document) = told(&job);
        assert!(
            text.contains("it was told to end by a signal at 2")
                && text.contains("before it had begun to read (exit status 143)"),
            "{command}: {text}{}",
            ended.stderr
        );
        let last = &document["last_seen"];
        assert_eq!(last["ending"]["exit_status"], 143, "{command}: {last}");
        assert_eq!(last["ending"]["error"], Value::Null, "{command}: {last}");
        assert_eq!(last["generation"], Value::Null, "{command}: {last}");
    }
}
