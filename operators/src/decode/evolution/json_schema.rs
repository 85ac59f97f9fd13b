//! The fields of a JSON Schema, and the column that would hold each.

use serde_json::{Map, Value};

use super::Field;
use crate::schema::ColumnType;

/// References and alternatives followed to a field's type, at most.
pub(super) const MAX_STEPS: usize = 8;

/// The properties of the object that the schema describes.
///
/// # Errors
/// It is not JSON.
pub(super) fn fields(text: &str) -> Result<Vec<Field>, String> {
    let schema: Value = serde_json::from_str(text).map_err(|e| format!("it is not JSON: {e}"))?;
    let properties = schema.get("properties").and_then(Value::as_object);
    let properties = properties.into_iter().flatten();
    let field = |(name, of): (&String, &Value)| Field {
        name: name.clone(),
        column_type: column_type(&schema, of, MAX_STEPS),
    };
    Ok(properties.map(field).collect())
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
        let target = reference.strip_prefix('#');
        return match target.and_then(|pointer| root.pointer(pointer)) {
            Some(target) => resolve(root, target, steps),
            None => Err(format!("of what `{reference}` says")),
        };
    }
    for word in ["oneOf", "anyOf"] {
        if let Some(Value::Array(branches)) = of.get(word) {
            let is_null = |branch: &&Value| branch.get("type").is_some_and(|t| t == "null");
            let mut others = branches.iter().filter(|branch| !is_null(branch));
            return match (others.next(), others.next()) {
                (Some(only), None) => resolve(root, only, steps),
                _ => Err("of several types".to_owned()),
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
