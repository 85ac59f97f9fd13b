//! What a JSON record is taken for, said again in the simplest way, on serde_json and chrono: the oracle
//! of the decoder's tests. It shares no code with the decoder.

use std::fmt;

use chrono::{FixedOffset, NaiveDate, TimeZone};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::record::ErrorType;
use crate::schema::{Column, ColumnType};

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    Text(String),
    Integer(i64),
    /// By its bits, so that `-0.0` is not `0.0`.
    Double(u64),
    Boolean(bool),
    Micros(i64),
}

/// The columns of the job under test.
pub struct Model<'a> {
    pub columns: &'a [Column],
    pub event_id: Option<usize>,
    pub event_time: usize,
    pub max_record_bytes: usize,
}

/// The members of an object in their order, keys decoded, values as written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

fn is_valid(value: &str, depth: usize) -> bool {
    match value.as_bytes()[0] {
        b'"' => serde_json::from_str::<String>(value).is_ok(),
        b'{' => {
            depth < 64
                && serde_json::from_str::<Members<'_>>(value).is_ok_and(|members| {
                    members
                        .0
                        .iter()
                        .all(|(_, value)| is_valid(value.get(), depth + 1))
                })
        }
        b'[' => {
            depth < 64
                && serde_json::from_str::<Vec<&RawValue>>(value).is_ok_and(|elements| {
                    elements
                        .iter()
                        .all(|value| is_valid(value.get(), depth + 1))
                })
        }
        _ => true,
    }
}

fn integer(value: &str) -> Option<i64> {
    if !value.bytes().all(|b| b == b'-' || b.is_ascii_digit()) {
        return None;
    }
    i64::try_from(value.parse::<i128>().ok()?).ok()
}

/// A date and time by its shape, with `9` for every digit, then by chrono.
fn instant(text: &str) -> Option<i64> {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '9' } else { c })
        .collect();
    let shape = shape.strip_prefix("9999-99-99")?;
    let shape = shape.strip_prefix(['T', 't', ' '])?.strip_prefix("99:99")?;
    let mut zone_at = 16;
    let mut zone = shape;
    let mut second = 0;
    let mut nanos = 0;
    if let Some(after) = shape.strip_prefix(":99") {
        (second, zone_at, zone) = (text[17..19].parse().ok()?, 19, after);
        if let Some(after) = after.strip_prefix(['.', ',']) {
            zone = after.trim_start_matches('9');
            zone_at = text.len() - zone.len();
            if zone_at > 29 || zone_at == 20 {
                return None;
            }
            nanos = format!("{:0<9}", &text[20..zone_at]).parse().ok()?;
        }
    }
    let number = |start: usize, end: usize| text[start..end].parse::<u32>().ok();
    let minutes = match zone {
        "" | "Z" | "z" => 0,
        "+99:99" | "-99:99" => offset(text, zone_at, number(zone_at + 4, zone_at + 6)?)?,
        "+9999" | "-9999" => offset(text, zone_at, number(zone_at + 3, zone_at + 5)?)?,
        "+99" | "-99" => offset(text, zone_at, 0)?,
        _ => return None,
    };
    let date = NaiveDate::from_ymd_opt(number(0, 4)? as i32, number(5, 7)?, number(8, 10)?)?;
    if number(0, 4)? == 0 {
        return None;
    }
    let local = date.and_hms_nano_opt(number(11, 13)?, number(14, 16)?, second, nanos)?;
    Some(
        FixedOffset::east_opt(minutes * 60)?
            .from_local_datetime(&local)
            .single()?
            .timestamp_micros(),
    )
}

fn offset(text: &str, at: usize, minutes: u32) -> Option<i32> {
    let hours: i32 = text[at + 1..at + 3].parse().ok()?;
    let minutes = i32::try_from(minutes)
        .ok()
        .filter(|&minutes| minutes < 60)?;
    let offset = hours * 60 + minutes;
    (hours < 24).then_some(if text.as_bytes()[at] == b'-' {
        -offset
    } else {
        offset
    })
}

/// The value in a column; `Err` when it does not fit.
fn cell(column_type: ColumnType, value: &str) -> Result<Cell, ()> {
    if value == "null" {
        return Ok(Cell::Null);
    }
    let text: Option<String> = serde_json::from_str(value).ok();
    let is_number = value.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let cell = match column_type {
        ColumnType::String => text.map(Cell::Text),
        ColumnType::Int => integer(value)
            .filter(|&i| i32::try_from(i).is_ok())
            .map(Cell::Integer),
        ColumnType::Long => integer(value).map(Cell::Integer),
        ColumnType::Double if is_number => value
            .parse()
            .ok()
            .filter(|v: &f64| v.is_finite())
            .map(|v| Cell::Double(v.to_bits())),
        ColumnType::Double => None,
        ColumnType::Boolean => value.parse().ok().map(Cell::Boolean),
        ColumnType::Timestamptz => match text {
            Some(text) => instant(&text).map(Cell::Micros),
            None => integer(value)
                .and_then(|millis| millis.checked_mul(1000))
                .map(Cell::Micros),
        },
        other => panic!("the model has no {}", other.name()),
    };
    cell.ok_or(())
}

impl Model<'_> {
    /// The row that a record is, or why it is none.
    pub fn decode(&self, value: Option<&[u8]>) -> Result<Vec<Cell>, ErrorType> {
        let value = value.ok_or(ErrorType::NullValue)?;
        if value.len() > self.max_record_bytes {
            return Err(ErrorType::TooLarge);
        }
        let text = std::str::from_utf8(value).map_err(|_| ErrorType::Malformed)?;
        let document: &RawValue = serde_json::from_str(text).map_err(|_| ErrorType::Malformed)?;
        if !is_valid(document.get(), 0) {
            return Err(ErrorType::Malformed);
        }
        let Ok(Members(members)) = serde_json::from_str(document.get()) else {
            return Err(ErrorType::SchemaMismatch);
        };
        let mut keys: Vec<&String> = members.iter().map(|(key, _)| key).collect();
        keys.sort();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(ErrorType::Malformed);
        }
        let mut row = Vec::new();
        for column in self.columns {
            let value = members
                .iter()
                .find(|(key, _)| key == column.name)
                .map_or("null", |(_, value)| value.get());
            row.push(cell(column.column_type, value).map_err(|()| ErrorType::SchemaMismatch)?);
        }
        for (place, column) in self.columns.iter().enumerate() {
            let other = Some(place) != self.event_id && place != self.event_time;
            if other && column.required && row[place] == Cell::Null {
                return Err(ErrorType::SchemaMismatch);
            }
        }
        if let Some(place) = self.event_id
            && (row[place] == Cell::Null || row[place] == Cell::Text(String::new()))
        {
            return Err(ErrorType::MissingEventId);
        }
        if row[self.event_time] == Cell::Null {
            return Err(ErrorType::MissingEventTime);
        }
        Ok(row)
    }
}
