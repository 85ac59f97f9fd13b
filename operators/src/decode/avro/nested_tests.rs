//! Fields within records, by names with dots.

use apache_avro::types::Value;
use apache_avro::{Schema, to_avro_datum};

use super::super::Decode;
use super::super::testing::{Cell, raw_batch, row};
use super::AvroDecoder;
use crate::record::ErrorType;
use crate::schema::{Column, ColumnType};

const LIMIT: u64 = 1 << 20;

const COLUMNS: &[Column] = &[
    Column::required("event_id", ColumnType::String).aliases(&["meta.id"]),
    Column::required("event_time", ColumnType::Timestamptz).aliases(&["meta.at"]),
    Column::optional("city", ColumnType::String).aliases(&["user.address.city"]),
    Column::optional("user.address.zip", ColumnType::Long),
    Column::optional("next_id", ColumnType::String).aliases(&["next.meta.id"]),
    Column::optional("nowhere", ColumnType::String).aliases(&["user.tail", "tail.x"]),
];

const SCHEMA: &str = r#"{"type":"record","name":"Event","fields":[
    {"name":"before","type":"string"},
    {"name":"meta","type":["null",{"type":"record","name":"Meta","fields":[
        {"name":"id","type":"string"},{"name":"other","type":"double"},
        {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}}]}]},
    {"name":"user","type":{"type":"record","name":"User","fields":[
        {"name":"name","type":"string"},
        {"name":"address","type":[{"type":"record","name":"Address","fields":[
            {"name":"zip","type":"int"},{"name":"city","type":["null","string"]}]},"null"]}]}},
    {"name":"next","type":["null","Event"]},
    {"name":"tail","type":"string"}]}"#;

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

fn record(fields: Vec<(&str, Value)>) -> Value {
    let fields = fields.into_iter();
    Value::Record(
        fields
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

fn optional(value: Option<Value>, null: u32) -> Value {
    match value {
        None => Value::Union(null, Box::new(Value::Null)),
        Some(value) => Value::Union(1 - null, Box::new(value)),
    }
}

fn event(id: Option<&str>, address: Option<(i32, Option<&str>)>, next: Option<Value>) -> Value {
    let meta = id.map(|id| {
        record(vec![
            ("id", text(id)),
            ("other", Value::Double(0.5)),
            ("at", Value::TimestampMillis(7)),
        ])
    });
    let address = address.map(|(zip, city)| {
        record(vec![
            ("zip", Value::Int(zip)),
            ("city", optional(city.map(text), 0)),
        ])
    });
    record(vec![
        ("before", text("skipped")),
        ("meta", optional(meta, 0)),
        (
            "user",
            record(vec![
                ("name", text("Ada")),
                ("address", optional(address, 1)),
            ]),
        ),
        ("next", optional(next, 0)),
        ("tail", text("the end")),
    ])
}

fn encode(event: Value) -> Vec<u8> {
    to_avro_datum(&Schema::parse_str(SCHEMA).expect("a schema"), event).expect("a record")
}

fn decoder(columns: &[Column]) -> crate::error::Result<AvroDecoder> {
    AvroDecoder::given(columns, Some(0), 1, LIMIT, SCHEMA)
}

#[test]
fn a_field_within_a_record_is_found_by_its_way_and_null_where_a_record_on_it_is() {
    let inner = event(Some("inner"), Some((1, Some("skipped"))), None);
    let batch = raw_batch(&[
        Some(encode(event(
            Some("a"),
            Some((8001, Some("Z\u{fc}rich"))),
            Some(inner),
        ))),
        Some(encode(event(Some("b"), Some((8002, None)), None))),
        Some(encode(event(Some("c"), None, None))),
    ]);
    let decoded = decoder(COLUMNS).expect("a decoder").decode(&batch);
    assert_eq!(decoded.failures, []);
    let expected = |id: &str, city: Option<&str>, zip: Option<i64>, next: Option<&str>| {
        let text = |value: Option<&str>| value.map_or(Cell::Null, |v| Cell::Text(v.to_owned()));
        let zip = zip.map_or(Cell::Null, Cell::Integer);
        vec![
            text(Some(id)),
            Cell::Integer(7000),
            text(city),
            zip,
            text(next),
            Cell::Null,
        ]
    };
    assert_eq!(
        row(&decoded, COLUMNS, 0),
        expected("a", Some("Z\u{fc}rich"), Some(8001), Some("inner"))
    );
    assert_eq!(
        row(&decoded, COLUMNS, 1),
        expected("b", None, Some(8002), None)
    );
    assert_eq!(row(&decoded, COLUMNS, 2), expected("c", None, None, None));
}

#[test]
fn what_is_required_is_missing_when_the_record_that_has_it_is_null() {
    let good = || Some(encode(event(Some("a"), None, None)));
    let batch = raw_batch(&[
        good(),
        Some(encode(event(None, Some((1, None)), None))),
        good(),
    ]);
    let decoded = decoder(COLUMNS).expect("a decoder").decode(&batch);
    assert_eq!(
        (decoded.rows.as_slice(), decoded.failures.len()),
        ([0, 2].as_slice(), 1)
    );
    assert_eq!(decoded.failures[0].error_type, ErrorType::MissingEventId);
}

#[test]
fn a_record_that_is_cut_anywhere_is_malformed_and_its_neighbours_land() {
    let whole = encode(event(Some("a"), Some((1, Some("x"))), None));
    let mut decoder = decoder(COLUMNS).expect("a decoder");
    for end in 0..whole.len() {
        let batch = raw_batch(&[Some(&whole[..]), Some(&whole[..end]), Some(&whole[..])]);
        let decoded = decoder.decode(&batch);
        assert_eq!(decoded.rows, [0, 2], "cut at {end}");
        assert_eq!(
            decoded.failures[0].error_type,
            ErrorType::Malformed,
            "cut at {end}"
        );
    }
}

#[test]
fn one_field_is_not_two_columns() {
    let twice = [
        COLUMNS,
        &[Column::optional("town", ColumnType::String).aliases(&["user.address.city"])][..],
    ]
    .concat();
    let error = decoder(&twice).expect_err("refused").to_string();
    assert!(error.contains("two columns, `city` and `town`"), "{error}");
    let whole = [COLUMNS, &[Column::optional("user", ColumnType::String)][..]].concat();
    let error = decoder(&whole).expect_err("refused").to_string();
    assert!(error.contains("is record, which does not fit"), "{error}");
}
