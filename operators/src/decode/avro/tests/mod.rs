//! The Avro decoder against apache-avro, and against what producers and networks do to records.

mod failures;
mod generated;
mod schemas;

use apache_avro::types::Value;
use apache_avro::{Schema, to_avro_datum};

use super::super::Decode;
use super::super::testing::{Cell, raw_batch, row};
use super::AvroDecoder;
use crate::io::{RegisteredSchema, SchemaAnswer, SchemaKind};
use crate::record::ErrorType;
use crate::schema::{Column, ColumnType};

const LIMIT: u64 = 8 << 20;

const COLUMNS: &[Column] = &[
    Column::required("event_id", ColumnType::String),
    Column::required("event_time", ColumnType::Timestamptz),
    Column::optional("total", ColumnType::Long).aliases(&["amount"]),
];

fn registered() -> AvroDecoder {
    AvroDecoder::registered(COLUMNS, Some(0), 1, LIMIT).expect("a decoder")
}

fn avro(text: &str) -> SchemaAnswer {
    SchemaAnswer::Known(std::sync::Arc::new(RegisteredSchema {
        kind: SchemaKind::Avro,
        text: text.to_owned(),
        references: Vec::new(),
    }))
}

fn event_schema(more: &str) -> String {
    format!(
        r#"{{"type":"record","name":"Event","fields":[
            {{"name":"event_id","type":["null","string"]}},
            {{"name":"event_time","type":["null",{{"type":"long","logicalType":"timestamp-millis"}}]}}{more}]}}"#
    )
}

fn framed(id: u32, schema: &str, fields: Vec<(&str, Value)>) -> Vec<u8> {
    let schema = Schema::parse_str(schema).expect("a schema");
    let fields = fields.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
    let mut bytes = vec![0];
    bytes.extend(id.to_be_bytes());
    bytes.extend(to_avro_datum(&schema, Value::Record(fields)).expect("a record"));
    bytes
}

fn optional(value: Option<Value>) -> Value {
    match value {
        None => Value::Union(0, Box::new(Value::Null)),
        Some(value) => Value::Union(1, Box::new(value)),
    }
}

fn id_and_time(id: Option<&str>, millis: Option<i64>) -> Vec<(&'static str, Value)> {
    vec![
        (
            "event_id",
            optional(id.map(|id| Value::String(id.to_owned()))),
        ),
        ("event_time", optional(millis.map(Value::TimestampMillis))),
    ]
}
