//! Which JSON Schemas are applied to records, so that holding one record against one ends, and soon.
//!
//! A validator goes as deep as schema and record together and has no limit of its own: alternatives that refer back to
//! the whole double the work at each level of a record, and a schema may be a chain of thousands of references. So a
//! schema is applied when it is, references written out, a tree of at most [`MAX_SUBSCHEMAS`] parts, [`MAX_DEPTH`] within
//! each other and with [`MAX_PATTERNS`] patterns. It is not when it
//!
//! - refers to itself, however indirectly, or by `$dynamicRef` or `$recursiveRef`;
//! - has an `$id` within, or one that a reference has as well: the validator takes one for the other, and panics;
//! - refers to what is not there, or to it by an anchor.
//!
//! One that Connect made says `connect.type`. It describes Connect's data, not what its converter writes: a decimal is a
//! `number` there, and base64 in the record.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::json_schema_references::References;

/// Parts of a schema, those that are referred to twice counted twice.
const MAX_SUBSCHEMAS: usize = 5_000;

/// Parts within each other.
const MAX_DEPTH: usize = 200;

/// Regular expressions, each an automaton of its own.
const MAX_PATTERNS: usize = 256;

/// Keywords whose values are data, not schemas.
const DATA: [&str; 5] = ["const", "enum", "default", "examples", "example"];

/// Keywords whose values are schemas by names that mean nothing.
const MAPS: [&str; 4] = [
    "properties",
    "patternProperties",
    "dependentSchemas",
    "dependencies",
];

/// A schema that can be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applicable {
    /// It is.
    Yes {
        /// Its parts, references written out.
        subschemas: usize,
    },
    /// It is not, as it describes Connect's data.
    MadeByConnect,
}

/// Whether the schema is applied; else why not, for a person.
pub(super) fn applicable(root: &Value, references: &References) -> Result<Applicable, String> {
    let mut ids = BTreeSet::new();
    let all = std::iter::once(root).chain(references.documents());
    for id in all.filter_map(id_of) {
        if !ids.insert(id) {
            return Err(format!("`$id` `{id}` is that of two schemas"));
        }
    }
    let mut walk = Walk {
        references,
        subschemas: 0,
        patterns: 0,
        is_made_by_connect: false,
        open: vec![root],
    };
    walk.part(root, root, 0)?;
    Ok(match walk.is_made_by_connect {
        true => Applicable::MadeByConnect,
        false => Applicable::Yes {
            subschemas: walk.subschemas,
        },
    })
}

fn id_of(schema: &Value) -> Option<&str> {
    let id = schema.get("$id").or_else(|| schema.get("id"))?.as_str()?;
    Some(id.trim_end_matches('#'))
}

struct Walk<'a> {
    references: &'a References,
    subschemas: usize,
    patterns: usize,
    is_made_by_connect: bool,
    /// What was referred to and is not at its end yet.
    open: Vec<&'a Value>,
}

impl<'a> Walk<'a> {
    /// Counts a part of `document` and all that it leads to. Each object and list counts, which is more than there are
    /// schemas.
    fn part(&mut self, document: &'a Value, part: &'a Value, depth: usize) -> Result<(), String> {
        self.count(depth)?;
        match part {
            Value::Array(parts) => {
                for part in parts.iter().filter(|part| is_nested(part)) {
                    self.part(document, part, depth + 1)?;
                }
                Ok(())
            }
            Value::Object(members) => {
                let is_root = std::ptr::eq(part, document);
                members
                    .iter()
                    .try_for_each(|(key, value)| self.member(document, is_root, key, value, depth))
            }
            _ => Ok(()),
        }
    }

    fn member(
        &mut self,
        document: &'a Value,
        is_root: bool,
        key: &str,
        value: &'a Value,
        depth: usize,
    ) -> Result<(), String> {
        match (key, value) {
            ("$id" | "id", Value::String(_)) if !is_root => {
                Err("it has an `$id` within".to_owned())
            }
            ("$ref", Value::String(to)) => self.reference(document, to, depth),
            ("$dynamicRef" | "$recursiveRef", _) => Err(format!("it has a `{key}`")),
            ("connect.type", Value::String(_)) => {
                self.is_made_by_connect = true;
                Ok(())
            }
            ("pattern", Value::String(_)) => self.patterns(1),
            // Counted where something refers to them: a reference is written out.
            ("$defs" | "definitions", Value::Object(_)) => Ok(()),
            (key, Value::Object(schemas)) if MAPS.contains(&key) => {
                if key == "patternProperties" {
                    self.patterns(schemas.len())?;
                }
                self.each(document, schemas, depth + 1)
            }
            (key, value) if is_nested(value) && !DATA.contains(&key) => {
                self.part(document, value, depth + 1)
            }
            _ => Ok(()),
        }
    }

    fn each(
        &mut self,
        document: &'a Value,
        schemas: &'a Map<String, Value>,
        depth: usize,
    ) -> Result<(), String> {
        self.count(depth)?;
        let mut schemas = schemas.values();
        schemas.try_for_each(|schema| self.part(document, schema, depth + 1))
    }

    fn count(&mut self, depth: usize) -> Result<(), String> {
        self.subschemas += 1;
        if self.subschemas > MAX_SUBSCHEMAS {
            return Err(format!(
                "references written out, it has more than {MAX_SUBSCHEMAS} parts"
            ));
        }
        match depth > MAX_DEPTH {
            true => Err(format!("it is deeper than {MAX_DEPTH} parts")),
            false => Ok(()),
        }
    }

    fn patterns(&mut self, more: usize) -> Result<(), String> {
        self.patterns += more;
        match self.patterns > MAX_PATTERNS {
            true => Err(format!("it has more than {MAX_PATTERNS} patterns")),
            false => Ok(()),
        }
    }

    fn reference(&mut self, document: &'a Value, to: &str, depth: usize) -> Result<(), String> {
        let (name, pointer) = to.split_once('#').unwrap_or((to, ""));
        let document = match name {
            "" => Some(document),
            name if id_of(document) == Some(name) => Some(document),
            name => self.references.find(name),
        };
        let target = document.and_then(|document| Some((document, document.pointer(pointer)?)));
        let Some((document, target)) = target else {
            return Err(format!("`{to}` leads nowhere, or to an anchor"));
        };
        if self.open.iter().any(|open| std::ptr::eq(*open, target)) {
            return Err("it refers to itself".to_owned());
        }
        self.open.push(target);
        self.part(document, target, depth + 1)?;
        self.open.pop();
        Ok(())
    }
}

fn is_nested(value: &Value) -> bool {
    value.is_object() || value.is_array()
}
