//! Savepoints of a job that runs, and runs that go on from one: the judge finds the rows that belong.

mod support;

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::{Catalog, RomanNumerals, children, load, signal, wait_until};

const PARTITIONS: i32 = 4;
const DEADLINE: Duration = Duration::from_secs(180);
const JOB: &str = "roman-numerals";

fn consumed(job: &RomanNumerals) -> u64 {
    let audit = job.run(&["audit", JOB, "--json"], DEADLINE);
    let audit = serde_json::from_str::<Value>(&audit.stdout).unwrap_or_default();
    audit["account"]["consumed"].as_u64().unwrap_or(0)
}

fn savepoint(job: &RomanNumerals, name: &str) -> Value {
    let args = ["savepoint", JOB, "--name", name, "--json"];
    job.run(&args, DEADLINE).expect_exit(0).json()
}

fn wait_until_consumed(job: &RomanNumerals, records: u64) {
    wait_until(
        &format!("{records} records to be committed"),
        DEADLINE,
        || (consumed(job) >= records).then_some(()),
    );
}

#[test]
fn a_run_goes_on_from_a_savepoint_at_another_worker_count() {
    let job = RomanNumerals::new(
        Catalog::Rest,
        PARTITIONS,
        "commit: { interval: 100ms, max_bytes: 1MiB }",
    );
    load(&job, PARTITIONS, 0, 12_000, 1);
    let running = job.spawn(&["launch", JOB, "-n", "2"]);
    wait_until_consumed(&job, 1);
    // While it commits, as often as it can.
    let made = savepoint(&job, "first");
    load(&job, PARTITIONS, 12_000, 12_000, 2);
    let second = savepoint(&job, "second");
    wait_until_consumed(&job, 24_000);
    running.terminate();
    running.wait(DEADLINE).expect_exit(143);
    job.judge_savepoint(&made);
    job.judge_savepoint(&second);

    load(&job, PARTITIONS, 24_000, 5_000, 3);
    let at = made["account"]["consumed"].as_u64().expect("a number");
    let args = ["--from-savepoint", "first", "-w", "3"];
    let printed = job.run_until_caught_up(&args, DEADLINE);
    assert_eq!(printed["run"]["consumed"], 29_000 - at, "{printed}");
    assert_eq!(printed["account"]["consumed"], 29_000, "{printed}");
    job.judge_with_account(&printed);
    job.run(&["audit", JOB, "--json"], DEADLINE).expect_exit(0);

    // The other one is whole, although the branch no longer passes it.
    job.judge_savepoint(&second);
    let printed = job.run_until_caught_up(&["--from-savepoint", "second"], DEADLINE);
    let at = second["account"]["consumed"].as_u64().expect("a number");
    assert_eq!(printed["run"]["consumed"], 29_000 - at, "{printed}");
    job.judge_with_account(&printed);
    job.judge_readers();
}

#[test]
fn a_launch_goes_back_once_however_often_it_restarts() {
    let job = RomanNumerals::new(Catalog::Sql, PARTITIONS, "commit: { interval: 100ms }");
    job.configure("restart: { attempts: 20, delay: 0s }");
    load(&job, PARTITIONS, 0, 5_000, 1);
    job.run_until_caught_up(&[], DEADLINE);
    savepoint(&job, "s");
    load(&job, PARTITIONS, 5_000, 5_000, 2);
    job.run_until_caught_up(&[], DEADLINE);

    let launcher = job.spawn(&["launch", JOB, "-n", "2", "--from-savepoint", "s"]);
    for kill in 0..2 {
        let generation = 4 + 2 * kill;
        wait_until("the next generation to commit", DEADLINE, || {
            launcher
                .stderr()
                .matches("\"claimed\"")
                .nth(kill as usize)
                .map(drop)
        });
        load(
            &job,
            PARTITIONS,
            10_000 + kill * 1_000,
            1_000,
            100 + generation,
        );
        wait_until_consumed(&job, 11_000 + kill * 1_000);
        signal("KILL", &children(&launcher)[1].to_string());
    }
    wait_until_consumed(&job, 12_000);
    wait_until("the last generation", DEADLINE, || {
        launcher.stderr().matches("\"claimed\"").nth(2).map(drop)
    });
    launcher.terminate();
    let log = launcher.wait(DEADLINE).expect_exit(143).stderr;
    let table = format!("\"table\":\"{}\"", job.table);
    let back = log
        .lines()
        .filter(|line| line.contains("taken back to the savepoint") && line.contains(&table));
    assert_eq!(back.count(), 1, "{log}");
    assert_eq!(log.matches("was taken up already").count(), 2, "{log}");
    let printed = job.run_until_caught_up(&[], DEADLINE);
    job.judge_with_account(&printed);
}

#[test]
fn a_run_goes_on_from_a_savepoint_in_new_tables() {
    let mut job = RomanNumerals::new(Catalog::Rest, PARTITIONS, "commit: { interval: 200ms }");
    load(&job, PARTITIONS, 0, 20_000, 1);
    job.run_until_caught_up(&["-w", "2"], DEADLINE);
    let made = savepoint(&job, "s");
    load(&job, PARTITIONS, 20_000, 5_000, 2);
    let printed = job.run_until_caught_up(&[], DEADLINE);
    job.judge_with_account(&printed);

    let old = (job.table.clone(), job.dead_letter_table.clone());
    job.table = format!("{}_two", old.0);
    job.dead_letter_table = format!("{}_two", old.1);
    job.reconfigure(
        &format!("table: {}\n", old.0),
        &format!("table: {}\n", job.table),
    );
    job.reconfigure(
        &format!("table: {} }}", old.1),
        &format!("table: {} }}", job.dead_letter_table),
    );
    // Forgotten where it is.
    let finished = job.run(&["run", JOB, "--from-savepoint", "s"], DEADLINE);
    assert!(
        finished.stderr.contains("--savepoint-table"),
        "{}",
        finished.stderr
    );
    finished.expect_exit(2);

    load(&job, PARTITIONS, 25_000, 5_000, 3);
    let args = [
        "--from-savepoint",
        "s",
        "--savepoint-table",
        &old.0,
        "-w",
        "3",
    ];
    let printed = job.run_until_caught_up(&args, DEADLINE);
    let at = made["account"]["consumed"].as_u64().expect("a number");
    assert_eq!(printed["run"]["consumed"], 30_000 - at, "{printed}");
    job.judge_with_account(&printed);
    job.judge_readers();
    // The new table does not need the old one: its files are its own.
    job.run(&["audit", JOB, "--json"], DEADLINE).expect_exit(0);
    let (table, letters) = (job.table.clone(), job.dead_letter_table.clone());
    (job.table, job.dead_letter_table) = old;
    job.judge_savepoint(&made);
    (job.table, job.dead_letter_table) = (table, letters);
    let printed = job.run_until_caught_up(&[], DEADLINE);
    assert_eq!(printed["run"]["consumed"], 0, "{printed}");
}

#[test]
fn a_savepoint_that_is_not_there_is_answered_with_those_that_are() {
    let job = RomanNumerals::new(Catalog::Sql, 1, "");
    let finished = job.run(&["savepoint", JOB], DEADLINE);
    assert!(
        finished.stderr.contains("run the job first"),
        "{}",
        finished.stderr
    );
    finished.expect_exit(2);
    load(&job, 1, 0, 100, 1);
    job.run_until_caught_up(&[], DEADLINE);
    savepoint(&job, "one");
    savepoint(&job, "two");
    let twice = job.run(&["savepoint", JOB, "--name", "one"], DEADLINE);
    assert!(twice.stderr.contains("`one` already"), "{}", twice.stderr);
    twice.expect_exit(2);
    let named_by_time = job.run(&["savepoint", JOB], DEADLINE).expect_exit(0);
    assert!(
        named_by_time.stdout.contains("--from-savepoint 2"),
        "{}",
        named_by_time.stdout
    );

    for command in ["run", "launch"] {
        let args = [command, JOB, "--from-savepoint", "three"];
        let finished = job.run(&args, DEADLINE);
        assert!(
            finished.stderr.contains("`one`, `two`, `2"),
            "{}",
            finished.stderr
        );
        finished.expect_exit(2);
    }
    job.judge(&[]);
}

/// Deletes the records of partition 0 before an offset, as retention does.
fn delete_records(job: &RomanNumerals, before: i64) {
    const PROGRAM: &str = "\
import sys
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
servers, topic, before = sys.argv[1:]
admin = AdminClient({'bootstrap.servers': servers})
for done in admin.delete_records([TopicPartition(topic, 0, int(before))]).values():
    done.result()
";
    let python = std::env::var("STRANDLINE_PYTHON").expect("`cargo xtask test` sets it");
    let done = Command::new(python)
        .args(["-c", PROGRAM, &job.topic.bootstrap_servers, &job.topic.name])
        .arg(before.to_string())
        .output()
        .expect("run Python");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
fn a_savepoint_whose_records_the_broker_has_lost_is_refused_and_nothing_taken_back() {
    let job = RomanNumerals::new(Catalog::Sql, 1, "");
    load(&job, 1, 0, 100, 1);
    job.run_until_caught_up(&[], DEADLINE);
    savepoint(&job, "s");
    load(&job, 1, 100, 100, 2);
    job.run_until_caught_up(&[], DEADLINE);
    delete_records(&job, 150);
    let finished = job.run(&["run", JOB, "--from-savepoint", "s"], DEADLINE);
    assert!(finished.stderr.contains("100"), "{}", finished.stderr);
    finished.expect_exit(4);
    assert_eq!(consumed(&job), 200);
}
