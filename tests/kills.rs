//! Processes, launcher, broker and catalog are killed, stopped and starved, and the judge finds every row
//! once (`harness`); a signal drains; two processes land what one does.

mod harness;
mod support;

use std::path::Path;
use std::time::Duration;

use harness::Options;
use strandline::connectors::kafka::client::KafkaSettings;
use strandline::generator::producer::produce;
use strandline::generator::{Generator, GeneratorConfig};
use support::{Catalog, RomanNumerals, wait_until};

const PARTITIONS: i32 = 6;
/// Of the schedule of faults.
const SEED: u64 = 6_217_820_893_838_022_058;
/// Of one run; on an idle machine it takes seconds.
const DEADLINE: Duration = Duration::from_secs(600);

/// Produces events whose clock begins where that of `before` earlier ones ended.
fn load(job: &RomanNumerals, before: u64, events: u64, seed: u64) {
    let settings = KafkaSettings::new(job.topic.bootstrap_servers.clone());
    let defaults = GeneratorConfig::default();
    let config = GeneratorConfig {
        seed,
        events,
        partitions: PARTITIONS,
        start: defaults.start.plus(before as i64 * defaults.step_us),
        ..defaults
    };
    let produced = produce(
        &settings,
        &job.topic.name,
        &mut Generator::new(config),
        None,
        &|| true,
    )
    .expect("produce");
    assert_eq!(produced.records, events);
}

#[test]
fn every_kind_of_fault_neither_loses_nor_doubles_a_row() {
    // Always the same faults in the same order; `cargo xtask bench kills` draws others.
    let options = Options {
        seed: SEED,
        ..Options::default()
    };
    let report = format!("kills-{}.json", options.seed);
    harness::run(
        options,
        &Path::new(env!("CARGO_TARGET_TMPDIR")).join(report),
    );
}

#[test]
fn a_signal_drains_and_the_next_run_goes_on() {
    let job = RomanNumerals::new(
        Catalog::Sql,
        PARTITIONS,
        "commit: { interval: 100ms, max_bytes: 2MiB }",
    );
    load(&job, 0, 300_000, rand::random());
    let running = job.spawn(&["run", "roman-numerals", "-w", "2", "--json"]);
    wait_until("the first commit", DEADLINE, || {
        let audit = job.run(&["audit", "roman-numerals", "--json"], DEADLINE);
        let audit: serde_json::Value = serde_json::from_str(&audit.stdout).ok()?;
        (audit["account"]["consumed"].as_u64()? > 0).then_some(())
    });
    running.terminate();
    let drained = running.wait(DEADLINE).expect_exit(143).json();
    assert_eq!(drained["account"], drained["run"], "the table was new");

    let printed = job.run_until_caught_up(&[], DEADLINE);
    assert_eq!(printed["account"]["consumed"], 300_000);
    job.judge_with_account(&printed);
}

#[test]
fn two_processes_land_what_one_does() {
    let job = RomanNumerals::new(Catalog::Sql, PARTITIONS, "commit: { interval: 200ms }");
    load(&job, 0, 100_000, rand::random());
    let args = [
        "launch",
        "roman-numerals",
        "-n",
        "2",
        "-w",
        "1",
        "--until-caught-up",
        "--json",
    ];
    let printed = job.run(&args, DEADLINE).expect_exit(0).json();
    assert_eq!(printed["account"]["consumed"], 100_000);
    job.judge_with_account(&printed);
}
