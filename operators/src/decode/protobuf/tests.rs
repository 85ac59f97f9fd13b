//! The Protobuf decoder against prost-reflect, and against what producers and networks do to records.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use protox::prost::Message;
use protox::prost_reflect::{DynamicMessage, Kind, MessageDescriptor, ReflectMessage, Value};

use super::super::testing::{Cause, Cell, each_cause, raw_batch, row};
use super::super::{Decode, Decoded};
use super::{ProtobufDecoder, schema};
use crate::io::{ReferencedSchema, RegisteredSchema, SchemaAnswer, SchemaKind};
use crate::record::ErrorType;
use crate::schema::{Column, ColumnType};

const LIMIT: u64 = 8 << 20;

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

// Any message -------------------------------------------------------------------------------------------

/// Every kind of field, in the two languages: in proto3 without presence, in proto2 with. `Flat` has nothing
/// inside of which a parser would look and the decoder does not.
fn every_kind(is_proto3: bool) -> String {
    let (syntax, plain) = match is_proto3 {
        true => ("proto3", ""),
        false => ("proto2", "optional"),
    };
    let fields = format!(
        r#"
        {plain} string event_id = 1;
        {plain} google.protobuf.Timestamp event_time = 2;
        {plain} int32 i32 = 3;
        {plain} sint32 s32 = 4;
        {plain} sfixed32 sf32 = 5;
        {plain} uint32 u32 = 6;
        {plain} fixed32 fx32 = 7;
        {plain} int64 i64 = 8;
        {plain} sint64 s64 = 9;
        {plain} sfixed64 sf64 = 10;
        {plain} uint64 u64 = 11;
        {plain} fixed64 fx64 = 12;
        {plain} float fl = 13;
        {plain} double db = 14;
        {plain} bool bo = 15;
        {plain} string st = 16;
        {plain} bytes by = 17;
        {plain} Level level = 18;
        optional int64 maybe_i64 = 19;
        optional string maybe_st = 20;
        {plain} google.protobuf.Int64Value w_i64 = 21;
        {plain} google.protobuf.StringValue w_st = 22;
        {plain} google.protobuf.BoolValue w_bo = 23;
        {plain} google.protobuf.DoubleValue w_db = 24;
        oneof choice {{
            string c_text = 30;
            int64 c_long = 31;
            google.protobuf.Timestamp c_time = 100;
            bool c_skipped = 33;
        }}
        {plain} string skipped_st = 40;
        {plain} fixed64 skipped_fx = 41;"#
    );
    format!(
        r#"syntax = "{syntax}";
        package test;
        import "google/protobuf/timestamp.proto";
        import "google/protobuf/wrappers.proto";
        enum Level {{ NONE = 0; LOW = 1; HIGH = 7; BELOW = -3; }}
        message Flat {{ {fields} }}
        message Deep {{ {fields}
            repeated int32 numbers = 50;
            repeated int32 unpacked = 51 [packed = false];
            repeated string texts = 52;
            map<string, int64> counts = 53;
            {plain} Deep inside = 54;
        }}"#
    )
}

const COLUMNS: &[Column] = &[
    Column::required("event_id", ColumnType::String),
    Column::required("event_time", ColumnType::Timestamptz),
    Column::optional("fl", ColumnType::Float),
    Column::optional("i32", ColumnType::Int),
    Column::optional("s32", ColumnType::Int),
    Column::optional("sf32", ColumnType::Int),
    Column::optional("u32", ColumnType::Long),
    Column::optional("fx32", ColumnType::Long),
    Column::optional("i64", ColumnType::Long),
    Column::optional("s64", ColumnType::Long),
    Column::optional("sf64", ColumnType::Long),
    Column::optional("u64", ColumnType::Long),
    Column::optional("fx64", ColumnType::Long),
    Column::optional("db", ColumnType::Double),
    Column::optional("bo", ColumnType::Boolean),
    Column::optional("st", ColumnType::String),
    Column::optional("by", ColumnType::Binary),
    Column::optional("level", ColumnType::String),
    Column::optional("maybe_i64", ColumnType::Long),
    Column::optional("maybe_st", ColumnType::String),
    Column::optional("w_i64", ColumnType::Long),
    Column::optional("w_st", ColumnType::String),
    Column::optional("w_bo", ColumnType::Boolean),
    Column::optional("w_db", ColumnType::Double),
    Column::optional("c_text", ColumnType::String),
    Column::optional("c_long", ColumnType::Long),
    Column::optional("c_time", ColumnType::Timestamptz),
    Column::optional("in_no_message", ColumnType::String),
];

/// splitmix64: what a test draws follows from its seed.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Often one of those at which something changes.
    fn integer(&mut self) -> u64 {
        match self.below(6) {
            0 => 0,
            1 => 1,
            2 => u64::MAX,
            3 => i64::MAX as u64,
            4 => 1 << self.below(64),
            _ => self.next(),
        }
    }

    fn text(&mut self) -> String {
        let length = self.below(20);
        (0..length)
            .map(|_| ['a', 'é', '"', '\0', '本'][self.below(5)])
            .collect()
    }

    fn value(&mut self, kind: &Kind, depth: usize) -> Value {
        let n = self.integer();
        match kind {
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(n as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(n as i64),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(n as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(n),
            Kind::Float => Value::F32(n as i32 as f32 / 8.0),
            Kind::Double => Value::F64(n as i64 as f64 / 8.0),
            Kind::Bool => Value::Bool(n & 1 == 1),
            Kind::String => Value::String(self.text()),
            Kind::Bytes => Value::Bytes(n.to_be_bytes().to_vec().into()),
            Kind::Enum(_) => Value::EnumNumber([0, 1, 7, -3, 5][self.below(5)]),
            Kind::Message(message) => Value::Message(self.message(message, depth + 1)),
        }
    }

    /// A message with about half of its fields.
    fn message(&mut self, of: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(of.clone());
        if of.full_name() == "google.protobuf.Timestamp" {
            if self.below(4) > 0 {
                message.set_field_by_name("seconds", Value::I64(self.below(1 << 33) as i64));
            }
            if self.below(4) > 0 {
                let nanos = [0, 1, 999, 1000, 999_999_999, -1, 1_000_000_000][self.below(7)];
                message.set_field_by_name("nanos", Value::I32(nanos));
            }
            return message;
        }
        for field in of.fields() {
            let is_likely = matches!(field.number(), 1 | 2);
            if (self.below(2) == 0 && !is_likely) || depth > 2 {
                continue;
            }
            let value = if field.is_map() {
                continue;
            } else if field.is_list() {
                let length = self.below(4);
                Value::List(
                    (0..length)
                        .map(|_| self.value(&field.kind(), depth))
                        .collect(),
                )
            } else {
                self.value(&field.kind(), depth)
            };
            message.set_field(&field, value);
        }
        message
    }
}

/// What a column must hold of a message; `None` when its value does not fit.
fn expected(message: &DynamicMessage, column: &Column) -> Option<Cell> {
    let Some(field) = message.descriptor().get_field_by_name(column.name) else {
        return Some(Cell::Null);
    };
    if field.supports_presence() && !message.has_field(&field) {
        return Some(Cell::Null);
    }
    let value = message.get_field(&field);
    let scalar = |value: &Value| match value {
        Value::I32(n) => Some(Cell::Integer((*n).into())),
        Value::I64(n) => Some(Cell::Integer(*n)),
        Value::U32(n) => Some(Cell::Integer((*n).into())),
        Value::U64(n) => i64::try_from(*n).ok().map(Cell::Integer),
        Value::F32(n) => Some(Cell::Float(f64::from(*n).to_bits())),
        Value::F64(n) => Some(Cell::Float(n.to_bits())),
        Value::Bool(is) => Some(Cell::Boolean(*is)),
        Value::String(text) => Some(Cell::Text(text.clone())),
        Value::Bytes(bytes) => Some(Cell::Bytes(bytes.to_vec())),
        other => panic!("no column has {other:?}"),
    };
    match (&*value, field.kind()) {
        (Value::EnumNumber(number), Kind::Enum(of)) => of
            .get_value(*number)
            .map(|value| Cell::Text(value.name().to_owned())),
        (Value::Message(inner), _) => {
            let get = |name: &str| inner.get_field_by_name(name).expect("a field").into_owned();
            if inner.descriptor().full_name() != "google.protobuf.Timestamp" {
                return scalar(&get("value"));
            }
            let (Value::I64(seconds), Value::I32(nanos)) = (get("seconds"), get("nanos")) else {
                panic!("a timestamp of other parts")
            };
            let micros = seconds.checked_mul(1_000_000);
            let micros = micros.and_then(|m| m.checked_add(i64::from(nanos) / 1000));
            micros
                .filter(|_| (0..1_000_000_000).contains(&nanos))
                .map(Cell::Integer)
        }
        (value, _) => scalar(value),
    }
}

/// Decodes a record between two good ones, and compares it with what prost-reflect makes of it.
fn compare(
    is_proto3: bool,
    message: &str,
    indexes: &[u8],
    bytes: &[u8],
) -> Result<(), TestCaseError> {
    let registered = registered(&every_kind(is_proto3), &[]);
    let mut decoder = decoder(COLUMNS, std::slice::from_ref(&registered));
    let messages = schema::messages(&registered).expect("a schema");
    let (_, of) = messages
        .into_iter()
        .find(|(_, of)| of.name() == message)
        .expect("the message");
    // `a`, and one second.
    let good = framed(1, &[0], &[0x0a, 1, b'a', 0x12, 2, 0x08, 1]);
    let record = framed(1, indexes, bytes);
    let decoded = decoder.decode(&raw_batch(&[Some(&good), Some(&record), Some(&good)]));
    let last = decoded.rows.len() - 1;
    prop_assert_eq!((decoded.rows[0], decoded.rows[last]), (0, 2));
    for place in [0, last] {
        let neighbour = row(&decoded, COLUMNS, place);
        prop_assert_eq!(&neighbour[0], &Cell::Text("a".to_owned()));
        prop_assert_eq!(&neighbour[1], &Cell::Integer(1_000_000));
    }
    match (DynamicMessage::decode(of, bytes), failure(&decoded)) {
        (Err(theirs), ours) => {
            let error_type = ours.map(|(error_type, _)| error_type);
            prop_assert_eq!(error_type, Some(ErrorType::Malformed), "theirs: {}", theirs);
        }
        (Ok(theirs), ours) => {
            let cells: Option<Vec<Cell>> = COLUMNS
                .iter()
                .map(|column| expected(&theirs, column))
                .collect();
            let cells = cells.filter(|cells| {
                !matches!(&cells[0], Cell::Null)
                    && cells[0] != Cell::Text(String::new())
                    && cells[1] != Cell::Null
            });
            match (cells, ours) {
                (Some(cells), None) => prop_assert_eq!(row(&decoded, COLUMNS, 1), cells),
                (Some(_), Some(ours)) => prop_assert!(false, "theirs is fine, ours is {ours:?}"),
                (None, None) => prop_assert!(false, "a value that does not fit landed"),
                (None, Some((error_type, why))) => {
                    prop_assert!(error_type != ErrorType::Malformed, "{}", why);
                }
            }
        }
    }
    Ok(())
}

proptest! {
    /// Messages written one behind the other are one message: the last of a field counts, of a oneof the last
    /// member, and messages inside are merged.
    #[test]
    fn what_prost_writes_is_read(seed: u64, is_proto3: bool, count in 1usize..4) {
        let mut draw = Draw(seed);
        let registered = registered(&every_kind(is_proto3), &[]);
        let messages = schema::messages(&registered).expect("a schema");
        for (name, indexes) in [("Flat", &[0][..]), ("Deep", &[2, 2])] {
            let (_, of) = messages.iter().find(|(_, of)| of.name() == name).expect("the message");
            let mut bytes = Vec::new();
            for _ in 0..count {
                bytes.extend(draw.message(of, 0).encode_to_vec());
            }
            compare(is_proto3, name, indexes, &bytes)?;
        }
    }

    #[test]
    fn a_changed_record_is_taken_only_where_prost_takes_it(
        seed: u64, is_proto3: bool,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0u8..4), 1..4)
    ) {
        let registered = registered(&every_kind(is_proto3), &[]);
        let messages = schema::messages(&registered).expect("a schema");
        let (_, of) = messages.iter().find(|(_, of)| of.name() == "Flat").expect("the message");
        let mut bytes = Draw(seed).message(of, 0).encode_to_vec();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len() + 1);
            match how {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, byte),
                _ if at == bytes.len() => bytes.push(byte),
                2 => bytes[at] = byte,
                _ => drop(bytes.remove(at)),
            }
        }
        compare(is_proto3, "Flat", &[0], &bytes)?;
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let mut decoder = decoder(COLUMNS, &[registered(&every_kind(true), &[])]);
        let decoded = decoder.decode(&raw_batch(&[Some(bytes.clone()), Some(framed(1, &[], &bytes))]));
        prop_assert_eq!(decoded.rows.len() + decoded.failures.len(), 2);
    }
}

proptest! {
    /// The parser is not ours, and what a registry holds is not either.
    #[test]
    fn no_schema_makes_it_panic(
        is_proto3: bool,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), 0usize..40, "[a-z{}();=\"<>0-9 ]{0,8}"), 1..6)
    ) {
        let mut text = every_kind(is_proto3);
        for (at, length, insert) in changes {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            text.replace_range(at..end, &insert);
        }
        let mut decoder = decoder(COLUMNS, &[registered(&text, &[])]);
        let decoded = decoder.decode(&raw_batch(&[Some(framed(1, &[0], &[0x0a, 1, b'a']))]));
        prop_assert_eq!(decoded.rows.len() + decoded.failures.len(), 1);
    }
}

// Schemas -----------------------------------------------------------------------------------------------

const ID_AND_TIME: &[Column] = &[
    Column::required("event_id", ColumnType::String),
    Column::required("event_time", ColumnType::Timestamptz),
    Column::optional("total", ColumnType::Long).aliases(&["amount"]),
];

/// `a`, 1 ms, and a third field of 7.
const SMALL: [u8; 7] = [0x0a, 1, b'a', 0x10, 1, 0x18, 7];

const EVENT: &str = "string event_id = 1; int64 event_time = 2;";

#[test]
fn message_indexes_name_the_message() {
    let schema = format!(
        r#"syntax = "proto3";
        message First {{ map<string, int32> counts = 1; message Inner {{ {EVENT} int64 total = 3; }} }}
        message Second {{
            message A {{}}
            message B {{ message C {{ {EVENT} int32 amount = 3; }} }}
        }}
        message Third {{ {EVENT} }}"#
    );
    let mut decoder = decoder(ID_AND_TIME, &[registered(&schema, &[])]);
    let mut decode = |indexes: &[u8]| {
        let decoded = decoder.decode(&raw_batch(&[Some(framed(1, indexes, &SMALL))]));
        match failure(&decoded) {
            None => Ok(row(&decoded, ID_AND_TIME, 0)[2].clone()),
            Some((error_type, message)) => Err((error_type, message.to_owned())),
        }
    };
    // As zig-zag: [0, 1], behind the entry of the map; [1, 1, 0]; [2].
    assert_eq!(decode(&[4, 0, 2]), Ok(Cell::Integer(7)));
    assert_eq!(decode(&[6, 2, 2, 0]), Ok(Cell::Integer(7)));
    assert_eq!(decode(&[2, 4]), Ok(Cell::Null));
    let mut fails = |indexes: &[u8], error_type, part: &str| {
        let (found, message) = decode(indexes).expect_err("a failure");
        assert_eq!(found, error_type, "{message}");
        assert!(message.contains(part), "{message}");
    };
    // `[0]` in full and in short: a message without an event id.
    fails(&[2, 0], ErrorType::MissingEventId, "message `First`");
    fails(&[0], ErrorType::MissingEventId, "message `First`");
    fails(&[2, 6], ErrorType::Malformed, "[3] name no message");
    fails(&[4, 0, 8], ErrorType::Malformed, "[0, 4] name no message");
    fails(&[2, 1], ErrorType::Malformed, "[-1] name no message");
    fails(&[1], ErrorType::Malformed, "a number of indexes");
    fails(&[0xff; 20], ErrorType::Malformed, "more than 64 bits");
}

#[test]
fn imports_come_from_the_registry_and_the_well_known_ones_need_no_reference() {
    let shared = format!(r#"syntax = "proto3"; package shared; message Base {{ {EVENT} }}"#);
    let middle = r#"syntax = "proto3"; import public "shared/base.proto";"#;
    let schema = r#"syntax = "proto3";
        package shop;
        import "middle.proto";
        import "google/protobuf/timestamp.proto";
        import "confluent/meta.proto";
        import "confluent/type/decimal.proto";
        import "google/type/date.proto";
        import "google/type/timeofday.proto";
        option (confluent.file_meta) = { doc: "orders" };
        message Order {
            string event_id = 1 [(confluent.field_meta) = { params: [{ key: "k", value: "v" }] }];
            google.protobuf.Timestamp event_time = 2;
            confluent.type.Decimal price = 3;
            google.type.Date day = 4;
            google.type.TimeOfDay at = 5;
            shared.Base base = 6;
        }"#;
    let columns = &[
        Column::required("event_id", ColumnType::String),
        Column::required("event_time", ColumnType::Timestamptz),
        Column::optional(
            "price",
            ColumnType::Decimal {
                precision: 10,
                scale: 3,
            },
        ),
        Column::optional("day", ColumnType::Date),
        Column::optional("at", ColumnType::Time),
    ];
    let schema = registered(
        schema,
        &[("shared/base.proto", &shared), ("middle.proto", middle)],
    );
    let mut decoder = decoder(columns, &[schema]);
    let message = [
        &[0x0a, 1, b'a', 0x12, 2, 0x08, 1][..],
        // 0x04d2 of scale 2; 1970-01-03; 01:00:00.000001
        &[0x1a, 8, 0x0a, 2, 0x04, 0xd2, 0x10, 9, 0x18, 2],
        &[0x22, 7, 0x08, 0xb2, 0x0f, 0x10, 1, 0x18, 3],
        &[0x2a, 5, 0x08, 1, 0x20, 0xe8, 0x07],
        // An unknown group with a group inside, and a message that is skipped.
        &[
            0x7b, 0x83, 0x01, 0x08, 1, 0x84, 0x01, 0x7c, 0x32, 2, 0xff, 0xff,
        ],
    ]
    .concat();
    let decoded = decoder.decode(&raw_batch(&[Some(framed(1, &[0], &message))]));
    assert_eq!(failure(&decoded), None);
    assert_eq!(
        row(&decoded, columns, 0)[2..],
        [
            Cell::Decimal(12_340),
            Cell::Integer(2),
            Cell::Integer(3_600_000_001)
        ]
    );
}

#[test]
fn what_confluents_registry_has_built_in_can_be_imported() {
    for (name, _) in super::imports::BUILT_IN {
        let text = format!(r#"syntax = "proto3"; import "{name}"; message Event {{ {EVENT} }}"#);
        let messages = schema::messages(&registered(&text, &[]));
        assert!(messages.is_ok(), "{name}: {messages:?}");
    }
}

/// As confluent-kafka's serializer in Python registers it, and as a registry may hand it out.
#[test]
fn a_schema_may_be_a_file_descriptor_in_base64() {
    let text = format!(r#"syntax = "proto3"; message Event {{ {EVENT} int64 total = 3; }}"#);
    let (_, message) = &schema::messages(&registered(&text, &[])).expect("a schema")[0];
    let mut file = message.parent_file().file_descriptor_proto().clone();
    file.name = Some("event.proto".to_owned());
    let encoded = STANDARD.encode(file.encode_to_vec());
    let mut decoder = decoder(ID_AND_TIME, &[registered(&encoded, &[])]);
    let decoded = decoder.decode(&raw_batch(&[Some(framed(1, &[0], &SMALL))]));
    assert_eq!(failure(&decoded), None);
    assert_eq!(row(&decoded, ID_AND_TIME, 0)[2], Cell::Integer(7));
}

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
