//! Every step of an epoch's life killed, failed, delayed and hung: what lands stays exact.
//!
//! For each failpoint a job of its own goes through four runs, one for each action, each over new records,
//! and then ends in peace; the judge compares the whole topic with the table.

mod support;

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use strandline_operators::failpoint::Failpoint;
use support::{Catalog, Message, RomanNumerals, Running, events, wait_until};

const DEADLINE: Duration = Duration::from_secs(180);

/// Records that each run finds.
const RECORDS: usize = 600;

const PARTITIONS: i32 = 3;

/// Jobs that run at a time.
const AT_ONCE: usize = 3;

const ACTIONS: [&str; 4] = ["kill", "error", "delay", "hang"];

#[test]
fn nothing_is_lost_or_doubled_whatever_step_fails() {
    let points: Vec<Failpoint> = Failpoint::ALL.iter().copied().filter(is_passed).collect();
    let points = Mutex::new(points.iter());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(&point) = next(&points) {
                    survives(point);
                }
            });
        }
    });
}

/// Whether a job without schemas comes there; `tests/schema_evolution.rs` goes to the others.
fn is_passed(point: &Failpoint) -> bool {
    !matches!(point, Failpoint::ColumnsAdd | Failpoint::ColumnsAdded)
}

fn next<'a>(points: &Mutex<std::slice::Iter<'a, Failpoint>>) -> Option<&'a Failpoint> {
    points.lock().unwrap_or_else(|p| p.into_inner()).next()
}

fn survives(point: Failpoint) {
    let job = RomanNumerals::new(Catalog::Sql, PARTITIONS, "commit: { interval: 100ms }");
    let mut records = events(RECORDS * (ACTIONS.len() + 2), PARTITIONS, 4711);
    let mut produce = || {
        job.topic
            .produce(records.by_ref().take(RECORDS).collect::<Vec<Message>>())
    };
    // Some steps come only after an earlier life: rolling forward, reading back, known ids.
    produce();
    job.run_until_caught_up(&["-w", "2"], DEADLINE);
    for action in ACTIONS {
        produce();
        if point == Failpoint::Rebuild {
            job.delete_state();
        }
        fail_at(&job, point, action);
    }
    produce();
    job.run_until_caught_up(&["-w", "1"], DEADLINE);
    job.judge(&[]);
}

/// Runs the job until the step was reached and what is to happen there has happened.
fn fail_at(job: &RomanNumerals, point: Failpoint, action: &str) {
    let what = format!("{}={action}", point.name());
    let mut command = Command::new(env!("CARGO_BIN_EXE_strandline"));
    command
        .args(["run", "roman-numerals", "-w", "2", "--until-caught-up"])
        .env("STRANDLINE_FAILPOINTS", &what);
    let mut running = Running::spawn(command, job.path());
    let reached = format!("failpoint {} reached", point.name());
    wait_until(&what, DEADLINE, || {
        let came_there = running.stderr().contains(&reached);
        (came_there || !running.is_running()).then_some(())
    });
    // One that hangs would do so for good; whatever else it does goes on until it is killed.
    let finished = match action {
        "hang" => running.kill_9(),
        _ => running.wait(DEADLINE),
    };
    assert!(
        finished.stderr.contains(&reached),
        "{what} was not reached: {}",
        finished.stderr
    );
    let (code, signal) = (finished.status.code(), finished.status.signal());
    let expected = match action {
        "kill" | "hang" => (None, Some(9)),
        // A secondary that cannot be committed to holds nobody up while the job runs, and is committed to later. (A
        // start does wait for it: `secondary.send` fails there, for the kill before it left something to be sent.)
        "error" if point == Failpoint::SecondarySent => (Some(0), None),
        "error" => (Some(3), None),
        _ => (Some(0), None),
    };
    assert_eq!((code, signal), expected, "{what}: {}", finished.stderr);
}
