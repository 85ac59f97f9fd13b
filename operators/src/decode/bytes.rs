//! Columns of bytes, and of names to bytes, under construction.

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, MapArray, StructArray};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

use super::strings::{ColumnFull, StringsBuilder};
use crate::schema::{binary_map_entries, binary_map_fields};

/// Byte strings, end to end.
#[derive(Debug)]
pub(super) struct BytesBuilder {
    /// 0, then for each row where it ends in `bytes`.
    ends: Vec<i32>,
    bytes: Vec<u8>,
}

impl BytesBuilder {
    pub fn new() -> BytesBuilder {
        BytesBuilder {
            ends: vec![0],
            bytes: Vec::new(),
        }
    }

    /// Rows so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.ends.len() - 1
    }

    /// Adds a row.
    #[inline]
    pub fn push(&mut self, value: &[u8]) -> Result<(), ColumnFull> {
        let end = i32::try_from(self.bytes.len() + value.len()).map_err(|_| ColumnFull)?;
        self.bytes.extend_from_slice(value);
        self.ends.push(end);
        Ok(())
    }

    /// Adds a row that holds nothing, for a null.
    pub fn push_placeholder(&mut self) {
        self.ends.push(self.ends.last().copied().unwrap_or(0));
    }

    /// The last row; empty when there is none.
    pub fn last(&self) -> &[u8] {
        match self.ends.as_slice() {
            [.., start, end] => &self.bytes[*start as usize..*end as usize],
            _ => &[],
        }
    }

    /// Cuts back to `rows` rows.
    pub fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows + 1);
        self.bytes
            .truncate(self.ends.last().map_or(0, |&end| end as usize));
    }

    /// The rows as an array; the builder is empty after, with room for as much again.
    pub fn finish(&mut self, nulls: Option<NullBuffer>) -> BinaryArray {
        let mut next_ends = Vec::with_capacity(self.ends.len());
        next_ends.push(0);
        let ends = std::mem::replace(&mut self.ends, next_ends);
        let next_bytes = Vec::with_capacity(self.bytes.len());
        let bytes = std::mem::replace(&mut self.bytes, next_bytes);
        BinaryArray::new(
            OffsetBuffer::new(ScalarBuffer::from(ends)),
            Buffer::from_vec(bytes),
            nulls,
        )
    }
}

/// Maps of names to bytes, end to end.
#[derive(Debug)]
pub(super) struct MapsBuilder {
    /// 0, then for each row where its entries end.
    ends: Vec<i32>,
    keys: StringsBuilder,
    values: BytesBuilder,
    /// Whether each value is there.
    present: Vec<bool>,
}

impl MapsBuilder {
    pub fn new() -> MapsBuilder {
        MapsBuilder {
            ends: vec![0],
            keys: StringsBuilder::new(),
            values: BytesBuilder::new(),
            present: Vec::new(),
        }
    }

    /// Rows so far.
    pub fn len(&self) -> usize {
        self.ends.len() - 1
    }

    /// Adds an entry to the row that is not closed yet.
    pub fn push(&mut self, key: &str, value: Option<&[u8]>) -> Result<(), ColumnFull> {
        self.keys.push(key);
        self.keys.close_row()?;
        match value {
            Some(value) => self.values.push(value)?,
            None => self.values.push_placeholder(),
        }
        self.present.push(value.is_some());
        Ok(())
    }

    /// Makes what was pushed since the last row a row.
    pub fn close_row(&mut self) -> Result<(), ColumnFull> {
        self.ends
            .push(i32::try_from(self.present.len()).map_err(|_| ColumnFull)?);
        Ok(())
    }

    /// Adds an empty row.
    pub fn push_placeholder(&mut self) {
        self.ends.push(self.ends.last().copied().unwrap_or(0));
    }

    /// Cuts back to `rows` rows, and takes back what was pushed for a row that is not closed.
    pub fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows + 1);
        let entries = self.ends.last().map_or(0, |&end| end as usize);
        self.keys.truncate(entries);
        self.values.truncate(entries);
        self.present.truncate(entries);
    }

    /// The rows as an array; the builder is empty after.
    pub fn finish(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        self.truncate(self.len());
        let ends = std::mem::replace(&mut self.ends, vec![0]);
        let present = NullBuffer::from(std::mem::take(&mut self.present));
        let entries = StructArray::new(
            binary_map_fields(),
            vec![
                Arc::new(self.keys.finish(None)),
                Arc::new(self.values.finish(Some(present))),
            ],
            None,
        );
        Arc::new(MapArray::new(
            Arc::new(binary_map_entries()),
            OffsetBuffer::new(ScalarBuffer::from(ends)),
            entries,
            nulls,
            false,
        ))
    }
}
