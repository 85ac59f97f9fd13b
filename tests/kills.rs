//! Two processes, killed with -9 at random moments, state lost, another number of workers: the judge finds
//! every row once.

mod support;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use strandline::connectors::kafka::client::KafkaSettings;
use strandline::generator::producer::produce;
use strandline::generator::{Generator, GeneratorConfig};
use support::{Catalog, RomanNumerals, Running, wait_until};

const PARTITIONS: i32 = 6;
const KILLS: usize = 10;
/// Of the whole run, kills included; on an idle machine it takes a minute.
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

/// The processes that a launcher has started.
fn children(launcher: &Running) -> Vec<u32> {
    let pid = launcher.pid();
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let text = text.unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

fn kill_9(pid: u32) {
    let killed = std::process::Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status();
    // It may have ended just before.
    let _ = killed.expect("run kill");
}

#[test]
fn ten_kills_and_a_lost_disk_neither_lose_nor_double_a_row() {
    let seed: u64 = rand::random();
    eprintln!("kills from seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let job = RomanNumerals::new(
        Catalog::Rest,
        PARTITIONS,
        "commit: { interval: 100ms, max_bytes: 8MiB }",
    );
    job.configure("restart: { attempts: 1000, delay: 0s }");
    load(&job, 0, 2_000_000, seed);
    let launch = |processes: &str, workers: &str| {
        job.spawn(&[
            "launch",
            "roman-numerals",
            "-n",
            processes,
            "-w",
            workers,
            "--until-caught-up",
            "--json",
        ])
    };

    let mut loaded = 2_000_000;
    let mut launcher = launch("2", "1");
    let mut done = 0;
    let started = Instant::now();
    while done < KILLS {
        assert!(started.elapsed() < DEADLINE, "the kills take too long");
        if !launcher.is_running() {
            // Faster than the kills: more to do.
            launcher.wait(DEADLINE).expect_exit(0);
            load(&job, loaded, 500_000, seed.wrapping_add(loaded));
            loaded += 500_000;
            launcher = launch("2", "1");
        }
        std::thread::sleep(Duration::from_millis(rng.random_range(300..1500)));
        let processes = children(&launcher);
        if processes.len() < 2 {
            continue;
        }
        kill_9(processes[rng.random_range(0..processes.len())]);
        done += 1;
        if done == KILLS / 2 {
            // The launcher too, its disk lost, and more workers afterwards.
            let orphans = children(&launcher);
            launcher.kill_9();
            for pid in orphans {
                wait_until("the processes to end with their launcher", DEADLINE, || {
                    (!is_running(pid)).then_some(())
                });
            }
            job.delete_state();
            launcher = launch("2", "2");
        }
    }
    let printed = launcher.wait(DEADLINE).expect_exit(0).json();
    assert_eq!(printed["account"]["consumed"], loaded, "{printed}");

    job.judge_with_account(&printed);
    job.run(&["audit", "roman-numerals", "--json"], DEADLINE)
        .expect_exit(0);
}

/// Whether a process is there and not a zombie.
fn is_running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
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
