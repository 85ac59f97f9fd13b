//! Decoding: a batch of raw records into Arrow columns, a bad record costing one record.

use arrow_array::RecordBatch;

use crate::error::{Error, Result};
use crate::job::{Format, JobSettings};
use crate::record::{DecodeFailure, RawBatch};

mod block;
mod columns;
pub mod json;
#[cfg(test)]
mod json_model;
#[cfg(test)]
mod json_tests;
mod message;
pub mod operator;
mod scan;
mod strings;
mod template;
mod timestamp;

pub use json::JsonDecoder;

/// The records of a batch that could be decoded, as columns, and those that could not.
#[derive(Debug)]
pub struct Decoded {
    /// The job's columns, one row a decoded record.
    pub columns: RecordBatch,
    /// For each row, its place in [`RawBatch::records`]; ascending.
    pub rows: Vec<u32>,
    /// The records that could not be decoded, ascending; `rows` and these together are all of the batch.
    pub failures: Vec<DecodeFailure>,
}

/// A decoder of one format into a job's columns. Never panics, whatever the bytes.
pub trait Decode {
    /// Decodes every record of the batch.
    fn decode(&mut self, batch: &RawBatch) -> Decoded;
}

/// The decoder that a job's settings ask for.
///
/// # Errors
/// Settings whose event time or deduplication key is none of the columns, or of the wrong type.
pub fn decoder(settings: &JobSettings) -> Result<Box<dyn Decode>> {
    let place_of = |role: &str, name: &str| {
        settings
            .columns
            .iter()
            .position(|column| column.name == name)
            .ok_or_else(|| {
                let known: Vec<&str> = settings.columns.iter().map(|column| column.name).collect();
                Error::configuration(format!(
                    "the {role} `{name}` is no column of job `{}`",
                    settings.name
                ))
                .hint(format!("its columns are {}", known.join(", ")))
            })
    };
    let event_time = place_of("event time", &settings.event_time)?;
    let event_id = settings
        .dedup
        .as_ref()
        .map(|dedup| place_of("deduplication key", &dedup.key))
        .transpose()?;
    match settings.format {
        Format::Json => {
            let decoder = JsonDecoder::new(
                &settings.columns,
                event_id,
                event_time,
                settings.max_record_bytes,
            )
            .map_err(|error| error.context(format!("job {}", settings.name)))?;
            Ok(Box::new(decoder))
        }
    }
}
