//! The JSON Schema of the configuration, for editors.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::file::bounds::MAX_RESTART_ATTEMPTS;
use super::file::{
    CATALOG_TYPES, ConfigFile, DedupSection, FORMATS, INTEGER_TIMESTAMPS, ON_GAP, PEEK_FORMATS,
    QUOTED_BINARIES, QUOTED_DECIMALS, SCHEMA_EVOLUTIONS, TOO_LATE,
};
use super::units::{DURATION_PATTERN, SIZE_PATTERN};

/// The schema (draft 2020-12), in which `jobs` knows the names of the registry.
pub fn json_schema_for(jobs: &[&str]) -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(forbid_null));
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<ConfigFile>()
        .to_value();
    if let Some(section) = schema.pointer_mut("/properties/jobs") {
        let override_schema = section["additionalProperties"].take();
        let properties: serde_json::Map<String, Value> = jobs
            .iter()
            .map(|job| ((*job).to_owned(), override_schema.clone()))
            .collect();
        section["properties"] = Value::Object(properties);
        section["additionalProperties"] = Value::Bool(false);
    }
    schema
}

/// A setting may be absent, but a key without a value is an error, so `null` is never right.
fn forbid_null(schema: &mut Schema) {
    let is_null = |v: &Value| v == "null" || v.get("type").is_some_and(|t| t == "null");
    if let Some(Value::Array(any_of)) = schema.get_mut("anyOf") {
        any_of.retain(|v| !is_null(v));
    }
    let types = schema.get("type").and_then(Value::as_array).cloned();
    if let Some(mut types) = types {
        types.retain(|t| !is_null(t));
        if let [only] = types.as_slice() {
            schema.insert("type".to_owned(), only.clone());
        }
    }
}

/// Besides what `schema` allows, a text with a variable in it.
fn or_variable(schema: Value) -> Schema {
    json_schema!({ "anyOf": [schema, { "type": "string", "pattern": r"\$\{(env|file):" }] })
}

fn one_of<T>(words: &[(&str, T)]) -> Schema {
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    or_variable(json!({ "enum": words }))
}

pub(crate) fn boolean(_: &mut SchemaGenerator) -> Schema {
    or_variable(json!({ "type": "boolean" }))
}

pub(crate) fn text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1 })
}

pub(crate) fn duration(_: &mut SchemaGenerator) -> Schema {
    or_variable(
        json!({ "type": "string", "pattern": DURATION_PATTERN, "examples": ["250ms", "30s", "5m", "24h", "1h30m"] }),
    )
}

pub(crate) fn size(_: &mut SchemaGenerator) -> Schema {
    let examples = ["512KiB", "64MiB", "1GiB"];
    or_variable(
        json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": SIZE_PATTERN, "examples": examples }] }),
    )
}

pub(crate) fn attempts(_: &mut SchemaGenerator) -> Schema {
    or_variable(json!({ "type": "integer", "minimum": 0, "maximum": MAX_RESTART_ATTEMPTS }))
}

pub(crate) fn properties(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": { "type": ["string", "number", "boolean"] } })
}

pub(crate) fn http(_: &mut SchemaGenerator) -> Schema {
    or_variable(
        json!({ "type": "string", "pattern": r"^(off|.+:[0-9]{1,5})$", "examples": ["127.0.0.1:8092", "off"] }),
    )
}

pub(crate) fn topics(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [
        { "type": "array", "items": { "type": "string", "minLength": 1 }, "minItems": 1, "uniqueItems": true },
        { "type": "string", "minLength": 1 },
    ] })
}

pub(crate) fn csv_columns(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [
        { "type": "array", "items": { "type": "string", "minLength": 1 }, "uniqueItems": true },
        { "type": "string", "minLength": 1 },
    ] })
}

pub(crate) fn csv_delimiter(_: &mut SchemaGenerator) -> Schema {
    or_variable(json!({ "type": "string", "pattern": r#"^[^"\r\n]$"# }))
}

pub(crate) fn table(_: &mut SchemaGenerator) -> Schema {
    or_variable(json!({ "type": "string", "pattern": r"^[^.]+(\.[^.]+)+$" }))
}

pub(crate) fn routes(_: &mut SchemaGenerator) -> Schema {
    let table = json!({ "type": "string", "pattern": r"^[^.]+(\.[^.]+)+$" });
    json_schema!({ "type": "object", "additionalProperties": table })
}

pub(crate) fn table_or_off(_: &mut SchemaGenerator) -> Schema {
    or_variable(json!({ "type": "string", "pattern": r"^(off|[^.]+(\.[^.]+)+)$" }))
}

pub(crate) fn catalog_type(_: &mut SchemaGenerator) -> Schema {
    one_of(&CATALOG_TYPES)
}

pub(crate) fn format(_: &mut SchemaGenerator) -> Schema {
    let one = one_of(&FORMATS).to_value();
    json_schema!({ "anyOf": [
        one,
        { "type": "object", "additionalProperties": one, "minProperties": 1 },
    ] })
}

pub(crate) fn peek_format(_: &mut SchemaGenerator) -> Schema {
    one_of(&PEEK_FORMATS)
}

pub(crate) fn peek_at(_: &mut SchemaGenerator) -> Schema {
    or_variable(
        json!({ "type": "string", "pattern": "^(field:.+|header:.+|key|timestamp)$", "examples": ["field:message_id"] }),
    )
}

pub(crate) fn integer_timestamps(_: &mut SchemaGenerator) -> Schema {
    one_of(&INTEGER_TIMESTAMPS)
}

pub(crate) fn quoted_decimals(_: &mut SchemaGenerator) -> Schema {
    one_of(&QUOTED_DECIMALS)
}

pub(crate) fn quoted_binaries(_: &mut SchemaGenerator) -> Schema {
    one_of(&QUOTED_BINARIES)
}

pub(crate) fn too_late(_: &mut SchemaGenerator) -> Schema {
    one_of(&TOO_LATE)
}

pub(crate) fn schema_evolution(_: &mut SchemaGenerator) -> Schema {
    one_of(&SCHEMA_EVOLUTIONS)
}

pub(crate) fn on_gap(_: &mut SchemaGenerator) -> Schema {
    one_of(&ON_GAP)
}

pub(crate) fn starting_offsets(_: &mut SchemaGenerator) -> Schema {
    let object = |key: &str, value: Value| json!({ "type": "object", "properties": { key: value }, "required": [key], "additionalProperties": false });
    let offset = json!({ "type": "integer", "minimum": 0 });
    let partitions = json!({ "type": "object", "patternProperties": { "^[0-9]+$": offset }, "additionalProperties": false });
    let explicit = json!({ "type": "object", "additionalProperties": partitions });
    or_variable(json!({ "anyOf": [
        { "enum": ["earliest", "latest", "group"] },
        object("timestamp", json!({ "type": ["integer", "string"], "description": "Milliseconds since 1970, or RFC 3339." })),
        object("explicit", explicit),
    ] }))
}

pub(crate) fn dedup(generator: &mut SchemaGenerator) -> Schema {
    let section = generator.subschema_for::<DedupSection>().to_value();
    json_schema!({ "anyOf": [{ "const": "off" }, section] })
}
