//! JSON records straight into Arrow columns, a bad record costing one record.
//!
//! # What a record must be
//! One JSON object (RFC 8259) in UTF-8, nothing but whitespace around it. A field is a column's by its
//! name, as decoded; other fields are skipped, but must be valid JSON too. A column goes by the first of its
//! names that stands in the record, its own, then its aliases; by the others it is skipped there. What is one
//! column's own name is no other's alias.
//!
//! | a record that is | is |
//! |---|---|
//! | null | `null_value` |
//! | longer than the job's limit | `too_large` |
//! | empty, not JSON, not UTF-8, begun with a byte order mark, followed by other bytes, nested deeper than 64 levels (the outermost object is the first), with an unpaired surrogate escape or a control character in a string, or with a top-level key twice | `malformed` |
//! | JSON, but no object; a field does not fit its column; a required column is absent or null | `schema_mismatch` |
//! | without event id, or with a null or empty one | `missing_event_id` |
//! | without event time, or with a null one | `missing_event_time` |
//! | with a header whose JSON Schema it violates ([`JsonDecoder::validating`]) | `schema_mismatch` |
//!
//! The first line of the table that applies decides. So a record is `malformed` wherever the fault
//! stands, even after a field that does not fit; and of several faults of one kind the message names the
//! first field in the record that does not fit, else the first column in the job's order that is absent.
//!
//! # What fits a column
//! | column | JSON |
//! |---|---|
//! | string | a string |
//! | int, long | a number without fraction and exponent (`1.0` and `1e2` are none; `-0` is 0), within 32 or 64 bits |
//! | double | any number up to the largest double; rounded correctly, also towards 0 |
//! | boolean | `true`, `false` |
//! | timestamptz | a string of ISO-8601 / RFC 3339, or an integer: milliseconds since 1970-01-01T00:00:00Z |
//!
//! The two kinds of timestamp are told apart by their JSON type alone. A string is `YYYY-MM-DD`, then
//! `T`, `t` or a space, then `hh:mm[:ss[.fraction]]` (`.` or `,`; 1 to 9 digits, truncated to
//! microseconds), then `Z`, `z`, `±hh:mm`, `±hhmm`, `±hh` or nothing, which means UTC; the year is
//! 0001 to 9999 and there are no leap seconds. A string of digits alone does not fit: it is ambiguous.
//! An integer fits when its microseconds fit 64 bits.
//!
//! `null` or no field at all is null in an optional column.

use super::each::{NullValue, Outcome, for_each_record};
use super::framing::Framing;
use super::json_rows::JsonRows;
use super::{Decode, Decoded, SchemaIds};
use crate::error::Result;
use crate::io::SchemaAnswer;
use crate::record::RawBatch;
use crate::schema::Column;

/// A decoder of JSON records; see the module's documentation for what it takes for what.
#[derive(Debug)]
pub struct JsonDecoder {
    pub(super) rows: JsonRows,
    max_record_bytes: u64,
    framing: Framing,
}

impl JsonDecoder {
    /// A decoder into `columns`. `event_id` (a string column) and `event_time` (a timestamptz column) are
    /// places in `columns`; both are required of a record, whatever the column says. Values longer than
    /// `max_record_bytes` are `too_large`.
    ///
    /// # Errors
    /// Columns of the same name; an id or a time that is no column, or of another type; an alias that two columns
    /// have, or that is the way into a record.
    pub fn new(
        columns: &[Column],
        event_id: Option<usize>,
        event_time: usize,
        max_record_bytes: u64,
    ) -> Result<JsonDecoder> {
        Ok(JsonDecoder {
            rows: JsonRows::new(columns, event_id, Some(event_time))?,
            max_record_bytes,
            framing: Framing::None,
        })
    }

    /// The same for records with the schema registry's header in front. With `has_registry` their ids must
    /// be ones that the registry knows.
    #[must_use]
    pub fn framed(mut self, has_registry: bool) -> JsonDecoder {
        self.framing = Framing::schema_id(has_registry);
        self
    }

    /// The same, the records being held against the registered JSON Schema that their header names as well.
    #[must_use]
    pub fn validating(mut self) -> JsonDecoder {
        self.framing = self.framing.validating();
        self
    }
}

impl Decode for JsonDecoder {
    fn decode(&mut self, batch: &RawBatch) -> Decoded {
        let JsonDecoder {
            rows,
            max_record_bytes,
            framing,
        } = self;
        let each = for_each_record(
            batch,
            *max_record_bytes,
            NullValue::DeadLetter,
            |_, value| {
                let document = framing.open(value)?;
                rows.decode_bytes(document.json)?;
                if let Some(validator) = document.validator {
                    // After the decoding, which bounds how deep it is and knows what JSON allows and we do not.
                    validator
                        .validate(document.json)
                        .inspect_err(|_| rows.take_back())?;
                }
                Ok(Outcome::Row)
            },
        );
        each.into_decoded(rows.finish())
    }

    fn missing_schemas(&self, batch: &RawBatch, missing: &mut SchemaIds) {
        self.framing.missing_schemas(batch, missing);
    }

    fn learn(&mut self, id: u32, answer: &SchemaAnswer) {
        self.framing.learn(id, answer);
    }

    fn forget(&mut self, id: u32) {
        self.framing.forget(id);
    }
}
