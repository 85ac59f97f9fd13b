//! What the database did not say of an update.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::UNAVAILABLE;
use super::*;
use crate::job::QuotedBinaries;

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

/// In base64 as any bytes (`convertBinaryToBytes`), but in hexadecimal as it is (`convertBinaryToHex`).
#[test]
fn what_the_database_did_not_say_of_bytes_is_null_too() {
    let columns = [
        COLUMNS[0],
        COLUMNS[1],
        Column::optional("blob", ColumnType::Binary),
        Column::optional("__unavailable", ColumnType::String),
    ];
    for (binaries, placeholder) in [
        (QuotedBinaries::Bytes, STANDARD.encode(UNAVAILABLE)),
        (QuotedBinaries::Hex, UNAVAILABLE.to_owned()),
    ] {
        let mut settings = JobSettings {
            columns: columns.to_vec(),
            ..settings()
        };
        settings.debezium.binaries = binaries;
        let after = json!({"event_id": "a", "event_time": 1, "blob": placeholder});
        let update = envelope("u", Value::Null, after).to_string();
        let mut decoder = DebeziumDecoder::new(&settings, Some(0), 1).expect("a decoder");
        let decoded = decoder.decode(&raw_batch(&[Some(update)]));
        assert_eq!(decoded.failures, [], "{placeholder}");
        assert!(decoded.columns.column(2).is_null(0), "{placeholder}");
        let unavailable = decoded.columns.column(3).as_string::<i32>();
        assert_eq!(unavailable.value(0), "[\"blob\"]", "{placeholder}");
    }
}
