//! A job that is started twice: on one host the second is refused, from elsewhere it takes over.

mod support;

use std::time::Duration;

use support::{Catalog, RomanNumerals, Running, children, load, wait_until};

const PARTITIONS: i32 = 4;
const DEADLINE: Duration = Duration::from_secs(180);

/// Waits until the job has committed something more than `before` says; returns how much.
fn wait_until_committed(job: &RomanNumerals, before: u64) -> u64 {
    wait_until("a commit", DEADLINE, || {
        let audit = job.run(&["audit", "roman-numerals", "--json"], DEADLINE);
        let audit = serde_json::from_str::<serde_json::Value>(&audit.stdout).ok()?;
        let consumed = audit["account"]["consumed"].as_u64()?;
        (consumed > before).then_some(consumed)
    })
}

#[test]
fn a_second_start_on_the_same_host_is_refused_with_the_name_of_the_holder() {
    let job = RomanNumerals::new(Catalog::Sql, PARTITIONS, "commit: { interval: 200ms }");
    load(&job, PARTITIONS, 0, 5_000, 1);
    let mut first = job.spawn(&["launch", "roman-numerals", "-n", "2"]);
    wait_until_committed(&job, 0);

    let second = job.run(&["launch", "roman-numerals", "-n", "2"], DEADLINE);
    let holder = format!("`launch roman-numerals`, pid {} on ", first.pid());
    assert!(second.stderr.contains(&holder), "{}", second.stderr);
    assert!(second.stderr.contains("since 2"), "{}", second.stderr);
    assert!(!second.stderr.contains("trying again"), "{}", second.stderr);
    second.expect_exit(3);

    let run = job.run(&["run", "roman-numerals"], DEADLINE);
    let holder = format!("`run roman-numerals`, pid {} on ", children(&first)[0]);
    assert!(run.stderr.contains(&holder), "{}", run.stderr);
    run.expect_exit(3);

    assert!(first.is_running(), "the first one goes on");
    first.terminate();
    first.wait(DEADLINE).expect_exit(143);
    job.judge(&[]);
}

/// The same job as from another host: its state is elsewhere.
fn from_elsewhere(job: &RomanNumerals) -> Running {
    let text = std::fs::read_to_string(job.path().join("strandline.yaml")).expect("read");
    assert!(text.contains("/state\n"), "{text}");
    let elsewhere = text.replace("/state\n", "/state-elsewhere\n");
    std::fs::write(job.path().join("elsewhere.yaml"), elsewhere).expect("write");
    job.spawn(&[
        "-c",
        "elsewhere.yaml",
        "launch",
        "roman-numerals",
        "-n",
        "2",
    ])
}

#[test]
fn a_start_from_elsewhere_takes_over_and_the_first_one_stays_down() {
    let job = RomanNumerals::new(Catalog::Rest, PARTITIONS, "commit: { interval: 200ms }");
    job.configure("restart: { attempts: 100, delay: 0s }");
    load(&job, PARTITIONS, 0, 5_000, 1);
    let mut first = job.spawn(&["launch", "roman-numerals", "-n", "2"]);
    let committed = wait_until_committed(&job, 0);

    let second = from_elsewhere(&job);
    let mut loaded = 5_000;
    wait_until("the first one to be fenced", DEADLINE, || {
        // Only who wants to commit learns that somebody else does.
        load(&job, PARTITIONS, loaded, 1_000, loaded + 1);
        loaded += 1_000;
        (!first.is_running()).then_some(())
    });
    let fenced = first.wait(DEADLINE).expect_exit(4);
    let by = format!(
        "is fenced by generation 2 (pid {} on ",
        children(&second)[0]
    );
    assert!(fenced.stderr.contains(&by), "{}", fenced.stderr);
    assert!(!fenced.stderr.contains("trying again"), "{}", fenced.stderr);

    load(&job, PARTITIONS, loaded, 1_000, loaded + 1);
    wait_until_committed(&job, committed);
    second.terminate();
    let second = second.wait(DEADLINE).expect_exit(143);
    assert!(!second.stderr.contains("trying again"), "{}", second.stderr);
    let printed = job.run_until_caught_up(&[], DEADLINE);
    assert_eq!(printed["account"]["consumed"], loaded + 1_000);
    job.judge(&[]);
}
