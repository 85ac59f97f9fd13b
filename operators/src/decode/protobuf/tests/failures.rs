//! Which kind of failure a record is, and what its message says.

use std::sync::Arc;

use arrow_array::cast::AsArray;

use super::{EVENT, ID_AND_TIME, LIMIT, SMALL, decoder, framed, registered};
use crate::decode::Decode;
use crate::decode::protobuf::ProtobufDecoder;
use crate::decode::testing::{Cause, LONG_TEXT, each_cause, lands_up_to_the_limit};
use crate::io::{RegisteredSchema, SchemaAnswer, SchemaKind};
use crate::record::ErrorType;
use crate::schema::{Column, ColumnType};

#[test]
fn each_cause_has_its_name() {
    let schema = |more: &str| {
        let text = format!(
            r#"syntax = "proto3";
            enum Side {{ BUY = 0; SELL = 1; }}
            message Event {{ {EVENT} {more} }}"#
        );
        registered(&text, &[])
    };
    let schemas = [
        schema("uint64 total = 3;"),
        schema("repeated int64 total = 3;"),
        schema("Side total = 3;"),
        schema("Unknown total = 3;"),
        registered(
            r#"syntax = "proto3"; import "lost.proto"; message A {}"#,
            &[],
        ),
        RegisteredSchema {
            kind: SchemaKind::Avro,
            text: String::new(),
            references: Vec::new(),
        },
        registered(r#"syntax = "proto3";"#, &[]),
    ];
    let mut decoder = decoder(ID_AND_TIME, &schemas);
    decoder.learn(99, &SchemaAnswer::Denied("no such schema".to_owned()));
    let with = |id: u8, more: &[u8]| Some(framed(id, &[0], &[&SMALL[..5], more].concat()));
    use ErrorType as E;
    let cases: Vec<Cause> = vec![
        (with(1, &[0x18, 7]), None),
        (None, Some((E::NullValue, "null"))),
        (Some(vec![]), Some((E::Malformed, "empty"))),
        (Some(vec![0, 0, 0]), Some((E::Malformed, "header"))),
        (
            Some(b"{\"a\":1}".to_vec()),
            Some((E::Malformed, "`format: json`")),
        ),
        (
            Some(framed(1, &[], &[])),
            Some((E::Malformed, "message indexes")),
        ),
        (
            Some(framed(1, &[0], &[])),
            Some((E::MissingEventId, "is empty")),
        ),
        (
            Some(framed(1, &[0], &SMALL[..3])),
            Some((E::MissingEventTime, "is not set")),
        ),
        (
            Some(framed(1, &[0], &SMALL[3..])),
            Some((E::MissingEventId, "is empty")),
        ),
        (
            with(1, &[0x18]),
            Some((E::Malformed, "ends inside of a varint")),
        ),
        (
            with(1, &[0x18, 0x80]),
            Some((E::Malformed, "ends inside of a varint")),
        ),
        (
            with(1, &[0x1a, 1, 7]),
            Some((
                E::Malformed,
                "field 3 is bytes with a length, should be a varint",
            )),
        ),
        (
            with(1, &[0x1e, 1]),
            Some((E::Malformed, "wire type that does not exist")),
        ),
        (with(1, &[0x00, 1]), Some((E::Malformed, "a field number"))),
        (
            with(1, &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            Some((E::Malformed, "beyond the end")),
        ),
        (with(1, &[0x0a, 1, 0xff]), Some((E::Malformed, "not UTF-8"))),
        (
            with(1, &[0x39, 1, 2, 3]),
            Some((E::Malformed, "ends inside of a value")),
        ),
        (
            with(1, &[0x3b, 0x08, 1]),
            Some((E::Malformed, "a group that does not end")),
        ),
        (
            with(1, &[0x3b, 0x44]),
            Some((E::Malformed, "a group that is not open")),
        ),
        (
            with(1, &[0x3c]),
            Some((E::Malformed, "a group that is not open")),
        ),
        (
            with(1, &[0x3b; 200]),
            Some((E::Malformed, "deeper than 100")),
        ),
        (
            with(
                1,
                &[
                    0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
                ],
            ),
            Some((E::SchemaMismatch, "63 bits")),
        ),
        (
            with(
                1,
                &[
                    0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02,
                ],
            ),
            Some((E::Malformed, "more than 64 bits")),
        ),
        (with(2, &[]), Some((E::SchemaMismatch, "repeated int64"))),
        (with(3, &[]), Some((E::SchemaMismatch, "enum Side"))),
        (with(4, &[]), Some((E::SchemaMismatch, "cannot be used"))),
        (with(5, &[]), Some((E::SchemaMismatch, "lost.proto"))),
        (with(6, &[]), Some((E::SchemaMismatch, "`format: avro_sr`"))),
        (with(7, &[]), Some((E::SchemaMismatch, "no message"))),
        (with(99, &[]), Some((E::UnknownSchema, "no such schema"))),
        (
            Some(vec![0; LIMIT as usize + 1]),
            Some((E::TooLarge, "the job's limit is 8388608")),
        ),
        (with(1, &[0x18, 7]), None),
    ];
    each_cause(&mut decoder, &cases);
}

#[test]
fn a_long_text_lands_where_the_limit_allows_it() {
    const TEXT: &[Column] = &[
        Column::required("event_id", ColumnType::String),
        Column::required("event_time", ColumnType::Timestamptz),
        Column::optional("text", ColumnType::String),
    ];
    let text =
        format!(r#"syntax = "proto3"; message Event {{ {EVENT} optional string text = 3; }}"#);
    let schema = SchemaAnswer::Known(Arc::new(registered(&text, &[])));
    // 10,000,000 as a varint.
    let length = [0x80, 0xad, 0xe2, 0x04];
    let message = [&SMALL[..5], &[0x1a], &length, &vec![b'x'; LONG_TEXT]].concat();
    let landed = lands_up_to_the_limit(&framed(1, &[0], &message), |limit| {
        let decoder = ProtobufDecoder::new(TEXT, Some(0), 1, limit);
        let mut decoder = decoder.expect("a decoder");
        decoder.learn(1, &schema);
        decoder
    });
    let text = landed.columns.column(2).as_string::<i32>().value(0);
    assert_eq!(text.len(), LONG_TEXT);
}
