//! Which stage is under pressure, and what is said of it; which payloads are shown in part.

use std::time::Duration;

use super::super::facts::{LetterFacts, WorkerFacts};
use super::super::merge::merge;
use super::*;

/// From the first of the looks to the last.
const LOOKED: Duration = Duration::from_secs(2);

/// Every stage has passed all that the one before it has, and all of it is committed.
fn even(records: u64) -> OperatorCounts {
    OperatorCounts {
        read: records,
        decoded: records,
        judged: records,
        routed: records,
        encoded: records,
        ..OperatorCounts::default()
    }
}

/// The stages of a job with these workers, of which so many records are committed, when it has gone on from nothing to
/// these counts.
fn stages(workers: usize, committed: u64, now: OperatorCounts) -> Vec<OperatorStatus> {
    let merged = Merged {
        first: ProcessFacts {
            account: Account {
                consumed: committed,
                ..Account::default()
            },
            ..ProcessFacts::default()
        },
        operators: now,
        workers,
        ..Merged::default()
    };
    looked_at(&merged)
}

/// The stages of a job that has gone on from nothing to what is told of it.
fn looked_at(merged: &Merged) -> Vec<OperatorStatus> {
    let begin = Instant::now();
    let committed = merged.first.account.consumed;
    let looks = VecDeque::from([
        (begin, OperatorCounts::default(), 0, 0),
        (begin + LOOKED, merged.operators, committed, committed),
    ]);
    operators_of(merged, &looks)
}

/// Those that are under pressure: name, pressure, and what is said.
fn pressed(stages: &[OperatorStatus]) -> Vec<(&str, &str, &str)> {
    let pressed = stages.iter().filter(|stage| stage.pressure != "ok");
    pressed
        .map(|stage| (&*stage.name, &*stage.pressure, &*stage.says))
        .collect()
}

#[test]
fn where_nothing_waits_no_stage_is_under_pressure() {
    let stages = stages(1, 500, even(500));
    assert!(pressed(&stages).is_empty(), "{stages:?}");
    for stage in &stages {
        assert_eq!(stage.says, "", "{}", stage.name);
        let seen = (stage.count, stage.rate, stage.waiting);
        assert_eq!(seen, (500, 250.0, 0), "{}", stage.name);
    }
    let names: Vec<&str> = stages.iter().map(|stage| &*stage.name).collect();
    let in_order = ["read", "decode", "deduplicate", "write files", "commit"];
    assert_eq!(names, in_order);
}

#[test]
fn a_job_that_was_looked_at_once_has_neither_rates_nor_pressure() {
    let merged = Merged {
        operators: OperatorCounts {
            waited_for_commit_us: 60_000_000,
            ..even(500)
        },
        ..Merged::default()
    };
    let stages = operators_of(&merged, &VecDeque::new());
    assert!(pressed(&stages).is_empty(), "{stages:?}");
    assert!(stages.iter().all(|stage| stage.rate == 0.0));
}

#[test]
fn where_reading_waits_for_memory_the_stage_that_most_wait_for_is_in_the_way() {
    let held = OperatorCounts {
        read: 1_000,
        decoded: 990,
        judged: 960,
        routed: 960,
        encoded: 200,
        // Of one of two workers, half of the time.
        waited_for_memory_us: 1_000_000,
        ..OperatorCounts::default()
    };
    let because = "reads nothing 25 % of the time: the records in flight fill their memory";
    assert_eq!(
        pressed(&stages(2, 200, held)),
        [
            ("read", "waits", because),
            (
                "write files",
                "busy",
                "the others wait for it: 760 rows before it"
            ),
        ]
    );
    let decodes = OperatorCounts {
        decoded: 210,
        judged: 205,
        routed: 205,
        ..held
    };
    let says = "the others wait for it: 790 records before it";
    assert_eq!(
        pressed(&stages(2, 200, decodes))[1],
        ("decode", "busy", says)
    );
}

#[test]
fn where_reading_waits_for_a_commit_the_commit_is_in_the_way_whatever_else_waits() {
    let held = OperatorCounts {
        read: 90_000,
        waited_for_memory_us: 500_000,
        waited_for_commit_us: 1_500_000,
        ..even(700)
    };
    let because = "reads nothing 75 % of the time: earlier epochs wait for their commit";
    assert_eq!(
        pressed(&stages(1, 400, held)),
        [
            ("read", "waits", because),
            (
                "commit",
                "busy",
                "the others wait for it: 300 records before it"
            ),
        ]
    );
    // Never more than all of it: workers of several processes add up.
    let longer = OperatorCounts {
        waited_for_commit_us: 60_000_000,
        ..held
    };
    let stages = stages(1, 400, longer);
    assert!(stages[0].says.starts_with("reads nothing 100 %"));
}

#[test]
fn the_share_of_time_is_of_the_workers_of_all_processes() {
    let process = |process, workers, waited_for_commit_us| ProcessFacts {
        process,
        workers: vec![WorkerFacts::default(); workers],
        operators: OperatorCounts {
            waited_for_commit_us,
            ..OperatorCounts::default()
        },
        ..ProcessFacts::default()
    };
    let share = |processes: &[ProcessFacts]| {
        let processes = processes.iter().map(|facts| (facts.process, facts.clone()));
        let stages = looked_at(&merge(&processes.collect()));
        stages[0].says.clone()
    };
    // Of two workers each, one waited all the time.
    let (first, second) = (process(0, 2, 2_000_000), process(1, 2, 2_000_000));
    let half = "reads nothing 50 % of the time: earlier epochs wait for their commit";
    assert_eq!(share(&[first.clone(), second]), half);
    // As long as the second has told of no worker, the first is the job.
    assert_eq!(share(&[first, process(1, 0, 0)]), half);
    // It is no matter which process has the most.
    let few = [process(0, 1, 2_000_000), process(1, 3, 0)];
    let quarter = "reads nothing 25 % of the time: earlier epochs wait for their commit";
    assert_eq!(share(&few), quarter);
}

#[test]
fn a_moment_of_waiting_is_no_pressure() {
    let waited = |micros| {
        let now = OperatorCounts {
            waited_for_memory_us: micros,
            ..even(500)
        };
        stages(1, 500, now)
    };
    // A twentieth of the two seconds.
    assert_eq!(pressed(&waited(100_000)).len(), 0);
    assert_eq!(pressed(&waited(120_000)).len(), 2);
}

#[test]
fn while_all_is_read_a_stage_before_which_many_records_wait_is_busy() {
    let behind = |waiting| OperatorCounts {
        read: 50_000,
        decoded: 50_000,
        ..even(50_000 - waiting)
    };
    let worth = stages(1, 10, behind(WORTH_A_WORD + 1));
    // What is not committed is what a commit takes in: that is no pressure.
    let says = "20001 records wait for it";
    assert_eq!(pressed(&worth), [("deduplicate", "busy", says)]);
    let less = stages(1, 10, behind(WORTH_A_WORD));
    assert!(pressed(&less).is_empty(), "{less:?}");
}

#[test]
fn of_a_dead_letter_it_is_said_whether_its_payload_is_only_the_beginning() {
    // As many characters as half the bytes: only their number tells.
    let letter = |payload_bytes: usize| LetterFacts {
        payload: Some("é".repeat(payload_bytes.min(SAMPLE_BYTES) / 2)),
        payload_bytes,
        ..LetterFacts::default()
    };
    let facts = ProcessFacts {
        letter_samples: vec![letter(SAMPLE_BYTES), letter(SAMPLE_BYTES + 1)],
        ..ProcessFacts::default()
    };
    let letters = letters_of(&[(0, facts)].into(), &Merged::default());
    let cut: Vec<_> = letters.samples.iter().map(|l| l.payload_cut).collect();
    assert_eq!(cut, [false, true]);
}
