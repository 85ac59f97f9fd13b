//! The schema registry's header: a zero byte, the schema's id in four bytes, then the record (Confluent's
//! wire format), and what is known of the ids.

use hashbrown::HashMap;

use super::SchemaIds;
use super::message::Failure;
use crate::io::{RegisteredSchema, SchemaAnswer, SchemaKind};
use crate::job::Format;
use crate::record::{ErrorType, RawBatch};

/// The first byte of the header.
const MAGIC: u8 = 0;

/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 5;

/// Schemas remembered by one worker; at one more all are forgotten and looked up again as they come. A topic
/// whose producers register a schema for every record would fill the memory else.
const MAX_SCHEMAS: usize = 10_000;

/// A record behind a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// The schema's id.
    pub id: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// The id in a header, if there is one.
#[inline]
pub(super) fn id_of(value: &[u8]) -> Option<u32> {
    match value {
        [MAGIC, a, b, c, d, ..] => Some(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}

/// The ids in a batch's headers.
pub(super) fn ids_of(batch: &RawBatch) -> SchemaIds {
    let values = batch
        .records
        .iter()
        .filter_map(|record| batch.value(record));
    values.filter_map(id_of).collect()
}

/// Splits a record into header and payload.
#[inline]
pub(super) fn read(value: &[u8]) -> Result<Frame<'_>, Failure> {
    match id_of(value) {
        Some(id) => Ok(Frame {
            id,
            payload: &value[HEADER_BYTES..],
        }),
        None => Err(no_header(value)),
    }
}

#[cold]
fn no_header(value: &[u8]) -> Failure {
    let message = match value {
        [] => "the record is empty: no schema registry header".to_owned(),
        [MAGIC, ..] => format!(
            "the record ends inside of the schema registry header, which has {HEADER_BYTES} bytes: {}",
            hex(value)
        ),
        [first, ..] => {
            let hint = match first {
                b'{' => "; it may be plain JSON, for which `format: json` would fit",
                _ => "",
            };
            format!(
                "starts with {}: no schema registry header, whose first byte is 00{hint}",
                hex(value)
            )
        }
    };
    Failure::new(ErrorType::Malformed, message)
}

/// What a text format says of a record that starts like a header of the schema registry.
#[cold]
pub(super) fn instead_of_text(value: &[u8]) -> Option<Failure> {
    let frame = read(value).ok()?;
    let fits = match frame.payload.first() {
        Some(b'{' | b'[') => "`format: json_sr`",
        _ => "`format: avro_sr` or `format: protobuf_sr`",
    };
    Some(Failure::new(
        ErrorType::Malformed,
        format!(
            "starts with {}: a schema registry header (schema id {}); use {fits}",
            hex(value),
            frame.id,
        ),
    ))
}

/// What is said of a registered schema that is of another kind than the job's format.
#[cold]
pub(super) fn wrong_kind(found: SchemaKind, expected: &str) -> String {
    format!(
        "it is {}, not {expected}; `format: {}` would fit",
        found.name(),
        format_of(found).name()
    )
}

/// The format of records whose header names a schema of this kind.
pub(super) fn format_of(kind: SchemaKind) -> Format {
    match kind {
        SchemaKind::Avro => Format::AvroSr,
        SchemaKind::Json => Format::JsonSr,
        SchemaKind::Protobuf => Format::ProtobufSr,
    }
}

/// The first bytes, in hexadecimal.
fn hex(value: &[u8]) -> String {
    let bytes: Vec<String> = value
        .iter()
        .take(HEADER_BYTES)
        .map(|byte| format!("{byte:02X}"))
        .collect();
    bytes.join(" ")
}

/// What is known of schema ids: for each what the format made of it, or why its records are dead letters.
#[derive(Debug)]
pub(super) struct KnownSchemas<T> {
    known: HashMap<u32, Result<T, Failure>>,
}

impl<T> Default for KnownSchemas<T> {
    fn default() -> KnownSchemas<T> {
        KnownSchemas {
            known: HashMap::new(),
        }
    }
}

impl<T> KnownSchemas<T> {
    /// What was made of a schema.
    #[inline]
    pub fn get(&self, id: u32) -> Result<&T, Failure> {
        match self.known.get(&id) {
            Some(Ok(made)) => Ok(made),
            Some(Err(failure)) => Err(failure.clone()),
            // Whoever decodes has asked for what is missing before.
            None => Err(Failure::new(
                ErrorType::UnknownSchema,
                format!("schema {id} was not looked up"),
            )),
        }
    }

    /// Adds the ids in a batch's headers that nothing is known of.
    pub fn missing(&self, batch: &RawBatch, missing: &mut SchemaIds) {
        let mut last = None;
        for record in &batch.records {
            let id = batch.value(record).and_then(id_of);
            if id != last {
                last = id;
                missing.extend(id.filter(|id| !self.known.contains_key(id)));
            }
        }
    }

    /// Forgets an id.
    pub fn forget(&mut self, id: u32) {
        self.known.remove(&id);
    }

    /// Remembers what the registry says of an id, and what `make` makes of the schema.
    pub fn learn(
        &mut self,
        id: u32,
        answer: &SchemaAnswer,
        make: impl FnOnce(&RegisteredSchema) -> Result<T, Failure>,
    ) {
        if self.known.len() >= MAX_SCHEMAS {
            // Seldom enough that asking again for the few in use costs nothing worth a better policy.
            self.known.clear();
        }
        let made = match answer {
            SchemaAnswer::Known(schema) => make(schema),
            SchemaAnswer::Denied(why) => Err(Failure::new(
                ErrorType::UnknownSchema,
                format!("the schema registry does not know schema {id}: {why}"),
            )),
        };
        self.known.insert(id, made);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_zero_and_four_bytes_of_id() {
        let frame = read(&[0, 0, 1, 0x86, 0xba, 7]).expect("a header");
        assert_eq!((frame.id, frame.payload), (100_026, [7].as_slice()));
        for value in [&[][..], &[0], &[0, 1, 2, 3], &[1, 0, 0, 0, 1, 9], b"{}"] {
            let failure = read(value).expect_err("no header");
            assert_eq!(failure.error_type, ErrorType::Malformed);
        }
        let json = read(b"{\"a\":1}").expect_err("no header");
        assert!(json.message.contains("`format: json`"), "{}", json.message);
    }

    #[test]
    fn a_text_format_names_the_format_that_would_fit() {
        let of = |value: &[u8]| instead_of_text(value).expect("a header").message;
        assert_eq!(
            of(b"\0\x00\x01\x86\xba{}"),
            "starts with 00 00 01 86 BA: a schema registry header (schema id 100026); use `format: json_sr`"
        );
        assert!(of(&[0, 0, 0, 0, 1, 2]).contains("avro_sr"));
        assert_eq!(instead_of_text(b"abc"), None);
    }
}
