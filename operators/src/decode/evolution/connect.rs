//! The fields of a row in a Connect schema, and the column that would hold each.
//!
//! A schema is JSON as Connect's `JsonConverter` writes it in front of a record. What a field's values are is said by
//! its type, and by the name of its semantic type where Connect or Debezium has one; the decoder reads them by the same
//! names (`debezium/readings.rs`).

use serde_json::Value;

use super::Field;
use super::change::{Described, described};
use crate::schema::{ColumnType, MAX_DECIMAL_PRECISION};

/// The semantic type of decimals, bytes of an unscaled integer.
pub(super) const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";

/// Semantic types of dates and times: the name, the type they are written as, the column.
const TIMES: [(&str, &str, ColumnType); 14] = [
    ("io.debezium.time.Date", "int32", ColumnType::Date),
    ("io.debezium.time.IsoDate", "string", ColumnType::Date),
    (
        "org.apache.kafka.connect.data.Date",
        "int32",
        ColumnType::Date,
    ),
    ("io.debezium.time.Time", "int32", ColumnType::Time),
    ("io.debezium.time.MicroTime", "int64", ColumnType::Time),
    ("io.debezium.time.NanoTime", "int64", ColumnType::Time),
    ("io.debezium.time.IsoTime", "string", ColumnType::Time),
    (
        "org.apache.kafka.connect.data.Time",
        "int32",
        ColumnType::Time,
    ),
    ("io.debezium.time.Timestamp", "int64", ColumnType::Timestamp),
    (
        "io.debezium.time.MicroTimestamp",
        "int64",
        ColumnType::Timestamp,
    ),
    (
        "io.debezium.time.NanoTimestamp",
        "int64",
        ColumnType::Timestamp,
    ),
    (
        "io.debezium.time.IsoTimestamp",
        "string",
        ColumnType::Timestamp,
    ),
    (
        "org.apache.kafka.connect.data.Timestamp",
        "int64",
        ColumnType::Timestamp,
    ),
    (
        "io.debezium.time.ZonedTimestamp",
        "string",
        ColumnType::Timestamptz,
    ),
];

/// The fields of the row that the schema describes; none when it is of no row, or no schema.
pub(super) fn fields(schema: &Value) -> Vec<Field> {
    let (described, row) = row(schema);
    if described == Described::NoRow {
        return Vec::new();
    }
    let field = |field: &Value| {
        Some(Field {
            name: name_of(field)?.to_owned(),
            column_type: column_type(field),
        })
    };
    row.iter().filter_map(field).collect()
}

/// What a schema is of, and its fields that are the row's: those of a change's image, else all of them.
pub(in crate::decode) fn row(schema: &Value) -> (Described, &[Value]) {
    let top = fields_of(schema);
    let names: Vec<&str> = top.iter().filter_map(name_of).collect();
    let named = |name: &str| top.iter().find(|field| name_of(field) == Some(name));
    let described = described(&names, || {
        let mut source = named("source").map(fields_of).unwrap_or_default().iter();
        source.any(|field| name_of(field) == Some("ts_ms"))
    });
    let row = match described {
        Described::Change => {
            let image = named("after").or_else(|| named("before"));
            image.map(fields_of).unwrap_or_default()
        }
        Described::Row | Described::NoRow => top,
    };
    (described, row)
}

fn fields_of(schema: &Value) -> &[Value] {
    let fields = schema["fields"].as_array();
    fields.map(Vec::as_slice).unwrap_or_default()
}

fn name_of(field: &Value) -> Option<&str> {
    field["field"].as_str()
}

/// The type that holds every value, null aside; else what the schema says, for a person.
fn column_type(field: &Value) -> Result<ColumnType, String> {
    let name = field["name"].as_str().unwrap_or_default();
    let written_as = field["type"].as_str().unwrap_or_default();
    if (name, written_as) == (DECIMAL, "bytes") {
        let parameter = |name: &str| field["parameters"][name].as_str();
        return decimal(parameter("scale"), parameter("connect.decimal.precision"));
    }
    let mut times = TIMES.iter();
    if let Some((_, _, column_type)) =
        times.find(|(known, of, _)| (*known, *of) == (name, written_as))
    {
        return Ok(*column_type);
    }
    match written_as {
        "int8" | "int16" | "int32" => Ok(ColumnType::Int),
        "int64" => Ok(ColumnType::Long),
        "float" => Ok(ColumnType::Float),
        "double" => Ok(ColumnType::Double),
        "boolean" => Ok(ColumnType::Boolean),
        "string" => Ok(ColumnType::String),
        "bytes" => Ok(ColumnType::Binary),
        "" => Err("of any type".to_owned()),
        other if name.is_empty() => Err(other.to_owned()),
        other => Err(format!("{other} `{name}`")),
    }
}

/// The column of Connect's decimals, by the parameters of their schema. Without a precision it has as many digits as a
/// column can have: the databases that do not say it (PostgreSQL, of `money`) have no more.
///
/// # Errors
/// No column holds them; for a person.
pub(super) fn decimal(scale: Option<&str>, precision: Option<&str>) -> Result<ColumnType, String> {
    let number = |text: &str| text.parse::<u8>().ok();
    let scale = scale.and_then(number).ok_or("a decimal without a scale")?;
    let precision = match precision {
        Some(precision) => number(precision).ok_or("a decimal of many digits")?,
        None => MAX_DECIMAL_PRECISION,
    };
    let column_type = ColumnType::Decimal { precision, scale };
    if column_type.is_valid() {
        Ok(column_type)
    } else {
        Err(format!(
            "a decimal of {precision} digits, {scale} of them behind the point"
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row_of(fields: Value) -> Value {
        json!({"type": "struct", "name": "shop.public.orders.Envelope", "fields": [
            {"type": "struct", "field": "before", "optional": true, "fields": fields},
            {"type": "struct", "field": "after", "optional": true, "fields": fields},
            {"type": "struct", "field": "source", "fields": [{"type": "string", "field": "db"}]},
            {"type": "string", "field": "op"},
            {"type": "int64", "field": "ts_ms", "optional": true},
        ]})
    }

    /// Connect's and Debezium's types, with and without a semantic name, each with its column.
    #[test]
    fn a_field_of_each_type_is_a_column_of_the_type_that_holds_it() {
        use ColumnType as C;
        let none = Value::Null;
        let digits = |precision: &str, scale: &str| json!({"scale": scale, "connect.decimal.precision": precision});
        let cases = [
            ("int8", "", none.clone(), Some(C::Int)),
            ("int16", "", none.clone(), Some(C::Int)),
            ("int32", "", none.clone(), Some(C::Int)),
            ("int64", "", none.clone(), Some(C::Long)),
            ("float", "", none.clone(), Some(C::Float)),
            ("double", "", none.clone(), Some(C::Double)),
            ("boolean", "", none.clone(), Some(C::Boolean)),
            ("string", "", none.clone(), Some(C::String)),
            ("bytes", "", none.clone(), Some(C::Binary)),
            ("array", "", none.clone(), None),
            ("map", "", none.clone(), None),
            ("struct", "", none.clone(), None),
            (
                "struct",
                "io.debezium.data.VariableScaleDecimal",
                none.clone(),
                None,
            ),
            (
                "int32",
                "io.debezium.time.Date",
                none.clone(),
                Some(C::Date),
            ),
            ("int32", "io.debezium.time.Year", none.clone(), Some(C::Int)),
            (
                "int32",
                "io.debezium.time.Time",
                none.clone(),
                Some(C::Time),
            ),
            (
                "int64",
                "io.debezium.time.MicroTime",
                none.clone(),
                Some(C::Time),
            ),
            (
                "int64",
                "io.debezium.time.NanoTime",
                none.clone(),
                Some(C::Time),
            ),
            (
                "int64",
                "io.debezium.time.Timestamp",
                none.clone(),
                Some(C::Timestamp),
            ),
            (
                "int64",
                "io.debezium.time.MicroTimestamp",
                none.clone(),
                Some(C::Timestamp),
            ),
            (
                "int64",
                "io.debezium.time.NanoTimestamp",
                none.clone(),
                Some(C::Timestamp),
            ),
            (
                "int64",
                "io.debezium.time.MicroDuration",
                none.clone(),
                Some(C::Long),
            ),
            (
                "string",
                "io.debezium.time.ZonedTimestamp",
                none.clone(),
                Some(C::Timestamptz),
            ),
            (
                "string",
                "io.debezium.time.ZonedTime",
                none.clone(),
                Some(C::String),
            ),
            (
                "string",
                "io.debezium.time.IsoDate",
                none.clone(),
                Some(C::Date),
            ),
            (
                "string",
                "io.debezium.time.IsoTime",
                none.clone(),
                Some(C::Time),
            ),
            (
                "string",
                "io.debezium.data.Json",
                none.clone(),
                Some(C::String),
            ),
            (
                "string",
                "io.debezium.data.Uuid",
                none.clone(),
                Some(C::String),
            ),
            (
                "string",
                "io.debezium.data.Enum",
                json!({"allowed": "a,b"}),
                Some(C::String),
            ),
            (
                "bytes",
                "io.debezium.data.Bits",
                json!({"length": "3"}),
                Some(C::Binary),
            ),
            (
                "int32",
                "org.apache.kafka.connect.data.Date",
                none.clone(),
                Some(C::Date),
            ),
            (
                "int32",
                "org.apache.kafka.connect.data.Time",
                none.clone(),
                Some(C::Time),
            ),
            (
                "int64",
                "org.apache.kafka.connect.data.Timestamp",
                none.clone(),
                Some(C::Timestamp),
            ),
            // Of another type than its name promises: what it is written as decides.
            (
                "string",
                "io.debezium.time.Date",
                none.clone(),
                Some(C::String),
            ),
            (
                "bytes",
                DECIMAL,
                digits("18", "4"),
                Some(C::Decimal {
                    precision: 18,
                    scale: 4,
                }),
            ),
            (
                "bytes",
                DECIMAL,
                json!({"scale": "2"}),
                Some(C::Decimal {
                    precision: 38,
                    scale: 2,
                }),
            ),
            ("bytes", DECIMAL, digits("65", "4"), None),
            ("bytes", DECIMAL, digits("1000", "4"), None),
            ("bytes", DECIMAL, digits("4", "8"), None),
            ("bytes", DECIMAL, json!({"scale": "-2"}), None),
            ("bytes", DECIMAL, none, None),
        ];
        for (written_as, name, parameters, expected) in cases {
            let field =
                json!({"type": written_as, "name": name, "parameters": parameters, "field": "f"});
            let found = fields(&row_of(json!([field])));
            let [
                Field {
                    name: of,
                    column_type,
                },
            ] = found.as_slice()
            else {
                panic!("{written_as} {name}: {found:?}");
            };
            assert_eq!(
                (of.as_str(), column_type.clone().ok()),
                ("f", expected),
                "{written_as} {name}: {column_type:?}"
            );
        }
    }

    #[test]
    fn the_fields_are_those_of_the_row_and_not_those_around_it() {
        let names = |schema: &Value| -> Vec<String> {
            let fields = fields(schema).into_iter();
            fields.map(|field| field.name).collect()
        };
        let row = json!([{"type": "int32", "field": "id"}, {"type": "string", "field": "note"}]);
        assert_eq!(names(&row_of(row.clone())), ["id", "note"]);
        assert_eq!(
            names(&json!({"type": "struct", "fields": row})),
            ["id", "note"]
        );
        let source = json!({"type": "struct", "field": "source", "fields": [{"type": "int64", "field": "ts_ms"}]});
        for no_row in [
            json!({"type": "struct", "fields": [{"type": "int64", "field": "ts_ms"}]}),
            json!({"type": "struct", "fields": [{"type": "string", "field": "op"}, source, {"type": "struct", "field": "message"}]}),
            json!({"type": "struct", "fields": {"field": "id"}}),
            json!({"type": "struct", "fields": [{"type": "string"}, 1, null]}),
            json!([]),
            Value::Null,
        ] {
            assert!(names(&no_row).is_empty(), "{no_row}");
        }
    }

    #[test]
    fn columns_of_the_names_that_an_envelope_has_are_columns_of_a_row() {
        let text = |name: &str| json!({"type": "string", "field": name});
        let record = |name: &str| json!({"type": "struct", "field": name, "fields": [{"type": "string", "field": "inside"}]});
        let columns = |top: &[Value]| -> Vec<String> {
            let found = fields(&json!({"type": "struct", "fields": top})).into_iter();
            found.map(|field| field.name).collect()
        };
        assert_eq!(columns(&[text("id"), text("op")]), ["id", "op"]);
        assert_eq!(
            columns(&[text("id"), text("op"), record("source")]),
            ["id", "op", "source"]
        );
        assert_eq!(columns(&[text("id"), record("after")]), ["id", "after"]);
        // With both it is an envelope, as a record is that has both.
        assert_eq!(columns(&[text("op"), record("after")]), ["inside"]);
        assert_eq!(columns(&[text("op"), record("before")]), ["inside"]);
    }
}
