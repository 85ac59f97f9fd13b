//! Rows without an envelope, and columns of the names that an envelope has.

use super::*;
use crate::decode::evolution::new_carried_fields;
use crate::job::Format;

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
fn a_column_called_op_is_added_by_the_schema_of_its_row_and_filled() {
    let schema = json!({"type": "struct", "fields": [
        {"type": "string", "field": "event_id"},
        {"type": "int64", "name": "io.debezium.time.MicroTimestamp", "field": "event_time"},
        {"type": "string", "field": "op"},
    ]});
    let mut settings = JobSettings {
        format: Format::DebeziumJson,
        ..settings()
    };
    let found = new_carried_fields(&settings, &schema);
    assert_eq!(found.left_out, Vec::<String>::new());
    settings.add_columns(&found.columns);
    let payload = json!({"event_id": "a", "event_time": 1, "op": "sell"});
    let record = json!({"schema": schema, "payload": payload}).to_string();
    let mut decoder = DebeziumDecoder::new(&settings, Some(0), 1).expect("a decoder");
    let decoded = decoder.decode(&raw_batch(&[Some(record)]));
    assert_eq!(decoded.failures, []);
    let text = |name: &str| {
        let column = decoded.columns.column_by_name(name).expect(name);
        let column = column.as_string::<i32>();
        column.is_valid(0).then(|| column.value(0).to_owned())
    };
    assert_eq!(text("op").as_deref(), Some("sell"));
    assert_eq!(text("__op"), None);
}

#[test]
fn a_row_with_a_column_called_after_is_read_as_its_schema_says() {
    let record = json!({
        "schema": {"type": "struct", "fields": [
            {"type": "string", "field": "event_id"},
            {"type": "int64", "name": "org.apache.kafka.connect.data.Timestamp", "field": "event_time"},
            {"type": "int64", "name": "org.apache.kafka.connect.data.Timestamp", "field": "seen"},
            {"type": "string", "field": "after"},
        ]},
        // Without it the job's settings would say that they count microseconds.
        "payload": {"event_id": "a", "event_time": 1_000, "seen": 5_000, "after": "noon"}
    });
    let decoded = decode(&[Some(record)]);
    assert_eq!(decoded.failures, []);
    let row = row(&decoded.columns, 0);
    assert_eq!(
        (&row["event_time"], &row["seen"]),
        (&json!(1_000_000), &json!(5_000_000))
    );
}
