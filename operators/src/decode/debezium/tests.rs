//! Debezium's changes as its PostgreSQL connector writes them.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{Array, RecordBatch};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::raw_batch;
use super::super::{Decode, Decoded};
use super::{DebeziumDecoder, UNAVAILABLE};
use crate::job::{DedupPolicy, Job, JobSettings};
use crate::record::ErrorType;
use crate::schema::{Column, ColumnType};

const COLUMNS: &[Column] = &[
    Column::required("event_id", ColumnType::String),
    Column::required("event_time", ColumnType::Timestamptz),
    Column::optional("note", ColumnType::String),
    Column::optional(
        "price",
        ColumnType::Decimal {
            precision: 10,
            scale: 2,
        },
    ),
    Column::optional("day", ColumnType::Date),
    Column::optional("at", ColumnType::Time),
    Column::optional("seen", ColumnType::Timestamp),
    Column::optional("__op", ColumnType::String),
    Column::optional("__table", ColumnType::String),
    Column::optional("__schema", ColumnType::String),
    Column::optional("__ts_ms", ColumnType::Long),
    Column::optional("__source_ts_ms", ColumnType::Timestamptz),
    Column::optional("__lsn", ColumnType::Long),
    Column::optional("__deleted", ColumnType::Boolean),
    Column::optional("__before", ColumnType::String),
    Column::optional("__unavailable", ColumnType::String),
];

fn settings() -> JobSettings {
    JobSettings {
        columns: COLUMNS.to_vec(),
        dedup: Some(DedupPolicy {
            key: "event_id".to_owned(),
            ttl: std::time::Duration::from_secs(1),
        }),
        ..Job::BRONZE.settings()
    }
}

fn decode(records: &[Option<Value>]) -> Decoded {
    let records: Vec<Option<String>> = records
        .iter()
        .map(|record| record.as_ref().map(Value::to_string))
        .collect();
    let mut decoder = DebeziumDecoder::new(&settings(), Some(0), 1).expect("a decoder");
    decoder.decode(&raw_batch(&records))
}

/// The row as JSON, columns that are null left out.
fn row(columns: &RecordBatch, row: usize) -> Value {
    let mut object = serde_json::Map::new();
    for (column, array) in COLUMNS.iter().zip(columns.columns()) {
        if array.is_null(row) {
            continue;
        }
        let value = match column.column_type {
            ColumnType::String => json!(array.as_string::<i32>().value(row)),
            ColumnType::Long => json!(array.as_primitive::<Int64Type>().value(row)),
            ColumnType::Date => json!(array.as_primitive::<Date32Type>().value(row)),
            ColumnType::Time => json!(array.as_primitive::<Time64MicrosecondType>().value(row)),
            ColumnType::Boolean => json!(array.as_boolean().value(row)),
            ColumnType::Decimal { .. } => {
                json!(array.as_primitive::<Decimal128Type>().value(row) as i64)
            }
            _ => json!(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        };
        object.insert(column.name.to_owned(), value);
    }
    Value::Object(object)
}

fn source() -> Value {
    json!({
        "version": "3.6.3.Final", "connector": "postgresql", "name": "shop", "ts_ms": 1_700_000_000_500i64,
        "snapshot": "false", "db": "shop", "sequence": "[\"1\",\"2\"]", "schema": "public",
        "table": "orders", "txId": 7, "lsn": 4242, "xmin": null
    })
}

fn envelope(op: &str, before: Value, after: Value) -> Value {
    json!({
        "before": before, "after": after, "source": source(), "transaction": null,
        "op": op, "ts_ms": 1_700_000_000_900i64
    })
}

#[test]
fn creates_updates_deletes_reads_and_truncations_are_rows() {
    let old = json!({"event_id": "a", "event_time": "2026-11-21T10:00:00Z", "note": "old"});
    let new = json!({"event_id": "a", "event_time": "2026-11-21T10:00:00Z", "note": "new"});
    let decoded = decode(&[
        Some(envelope("c", Value::Null, new.clone())),
        Some(envelope("u", old.clone(), new.clone())),
        Some(envelope("d", old.clone(), Value::Null)),
        None,
        Some(envelope("r", Value::Null, new.clone())),
        Some(envelope("t", Value::Null, Value::Null)),
    ]);
    assert_eq!(decoded.failures, []);
    assert_eq!(
        (decoded.rows.as_slice(), decoded.dropped),
        (&[0, 1, 2, 4, 5][..], 1)
    );
    let time = 1_795_255_200_000_000i64;
    let expected = |op: &str, note: &str| {
        json!({
            "event_id": "a", "event_time": time, "note": note, "__op": op, "__table": "orders",
            "__schema": "public", "__ts_ms": 1_700_000_000_900i64,
            "__source_ts_ms": 1_700_000_000_500_000i64, "__lsn": 4242, "__deleted": op == "d"
        })
    };
    let columns = &decoded.columns;
    assert_eq!(row(columns, 0), expected("c", "new"));
    let mut update = expected("u", "new");
    update["__before"] = json!(old.to_string());
    assert_eq!(row(columns, 1), update);
    let mut delete = expected("d", "old");
    delete["__before"] = json!(old.to_string());
    assert_eq!(row(columns, 2), delete);
    assert_eq!(row(columns, 3), expected("r", "new"));
    // A truncation has no row: its id is its position, its time the database's.
    let truncation = row(columns, 4);
    let id = truncation["event_id"].as_str().expect("an id");
    assert!(id.starts_with("shop.public.orders:4242:t:"), "{id}");
    assert_eq!(truncation["event_time"], json!(1_700_000_000_500_000i64));
}

#[test]
fn rows_of_a_snapshot_that_have_no_id_get_different_ones_at_one_position() {
    let snapshot = |note: &str| Some(envelope("r", Value::Null, json!({"note": note})));
    let decoded = decode(&[snapshot("a"), snapshot("b"), snapshot("a")]);
    assert_eq!(decoded.failures, []);
    let ids = decoded.columns.column(0).as_string::<i32>();
    assert_ne!(ids.value(0), ids.value(1));
    assert_eq!(ids.value(0), ids.value(2), "the same change read again");
}

/// Connect's wrapper says what integers and quoted decimals mean; `JwA=` is 9984.
#[test]
fn the_schema_of_the_wrapper_decides_what_values_mean() {
    let fields = |time: &str, timestamp: &str, decimal: Value| {
        json!([
            {"type": "string", "field": "event_id"},
            {"type": "string", "name": "io.debezium.time.ZonedTimestamp", "field": "event_time"},
            decimal,
            {"type": "int32", "name": "io.debezium.time.Date", "field": "day"},
            {"type": "int64", "name": time, "field": "at"},
            {"type": "int64", "name": timestamp, "field": "seen"},
        ])
    };
    let wrapped = |fields: Value, after: Value| {
        Some(json!({
            "schema": {"type": "struct", "fields": [
                {"type": "struct", "optional": true, "field": "before", "fields": fields},
                {"type": "struct", "optional": true, "field": "after", "fields": fields},
            ]},
            "payload": envelope("c", Value::Null, after)
        }))
    };
    let connect = "org.apache.kafka.connect.data.Decimal";
    let base64 =
        json!({"type": "bytes", "name": connect, "parameters": {"scale": "2"}, "field": "price"});
    let wider =
        json!({"type": "bytes", "name": connect, "parameters": {"scale": "3"}, "field": "price"});
    let digits = json!({"type": "string", "field": "price"});
    let row_of = |price: Value, at: i64, seen: i64| {
        json!({"event_id": "a", "event_time": "2026-11-21T10:00:00Z", "price": price, "day": 20_000,
               "at": at, "seen": seen})
    };
    let (micros, millis) = (
        "io.debezium.time.MicroTime",
        "org.apache.kafka.connect.data.Time",
    );
    let decoded = decode(&[
        wrapped(
            fields(micros, "io.debezium.time.MicroTimestamp", base64),
            row_of(json!("JwA="), 1_000_000, 5_000_000),
        ),
        wrapped(
            fields(millis, "org.apache.kafka.connect.data.Timestamp", digits),
            row_of(json!("99.84"), 1_000, 5_000),
        ),
        wrapped(
            fields(
                "io.debezium.time.NanoTime",
                "io.debezium.time.NanoTimestamp",
                wider,
            ),
            row_of(json!("AYYA"), 1_000_000_000, 5_000_000_000),
        ),
        // Without a schema the job's settings say it: micros and base64.
        Some(envelope(
            "c",
            Value::Null,
            row_of(json!("JwA="), 1_000_000, 5_000_000),
        )),
        Some(envelope(
            "c",
            Value::Null,
            row_of(json!({"scale": 1, "value": "A+Y="}), 1_000_000, 5_000_000),
        )),
    ]);
    assert_eq!(decoded.failures, []);
    for (at, cents) in [9984, 9984, 9984, 9984, 9980].into_iter().enumerate() {
        let row = row(&decoded.columns, at);
        assert_eq!(row["price"], json!(cents), "row {at}");
        assert_eq!(row["day"], json!(20_000));
        assert_eq!(row["at"], json!(1_000_000), "row {at}");
        assert_eq!(row["seen"], json!(5_000_000), "row {at}");
    }
}

#[test]
fn what_the_schema_says_is_of_another_kind_is_a_dead_letter_whatever_it_looks_like() {
    let columns = [
        &COLUMNS[..2],
        &[
            Column::optional("day", ColumnType::Date),
            Column::optional("at", ColumnType::Time),
            Column::optional("seen", ColumnType::Timestamp),
            Column::optional("raw", ColumnType::Binary),
            Column::optional("ratio", ColumnType::Double),
            Column::optional("share", ColumnType::Float),
        ],
    ]
    .concat();
    let lands = |column: &str, written: &str, name: &str, value: Value| {
        let record = json!({
            "schema": {"type": "struct", "fields": [
                {"field": "after", "type": "struct", "fields": [{"field": column, "type": written, "name": name}]}
            ]},
            "payload": {"op": "c", "after": {"event_id": "a", "event_time": 1, column: value}},
        })
        .to_string();
        let settings = JobSettings {
            columns: columns.clone(),
            ..settings()
        };
        let mut decoder = DebeziumDecoder::new(&settings, Some(0), 1).expect("a decoder");
        // Twice: the second is read as the first one predicts.
        let decoded = decoder.decode(&raw_batch(&[Some(&record), Some(&record)]));
        for failure in &decoded.failures {
            assert_eq!(failure.error_type, ErrorType::SchemaMismatch);
            assert!(failure.message.contains(column), "{}", failure.message);
        }
        let place = columns.iter().position(|c| c.name == column);
        let array = decoded.columns.column(place.expect("a column"));
        assert_eq!(array.null_count(), 0, "{column}: {record}");
        decoded.rows.len()
    };
    let time = "io.debezium.time";
    let micros = json!(1_700_000_000_000_000i64);
    for (column, written, name, value) in [
        ("seen", "int64", format!("{time}.MicroTimestamp"), micros),
        ("at", "int64", format!("{time}.MicroTime"), json!(5)),
        ("day", "int32", format!("{time}.Date"), json!(20_000)),
        ("raw", "bytes", String::new(), json!("deadbeef")),
        ("ratio", "double", String::new(), json!("NaN")),
        ("ratio", "double", String::new(), json!("-Infinity")),
        ("share", "float", String::new(), json!("Infinity")),
    ] {
        assert_eq!(lands(column, written, &name, value), 2, "{column} {name}");
    }
    for (column, written, name, value) in [
        ("seen", "int32", format!("{time}.Date"), json!(20_000)),
        ("seen", "int64", format!("{time}.MicroDuration"), json!(5)),
        ("at", "int64", format!("{time}.MicroTimestamp"), json!(5)),
        ("day", "int32", format!("{time}.Year"), json!(2026)),
        ("raw", "string", String::new(), json!("deadbeef")),
        ("ratio", "double", String::new(), json!("nan")),
    ] {
        assert_eq!(lands(column, written, &name, value), 0, "{column} {name}");
    }
}

#[test]
fn rows_unwrapped_already_are_taken_with_what_they_say_of_themselves() {
    let decoded = decode(&[
        Some(
            json!({"event_id": "a", "event_time": "2026-11-21T10:00:00Z", "note": "n", "__op": "u",
                    "__table": "orders", "__ts_ms": 1_700_000_000_900i64, "__deleted": "false"}),
        ),
        Some(
            json!({"event_id": "a", "note": null, "__deleted": "true", "__table": "orders",
                    "__source_ts_ms": 1_700_000_000_500i64, "__lsn": 17}),
        ),
    ]);
    assert_eq!(decoded.failures, []);
    let first = row(&decoded.columns, 0);
    assert_eq!(
        (&first["__op"], &first["__deleted"], &first["__ts_ms"]),
        (&json!("u"), &json!(false), &json!(1_700_000_000_900i64))
    );
    let second = row(&decoded.columns, 1);
    assert_eq!(
        (
            &second["__op"],
            &second["__deleted"],
            &second["event_time"],
            &second["__lsn"]
        ),
        (
            &json!("d"),
            &json!(true),
            &json!(1_700_000_000_500_000i64),
            &json!(17)
        )
    );
}

#[test]
fn what_the_database_did_not_say_is_null_and_noted() {
    let after = json!({"event_id": "a", "event_time": "2026-11-21T10:00:00Z", "note": UNAVAILABLE});
    let decoded = decode(&[Some(envelope("u", Value::Null, after))]);
    let row = row(&decoded.columns, 0);
    assert_eq!(row.get("note"), None);
    assert_eq!(row["__unavailable"], json!("[\"note\"]"));
}

#[test]
fn what_the_database_did_not_say_of_an_array_or_an_object_is_null_too() {
    let update = |note: Value| {
        let after = json!({"event_id": "a", "event_time": "2026-11-21T10:00:00Z", "note": note});
        let decoded = decode(&[Some(envelope("u", Value::Null, after))]);
        assert_eq!(decoded.failures, []);
        row(&decoded.columns, 0)
    };
    let as_map = json!({UNAVAILABLE: UNAVAILABLE});
    for placeholder in [
        json!([UNAVAILABLE]),
        json!(UNAVAILABLE.as_bytes()),
        // `hstore.handling.mode` map and json.
        as_map.clone(),
        json!(as_map.to_string()),
        json!([STANDARD.encode(UNAVAILABLE)]),
        json!(["b68a35a7-17ad-35b3-af2a-ae46edb4545a"]),
    ] {
        let row = update(placeholder.clone());
        assert_eq!(row.get("note"), None, "{placeholder}");
        assert_eq!(row["__unavailable"], json!("[\"note\"]"), "{placeholder}");
    }
    for said in [
        json!([]),
        json!([95, 95, 100]),
        json!([UNAVAILABLE, "a"]),
        json!({"a": UNAVAILABLE}),
        json!({}),
    ] {
        let row = update(said.clone());
        assert_eq!(row["note"], json!(said.to_string()));
        assert_eq!(row.get("__unavailable"), None, "{said}");
    }
}

/// The event id of a record without one of its own; `None` when it does not land for want of it.
fn event_id(record: Value) -> Option<String> {
    let decoded = decode(&[Some(record)]);
    match decoded.failures.as_slice() {
        [] => {
            let ids = decoded.columns.column(0).as_string::<i32>();
            Some(ids.value(0).to_owned())
        }
        [failure] => {
            assert_eq!(failure.error_type, ErrorType::MissingEventId);
            None
        }
        more => panic!("one record, several failures: {more:?}"),
    }
}

/// As the connectors' `SourceInfoStructMaker`s have it; only PostgreSQL's is held against real output.
#[test]
fn a_change_of_any_of_these_databases_has_a_position() {
    let stream = json!({
        "change_lsn": "0000002a:00000888:0003", "commit_lsn": "0000002a:00000888:0005", "event_serial_no": 2
    });
    let snapshot = json!({
        "change_lsn": null, "commit_lsn": "0000002a:000003c8:0003", "event_serial_no": null
    });
    let oracle = |commit_scn: Value, lcr_position: Value, rs_id: Value| {
        json!({
            "txId": "0a001f00", "scn": "2122185", "commit_scn": commit_scn, "lcr_position": lcr_position,
            "rs_id": rs_id, "ssn": 3, "redo_thread": 1, "user_name": null
        })
    };
    let none = Value::Null;
    let record_set = json!("0x00008d.0001b7e4.0010");
    for (source, position) in [
        (json!({"lsn": 4242, "txId": 7}), "4242"),
        (
            json!({"server_id": 1, "gtid": null, "file": "binlog.000003", "pos": 990, "row": 2, "query": null}),
            "binlog.000003:990:2",
        ),
        (stream, "0000002a:00000888:0003:2"),
        (snapshot, "0000002a:000003c8:0003"),
        (
            json!({"change_lsn": "00000000:00a1b2c3", "commit_lsn": "00000000:00a1b2d4"}),
            "00000000:00a1b2c3",
        ),
        (
            oracle(json!("2122190"), none.clone(), record_set),
            "2122185:2122190:0x00008d.0001b7e4.0010:3",
        ),
        (
            oracle(json!("2122190"), json!("0000a1"), none.clone()),
            "2122185:2122190:0000a1:3",
        ),
        (oracle(none.clone(), none.clone(), none), "2122185:3"),
        (json!({"collection": "orders", "ord": 31}), "5000:31"),
        (json!({"sec": 1_422_998_530, "ord": 6}), "1422998530:6"),
    ] {
        let mut whole = json!({"ts_ms": 5000, "db": "shop", "table": "orders"});
        for (member, value) in source.as_object().expect("an object") {
            whole[member] = value.clone();
        }
        let change = |op: &str, note: &str| {
            let mut change = envelope(op, Value::Null, json!({"note": note}));
            change["source"] = whole.clone();
            event_id(change).expect("an id")
        };
        let id = change("c", "a");
        let prefix = format!("shop..orders:{position}:c:");
        assert!(id.starts_with(&prefix), "{id} of {whole}");
        assert_eq!(change("c", "a"), id, "the same change read again");
        assert_ne!(change("c", "b"), id, "another row at one position");
        assert_ne!(change("u", "a"), id, "another change at one position");
    }
}

#[test]
fn what_does_not_tell_changes_apart_is_no_position() {
    for source in [
        json!({"ts_ms": 5000, "table": "orders"}),
        json!({"ts_ms": 5000, "file": "binlog.000003"}),
        json!({"ts_ms": 5000, "change_lsn": null, "commit_lsn": null}),
        json!({"ts_ms": 5000, "scn": null, "commit_scn": "2122190"}),
        json!({"ts_ms": 5000, "sec": 5}),
    ] {
        let mut change = envelope("c", Value::Null, json!({"note": "a"}));
        change["source"] = source;
        assert_eq!(event_id(change.clone()), None, "{change}");
    }
    // Two deletes in one of MongoDB's transactions say the same.
    let mut delete = envelope("d", Value::Null, Value::Null);
    delete["source"] = json!({"ts_ms": 5000, "collection": "orders", "ord": 31});
    assert_eq!(event_id(delete), None);
}

#[test]
fn a_row_unwrapped_already_says_its_position_itself() {
    for prefix in ["__source_", "__"] {
        let row = |position: Value| {
            let mut row = json!({"note": "a", "__op": "c", "__db": "shop", "__table": "orders", "__source_ts_ms": 5000});
            for (member, value) in position.as_object().expect("an object") {
                row[format!("{prefix}{member}")] = value.clone();
            }
            event_id(row)
        };
        for (position, expected) in [
            (
                json!({"file": "binlog.000003", "pos": 990, "row": 2}),
                "binlog.000003:990:2",
            ),
            (json!({"lsn": 17}), "17"),
            (
                json!({"change_lsn": "2a:3", "event_serial_no": 1}),
                "2a:3:1",
            ),
            (json!({"collection": "orders", "ord": 31}), "5000:31"),
        ] {
            let id = row(position).expect("an id");
            let expected = format!("shop..orders:{expected}:c:");
            assert!(id.starts_with(&expected), "{id}");
        }
        assert_eq!(row(json!({"file": null, "pos": null, "row": null})), None);
    }
}

#[test]
fn a_document_of_mongodb_that_is_text_is_said_to_be_that() {
    let document = json!({"_id": 1}).to_string();
    for op in ["c", "u", "r"] {
        let decoded = decode(&[Some(envelope(op, Value::Null, json!(document)))]);
        let [failure] = decoded.failures.as_slice() else {
            panic!("one failure: {:?}", decoded.failures);
        };
        assert_eq!(failure.error_type, ErrorType::SchemaMismatch);
        assert!(failure.message.contains("MongoDB"), "{}", failure.message);
    }
}

#[test]
fn a_row_with_columns_of_a_markers_names_is_no_marker() {
    let decoded = decode(&[
        Some(json!({"event_id": "a", "id": "7", "status": "BEGIN", "ts_ms": 1})),
        Some(
            json!({"event_id": "a", "id": "7", "status": "END", "event_count": 1, "data_collections": [], "ts_ms": 1}),
        ),
        Some(json!({"event_id": "a", "id": "7", "status": "END", "__ts_ms": 1})),
        Some(json!({"id": "7", "status": "END", "__ts_ms": 1})),
        Some(json!({"id": "7", "status": "END", "ts_ms": 1, "schema": "x"})),
        Some(json!({"ts_ms": 1, "payload": "x"})),
        Some(json!({"__ts_ms": 1})),
        // These are signs of a transaction and of life.
        Some(json!({"id": "7", "status": "END", "ts_ms": 1})),
        Some(
            json!({"id": "7", "status": "END", "event_count": 1, "data_collections": [], "ts_ms": 1}),
        ),
        Some(json!({"ts_ms": 1})),
    ]);
    assert_eq!(decoded.rows, [0, 1, 2]);
    let failed: Vec<u32> = decoded.failures.iter().map(|f| f.record).collect();
    assert_eq!(failed, [3, 4, 5, 6], "without an event id, but not dropped");
    assert_eq!(decoded.dropped, 3);
}

#[test]
fn an_op_that_is_a_column_of_a_row_says_nothing_of_the_change() {
    let unwrapped = |more: Value| {
        let mut row = json!({"event_id": "a", "event_time": "2026-11-21T10:00:00Z", "note": "n"});
        for (member, value) in more.as_object().expect("an object") {
            row[member] = value.clone();
        }
        Some(row)
    };
    let decoded = decode(&[
        unwrapped(json!({"op": "d"})),
        unwrapped(json!({"op": "t"})),
        unwrapped(json!({"op": "m"})),
        unwrapped(json!({"op": "d", "__op": "u"})),
        unwrapped(json!({"op": "c", "__deleted": "true"})),
        unwrapped(json!({"ts_ms": 7, "__ts_ms": 8})),
    ]);
    assert_eq!(decoded.failures, []);
    let said: Vec<(Value, Value, Value)> = (0..5)
        .map(|at| row(&decoded.columns, at))
        .map(|row| {
            (
                row["note"].clone(),
                row["__op"].clone(),
                row["__deleted"].clone(),
            )
        })
        .collect();
    let said_of = |op: Value, deleted: Value| (json!("n"), op, deleted);
    assert_eq!(
        said,
        [
            said_of(Value::Null, Value::Null),
            said_of(Value::Null, Value::Null),
            said_of(Value::Null, Value::Null),
            said_of(json!("u"), json!(false)),
            said_of(json!("d"), json!(true)),
        ]
    );
    assert_eq!(row(&decoded.columns, 5)["__ts_ms"], json!(8));
}

#[test]
fn a_truncation_and_a_message_need_no_images() {
    let decoded = decode(&[
        Some(json!({"op": "t", "source": source(), "ts_ms": 1})),
        Some(json!({"op": "m", "source": source(), "ts_ms": 1, "message": {"prefix": "p"}})),
    ]);
    assert_eq!(decoded.rows, [0]);
    assert_eq!(row(&decoded.columns, 0)["__op"], json!("t"));
    assert_eq!(decoded.failures.len(), 1);
    assert_eq!(decoded.failures[0].error_type, ErrorType::SchemaMismatch);
}

#[test]
fn a_field_that_is_a_columns_by_an_alias_is_read_as_its_schema_says() {
    let settings = JobSettings {
        columns: [
            &COLUMNS[..2],
            &[Column::optional("seen", ColumnType::Timestamp).aliases(&["seen_at"])],
        ]
        .concat(),
        ..settings()
    };
    let fields = json!([
        {"type": "int64", "name": "org.apache.kafka.connect.data.Timestamp", "field": "seen_at"},
    ]);
    let after = json!({"event_id": "a", "event_time": "2026-11-21T10:00:00Z", "seen_at": 5_000});
    let record = json!({
        "schema": {"type": "struct", "fields": [
            {"type": "struct", "optional": true, "field": "after", "fields": fields},
        ]},
        "payload": envelope("c", Value::Null, after)
    })
    .to_string();
    let mut decoder = DebeziumDecoder::new(&settings, Some(0), 1).expect("a decoder");
    // Twice: the second is read as the first one predicts.
    let decoded = decoder.decode(&raw_batch(&[Some(&record), Some(&record)]));
    assert_eq!(decoded.failures, []);
    let seen = decoded.columns.column(2);
    let seen = seen.as_primitive::<TimestampMicrosecondType>();
    assert_eq!(seen.values().to_vec(), [5_000_000, 5_000_000]);
}

#[test]
fn signs_of_life_are_dropped_and_what_is_no_change_is_a_dead_letter() {
    let row = json!({"event_id": "a", "event_time": "2026-11-21T10:00:00Z"});
    let mut no_position = envelope(
        "c",
        Value::Null,
        json!({"event_time": "2026-11-21T10:00:00Z"}),
    );
    no_position["source"] = json!({"table": "orders"});
    let mut no_time = envelope("c", Value::Null, json!({"event_id": "a"}));
    no_time["source"] = Value::Null;
    no_time["ts_ms"] = Value::Null;
    let decoded = decode(&[
        Some(json!({"ts_ms": 1})),
        Some(
            json!({"status": "BEGIN", "id": "7:1", "event_count": null, "data_collections": null, "ts_ms": 1}),
        ),
        Some(json!({"schema": {"type": "struct"}, "payload": null})),
        Some(envelope("c", Value::Null, Value::Null)),
        Some(envelope("m", Value::Null, Value::Null)),
        Some(envelope("x", Value::Null, row.clone())),
        Some(no_position),
        Some(no_time),
        Some(json!([1])),
        Some(envelope(
            "c",
            Value::Null,
            json!({"event_id": "a", "note": 7}),
        )),
        Some(json!({"schema": null, "payload": 5})),
        Some(envelope("c", Value::Null, row)),
    ]);
    assert_eq!(decoded.dropped, 2);
    let kinds: Vec<(u32, ErrorType)> = decoded
        .failures
        .iter()
        .map(|f| (f.record, f.error_type))
        .collect();
    assert_eq!(
        kinds,
        [
            (2, ErrorType::NullValue),
            (3, ErrorType::SchemaMismatch),
            (4, ErrorType::SchemaMismatch),
            (5, ErrorType::SchemaMismatch),
            (6, ErrorType::MissingEventId),
            (7, ErrorType::MissingEventTime),
            (8, ErrorType::SchemaMismatch),
            (9, ErrorType::SchemaMismatch),
            (10, ErrorType::SchemaMismatch),
        ]
    );
    assert_eq!(decoded.rows, [11]);
}

proptest! {
    #[test]
    fn no_change_of_a_byte_makes_it_panic(at: proptest::sample::Index, byte: u8, cut: proptest::sample::Index) {
        let good = envelope("u", json!({"event_id": "b"}), json!({"event_id": "a", "note": "x"})).to_string();
        let mut bad = good.clone().into_bytes();
        let place = at.index(bad.len());
        bad[place] = byte;
        let short = good.as_bytes()[..cut.index(good.len())].to_vec();
        let records = [Some(good.clone().into_bytes()), Some(bad), Some(short), Some(good.into_bytes())];
        let mut decoder = DebeziumDecoder::new(&settings(), Some(0), 1).expect("a decoder");
        let decoded = decoder.decode(&raw_batch(&records));
        prop_assert!(decoded.rows.contains(&0) && decoded.rows.contains(&3));
        prop_assert!(!decoded.rows.contains(&2), "a cut record is no record");
        prop_assert_eq!(decoded.rows.len() + decoded.failures.len() + decoded.dropped as usize, 4);
    }
}
