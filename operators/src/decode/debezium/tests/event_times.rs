//! The event time of a change whose row does not say it.

use super::*;

/// What [`envelope`] says of the database's time, in microseconds.
const DATABASES_TIME: i64 = 1_700_000_000_500_000;

/// The same of the connector's.
const CONNECTORS_TIME: i64 = 1_700_000_000_900_000;

fn event_time(record: Value) -> Value {
    let decoded = decode(&[Some(record)]);
    assert_eq!(decoded.failures, []);
    row(&decoded.columns, 0)["event_time"].clone()
}

/// A delete that says no time of its own.
fn timeless(before: Value) -> Value {
    let mut delete = envelope("d", before, Value::Null);
    delete["source"] = Value::Null;
    delete["ts_ms"] = Value::Null;
    delete
}

/// As Debezium fills what the log did not have: `JdbcValueConverters.convertValue`, and `PostgresDefaultValueConverter`
/// for columns whose default is the time of the insert.
#[test]
fn a_delete_of_which_the_database_logged_the_key_alone_has_the_time_of_the_change() {
    for made_up in [json!(0), json!("1970-01-01T00:00:00Z"), Value::Null] {
        let before = json!({"event_id": "a", "event_time": made_up, "note": ""});
        let mut delete = envelope("d", before, Value::Null);
        let of_database = event_time(delete.clone());
        assert_eq!(of_database, json!(DATABASES_TIME), "{made_up}");
        delete["source"] = json!({"lsn": 4242});
        assert_eq!(event_time(delete), json!(CONNECTORS_TIME), "{made_up}");
    }
}

#[test]
fn the_epoch_is_a_time_like_any_other_but_in_a_delete_that_has_one_of_its_own() {
    let row_of = |micros: i64| json!({"event_id": "a", "event_time": micros});
    for op in ["c", "u", "r"] {
        let change = envelope(op, Value::Null, row_of(0));
        assert_eq!(event_time(change), json!(0), "{op}");
    }
    let logged = envelope("d", row_of(1), Value::Null);
    assert_eq!(event_time(logged), json!(1));
    assert_eq!(event_time(timeless(row_of(0))), json!(0));
}

#[test]
fn an_unwrapped_row_that_was_deleted_has_the_time_of_the_change_too() {
    let unwrapped = |deleted: &str| {
        event_time(json!({
            "event_id": "a", "event_time": 0, "__deleted": deleted, "__source_ts_ms": 5
        }))
    };
    assert_eq!(unwrapped("true"), json!(5_000));
    assert_eq!(unwrapped("false"), json!(0));
}

#[test]
fn a_delete_without_any_time_is_a_dead_letter_whatever_came_before_it() {
    let epoch = json!({"event_id": "a", "event_time": 0});
    let decoded = decode(&[
        Some(envelope("c", Value::Null, epoch)),
        Some(timeless(json!({"event_id": "a"}))),
    ]);
    assert_eq!(decoded.rows, [0]);
    let kinds: Vec<ErrorType> = decoded.failures.iter().map(|f| f.error_type).collect();
    assert_eq!(kinds, [ErrorType::MissingEventTime]);
}
