//! The parsing cases of a public suite (JSONTestSuite), with serde_json as oracle.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::testing::{Cell, raw_batch, row};
use super::{Decode, Decoded, JsonDecoder};
use crate::record::ErrorType;
use crate::schema::{Column, ColumnType};

const CASES: &str = include_str!("../../tests/corpus/json_test_suite.tsv");

const COLUMNS: &[Column] = &[
    Column::required("event_id", ColumnType::String),
    Column::required("event_time", ColumnType::Timestamptz),
    Column::optional("name", ColumnType::String),
];

/// Name and text of each case.
fn cases() -> Vec<(String, Vec<u8>)> {
    let lines = CASES.lines().filter(|line| !line.starts_with('#'));
    let mut cases: Vec<(String, Vec<u8>)> = lines
        .map(|line| {
            let (name, text) = line.split_once('\t').expect("a name and a text");
            (name.to_owned(), STANDARD.decode(text).expect("base64"))
        })
        .collect();
    let arrays = vec![b'['; 100_000];
    let objects = [b"[{\"\":".repeat(50_000).as_slice(), b"\n"].concat();
    cases.push(("n_structure_100000_opening_arrays".to_owned(), arrays));
    cases.push(("n_structure_open_array_object".to_owned(), objects));
    cases
}

/// Decodes a record between two good ones, which must land as they are.
fn decode(record: &[u8], name: &str) -> Decoded {
    let good = br#"{"event_id":"a","event_time":1,"name":"n"}"#;
    let batch = raw_batch(&[Some(&good[..]), Some(record), Some(good)]);
    let mut decoder = JsonDecoder::new(COLUMNS, Some(0), 1, 8 << 20).expect("a decoder");
    let decoded = decoder.decode(&batch);
    assert_eq!(decoded.rows.len() + decoded.failures.len(), 3, "{name}");
    let last = decoded.rows.len() - 1;
    assert_eq!((decoded.rows[0], decoded.rows[last]), (0, 2), "{name}");
    for place in [0, last] {
        let cells = [
            Cell::Text("a".to_owned()),
            Cell::Integer(1000),
            Cell::Text("n".to_owned()),
        ];
        assert_eq!(row(&decoded, COLUMNS, place), cells, "{name}");
    }
    decoded
}

fn failure(decoded: &Decoded) -> Option<ErrorType> {
    decoded.failures.first().map(|failure| failure.error_type)
}

/// As the value of a field that is no column, and of one that is a string.
fn within(field: &str, case: &[u8]) -> Vec<u8> {
    let before = format!(r#"{{"event_id":"b","event_time":2,"{field}":"#);
    [before.as_bytes(), case, b"}"].concat()
}

#[test]
fn the_suite_is_whole() {
    let cases = cases();
    let of = |kind: &str| {
        cases
            .iter()
            .filter(|(name, _)| name.starts_with(kind))
            .count()
    };
    assert_eq!((of("y_"), of("n_"), of("i_")), (95, 188, 35));
}

#[test]
fn what_is_json_lands_and_what_is_none_is_a_dead_letter() {
    for (name, case) in cases() {
        let decoded = decode(&within("skipped", &case), &name);
        match name.get(..2) {
            Some("y_") => assert_eq!(failure(&decoded), None, "{name}"),
            Some("n_") => assert_eq!(failure(&decoded), Some(ErrorType::Malformed), "{name}"),
            // A parser may say either; but it says something, and the neighbours land.
            _ => {}
        }
    }
}

#[test]
fn a_string_is_what_serde_json_takes_it_for() {
    for (name, case) in cases() {
        let record = within("name", &case);
        let decoded = decode(&record, &name);
        let theirs: Result<Value, _> = serde_json::from_slice(&record);
        let expected = match theirs.map(|mut record| record["name"].take()) {
            Ok(Value::String(text)) => Ok(Cell::Text(text)),
            Ok(Value::Null) => Ok(Cell::Null),
            Ok(_) => Err(ErrorType::SchemaMismatch),
            Err(_) if name.starts_with("i_") => continue,
            Err(_) => Err(ErrorType::Malformed),
        };
        match expected {
            Ok(cell) => {
                assert_eq!(failure(&decoded), None, "{name}");
                assert_eq!(row(&decoded, COLUMNS, 1)[2], cell, "{name}");
            }
            Err(_) if name.starts_with("i_") => {}
            Err(error_type) => assert_eq!(failure(&decoded), Some(error_type), "{name}"),
        }
    }
}

/// As the whole record: of those that are JSON none has an event id, and those that are none are malformed. A key that
/// comes twice in the record itself is malformed here, though JSON allows it: one of the two would be lost.
#[test]
fn a_whole_record_is_malformed_only_where_serde_json_finds_no_object() {
    for (name, case) in cases() {
        if name.starts_with("y_object_duplicated_key") {
            continue;
        }
        let decoded = decode(&case, &name);
        let failure = failure(&decoded).unwrap_or_else(|| panic!("{name} lands"));
        match serde_json::from_slice(&case) {
            Ok(Value::Object(_)) => assert_ne!(failure, ErrorType::Malformed, "{name}"),
            Err(_) if name.starts_with("n_") => assert_eq!(failure, ErrorType::Malformed, "{name}"),
            _ => {}
        }
    }
}
