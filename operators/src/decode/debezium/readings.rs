//! What integers mean, and quoted decimals and bytes, by the Connect schema that comes with a change.

use serde_json::Value;

use crate::decode::columns::{ColumnBuilder, Reading, Unit};
use crate::decode::evolution::connect;
use crate::decode::quoted::QuotedDecimal;
use crate::job::QuotedBinaries;
use crate::schema::{Column, ColumnType};

/// Schemas remembered. A topic has one for each table that is routed to it, and one more after a change.
const MAX_SCHEMAS: usize = 64;

/// The readings of the columns, for each schema seen.
#[derive(Debug)]
pub(super) struct Readings {
    columns: Vec<Column>,
    /// Without a schema, by column.
    plain: Vec<Reading>,
    known: Vec<(Box<str>, Vec<Reading>)>,
    /// The one in force in the builders, in `known`; `None` for the plain one.
    current: Option<usize>,
    /// Whether the builders have any.
    is_set: bool,
}

impl Readings {
    pub fn new(columns: &[Column], plain: Reading) -> Readings {
        let of_column = |column: &Column| Reading {
            unit: column.counts.map_or(plain.unit, Unit::from),
            ..plain
        };
        Readings {
            columns: columns.to_vec(),
            plain: columns.iter().map(of_column).collect(),
            known: Vec::new(),
            current: None,
            is_set: false,
        }
    }

    /// The text of the schema in force.
    pub fn last_schema(&self) -> Option<&str> {
        self.current.map(|place| &*self.known[place].0)
    }

    /// Makes the builders read as the schema says.
    #[inline]
    pub fn apply(&mut self, schema: Option<&str>, builders: &mut [ColumnBuilder]) {
        if self.is_set && self.last_schema() == schema {
            return;
        }
        self.is_set = true;
        self.current = schema.map(|schema| self.place_of(schema));
        for (place, builder) in builders.iter_mut().enumerate() {
            builder.reading = match self.current {
                Some(schema) => self.known[schema].1[place],
                None => self.plain[place],
            };
        }
    }

    fn place_of(&mut self, schema: &str) -> usize {
        if let Some(place) = self.known.iter().position(|(known, _)| **known == *schema) {
            return place;
        }
        if self.known.len() >= MAX_SCHEMAS {
            self.known.clear();
        }
        let readings = self.read(schema);
        self.known.push((schema.into(), readings));
        self.known.len() - 1
    }

    fn read(&self, schema: &str) -> Vec<Reading> {
        let schema: Value = serde_json::from_str(schema).unwrap_or_default();
        let (_, row) = connect::row(&schema);
        let named = |name: &str| row.iter().find(|field| field["field"] == name);
        self.columns
            .iter()
            .zip(&self.plain)
            .map(|(column, plain)| {
                // By its first name that the row has, as the row's decoder takes it.
                let mut names = std::iter::once(column.name).chain(column.aliases.iter().copied());
                let field = names.find_map(named);
                field.map_or(*plain, |field| reading(field, column.column_type, *plain))
            })
            .collect()
    }
}

/// What a field's values mean: Connect's and Debezium's semantic types. `plain`: without a schema.
fn reading(field: &Value, column_type: ColumnType, plain: Reading) -> Reading {
    let name = field["name"].as_str().unwrap_or_default();
    let scale = || {
        let scale = field["parameters"]["scale"].as_str();
        scale.and_then(|scale| scale.parse().ok())
    };
    let by_setting = column_type == ColumnType::Binary && is_bytes_as_text(field, plain.binaries);
    Reading {
        unit: match name {
            "io.debezium.time.MicroTimestamp" | "io.debezium.time.MicroTime" => Unit::Micros,
            "io.debezium.time.NanoTimestamp" | "io.debezium.time.NanoTime" => Unit::Nanos,
            _ => Unit::Millis,
        },
        decimals: match name {
            "org.apache.kafka.connect.data.Decimal" => QuotedDecimal::Base64(scale()),
            _ => QuotedDecimal::Digits,
        },
        binaries: match by_setting {
            true => plain.binaries,
            // As `JsonConverter` writes bytes.
            false => QuotedBinaries::Bytes,
        },
        by_setting,
        quoted_literals: true,
        nested_text: true,
        refuses: !by_setting && is_of_another_kind(field, column_type),
    }
}

/// Whether a field may be bytes that the connector was told to write as text: nothing in their schema says so, but the
/// setting does.
fn is_bytes_as_text(field: &Value, binaries: QuotedBinaries) -> bool {
    binaries != QuotedBinaries::Bytes && field["type"] == "string" && field["name"].is_null()
}

/// Whether the schema says that a field's values, which may look as if they fitted the column, are of another kind: an
/// integer of days or of a time of day for a timestamp, text for bytes.
fn is_of_another_kind(field: &Value, column_type: ColumnType) -> bool {
    let name = field["name"].as_str().unwrap_or_default();
    let semantic = ["io.debezium.time.", "org.apache.kafka.connect.data."]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix));
    let is_a = |kind: &str| semantic.is_none_or(|semantic| semantic.ends_with(kind));
    match column_type {
        ColumnType::Timestamp | ColumnType::Timestamptz => !is_a("Timestamp"),
        ColumnType::Time => !is_a("Time"),
        ColumnType::Date => !is_a("Date"),
        ColumnType::Binary => field["type"] == "string",
        // The base64 of bytes that are no decimal may be digits.
        ColumnType::Decimal { .. } => field["type"] == "bytes" && !name.ends_with(".Decimal"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_tells_days_times_and_text_from_what_they_look_like() {
        use ColumnType as C;
        let is_refused = |name: &str, written: &str, column: ColumnType| {
            is_of_another_kind(
                &json!({"field": "x", "type": written, "name": name}),
                column,
            )
        };
        for (name, column) in [
            ("io.debezium.time.Date", C::Timestamp),
            ("io.debezium.time.MicroTime", C::Timestamptz),
            ("io.debezium.time.MicroDuration", C::Timestamp),
            ("io.debezium.time.Year", C::Date),
            ("io.debezium.time.MicroTimestamp", C::Time),
            ("org.apache.kafka.connect.data.Timestamp", C::Date),
            ("org.apache.kafka.connect.data.Date", C::Time),
        ] {
            assert!(is_refused(name, "int64", column), "{name}");
        }
        for (name, column) in [
            ("io.debezium.time.MicroTimestamp", C::Timestamp),
            ("io.debezium.time.ZonedTimestamp", C::Timestamptz),
            ("org.apache.kafka.connect.data.Timestamp", C::Timestamptz),
            ("io.debezium.time.NanoTime", C::Time),
            ("org.apache.kafka.connect.data.Date", C::Date),
            ("io.debezium.time.Date", C::Int),
            ("", C::Timestamptz),
        ] {
            assert!(!is_refused(name, "int64", column), "{name}");
        }
        assert!(is_refused("", "string", C::Binary));
        assert!(!is_refused("", "bytes", C::Binary));
    }
}
