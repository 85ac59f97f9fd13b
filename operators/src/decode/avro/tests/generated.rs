//! Records of any fields, written and judged by apache-avro.

use apache_avro::from_avro_datum;
use proptest::prelude::*;

use super::*;

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
