//! What prost-reflect makes of a record, and the decoder compared with it.

use proptest::prelude::*;
use protox::prost_reflect::{DynamicMessage, Kind, ReflectMessage, Value};

use super::every_kind::{COLUMNS, every_kind};
use super::{decoder, failure, framed, registered};
use crate::decode::Decode;
use crate::decode::protobuf::schema;
use crate::decode::testing::{Cell, raw_batch, row};
use crate::record::ErrorType;
use crate::schema::Column;

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
pub(super) fn compare(
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
