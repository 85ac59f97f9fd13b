//! What a change is decoded to does not depend on the changes before it.

use proptest::prelude::*;

use super::super::testing::{Cell, raw_batch, row};
use super::super::{Decode, Decoded};
use super::DebeziumDecoder;
use crate::job::{DedupPolicy, Job, JobSettings};
use crate::record::ErrorType;
use crate::schema::{Column, ColumnType};

const COLUMNS: &[Column] = &[
    Column::required("event_id", ColumnType::String),
    Column::required("event_time", ColumnType::Timestamptz),
    Column::optional("note", ColumnType::String),
    Column::optional("__op", ColumnType::String),
    Column::optional("__table", ColumnType::String),
    Column::optional("__lsn", ColumnType::Long),
    Column::optional("__before", ColumnType::String),
    Column::optional("__unavailable", ColumnType::String),
    Column::optional("after", ColumnType::String),
];

fn decode(records: &[String]) -> Decoded {
    let settings = JobSettings {
        columns: COLUMNS.to_vec(),
        dedup: Some(DedupPolicy {
            key: "event_id".to_owned(),
            ttl: std::time::Duration::from_secs(1),
        }),
        ..Job::BRONZE.settings()
    };
    let mut decoder = DebeziumDecoder::new(&settings, Some(0), 1).expect("a decoder");
    let records: Vec<Option<&String>> = records.iter().map(Some).collect();
    decoder.decode(&raw_batch(&records))
}

/// The row, the failure, or nothing, of each record.
#[derive(Debug, PartialEq)]
enum Fate {
    Row(Vec<Cell>),
    Failure(ErrorType, String),
    Dropped,
}

fn fates(records: &[String]) -> Vec<Fate> {
    let decoded = decode(records);
    let mut fates: Vec<Fate> = records.iter().map(|_| Fate::Dropped).collect();
    for (place, record) in decoded.rows.iter().enumerate() {
        fates[*record as usize] = Fate::Row(row(&decoded, COLUMNS, place));
    }
    for failure in &decoded.failures {
        fates[failure.record as usize] = Fate::Failure(failure.error_type, failure.message.clone());
    }
    fates
}

/// A row as text: usual, another order, members more and less, a value that does not fit, escapes, or no JSON.
fn image() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        6 => Just(r#"{"event_id":"a","event_time":"2026-11-21T10:00:00Z","note":"x"}"#),
        3 => Just(r#"{"event_id":"b","event_time":1763719200000,"note":"a \"quoted\" \u00e9 \\ word"}"#),
        1 => Just(r#"{"event_id":"","event_time":null,"note":null}"#),
        1 => Just(r#"{"note":"y","event_id":"c"}"#),
        1 => Just(r#"{ "event_id": "d", "more": {"deep": [1, {"x": null}]}, "note": "z" }"#),
        1 => Just(r#"{"event_id":"e","event_time":"2026-11-21T10:00:00Z","note":"__debezium_unavailable_value"}"#),
        1 => Just(r#"{"event_id":"f","event_time":"yesterday","note":"x"}"#),
        1 => Just(r#"{"event_id":"g","event_id":"g","note":"x"}"#),
        1 => Just(r#"{"event_id":"h","event_time":"2026-11-21T10:00:00Z","note":"x"#),
        1 => Just("null"),
        1 => Just("{}"),
        1 => Just("[1]"),
    ]
}

fn record() -> impl Strategy<Value = String> {
    const SOURCE: &str =
        r#"{"version":"3.6.3.Final","db":"shop","schema":"public","table":"orders","lsn":42}"#;
    let op = proptest::sample::select(vec!["c", "u", "d", "r", "t", "m", "x"]);
    (image(), image(), op, 0..11).prop_map(|(before, after, op, shape)| match shape {
        0..=3 => format!(
            r#"{{"before":{before},"after":{after},"source":{SOURCE},"op":"{op}","ts_ms":1763719200001}}"#
        ),
        4 => format!(
            r#"{{"op":"{op}","after":{after},"before":{before},"source":{{"table":"other","lsn":43,"db":"shop"}},"ts_ms":1763719200001}}"#
        ),
        5 => format!(
            "{{\n  \"before\" : {before},\n  \"after\" : {after} ,\n  \"source\" : {SOURCE},\n  \"op\" : \"{op}\"\n}}\n"
        ),
        6 => format!(
            r#"{{"schema":{{"type":"struct","name":"{op}","fields":[]}},"payload":{{"before":{before},"after":{after},"source":{SOURCE},"op":"{op}","ts_ms":5}}}}"#
        ),
        7 => format!(
            r#"{{"before":{before},"after":{after},"after":{before},"source":{SOURCE},"op":"{op}","ts_ms":7}}"#
        ),
        // A space more here and there.
        8 => format!(
            "{{\"before\":{before},\"after\":{after},\"source\":{SOURCE},\"op\": \"{op}\",\"ts_ms\" :  1763719200001}}"
        ),
        // A row whose column has the name of an image, and a sign of life.
        9 => format!(r#"{{"event_id":"row","event_time":1763719200000,"after":{after}}}"#),
        _ => r#"{"ts_ms":9}"#.to_owned(),
    })
}

proptest! {
    #[test]
    fn a_change_after_others_is_decoded_as_if_it_were_the_first(
        records in proptest::collection::vec(record(), 1..12)
    ) {
        let together = fates(&records);
        for (record, fate) in records.iter().zip(together) {
            let alone = fates(std::slice::from_ref(record));
            prop_assert_eq!(&fate, &alone[0], "{}", record);
        }
    }
}

#[test]
fn nesting_is_bounded_the_same_where_a_row_is_read_in_its_place() {
    let change = |depth: usize| {
        let nested = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        format!(
            r#"{{"before":null,"after":{{"event_id":"a","event_time":1,"more":{nested}}},"source":{{}},"op":"c","ts_ms":1}}"#
        )
    };
    // The change, its row, and 62 lists.
    for (depth, lands) in [(62, true), (63, false)] {
        let records = [change(1), change(depth), change(depth)];
        let landed: Vec<bool> = fates(&records)
            .iter()
            .map(|fate| matches!(fate, Fate::Row(_)))
            .collect();
        assert_eq!(landed, [true, lands, lands], "{depth} lists");
    }
}
