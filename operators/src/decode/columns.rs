//! Columns under construction: append-only, cut back when a record turns out bad, one Arrow array each
//! at the end of the batch.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int64Array, RecordBatch, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder, NullBuffer, ScalarBuffer};
use arrow_schema::SchemaRef;

use super::bytes::{BytesBuilder, MapsBuilder};
use super::quoted::QuotedDecimal;
use super::strings::{ColumnFull, StringsBuilder};
use crate::job::{IntegerTimestamps, QuotedBinaries};
use crate::schema::ColumnType;

/// The values of one column, by type.
#[derive(Debug)]
pub(super) enum Values {
    Strings(StringsBuilder),
    Ints(Vec<i32>),
    Longs(Vec<i64>),
    Floats(Vec<f32>),
    Doubles(Vec<f64>),
    Booleans(Vec<bool>),
    Decimals {
        values: Vec<i128>,
        precision: u8,
        scale: u8,
    },
    Dates(Vec<i32>),
    Times(Vec<i64>),
    Timestamps {
        values: Vec<i64>,
        utc: bool,
    },
    Bytes(BytesBuilder),
    Maps(MapsBuilder),
}

/// What the integers and texts of a column stand for, where JSON leaves it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// What an integer of a time or timestamp counts.
    pub unit: Unit,
    /// What stands in quotes for a decimal.
    pub decimals: QuotedDecimal,
    /// What stands in quotes for bytes.
    pub binaries: QuotedBinaries,
    /// A setting of the job says what stands in quotes, and no schema: what is something else names the setting.
    pub by_setting: bool,
    /// `"true"` and `"false"` in quotes are booleans too, and `"NaN"`, `"Infinity"` and `"-Infinity"` are doubles.
    pub quoted_literals: bool,
    /// An object or array is text: its JSON.
    pub nested_text: bool,
    /// The record's schema says that the values are of another kind than the column's, though they may look as if they
    /// fitted: none of them does. Asked only where that can be: of integers for timestamps, and of the seldom types.
    pub refuses: bool,
}

impl Reading {
    /// As plain JSON says it.
    pub const PLAIN: Reading = Reading {
        unit: Unit::Millis,
        decimals: QuotedDecimal::Digits,
        binaries: QuotedBinaries::Bytes,
        by_setting: false,
        quoted_literals: false,
        nested_text: false,
        refuses: false,
    };
}

/// What an integer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

impl From<IntegerTimestamps> for Unit {
    fn from(counts: IntegerTimestamps) -> Unit {
        match counts {
            IntegerTimestamps::Millis => Unit::Millis,
            IntegerTimestamps::Micros => Unit::Micros,
            IntegerTimestamps::Nanos => Unit::Nanos,
        }
    }
}

impl Unit {
    /// As microseconds; nanoseconds are cut, towards the past.
    #[inline]
    pub fn to_micros(self, value: i64) -> Option<i64> {
        match self {
            Unit::Millis => value.checked_mul(1000),
            Unit::Micros => Some(value),
            Unit::Nanos => Some(value.div_euclid(1000)),
        }
    }
}

/// One column under construction.
#[derive(Debug)]
pub(super) struct ColumnBuilder {
    pub(super) values: Values,
    pub(super) reading: Reading,
    /// The rows that are null, ascending.
    nulls: Vec<usize>,
    /// `+00:00`, as the schema says it; shared by all arrays.
    utc: Arc<str>,
}

/// Says what a method of the builder does that is only for columns of one kind.
macro_rules! push {
    ($(#[$doc:meta])* $name:ident, $pattern:pat => $values:ident, $type:ty) => {
        $(#[$doc])*
        #[inline]
        pub fn $name(&mut self, value: $type) {
            match &mut self.values {
                $pattern => $values.push(value),
                // Whoever pushes has chosen the method by the column's type.
                _ => self.append_null(),
            }
        }
    };
}

impl ColumnBuilder {
    pub fn new(column_type: ColumnType) -> ColumnBuilder {
        let values = match column_type {
            ColumnType::String => Values::Strings(StringsBuilder::new()),
            ColumnType::Int => Values::Ints(Vec::new()),
            ColumnType::Long => Values::Longs(Vec::new()),
            ColumnType::Float => Values::Floats(Vec::new()),
            ColumnType::Double => Values::Doubles(Vec::new()),
            ColumnType::Boolean => Values::Booleans(Vec::new()),
            ColumnType::Decimal { precision, scale } => Values::Decimals {
                values: Vec::new(),
                precision,
                scale,
            },
            ColumnType::Date => Values::Dates(Vec::new()),
            ColumnType::Time => Values::Times(Vec::new()),
            ColumnType::Timestamp | ColumnType::Timestamptz => Values::Timestamps {
                values: Vec::new(),
                utc: column_type == ColumnType::Timestamptz,
            },
            ColumnType::Binary => Values::Bytes(BytesBuilder::new()),
            ColumnType::BinaryMap => Values::Maps(MapsBuilder::new()),
        };
        ColumnBuilder {
            values,
            reading: Reading::PLAIN,
            nulls: Vec::new(),
            utc: "+00:00".into(),
        }
    }

    /// Rows so far.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.values {
            Values::Strings(strings) => strings.len(),
            Values::Ints(values) | Values::Dates(values) => values.len(),
            Values::Longs(values) | Values::Times(values) => values.len(),
            Values::Timestamps { values, .. } => values.len(),
            Values::Floats(values) => values.len(),
            Values::Doubles(values) => values.len(),
            Values::Booleans(values) => values.len(),
            Values::Decimals { values, .. } => values.len(),
            Values::Bytes(values) => values.len(),
            Values::Maps(values) => values.len(),
        }
    }

    /// Cuts back to `rows` rows, and takes back what an unfinished string left.
    pub fn truncate(&mut self, rows: usize) {
        match &mut self.values {
            Values::Strings(strings) => strings.truncate(rows),
            Values::Ints(values) | Values::Dates(values) => values.truncate(rows),
            Values::Longs(values) | Values::Times(values) => values.truncate(rows),
            Values::Timestamps { values, .. } => values.truncate(rows),
            Values::Floats(values) => values.truncate(rows),
            Values::Doubles(values) => values.truncate(rows),
            Values::Booleans(values) => values.truncate(rows),
            Values::Decimals { values, .. } => values.truncate(rows),
            Values::Bytes(values) => values.truncate(rows),
            Values::Maps(values) => values.truncate(rows),
        }
        while self.nulls.last().is_some_and(|&row| row >= rows) {
            self.nulls.pop();
        }
    }

    /// Whether the last row is the empty string.
    pub fn ends_with_empty_string(&self) -> bool {
        match &self.values {
            Values::Strings(strings) => strings.ends_empty(),
            _ => false,
        }
    }

    /// Whether the last row is null.
    pub fn ends_with_null(&self) -> bool {
        self.nulls.last().is_some_and(|&row| row + 1 == self.len())
    }

    /// Whether row `at`, the last one, is not there yet or is null.
    #[inline]
    pub fn lacks(&self, at: usize) -> bool {
        self.len() == at || self.ends_with_null()
    }

    /// Whether the last row is a timestamp, and the epoch.
    #[inline]
    pub fn ends_with_epoch(&self) -> bool {
        match &self.values {
            // A null is one too here.
            Values::Timestamps { values, .. } => {
                values.last() == Some(&0) && !self.ends_with_null()
            }
            _ => false,
        }
    }

    /// Whether the last row is a string or bytes, and these.
    #[inline]
    pub fn ends_with_bytes(&self, value: &[u8]) -> bool {
        let last = match &self.values {
            Values::Strings(strings) => strings.last().as_bytes(),
            Values::Bytes(bytes) => bytes.last(),
            _ => return false,
        };
        last == value && !self.ends_with_null()
    }

    /// Adds a null row.
    pub fn append_null(&mut self) {
        self.nulls.push(self.len());
        match &mut self.values {
            Values::Strings(strings) => strings.push_placeholder(),
            Values::Ints(values) | Values::Dates(values) => values.push(0),
            Values::Longs(values) | Values::Times(values) => values.push(0),
            Values::Timestamps { values, .. } => values.push(0),
            Values::Floats(values) => values.push(0.0),
            Values::Doubles(values) => values.push(0.0),
            Values::Booleans(values) => values.push(false),
            Values::Decimals { values, .. } => values.push(0),
            Values::Bytes(values) => values.push_placeholder(),
            Values::Maps(values) => values.push_placeholder(),
        }
    }

    push!(/// Adds an int or the days of a date.
        push_int, Values::Ints(values) | Values::Dates(values) => values, i32);
    push!(/// Adds a float.
        push_float, Values::Floats(values) => values, f32);
    push!(/// Adds a double.
        push_double, Values::Doubles(values) => values, f64);
    push!(/// Adds a boolean.
        push_boolean, Values::Booleans(values) => values, bool);
    push!(/// Adds the unscaled integer of a decimal that fits the column.
        push_decimal, Values::Decimals { values, .. } => values, i128);

    /// Adds a long, or the microseconds of a time or timestamp.
    #[inline]
    pub fn push_long(&mut self, value: i64) {
        match &mut self.values {
            Values::Longs(values) | Values::Times(values) => values.push(value),
            Values::Timestamps { values, .. } => values.push(value),
            _ => self.append_null(),
        }
    }

    /// Adds a string.
    #[inline]
    pub fn push_string(&mut self, value: &str) -> Result<(), ColumnFull> {
        match &mut self.values {
            Values::Strings(strings) => {
                strings.push(value);
                strings.close_row()
            }
            _ => {
                self.append_null();
                Ok(())
            }
        }
    }

    /// Adds bytes.
    #[inline]
    pub fn push_bytes(&mut self, value: &[u8]) -> Result<(), ColumnFull> {
        match &mut self.values {
            Values::Bytes(bytes) => bytes.push(value),
            _ => {
                self.append_null();
                Ok(())
            }
        }
    }

    /// Adds a map.
    pub fn push_map<'a>(
        &mut self,
        entries: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
    ) -> Result<(), ColumnFull> {
        match &mut self.values {
            Values::Maps(maps) => {
                for (key, value) in entries {
                    maps.push(key, value)?;
                }
                maps.close_row()
            }
            _ => {
                self.append_null();
                Ok(())
            }
        }
    }

    /// The rows as an array; the builder is empty after. Room for as many rows is made again.
    pub fn finish(&mut self) -> ArrayRef {
        let rows = self.len();
        let nulls = self.take_nulls(rows);
        match &mut self.values {
            Values::Strings(strings) => Arc::new(strings.finish(nulls)),
            Values::Ints(values) => Arc::new(Int32Array::new(taken(values), nulls)),
            Values::Longs(values) => Arc::new(Int64Array::new(taken(values), nulls)),
            Values::Floats(values) => Arc::new(Float32Array::new(taken(values), nulls)),
            Values::Doubles(values) => Arc::new(Float64Array::new(taken(values), nulls)),
            Values::Booleans(values) => {
                let array = BooleanArray::new(BooleanBuffer::from(values.as_slice()), nulls);
                values.clear();
                Arc::new(array)
            }
            Values::Decimals {
                values,
                precision,
                scale,
            } => {
                let array = Decimal128Array::new(taken(values), nulls);
                // Said of columns whose precision and scale were checked when the job was.
                let array = array.with_precision_and_scale(*precision, *scale as i8);
                Arc::new(array.expect("a job's decimal columns are checked"))
            }
            Values::Dates(values) => Arc::new(Date32Array::new(taken(values), nulls)),
            Values::Times(values) => Arc::new(Time64MicrosecondArray::new(taken(values), nulls)),
            Values::Timestamps { values, utc } => {
                let array = TimestampMicrosecondArray::new(taken(values), nulls);
                match utc {
                    true => Arc::new(array.with_timezone(Arc::clone(&self.utc))),
                    false => Arc::new(array),
                }
            }
            Values::Bytes(values) => Arc::new(values.finish(nulls)),
            Values::Maps(values) => values.finish(nulls),
        }
    }

    fn take_nulls(&mut self, rows: usize) -> Option<NullBuffer> {
        if self.nulls.is_empty() {
            return None;
        }
        let mut valid = BooleanBufferBuilder::new(rows);
        valid.append_n(rows, true);
        for row in self.nulls.drain(..) {
            valid.set_bit(row, false);
        }
        Some(NullBuffer::new(valid.finish()))
    }
}

/// The columns of a batch; the builders are empty after.
pub(super) fn finish(schema: &SchemaRef, builders: &mut [ColumnBuilder]) -> RecordBatch {
    let arrays = builders.iter_mut().map(ColumnBuilder::finish).collect();
    // Cannot fail whatever the records say: each builder has one row a decoded record, the type of its
    // column, and nulls only where the column is optional.
    RecordBatch::try_new(schema.clone(), arrays)
        .expect("columns of the schema's types and one length")
}

/// The values, handed over without a copy; as much room is made for the next batch.
fn taken<T: arrow_buffer::ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    let next = Vec::with_capacity(values.len());
    ScalarBuffer::from(std::mem::replace(values, next))
}
