//! Columns that are filled a row a record, for formats that read a record into all of them or into none.

use arrow_schema::SchemaRef;

use super::Decoded;
use super::columns::{ColumnBuilder, finish};
use super::each::{NullValue, Outcome, for_each_record};
use super::message::Failure;
use crate::record::RawBatch;
use crate::schema::{Column, decoded_schema};

/// The columns of a batch, as they are filled.
#[derive(Debug)]
pub(super) struct RowColumns {
    schema: SchemaRef,
    builders: Vec<ColumnBuilder>,
    max_record_bytes: u64,
}

impl RowColumns {
    /// Of these columns. Values longer than `max_record_bytes` are `too_large`.
    pub fn new(columns: &[Column], max_record_bytes: u64) -> RowColumns {
        let builders = columns.iter().map(|c| ColumnBuilder::new(c.column_type));
        RowColumns {
            schema: decoded_schema(columns),
            builders: builders.collect(),
            max_record_bytes,
        }
    }

    /// The records of a batch, of which `read` adds each as one row; what one leaves that it fails at is cut back.
    #[inline]
    pub fn decode(
        &mut self,
        batch: &RawBatch,
        mut read: impl FnMut(&[u8], &mut [ColumnBuilder]) -> Result<(), Failure>,
    ) -> Decoded {
        let builders = &mut self.builders;
        let mut row = 0;
        let limit = self.max_record_bytes;
        let each = for_each_record(batch, limit, NullValue::DeadLetter, |_, value| {
            match read(value, builders) {
                Ok(()) => {
                    row += 1;
                    Ok(Outcome::Row)
                }
                Err(failure) => {
                    builders.iter_mut().for_each(|b| b.truncate(row));
                    Err(failure)
                }
            }
        });
        each.into_decoded(finish(&self.schema, builders))
    }
}
