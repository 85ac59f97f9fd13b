//! The registered JSON Schema of a record, applied to it.
//!
//! Draft 4 to 2020-12, as `$schema` says; draft 7 when it says nothing, as Confluent's own library takes it. `format`,
//! `contentEncoding` and `contentMediaType` are remarks, not rules. What `$ref` leads to outside of the schema is one of
//! the references that the registry gives, and nothing is ever fetched for it.
//!
//! A schema that is not applied (see [`super::json_schema_bounds`] for which those are) refuses nothing: its records are
//! held to the columns alone, and the log says so once for each.

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use super::json_schema_bounds::{Applicable, applicable};
use super::json_schema_references::References;
use super::message::{Failure, excerpt};
use super::schema_text::json_of;
use crate::io::{RegisteredSchema, SchemaKind};
use crate::record::ErrorType;

/// The setting that leaves the schemas out; named in the messages.
const SETTING: &str = "`json_fail_invalid_schema: false`";

/// Bytes that the automaton of one `pattern` may have: the engine's own default, which character classes of Unicode need.
const MAX_PATTERN_BYTES: usize = 10 << 20;

/// Bytes of a record times subschemas that are held against each other at most: some seconds.
const MAX_HELD: usize = 1 << 30;

/// Bytes of a record times subschemas that are worth a message of what is wrong, and where: each alternative that does not
/// fit keeps a copy of its part of the record.
const MAX_EXPLAINED: usize = 16 << 20;

/// A schema of the registry that records are held against.
#[derive(Debug)]
pub(super) struct RegisteredValidator {
    id: u32,
    validator: Validator,
    /// Subschemas that a record may be held against.
    subschemas: usize,
}

impl RegisteredValidator {
    /// The one of a schema; `None` for a schema that is not applied, or of another kind, which says nothing of JSON.
    pub fn compile(id: u32, schema: &RegisteredSchema) -> Option<RegisteredValidator> {
        if schema.kind != SchemaKind::Json {
            return None;
        }
        match build(schema) {
            Ok(Some((validator, subschemas))) => Some(RegisteredValidator {
                id,
                validator,
                subschemas,
            }),
            Ok(None) => None,
            Err(why) => {
                tracing::warn!(
                    schema = id,
                    "JSON Schema {id} of the registry is not applied to its records: {why}; they are held to the job's columns alone"
                );
                None
            }
        }
    }

    /// Holds a record, which is JSON, against the schema.
    ///
    /// # Errors
    /// It does not fit.
    pub fn validate(&self, record: &[u8]) -> Result<(), Failure> {
        if record.len().saturating_mul(self.subschemas) > MAX_HELD {
            return Ok(());
        }
        // Its grammar is checked before; what is left are numbers beyond a double, of which no rule can be told.
        let Ok(value) = serde_json::from_slice::<Value>(record) else {
            return Ok(());
        };
        match self.validator.is_valid(&value) {
            true => Ok(()),
            false => Err(self.violated(&value, record.len())),
        }
    }

    #[cold]
    fn violated(&self, value: &Value, bytes: usize) -> Failure {
        let id = self.id;
        let explained = match bytes.saturating_mul(self.subschemas) <= MAX_EXPLAINED {
            true => self.validator.validate(value).err(),
            false => None,
        };
        let message = match explained {
            Some(error) => format!(
                "violates schema {id} of the registry{}: {}, found {}; {SETTING} lands such records",
                place(error.instance_path().as_str()),
                error.masked(),
                excerpt(&error.instance().to_string()),
            ),
            None => format!("violates schema {id} of the registry; {SETTING} lands such records"),
        };
        Failure::new(ErrorType::SchemaMismatch, message)
    }
}

/// The validator of a schema and the number of its subschemas, `None` for one that is quietly not applied; else why it
/// is not, for a person.
fn build(schema: &RegisteredSchema) -> Result<Option<(Validator, usize)>, String> {
    let root = json_of(&schema.text)?;
    let references = References::new(&schema.references)?;
    let subschemas = match applicable(&root, &references)? {
        Applicable::Yes { subschemas } => subschemas,
        Applicable::MadeByConnect => return Ok(None),
    };
    let mut options = jsonschema::options()
        .should_validate_formats(false)
        .without_content_encoding_support("base64")
        .without_content_media_type_support("application/json")
        // Without what may go back: it takes a time that grows with the text alone.
        .with_pattern_options(
            PatternOptions::regex()
                .size_limit(MAX_PATTERN_BYTES)
                .dfa_size_limit(MAX_PATTERN_BYTES),
        )
        .with_retriever(references);
    if root.get("$schema").is_none() {
        options = options.with_draft(Draft::Draft7);
    }
    let validator = options
        .build(&root)
        .map_err(|error| format!("{error}{}", place(error.instance_path().as_str())))?;
    Ok(Some((validator, subschemas)))
}

/// Where in a document, when it is not the whole of it.
fn place(pointer: &str) -> String {
    match pointer {
        "" => String::new(),
        pointer => format!(" at {}", excerpt(pointer)),
    }
}
