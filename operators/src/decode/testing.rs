//! What the tests of decoders share.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef};
use bytes::Bytes;

use super::{Decode, Decoded};
use crate::credit::Budget;
use crate::record::{ErrorType, RawBatch, RawRecord, Span, TopicPartition};
use crate::schema::{Column, ColumnType};
use crate::time::EventTime;

/// splitmix64: what a test draws follows from its seed.
pub(super) struct Draw(pub u64);

impl Draw {
    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// A batch of records with these values, without keys and headers.
pub(super) fn raw_batch<V: AsRef<[u8]>>(values: &[Option<V>]) -> RawBatch {
    let mut arena = Vec::new();
    let mut records = Vec::new();
    for (i, value) in values.iter().enumerate() {
        let start = arena.len() as u32;
        let value = value.as_ref().map(|value| {
            arena.extend_from_slice(value.as_ref());
            Span {
                start,
                end: arena.len() as u32,
            }
        });
        records.push(RawRecord {
            offset: i as i64,
            timestamp: None,
            key: None,
            value,
        });
    }
    RawBatch {
        source: TopicPartition::new("t", 0),
        start: 0,
        next: values.len() as i64,
        leader_epoch: None,
        received_at: EventTime(0),
        arena: Bytes::from(arena),
        records,
        headers: None,
        credit: Budget::new(1).take(0),
    }
}

/// A value in a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(u64),
    Text(String),
    Bytes(Vec<u8>),
    Decimal(i128),
}

fn cell(array: &ArrayRef, column: ColumnType, row: usize) -> Cell {
    use ColumnType as C;
    if array.is_null(row) {
        return Cell::Null;
    }
    match column {
        C::String => Cell::Text(array.as_string::<i32>().value(row).to_owned()),
        C::Int => Cell::Integer(array.as_primitive::<Int32Type>().value(row).into()),
        C::Long => Cell::Integer(array.as_primitive::<Int64Type>().value(row)),
        C::Float => {
            Cell::Float(f64::from(array.as_primitive::<Float32Type>().value(row)).to_bits())
        }
        C::Double => Cell::Float(array.as_primitive::<Float64Type>().value(row).to_bits()),
        C::Boolean => Cell::Boolean(array.as_boolean().value(row)),
        C::Date => Cell::Integer(array.as_primitive::<Date32Type>().value(row).into()),
        C::Time => Cell::Integer(array.as_primitive::<Time64MicrosecondType>().value(row)),
        C::Timestamptz | C::Timestamp => {
            Cell::Integer(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        C::Binary => Cell::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        C::Decimal { .. } => Cell::Decimal(array.as_primitive::<Decimal128Type>().value(row)),
        C::BinaryMap => panic!("no test compares maps"),
    }
}

/// The row of these columns.
pub(super) fn row(decoded: &Decoded, columns: &[Column], row: usize) -> Vec<Cell> {
    let places = columns.iter().enumerate();
    places
        .map(|(place, column)| cell(decoded.columns.column(place), column.column_type, row))
        .collect()
}

/// Bytes of a text that is longer than most are, and may be.
pub(super) const LONG_TEXT: usize = 10_000_000;

/// A record that is as long as the limit lands, and one that is longer by a byte is too large. `decoder` makes one of
/// this limit. Returns what has landed.
pub(super) fn lands_up_to_the_limit<D: Decode>(
    value: &[u8],
    decoder: impl Fn(u64) -> D,
) -> Decoded {
    let limit = value.len() as u64;
    let beyond = decoder(limit - 1).decode(&raw_batch(&[Some(value)]));
    let failures: Vec<ErrorType> = beyond.failures.iter().map(|f| f.error_type).collect();
    assert_eq!(failures, [ErrorType::TooLarge]);
    assert_eq!(beyond.columns.num_rows(), 0);
    let within = decoder(limit).decode(&raw_batch(&[Some(value)]));
    assert_eq!(within.failures, []);
    within
}

/// A record, and what it fails with, if it does: the type, and a part of the message.
pub(super) type Cause = (Option<Vec<u8>>, Option<(ErrorType, &'static str)>);

/// Each record of a batch lands, or fails as it should.
pub(super) fn each_cause(decoder: &mut dyn Decode, causes: &[Cause]) {
    let values: Vec<Option<Vec<u8>>> = causes.iter().map(|(value, _)| value.clone()).collect();
    let decoded = decoder.decode(&raw_batch(&values));
    let mut failures = decoded.failures.iter();
    for (place, (_, expected)) in causes.iter().enumerate() {
        match expected {
            None => assert!(
                decoded.rows.contains(&(place as u32)),
                "record {place} lands"
            ),
            Some((error_type, part)) => {
                let failure = failures.next().expect("a failure");
                assert_eq!(failure.record, place as u32, "{}", failure.message);
                assert_eq!(failure.error_type, *error_type, "{}", failure.message);
                assert!(failure.message.contains(part), "{}", failure.message);
            }
        }
    }
    assert_eq!(failures.next(), None);
}
