//! What all formats do alike: every record of a batch is a row, a dead letter, or nothing by the format's
//! own rules.

use arrow_array::RecordBatch;

use super::Decoded;
use super::message::Failure;
use crate::record::{DecodeFailure, ErrorType, RawBatch};

/// Bytes that the values of one batch may have: the Arrow offsets of its columns have 32 bits. No format
/// makes a column larger than its records but base64, which only makes them smaller.
const MAX_BATCH_BYTES: usize = i32::MAX as usize;

/// What a record became that is no failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A row.
    Row,
    /// Nothing: it carries no row.
    Dropped,
}

/// What a null value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NullValue {
    /// A dead letter, `null_value`.
    DeadLetter,
    /// Nothing: a tombstone that belongs to the format.
    Drop,
}

/// What became of the records of a batch.
#[derive(Debug, Default)]
pub(super) struct Each {
    rows: Vec<u32>,
    failures: Vec<DecodeFailure>,
    dropped: u64,
}

impl Each {
    pub fn into_decoded(self, columns: RecordBatch) -> Decoded {
        Decoded {
            columns,
            rows: self.rows,
            failures: self.failures,
            dropped: self.dropped,
        }
    }
}

/// Hands place and value of each record to `decode`, within the limits on their size.
#[inline]
pub(super) fn for_each_record(
    batch: &RawBatch,
    max_record_bytes: u64,
    null_value: NullValue,
    mut decode: impl FnMut(usize, &[u8]) -> Result<Outcome, Failure>,
) -> Each {
    let mut each = Each {
        rows: Vec::with_capacity(batch.records.len()),
        ..Each::default()
    };
    let mut bytes = 0;
    for (place, record) in batch.records.iter().enumerate() {
        let outcome = match batch.value(record) {
            None => match null_value {
                NullValue::Drop => Ok(Outcome::Dropped),
                NullValue::DeadLetter => Err(Failure::new(
                    ErrorType::NullValue,
                    "the record's value is null",
                )),
            },
            Some(value) if value.len() as u64 > max_record_bytes => Err(Failure::new(
                ErrorType::TooLarge,
                format!(
                    "the record has {} bytes, the job's limit is {max_record_bytes}",
                    value.len()
                ),
            )),
            Some(value) if value.len() > MAX_BATCH_BYTES - bytes => Err(Failure::new(
                ErrorType::TooLarge,
                format!("the records read together have more than {MAX_BATCH_BYTES} bytes"),
            )),
            Some(value) => {
                bytes += value.len();
                decode(place, value)
            }
        };
        match outcome {
            Ok(Outcome::Row) => each.rows.push(place as u32),
            Ok(Outcome::Dropped) => each.dropped += 1,
            Err(Failure {
                error_type,
                message,
            }) => each.failures.push(DecodeFailure {
                record: place as u32,
                error_type,
                message,
            }),
        }
    }
    each
}
