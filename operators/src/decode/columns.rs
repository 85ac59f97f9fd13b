//! Columns under construction: append-only, cut back when a record turns out bad, one Arrow array each
//! at the end of the batch.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, TimestampMicrosecondArray,
};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder, NullBuffer, ScalarBuffer};

use super::scan::{Malformed, Scanner};
use super::strings::StringsBuilder;
use super::timestamp;
use crate::schema::ColumnType;

/// What a field's value did to its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// One row was added.
    Value,
    /// One row was added: the empty string.
    EmptyString,
    /// The value is null; nothing was added.
    Nothing,
}

/// Why a field's value is not in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// It is no JSON value.
    Malformed(Malformed),
    /// It is (or may be) a JSON value, but not one of the column's type; more about that, if there is.
    Mismatch(&'static str),
}

impl From<Malformed> for Misfit {
    fn from(malformed: Malformed) -> Misfit {
        Misfit::Malformed(malformed)
    }
}

/// The values of one column, by type.
#[derive(Debug)]
enum Values {
    Strings(StringsBuilder),
    Ints(Vec<i32>),
    Longs(Vec<i64>),
    Doubles(Vec<f64>),
    Booleans(Vec<bool>),
    Timestamps(Vec<i64>),
}

/// One column under construction.
#[derive(Debug)]
pub(super) struct ColumnBuilder {
    values: Values,
    /// The rows that are null, ascending.
    nulls: Vec<usize>,
    /// `+00:00`, as the schema says it; shared by all arrays.
    utc: Arc<str>,
}

impl ColumnBuilder {
    pub fn new(column_type: ColumnType) -> ColumnBuilder {
        let values = match column_type {
            ColumnType::String => Values::Strings(StringsBuilder::new()),
            ColumnType::Int => Values::Ints(Vec::new()),
            ColumnType::Long => Values::Longs(Vec::new()),
            ColumnType::Double => Values::Doubles(Vec::new()),
            ColumnType::Boolean => Values::Booleans(Vec::new()),
            ColumnType::Timestamptz => Values::Timestamps(Vec::new()),
        };
        ColumnBuilder {
            values,
            nulls: Vec::new(),
            utc: "+00:00".into(),
        }
    }

    /// Rows so far.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.values {
            Values::Strings(strings) => strings.len(),
            Values::Ints(values) => values.len(),
            Values::Longs(values) | Values::Timestamps(values) => values.len(),
            Values::Doubles(values) => values.len(),
            Values::Booleans(values) => values.len(),
        }
    }

    /// Cuts back to `rows` rows, and takes back what an unfinished string left.
    pub fn truncate(&mut self, rows: usize) {
        match &mut self.values {
            Values::Strings(strings) => strings.truncate(rows),
            Values::Ints(values) => values.truncate(rows),
            Values::Longs(values) | Values::Timestamps(values) => values.truncate(rows),
            Values::Doubles(values) => values.truncate(rows),
            Values::Booleans(values) => values.truncate(rows),
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

    /// Adds a null row.
    pub fn append_null(&mut self) {
        self.nulls.push(self.len());
        match &mut self.values {
            Values::Strings(strings) => strings.push_placeholder(),
            Values::Ints(values) => values.push(0),
            Values::Longs(values) | Values::Timestamps(values) => values.push(0),
            Values::Doubles(values) => values.push(0.0),
            Values::Booleans(values) => values.push(false),
        }
    }

    /// Reads the value that comes next and adds it. After an error the scanner's position means nothing,
    /// and the column must be truncated.
    ///
    /// The caller keeps the text of all rows below `i32::MAX` bytes.
    #[inline]
    pub fn append(
        &mut self,
        json: &mut Scanner<'_>,
        scratch: &mut String,
    ) -> Result<Appended, Misfit> {
        let first = json.peek();
        if first == Some(b'n') {
            json.literal("null")?;
            return Ok(Appended::Nothing);
        }
        let is_number = matches!(first, Some(b'-' | b'0'..=b'9'));
        match &mut self.values {
            Values::Strings(strings) => {
                if first != Some(b'"') {
                    return Err(Misfit::Mismatch(""));
                }
                json.string(|part| strings.push(part))?;
                strings
                    .close_row()
                    .map_err(|_| Misfit::Mismatch("the text of the batch is too long"))?;
                if strings.ends_empty() {
                    return Ok(Appended::EmptyString);
                }
            }
            Values::Ints(values) if is_number => {
                let value = json
                    .number()?
                    .as_i64()
                    .and_then(|value| i32::try_from(value).ok());
                values.push(value.ok_or(Misfit::Mismatch(""))?);
            }
            Values::Longs(values) if is_number => {
                values.push(json.number()?.as_i64().ok_or(Misfit::Mismatch(""))?);
            }
            Values::Doubles(values) if is_number => {
                values.push(json.number()?.as_f64().ok_or(Misfit::Mismatch(""))?);
            }
            Values::Booleans(values) => match first {
                Some(b't') => {
                    json.literal("true")?;
                    values.push(true);
                }
                Some(b'f') => {
                    json.literal("false")?;
                    values.push(false);
                }
                _ => return Err(Misfit::Mismatch("")),
            },
            Values::Timestamps(values) if is_number => {
                let millis = json
                    .number()?
                    .as_i64()
                    .ok_or(Misfit::Mismatch("epoch milliseconds must be an integer"))?;
                let micros = millis
                    .checked_mul(1000)
                    .ok_or(Misfit::Mismatch("out of range in microseconds"))?;
                values.push(micros);
            }
            Values::Timestamps(values) if first == Some(b'"') => {
                let text = json.text(scratch)?;
                values.push(timestamp::parse(text.as_bytes()).map_err(Misfit::Mismatch)?);
            }
            _ => return Err(Misfit::Mismatch("")),
        }
        Ok(Appended::Value)
    }

    /// The rows as an array; the builder is empty after. Room for as many rows is made again.
    pub fn finish(&mut self) -> ArrayRef {
        let rows = self.len();
        let nulls = self.take_nulls(rows);
        match &mut self.values {
            Values::Strings(strings) => Arc::new(strings.finish(nulls)),
            Values::Ints(values) => Arc::new(Int32Array::new(taken(values), nulls)),
            Values::Longs(values) => Arc::new(Int64Array::new(taken(values), nulls)),
            Values::Doubles(values) => Arc::new(Float64Array::new(taken(values), nulls)),
            Values::Booleans(values) => {
                let array = BooleanArray::new(BooleanBuffer::from(values.as_slice()), nulls);
                values.clear();
                Arc::new(array)
            }
            Values::Timestamps(values) => {
                let array = TimestampMicrosecondArray::new(taken(values), nulls);
                Arc::new(array.with_timezone(Arc::clone(&self.utc)))
            }
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

/// The values, handed over without a copy; as much room is made for the next batch.
fn taken<T: arrow_buffer::ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    let next = Vec::with_capacity(values.len());
    ScalarBuffer::from(std::mem::replace(values, next))
}
