//! Supervision: who hangs is found, what failed is started again, and nothing is left behind.

mod support;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use support::{Catalog, RomanNumerals, Running, children, go_on, is_alive, load, stop, wait_until};

const PARTITIONS: i32 = 4;
const DEADLINE: Duration = Duration::from_secs(180);
/// What is promised for a process that hangs, and as much again for a machine that does other things.
const FOUND_WITHIN: Duration = Duration::from_secs(20);
/// How soon processes end that have nothing to wait for.
const SOON: Duration = Duration::from_secs(20);

/// What the job has committed so far, by its own audit of the table.
fn consumed(job: &RomanNumerals) -> u64 {
    let audit = job.run(&["audit", "roman-numerals", "--json"], DEADLINE);
    let audit = serde_json::from_str::<serde_json::Value>(&audit.stdout).unwrap_or_default();
    audit["account"]["consumed"].as_u64().unwrap_or(0)
}

fn wait_until_consumed(job: &RomanNumerals, records: u64) {
    wait_until(
        &format!("{records} records to be committed"),
        DEADLINE,
        || (consumed(job) >= records).then_some(()),
    );
}

#[test]
fn a_process_that_is_stopped_is_found_and_the_cluster_started_again() {
    let job = RomanNumerals::new(Catalog::Rest, PARTITIONS, "commit: { interval: 200ms }");
    job.configure("restart: { attempts: 5, delay: 0s }");
    load(&job, PARTITIONS, 0, 20_000, 1);
    let launcher = job.spawn(&["launch", "roman-numerals", "-n", "2", "--json"]);
    wait_until_consumed(&job, 20_000);
    // Process 1, and in the next generation process 0, which commits.
    let mut loaded = 20_000;
    for process in [1, 0] {
        let before = wait_until("two processes", DEADLINE, || {
            Some(children(&launcher)).filter(|children| children.len() == 2)
        });
        stop(before[process]);
        let stopped = Instant::now();
        load(&job, PARTITIONS, loaded, 20_000, loaded + 1);
        loaded += 20_000;
        wait_until("the stopped process to be killed", DEADLINE, || {
            (!is_alive(before[process])).then_some(())
        });
        let found = stopped.elapsed();
        eprintln!("process {process} was found after {found:?}");
        assert!(found < FOUND_WITHIN, "found after {found:?}");
        wait_until_consumed(&job, loaded);
    }
    let log = launcher.stderr();
    for said in [
        "hung",
        "trying again from the table",
        "restart 1 of 5",
        "restart 2 of 5",
    ] {
        assert!(log.contains(said), "no `{said}` in {log}");
    }
    launcher.terminate();
    launcher.wait(DEADLINE).expect_exit(143);
    job.judge(&[]);
}

/// A host file of addresses that nobody else has: ports below those that the system gives out, on a
/// loopback address by chance.
fn hostfile(job: &RomanNumerals) -> String {
    let [a, b, c]: [u8; 3] = rand::random();
    let file = job.path().join(support::unique("hosts"));
    let address = format!("127.{a}.{b}.{}", c.clamp(1, 254));
    std::fs::write(&file, format!("{address}:2101\n{address}:2102\n")).expect("write");
    file.to_string_lossy().into_owned()
}

fn run_two(job: &RomanNumerals) -> Vec<Running> {
    let hosts = hostfile(job);
    let run = |process: &str| {
        let args = ["run", "roman-numerals", "-n", "2", "-p", process];
        job.spawn(&[&args[..], &["--hostfile", &hosts, "--json"]].concat())
    };
    vec![run("0"), run("1")]
}

#[test]
fn processes_without_a_launcher_find_each_other() {
    let job = RomanNumerals::new(Catalog::Sql, PARTITIONS, "commit: { interval: 200ms }");
    let mut loaded = 0;
    for hangs in [1, 0] {
        load(&job, PARTITIONS, loaded, 5_000, loaded + 1);
        loaded += 5_000;
        let mut processes = run_two(&job);
        wait_until_consumed(&job, loaded);
        wait_until("process 0 to show both processes", DEADLINE, || {
            let status = job.run(&["status", "roman-numerals", "--json"], DEADLINE);
            let status = serde_json::from_str::<serde_json::Value>(&status.stdout).ok()?;
            let workers = status["workers"].as_array()?.len();
            let partitions = status["partitions"].as_array()?;
            let read = partitions.iter().filter(|of| of["worker"].is_u64()).count();
            ((workers, read) == (2, PARTITIONS as usize)).then_some(())
        });

        let hanging = processes.remove(hangs);
        let other = processes.remove(0);
        stop(hanging.pid());
        let stopped = Instant::now();
        let noticed = other.wait(DEADLINE);
        let found = stopped.elapsed();
        eprintln!("process {hangs} was found after {found:?}");
        let said = format!("process {hangs} of the job hangs");
        assert!(noticed.stderr.contains(&said), "{}", noticed.stderr);
        noticed.expect_exit(3);
        assert!(found < FOUND_WITHIN, "found after {found:?}");

        // It wakes up, and finds that it is alone.
        go_on(hanging.pid());
        let woken = Instant::now();
        hanging.wait(DEADLINE).expect_exit(3);
        assert!(
            woken.elapsed() < SOON,
            "it went on for {:?}",
            woken.elapsed()
        );
    }
    let printed = job.run_until_caught_up(&[], DEADLINE);
    assert_eq!(printed["account"]["consumed"], loaded);
    job.judge(&[]);
}

#[test]
fn a_process_that_sees_another_catalog_is_refused() {
    let job = RomanNumerals::new(Catalog::Sql, PARTITIONS, "");
    let text = std::fs::read_to_string(job.path().join("strandline.yaml")).expect("read");
    let other = text.replace("/catalog.db", "/other.db");
    std::fs::write(job.path().join("other.yaml"), other).expect("write");
    let hosts = hostfile(&job);
    let place = |process| {
        [
            "run",
            "roman-numerals",
            "-n",
            "2",
            "-p",
            process,
            "--hostfile",
            &hosts,
        ]
    };
    let first = job.spawn(&place("0"));
    let other = [&["-c", "other.yaml"][..], &place("1")].concat();
    let refused = job.run(&other, DEADLINE);
    assert!(
        refused.stderr.contains("another catalog than process 0"),
        "{}",
        refused.stderr
    );
    refused.expect_exit(2);
    first.wait(DEADLINE).expect_exit(3);
}

#[test]
fn a_launcher_that_is_killed_leaves_no_process() {
    let job = RomanNumerals::new(Catalog::Sql, PARTITIONS, "commit: { interval: 200ms }");
    load(&job, PARTITIONS, 0, 5_000, 1);
    let launcher = job.spawn(&["launch", "roman-numerals", "-n", "3"]);
    wait_until_consumed(&job, 5_000);
    let processes = children(&launcher);
    assert_eq!(processes.len(), 3);
    stop(processes[2]);
    launcher.kill_9();
    for pid in processes {
        wait_until("every process to end with its launcher", SOON, || {
            (!is_alive(pid)).then_some(())
        });
    }
    // Nothing holds a lock either.
    job.run_until_caught_up(&[], DEADLINE);
    job.judge(&[]);
}

/// An address on which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.local_addr().expect("an address").to_string()
}

#[test]
fn a_catalog_that_is_missing_is_tried_again_and_every_try_is_told() {
    let job = RomanNumerals::new(Catalog::Rest, 1, "");
    job.configure("restart: { attempts: 2, delay: 100ms }");
    let address = nobody();
    job.reconfigure(&support::stack().rest_uri, &format!("http://{address}"));
    let log = job
        .run(&["launch", "roman-numerals", "-n", "2"], DEADLINE)
        .expect_exit(3)
        .stderr;
    let lines: Vec<&str> = log.lines().filter(|l| l.contains("trying again")).collect();
    assert_eq!(lines.len(), 2, "one line a restart: {log}");
    for (line, restart) in lines.iter().zip(["restart 1 of 2", "restart 2 of 2"]) {
        assert!(line.contains(restart), "{line}");
        assert!(line.contains(&address), "it does not say the cause: {line}");
    }
    assert!(log.contains("gave up after 2 restarts"), "{log}");
}

#[test]
fn what_another_start_cannot_help_is_not_tried_again() {
    let job = RomanNumerals::new(Catalog::Sql, 1, "");
    load(&job, 1, 0, 100, 1);
    job.run_until_caught_up(&[], DEADLINE);
    // Ids are remembered for another time than the table was filled with, which is refused.
    job.reconfigure("dead_letters: {", "dedup: { ttl: 1h }\n    dead_letters: {");
    let launched = job
        .run(&["launch", "roman-numerals", "--until-caught-up"], DEADLINE)
        .expect_exit(4);
    assert!(
        !launched.stderr.contains("trying again"),
        "{}",
        launched.stderr
    );
}

#[test]
fn a_signal_ends_a_process_that_waits_for_its_broker() {
    let job = RomanNumerals::new(Catalog::Sql, 1, "");
    job.reconfigure(&job.topic.bootstrap_servers, &nobody());
    let running = job.spawn(&["run", "roman-numerals"]);
    let lock = job.path().join("state/roman-numerals/lock");
    wait_until("the process to start", DEADLINE, || {
        lock.exists().then_some(())
    });
    running.terminate();
    let told = Instant::now();
    running.wait(DEADLINE).expect_exit(143);
    // The client itself tries for 8 s.
    assert!(
        told.elapsed() < Duration::from_secs(6),
        "{:?}",
        told.elapsed()
    );
}
