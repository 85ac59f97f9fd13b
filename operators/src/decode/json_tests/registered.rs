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
    for (id, reference, name) in [
        ("", "positive.json", "positive.json"),
        (
            r#""$id": "https://example.com/schemas/event.json","#,
            "positive.json",
            "positive.json",
        ),
        (
            r#""$id": "https://example.com/schemas/event.json","#,
            "../positive.json",
            "../positive.json",
        ),
        (
            r#""$id": "https://example.com/schemas/event.json","#,
            "/v1/positive.json",
            "/v1/positive.json",
        ),
        ("", "https://example.com/positive.json", "positive.json"),
        ("", "positive.json#/definitions/above", "positive.json"),
    ] {
        let text = format!(r#"{{{id} "properties": {{"total": {{"$ref": "{reference}"}}}}}}"#);
        let mut schema = json(&text);
        // Without it the schema is not applied.
        lands(&schema, &with_field("total", "0"));
        schema.references.push(ReferencedSchema {
            name: name.to_owned(),
            text: r#"{"exclusiveMinimum": 0, "definitions": {"above": {"exclusiveMinimum": 0}}}"#
                .to_owned(),
        });
        lands(&schema, &with_field("total", "1"));
        failure(&schema, &with_field("total", "0"));
    }
}

#[test]
fn of_two_references_none_is_taken_for_the_other() {
    let mut schema = json(r#"{"properties": {"total": {"$ref": "v2/total.json"}}}"#);
    let reference = |name: &str, text: &str| ReferencedSchema {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    schema.references.push(reference("otal.json", "true"));
    // It only ends alike.
    lands(&schema, &with_field("total", "0"));
    schema.references.push(reference("v2/total.json", "false"));
    failure(&schema, &with_field("total", "0"));
    schema.references.push(reference("total.json", "true"));
    lands(&schema, &with_field("total", "0"));
}

#[test]
fn without_a_draft_it_is_draft_7() {
    let of_two = r#""properties": {"other": {"items": [{"type": "string"}]}}"#;
    let schema = json(&format!("{{{of_two}}}"));
    lands(&schema, &with_field("other", "[\"a\", 1]"));
    failure(&schema, &with_field("other", "[1]"));
    // There it is no list, so that the schema cannot be applied.
    let newer = r#""$schema": "https://json-schema.org/draft/2020-12/schema","#;
    lands(
        &json(&format!("{{{newer}{of_two}}}")),
        &with_field("other", "[1]"),
    );
}

#[test]
fn remarks_are_no_rules_and_schemas_of_other_kinds_say_nothing() {
    let record = with_field("name", "\"no time, {nor base64\"");
    for remark in [
        r#""format": "date-time""#,
        r#""contentEncoding": "base64""#,
        r#""contentMediaType": "application/json""#,
    ] {
        lands(
            &json(&format!(r#"{{"properties": {{"name": {{{remark}}}}}}}"#)),
            &record,
        );
    }
    let avro = RegisteredSchema {
        kind: SchemaKind::Avro,
        ..json("false")
    };
    lands(&avro, &record);
}

/// It calls a decimal a number, and its converter writes base64.
#[test]
fn what_connect_says_of_its_own_data_is_not_held_against_records() {
    let of_connect = r#"{"properties": {"name": {"type": "number", "connect.type": "bytes",
        "title": "org.apache.kafka.connect.data.Decimal"}}}"#;
    lands(&json(of_connect), &with_field("name", "\"AQI=\""));
}

/// Not applied, all of them; what they would refuse lands.
#[test]
fn a_schema_that_cannot_be_applied_refuses_nothing() {
    let doubling: String = (0..40)
        .map(|i| format!(r##""a{i}": {{"allOf": [{{"$ref": "#/$defs/a{0}"}}, {{"$ref": "#/$defs/a{0}"}}]}},"##, i + 1))
        .collect();
    let doubling = format!(r##"{{"$ref": "#/$defs/a0", "$defs": {{{doubling} "a40": false}}}}"##);
    let chain: String = (0..18_000)
        .map(|i| format!(r##""a{i}": {{"$ref": "#/$defs/a{}"}},"##, i + 1))
        .collect();
    let chain = format!(r##"{{"$ref": "#/$defs/a0", "$defs": {{{chain} "a18000": false}}}}"##);
    let deep = format!("{}false{}", r#"{"allOf": ["#.repeat(250), "]}".repeat(250));
    let patterns: Vec<String> = (0..300)
        .map(|i| format!(r#"{{"pattern": "a{i}"}}"#))
        .collect();
    let patterns = format!(r#"{{"not": {{}}, "anyOf": [{}]}}"#, patterns.join(","));
    let row =
        r##"{"properties": {"kind": {"const": "row"}, "children": {"items": {"$ref": "#"}}}}"##;
    let tree = format!(r#"{{"not": {{}}, "anyOf": [{row}, {row}, {{"required": ["text"]}}]}}"#);
    for text in [
        "",
        "[1]",
        r#"{"not": {}, "type": "intger"}"#,
        r#"{"not": {}, "properties": {"name": {"pattern": "("}}}"#,
        r#"{"not": {}, "properties": {"name": {"pattern": "(a)\\1"}}}"#,
        r#"{"not": {}, "$schema": "https://example.com/of-our-own"}"#,
        r##"{"not": {}, "allOf": [{"$ref": "#/definitions/lost"}]}"##,
        r##"{"not": {}, "allOf": [{"$ref": "#anchor"}]}"##,
        r##"{"not": {}, "allOf": [{"$dynamicRef": "#x"}]}"##,
        r##"{"not": {}, "properties": {"default": {"$ref": "#"}}}"##,
        // The validator panics at it.
        r#"{"$defs": {"a": {"$id": "http://x/a", "$defs": {"t": {"$anchor": "foo", "type": "string"}}},
            "b": {"$id": "http://x/a"}}, "not": {}, "properties": {"name": {"$ref": "http://x/a#foo"}}}"#,
        r##"{"$defs": {"a": {"$id": "http://x/a", "not": {}}}, "not": {}, "allOf": [{"$ref": "#/$defs/a"}]}"##,
        &doubling,
        &chain,
        &deep,
        &patterns,
        &tree,
    ] {
        lands(&json(text), &with_field("total", "1"));
    }
}

/// A reference that has the schema's own `$id` would be taken for it.
#[test]
fn two_schemas_of_one_id_are_not_applied() {
    let mut schema =
        json(r#"{"$id": "http://x/a", "not": {}, "properties": {"name": {"$ref": "b.json"}}}"#);
    schema.references.push(ReferencedSchema {
        name: "b.json".to_owned(),
        text: r#"{"$id": "http://x/a#"}"#.to_owned(),
    });
    lands(&schema, &with_field("total", "1"));
}

#[test]
fn definitions_that_are_used_twice_and_names_that_are_keywords_elsewhere_are_applied() {
    let schema = json(
        r##"{"definitions": {"text": {"type": ["string", "null"]}, "id": {"type": "string"}},
            "properties": {"name": {"$ref": "#/definitions/text"}, "other": {"$ref": "#/definitions/text"},
                "id": {"type": "string"}, "default": {"type": "object"}, "definitions": {"minimum": 1}}}"##,
    );
    lands(&schema, &with_field("other", "\"a\""));
    failure(&schema, &with_field("other", "1"));
    let record = String::from_utf8(with_field("other", "null")).expect("text");
    failure(
        &schema,
        record
            .replace("\"other\":null", "\"definitions\":0")
            .as_bytes(),
    );
}

#[test]
fn what_a_pattern_costs_grows_with_the_text_alone() {
    let text = with_field("name", &format!("\"{}!\"", "a".repeat(2000)));
    for pattern in ["^(a+)+$", "^(a|a)*$", "^\\\\p{L}[\\\\p{L} .'-]{0,99}$"] {
        let schema = json(&format!(
            r#"{{"properties": {{"name": {{"pattern": "{pattern}"}}}}}}"#
        ));
        failure(&schema, &text);
    }
}

/// Of thousands of alternatives each keeps a copy of what does not fit it.
#[test]
fn a_large_record_is_refused_without_copies_of_it() {
    let alternatives: Vec<String> = (0..2400)
        .map(|i| format!(r#"{{"required": ["a{i}"]}}"#))
        .collect();
    let schema = json(&format!(r#"{{"anyOf": [{}]}}"#, alternatives.join(",")));
    let large = with_field("name", &format!("\"{}\"", "a".repeat(3500)));
    assert_eq!(
        failure(&schema, &large),
        "violates schema 7 of the registry; `json_fail_invalid_schema: false` lands such records"
    );
}
