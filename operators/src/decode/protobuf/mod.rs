//! Protobuf records with the schema registry's header straight into Arrow columns.
//!
//! Behind the header stand Confluent's message indexes, which say which message of the schema's file the record
//! is: their count and they themselves, as zig-zag varints; a single 0 is short for `[0]`, the first message.
//!
//! | a record that is | is |
//! |---|---|
//! | null | `null_value` |
//! | longer than the job's limit | `too_large` |
//! | without the header or the indexes; with indexes of no message; cut off; with a length beyond its end, a varint of more than 64 bits, a wire type that does not exist or is not the schema's, a group that does not end; a string that is not UTF-8 | `malformed` |
//! | of a schema that the registry does not know | `unknown_schema` |
//! | of a schema that is no Protobuf, of a message that does not fit the columns; with a value that does not fit its column, such as an enum's number that has no symbol; without a required one | `schema_mismatch` |
//! | without event id, or with an empty one | `missing_event_id` |
//! | without event time | `missing_event_time` |
//!
//! A record is `malformed` wherever the fault stands; else the first column that fails decides. Fields that the message does not have are skipped, and so are those that
//! are no column; what stands inside of a message that is skipped is not looked at. What fits a column: see
//! [`program`].
//!
//! No message is built: a record is read once, field by field in the order in which they come, into one slot a
//! column, and from there into the columns.

mod columns;
mod conversion;
mod imports;
mod program;
mod schema;
#[cfg(test)]
mod tests;
mod wire;

use super::frame::{self, KnownSchemas};
use super::message::Failure;
use super::rows::RowColumns;
use super::target::{Target, targets};
use super::{Decode, Decoded, SchemaIds};
use crate::error::Result;
use crate::io::{RegisteredSchema, SchemaAnswer, SchemaKind};
use crate::record::{ErrorType, RawBatch};
use crate::schema::Column;
pub(super) use columns::fields;
use conversion::Slot;
use program::Program;
use schema::MAX_NESTING;
use wire::{Cursor, Malformed};

/// The messages of a schema's file, by their indexes, in order.
#[derive(Debug)]
struct Messages(Vec<(Vec<i32>, std::result::Result<Program, Failure>)>);

impl Messages {
    fn compile(
        id: u32,
        schema: &RegisteredSchema,
        targets: &[Target],
    ) -> std::result::Result<Messages, Failure> {
        let unusable = |why: String| {
            Failure::new(
                ErrorType::SchemaMismatch,
                format!("schema {id} of the registry cannot be used: {why}"),
            )
        };
        if schema.kind != SchemaKind::Protobuf {
            return Err(unusable(frame::wrong_kind(schema.kind, "Protobuf")));
        }
        let mut messages: Vec<_> = schema::messages(schema)
            .map_err(unusable)?
            .into_iter()
            .map(|(path, message)| (path, Program::compile(&message, targets)))
            .collect();
        messages.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Messages(messages))
    }

    /// The message that the indexes at the cursor name.
    #[inline]
    fn named(&self, cursor: &mut Cursor<'_>) -> std::result::Result<&Program, Failure> {
        let mut path = [0; MAX_NESTING];
        let path = match read_indexes(cursor, &mut path) {
            Ok(path) => path,
            Err(malformed) => return Err(no_indexes(malformed)),
        };
        let found = match path {
            // Sorted, so this one is the first.
            [0] => Ok(0),
            _ => self
                .0
                .binary_search_by(|(other, _)| other.as_slice().cmp(path)),
        };
        match found.ok().and_then(|place| self.0.get(place)) {
            Some((_, program)) => program.as_ref().map_err(Failure::clone),
            None => Err(Failure::new(
                ErrorType::Malformed,
                format!("its message indexes {path:?} name no message of its schema"),
            )),
        }
    }
}

#[cold]
fn no_indexes(malformed: Malformed) -> Failure {
    let Malformed { at, what } = malformed;
    Failure::new(
        ErrorType::Malformed,
        format!(
            "no message indexes behind the schema registry header: {what}, at byte {at} behind it"
        ),
    )
}

/// Reads Confluent's message indexes.
#[inline]
fn read_indexes<'p>(
    cursor: &mut Cursor<'_>,
    path: &'p mut [i32; MAX_NESTING],
) -> std::result::Result<&'p [i32], Malformed> {
    let count = match cursor.zigzag()? {
        0 => return Ok(&path[..1]),
        count => count,
    };
    let Some(path) = usize::try_from(count)
        .ok()
        .and_then(|count| path.get_mut(..count))
    else {
        return cursor.malformed("a number of indexes that no message has");
    };
    for index in &mut *path {
        *index = cursor.zigzag()?;
    }
    Ok(path)
}

/// A decoder of Protobuf records; see the module's documentation for what it takes for what.
#[derive(Debug)]
pub struct ProtobufDecoder {
    targets: Vec<Target>,
    known: KnownSchemas<Messages>,
    slots: Vec<Slot>,
    columns: RowColumns,
}

impl ProtobufDecoder {
    /// A decoder of records with the schema registry's header into `columns`. `event_id` and `event_time`
    /// are places in them. Values longer than `max_record_bytes` are `too_large`.
    ///
    /// # Errors
    /// Columns of the same name; an id or a time that is no column, or of another type.
    pub fn new(
        columns: &[Column],
        event_id: Option<usize>,
        event_time: usize,
        max_record_bytes: u64,
    ) -> Result<ProtobufDecoder> {
        super::check_columns(columns, event_id, Some(event_time))?;
        Ok(ProtobufDecoder {
            targets: targets(columns, event_id, event_time),
            known: KnownSchemas::default(),
            slots: Vec::new(),
            columns: RowColumns::new(columns, max_record_bytes),
        })
    }
}

impl Decode for ProtobufDecoder {
    fn decode(&mut self, batch: &RawBatch) -> Decoded {
        let ProtobufDecoder {
            targets,
            known,
            slots,
            columns,
        } = self;
        columns.decode(batch, |value, builders| {
            let frame = frame::read(value)?;
            let messages = known.get(frame.id)?;
            let mut cursor = Cursor::new(frame.payload);
            let program = messages.named(&mut cursor)?;
            program.read(&frame.payload[cursor.at..], targets, slots, builders)
        })
    }

    fn missing_schemas(&self, batch: &RawBatch, missing: &mut SchemaIds) {
        self.known.missing(batch, missing);
    }

    fn learn(&mut self, id: u32, answer: &SchemaAnswer) {
        let targets = &self.targets;
        self.known
            .learn(id, answer, |schema| Messages::compile(id, schema, targets));
    }

    fn forget(&mut self, id: u32) {
        self.known.forget(id);
    }
}
