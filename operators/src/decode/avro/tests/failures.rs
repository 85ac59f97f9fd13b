//! What a record is that cannot land.

use arrow_array::cast::AsArray;

use super::*;
use crate::decode::testing::{LONG_TEXT, each_cause, lands_up_to_the_limit};

#[test]
fn each_cause_has_its_name() {
    let schema = event_schema(r#",{"name":"total","type":["long","string"]}"#);
    let record = |id, millis, total| {
        let mut fields = id_and_time(id, millis);
        fields.push(("total", total));
        framed(1, &schema, fields)
    };
    let long = || Value::Union(0, Box::new(Value::Long(7)));
    let text = || Value::Union(1, Box::new(Value::String("7".to_owned())));
    let good = record(Some("a"), Some(1), long());
    let mut bad_branch = good.clone();
    bad_branch[5] = 6;
    let mut magic = good.clone();
    magic[0] = 1;
    let mut unknown = good.clone();
    unknown[4] = 9;
    let mut protobuf = good.clone();
    protobuf[4] = 8;
    let mut lacking = good.clone();
    lacking[4] = 7;
    let mut broken = good.clone();
    broken[4] = 6;
    let values = [
        (Some(good.clone()), None),
        (None, Some((ErrorType::NullValue, "null"))),
        (Some(vec![]), Some((ErrorType::Malformed, "empty"))),
        (
            Some(good[..3].to_vec()),
            Some((ErrorType::Malformed, "header")),
        ),
        (
            Some(magic),
            Some((ErrorType::Malformed, "first byte is 00")),
        ),
        (
            Some(good[..5].to_vec()),
            Some((ErrorType::Malformed, "ends")),
        ),
        (Some(bad_branch), Some((ErrorType::Malformed, "branch"))),
        (
            Some(unknown),
            Some((ErrorType::UnknownSchema, "no such schema")),
        ),
        (
            Some(protobuf),
            Some((ErrorType::SchemaMismatch, "Protobuf")),
        ),
        (
            Some(lacking),
            Some((ErrorType::MissingEventTime, "event_time")),
        ),
        (
            Some(broken),
            Some((ErrorType::SchemaMismatch, "cannot be used")),
        ),
        (
            Some(record(None, Some(1), long())),
            Some((ErrorType::MissingEventId, "null")),
        ),
        (
            Some(record(Some(""), Some(1), long())),
            Some((ErrorType::MissingEventId, "empty")),
        ),
        (
            Some(record(Some("a"), None, long())),
            Some((ErrorType::MissingEventTime, "null")),
        ),
        (
            Some(record(Some("a"), Some(1), text())),
            Some((ErrorType::SchemaMismatch, "string")),
        ),
        (
            Some(record(Some("a"), Some(i64::MAX), long())),
            Some((ErrorType::SchemaMismatch, "range")),
        ),
        (
            Some(vec![0; LIMIT as usize + 1]),
            Some((ErrorType::TooLarge, "the job's limit is 8388608")),
        ),
        (Some(good), None),
    ];
    let mut decoder = registered();
    decoder.learn(1, &avro(&schema));
    decoder.learn(9, &SchemaAnswer::Denied("no such schema".to_owned()));
    let protobuf = RegisteredSchema {
        kind: SchemaKind::Protobuf,
        text: String::new(),
        references: Vec::new(),
    };
    decoder.learn(8, &SchemaAnswer::Known(std::sync::Arc::new(protobuf)));
    decoder.learn(
        7,
        &avro(r#"{"type":"record","name":"E","fields":[{"name":"event_id","type":"string"}]}"#),
    );
    decoder.learn(6, &avro(r#"{"type":"record","name":"E"}"#));
    each_cause(&mut decoder, &values);
}

#[test]
fn a_long_text_lands_where_the_limit_allows_it() {
    const TEXT: &[Column] = &[
        Column::required("event_id", ColumnType::String),
        Column::required("event_time", ColumnType::Timestamptz),
        Column::optional("text", ColumnType::String),
    ];
    let schema = event_schema(r#",{"name":"text","type":"string"}"#);
    let mut fields = id_and_time(Some("a"), Some(1));
    fields.push(("text", Value::String("x".repeat(LONG_TEXT))));
    let record = framed(1, &schema, fields);
    let landed = lands_up_to_the_limit(&record, |limit| {
        let decoder = AvroDecoder::registered(TEXT, Some(0), 1, limit);
        let mut decoder = decoder.expect("a decoder");
        decoder.learn(1, &avro(&schema));
        decoder
    });
    let text = landed.columns.column(2).as_string::<i32>().value(0);
    assert_eq!(text.len(), LONG_TEXT);
}

/// Schemas and records that are small and would cost much. Their neighbours land.
#[test]
fn bombs_are_malformed_at_once() {
    let zeros = r#"{"type":"record","name":"Z","fields":[{"name":"n","type":"null"}]}"#;
    // The header, `a`, and 1 ms.
    let begin = [0, 0, 0, 0, 1, 2, 2, b'a', 2, 2];
    let plain = event_schema("");
    let neighbour = framed(2, &plain, id_and_time(Some("n"), Some(1)));
    let decode = |field: &str, tail: &[u8]| {
        let schema = event_schema(&format!(r#",{{"name":"bomb","type":{field}}}"#));
        let mut decoder = registered();
        decoder.learn(1, &avro(&schema));
        decoder.learn(2, &avro(&plain));
        let record = [&begin[..], tail].concat();
        let decoded = decoder.decode(&raw_batch(&[
            Some(neighbour.clone()),
            Some(record),
            Some(neighbour.clone()),
        ]));
        let last = decoded.columns.num_rows() - 1;
        assert!([0, 2].iter().all(|place| decoded.rows.contains(place)));
        for place in [0, last] {
            let expected = [Cell::Text("n".to_owned()), Cell::Integer(1000), Cell::Null];
            assert_eq!(row(&decoded, COLUMNS, place), expected, "{field}");
        }
        decoded
            .failures
            .first()
            .map(|f| (f.error_type, f.message.clone()))
    };
    let malformed = |field: &str, tail: &[u8], part: &str| {
        let (error_type, message) = decode(field, tail).expect("a failure");
        assert_eq!(error_type, ErrorType::Malformed, "{message}");
        assert!(message.contains(part), "{message}");
    };
    // 2^62 items.
    let count = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
    let with = |tail: &[u8]| [&count[..], tail].concat();
    malformed(
        r#"{"type":"array","items":"long"}"#,
        &with(&[2, 0]),
        "more items than",
    );
    malformed(
        r#"{"type":"map","values":"null"}"#,
        &with(&[2, b'k', 0]),
        "more items than",
    );
    malformed(r#""string""#, &with(b"x"), "beyond the end");
    malformed(r#""bytes""#, &[1], "negative length");
    malformed(
        r#"{"type":"array","items":"int"}"#,
        &[1, 100, 2, 0],
        "beyond the end",
    );
    malformed(
        r#"{"type":"array","items":"int"}"#,
        &[1, 6, 2, 2, 0, 0],
        "not as long as it says",
    );
    malformed(r#""long""#, &[0xff; 12], "more than 64 bits");
    malformed(
        r#""int""#,
        &[0xff, 0xff, 0xff, 0xff, 0x7f],
        "more than 32 bits",
    );
    malformed(r#""boolean""#, &[2], "neither 0 nor 1");
    // Items that take no bytes are not counted, so they cost nothing: 2^62 of them, then the end.
    let empty = format!(r#"{{"type":"array","items":{zeros}}}"#);
    assert_eq!(decode(&empty, &with(&[0])), None);
    // A list that holds itself, a thousand deep.
    let list = r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#;
    malformed(list, &[2; 1000], "nesting");
    assert_eq!(decode(list, &[2, 2, 2, 0]), None);
    // 2^30 empty records, by 30 schemas of two fields.
    let mut deep =
        r#"{"type":"record","name":"E0","fields":[{"name":"n","type":"null"}]}"#.to_owned();
    for level in 1..30 {
        deep = format!(
            r#"{{"type":"record","name":"E{level}","fields":[{{"name":"a","type":{deep}}},{{"name":"b","type":"E{}"}}]}}"#,
            level - 1
        );
    }
    assert_eq!(decode(&deep, &[]), None);
}
