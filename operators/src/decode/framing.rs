//! What stands in front of a JSON document, for the formats that have JSON behind it.

use super::SchemaIds;
use super::frame::{self, KnownSchemas};
use super::message::Failure;
use crate::io::SchemaAnswer;
use crate::record::RawBatch;

/// What stands in front of the JSON.
#[derive(Debug)]
pub(super) enum Framing {
    /// Nothing.
    None,
    /// The schema registry's header; the ids are checked when there is a registry to ask.
    SchemaId(Option<KnownSchemas<()>>),
}

impl Framing {
    /// The schema registry's header. With `has_registry` its ids must be ones that the registry knows.
    pub fn schema_id(has_registry: bool) -> Framing {
        Framing::SchemaId(has_registry.then(KnownSchemas::default))
    }

    /// The JSON of a record.
    #[inline]
    pub fn payload<'a>(&self, value: &'a [u8]) -> Result<&'a [u8], Failure> {
        let Framing::SchemaId(known) = self else {
            return Ok(value);
        };
        let frame = frame::read(value)?;
        if let Some(known) = known {
            known.get(frame.id)?;
        }
        Ok(frame.payload)
    }

    /// As [`Decode::missing_schemas`](super::Decode::missing_schemas).
    pub fn missing_schemas(&self, batch: &RawBatch, missing: &mut SchemaIds) {
        if let Framing::SchemaId(Some(known)) = self {
            known.missing(batch, missing);
        }
    }

    /// As [`Decode::learn`](super::Decode::learn).
    pub fn learn(&mut self, id: u32, answer: &SchemaAnswer) {
        if let Framing::SchemaId(Some(known)) = self {
            known.learn(id, answer, |_| Ok(()));
        }
    }

    /// As [`Decode::forget`](super::Decode::forget).
    pub fn forget(&mut self, id: u32) {
        if let Framing::SchemaId(Some(known)) = self {
            known.forget(id);
        }
    }
}
