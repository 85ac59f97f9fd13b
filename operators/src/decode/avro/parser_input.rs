//! A schema as apache-avro gets it.
//!
//! Version 0.21 gets the JSON without what it makes too much of:
//!
//! | in the JSON | is | because |
//! |---|---|---|
//! | a `fixed` that is a `uuid` or a `duration` | another logical type | it would take the one for text with a length in front, losing the frame, and the other for 12 bytes however many there are; and it forgets their names |
//! | `logicalType` of a record, an enum, an array or a map | left out | there is none of them, and it would take their `type` for a name |
//! | `default` | left out | only a reader's schema is asked for it, and it refuses those that do not fit, among them the bytes of a decimal as Avro writes them |
//! | `aliases` | left out | only a reader's schema is asked for them, and it panics at one that is no name |
//! | a schema that others refer to | the records, enums and fixed that it is: itself, or the branches of its union | it panics where another refers to a primitive that has a name, or to a type by the name of what it is wrapped in |
//! | a name or namespace with other characters than a name may have (`my-company.events`) | spelled with those | it refuses the namespace, and panics at the name. Its validators could be others, but they are set once for the process, and iceberg may parse a manifest's schema before |

use serde_json::{Map, Value};

/// A logical type under which a `fixed` of a UUID passes through apache-avro unharmed.
pub(super) const FIXED_UUID: &str = "strandline-uuid";

/// The same of a duration.
pub(super) const FIXED_DURATION: &str = "strandline-duration";

/// The types that no logical type is of.
const UNLIKE_LOGICAL: [&str; 4] = ["record", "enum", "array", "map"];

/// What only a reader's schema is asked for, of a type or of a field.
const FOR_READERS: [&str; 2] = ["default", "aliases"];

/// The full name that a schema gives itself.
pub(super) fn full_name(schema: &Value) -> Option<String> {
    let text = |key: &str| schema.get(key).and_then(Value::as_str);
    let name = text("name")?;
    Some(match text("namespace") {
        Some(namespace) if !namespace.is_empty() && !name.contains('.') => {
            format!("{namespace}.{name}")
        }
        _ => name.to_owned(),
    })
}

/// Adds what a schema defines for those that refer to it. What is nothing of the kind defines no name: who refers to it
/// all the same refers to nothing.
pub(super) fn add_definitions(schema: Value, found: &mut Vec<Value>) {
    match schema {
        Value::Array(branches) => {
            for branch in branches {
                add_definitions(branch, found);
            }
        }
        Value::Object(mut object) => {
            // Without it apache-avro looks for a type that is called `record`.
            let part = match object.get("type").and_then(Value::as_str) {
                Some("record") => Some("fields"),
                Some("enum") => Some("symbols"),
                Some("fixed") => Some("size"),
                _ => None,
            };
            if part.is_some_and(|part| object.contains_key(part)) {
                found.push(Value::Object(object));
            } else if let Some(wrapped) = object.get_mut("type") {
                add_definitions(wrapped.take(), found);
            }
        }
        _ => {}
    }
}

/// The text of a schema as apache-avro gets it.
pub(super) fn for_parser(mut schema: Value) -> String {
    prepare_type(&mut schema);
    schema.to_string()
}

/// Makes a type, and those within it, what apache-avro can take.
fn prepare_type(schema: &mut Value) {
    match schema {
        // The name of a type; those of Avro's own stay as they are.
        Value::String(name) => *name = legal_name(name),
        Value::Array(branches) => branches.iter_mut().for_each(prepare_type),
        Value::Object(object) => {
            if let Some(Value::String(name)) = object.get_mut("name") {
                *name = legal_name(name);
            }
            prepare_parts(object);
        }
        _ => {}
    }
}

/// The same of what types and fields have in common. The name of a field stays: columns are found by it.
fn prepare_parts(object: &mut Map<String, Value>) {
    for key in FOR_READERS {
        object.remove(key);
    }
    let word = |key: &str| object.get(key).and_then(Value::as_str);
    match (word("type"), word("logicalType")) {
        (Some("fixed"), Some("uuid")) => {
            object.insert("logicalType".to_owned(), Value::from(FIXED_UUID));
        }
        (Some("fixed"), Some("duration")) => {
            object.insert("logicalType".to_owned(), Value::from(FIXED_DURATION));
        }
        (Some(kind), Some(_)) if UNLIKE_LOGICAL.contains(&kind) => {
            object.remove("logicalType");
        }
        _ => {}
    }
    // An empty one stays: it says that there is none.
    if let Some(Value::String(namespace)) = object.get_mut("namespace")
        && !namespace.is_empty()
    {
        *namespace = legal_parts(namespace);
    }
    for part in ["type", "items", "values"] {
        if let Some(part) = object.get_mut(part) {
            prepare_type(part);
        }
    }
    if let Some(Value::Array(fields)) = object.get_mut("fields") {
        for field in fields.iter_mut().filter_map(Value::as_object_mut) {
            prepare_parts(field);
        }
    }
}

/// A name, perhaps with a namespace in front, of characters that Avro's names may have; one that has no others is
/// itself.
fn legal_name(name: &str) -> String {
    match name.strip_prefix('.') {
        // In no namespace, whatever the one around it.
        Some(simple) if !simple.contains('.') => format!(".{}", legal_part(simple)),
        _ => legal_parts(name),
    }
}

fn legal_parts(name: &str) -> String {
    let parts: Vec<String> = name.split('.').map(legal_part).collect();
    parts.join(".")
}

/// What is between two dots. Other characters are spelled by their numbers, so that two names stay two.
fn legal_part(part: &str) -> String {
    if part.is_empty() {
        return "_".to_owned();
    }
    let mut legal = String::with_capacity(part.len());
    for (place, character) in part.chars().enumerate() {
        match character {
            '_' | 'a'..='z' | 'A'..='Z' => legal.push(character),
            '0'..='9' if place > 0 => legal.push(character),
            other => legal.push_str(&format!("_x{:x}_", u32::from(other))),
        }
    }
    legal
}
