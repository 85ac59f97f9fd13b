//! A crash: a real panic ends a real process, and leaves a report that a person can work with.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{DEADLINE, Message, RomanNumerals, Running, events, served, wait_until};

const PARTITIONS: i32 = 2;
/// Records that come in at a time, and how often they may.
const RECORDS: usize = 50;
const TIMES: usize = 2_000;
/// Commits that the job has made when it comes to the one after which it panics.
const COMMITS: usize = 2;

/// Secrets, and the settings that hold them as they may be told.
const SECRETS: [(&str, &str); 4] = [
    (
        "hush-broker",
        "kafka.properties.sasl.password: \"********\"",
    ),
    (
        "hush-address",
        "schema_registry.url: \"http://us:********@127.0.0.1:1\"",
    ),
    ("hush-registry", "schema_registry.password: \"********\""),
    ("hush-http", "http_token: \"********\""),
];

/// A job whose configuration holds secrets, none of which it has a use for.
fn with_secrets() -> RomanNumerals {
    let mut job = served(PARTITIONS);
    let [broker, address, registry, http] = SECRETS.map(|(secret, _)| secret);
    let of_environment = ("STRANDLINE_TEST_SECRET".to_owned(), broker.to_owned());
    job.environment.push(of_environment);
    job.reconfigure(
        "kafka:\n",
        "kafka:\n  properties: { sasl.password: '${env:STRANDLINE_TEST_SECRET}' }\n",
    );
    job.configure(&format!(
        "schema_registry: {{ url: 'http://us:{address}@127.0.0.1:1', username: us, password: {registry} }}"
    ));
    job.configure(&format!("http_token: {http}"));
    job
}

/// The reports in the folder of the job's state, below this one.
fn reports(folder: &Path) -> Vec<PathBuf> {
    let folder = fs::read_dir(folder.join("state/roman-numerals")).expect("the state's folder");
    let paths = folder.flatten().map(|entry| entry.path());
    paths
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("crash-") && name.ends_with(".txt")
        })
        .collect()
}

#[test]
fn a_panic_leaves_a_report_that_its_last_words_name_and_nothing_is_lost() {
    let mut job = with_secrets();
    let mut records = events(RECORDS * TIMES, PARTITIONS, 7);
    let panic = format!("durable=panic@{}", COMMITS + 1);
    let failpoints = ("STRANDLINE_FAILPOINTS".to_owned(), panic);
    job.environment.push(failpoints);
    let mut running = job.spawn(&["run", "roman-numerals"]);
    wait_until("the panic", DEADLINE, || {
        job.topic
            .produce(records.by_ref().take(RECORDS).collect::<Vec<Message>>());
        (!running.is_running()).then_some(())
    });
    let ended = running.wait(DEADLINE).expect_exit(1);

    let reports = reports(job.path());
    let [path] = reports.as_slice() else {
        panic!("{reports:?}: {}", ended.stderr);
    };
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.contains(&path.display().to_string()), "{last}");
    assert!(last.contains("hint: "), "it has no next step: {last}");

    let report = fs::read_to_string(path).expect("the report");
    let version = format!("strandline {}\n", env!("CARGO_PKG_VERSION"));
    let topic = format!("\"{}\"", job.topic.name);
    for said in [
        version.as_str(),
        "job roman-numerals\n",
        "a thread panicked: ",
        "failpoint durable\n",
        topic.as_str(),
        "jobs.roman-numerals.commit.interval: \"200ms\"",
    ] {
        assert!(report.contains(said), "no `{said}` in\n{report}");
    }
    for (secret, masked) in SECRETS {
        assert!(report.contains(masked), "no `{masked}` in\n{report}");
        let told = format!("{report}{}{}", ended.stderr, ended.stdout);
        assert!(!told.contains(secret), "{secret} is told:\n{told}");
    }
    let epochs = report.lines().filter(|line| line.starts_with("  epoch "));
    assert_eq!(epochs.count(), COMMITS, "{report}");
    assert!(!report.contains("epoch of this run: none"), "{report}");
    assert!(!report.contains("Account { consumed: 0,"), "{report}");

    let (_, backtrace) = report.split_once("\nbacktrace\n").expect("a backtrace");
    let is_frame = |line: &&str| {
        let number = line.trim_start().split(':').next().unwrap_or_default();
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    };
    assert!(backtrace.lines().filter(is_frame).count() > 5, "{report}");
    // From where it happened to who had called.
    for of in ["engine/failpoints.rs", "landing/committer.rs"] {
        assert!(backtrace.contains(of), "no `{of}` in {backtrace}");
    }

    let status = job.run(&["status", "roman-numerals", "--json"], DEADLINE);
    let status = status.expect_exit(3);
    assert_eq!(
        status.json()["crash_report"],
        path.display().to_string(),
        "{}",
        status.stdout
    );
    assert!(status.stderr.contains("it crashed after 2"), "{status:?}");

    job.environment.pop();
    job.run_until_caught_up(&[], DEADLINE);
    job.judge(&[]);
}

#[test]
fn a_demo_leaves_a_report_of_what_it_was_asked_and_says_that_it_begins_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    // As the program says it, whatever links lead to the folder of the test.
    let demo = folder.path().canonicalize().expect("a path").join("demo");
    let mut command = Command::new(env!("CARGO_BIN_EXE_strandline"));
    command
        .args(["demo", "--events", "5000", "--dir"])
        .arg(&demo)
        .env_remove("STRANDLINE_CONFIG")
        .env("STRANDLINE_FAILPOINTS", "durable=panic");
    let running = Running::spawn(command, folder.path());
    let ended = running.wait(DEADLINE).expect_exit(1);

    let reports = reports(&demo);
    let [path] = reports.as_slice() else {
        panic!("{reports:?}: {}", ended.stderr);
    };
    let last = ended.stderr.lines().last().unwrap_or_default();
    for said in [
        "hint: ",
        path.to_str().expect("text"),
        "a demo begins anew when it is started again",
    ] {
        assert!(last.contains(said), "no `{said}` in {last}");
    }
    let report = fs::read_to_string(path).expect("the report");
    for said in [
        "job roman-numerals\n",
        "a thread panicked: ",
        "failpoint durable\n",
        // What it was asked, and what a demo has of its own.
        "    events: 5000,\n",
        "        interval: 250ms,\n",
        "landing/committer.rs",
    ] {
        assert!(report.contains(said), "no `{said}` in\n{report}");
    }
}
