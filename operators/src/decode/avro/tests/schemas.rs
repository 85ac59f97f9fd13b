//! Writers' schemas: several in one batch, and such as apache-avro makes too much of.

use super::*;
use crate::decode::{RawDecoder, SchemaIds};
use crate::job::{Format, Job, JobSettings, Peek, PeekAt};
use crate::schema::RAW_COLUMNS;

#[test]
fn records_of_different_schemas_in_one_batch_are_resolved_each_by_its_own() {
    let first = event_schema("");
    let second = event_schema(r#",{"name":"amount","type":"int"},{"name":"new","type":"string"}"#);
    let mut values = Vec::new();
    for at in 0..3 {
        values.push(Some(framed(1, &first, id_and_time(Some("a"), Some(at)))));
        let mut fields = id_and_time(Some("b"), Some(at));
        fields.push(("amount", Value::Int(41)));
        fields.push(("new", Value::String("skipped".to_owned())));
        values.push(Some(framed(2, &second, fields)));
    }
    let batch = raw_batch(&values);
    let mut decoder = registered();
    let mut missing = SchemaIds::new();
    decoder.missing_schemas(&batch, &mut missing);
    assert_eq!(missing, [1, 2].into());
    decoder.learn(1, &avro(&first));
    decoder.learn(2, &avro(&second));
    missing.clear();
    decoder.missing_schemas(&batch, &mut missing);
    assert!(missing.is_empty());
    let decoded = decoder.decode(&batch);
    assert_eq!(decoded.failures, []);
    assert_eq!(
        row(&decoded, COLUMNS, 4),
        [Cell::Text("a".to_owned()), Cell::Integer(2000), Cell::Null]
    );
    assert_eq!(
        row(&decoded, COLUMNS, 5),
        [
            Cell::Text("b".to_owned()),
            Cell::Integer(2000),
            Cell::Integer(41)
        ]
    );
}

#[test]
fn a_fixed_uuid_is_text_and_the_frame_is_kept() {
    let schema = r#"{"type":"record","name":"E","fields":[
        {"name":"event_id","type":{"type":"fixed","name":"Id","size":16,"logicalType":"uuid"}},
        {"name":"event_time","type":"string"}]}"#;
    let mut decoder = registered();
    decoder.learn(1, &avro(schema));
    let mut record = vec![0, 0, 0, 0, 1];
    record.extend(0x550e8400_e29b_41d4_a716_446655440000u128.to_be_bytes());
    record.push(40);
    record.extend(b"1970-01-01T00:00:01Z");
    let decoded = decoder.decode(&raw_batch(&[Some(record)]));
    assert_eq!(decoded.failures, []);
    assert_eq!(
        row(&decoded, COLUMNS, 0)[..2],
        [
            Cell::Text("550e8400-e29b-41d4-a716-446655440000".to_owned()),
            Cell::Integer(1_000_000)
        ]
    );
}

/// The header of schema 1, the id `a` and the time 1 ms, as [`event_schema`] has them.
const BEGIN: [u8; 10] = [0, 0, 0, 0, 1, 2, 2, b'a', 2, 2];

const ID: &str = "550e8400-e29b-41d4-a716-446655440000";

/// Schemas with a default that apache-avro does not take for its field, each with a record, and what the field `more` is
/// in a column.
fn with_defaults() -> Vec<(String, Vec<u8>, ColumnType, Cell)> {
    let price = ColumnType::Decimal {
        precision: 9,
        scale: 2,
    };
    let with = |field_type: &str, default: &str, value: &[u8], column_type, cell| {
        let more = format!(r#",{{"name":"more","type":{field_type},"default":{default}}}"#);
        let record = [&BEGIN[..], value].concat();
        (event_schema(&more), record, column_type, cell)
    };
    vec![
        with(
            r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#,
            r#""\u0000""#,
            &[2, 5],
            price,
            Cell::Decimal(5),
        ),
        with(
            r#"{"type":"fixed","name":"Price","size":4,"logicalType":"decimal","precision":9,"scale":2}"#,
            r#""\u0000""#,
            &[0, 0, 0, 5],
            price,
            Cell::Decimal(5),
        ),
        with(
            r#"[{"type":"bytes","logicalType":"decimal","precision":9,"scale":2},"null"]"#,
            r#""\u0000""#,
            &[0, 2, 5],
            price,
            Cell::Decimal(5),
        ),
        with(
            r#"{"type":"string","logicalType":"uuid"}"#,
            r#""""#,
            &[&[72u8][..], ID.as_bytes()].concat(),
            ColumnType::String,
            Cell::Text(ID.to_owned()),
        ),
        with(
            r#""long""#,
            r#""0""#,
            &[14],
            ColumnType::Long,
            Cell::Integer(7),
        ),
        with(
            r#"{"type":"enum","name":"Level","symbols":["LOW","HIGH"],"default":"NONE"}"#,
            r#""NONE""#,
            &[2],
            ColumnType::String,
            Cell::Text("HIGH".to_owned()),
        ),
    ]
}

#[test]
fn a_default_that_does_not_fit_makes_no_schema_unusable() {
    for (schema, record, column_type, cell) in with_defaults() {
        let columns = [
            Column::required("event_id", ColumnType::String),
            Column::required("event_time", ColumnType::Timestamptz),
            Column::optional("more", column_type),
        ];
        let mut decoder = AvroDecoder::registered(&columns, Some(0), 1, LIMIT).expect("a decoder");
        decoder.learn(1, &avro(&schema));
        let decoded = decoder.decode(&raw_batch(&[Some(&record)]));
        assert_eq!(decoded.failures, [], "{schema}");
        let expected = [Cell::Text("a".to_owned()), Cell::Integer(1000), cell];
        assert_eq!(row(&decoded, &columns, 0), expected, "{schema}");
        lands_peeked(&schema, &record);
    }
}

#[test]
fn a_namespace_of_other_characters_than_names_have_makes_no_schema_unusable() {
    let schema = event_schema(r#",{"name":"more","type":["null","my-company.events.Event"]}"#)
        .replacen(
            r#""name":"Event","#,
            r#""name":"Event","namespace":"my-company.events","#,
            1,
        );
    let record = [&BEGIN[..], &[0][..]].concat();
    let cut = &record[..record.len() - 1];
    let mut decoder = registered();
    decoder.learn(1, &avro(&schema));
    let decoded = decoder.decode(&raw_batch(&[Some(&record[..]), Some(cut)]));
    assert_eq!(decoded.rows, [0]);
    let message = &decoded.failures[0].message;
    assert!(message.contains("`my-company.events.Event`"), "{message}");
    lands_peeked(&schema, &record);
}

/// A record of schema 1 is kept as bytes, with its id and time beside it.
fn lands_peeked(schema: &str, record: &[u8]) {
    let settings = JobSettings {
        format: Format::Raw,
        columns: RAW_COLUMNS.to_vec(),
        peek: Some(Peek {
            format: Format::AvroSr,
            event_id: PeekAt::Field("event_id".to_owned()),
            event_time: PeekAt::Field("event_time".to_owned()),
        }),
        ..Job::BRONZE.settings()
    };
    let mut decoder = RawDecoder::new(&settings, Some(0), 1, true).expect("a decoder");
    decoder.learn(1, &avro(schema));
    let decoded = decoder.decode(&raw_batch(&[Some(record)]));
    assert_eq!(decoded.failures, [], "{schema}");
    let expected = [Cell::Text("a".to_owned()), Cell::Integer(1000)];
    assert_eq!(row(&decoded, &RAW_COLUMNS[..2], 0), expected, "{schema}");
}
