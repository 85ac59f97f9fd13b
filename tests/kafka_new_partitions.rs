//! Partitions that are added to a topic are found and read from their first record, once.

mod support;

use std::time::Duration;

use support::{Catalog, RomanNumerals, events, later_events, signal, wait_until};

const DEADLINE: Duration = Duration::from_secs(240);
const SETTINGS: &str =
    "starting_offsets: latest\ncommit: { interval: 100ms }\npartition_discovery_interval: 200ms";

/// A job that has decided where its two partitions begin: at the end of nothing.
fn job_that_knows_its_topic() -> RomanNumerals {
    let job = RomanNumerals::new(Catalog::Sql, 2, SETTINGS);
    let first = job.run_until_caught_up(&[], DEADLINE);
    assert_eq!(first["account"]["consumed"], 0, "{first}");
    job
}

#[test]
fn partitions_added_while_the_job_runs_are_read_from_their_first_record() {
    let job = job_that_knows_its_topic();
    job.topic.produce(events(300, 2, 1));
    let mut running = job.spawn(&["run", "roman-numerals", "-w", "2", "--json"]);
    job.wait_until_consumed(&mut running, 300, DEADLINE);
    // Records before anyone looks, and `starting_offsets: latest`: they must not be skipped.
    job.topic.grow_to(5);
    job.topic.produce(later_events(300, 1000, 5));
    job.wait_until_consumed(&mut running, 1300, DEADLINE);
    job.topic.produce(later_events(1300, 200, 5));
    job.wait_until_consumed(&mut running, 1500, DEADLINE);
    running.terminate();
    let printed = running.wait(DEADLINE).expect_exit(143).json();

    job.judge_with_account(&printed);
    job.expect_audit(DEADLINE);
}

#[test]
fn partitions_added_while_the_job_is_down_are_read_from_their_first_record() {
    let job = job_that_knows_its_topic();
    job.topic.produce(events(300, 2, 1));
    job.run_until_caught_up(&[], DEADLINE);
    job.topic.grow_to(3);
    job.topic.produce(later_events(300, 300, 3));

    let printed = job.run_until_caught_up(&["-w", "2"], DEADLINE);
    assert_eq!(printed["account"]["consumed"], 600, "{printed}");
    job.judge_with_account(&printed);
}

#[test]
fn partitions_added_to_several_processes_that_are_killed_lose_and_double_nothing() {
    let job = job_that_knows_its_topic();
    job.configure("restart: { attempts: 1000, delay: 0s }");
    job.topic.produce(events(2000, 2, 1));
    let launch = ["launch", "roman-numerals", "-n", "2", "-w", "2", "--json"];
    let mut launcher = job.spawn(&launch);
    job.wait_until_consumed(&mut launcher, 2000, DEADLINE);
    let mut produced = 2000;
    for (partitions, victim) in [(4, 0), (7, 1), (9, 0)] {
        job.topic.grow_to(partitions);
        let load = later_events(produced as usize, 3000, partitions as i32);
        job.topic.produce(load);
        produced += 3000;
        // In the middle of finding, reading or committing them: at whatever the machine is just then.
        let pid = wait_until("both processes", DEADLINE, || {
            let processes = launcher.children();
            (processes.len() == 2).then(|| processes[victim])
        });
        signal("KILL", &pid.to_string());
        job.wait_until_consumed(&mut launcher, produced, DEADLINE);
    }
    launcher.terminate();
    let ended = launcher.wait(DEADLINE).expect_exit(143);

    job.judge_with_account(&ended.json());
    job.expect_audit(DEADLINE);
}
