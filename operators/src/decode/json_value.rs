//! One JSON value into one column.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::columns::{ColumnBuilder, Values};
use super::decimal;
use super::quoted;
use super::scan::{Malformed, Number, Scanner};
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

const PLAIN_MISFIT: Misfit = Misfit::Mismatch("");
const COLUMN_FULL: Misfit = Misfit::Mismatch("the text of the batch is too long");
const OF_ANOTHER_KIND: Misfit = Misfit::Mismatch("its schema says that it is of another kind");
const OUT_OF_RANGE: Misfit = Misfit::Mismatch("out of range in microseconds");

/// What fits a column, in words.
pub(super) fn fitting(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::String => "a JSON string",
        ColumnType::Int => "a JSON integer of 32 bits",
        ColumnType::Long => "a JSON integer of 64 bits",
        ColumnType::Float => "a JSON number that a float can hold",
        ColumnType::Double => "a JSON number that a double can hold",
        ColumnType::Boolean => "true or false",
        ColumnType::Decimal { .. } => "a decimal number that the column can hold exactly",
        ColumnType::Date => "a string `YYYY-MM-DD` or an integer of days since 1970-01-01",
        ColumnType::Time => "a string `hh:mm:ss` or an integer since midnight",
        ColumnType::Timestamp | ColumnType::Timestamptz => {
            "an ISO-8601 string or an integer of epoch milliseconds"
        }
        ColumnType::Binary => "a string of base64",
        ColumnType::BinaryMap => "nothing: JSON has no such values",
    }
}

/// Microseconds in a day.
const DAY: i64 = 86_400_000_000;

impl ColumnBuilder {
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
        let is_string = first == Some(b'"');
        let reading = self.reading;
        match &mut self.values {
            Values::Strings(strings) => {
                if is_string {
                    json.string(|part| strings.push(part))?;
                } else if reading.nested_text && matches!(first, Some(b'{' | b'[')) {
                    let start = json.at;
                    json.skip_value(1)?;
                    strings.push(json.between(start, json.at));
                } else {
                    return Err(PLAIN_MISFIT);
                }
                strings.close_row().map_err(|_| COLUMN_FULL)?;
                if strings.ends_empty() {
                    return Ok(Appended::EmptyString);
                }
            }
            Values::Ints(values) if is_number => {
                let value = json
                    .number()?
                    .as_i64()
                    .and_then(|value| i32::try_from(value).ok());
                values.push(value.ok_or(PLAIN_MISFIT)?);
            }
            Values::Longs(values) if is_number => {
                values.push(json.number()?.as_i64().ok_or(PLAIN_MISFIT)?);
            }
            Values::Doubles(values) if is_number => {
                values.push(json.number()?.as_f64().ok_or(PLAIN_MISFIT)?);
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
                Some(b'"') if reading.quoted_literals => {
                    values.push(match json.text(scratch)? {
                        "true" => true,
                        "false" => false,
                        _ => return Err(PLAIN_MISFIT),
                    });
                }
                _ => return Err(PLAIN_MISFIT),
            },
            Values::Timestamps { .. } if is_number && reading.refuses => {
                return Err(OF_ANOTHER_KIND);
            }
            Values::Timestamps { values, .. } if is_number => {
                let value = json
                    .number()?
                    .as_i64()
                    .ok_or(Misfit::Mismatch("epoch milliseconds must be an integer"))?;
                values.push(reading.unit.to_micros(value).ok_or(OUT_OF_RANGE)?);
            }
            Values::Timestamps { values, .. } if is_string => {
                let text = json.text(scratch)?;
                values.push(timestamp::parse(text.as_bytes()).map_err(Misfit::Mismatch)?);
            }
            _ => return self.append_seldom(json, scratch, is_number, is_string),
        }
        Ok(Appended::Value)
    }

    /// The types that few jobs have.
    fn append_seldom(
        &mut self,
        json: &mut Scanner<'_>,
        scratch: &mut String,
        is_number: bool,
        is_string: bool,
    ) -> Result<Appended, Misfit> {
        let reading = self.reading;
        let unfit = |unfit: decimal::Unfit| Misfit::Mismatch(unfit.reason());
        if reading.refuses {
            return Err(OF_ANOTHER_KIND);
        }
        match &mut self.values {
            Values::Floats(values) if is_number => {
                let value = json.number()?.as_f64().map(|value| value as f32);
                values.push(
                    value
                        .filter(|value| value.is_finite())
                        .ok_or(PLAIN_MISFIT)?,
                );
            }
            Values::Floats(values) if is_string && reading.quoted_literals => {
                let value = not_finite(json.text(scratch)?).ok_or(PLAIN_MISFIT)?;
                values.push(value as f32);
            }
            Values::Doubles(values) if is_string && reading.quoted_literals => {
                values.push(not_finite(json.text(scratch)?).ok_or(PLAIN_MISFIT)?);
            }
            Values::Decimals {
                values,
                precision,
                scale,
            } if is_number => {
                let number: Number<'_> = json.number()?;
                values.push(decimal::parse(number.text(), *precision, *scale).map_err(unfit)?);
            }
            Values::Decimals {
                values,
                precision,
                scale,
            } if is_string => {
                let text = json.text(scratch)?;
                let value = quoted::decimal_of(text, reading, *precision, *scale);
                values.push(value.map_err(Misfit::Mismatch)?);
            }
            // `{"scale": 2, "value": "..."}`: Debezium's VariableScaleDecimal, of columns without a scale.
            Values::Decimals {
                values,
                precision,
                scale,
            } if reading.quoted_literals => {
                let start = json.at;
                json.skip_value(1)?;
                let (from, unscaled) = variable_scale(json.between(start, json.at))
                    .ok_or(Misfit::Mismatch("no decimal of variable scale"))?;
                let value = decimal::from_bytes(&unscaled)
                    .and_then(|value| decimal::rescale(value, from, *precision, *scale));
                values.push(value.map_err(unfit)?);
            }
            Values::Dates(values) if is_number => {
                let days = json.number()?.as_i64();
                let days = days.and_then(|days| i32::try_from(days).ok());
                values.push(days.ok_or(PLAIN_MISFIT)?);
            }
            Values::Dates(values) if is_string => {
                let text = json.text(scratch)?;
                values.push(timestamp::parse_date(text.as_bytes()).map_err(Misfit::Mismatch)?);
            }
            Values::Times(values) if is_number => {
                let value = json.number()?.as_i64().ok_or(PLAIN_MISFIT)?;
                let micros = reading.unit.to_micros(value);
                let of_day = micros.filter(|micros| (0..DAY).contains(micros));
                values.push(of_day.ok_or(Misfit::Mismatch("no time of a day"))?);
            }
            Values::Times(values) if is_string => {
                let text = json.text(scratch)?;
                values.push(timestamp::parse_time(text.as_bytes()).map_err(Misfit::Mismatch)?);
            }
            Values::Bytes(values) if is_string => {
                let text = json.text(scratch)?;
                let bytes = quoted::bytes_of(text, reading).map_err(Misfit::Mismatch)?;
                values.push(&bytes).map_err(|_| COLUMN_FULL)?;
            }
            _ => return Err(PLAIN_MISFIT),
        }
        Ok(Appended::Value)
    }
}

/// What JSON has no number for, as Connect's converters write it.
fn not_finite(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn variable_scale(text: &str) -> Option<(i32, Vec<u8>)> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let scale = i32::try_from(value.get("scale")?.as_i64()?).ok()?;
    Some((scale, STANDARD.decode(value.get("value")?.as_str()?).ok()?))
}
