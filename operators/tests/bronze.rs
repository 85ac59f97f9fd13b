//! The whole dataflow on fakes of the ports, against an oracle, on 1, 2 and 4 workers.

mod fakes;

use std::time::Duration;

use fakes::{Expected, Row, Setup, Store, Topic, generate, run};
use strandline_operators::account::Account;
use strandline_operators::io::TableIndex;
use strandline_operators::job::{Job, JobSettings, Route};
use strandline_operators::schema::{Column, ColumnType};

const JOB: Job = Job {
    name: "test",
    topics: &["t"],
    columns: &[
        Column::required("event_id", ColumnType::String),
        Column::required("event_time", ColumnType::Timestamptz),
        Column::optional("input_value", ColumnType::Int),
    ],
    table: "bronze.test",
    routes: &[
        Route {
            name: "even",
            table: "bronze.test_even",
            takes: |row| row.integer("input_value").is_some_and(|n| n % 2 == 0),
        },
        Route {
            name: "third",
            table: "bronze.test_third",
            takes: |row| row.integer("input_value").is_some_and(|n| n % 3 == 0),
        },
        Route {
            name: "none",
            table: "bronze.test_none",
            takes: |_row| false,
        },
    ],
    dead_letter_topic: Some("t-dlq"),
    dead_letter_table: Some("bronze.test_dead_letters"),
    ..Job::BRONZE
};

fn settings() -> JobSettings {
    let mut settings = JOB.settings();
    settings.commit.interval = Duration::from_millis(10);
    // Small enough for many epochs in a run of milliseconds.
    settings.commit.max_bytes = 20_000;
    settings
}

fn assert_as_expected(store: &Store, expected: &Expected, what: &str) {
    let mut rows: Vec<Row> = store.rows();
    rows.sort();
    let oracle: Vec<Row> = expected
        .landed
        .iter()
        .map(|((p, o), (id, late))| (*p, *o, id.clone(), *late))
        .collect();
    assert_eq!(rows, oracle, "{what}: the landed rows");
    let account = store.progress.account();
    assert!(account.is_balanced(), "{what}: {account:?}");
    let late = expected.landed.values().filter(|(_, late)| *late).count() as u64;
    let landed = oracle.len() as u64;
    let (duplicates, dead_letters, gaps) =
        (expected.duplicates, expected.dead_letters, expected.gaps);
    let consumed = landed + duplicates + dead_letters;
    let oracle = Account {
        consumed,
        landed,
        late,
        duplicates,
        dead_letters,
        dropped: 0,
        gaps,
    };
    assert_eq!(account, oracle, "{what}: the account");
}

/// By the plainest reading: those of the landed rows whose record says a number that fits.
fn assert_routed(store: &Store, topic: &Topic, expected: &Expected, what: &str) {
    let says = |(partition, offset): &(i32, i64)| -> Option<i64> {
        let (records, _) = &topic.partitions[*partition as usize];
        let record = records.iter().find(|record| record.offset == *offset)?;
        let value: serde_json::Value = serde_json::from_slice(record.value.as_ref()?).ok()?;
        value["input_value"].as_i64()
    };
    for (place, divisor) in [(0, 2), (1, 3)] {
        let mut rows = store.rows_of(TableIndex::of_route(place));
        rows.sort();
        let landed = expected.landed.iter();
        let oracle: Vec<Row> = landed
            .filter(|(place, _)| says(place).is_some_and(|n| n % divisor == 0))
            .map(|((p, o), (id, late))| (*p, *o, id.clone(), *late))
            .collect();
        assert!(oracle.len() > 100, "{what}: there is something to route");
        assert_eq!(rows, oracle, "{what}: the rows of route {place}");
    }
    assert_eq!(store.rows_of(TableIndex::of_route(2)), [], "{what}");
}

#[test]
fn every_record_lands_once_or_has_its_cause_on_any_number_of_workers() {
    for seed in 0..6 {
        for workers in [1, 2, 4] {
            let what = format!("seed {seed}, {workers} workers");
            let (topic, expected) = generate(seed, 5, 4000);
            let store = Store::new(&settings());
            let setup = Setup {
                settings: settings(),
                topic: topic.clone(),
                workers,
                batch_records: 97,
                fail_at: None,
                columns: None,
            };
            assert_eq!(run(setup, &store).map(|e| e.to_string()), None, "{what}");
            let store = store.lock().expect("lock");
            assert!(
                store.commits.len() > 1,
                "{what}: {} commits",
                store.commits.len()
            );
            assert_as_expected(&store, &expected, &what);
            assert_routed(&store, &topic, &expected, &what);
            assert_eq!(
                store.letters.len() as u64,
                expected.dead_letters,
                "{what}: the dead-letter topic"
            );
            assert_eq!(
                store.letters.len(),
                store.flushed,
                "{what}: every letter is acknowledged"
            );
        }
    }
}

#[test]
fn a_run_that_fails_at_a_commit_goes_on_from_the_table_with_another_number_of_workers() {
    for seed in 10..16 {
        let what = format!("seed {seed}");
        let (topic, expected) = generate(seed, 5, 4000);
        let store = Store::new(&settings());
        let mut fail_at = 0;
        for workers in [2, 1, 4, 2, 4] {
            fail_at += 1;
            let setup = Setup {
                settings: settings(),
                topic: topic.clone(),
                workers,
                batch_records: 53,
                fail_at: Some(fail_at),
                columns: None,
            };
            run(setup, &store);
        }
        let setup = Setup {
            settings: settings(),
            topic: topic.clone(),
            workers: 2,
            batch_records: 53,
            fail_at: None,
            columns: None,
        };
        assert_eq!(run(setup, &store).map(|e| e.to_string()), None, "{what}");
        let store = store.lock().expect("lock");
        assert_as_expected(&store, &expected, &what);
        assert_routed(&store, &topic, &expected, &what);
    }
}

#[test]
fn an_unreachable_catalog_never_looks_like_the_end_of_the_input() {
    let (topic, _) = generate(3, 3, 1000);
    let store = Store::new(&settings());
    let setup = Setup {
        settings: settings(),
        topic,
        workers: 2,
        batch_records: 53,
        fail_at: Some(0),
        columns: None,
    };
    let error = run(setup, &store).expect("it fails");
    assert!(error.message().contains("the catalog is away"), "{error}");
    assert!(store.lock().expect("lock").commits.is_empty());
}
