//! Ids of changes whose rows have none.

use super::*;

#[test]
fn rows_of_a_snapshot_that_have_no_id_get_different_ones_at_one_position() {
    let snapshot = |note: &str| Some(envelope("r", Value::Null, json!({"note": note})));
    let decoded = decode(&[snapshot("a"), snapshot("b"), snapshot("a")]);
    assert_eq!(decoded.failures, []);
    let ids = decoded.columns.column(0).as_string::<i32>();
    assert_ne!(ids.value(0), ids.value(1));
    assert_eq!(ids.value(0), ids.value(2), "the same change read again");
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
