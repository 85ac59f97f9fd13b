//! Decoding: a batch of raw records into Arrow columns, a bad record costing one record.

use std::collections::BTreeSet;

use arrow_array::RecordBatch;

use crate::error::{Error, Result};
use crate::io::SchemaAnswer;
use crate::job::{Format, JobSettings};
use crate::record::{DecodeFailure, RawBatch};
use crate::schema::{Column, ColumnType};

mod avro;
mod block;
mod bytes;
mod carried;
mod columns;
mod csv;
mod debezium;
mod decimal;
mod derived;
mod each;
pub mod evolution;
mod frame;
mod framing;
#[cfg(test)]
mod fuzz_tests;
mod growth;
mod held;
pub mod json;
mod json_failures;
#[cfg(test)]
mod json_model;
mod json_rows;
mod json_schema_bounds;
mod json_schema_references;
#[cfg(test)]
mod json_suite_tests;
#[cfg(test)]
mod json_tests;
mod json_validation;
mod json_value;
mod message;
pub mod operator;
mod per_topic;
mod protobuf;
mod quoted;
mod raw;
#[cfg(test)]
mod raw_tests;
pub mod recognise;
mod rows;
mod scan;
mod schema_text;
mod strings;
mod target;
mod template;
#[cfg(test)]
mod testing;
mod timestamp;

pub use avro::AvroDecoder;
pub use csv::CsvDecoder;
pub use debezium::DebeziumDecoder;
use derived::DerivingDecoder;
pub use json::JsonDecoder;
use per_topic::PerTopicDecoder;
pub use protobuf::ProtobufDecoder;
pub use raw::RawDecoder;

/// Ids of schemas in the registry.
pub type SchemaIds = BTreeSet<u32>;

/// The records of a batch that could be decoded, as columns, and those that could not.
#[derive(Debug)]
pub struct Decoded {
    /// The job's columns, one row a decoded record.
    pub columns: RecordBatch,
    /// For each row, its place in [`RawBatch::records`]; ascending.
    pub rows: Vec<u32>,
    /// The records that could not be decoded, ascending.
    pub failures: Vec<DecodeFailure>,
    /// Records that carry no row by the format's own rules. With `rows` and `failures` these are all of the
    /// batch.
    pub dropped: u64,
}

/// A decoder of one format into a job's columns. Never panics, whatever the bytes.
pub trait Decode {
    /// Decodes every record of the batch.
    fn decode(&mut self, batch: &RawBatch) -> Decoded;

    /// Adds the ids of the schemas that the batch needs and that the decoder has not learned.
    fn missing_schemas(&self, _batch: &RawBatch, _missing: &mut SchemaIds) {}

    /// Learns what the registry says of a schema.
    fn learn(&mut self, _id: u32, _answer: &SchemaAnswer) {}

    /// Forgets a schema, so that it is missing again.
    fn forget(&mut self, _id: u32) {}
}

/// Checks columns that a decoder fills, and the places of id and time among them.
fn check_columns(
    columns: &[Column],
    event_id: Option<usize>,
    event_time: Option<usize>,
) -> Result<()> {
    let must_be = |place: usize, column_type: ColumnType, role: &str| match columns.get(place) {
        Some(column) if column.column_type == column_type => Ok(()),
        Some(column) => Err(Error::configuration(format!(
            "the {role} `{}` is a {}; it must be a {}",
            column.name,
            column.column_type.name(),
            column_type.name()
        ))),
        None => Err(Error::internal(format!(
            "the {role} is column {place} of {}",
            columns.len()
        ))),
    };
    if let Some(event_time) = event_time {
        must_be(event_time, ColumnType::Timestamptz, "event time")?;
    }
    if let Some(event_id) = event_id {
        must_be(event_id, ColumnType::String, "deduplication key")?;
    }
    for (place, column) in columns.iter().enumerate() {
        if columns[..place].iter().any(|c| c.name == column.name) {
            return Err(Error::configuration(format!(
                "the column `{}` is defined twice",
                column.name
            )));
        }
        if !column.column_type.is_valid() {
            return Err(Error::configuration(format!(
                "the column `{}` cannot be a {}",
                column.name,
                column.column_type.name()
            ))
            .hint("a decimal has 1 to 38 digits, and no more of them behind the point"));
        }
    }
    Ok(())
}

/// The decoder that a job's settings ask for. `has_registry`: there is a schema registry to ask.
///
/// # Errors
/// Settings whose event time or deduplication key is none of the columns, or of the wrong type; a format
/// that lacks what it needs; formats of topics that do not go together.
pub fn decoder(settings: &JobSettings, has_registry: bool) -> Result<Box<dyn Decode>> {
    let made = if settings.derived.is_empty() {
        make(settings, has_registry)
    } else {
        let mut inner = settings.clone();
        inner.columns = derived::decoded_columns(settings);
        inner.derived.clear();
        make(&inner, has_registry).and_then(|inner| -> Result<Box<dyn Decode>> {
            Ok(Box::new(DerivingDecoder::new(settings, inner)?))
        })
    };
    made.map_err(|error| error.context(format!("job {}", settings.name)))
}

/// A decoder of what all topics have, or of what each has.
fn make(settings: &JobSettings, has_registry: bool) -> Result<Box<dyn Decode>> {
    if settings.formats.is_empty() {
        return of_one_format(settings, has_registry);
    }
    let decoder = PerTopicDecoder::new(settings, |settings: &JobSettings| {
        of_one_format(settings, has_registry)
    })?;
    Ok(Box::new(decoder))
}

fn of_one_format(settings: &JobSettings, has_registry: bool) -> Result<Box<dyn Decode>> {
    let columns = &settings.columns;
    let place_of = |role: &str, name: &str| {
        columns
            .iter()
            .position(|column| column.name == name)
            .ok_or_else(|| {
                let known: Vec<&str> = columns.iter().map(|column| column.name).collect();
                Error::configuration(format!(
                    "the {role} `{name}` is no column of job `{}`",
                    settings.name
                ))
                .hint(format!("its columns are {}", known.join(", ")))
            })
    };
    let time = place_of("event time", &settings.event_time)?;
    let id = settings
        .dedup
        .as_ref()
        .map(|dedup| place_of("deduplication key", &dedup.key))
        .transpose()?;
    if settings.needs_registry() && !has_registry {
        return Err(Error::configuration(format!(
            "format `{}` needs a schema registry, and none is configured",
            settings.format.name()
        ))
        .hint(
            "add these lines:\n          schema_registry:\n            url: http://localhost:8081",
        ));
    }
    if settings.adds_columns() {
        evolution::check(settings)?;
    }
    let limit = settings.max_record_bytes;
    Ok(match settings.format {
        Format::Auto => {
            return Err(Error::internal(
                "format `auto` is to be recognised before a decoder is made",
            ));
        }
        Format::Json => Box::new(JsonDecoder::new(columns, id, time, limit)?),
        Format::JsonSr => {
            let framed = JsonDecoder::new(columns, id, time, limit)?.framed(has_registry);
            Box::new(match settings.json_fail_invalid_schema {
                true => framed.validating(),
                false => framed,
            })
        }
        Format::AvroSr => Box::new(AvroDecoder::registered(columns, id, time, limit)?),
        Format::ProtobufSr => Box::new(ProtobufDecoder::new(columns, id, time, limit)?),
        Format::Csv => Box::new(CsvDecoder::new(columns, id, time, limit, &settings.csv)?),
        Format::Avro => {
            let schema = given_schema(settings)?;
            Box::new(AvroDecoder::given(columns, id, time, limit, schema)?)
        }
        Format::Raw => Box::new(RawDecoder::new(settings, id, time, has_registry)?),
        Format::DebeziumJson => Box::new(DebeziumDecoder::new(settings, id, time)?),
        Format::DebeziumJsonSr => {
            Box::new(DebeziumDecoder::new(settings, id, time)?.framed(has_registry))
        }
    })
}

/// The schema that `format: avro` needs.
fn given_schema(settings: &JobSettings) -> Result<&str> {
    settings.avro_schema.as_deref().ok_or_else(|| {
        Error::configuration("format `avro` needs the schema that the records were written with")
            .hint(format!(
                "set `jobs.{}.avro_schema`, for example to `${{file:PATH}}`; records with a schema registry header have format `avro_sr`",
                settings.name
            ))
    })
}
