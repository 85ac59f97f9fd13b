//! The fields of a row in the registered JSON Schema of Debezium's changes, and the column that would hold each.
//!
//! The schema is as Confluent's `JsonSchemaConverter` writes it, of the envelope or of a row without one. It does not
//! come with the record, so that nothing but the job's settings says how a value is read. So a column has the type
//! that holds the values as they are written: an integer is a long, whatever it counts.

use serde_json::{Map, Value};

use super::Field;
use super::change::{Described, described};
use super::connect;
use super::json_schema::{MAX_STEPS, plain_type, resolve};
use crate::decode::schema_text::json_of;
use crate::schema::ColumnType;

/// The properties of the row that the schema describes; none when it is of no row.
///
/// # Errors
/// It is not JSON.
pub(super) fn fields(text: &str) -> Result<Vec<Field>, String> {
    let root = json_of(text)?;
    let Some(top) = properties(&root, &root) else {
        return Ok(Vec::new());
    };
    let names: Vec<&str> = top.keys().map(String::as_str).collect();
    let inside = |name: &str| top.get(name).and_then(|of| properties(&root, of));
    let says_time = || inside("source").is_some_and(|source| source.contains_key("ts_ms"));
    let row = match described(&names, says_time) {
        Described::Change if top.contains_key("after") => inside("after"),
        Described::Change => inside("before"),
        Described::Row => Some(top),
        Described::NoRow => None,
    };
    let field = |(name, of): (&String, &Value)| Field {
        name: name.clone(),
        column_type: column_type(&root, of),
    };
    Ok(row.into_iter().flatten().map(field).collect())
}

fn properties<'a>(root: &'a Value, of: &'a Value) -> Option<&'a Map<String, Value>> {
    let of = resolve(root, of, MAX_STEPS).ok()?;
    of.get("properties")?.as_object()
}

/// The type that holds every value, null aside; else what the schema says, for a person.
fn column_type(root: &Value, of: &Value) -> Result<ColumnType, String> {
    let of = resolve(root, of, MAX_STEPS)?;
    let said = |word: &str| of.get(word).and_then(Value::as_str);
    let plain = plain_type(of)?;
    if said("title") == Some(connect::DECIMAL) {
        if plain == ColumnType::String {
            // The scale of a later schema may be another one, and neither the record nor the column says it.
            return Err("a decimal in base64, whose scale no record says".to_owned());
        }
        let parameters = of.get("connect.parameters");
        let parameter = |name: &str| parameters?.get(name)?.as_str();
        return connect::decimal(parameter("scale"), parameter("connect.decimal.precision"));
    }
    match (plain, said("connect.type")) {
        (ColumnType::String, Some("bytes")) => Ok(ColumnType::Binary),
        _ => Ok(plain),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(schema: &Value) -> Vec<(String, Option<ColumnType>)> {
        let fields = fields(&schema.to_string()).expect("JSON");
        let found = fields.into_iter();
        let mut found: Vec<_> = found.map(|f| (f.name, f.column_type.ok())).collect();
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        found
    }

    /// As `JsonSchemaConverter` writes optional fields.
    fn optional(index: u8, of: Value) -> Value {
        json!({"connect.index": index, "oneOf": [{"type": "null"}, of]})
    }

    fn row() -> Value {
        let parameters = json!({"scale": "4", "connect.decimal.precision": "18"});
        json!({
            "type": "object", "title": "shop.public.orders.Value",
            "properties": {
                "a": {"type": "integer", "connect.index": 0, "connect.type": "int32"},
                "b": optional(1, json!({"type": "integer", "title": "io.debezium.time.MicroTimestamp", "connect.type": "int64", "connect.version": 1})),
                "c": optional(2, json!({"type": "string", "title": "io.debezium.time.ZonedTimestamp", "connect.version": 1})),
                "d": optional(3, json!({"type": "string", "connect.type": "bytes"})),
                "e": optional(4, json!({"type": "string", "title": connect::DECIMAL, "connect.type": "bytes", "connect.parameters": parameters})),
                "f": optional(5, json!({"type": "number", "title": connect::DECIMAL, "connect.type": "bytes", "connect.parameters": parameters})),
                "g": optional(6, json!({"type": "number", "connect.type": "float32"})),
                "h": optional(7, json!({"type": "array", "items": {"type": "integer"}})),
                "i": optional(8, json!({"type": "boolean"})),
            }
        })
    }

    fn expected() -> Vec<(String, Option<ColumnType>)> {
        use ColumnType as C;
        let decimal = Some(C::Decimal {
            precision: 18,
            scale: 4,
        });
        let types = [
            ("a", Some(C::Long)),
            ("b", Some(C::Long)),
            ("c", Some(C::String)),
            ("d", Some(C::Binary)),
            ("e", None),
            ("f", decimal),
            ("g", Some(C::Double)),
            ("h", None),
            ("i", Some(C::Boolean)),
        ];
        let types = types.into_iter();
        types.map(|(name, of)| (name.to_owned(), of)).collect()
    }

    #[test]
    fn the_rows_fields_are_columns_of_the_types_that_hold_them_as_they_are_written() {
        let envelope = |after: Value| {
            json!({
                "type": "object", "title": "shop.public.orders.Envelope",
                "properties": {
                    "before": {"oneOf": [{"type": "null"}, row()]}, "after": after,
                    "source": {"type": "object", "properties": {"db": {"type": "string"}}},
                    "op": {"type": "string"}, "ts_ms": {"oneOf": [{"type": "null"}, {"type": "integer"}]}
                },
                "definitions": {"row": row()}
            })
        };
        for schema in [
            envelope(row()),
            envelope(optional(1, row())),
            envelope(optional(1, json!({"$ref": "#/definitions/row"}))),
            row(),
        ] {
            assert_eq!(found(&schema), expected(), "{schema}");
        }
    }

    #[test]
    fn a_schema_of_no_row_has_no_fields() {
        for schema in [
            json!({"type": "object", "properties": {"ts_ms": {"type": "integer"}}}),
            json!({"type": "object", "properties": {
                "op": {"type": "string"}, "ts_ms": {"type": "integer"}, "message": {"type": "object"},
                "source": optional(2, json!({"type": "object", "properties": {"ts_ms": {"type": "integer"}}})),
            }}),
            json!({"type": "object", "properties": {"op": {"type": "string"}, "after": {"$ref": "#/nowhere"}}}),
            json!({"$ref": "#"}),
            json!({"properties": []}),
            json!(true),
        ] {
            let found = found(&schema);
            assert!(found.is_empty(), "{schema}: {found:?}");
        }
        assert!(fields("{").is_err());
    }

    #[test]
    fn columns_of_the_names_that_an_envelope_has_are_columns_of_a_row() {
        let names = |properties: Value| -> Vec<String> {
            let found = found(&json!({"type": "object", "properties": properties}));
            found.into_iter().map(|(name, _)| name).collect()
        };
        let text = json!({"type": "string"});
        let record = json!({"type": "object", "properties": {"inside": {"type": "string"}}});
        assert_eq!(names(json!({"id": text, "op": text})), ["id", "op"]);
        assert_eq!(names(json!({"id": text, "after": record})), ["after", "id"]);
        // With both it is an envelope, as a record is that has both.
        assert_eq!(names(json!({"op": text, "after": record})), ["inside"]);
        assert_eq!(names(json!({"op": text, "before": record})), ["inside"]);
    }
}
