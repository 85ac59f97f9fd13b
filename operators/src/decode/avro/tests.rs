//! The Avro decoder against apache-avro, and against what producers and networks do to records.

use apache_avro::types::Value;
use apache_avro::{Schema, from_avro_datum, to_avro_datum};
use proptest::prelude::*;

use super::super::testing::{Cell, each_cause, raw_batch, row};
use super::super::{Decode, RawDecoder, SchemaIds};
use super::AvroDecoder;
use crate::io::{RegisteredSchema, SchemaAnswer, SchemaKind};
use crate::job::{Format, Job, JobSettings, Peek, PeekAt};
use crate::record::ErrorType;
use crate::schema::{Column, ColumnType, RAW_COLUMNS};

const LIMIT: u64 = 8 << 20;

/// A field: its schema, a value, and the column that it fills, if any, with what must be in it.
#[derive(Clone, Debug)]
struct Case {
    schema: &'static str,
    value: Value,
    column: Option<(ColumnType, Cell)>,
}

fn case(schema: &'static str, value: Value, column: ColumnType, cell: Cell) -> Case {
    Case {
        schema,
        value,
        column: Some((column, cell)),
    }
}

fn skipped(schema: &'static str, value: Value) -> Case {
    Case {
        schema,
        value,
        column: None,
    }
}

fn field() -> impl Strategy<Value = Case> {
    use ColumnType as C;
    let decimal = C::Decimal {
        precision: 38,
        scale: 6,
    };
    let optional = r#"["null","string"]"#;
    prop_oneof![
        any::<bool>().prop_map(|v| case(r#""boolean""#, Value::Boolean(v), C::Boolean, Cell::Boolean(v))),
        any::<i32>().prop_map(|v| case(r#""int""#, Value::Int(v), C::Int, Cell::Integer(v.into()))),
        any::<i32>().prop_map(|v| case(r#""int""#, Value::Int(v), C::Long, Cell::Integer(v.into()))),
        any::<i32>().prop_map(|v| case(r#""int""#, Value::Int(v), C::Double, Cell::Float(f64::from(v).to_bits()))),
        any::<i64>().prop_map(|v| case(r#""long""#, Value::Long(v), C::Long, Cell::Integer(v))),
        any::<i64>().prop_map(|v| case(r#""long""#, Value::Long(v), C::Double, Cell::Float((v as f64).to_bits()))),
        any::<f32>().prop_map(|v| case(r#""float""#, Value::Float(v), C::Float, Cell::Float(f64::from(v).to_bits()))),
        any::<f32>().prop_map(|v| case(r#""float""#, Value::Float(v), C::Double, Cell::Float(f64::from(v).to_bits()))),
        any::<f64>().prop_map(|v| case(r#""double""#, Value::Double(v), C::Double, Cell::Float(v.to_bits()))),
        any::<String>().prop_map(|v| case(r#""string""#, Value::String(v.clone()), C::String, Cell::Text(v))),
        any::<String>().prop_map(|v| case(r#""string""#, Value::String(v.clone()), C::Binary, Cell::Bytes(v.into_bytes()))),
        any::<String>().prop_map(|v| case(r#""bytes""#, Value::Bytes(v.clone().into_bytes()), C::String, Cell::Text(v))),
        any::<Vec<u8>>().prop_map(|v| case(r#""bytes""#, Value::Bytes(v.clone()), C::Binary, Cell::Bytes(v))),
        (-9_000_000_000_000i64..9_000_000_000_000).prop_map(|v| case(
            r#"{"type":"long","logicalType":"timestamp-millis"}"#,
            Value::TimestampMillis(v), C::Timestamptz, Cell::Integer(v * 1000))),
        any::<i64>().prop_map(|v| case(
            r#"{"type":"long","logicalType":"timestamp-micros"}"#,
            Value::TimestampMicros(v), C::Timestamptz, Cell::Integer(v))),
        any::<i64>().prop_map(|v| case(
            r#"{"type":"long","logicalType":"local-timestamp-micros"}"#,
            Value::LocalTimestampMicros(v), C::Timestamp, Cell::Integer(v))),
        any::<i32>().prop_map(|v| case(
            r#"{"type":"int","logicalType":"date"}"#, Value::Date(v), C::Date, Cell::Integer(v.into()))),
        any::<i64>().prop_map(move |v| case(
            r#"{"type":"bytes","logicalType":"decimal","precision":30,"scale":4}"#,
            Value::Decimal(v.to_be_bytes().to_vec().into()), decimal, Cell::Decimal(i128::from(v) * 100))),
        any::<Option<String>>().prop_map(move |v| case(
            optional,
            match &v {
                None => Value::Union(0, Box::new(Value::Null)),
                Some(v) => Value::Union(1, Box::new(Value::String(v.clone()))),
            },
            C::String, v.map_or(Cell::Null, Cell::Text))),
        any::<Option<i64>>().prop_map(|v| case(
            r#"["long","null"]"#,
            match v {
                None => Value::Union(1, Box::new(Value::Null)),
                Some(v) => Value::Union(0, Box::new(Value::Long(v))),
            },
            C::Long, v.map_or(Cell::Null, Cell::Integer))),
        any::<i64>().prop_map(|v| case(
            r#"["null","int","long"]"#, Value::Union(2, Box::new(Value::Long(v))), C::Long, Cell::Integer(v))),
        proptest::collection::vec(any::<i64>(), 0..5).prop_map(|v| skipped(
            r#"{"type":"array","items":"long"}"#, Value::Array(v.into_iter().map(Value::Long).collect()))),
        proptest::collection::hash_map(any::<String>(), any::<String>(), 0..4).prop_map(|v| skipped(
            r#"{"type":"map","values":"string"}"#,
            Value::Map(v.into_iter().map(|(k, v)| (k, Value::String(v))).collect()))),
        any::<(i32, String)>().prop_map(|(a, b)| skipped(
            r#"{"type":"record","name":"NAME","fields":[{"name":"a","type":"int"},{"name":"b","type":["null","string"]}]}"#,
            Value::Record(vec![
                ("a".to_owned(), Value::Int(a)),
                ("b".to_owned(), Value::Union(1, Box::new(Value::String(b)))),
            ]))),
    ]
}

const NAMES: [&str; 8] = ["f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7"];

struct Made {
    schema: String,
    bytes: Vec<u8>,
    columns: Vec<Column>,
    cells: Vec<Cell>,
}

/// A record of these fields, between an id and a time, as apache-avro writes it.
fn made(cases: &[Case], id: &str, micros: i64) -> Made {
    let mut fields = vec![r#"{"name":"event_id","type":"string"}"#.to_owned()];
    let mut value = vec![("event_id".to_owned(), Value::String(id.to_owned()))];
    let mut columns = vec![
        Column::required("event_id", ColumnType::String),
        Column::required("event_time", ColumnType::Timestamptz),
    ];
    let mut cells = vec![Cell::Text(id.to_owned()), Cell::Integer(micros)];
    for (name, case) in NAMES.iter().zip(cases) {
        let schema = case.schema.replace("NAME", &format!("R{name}"));
        fields.push(format!(r#"{{"name":"{name}","type":{schema}}}"#));
        value.push(((*name).to_owned(), case.value.clone()));
        if let Some((column_type, cell)) = &case.column {
            columns.push(Column::optional(name, *column_type));
            cells.push(cell.clone());
        }
    }
    fields.push(
        r#"{"name":"event_time","type":{"type":"long","logicalType":"timestamp-micros"}}"#
            .to_owned(),
    );
    value.push(("event_time".to_owned(), Value::TimestampMicros(micros)));
    let schema = format!(
        r#"{{"type":"record","name":"Event","fields":[{}]}}"#,
        fields.join(",")
    );
    let parsed = Schema::parse_str(&schema).expect("a schema");
    let bytes = to_avro_datum(&parsed, Value::Record(value)).expect("a record");
    Made {
        schema,
        bytes,
        columns,
        cells,
    }
}

fn given(made: &Made) -> AvroDecoder {
    AvroDecoder::given(&made.columns, Some(0), 1, LIMIT, &made.schema).expect("a decoder")
}

/// Faults that apache-avro does not mind: bits beyond the 64th, and a block that has another size than it says.
const LENIENT: [&str; 3] = [
    "more than 64 bits",
    "not as long as it says",
    "a block beyond",
];

proptest! {
    #[test]
    fn what_apache_avro_writes_is_read(
        cases in proptest::collection::vec(field(), 0..8), id in ".{1,20}", micros: i64
    ) {
        let made = made(&cases, &id, micros);
        let decoded = given(&made).decode(&raw_batch(&[Some(&made.bytes), Some(&made.bytes)]));
        prop_assert_eq!(&decoded.failures, &[]);
        for at in 0..2 {
            prop_assert_eq!(row(&decoded, &made.columns, at), made.cells.clone());
        }
    }

    #[test]
    fn a_record_that_is_cut_or_followed_by_bytes_is_malformed_and_its_neighbours_land(
        cases in proptest::collection::vec(field(), 0..8), id in ".{1,20}",
        at: proptest::sample::Index, tail: u8
    ) {
        let made = made(&cases, &id, 7);
        let cut = &made.bytes[..at.index(made.bytes.len())];
        let long = [made.bytes.as_slice(), &[tail]].concat();
        let batch = raw_batch(&[Some(made.bytes.as_slice()), Some(cut), Some(&long), Some(&made.bytes)]);
        let decoded = given(&made).decode(&batch);
        prop_assert_eq!(&decoded.rows, &[0, 3]);
        for failure in &decoded.failures {
            prop_assert_eq!(failure.error_type, ErrorType::Malformed, "{}", failure.message);
        }
        prop_assert_eq!(row(&decoded, &made.columns, 1), made.cells);
    }

    /// apache-avro is asked whether there is a record, and whether it ends where it should.
    #[test]
    fn a_changed_record_is_taken_only_where_apache_avro_takes_it(
        cases in proptest::collection::vec(field(), 0..8), id in ".{1,20}",
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let made = made(&cases, &id, 7);
        let mut bytes = made.bytes.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let decoded = given(&made).decode(&raw_batch(&[Some(&bytes)]));
        // It makes room for as many items as a count says, before it looks for them.
        apache_avro::util::max_allocation_bytes(1 << 16);
        let schema = Schema::parse_str(&made.schema).expect("a schema");
        let mut rest = bytes.as_slice();
        let theirs = from_avro_datum(&schema, &mut rest, None);
        let is_record = theirs.is_ok() && rest.is_empty();
        match decoded.failures.first() {
            None => prop_assert!(is_record, "apache-avro says {theirs:?}, {} bytes left", rest.len()),
            // apache-avro reads past these.
            Some(failure) if LENIENT.iter().any(|part| failure.message.contains(part)) => {}
            Some(failure) if failure.error_type == ErrorType::Malformed => {
                prop_assert!(!is_record, "{} but apache-avro says {theirs:?}", failure.message);
            }
            Some(_) => {}
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        cases in proptest::collection::vec(field(), 0..8), bytes: Vec<u8>
    ) {
        let made = made(&cases, "x", 7);
        let decoded = given(&made).decode(&raw_batch(&[Some(&bytes)]));
        prop_assert_eq!(decoded.rows.len() + decoded.failures.len(), 1);
    }
}

const COLUMNS: &[Column] = &[
    Column::required("event_id", ColumnType::String),
    Column::required("event_time", ColumnType::Timestamptz),
    Column::optional("total", ColumnType::Long).aliases(&["amount"]),
];

fn registered() -> AvroDecoder {
    AvroDecoder::registered(COLUMNS, Some(0), 1, LIMIT).expect("a decoder")
}

fn avro(text: &str) -> SchemaAnswer {
    SchemaAnswer::Known(std::sync::Arc::new(RegisteredSchema {
        kind: SchemaKind::Avro,
        text: text.to_owned(),
        references: Vec::new(),
    }))
}

fn event_schema(more: &str) -> String {
    format!(
        r#"{{"type":"record","name":"Event","fields":[
            {{"name":"event_id","type":["null","string"]}},
            {{"name":"event_time","type":["null",{{"type":"long","logicalType":"timestamp-millis"}}]}}{more}]}}"#
    )
}

fn framed(id: u32, schema: &str, fields: Vec<(&str, Value)>) -> Vec<u8> {
    let schema = Schema::parse_str(schema).expect("a schema");
    let fields = fields.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
    let mut bytes = vec![0];
    bytes.extend(id.to_be_bytes());
    bytes.extend(to_avro_datum(&schema, Value::Record(fields)).expect("a record"));
    bytes
}

fn optional(value: Option<Value>) -> Value {
    match value {
        None => Value::Union(0, Box::new(Value::Null)),
        Some(value) => Value::Union(1, Box::new(value)),
    }
}

fn id_and_time(id: Option<&str>, millis: Option<i64>) -> Vec<(&'static str, Value)> {
    vec![
        (
            "event_id",
            optional(id.map(|id| Value::String(id.to_owned()))),
        ),
        ("event_time", optional(millis.map(Value::TimestampMillis))),
    ]
}

#[test]
fn records_of_different_schemas_in_one_batch_are_resolved_each_by_its_own() {
    let first = event_schema("");
    let second = event_schema(r#",{"name":"amount","type":"int"},{"name":"new","type":"string"}"#);
    let mut values = Vec::new();
    for at in 0..3 {
        values.push(Some(framed(1, &first, id_and_time(Some("a"), Some(at)))));
        let mut fields = id_and_time(Some("b"), Some(at));
        fields.push(("amount", Value::Int(41)));
        fields.push(("new", Value::String("skipped".to_owned())));
        values.push(Some(framed(2, &second, fields)));
    }
    let batch = raw_batch(&values);
    let mut decoder = registered();
    let mut missing = SchemaIds::new();
    decoder.missing_schemas(&batch, &mut missing);
    assert_eq!(missing, [1, 2].into());
    decoder.learn(1, &avro(&first));
    decoder.learn(2, &avro(&second));
    missing.clear();
    decoder.missing_schemas(&batch, &mut missing);
    assert!(missing.is_empty());
    let decoded = decoder.decode(&batch);
    assert_eq!(decoded.failures, []);
    assert_eq!(
        row(&decoded, COLUMNS, 4),
        [Cell::Text("a".to_owned()), Cell::Integer(2000), Cell::Null]
    );
    assert_eq!(
        row(&decoded, COLUMNS, 5),
        [
            Cell::Text("b".to_owned()),
            Cell::Integer(2000),
            Cell::Integer(41)
        ]
    );
}

#[test]
fn each_cause_has_its_name() {
    let schema = event_schema(r#",{"name":"total","type":["long","string"]}"#);
    let record = |id, millis, total| {
        let mut fields = id_and_time(id, millis);
        fields.push(("total", total));
        framed(1, &schema, fields)
    };
    let long = || Value::Union(0, Box::new(Value::Long(7)));
    let text = || Value::Union(1, Box::new(Value::String("7".to_owned())));
    let good = record(Some("a"), Some(1), long());
    let mut bad_branch = good.clone();
    bad_branch[5] = 6;
    let mut magic = good.clone();
    magic[0] = 1;
    let mut unknown = good.clone();
    unknown[4] = 9;
    let mut protobuf = good.clone();
    protobuf[4] = 8;
    let mut lacking = good.clone();
    lacking[4] = 7;
    let mut broken = good.clone();
    broken[4] = 6;
    let values = [
        (Some(good.clone()), None),
        (None, Some((ErrorType::NullValue, "null"))),
        (Some(vec![]), Some((ErrorType::Malformed, "empty"))),
        (
            Some(good[..3].to_vec()),
            Some((ErrorType::Malformed, "header")),
        ),
        (
            Some(magic),
            Some((ErrorType::Malformed, "first byte is 00")),
        ),
        (
            Some(good[..5].to_vec()),
            Some((ErrorType::Malformed, "ends")),
        ),
        (Some(bad_branch), Some((ErrorType::Malformed, "branch"))),
        (
            Some(unknown),
            Some((ErrorType::UnknownSchema, "no such schema")),
        ),
        (
            Some(protobuf),
            Some((ErrorType::SchemaMismatch, "Protobuf")),
        ),
        (
            Some(lacking),
            Some((ErrorType::MissingEventTime, "event_time")),
        ),
        (
            Some(broken),
            Some((ErrorType::SchemaMismatch, "cannot be used")),
        ),
        (
            Some(record(None, Some(1), long())),
            Some((ErrorType::MissingEventId, "null")),
        ),
        (
            Some(record(Some(""), Some(1), long())),
            Some((ErrorType::MissingEventId, "empty")),
        ),
        (
            Some(record(Some("a"), None, long())),
            Some((ErrorType::MissingEventTime, "null")),
        ),
        (
            Some(record(Some("a"), Some(1), text())),
            Some((ErrorType::SchemaMismatch, "string")),
        ),
        (
            Some(record(Some("a"), Some(i64::MAX), long())),
            Some((ErrorType::SchemaMismatch, "range")),
        ),
        (Some(good), None),
    ];
    let mut decoder = registered();
    decoder.learn(1, &avro(&schema));
    decoder.learn(9, &SchemaAnswer::Denied("no such schema".to_owned()));
    let protobuf = RegisteredSchema {
        kind: SchemaKind::Protobuf,
        text: String::new(),
        references: Vec::new(),
    };
    decoder.learn(8, &SchemaAnswer::Known(std::sync::Arc::new(protobuf)));
    decoder.learn(
        7,
        &avro(r#"{"type":"record","name":"E","fields":[{"name":"event_id","type":"string"}]}"#),
    );
    decoder.learn(6, &avro(r#"{"type":"record","name":"E"}"#));
    each_cause(&mut decoder, &values);
}

/// Schemas and records that are small and would cost much.
#[test]
fn bombs_are_malformed_at_once() {
    let zeros = r#"{"type":"record","name":"Z","fields":[{"name":"n","type":"null"}]}"#;
    // The header, `a`, and 1 ms.
    let begin = [0, 0, 0, 0, 1, 2, 2, b'a', 2, 2];
    let decode = |field: &str, tail: &[u8]| {
        let schema = event_schema(&format!(r#",{{"name":"bomb","type":{field}}}"#));
        let mut decoder = registered();
        decoder.learn(1, &avro(&schema));
        let record = [&begin[..], tail].concat();
        let decoded = decoder.decode(&raw_batch(&[Some(record)]));
        decoded
            .failures
            .first()
            .map(|f| (f.error_type, f.message.clone()))
    };
    let malformed = |field: &str, tail: &[u8], part: &str| {
        let (error_type, message) = decode(field, tail).expect("a failure");
        assert_eq!(error_type, ErrorType::Malformed, "{message}");
        assert!(message.contains(part), "{message}");
    };
    // 2^62 items.
    let count = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
    let with = |tail: &[u8]| [&count[..], tail].concat();
    malformed(
        r#"{"type":"array","items":"long"}"#,
        &with(&[2, 0]),
        "more items than",
    );
    malformed(
        r#"{"type":"map","values":"null"}"#,
        &with(&[2, b'k', 0]),
        "more items than",
    );
    malformed(r#""string""#, &with(b"x"), "beyond the end");
    malformed(r#""bytes""#, &[1], "negative length");
    malformed(
        r#"{"type":"array","items":"int"}"#,
        &[1, 100, 2, 0],
        "beyond the end",
    );
    malformed(
        r#"{"type":"array","items":"int"}"#,
        &[1, 6, 2, 2, 0, 0],
        "not as long as it says",
    );
    malformed(r#""long""#, &[0xff; 12], "more than 64 bits");
    malformed(
        r#""int""#,
        &[0xff, 0xff, 0xff, 0xff, 0x7f],
        "more than 32 bits",
    );
    malformed(r#""boolean""#, &[2], "neither 0 nor 1");
    // Items that take no bytes are not counted, so they cost nothing: 2^62 of them, then the end.
    let empty = format!(r#"{{"type":"array","items":{zeros}}}"#);
    assert_eq!(decode(&empty, &with(&[0])), None);
    // A list that holds itself, a thousand deep.
    let list = r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#;
    malformed(list, &[2; 1000], "nesting");
    assert_eq!(decode(list, &[2, 2, 2, 0]), None);
    // 2^30 empty records, by 30 schemas of two fields.
    let mut deep =
        r#"{"type":"record","name":"E0","fields":[{"name":"n","type":"null"}]}"#.to_owned();
    for level in 1..30 {
        deep = format!(
            r#"{{"type":"record","name":"E{level}","fields":[{{"name":"a","type":{deep}}},{{"name":"b","type":"E{}"}}]}}"#,
            level - 1
        );
    }
    assert_eq!(decode(&deep, &[]), None);
}

#[test]
fn a_fixed_uuid_is_text_and_the_frame_is_kept() {
    let schema = r#"{"type":"record","name":"E","fields":[
        {"name":"event_id","type":{"type":"fixed","name":"Id","size":16,"logicalType":"uuid"}},
        {"name":"event_time","type":"string"}]}"#;
    let mut decoder = registered();
    decoder.learn(1, &avro(schema));
    let mut record = vec![0, 0, 0, 0, 1];
    record.extend(0x550e8400_e29b_41d4_a716_446655440000u128.to_be_bytes());
    record.push(40);
    record.extend(b"1970-01-01T00:00:01Z");
    let decoded = decoder.decode(&raw_batch(&[Some(record)]));
    assert_eq!(decoded.failures, []);
    assert_eq!(
        row(&decoded, COLUMNS, 0)[..2],
        [
            Cell::Text("550e8400-e29b-41d4-a716-446655440000".to_owned()),
            Cell::Integer(1_000_000)
        ]
    );
}

/// The header of schema 1, the id `a` and the time 1 ms, as [`event_schema`] has them.
const BEGIN: [u8; 10] = [0, 0, 0, 0, 1, 2, 2, b'a', 2, 2];

const ID: &str = "550e8400-e29b-41d4-a716-446655440000";

/// Schemas with a default that apache-avro does not take for its field, each with a record, and what the field `more` is
/// in a column.
fn with_defaults() -> Vec<(String, Vec<u8>, ColumnType, Cell)> {
    let price = ColumnType::Decimal {
        precision: 9,
        scale: 2,
    };
    let with = |field_type: &str, default: &str, value: &[u8], column_type, cell| {
        let more = format!(r#",{{"name":"more","type":{field_type},"default":{default}}}"#);
        let record = [&BEGIN[..], value].concat();
        (event_schema(&more), record, column_type, cell)
    };
    vec![
        with(
            r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#,
            r#""\u0000""#,
            &[2, 5],
            price,
            Cell::Decimal(5),
        ),
        with(
            r#"{"type":"fixed","name":"Price","size":4,"logicalType":"decimal","precision":9,"scale":2}"#,
            r#""\u0000""#,
            &[0, 0, 0, 5],
            price,
            Cell::Decimal(5),
        ),
        with(
            r#"[{"type":"bytes","logicalType":"decimal","precision":9,"scale":2},"null"]"#,
            r#""\u0000""#,
            &[0, 2, 5],
            price,
            Cell::Decimal(5),
        ),
        with(
            r#"{"type":"string","logicalType":"uuid"}"#,
            r#""""#,
            &[&[72u8][..], ID.as_bytes()].concat(),
            ColumnType::String,
            Cell::Text(ID.to_owned()),
        ),
        with(
            r#""long""#,
            r#""0""#,
            &[14],
            ColumnType::Long,
            Cell::Integer(7),
        ),
        with(
            r#"{"type":"enum","name":"Level","symbols":["LOW","HIGH"],"default":"NONE"}"#,
            r#""NONE""#,
            &[2],
            ColumnType::String,
            Cell::Text("HIGH".to_owned()),
        ),
    ]
}

#[test]
fn a_default_that_does_not_fit_makes_no_schema_unusable() {
    for (schema, record, column_type, cell) in with_defaults() {
        let columns = [
            Column::required("event_id", ColumnType::String),
            Column::required("event_time", ColumnType::Timestamptz),
            Column::optional("more", column_type),
        ];
        let mut decoder = AvroDecoder::registered(&columns, Some(0), 1, LIMIT).expect("a decoder");
        decoder.learn(1, &avro(&schema));
        let decoded = decoder.decode(&raw_batch(&[Some(&record)]));
        assert_eq!(decoded.failures, [], "{schema}");
        let expected = [Cell::Text("a".to_owned()), Cell::Integer(1000), cell];
        assert_eq!(row(&decoded, &columns, 0), expected, "{schema}");
        lands_peeked(&schema, &record);
    }
}

#[test]
fn a_namespace_of_other_characters_than_names_have_makes_no_schema_unusable() {
    let schema = event_schema(r#",{"name":"more","type":["null","my-company.events.Event"]}"#)
        .replacen(
            r#""name":"Event","#,
            r#""name":"Event","namespace":"my-company.events","#,
            1,
        );
    let record = [&BEGIN[..], &[0][..]].concat();
    let cut = &record[..record.len() - 1];
    let mut decoder = registered();
    decoder.learn(1, &avro(&schema));
    let decoded = decoder.decode(&raw_batch(&[Some(&record[..]), Some(cut)]));
    assert_eq!(decoded.rows, [0]);
    let message = &decoded.failures[0].message;
    assert!(message.contains("`my-company.events.Event`"), "{message}");
    lands_peeked(&schema, &record);
}

/// A record of schema 1 is kept as bytes, with its id and time beside it.
fn lands_peeked(schema: &str, record: &[u8]) {
    let settings = JobSettings {
        format: Format::Raw,
        columns: RAW_COLUMNS.to_vec(),
        peek: Some(Peek {
            format: Format::AvroSr,
            event_id: PeekAt::Field("event_id".to_owned()),
            event_time: PeekAt::Field("event_time".to_owned()),
        }),
        ..Job::BRONZE.settings()
    };
    let mut decoder = RawDecoder::new(&settings, Some(0), 1, true).expect("a decoder");
    decoder.learn(1, &avro(schema));
    let decoded = decoder.decode(&raw_batch(&[Some(record)]));
    assert_eq!(decoded.failures, [], "{schema}");
    let expected = [Cell::Text("a".to_owned()), Cell::Integer(1000)];
    assert_eq!(row(&decoded, &RAW_COLUMNS[..2], 0), expected, "{schema}");
}
