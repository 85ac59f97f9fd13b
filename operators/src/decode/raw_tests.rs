//! Raw records: kept byte for byte, id and time peeked.

use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, TimestampMicrosecondType};

use super::testing::{LONG_TEXT, lands_up_to_the_limit, raw_batch};
use super::{Decode, RawDecoder};
use crate::io::{RegisteredSchema, SchemaAnswer, SchemaKind};
use crate::job::{Format, Job, JobSettings, Peek, PeekAt};
use crate::record::{ErrorType, Headers, RawBatch, Span};
use crate::schema::RAW_COLUMNS;
use crate::time::EventTime;

fn settings(format: Format, id: &str, time: &str) -> JobSettings {
    JobSettings {
        format: Format::Raw,
        columns: RAW_COLUMNS.to_vec(),
        peek: Some(Peek {
            format,
            event_id: PeekAt::parse(id).expect("a place"),
            event_time: PeekAt::parse(time).expect("a place"),
        }),
        ..Job::BRONZE.settings()
    }
}

fn decoder(format: Format, id: &str, time: &str) -> RawDecoder {
    RawDecoder::new(&settings(format, id, time), Some(0), 1, true).expect("a decoder")
}

/// A batch in which every record has these headers, key and timestamp.
fn batch(values: &[Option<&[u8]>], key: &[u8], headers: &[(&str, Option<&[u8]>)]) -> RawBatch {
    let mut batch = raw_batch(values);
    let mut arena = batch.arena.to_vec();
    let mut span = |bytes: &[u8]| {
        let start = arena.len() as u32;
        arena.extend_from_slice(bytes);
        Span {
            start,
            end: arena.len() as u32,
        }
    };
    let mut kept = Headers::default();
    for record in &mut batch.records {
        record.key = Some(span(key));
        record.timestamp = Some(EventTime(77));
        for (name, value) in headers {
            kept.push(span(name.as_bytes()), value.map(&mut span));
        }
        kept.close_record();
    }
    batch.arena = arena.into();
    batch.headers = Some(kept);
    batch
}

#[test]
fn avro_is_kept_with_its_header_and_its_id_and_time_are_peeked() {
    let schema = r#"{"type":"record","name":"T","fields":[
        {"name":"skipped","type":["null","double"]},{"name":"message_id","type":"string"},
        {"name":"event_time","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"rest","type":{"type":"array","items":"int"}}]}"#;
    let mut decoder = decoder(Format::AvroSr, "field:message_id", "field:event_time");
    let answer = SchemaAnswer::Known(Arc::new(RegisteredSchema {
        kind: SchemaKind::Avro,
        text: schema.to_owned(),
        references: Vec::new(),
    }));
    decoder.learn(258, &answer);
    let good: &[u8] = &[0, 0, 0, 1, 2, 0, 4, b'i', b'd', 4, 2, 6, 0];
    let cut = &good[..good.len() - 1];
    let headers: &[(&str, Option<&[u8]>)] = &[
        ("a", Some(b"1")),
        ("none", None),
        ("a", Some(b"2")),
        ("empty", Some(b"")),
    ];
    let decoded = decoder.decode(&batch(
        &[Some(good), Some(cut), None, Some(good)],
        b"\xff",
        headers,
    ));
    assert_eq!(decoded.rows, [0, 3]);
    let kinds: Vec<ErrorType> = decoded.failures.iter().map(|f| f.error_type).collect();
    assert_eq!(kinds, [ErrorType::Malformed, ErrorType::NullValue]);
    let columns = &decoded.columns;
    for row in 0..2 {
        assert_eq!(columns.column(0).as_string::<i32>().value(row), "id");
        let times = columns.column(1).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(times.value(row), 2000);
        assert_eq!(columns.column(2).as_binary::<i32>().value(row), b"\xff");
        assert_eq!(columns.column(3).as_binary::<i32>().value(row), good);
        let map = columns.column(4).as_map().value(row);
        let names: Vec<&str> = map.column(0).as_string::<i32>().iter().flatten().collect();
        let values: Vec<Option<&[u8]>> = map.column(1).as_binary::<i32>().iter().collect();
        assert_eq!(names, ["a", "none", "empty"]);
        assert_eq!(values, [Some(&b"2"[..]), None, Some(&b""[..])]);
        assert_eq!(
            columns.column(5).as_primitive::<Int32Type>().value(row),
            258
        );
    }
}

#[test]
fn a_text_that_is_not_wanted_is_kept_as_it_was_sent() {
    let schema = r#"{"type":"record","name":"T","fields":[
        {"name":"before","type":["null","string"]},{"name":"message_id","type":"string"},
        {"name":"event_time","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"rest","type":{"type":"array","items":"string"}}]}"#;
    let mut decoder = decoder(Format::AvroSr, "field:message_id", "field:event_time");
    let answer = SchemaAnswer::Known(Arc::new(RegisteredSchema {
        kind: SchemaKind::Avro,
        text: schema.to_owned(),
        references: Vec::new(),
    }));
    decoder.learn(1, &answer);
    let not_utf8 = b'\xff';
    let kept: &[u8] = &[0, 0, 0, 0, 1, 2, 2, not_utf8, 2, b'i', 4, 2, 2, not_utf8, 0];
    // The id is a text of the table's.
    let bad_id: &[u8] = &[0, 0, 0, 0, 1, 2, 2, b'b', 2, not_utf8, 4, 2, 2, b'r', 0];
    // Lengths are looked at as ever.
    let too_long: &[u8] = &[0, 0, 0, 0, 1, 2, 2, b'b', 2, b'i', 4, 2, 8, b'r', 0];
    let decoded = decoder.decode(&batch(
        &[Some(kept), Some(bad_id), Some(too_long)],
        b"key",
        &[],
    ));
    assert_eq!(decoded.rows, [0]);
    let value = decoded.columns.column(3).as_binary::<i32>().value(0);
    assert_eq!(value, kept);
    let kinds: Vec<ErrorType> = decoded.failures.iter().map(|f| f.error_type).collect();
    assert_eq!(kinds, [ErrorType::Malformed; 2]);
}

#[test]
fn id_and_time_may_be_in_headers_the_key_and_the_timestamp() {
    let value: Option<&[u8]> = Some(b"\x00not looked at");
    let headers: &[(&str, Option<&[u8]>)] = &[("id", Some(b"h")), ("at", Some(b"5"))];
    let mut of_headers = decoder(Format::Json, "header:id", "header:at");
    let decoded = of_headers.decode(&batch(&[value], b"k", headers));
    assert_eq!(decoded.failures, []);
    assert_eq!(decoded.columns.column(0).as_string::<i32>().value(0), "h");
    let times = decoded.columns.column(1);
    assert_eq!(
        times.as_primitive::<TimestampMicrosecondType>().value(0),
        5000
    );
    assert!(
        decoded.columns.column(5).is_null(0),
        "JSON has no schema id"
    );

    let mut of_key = decoder(Format::Json, "key", "timestamp");
    let decoded = of_key.decode(&batch(&[value], b"k", &[]));
    assert_eq!(decoded.failures, []);
    assert_eq!(decoded.columns.column(0).as_string::<i32>().value(0), "k");
    let times = decoded.columns.column(1);
    assert_eq!(
        times.as_primitive::<TimestampMicrosecondType>().value(0),
        77
    );

    let decoded = of_headers.decode(&batch(
        &[value],
        b"k",
        &[("id", Some(b"h")), ("at", Some(b"x"))],
    ));
    assert_eq!(decoded.failures[0].error_type, ErrorType::SchemaMismatch);
    let decoded = of_headers.decode(&batch(&[value], b"k", &[("at", Some(b"5"))]));
    assert_eq!(decoded.failures[0].error_type, ErrorType::MissingEventId);
    let decoded = of_key.decode(&batch(&[value], b"\xff", &[]));
    assert_eq!(decoded.failures[0].error_type, ErrorType::MissingEventId);
}

#[test]
fn json_is_peeked_under_other_names_and_a_bad_record_leaves_nothing() {
    let mut decoder = decoder(Format::Json, "field:id", "field:at");
    let (good, bad): (&[u8], &[u8]) = (br#"{"at":7,"id":"x","more":[1]}"#, br#"{"id":"x"}"#);
    let decoded = decoder.decode(&batch(
        &[Some(good), Some(bad), Some(b"{"), Some(good)],
        b"k",
        &[],
    ));
    assert_eq!(decoded.rows, [0, 3]);
    let kinds: Vec<ErrorType> = decoded.failures.iter().map(|f| f.error_type).collect();
    assert_eq!(kinds, [ErrorType::MissingEventTime, ErrorType::Malformed]);
    assert_eq!(decoded.columns.column(3).as_binary::<i32>().value(1), good);
}

#[test]
fn a_value_that_is_too_large_does_not_land_though_it_is_not_looked_at() {
    let mut settings = settings(Format::Json, "key", "timestamp");
    settings.max_record_bytes = 4;
    let mut decoder = RawDecoder::new(&settings, Some(0), 1, true).expect("a decoder");
    let decoded = decoder.decode(&batch(
        &[Some(b"1234"), Some(b"12345"), Some(b"123")],
        b"k",
        &[],
    ));
    assert_eq!(decoded.rows, [0, 2]);
    let kinds: Vec<ErrorType> = decoded.failures.iter().map(|f| f.error_type).collect();
    assert_eq!(kinds, [ErrorType::TooLarge]);
}

#[test]
fn a_long_text_lands_where_the_limit_allows_it() {
    let record = format!(r#"{{"id":"x","at":7,"text":"{}"}}"#, "x".repeat(LONG_TEXT));
    let landed = lands_up_to_the_limit(record.as_bytes(), |limit| {
        let mut settings = settings(Format::Json, "field:id", "field:at");
        settings.max_record_bytes = limit;
        RawDecoder::new(&settings, Some(0), 1, true).expect("a decoder")
    });
    let value = landed.columns.column(3).as_binary::<i32>().value(0);
    assert!(value == record.as_bytes(), "byte for byte");
}

#[test]
fn a_peek_that_cannot_be_is_refused_before_anything_is_read() {
    for (format, id, time) in [
        (Format::Json, "timestamp", "field:at"),
        (Format::Json, "field:id", "key"),
        (Format::Avro, "field:id", "field:at"),
    ] {
        let settings = settings(format, id, time);
        assert!(
            RawDecoder::new(&settings, Some(0), 1, true).is_err(),
            "{id}, {time}"
        );
    }
    let mut settings = settings(Format::AvroSr, "field:id", "field:at");
    assert!(settings.needs_registry());
    settings.peek = None;
    assert!(RawDecoder::new(&settings, Some(0), 1, true).is_err());
}
