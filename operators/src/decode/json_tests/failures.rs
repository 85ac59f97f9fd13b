//! Which kind of failure a record is, and what its message says.

use super::*;
use crate::decode::testing::{LONG_TEXT, lands_up_to_the_limit};

#[test]
fn a_failure_has_the_first_kind_that_applies() {
    use ErrorType::*;
    let cases: &[(&str, ErrorType)] = &[
        ("", Malformed),
        (" \n", Malformed),
        (
            "\u{feff}{\"event_id\":\"a\",\"event_time\":0,\"count\":1}",
            Malformed,
        ),
        (r#"{"event_id":"a","event_time":0,"count":1} x"#, Malformed),
        (r#"{"event_id":"a","event_time":0,"count":1}{}"#, Malformed),
        (
            r#"{"event_id":"a","event_id":"a","event_time":0,"count":1}"#,
            Malformed,
        ),
        (
            r#"{"event_id":"a","event\u005fid":"b","event_time":0,"count":1}"#,
            Malformed,
        ),
        (
            r#"{"event_id":"a","event_time":0,"count":1,"x":1,"x":1}"#,
            Malformed,
        ),
        (
            r#"{"event_id":"a","event_time":0,"count":1,"x":1,"y":2,"\u0078":1}"#,
            Malformed,
        ),
        (
            r#"{"event_id":null,"event_id":"a","event_time":0,"count":1}"#,
            Malformed,
        ),
        (
            r#"{"event_id":7,"event_time":"never","count":1.5,"x":tru}"#,
            Malformed,
        ),
        ("7", SchemaMismatch),
        ("[]", SchemaMismatch),
        ("null", SchemaMismatch),
        (r#""{}""#, SchemaMismatch),
        (r#"{"event_id":1,"event_time":0,"count":1}"#, SchemaMismatch),
        (
            r#"{"event_id":null,"event_time":null,"count":"1"}"#,
            SchemaMismatch,
        ),
        (
            r#"{"event_id":"a","event_time":"1795255200000","count":1}"#,
            SchemaMismatch,
        ),
        (
            r#"{"event_id":"a","event_time":1.0,"count":1}"#,
            SchemaMismatch,
        ),
        (
            r#"{"event_id":"a","event_time":true,"count":1}"#,
            SchemaMismatch,
        ),
        (
            r#"{"event_id":"a","event_time":9223372036854776,"count":1}"#,
            SchemaMismatch,
        ),
        (
            r#"{"event_id":"a","event_time":0,"count":1e2}"#,
            SchemaMismatch,
        ),
        (
            r#"{"event_id":"a","event_time":0,"count":1,"ratio":1e999}"#,
            SchemaMismatch,
        ),
        (r#"{"event_id":"a","event_time":0}"#, SchemaMismatch),
        (r#"{"event_time":null,"count":null}"#, SchemaMismatch),
        (r#"{"count":1}"#, MissingEventId),
        (r#"{"event_id":"","count":1}"#, MissingEventId),
        (
            r#"{"event_id":null,"event_time":0,"count":1}"#,
            MissingEventId,
        ),
        (r#"{"event_id":"a","count":1}"#, MissingEventTime),
        (
            r#"{"event_id":"a","event_time":null,"count":1}"#,
            MissingEventTime,
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(
            decode_one(json.as_bytes()).map_err(|e| e.0),
            Err(*expected),
            "{json}"
        );
        assert_eq!(
            MODEL.decode(Some(json.as_bytes())),
            Err(*expected),
            "the model: {json}"
        );
    }
}

#[test]
fn a_message_says_which_field_what_was_found_and_what_was_expected() {
    let message = |json: &[u8]| decode_one(json).expect_err("a bad record").1;
    assert_eq!(
        message(&with_field("count", "\"x\"")),
        "field `count`: expected a JSON integer of 32 bits, found `\"x\"`"
    );
    assert!(
        message(&with_field("event_time", "\"1795255200000\""))
            .contains("digits alone are ambiguous")
    );
    assert!(message(&with_field("name", &"[1,".repeat(30))).starts_with("not JSON: "));
    let long = message(&with_field("count", &format!("\"{}\"", "é".repeat(1000))));
    assert!(long.contains("éé…`"), "{long}");
    assert!(message(b"\xef\xbb\xbf{}").contains("byte order mark"));
    assert_eq!(
        message(br#"{"event_id":"","event_time":0,"count":1}"#),
        "field `event_id`: the event id is empty; it must be a string"
    );
    assert!(
        message(br#"{"event_id":"a","event_time":0,"count":1,"x":1,"x":1}"#)
            .contains("the key `x` stands twice")
    );
    assert_eq!(
        message(b"{\"a\":1"),
        "not JSON: neither `,` nor `}` after a member, at byte 6 of 6; the record ends there"
    );
}

#[test]
fn null_and_too_large_values_are_told_apart_from_bad_ones() {
    let mut full = with_field("", "");
    full.resize(MAX_RECORD_BYTES, b' ');
    let mut larger = full.clone();
    larger.push(b' ');
    let values = [
        None,
        Some(full),
        Some(larger),
        Some(vec![0xff; MAX_RECORD_BYTES + 1]),
    ];
    let decoded = outcomes(&test_decoder().decode(&raw_batch(&values)), 4);
    assert_eq!(
        decoded[0].as_ref().err().map(|e| e.0),
        Some(ErrorType::NullValue)
    );
    assert!(decoded[1].is_ok(), "as long as the limit");
    for decoded in &decoded[2..] {
        assert_eq!(
            decoded.as_ref().err().map(|e| e.0),
            Some(ErrorType::TooLarge)
        );
    }
}

#[test]
fn a_header_of_the_schema_registry_is_taken_by_json_sr_and_named_by_json() {
    let value = b"\x00\x00\x01\x86\xba{\"event_id\":\"a\",\"event_time\":1,\"count\":1}";
    let failure = decode_one(value).expect_err("not plain JSON");
    assert!(failure.1.contains("use `format: json_sr`"), "{}", failure.1);
    let mut decoder = test_decoder().framed(true);
    let batch = raw_batch(&[Some(&value[..]), Some(&value[5..]), Some(&value[..4])]);
    let mut missing = crate::decode::SchemaIds::new();
    decoder.missing_schemas(&batch, &mut missing);
    assert_eq!(missing, [100_026].into());
    let denied = crate::io::SchemaAnswer::Denied("no".to_owned());
    decoder.learn(100_026, &denied);
    let kinds = |decoded: Decoded| -> Vec<ErrorType> {
        decoded.failures.iter().map(|f| f.error_type).collect()
    };
    let malformed = ErrorType::Malformed;
    let with_registry = kinds(decoder.decode(&batch));
    assert_eq!(
        with_registry,
        [ErrorType::UnknownSchema, malformed, malformed]
    );
    decoder.forget(100_026);
    missing.clear();
    decoder.missing_schemas(&batch, &mut missing);
    assert_eq!(missing, [100_026].into(), "asked again");
    let without = kinds(test_decoder().framed(false).decode(&batch));
    assert_eq!(without, [malformed, malformed]);
}

#[test]
fn a_long_text_lands_where_the_limit_allows_it() {
    let text = "x".repeat(LONG_TEXT);
    let record = format!(r#"{{"event_id":"a","event_time":1,"count":1,"name":"{text}"}}"#);
    let landed = lands_up_to_the_limit(record.as_bytes(), |limit| {
        JsonDecoder::new(COLUMNS, Some(0), 1, limit).expect("a decoder")
    });
    let name = landed.columns.column(3).as_string::<i32>().value(0);
    assert_eq!(name.len(), LONG_TEXT);
}
