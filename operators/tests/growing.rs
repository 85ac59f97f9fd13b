//! Columns that are added while the whole dataflow runs, on fakes of the ports: those of Debezium's changes, whose
//! schemas come with the records.

mod fakes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fakes::{FakeColumns, Record, Setup, Store, Topic, run};
use serde_json::{Value, json};
use strandline_operators::job::{Format, Job, JobSettings, SchemaEvolution};
use strandline_operators::schema::{AddedColumn, Column, ColumnType};
use strandline_operators::time::EventTime;

const JOB: Job = Job {
    name: "growing",
    topics: &["t"],
    format: Format::DebeziumJson,
    schema_evolution: SchemaEvolution::AddColumns,
    columns: &[
        Column::required("event_id", ColumnType::String),
        Column::required("event_time", ColumnType::Timestamptz),
    ],
    table: "bronze.growing",
    dead_letter_topic: Some("t-dlq"),
    dead_letter_table: Some("bronze.growing_dead_letters"),
    ..Job::BRONZE
};

const PARTITIONS: i32 = 5;

/// Records of each partition.
const RECORDS: i64 = 60;

/// From here on a partition's schema has `note`.
const NOTED_FROM: i64 = 20;

/// The time of every event, and the same as a timestamp of Kafka's.
const AT: &str = "2023-11-14T22:13:20Z";
const TIMESTAMP: EventTime = EventTime(1_700_000_000_000_000);

fn settings() -> JobSettings {
    let mut settings = JOB.settings();
    settings.commit.interval = Duration::from_millis(10);
    settings
}

fn change(row: &Value) -> Value {
    json!({"before": null, "after": row, "op": "c", "ts_ms": 1_700_000_000_000i64})
}

/// A change in Connect's wrapper, as Connect writes it: the schema has the row's fields, all of them text.
fn wrapped(row: &Value) -> String {
    let names = row.as_object().into_iter().flat_map(|row| row.keys());
    let field = |name: &String| json!({"type": "string", "optional": true, "field": name});
    let fields: Vec<Value> = names.map(field).collect();
    let schema = json!({"type": "struct", "name": "shop.Envelope", "fields": [
        {"type": "struct", "optional": true, "field": "before", "fields": fields},
        {"type": "struct", "optional": true, "field": "after", "fields": fields},
        {"type": "string", "field": "op"},
    ]});
    format!(r#"{{"schema":{schema},"payload":{}}}"#, change(row))
}

/// The record of a place: of the old schema, of the new one, or without a schema. Only the new one adds a column.
fn value(partition: i32, offset: i64) -> String {
    let id = format!("id-{partition}-{offset}");
    let mut row = json!({"event_id": id, "event_time": AT});
    if offset < NOTED_FROM {
        return wrapped(&row);
    }
    if is_noted(offset) {
        row["note"] = json!(note(partition, offset));
        return wrapped(&row);
    }
    row["loose"] = json!("of no schema");
    change(&row).to_string()
}

fn is_noted(offset: i64) -> bool {
    offset >= NOTED_FROM && offset % 3 != 0
}

fn note(partition: i32, offset: i64) -> String {
    format!("note of {partition}, {offset}")
}

#[test]
fn what_the_schema_of_a_record_adds_is_a_column_before_the_record_lands() {
    let partition = |partition: i32| {
        let record = |offset: i64| Record {
            offset,
            timestamp: TIMESTAMP,
            value: Some(value(partition, offset).into_bytes()),
        };
        ((0..RECORDS).map(record).collect(), RECORDS)
    };
    let topic = Topic {
        partitions: (0..PARTITIONS).map(partition).collect(),
    };
    let places = (0..PARTITIONS).flat_map(|p| (0..RECORDS).map(move |offset| (p, offset)));
    let noted = places.filter(|&(_, offset)| is_noted(offset));
    let expected: BTreeMap<(i32, i64), String> = noted
        .map(|(p, offset)| ((p, offset), note(p, offset)))
        .collect();
    for workers in [1, 2, 4] {
        let columns = Arc::new(FakeColumns::default());
        let store = Store::new(&settings());
        let setup = Setup {
            settings: settings(),
            topic: topic.clone(),
            workers,
            batch_records: 7,
            fail_at: None,
            columns: Some(Arc::clone(&columns)),
        };
        let failure = run(setup, &store).map(|error| error.to_string());
        assert_eq!(failure, None, "{workers} workers");
        let added = AddedColumn {
            name: "note".to_owned(),
            column_type: ColumnType::String,
        };
        assert_eq!(*columns.added.lock().expect("lock"), [added]);
        let texts = columns.texts.lock().expect("lock");
        assert_eq!(*texts, expected, "{workers} workers");
        let account = store.lock().expect("lock").progress.account();
        let all = RECORDS as u64 * PARTITIONS as u64;
        assert_eq!((account.landed, account.dead_letters), (all, 0));
    }
}
