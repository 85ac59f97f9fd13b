//! The limit on open files: a job takes what the system allows, whatever its shell gives it at first.

mod support;

use std::fs;
use std::process::Command;

use support::{DEADLINE, RomanNumerals, Running, served, wait_until_it_reads};

/// What its shell gives it.
const FEW: &str = "256";

/// Starts `strandline ARGS` as a shell of few files does.
#[track_caller]
fn spawn_with_few_files(job: &RomanNumerals, args: &[&str]) -> Running {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("ulimit -S -n {FEW} && exec \"$0\" \"$@\""))
        .arg(env!("CARGO_BIN_EXE_strandline"))
        .args(args)
        .env_remove("STRANDLINE_CONFIG");
    Running::spawn(command, job.path())
}

/// How many files a process may have open, and how many it may allow itself.
#[track_caller]
fn limits(pid: u32) -> (String, String) {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let mut words = line.expect("a line").split_whitespace();
    let mut next = || words.next().expect("a limit").to_owned();
    (next(), next())
}

#[test]
fn a_job_may_have_as_many_files_open_as_the_system_allows() {
    let job = served(1);
    for command in ["run", "launch"] {
        let running = spawn_with_few_files(&job, &[command, "roman-numerals"]);
        wait_until_it_reads(&job);
        let mut processes = running.children();
        processes.push(running.pid());
        for pid in processes {
            let (soft, hard) = limits(pid);
            assert_eq!(soft, hard, "{command}");
            assert_ne!(
                hard, FEW,
                "{command}: raise the hard limit, it leaves no room for this test"
            );
        }
        running.terminate();
        running.wait(DEADLINE).expect_exit(143);
    }
}
