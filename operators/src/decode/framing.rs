//! What stands in front of a JSON document, for the formats that have JSON behind it.

use super::SchemaIds;
use super::frame::{self, KnownSchemas};
use super::json_validation::RegisteredValidator;
use super::message::Failure;
use crate::io::SchemaAnswer;
use crate::record::RawBatch;

/// What stands in front of the JSON.
#[derive(Debug)]
pub(super) enum Framing {
    /// Nothing.
    None,
    /// The schema registry's header.
    SchemaId {
        /// The ids that the registry knows, when there is one to ask, with the schemas that records are held against.
        known: Option<KnownSchemas<Option<RegisteredValidator>>>,
        /// Whether records are held against their schemas.
        validates: bool,
    },
}

/// A JSON document without what stands in front of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Document<'a, 'known> {
    /// The document.
    pub json: &'a [u8],
    /// What it is held against.
    pub validator: Option<&'known RegisteredValidator>,
}

impl Framing {
    /// The schema registry's header. With `has_registry` its ids must be ones that the registry knows.
    pub fn schema_id(has_registry: bool) -> Framing {
        Framing::SchemaId {
            known: has_registry.then(KnownSchemas::default),
            validates: false,
        }
    }

    /// The same, the schemas being what records are held against.
    #[must_use]
    pub fn validating(mut self) -> Framing {
        if let Framing::SchemaId { validates, .. } = &mut self {
            *validates = true;
        }
        self
    }

    /// The document of a record.
    #[inline]
    pub fn open<'a>(&self, value: &'a [u8]) -> Result<Document<'a, '_>, Failure> {
        let Framing::SchemaId { known, .. } = self else {
            let validator = None;
            return Ok(Document {
                json: value,
                validator,
            });
        };
        let frame = frame::read(value)?;
        let validator = match known {
            Some(known) => known.get(frame.id)?.as_ref(),
            None => None,
        };
        Ok(Document {
            json: frame.payload,
            validator,
        })
    }

    /// As [`Decode::missing_schemas`](super::Decode::missing_schemas).
    pub fn missing_schemas(&self, batch: &RawBatch, missing: &mut SchemaIds) {
        if let Framing::SchemaId {
            known: Some(known), ..
        } = self
        {
            known.missing(batch, missing);
        }
    }

    /// As [`Decode::learn`](super::Decode::learn).
    pub fn learn(&mut self, id: u32, answer: &SchemaAnswer) {
        if let Framing::SchemaId {
            known: Some(known),
            validates,
        } = self
        {
            known.learn(id, answer, |schema| match validates {
                true => Ok(RegisteredValidator::compile(id, schema)),
                false => Ok(None),
            });
        }
    }

    /// As [`Decode::forget`](super::Decode::forget).
    pub fn forget(&mut self, id: u32) {
        if let Framing::SchemaId {
            known: Some(known), ..
        } = self
        {
            known.forget(id);
        }
    }
}
