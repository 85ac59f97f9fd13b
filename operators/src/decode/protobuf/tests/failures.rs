//! Which kind of failure a record is, and what its message says.

use super::{EVENT, ID_AND_TIME, SMALL, decoder, framed, registered};
use crate::decode::Decode;
use crate::decode::testing::{Cause, each_cause};
use crate::io::{RegisteredSchema, SchemaAnswer, SchemaKind};
use crate::record::ErrorType;

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
        (with(1, &[0x18, 7]), None),
    ];
    each_cause(&mut decoder, &cases);
}
