//! Records held against their registered JSON Schema.

use std::sync::Arc;

use super::{COLUMNS, Cell, ErrorType, MAX_RECORD_BYTES, outcomes, with_field};
use crate::decode::testing::raw_batch;
use crate::decode::{Decode, JsonDecoder};
use crate::io::{ReferencedSchema, RegisteredSchema, SchemaAnswer, SchemaKind};

const ID: u32 = 7;

/// What becomes of records that are valid but for what the schema says.
fn decode(
    schema: &RegisteredSchema,
    records: &[&[u8]],
) -> Vec<Result<Vec<Cell>, (ErrorType, String)>> {
    let mut decoder = JsonDecoder::new(COLUMNS, Some(0), 1, MAX_RECORD_BYTES as u64)
        .expect("decoder")
        .framed(true)
        .validating();
    decoder.learn(ID, &SchemaAnswer::Known(Arc::new(schema.clone())));
    let framed = |record: &&[u8]| Some([&[0][..], &ID.to_be_bytes(), record].concat());
    let values: Vec<Option<Vec<u8>>> = records.iter().map(framed).collect();
    outcomes(&decoder.decode(&raw_batch(&values)), values.len())
}

fn json(text: &str) -> RegisteredSchema {
    RegisteredSchema {
        kind: SchemaKind::Json,
        text: text.to_owned(),
        references: Vec::new(),
    }
}

/// The message of the one record.
fn failure(schema: &RegisteredSchema, record: &[u8]) -> String {
    match decode(schema, &[record]).remove(0) {
        Err((ErrorType::SchemaMismatch, message)) => message,
        other => panic!(
            "{} let through {}: {other:?}",
            schema.text,
            String::from_utf8_lossy(record)
        ),
    }
}

fn lands(schema: &RegisteredSchema, record: &[u8]) {
    let outcome = decode(schema, &[record]).remove(0);
    assert!(outcome.is_ok(), "{}: {outcome:?}", schema.text);
}

#[test]
fn a_record_that_violates_its_schema_is_a_dead_letter_and_its_neighbours_land() {
    let schema = json(
        r#"{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
            "properties": {"total": {"minimum": 1}}, "required": ["name"]}"#,
    );
    let (good, bad) = (with_field("total", "5"), with_field("total", "-3"));
    // Decoded as predicted, which leaves no less to take back.
    let outcomes = decode(&schema, &[&good, &good, &bad, &good]);
    let landed: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(landed, [true, true, false, true]);
    assert_eq!(outcomes[3].as_ref().expect("a row")[4], Cell::Integer(5));
    assert_eq!(
        failure(&schema, &bad),
        "violates schema 7 of the registry at `/total`: value is less than the minimum of 1, found `-3`; `json_fail_invalid_schema: false` lands such records"
    );
    let unnamed = br#"{"event_id": "a", "event_time": 0, "count": 1}"#;
    let message = failure(&schema, unnamed);
    assert!(
        message.contains("\"name\" is a required property"),
        "{message}"
    );
}

#[test]
fn what_is_no_json_and_what_does_not_fit_its_column_is_said_first() {
    let schema = json("false");
    let [not_json, mismatch] = [b"{".to_vec(), with_field("count", "1.5")].map(|record| {
        decode(&schema, &[&record])
            .remove(0)
            .expect_err("a failure")
    });
    assert_eq!(not_json.0, ErrorType::Malformed);
    assert!(mismatch.1.contains("field `count`"), "{}", mismatch.1);
}

#[test]
fn references_are_found_by_the_names_that_the_registry_gives_them() {
    let positive = ReferencedSchema {
        name: "positive.json".to_owned(),
        text: r#"{"exclusiveMinimum": 0}"#.to_owned(),
    };
    for (id, reference) in [
        ("", "positive.json"),
        (
            r#""$id": "https://example.com/schemas/event.json","#,
            "positive.json",
        ),
        ("", "https://example.com/positive.json"),
    ] {
        let text = format!(r#"{{{id} "properties": {{"total": {{"$ref": "{reference}"}}}}}}"#);
        let mut schema = json(&text);
        let lost = failure(&schema, &with_field("total", "1"));
        assert!(
            lost.contains("cannot be applied") && lost.contains("positive.json"),
            "{lost}"
        );
        schema.references.push(positive.clone());
        lands(&schema, &with_field("total", "1"));
        failure(&schema, &with_field("total", "0"));
    }
}

#[test]
fn a_name_that_only_ends_alike_is_another_reference() {
    let mut schema = json(r#"{"properties": {"total": {"$ref": "positive.json"}}}"#);
    schema.references.push(ReferencedSchema {
        name: "tive.json".to_owned(),
        text: "true".to_owned(),
    });
    failure(&schema, &with_field("total", "1"));
}

#[test]
fn a_schema_that_cannot_be_applied_makes_dead_letters_that_say_why() {
    for text in [
        "",
        "[1]",
        r#"{"type": "intger"}"#,
        r#"{"properties": {"name": {"pattern": "("}}}"#,
        r#"{"$schema": "https://example.com/of-our-own"}"#,
        r##"{"$ref": "#/definitions/lost"}"##,
    ] {
        let message = failure(&json(text), &with_field("total", "1"));
        assert!(
            message.starts_with("schema 7 of the registry cannot be applied: ")
                && message.ends_with("`json_fail_invalid_schema: false` lands its records without"),
            "{message}"
        );
    }
}

#[test]
fn formats_are_remarks_and_schemas_of_other_kinds_say_nothing() {
    let record = with_field("name", "\"no time\"");
    lands(
        &json(r#"{"properties": {"name": {"format": "date-time"}}}"#),
        &record,
    );
    let avro = RegisteredSchema {
        kind: SchemaKind::Avro,
        ..json("\"string\"")
    };
    lands(&avro, &record);
}

/// A stack that overflows, or a minute that is lost, would be an outage.
#[test]
fn schemas_that_refer_to_themselves_and_patterns_that_explode_end() {
    let text = with_field("name", &format!("\"{}!\"", "a".repeat(2000)));
    for schema in [
        r##"{"$ref": "#"}"##,
        r##"{"allOf": [{"$ref": "#"}]}"##,
        r##"{"$ref": "#/definitions/a", "definitions": {
            "a": {"anyOf": [{"$ref": "#/definitions/b"}]}, "b": {"anyOf": [{"$ref": "#/definitions/a"}]}}}"##,
    ] {
        lands(&json(schema), &text);
    }
    let deep = format!("{}true{}", r#"{"allOf": ["#.repeat(60), "]}".repeat(60));
    lands(&json(&deep), &text);
    for pattern in ["^(a+)+$", "^(?=(a+)+$)b", "^(a{1000}){1000}$"] {
        let schema = json(&format!(
            r#"{{"properties": {{"name": {{"pattern": "{pattern}"}}}}}}"#
        ));
        failure(&schema, &text);
    }
}
