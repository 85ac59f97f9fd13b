//! What a field's value becomes in its column.

use hashbrown::HashMap;
use protox::prost_reflect::{FieldDescriptor, Kind};

use super::super::columns::{ColumnBuilder, Unit};
use super::wire::Wire;
use crate::decode::{decimal, timestamp};
use crate::schema::ColumnType;

/// Microseconds in a day.
const DAY: i64 = 86_400_000_000;

/// Digits of the largest integer of 64 bits without a sign.
const UINT64_DIGITS: u8 = 20;

/// The unscaled bytes of a Decimal's scale, at most: far beyond any column.
const MAX_SCALE: i32 = 10_000;

/// What a record says of a target so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    /// Whether the field was there.
    pub is_set: bool,
    /// A scalar in the first; of a message of numbers its fields.
    pub numbers: [u64; 4],
    /// Where in the record the bytes are.
    pub span: (usize, usize),
}

/// Where a part of a message goes, one of the messages that are values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub field: u32,
    pub wire: Wire,
    /// The place among a slot's numbers; bytes have but one.
    pub place: usize,
    pub is_text: bool,
}

const fn number(field: u32, wire: Wire) -> Part {
    Part {
        field,
        wire,
        place: field as usize - 1,
        is_text: false,
    }
}

const fn varint(field: u32) -> Part {
    number(field, Wire::Varint)
}

const fn bytes(is_text: bool) -> Part {
    Part {
        field: 1,
        wire: Wire::Length,
        place: 0,
        is_text,
    }
}

/// How an integer is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    Int32,
    Uint32,
    Sint32,
    Int64,
    Uint64,
    Sint64,
}

impl Whole {
    /// The integer. Those of 32 bits are cut to them, as the specification has it.
    #[inline]
    fn of(self, raw: u64) -> i128 {
        match self {
            Whole::Int32 => i128::from(raw as i32),
            Whole::Uint32 => i128::from(raw as u32),
            Whole::Sint32 => {
                let raw = raw as u32;
                i128::from((raw >> 1) as i32 ^ -((raw & 1) as i32))
            }
            Whole::Int64 => i128::from(raw as i64),
            Whole::Uint64 => i128::from(raw),
            Whole::Sint64 => i128::from((raw >> 1) as i64 ^ -((raw & 1) as i64)),
        }
    }

    fn has_32_bits(self) -> bool {
        matches!(self, Whole::Int32 | Whole::Uint32 | Whole::Sint32)
    }
}

/// A field's type, those messages included that are values.
#[derive(Clone, Debug)]
enum Value {
    Whole(Whole),
    Float,
    Double,
    Boolean,
    Text,
    Bytes,
    Enum(HashMap<i32, String>),
    Timestamp,
    Date,
    TimeOfDay,
    Decimal,
}

/// How a value is read into its column.
#[derive(Clone, Debug)]
pub(super) enum Conversion {
    Text,
    BytesAsText,
    Symbol(HashMap<i32, String>),
    Int(Whole),
    Long(Whole),
    Float,
    Double,
    FloatAsDouble,
    WholeAsFloat(Whole),
    WholeAsDouble(Whole),
    Boolean,
    EpochMillis(Whole),
    TextTimestamp,
    TextDate,
    TextTime,
    Timestamp,
    Date,
    TimeOfDay,
    Decimal { precision: u8, scale: u8 },
    DecimalText { precision: u8, scale: u8 },
    DecimalWhole { of: Whole, precision: u8, scale: u8 },
    Bytes,
}

/// How a field is encoded that is not repeated.
pub(super) fn wire_of(kind: &Kind, is_group: bool) -> Wire {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => Wire::Fixed64,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => Wire::Fixed32,
        Kind::String | Kind::Bytes => Wire::Length,
        Kind::Message(_) if is_group => Wire::Group,
        Kind::Message(_) => Wire::Length,
        _ => Wire::Varint,
    }
}

/// The value of a field that holds one, and the parts of it when it is a message.
fn value_of(field: &FieldDescriptor) -> Option<(Value, Option<&'static [Part]>)> {
    const WRAPPED_VARINT: &[Part] = &[varint(1)];
    const WRAPPED_FLOAT: &[Part] = &[number(1, Wire::Fixed32)];
    const WRAPPED_DOUBLE: &[Part] = &[number(1, Wire::Fixed64)];
    const WRAPPED_TEXT: &[Part] = &[bytes(true)];
    const WRAPPED_BYTES: &[Part] = &[bytes(false)];
    const DECIMAL: &[Part] = &[bytes(false), varint(2), varint(3)];
    const THREE: &[Part] = &[varint(1), varint(2), varint(3)];
    const FOUR: &[Part] = &[varint(1), varint(2), varint(3), varint(4)];
    const TWO: &[Part] = &[varint(1), varint(2)];
    if field.is_list() || field.is_map() || field.is_group() {
        return None;
    }
    let scalar = match field.kind() {
        Kind::Int32 | Kind::Sfixed32 => Value::Whole(Whole::Int32),
        Kind::Uint32 | Kind::Fixed32 => Value::Whole(Whole::Uint32),
        Kind::Sint32 => Value::Whole(Whole::Sint32),
        Kind::Int64 | Kind::Sfixed64 => Value::Whole(Whole::Int64),
        Kind::Uint64 | Kind::Fixed64 => Value::Whole(Whole::Uint64),
        Kind::Sint64 => Value::Whole(Whole::Sint64),
        Kind::Float => Value::Float,
        Kind::Double => Value::Double,
        Kind::Bool => Value::Boolean,
        Kind::String => Value::Text,
        Kind::Bytes => Value::Bytes,
        Kind::Enum(of) => Value::Enum(
            of.values()
                // Of several names for one number the first, as everyone prints it.
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .map(|value| (value.number(), value.name().to_owned()))
                .collect(),
        ),
        Kind::Message(message) => {
            let (value, parts) = match message.full_name() {
                "google.protobuf.Timestamp" => (Value::Timestamp, TWO),
                "google.protobuf.Int32Value" => (Value::Whole(Whole::Int32), WRAPPED_VARINT),
                "google.protobuf.UInt32Value" => (Value::Whole(Whole::Uint32), WRAPPED_VARINT),
                "google.protobuf.Int64Value" => (Value::Whole(Whole::Int64), WRAPPED_VARINT),
                "google.protobuf.UInt64Value" => (Value::Whole(Whole::Uint64), WRAPPED_VARINT),
                "google.protobuf.BoolValue" => (Value::Boolean, WRAPPED_VARINT),
                "google.protobuf.FloatValue" => (Value::Float, WRAPPED_FLOAT),
                "google.protobuf.DoubleValue" => (Value::Double, WRAPPED_DOUBLE),
                "google.protobuf.StringValue" => (Value::Text, WRAPPED_TEXT),
                "google.protobuf.BytesValue" => (Value::Bytes, WRAPPED_BYTES),
                "google.type.Date" => (Value::Date, THREE),
                "google.type.TimeOfDay" => (Value::TimeOfDay, FOUR),
                "confluent.type.Decimal" => (Value::Decimal, DECIMAL),
                _ => return None,
            };
            return Some((value, Some(parts)));
        }
    };
    Some((scalar, None))
}

/// The column type that holds every value of a field; `None` when there is none, as of a `confluent.type.Decimal`, whose
/// scale only a value tells.
pub(super) fn column_type(field: &FieldDescriptor) -> Option<ColumnType> {
    let (value, _) = value_of(field)?;
    Some(match value {
        Value::Whole(Whole::Int32 | Whole::Sint32) => ColumnType::Int,
        Value::Whole(Whole::Uint32 | Whole::Int64 | Whole::Sint64) => ColumnType::Long,
        Value::Whole(Whole::Uint64) => ColumnType::Decimal {
            precision: UINT64_DIGITS,
            scale: 0,
        },
        Value::Float => ColumnType::Float,
        Value::Double => ColumnType::Double,
        Value::Boolean => ColumnType::Boolean,
        Value::Text | Value::Enum(_) => ColumnType::String,
        Value::Bytes => ColumnType::Binary,
        Value::Timestamp => ColumnType::Timestamptz,
        Value::Date => ColumnType::Date,
        Value::TimeOfDay => ColumnType::Time,
        Value::Decimal => return None,
    })
}

/// How a field's values are read into a column; `None` when they do not fit.
pub(super) fn resolve(
    field: &FieldDescriptor,
    column: ColumnType,
) -> Option<(Conversion, Option<&'static [Part]>)> {
    use ColumnType as C;
    let (value, parts) = value_of(field)?;
    let conversion = match (column, value) {
        (C::String, Value::Text) => Conversion::Text,
        (C::String, Value::Bytes) => Conversion::BytesAsText,
        (C::String, Value::Enum(symbols)) => Conversion::Symbol(symbols),
        (C::Int, Value::Whole(of)) if of.has_32_bits() => Conversion::Int(of),
        (C::Long, Value::Whole(of)) => Conversion::Long(of),
        (C::Float, Value::Float) => Conversion::Float,
        (C::Float, Value::Whole(of)) => Conversion::WholeAsFloat(of),
        (C::Double, Value::Double) => Conversion::Double,
        (C::Double, Value::Float) => Conversion::FloatAsDouble,
        (C::Double, Value::Whole(of)) => Conversion::WholeAsDouble(of),
        (C::Boolean, Value::Boolean) => Conversion::Boolean,
        (C::Timestamptz, Value::Timestamp) => Conversion::Timestamp,
        (C::Timestamptz | C::Timestamp, Value::Whole(of)) if !of.has_32_bits() => {
            Conversion::EpochMillis(of)
        }
        (C::Timestamptz | C::Timestamp, Value::Text) => Conversion::TextTimestamp,
        (C::Date, Value::Text) => Conversion::TextDate,
        (C::Date, Value::Date) => Conversion::Date,
        (C::Time, Value::Text) => Conversion::TextTime,
        (C::Time, Value::TimeOfDay) => Conversion::TimeOfDay,
        (C::Binary, Value::Bytes | Value::Text) => Conversion::Bytes,
        (C::Decimal { precision, scale }, value) => match value {
            Value::Decimal => Conversion::Decimal { precision, scale },
            Value::Text => Conversion::DecimalText { precision, scale },
            Value::Whole(of) => Conversion::DecimalWhole {
                of,
                precision,
                scale,
            },
            _ => return None,
        },
        _ => return None,
    };
    Some((conversion, parts))
}

impl Conversion {
    /// Adds the value of a slot to its column, or says why it does not fit. Of a slot that is not set this is
    /// the default of its type.
    pub fn append(
        &self,
        slot: &Slot,
        record: &[u8],
        builder: &mut ColumnBuilder,
    ) -> Result<(), &'static str> {
        const FULL: &str = "the text of the batch is too long";
        let [first, ..] = slot.numbers;
        let bytes = &record[slot.span.0..slot.span.1];
        match self {
            Conversion::Text => {
                let text = text(bytes)?;
                builder.push_string(text).map_err(|_| FULL)?;
            }
            Conversion::BytesAsText => {
                let text = text(bytes).map_err(|_| "the bytes are not UTF-8")?;
                builder.push_string(text).map_err(|_| FULL)?;
            }
            Conversion::Symbol(symbols) => {
                let symbol = symbols
                    .get(&(first as i32))
                    .ok_or("a number that the enum has no symbol for")?;
                builder.push_string(symbol).map_err(|_| FULL)?;
            }
            Conversion::Int(of) => {
                let value = i32::try_from(of.of(first));
                builder.push_int(value.map_err(|_| "more than the 31 bits of an int")?);
            }
            Conversion::Long(of) => {
                let value = i64::try_from(of.of(first));
                builder.push_long(value.map_err(|_| "more than the 63 bits of a long")?);
            }
            Conversion::Float => builder.push_float(f32::from_bits(first as u32)),
            Conversion::Double => builder.push_double(f64::from_bits(first)),
            Conversion::FloatAsDouble => builder.push_double(f32::from_bits(first as u32).into()),
            Conversion::WholeAsFloat(of) => builder.push_float(of.of(first) as f32),
            Conversion::WholeAsDouble(of) => builder.push_double(of.of(first) as f64),
            Conversion::Boolean => builder.push_boolean(first != 0),
            Conversion::EpochMillis(of) => {
                let millis = i64::try_from(of.of(first)).ok();
                let micros = millis.and_then(|millis| Unit::Millis.to_micros(millis));
                builder.push_long(micros.ok_or("out of range in microseconds")?);
            }
            Conversion::TextTimestamp => builder.push_long(timestamp::parse(bytes)?),
            Conversion::TextDate => builder.push_int(timestamp::parse_date(bytes)?),
            Conversion::TextTime => builder.push_long(timestamp::parse_time(bytes)?),
            Conversion::Timestamp => {
                let [seconds, nanos, ..] = slot.numbers;
                let nanos = i64::from(nanos as i32);
                if !(0..1_000_000_000).contains(&nanos) {
                    return Err("the nanoseconds of a Timestamp go from 0 to 999,999,999");
                }
                let micros = (seconds as i64)
                    .checked_mul(1_000_000)
                    .and_then(|micros| micros.checked_add(nanos / 1000));
                builder.push_long(micros.ok_or("out of range in microseconds")?);
            }
            Conversion::Date => {
                let [year, month, day, _] = slot.numbers.map(|n| i64::from(n as i32));
                builder.push_int(timestamp::date_of(year, month, day)?);
            }
            Conversion::TimeOfDay => {
                let [hours, minutes, seconds, nanos] = slot.numbers.map(|n| i64::from(n as i32));
                let is_time = (0..24).contains(&hours)
                    && (0..60).contains(&minutes)
                    && (0..60).contains(&seconds)
                    && (0..1_000_000_000).contains(&nanos);
                let micros = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + nanos / 1000;
                match is_time && micros < DAY {
                    true => builder.push_long(micros),
                    false => return Err("no time of a day"),
                }
            }
            Conversion::Decimal { precision, scale } => {
                let from = slot.numbers[2] as i32;
                if from.unsigned_abs() > MAX_SCALE.unsigned_abs() {
                    return Err("a scale beyond all bounds");
                }
                let value = decimal::from_bytes(bytes)
                    .and_then(|value| decimal::rescale(value, from, *precision, *scale));
                builder.push_decimal(value.map_err(decimal::Unfit::reason)?);
            }
            Conversion::DecimalText { precision, scale } => {
                let value = decimal::parse(text(bytes)?, *precision, *scale);
                builder.push_decimal(value.map_err(decimal::Unfit::reason)?);
            }
            Conversion::DecimalWhole {
                of,
                precision,
                scale,
            } => {
                let value = decimal::rescale(of.of(first), 0, *precision, *scale);
                builder.push_decimal(value.map_err(decimal::Unfit::reason)?);
            }
            Conversion::Bytes => builder.push_bytes(bytes).map_err(|_| FULL)?,
        }
        Ok(())
    }
}

fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| "a string that is not UTF-8")
}

/// A field's type, for a person.
pub(super) fn name_of(field: &FieldDescriptor) -> String {
    let name = match field.kind() {
        Kind::Message(message) if field.is_group() => format!("group {}", message.full_name()),
        Kind::Message(message) if !field.is_map() => format!("message {}", message.full_name()),
        Kind::Enum(of) => format!("enum {}", of.full_name()),
        other => format!("{other:?}").to_lowercase(),
    };
    match () {
        () if field.is_map() => "a map".to_owned(),
        () if field.is_list() => format!("repeated {name}"),
        () => name,
    }
}
