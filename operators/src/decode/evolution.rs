//! Schema evolution: the fields of a schema that the job has no column for, as columns to be. The schema is one of the
//! registry, or comes with the record (Connect's, of Debezium).
//!
//! A field becomes an optional column of its name and of the type that holds every value of it. Left out, and
//! said so, are fields of which no column can be made: records, arrays, maps, unions of several types, names that a
//! table cannot have.

use serde_json::Value;

use super::{avro, protobuf};
use crate::error::{Error, Result};
use crate::io::{RegisteredSchema, SchemaKind};
use crate::job::{Format, JobSettings, Sink};
use crate::schema::{AddedColumn, Column, ColumnType, metadata_fields};

mod change;
pub(super) mod connect;
mod json_schema;
#[cfg(test)]
mod recorded_tests;
mod registered_change;

/// Bytes of a column's name, at most. PostgreSQL takes 63, Hive 128; beyond 255 file systems and catalogs give up.
const MAX_NAME_BYTES: usize = 255;

/// A field of a schema, and the column that would hold it, or what it is when none would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub name: String,
    pub column_type: std::result::Result<ColumnType, String>,
}

/// Whether a job's columns can follow its schemas.
///
/// # Errors
/// Configuration: nothing says what its fields are, or it has no table.
pub(super) fn check(settings: &JobSettings) -> Result<()> {
    if settings.sink == Sink::Terminal {
        return Err(Error::configuration(
            "`schema_evolution: add_columns` is for jobs with tables, and this one goes to the terminal",
        )
        .hint(format!(
            "leave `jobs.{}.schema_evolution` out",
            settings.name
        )));
    }
    match settings.format {
        Format::AvroSr
        | Format::JsonSr
        | Format::ProtobufSr
        | Format::DebeziumJson
        | Format::DebeziumJsonSr => Ok(()),
        other => Err(Error::configuration(format!(
            "`schema_evolution: add_columns` needs format `avro_sr`, `json_sr`, `protobuf_sr`, `debezium_json` or \
             `debezium_json_sr`, whose schemas say what a new field is; the format is `{}`",
            other.name()
        ))
        .hint(format!(
            "set `jobs.{}.schema_evolution: off`, and add columns in the job's code",
            settings.name
        ))),
    }
}

/// What a schema has that the job does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewFields {
    /// Columns to be, in the order of the schema.
    pub columns: Vec<AddedColumn>,
    /// Fields that are no column and will be none, each with the reason.
    pub left_out: Vec<String>,
}

/// The fields of a registered schema that the job has no column for. None, when the schema cannot be used: the decoder
/// says why of every record. That of JSON does not look at the schema, so that it is said here.
pub fn new_fields(settings: &JobSettings, schema: &RegisteredSchema) -> NewFields {
    let fields = match (settings.format, schema.kind) {
        (Format::AvroSr, SchemaKind::Avro) => avro::fields(&schema.text, &schema.references),
        (Format::JsonSr, SchemaKind::Json) => json_schema::fields(&schema.text),
        (Format::ProtobufSr, SchemaKind::Protobuf) => protobuf::fields(schema, &needed(settings)),
        (Format::DebeziumJsonSr, SchemaKind::Json) => registered_change::fields(&schema.text),
        _ => return NewFields::default(),
    };
    match fields {
        Ok(fields) => without_column(settings, &fields),
        Err(why) if settings.format == Format::JsonSr => NewFields {
            left_out: vec![format!("all that there are ({why})")],
            ..NewFields::default()
        },
        Err(_) => NewFields::default(),
    }
}

/// The same of a Connect schema, which came with a record.
pub(super) fn new_carried_fields(settings: &JobSettings, schema: &Value) -> NewFields {
    without_column(settings, &connect::fields(schema))
}

/// Those of a schema's fields that the job has no column for.
fn without_column(settings: &JobSettings, fields: &[Field]) -> NewFields {
    // By any of its names: a record may have another of them than the next.
    let is_taken = |name: &str| {
        let mut columns = settings.columns.iter();
        columns.any(|column| column.name == name || column.aliases.contains(&name))
    };
    let mut found = NewFields::default();
    // A record of which a column takes a part.
    let is_entered = |name: &str| {
        let names = |column: &Column| [&[column.name][..], column.aliases].concat();
        let mut names = settings.columns.iter().flat_map(names);
        names.any(|way| {
            way.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('.'))
        })
    };
    for field in fields {
        let name = field.name.as_str();
        if is_entered(name) || is_taken(name) {
            continue;
        }
        let column_type = field.column_type.clone();
        let fitting =
            column_type.and_then(|t| name_fits(name, settings, &found.columns).map(|()| t));
        match fitting {
            Ok(column_type) => found.columns.push(AddedColumn {
                name: name.to_owned(),
                column_type,
            }),
            Err(why) => found.left_out.push(format!("`{name}` ({why})")),
        }
    }
    found
}

/// The columns without which no record lands.
fn needed(settings: &JobSettings) -> Vec<&Column> {
    let key = settings.dedup.as_ref().map(|dedup| dedup.key.as_str());
    let is_needed = |column: &&Column| {
        column.required || column.name == settings.event_time || Some(column.name) == key
    };
    settings.columns.iter().filter(is_needed).collect()
}

/// Whether a table of the job can have a column of this name, besides those that are `found` already.
fn name_fits(
    name: &str,
    settings: &JobSettings,
    found: &[AddedColumn],
) -> std::result::Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(format!("its name has {} bytes", name.len()));
    }
    // Iceberg's readers take a dot for a step into a struct.
    if name.contains('.') || name.chars().any(char::is_control) {
        return Err("its name has a dot or a control character".to_owned());
    }
    let is_debezium = matches!(
        settings.format,
        Format::DebeziumJson | Format::DebeziumJsonSr
    );
    if is_debezium && change::ENVELOPE_COLUMNS.contains(&name) {
        return Err("the envelope's, and a column only where the job's code names it".to_owned());
    }
    let metadata = metadata_fields();
    let ours = settings.columns.iter().map(|column| column.name);
    let ours = ours.chain(metadata.iter().map(|field| field.name().as_str()));
    let mut ours = ours.chain(found.iter().map(|column| column.name.as_str()));
    // Most readers of tables do not tell upper case from lower case.
    match ours.find(|ours| ours.eq_ignore_ascii_case(name)) {
        Some(ours) => Err(format!("the table's `{ours}` is another column")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Job, SchemaEvolution};

    const JOB: Job = Job {
        name: "evolving",
        format: Format::AvroSr,
        columns: &[
            Column::required("event_id", ColumnType::String).aliases(&["id"]),
            Column::required("event_time", ColumnType::Timestamptz),
        ],
        ..Job::BRONZE
    };

    fn found(format: Format, kind: SchemaKind, text: &str) -> NewFields {
        let schema = RegisteredSchema {
            kind,
            text: text.to_owned(),
            references: Vec::new(),
        };
        let settings = JobSettings {
            format,
            ..JOB.settings()
        };
        new_fields(&settings, &schema)
    }

    fn columns(found: &NewFields) -> Vec<(&str, ColumnType)> {
        let columns = found.columns.iter();
        columns.map(|c| (c.name.as_str(), c.column_type)).collect()
    }

    #[test]
    fn what_an_avro_schema_adds_is_a_column_of_the_type_that_holds_it() {
        let found = found(
            Format::AvroSr,
            SchemaKind::Avro,
            r#"{"type":"record","name":"E","fields":[
                {"name":"id","type":"string"},
                {"name":"event_time","type":"long"},
                {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":20,"scale":8}},
                {"name":"huge","type":{"type":"bytes","logicalType":"decimal","precision":60,"scale":8}},
                {"name":"count","type":["null","int"],"default":null},
                {"name":"seen","type":["null",{"type":"long","logicalType":"timestamp-micros"}]},
                {"name":"either","type":["string","long"]},
                {"name":"book","type":{"type":"array","items":"double"}},
                {"name":"Event_ID","type":"string"},
                {"name":"kafka_offset","type":"long"},
                {"name":"side","type":{"type":"enum","name":"Side","symbols":["BUY"]}}]}"#,
        );
        let price = ColumnType::Decimal {
            precision: 20,
            scale: 8,
        };
        assert_eq!(
            columns(&found),
            [
                ("price", price),
                ("count", ColumnType::Int),
                ("seen", ColumnType::Timestamptz),
                ("side", ColumnType::String)
            ]
        );
        let left_out = [
            "`huge`",
            "`either`",
            "`book`",
            "`Event_ID`",
            "`kafka_offset`",
        ];
        assert_eq!(found.left_out.len(), left_out.len(), "{found:?}");
        for (said, name) in found.left_out.iter().zip(left_out) {
            assert!(said.starts_with(name), "{said}");
        }
    }

    #[test]
    fn what_a_json_schema_adds_is_a_column_of_the_type_that_holds_it() {
        let found = found(
            Format::JsonSr,
            SchemaKind::Json,
            r##"{"type":"object","$defs":{"money":{"type":"number"},"loop":{"$ref":"#/$defs/loop"}},"properties":{
                "event_id":{"type":"string"},
                "event_time":{"type":"string","format":"date-time"},
                "id":{"type":"string"},
                "a":{"type":"integer"}, "b":{"type":["null","boolean"]}, "c":{"$ref":"#/$defs/money"},
                "d":{"oneOf":[{"type":"null"},{"type":"string","format":"date"}]},
                "e":{"enum":["x","y",null]}, "f":{"type":"string","format":"date-time"},
                "g":{"type":"array"}, "h":{"$ref":"#/$defs/loop"}, "i":true, "j.k":{"type":"string"}}}"##,
        );
        let mut columns = columns(&found);
        columns.sort_by_key(|(name, _)| name.to_owned());
        assert_eq!(
            columns,
            [
                ("a", ColumnType::Long),
                ("b", ColumnType::Boolean),
                ("c", ColumnType::Double),
                ("d", ColumnType::Date),
                ("e", ColumnType::String),
                ("f", ColumnType::Timestamptz),
            ]
        );
        assert_eq!(found.left_out.len(), 4, "{found:?}");
    }

    #[test]
    fn what_a_protobuf_schema_adds_is_a_column_of_the_type_that_holds_it() {
        let found = found(
            Format::ProtobufSr,
            SchemaKind::Protobuf,
            r#"syntax = "proto3"; import "google/protobuf/timestamp.proto"; import "google/protobuf/wrappers.proto";
                message Other { string id = 1; string not_of_an_event = 2; }
                enum Side { BUY = 0; SELL = 1; }
                message Trade {
                    string id = 1; google.protobuf.Timestamp event_time = 2;
                    int32 a = 3; uint32 b = 4; sint64 c = 5; fixed64 d = 6; float e = 7; double f = 8; bool g = 9;
                    string h = 10; bytes i = 11; Side j = 12; google.protobuf.Timestamp k = 13;
                    google.protobuf.StringValue l = 14; repeated string m = 15; map<string, string> n = 16; Other o = 17;
                    string kafka_offset = 18;
                }
                message Cancel { string id = 1; int64 event_time = 2; string h = 3; string reason = 4; }"#,
        );
        let unsigned = ColumnType::Decimal {
            precision: 20,
            scale: 0,
        };
        assert_eq!(
            columns(&found),
            [
                ("a", ColumnType::Int),
                ("b", ColumnType::Long),
                ("c", ColumnType::Long),
                ("d", unsigned),
                ("e", ColumnType::Float),
                ("f", ColumnType::Double),
                ("g", ColumnType::Boolean),
                ("h", ColumnType::String),
                ("i", ColumnType::Binary),
                ("j", ColumnType::String),
                ("k", ColumnType::Timestamptz),
                ("l", ColumnType::String),
                ("reason", ColumnType::String),
            ]
        );
        let left_out = ["`m`", "`n`", "`o`", "`kafka_offset`"];
        assert_eq!(found.left_out.len(), left_out.len(), "{found:?}");
        for (said, name) in found.left_out.iter().zip(left_out) {
            assert!(said.starts_with(name), "{said}");
        }
    }

    #[test]
    fn what_a_schema_of_debezium_adds_is_of_the_row_and_no_name_is_added_twice() {
        let settings = JobSettings {
            format: Format::DebeziumJson,
            ..JOB.settings()
        };
        let field = |name: &str, of: &str| serde_json::json!({"type": of, "field": name});
        let schema = serde_json::json!({"type": "struct", "fields": [
            field("event_id", "string"), field("price", "int64"), field("Price", "string"),
            field("price", "string"), field("__op", "string"), field("tags", "array"),
            field("kafka_offset", "int64"),
        ]});
        let carried = new_carried_fields(&settings, &schema);
        assert_eq!(columns(&carried), [("price", ColumnType::Long)]);
        let left_out = ["`Price`", "`price`", "`__op`", "`tags`", "`kafka_offset`"];
        assert_eq!(carried.left_out.len(), left_out.len(), "{carried:?}");
        for (said, name) in carried.left_out.iter().zip(left_out) {
            assert!(said.starts_with(name), "{said}");
        }
        let registered = found(
            Format::DebeziumJsonSr,
            SchemaKind::Json,
            r#"{"properties":{"op":{"type":"string"},"ts_ms":{"type":"integer"},"after":{"properties":{
                "price":{"type":"integer"},"__deleted":{"type":"string"}}}}}"#,
        );
        assert_eq!(columns(&registered), [("price", ColumnType::Long)]);
        assert_eq!(registered.left_out.len(), 1, "{registered:?}");
    }

    #[test]
    fn columns_follow_the_schemas_of_formats_that_have_any() {
        let settings = |format| JobSettings {
            format,
            schema_evolution: SchemaEvolution::AddColumns,
            ..JOB.settings()
        };
        for format in [Format::JsonSr, Format::DebeziumJson, Format::DebeziumJsonSr] {
            assert!(check(&settings(format)).is_ok(), "{}", format.name());
        }
        for format in [Format::Json, Format::Csv, Format::Raw, Format::Avro] {
            let refused = check(&settings(format)).expect_err("no schema says what a field is");
            assert!(refused.to_string().contains(format.name()), "{refused}");
        }
        assert!(settings(Format::DebeziumJsonSr).needs_registry());
        assert!(!settings(Format::DebeziumJson).needs_registry());
    }

    #[test]
    fn a_schema_that_cannot_be_used_adds_nothing() {
        for (format, kind) in [
            (Format::ProtobufSr, SchemaKind::Protobuf),
            (Format::ProtobufSr, SchemaKind::Avro),
            (Format::AvroSr, SchemaKind::Avro),
            (Format::AvroSr, SchemaKind::Json),
            (Format::JsonSr, SchemaKind::Json),
            (Format::DebeziumJsonSr, SchemaKind::Json),
            (Format::DebeziumJsonSr, SchemaKind::Avro),
            (Format::DebeziumJson, SchemaKind::Json),
        ] {
            for text in ["", "{", "{}", "[]", "\"string\"", r#"{"properties":[]}"#] {
                let NewFields { columns, left_out } = found(format, kind, text);
                assert!(columns.is_empty(), "{text}: {columns:?}");
                // Of a JSON Schema nothing else would say it.
                let is_said = (format, kind) == (Format::JsonSr, SchemaKind::Json);
                assert_eq!(left_out.len(), usize::from(is_said), "{text}: {left_out:?}");
            }
        }
    }

    #[test]
    fn the_fields_of_a_json_schema_are_found_behind_its_root() {
        let schema = |more: &str| {
            format!(
                r##"{{{more},"definitions":{{
                    "base":{{"properties":{{"event_id":{{"type":"string"}},"a":{{"type":"integer"}}}}}},
                    "more":{{"allOf":[{{"$ref":"#/definitions/base"}},{{"$ref":"#/definitions/more"}}],
                             "properties":{{"b":{{"type":"boolean"}}}}}},
                    "next":{{"$ref":"#/definitions/more"}}}}}}"##
            )
        };
        let expected = [("a", ColumnType::Long), ("b", ColumnType::Boolean)];
        for root in [
            r##""$ref":"#/definitions/more""##,
            r##""$ref":"#/definitions/next""##,
            r##""allOf":[{"$ref":"#/definitions/next"}]"##,
            r##""allOf":[{"$ref":"#/definitions/base"},{"properties":{"b":{"type":"boolean"}}}]"##,
            r##""oneOf":[{"type":"null"},{"$ref":"#/definitions/more"}]"##,
            // What only narrows a value need not say its type again.
            r##""$ref":"#/definitions/more","properties":{"a":{"minimum":0},"b":{"const":true}}"##,
            // Alternatives that only say what is required.
            r##""$ref":"#/definitions/more","anyOf":[{"required":["a"]},{"required":["b"]}]"##,
        ] {
            let found = found(Format::JsonSr, SchemaKind::Json, &schema(root));
            let mut columns = columns(&found);
            columns.sort_by_key(|(name, _)| name.to_owned());
            assert_eq!(columns, expected, "{root}");
            assert!(found.left_out.is_empty(), "{root}: {found:?}");
        }
        for root in [
            r##""$ref":"#/definitions/none""##,
            r##""$ref":"#""##,
            r##""allOf":[{"$ref":"#"},{"$ref":"#"}]"##,
            r##""oneOf":[{"$ref":"#/definitions/base"},{"$ref":"#/definitions/more"}]"##,
        ] {
            let found = found(Format::JsonSr, SchemaKind::Json, &schema(root));
            assert!(found.columns.is_empty(), "{root}: {found:?}");
            assert_eq!(found.left_out.len(), 1, "{root}: {found:?}");
        }
    }

    #[test]
    fn a_field_of_json_that_a_column_takes_by_an_alias_becomes_no_other_column() {
        let schema = r#"{"properties":{"id":{"type":"string"},"a":{"type":"integer"}}}"#;
        let found = found(Format::JsonSr, SchemaKind::Json, schema);
        assert_eq!(columns(&found), [("a", ColumnType::Long)]);
        // One record may have the name, and the next the alias.
        let both = r#"{"properties":{"event_id":{"type":"string"},"id":{"type":"string"}}}"#;
        let found = self::found(Format::JsonSr, SchemaKind::Json, both);
        assert!(found.columns.is_empty(), "{found:?}");
    }
}
