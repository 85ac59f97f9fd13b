//! The fields of a JSON Schema, and the column that would hold each.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Field;
use crate::decode::schema_text::json_of;
use crate::schema::ColumnType;

/// References and alternatives followed to a field's type, at most.
pub(super) const MAX_STEPS: usize = 8;

/// The properties of the object that the schema describes.
///
/// # Errors
/// It is not JSON, or names no properties.
pub(super) fn fields(text: &str) -> Result<Vec<Field>, String> {
    let schema = json_of(text)?;
    let mut fields: Vec<Field> = Vec::new();
    let mut places = BTreeMap::new();
    for (name, of) in properties(&schema) {
        let found = column_type(&schema, of, MAX_STEPS);
        let place = *places.entry(name.as_str()).or_insert(fields.len());
        match fields.get_mut(place) {
            // A part of the schema that only narrows the values need not say their type.
            Some(field) if field.column_type.is_err() => field.column_type = found,
            Some(_) => {}
            None => fields.push(Field {
                name: name.clone(),
                column_type: found,
            }),
        }
    }
    if fields.is_empty() {
        return Err("the JSON Schema names no properties of its object".to_owned());
    }
    Ok(fields)
}

/// The properties of the object that the schema describes: its own, those behind a reference, those of all that it is
/// put together of (`allOf`), and those of its one alternative besides null. A name may come several times.
fn properties(root: &Value) -> Vec<(&String, &Value)> {
    let mut found = Vec::new();
    // Not by recursion: a schema may be a long chain of references.
    let mut open = vec![root];
    // Each reference is followed once, so that one into itself ends.
    let mut followed = BTreeSet::new();
    while let Some(of) = open.pop() {
        if let Some(Value::Object(own)) = of.get("properties") {
            found.extend(own);
        }
        if let Some(Value::Array(parts)) = of.get("allOf") {
            open.extend(parts.iter().rev());
        }
        for word in ["oneOf", "anyOf"] {
            if let Some(Value::Array(alternatives)) = of.get(word) {
                open.extend(besides_null(alternatives));
            }
        }
        if let Some(Value::String(reference)) = of.get("$ref")
            && followed.insert(reference)
        {
            open.extend(referred(root, reference));
        }
    }
    found
}

/// What a reference leads to.
fn referred<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    root.pointer(reference.strip_prefix('#')?)
}

/// The one alternative that is not null.
fn besides_null(alternatives: &[Value]) -> Option<&Value> {
    let is_null = |one: &&Value| one.get("type").is_some_and(|t| t == "null");
    let mut others = alternatives.iter().filter(|one| !is_null(one));
    others.next().filter(|_| others.next().is_none())
}

/// The type that holds every value, null aside; else what the schema says, for a person.
fn column_type(root: &Value, of: &Value, steps: usize) -> Result<ColumnType, String> {
    plain_type(resolve(root, of, steps)?)
}

/// What a schema comes to, behind its references and besides null.
///
/// # Errors
/// Several types, any type, or a reference that leads nowhere or too far; for a person.
pub(super) fn resolve<'a>(
    root: &'a Value,
    of: &'a Value,
    steps: usize,
) -> Result<&'a Map<String, Value>, String> {
    let Value::Object(of) = of else {
        return Err("of any type".to_owned());
    };
    let Some(steps) = steps.checked_sub(1) else {
        return Err("a reference that leads far".to_owned());
    };
    if let Some(Value::String(reference)) = of.get("$ref") {
        return match referred(root, reference) {
            Some(target) => resolve(root, target, steps),
            None => Err(format!("of what `{reference}` says")),
        };
    }
    for word in ["oneOf", "anyOf"] {
        if let Some(Value::Array(branches)) = of.get(word) {
            return match besides_null(branches) {
                Some(only) => resolve(root, only, steps),
                None => Err("of several types".to_owned()),
            };
        }
    }
    Ok(of)
}

/// The type that holds every value of a schema that [`resolve`] came to, null aside; else what the schema says.
///
/// # Errors
/// No column holds it; for a person.
pub(super) fn plain_type(of: &Map<String, Value>) -> Result<ColumnType, String> {
    match type_name(of)? {
        "string" => Ok(match of.get("format").and_then(Value::as_str) {
            Some("date-time") => ColumnType::Timestamptz,
            Some("date") => ColumnType::Date,
            _ => ColumnType::String,
        }),
        "integer" => Ok(ColumnType::Long),
        "number" => Ok(ColumnType::Double),
        "boolean" => Ok(ColumnType::Boolean),
        other => Err(other.to_owned()),
    }
}

/// The one type that `type` names besides null; that of an `enum` of strings, when it names none.
fn type_name(of: &Map<String, Value>) -> Result<&str, String> {
    match of.get("type") {
        Some(Value::String(name)) => Ok(name),
        Some(Value::Array(names)) => {
            let mut names = names.iter().filter_map(Value::as_str);
            let mut names = names.by_ref().filter(|name| *name != "null");
            match (names.next(), names.next()) {
                (Some(only), None) => Ok(only),
                _ => Err("of several types".to_owned()),
            }
        }
        _ => match of.get("enum") {
            Some(Value::Array(values)) if values.iter().all(|v| v.is_string() || v.is_null()) => {
                Ok("string")
            }
            _ => Err("of any type".to_owned()),
        },
    }
}
