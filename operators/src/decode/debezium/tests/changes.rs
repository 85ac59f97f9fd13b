//! What a record is: a change and its row, a sign of life, or neither.

use proptest::prelude::*;

use super::*;
use crate::decode::testing::{LONG_TEXT, lands_up_to_the_limit};

#[test]
fn a_long_text_lands_where_the_limit_allows_it() {
    let text = "x".repeat(LONG_TEXT);
    let new = json!({"event_id": "a", "event_time": "2026-11-21T10:00:00Z", "note": text});
    let change = envelope("c", Value::Null, new).to_string();
    let landed = lands_up_to_the_limit(change.as_bytes(), |limit| {
        let mut settings = settings();
        settings.max_record_bytes = limit;
        DebeziumDecoder::new(&settings, Some(0), 1).expect("a decoder")
    });
    let note = landed.columns.column(2).as_string::<i32>().value(0);
    assert_eq!(note.len(), LONG_TEXT);
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
