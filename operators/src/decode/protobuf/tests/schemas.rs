//! Which message of which file a record is: message indexes, imports, schemas in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protox::prost::Message;

use super::{EVENT, ID_AND_TIME, SMALL, decoder, failure, framed, registered};
use crate::decode::Decode;
use crate::decode::protobuf::{imports, schema};
use crate::decode::testing::{Cell, raw_batch, row};
use crate::record::ErrorType;
use crate::schema::{Column, ColumnType};

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
    for (name, _) in imports::BUILT_IN {
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
