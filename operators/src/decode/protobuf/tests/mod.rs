//! The Protobuf decoder against prost-reflect, and against what producers and networks do to records.

mod drawn;
mod every_kind;
mod failures;
mod generated;
mod oracle;
mod schemas;

use std::sync::Arc;

use super::super::{Decode, Decoded};
use super::ProtobufDecoder;
use crate::io::{ReferencedSchema, RegisteredSchema, SchemaAnswer, SchemaKind};
use crate::record::ErrorType;
use crate::schema::{Column, ColumnType};

const LIMIT: u64 = 8 << 20;

const ID_AND_TIME: &[Column] = &[
    Column::required("event_id", ColumnType::String),
    Column::required("event_time", ColumnType::Timestamptz),
    Column::optional("total", ColumnType::Long).aliases(&["amount"]),
];

/// `a`, 1 ms, and a third field of 7.
const SMALL: [u8; 7] = [0x0a, 1, b'a', 0x10, 1, 0x18, 7];

const EVENT: &str = "string event_id = 1; int64 event_time = 2;";

fn registered(text: &str, references: &[(&str, &str)]) -> RegisteredSchema {
    let references = references.iter().map(|&(name, text)| ReferencedSchema {
        name: name.to_owned(),
        text: text.to_owned(),
    });
    RegisteredSchema {
        kind: SchemaKind::Protobuf,
        text: text.to_owned(),
        references: references.collect(),
    }
}

fn decoder(columns: &[Column], schemas: &[RegisteredSchema]) -> ProtobufDecoder {
    let mut decoder = ProtobufDecoder::new(columns, Some(0), 1, LIMIT).expect("a decoder");
    for (id, schema) in (1..).zip(schemas) {
        decoder.learn(id, &SchemaAnswer::Known(Arc::new(schema.clone())));
    }
    decoder
}

/// A record of schema `id`, behind these bytes of message indexes.
fn framed(id: u8, indexes: &[u8], message: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, id], indexes, message].concat()
}

fn failure(decoded: &Decoded) -> Option<(ErrorType, &str)> {
    let first = decoded.failures.first();
    first.map(|f| (f.error_type, f.message.as_str()))
}
