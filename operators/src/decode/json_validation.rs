//! The registered JSON Schema of a record, applied to it.
//!
//! Draft 4 to 2020-12, as `$schema` says; draft 2020-12 when it says nothing. `format` is a remark, not a rule, as the
//! specification has it and as Confluent's serializer in Python takes it. What `$ref` leads to outside of the schema
//! is one of the references that the registry gives, and nothing is ever fetched for it.
//!
//! A schema that the registry took and that cannot be applied makes its records dead letters, as one of Avro that
//! cannot be read does: what it would have refused would land unseen else.

use std::collections::BTreeMap;

use jsonschema::{PatternOptions, Retrieve, Uri, ValidationError, Validator};
use serde_json::Value;

use super::message::{Failure, excerpt};
use crate::io::{ReferencedSchema, RegisteredSchema, SchemaKind};
use crate::record::ErrorType;

/// The setting that leaves the schemas out; named in the messages.
const SETTING: &str = "`json_fail_invalid_schema: false`";

/// Bytes that the automaton of one `pattern` may have.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// Steps that one `pattern` may go back while it is held against one text; what needs more does not match.
const MAX_BACKTRACKS: usize = 100_000;

/// A schema of the registry that records are held against.
#[derive(Debug)]
pub(super) struct RegisteredValidator {
    id: u32,
    validator: Validator,
}

impl RegisteredValidator {
    /// The one of a schema; `None` for a schema of another kind, which says nothing of JSON.
    ///
    /// # Errors
    /// What all its records are dead letters for: it cannot be applied.
    pub fn compile(
        id: u32,
        schema: &RegisteredSchema,
    ) -> Result<Option<RegisteredValidator>, Failure> {
        if schema.kind != SchemaKind::Json {
            return Ok(None);
        }
        let unusable = |why: String| {
            Failure::new(
                ErrorType::SchemaMismatch,
                format!(
                    "schema {id} of the registry cannot be applied: {why}; {SETTING} lands its records without"
                ),
            )
        };
        let text = serde_json::from_str(&schema.text)
            .map_err(|error| unusable(format!("it is not JSON: {error}")))?;
        let validator = jsonschema::options()
            .should_validate_formats(false)
            .with_pattern_options(
                PatternOptions::fancy_regex()
                    .backtrack_limit(MAX_BACKTRACKS)
                    .size_limit(MAX_PATTERN_BYTES)
                    .dfa_size_limit(MAX_PATTERN_BYTES),
            )
            .with_retriever(References::new(&schema.references))
            .build(&text)
            .map_err(|error| {
                unusable(format!(
                    "{error}{}",
                    at(" at ", error.instance_path().as_str())
                ))
            })?;
        Ok(Some(RegisteredValidator { id, validator }))
    }

    /// Holds a record, which is JSON, against the schema.
    ///
    /// # Errors
    /// The first thing in which it does not fit.
    pub fn validate(&self, record: &[u8]) -> Result<(), Failure> {
        let value: Value = serde_json::from_slice(record).map_err(|error| {
            // Grammar is checked before; what is left are numbers beyond a double.
            Failure::new(
                ErrorType::SchemaMismatch,
                format!(
                    "cannot be held against schema {} of the registry: {error}",
                    self.id
                ),
            )
        })?;
        self.validator
            .validate(&value)
            .map_err(|error| self.violated(&error))
    }

    #[cold]
    fn violated(&self, error: &ValidationError<'_>) -> Failure {
        Failure::new(
            ErrorType::SchemaMismatch,
            format!(
                "violates schema {} of the registry{}: {}, found {}; {SETTING} lands such records",
                self.id,
                at(" at ", error.instance_path().as_str()),
                error.masked(),
                excerpt(&error.instance().to_string()),
            ),
        )
    }
}

/// Where in a document, when it is not the whole of it.
fn at(before: &str, pointer: &str) -> String {
    match pointer {
        "" => String::new(),
        pointer => format!("{before}{}", excerpt(pointer)),
    }
}

/// What the registry gives for the references of a schema, by the name that the schema calls each.
struct References {
    texts: BTreeMap<String, String>,
}

impl References {
    fn new(references: &[ReferencedSchema]) -> References {
        let named = references
            .iter()
            .map(|one| (one.name.clone(), one.text.clone()));
        References {
            texts: named.collect(),
        }
    }
}

impl Retrieve for References {
    /// `uri` is what stands in `$ref`, resolved against the `$id` around it; its name in the registry is what stands
    /// in `$ref`. So a name fits that is all of it, or its end.
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let wanted = uri.as_str();
        let is_end = |name: &str| {
            wanted
                .strip_suffix(name.trim_start_matches("./"))
                .is_some_and(|before| before.ends_with('/'))
        };
        let exact = self.texts.get(wanted);
        let found = exact.or_else(|| {
            let mut ends = self.texts.iter().filter(|(name, _)| is_end(name));
            ends.next().map(|(_, text)| text)
        });
        match found {
            Some(text) => Ok(serde_json::from_str(text)?),
            None => Err(format!("the registry gives no reference `{wanted}`").into()),
        }
    }
}
