//! What values mean: by the schema that comes with them, or by the settings of the job.

use super::*;
use crate::decode::testing::{Cell, row as cells};
use crate::job::{DebeziumPolicy, QuotedBinaries, QuotedDecimals};

/// Connect's wrapper says what integers and quoted decimals mean; `JwA=` is 9984.
#[test]
fn the_schema_of_the_wrapper_decides_what_values_mean() {
    let fields = |time: &str, timestamp: &str, decimal: Value| {
        json!([
            {"type": "string", "field": "event_id"},
            {"type": "string", "name": "io.debezium.time.ZonedTimestamp", "field": "event_time"},
            decimal,
            {"type": "int32", "name": "io.debezium.time.Date", "field": "day"},
            {"type": "int64", "name": time, "field": "at"},
            {"type": "int64", "name": timestamp, "field": "seen"},
        ])
    };
    let wrapped = |fields: Value, after: Value| {
        Some(json!({
            "schema": {"type": "struct", "fields": [
                {"type": "struct", "optional": true, "field": "before", "fields": fields},
                {"type": "struct", "optional": true, "field": "after", "fields": fields},
                {"type": "string", "field": "op"},
            ]},
            "payload": envelope("c", Value::Null, after)
        }))
    };
    let connect = "org.apache.kafka.connect.data.Decimal";
    let base64 =
        json!({"type": "bytes", "name": connect, "parameters": {"scale": "2"}, "field": "price"});
    let wider =
        json!({"type": "bytes", "name": connect, "parameters": {"scale": "3"}, "field": "price"});
    let digits = json!({"type": "string", "field": "price"});
    let row_of = |price: Value, at: i64, seen: i64| {
        json!({"event_id": "a", "event_time": "2026-11-21T10:00:00Z", "price": price, "day": 20_000,
               "at": at, "seen": seen})
    };
    let (micros, millis) = (
        "io.debezium.time.MicroTime",
        "org.apache.kafka.connect.data.Time",
    );
    let decoded = decode(&[
        wrapped(
            fields(micros, "io.debezium.time.MicroTimestamp", base64),
            row_of(json!("JwA="), 1_000_000, 5_000_000),
        ),
        wrapped(
            fields(millis, "org.apache.kafka.connect.data.Timestamp", digits),
            row_of(json!("99.84"), 1_000, 5_000),
        ),
        wrapped(
            fields(
                "io.debezium.time.NanoTime",
                "io.debezium.time.NanoTimestamp",
                wider,
            ),
            row_of(json!("AYYA"), 1_000_000_000, 5_000_000_000),
        ),
        // Without a schema the job's settings say it: micros and base64.
        Some(envelope(
            "c",
            Value::Null,
            row_of(json!("JwA="), 1_000_000, 5_000_000),
        )),
        Some(envelope(
            "c",
            Value::Null,
            row_of(json!({"scale": 1, "value": "A+Y="}), 1_000_000, 5_000_000),
        )),
    ]);
    assert_eq!(decoded.failures, []);
    for (at, cents) in [9984, 9984, 9984, 9984, 9980].into_iter().enumerate() {
        let row = row(&decoded.columns, at);
        assert_eq!(row["price"], json!(cents), "row {at}");
        assert_eq!(row["day"], json!(20_000));
        assert_eq!(row["at"], json!(1_000_000), "row {at}");
        assert_eq!(row["seen"], json!(5_000_000), "row {at}");
    }
}

/// The creation of a row, with a column of this type and semantic type in Connect's schema.
fn creation(column: &str, written: &str, name: &str, value: &Value) -> String {
    let record = json!({
        "schema": {"type": "struct", "fields": [
            {"field": "after", "type": "struct", "fields": [{"field": column, "type": written, "name": name}]},
            {"field": "op", "type": "string"}
        ]},
        "payload": {"op": "c", "after": {"event_id": "a", "event_time": 1, column: value}},
    });
    record.to_string()
}

fn decoder_into(columns: &[Column]) -> DebeziumDecoder {
    let settings = JobSettings {
        columns: columns.to_vec(),
        ..settings()
    };
    DebeziumDecoder::new(&settings, Some(0), 1).expect("a decoder")
}

/// Of these types Debezium's documentation is all there is: no recording has them.
#[test]
fn a_type_that_is_only_documented_lands_as_it_is_written_or_is_said_not_to_fit() {
    let columns = [
        &COLUMNS[..2],
        &[
            Column::optional("text", ColumnType::String),
            Column::optional("count", ColumnType::Int),
            Column::optional("span", ColumnType::Long),
            Column::optional("raw", ColumnType::Binary),
            Column::optional("day", ColumnType::Date),
            Column::optional("at", ColumnType::Time),
            Column::optional("seen", ColumnType::Timestamp),
            COLUMNS[3],
        ],
    ]
    .concat();
    let place = |column: &str| columns.iter().position(|c| c.name == column);
    let decode = |column: &str, written: &str, name: &str, value: &Value| {
        let name = format!("io.debezium.{name}");
        let record = creation(column, written, &name, value);
        let mut decoder = decoder_into(&columns);
        decoder.decode(&raw_batch(&[Some(&record)]))
    };
    let point = json!({"x": 1.0, "y": 2.0, "wkb": "AQEAAAA=", "srid": null});
    let vector = json!([1.5, 2.0]);
    let text = |value: &Value| match value {
        Value::String(text) => Cell::Text(text.clone()),
        other => Cell::Text(other.to_string()),
    };
    for (written, name, value) in [
        ("string", "data.EnumSet", json!("a,b")),
        ("string", "data.Xml", json!("<a/>")),
        ("string", "data.Ltree", json!("a.b")),
        ("string", "data.TsVector", json!("'a':1")),
        ("string", "time.Interval", json!("P1DT2H3M4S")),
        ("bytes", "data.Bits", json!("BQ==")),
        ("struct", "data.geometry.Point", point.clone()),
        ("array", "data.DoubleVector", vector.clone()),
    ] {
        let decoded = decode("text", written, name, &value);
        assert_eq!(decoded.failures, [], "{name}");
        assert_eq!(cells(&decoded, &columns, 0)[2], text(&value), "{name}");
    }
    let ten = "2026-11-21T10:00:00Z";
    for (column, written, name, value, lands) in [
        (
            "raw",
            "bytes",
            "data.Bits",
            json!("BQ=="),
            Cell::Bytes(vec![5]),
        ),
        (
            "count",
            "int32",
            "time.Year",
            json!(2026),
            Cell::Integer(2026),
        ),
        (
            "span",
            "int64",
            "time.NanoDuration",
            json!(5),
            Cell::Integer(5),
        ),
        (
            "day",
            "string",
            "time.IsoDate",
            json!("2026-11-21Z"),
            Cell::Integer(20_778),
        ),
        (
            "at",
            "string",
            "time.IsoTime",
            json!("10:00:00Z"),
            Cell::Integer(36_000_000_000),
        ),
        (
            "seen",
            "string",
            "time.IsoTimestamp",
            json!(ten),
            Cell::Integer(1_795_255_200_000_000),
        ),
    ] {
        let decoded = decode(column, written, name, &value);
        assert_eq!(decoded.failures, [], "{column}, {name}");
        let place = place(column).expect("a column");
        assert_eq!(
            cells(&decoded, &columns, 0)[place],
            lands,
            "{column}, {name}"
        );
    }
    for (column, written, name, value) in [
        ("day", "int32", "time.Year", json!(2026)),
        ("seen", "int32", "time.Year", json!(2026)),
        ("seen", "int64", "time.NanoDuration", json!(5)),
        ("at", "int64", "time.NanoDuration", json!(5)),
        ("seen", "string", "time.Interval", json!("P1D")),
        ("at", "string", "time.Interval", json!("PT2H")),
        ("span", "string", "time.Interval", json!("PT2H")),
        ("raw", "string", "data.EnumSet", json!("abcd")),
        ("raw", "string", "data.Ltree", json!("abcd")),
        ("raw", "struct", "data.geometry.Point", point.clone()),
        ("price", "struct", "data.geometry.Point", point),
        ("price", "bytes", "data.Bits", json!("1234")),
        ("span", "array", "data.DoubleVector", vector.clone()),
        ("raw", "array", "data.DoubleVector", vector),
        ("text", "int32", "time.Year", json!(2026)),
    ] {
        let decoded = decode(column, written, name, &value);
        let [failure] = &decoded.failures[..] else {
            panic!("{column}, {name}: {:?}", decoded.failures);
        };
        assert_eq!(failure.error_type, ErrorType::SchemaMismatch, "{name}");
        assert!(failure.message.contains(column), "{}", failure.message);
    }
}

#[test]
fn what_the_schema_says_is_of_another_kind_is_a_dead_letter_whatever_it_looks_like() {
    let columns = [
        &COLUMNS[..2],
        &[
            Column::optional("day", ColumnType::Date),
            Column::optional("at", ColumnType::Time),
            Column::optional("seen", ColumnType::Timestamp),
            Column::optional("raw", ColumnType::Binary),
            Column::optional("ratio", ColumnType::Double),
            Column::optional("share", ColumnType::Float),
        ],
    ]
    .concat();
    let lands = |column: &str, written: &str, name: &str, value: Value| {
        let record = creation(column, written, name, &value);
        let mut decoder = decoder_into(&columns);
        // Twice: the second is read as the first one predicts.
        let decoded = decoder.decode(&raw_batch(&[Some(&record), Some(&record)]));
        for failure in &decoded.failures {
            assert_eq!(failure.error_type, ErrorType::SchemaMismatch);
            assert!(failure.message.contains(column), "{}", failure.message);
        }
        let place = columns.iter().position(|c| c.name == column);
        let array = decoded.columns.column(place.expect("a column"));
        assert_eq!(array.null_count(), 0, "{column}: {record}");
        decoded.rows.len()
    };
    let time = "io.debezium.time";
    let micros = json!(1_700_000_000_000_000i64);
    for (column, written, name, value) in [
        ("seen", "int64", format!("{time}.MicroTimestamp"), micros),
        ("at", "int64", format!("{time}.MicroTime"), json!(5)),
        ("day", "int32", format!("{time}.Date"), json!(20_000)),
        ("raw", "bytes", String::new(), json!("deadbeef")),
        ("ratio", "double", String::new(), json!("NaN")),
        ("ratio", "double", String::new(), json!("-Infinity")),
        ("share", "float", String::new(), json!("Infinity")),
    ] {
        assert_eq!(lands(column, written, &name, value), 2, "{column} {name}");
    }
    for (column, written, name, value) in [
        ("seen", "int32", format!("{time}.Date"), json!(20_000)),
        ("seen", "int64", format!("{time}.MicroDuration"), json!(5)),
        ("at", "int64", format!("{time}.MicroTimestamp"), json!(5)),
        ("day", "int32", format!("{time}.Year"), json!(2026)),
        ("raw", "string", String::new(), json!("deadbeef")),
        ("ratio", "double", String::new(), json!("nan")),
    ] {
        assert_eq!(lands(column, written, &name, value), 0, "{column} {name}");
    }
}

#[test]
fn a_field_that_is_a_columns_by_an_alias_is_read_as_its_schema_says() {
    let settings = JobSettings {
        columns: [
            &COLUMNS[..2],
            &[Column::optional("seen", ColumnType::Timestamp).aliases(&["seen_at"])],
        ]
        .concat(),
        ..settings()
    };
    let fields = json!([
        {"type": "int64", "name": "org.apache.kafka.connect.data.Timestamp", "field": "seen_at"},
    ]);
    let after = json!({"event_id": "a", "event_time": "2026-11-21T10:00:00Z", "seen_at": 5_000});
    let record = json!({
        "schema": {"type": "struct", "fields": [
            {"type": "struct", "optional": true, "field": "after", "fields": fields},
            {"type": "string", "field": "op"},
        ]},
        "payload": envelope("c", Value::Null, after)
    })
    .to_string();
    let mut decoder = DebeziumDecoder::new(&settings, Some(0), 1).expect("a decoder");
    // Twice: the second is read as the first one predicts.
    let decoded = decoder.decode(&raw_batch(&[Some(&record), Some(&record)]));
    assert_eq!(decoded.failures, []);
    let seen = decoded.columns.column(2);
    let seen = seen.as_primitive::<TimestampMicrosecondType>();
    assert_eq!(seen.values().to_vec(), [5_000_000, 5_000_000]);
}

/// What the field `more` of a change becomes, or why its record is a dead letter. `field`: what the schema in the wrapper
/// says of it, where there is a wrapper.
fn landed(
    debezium: DebeziumPolicy,
    column_type: ColumnType,
    field: Option<Value>,
    more: Value,
) -> Result<Cell, String> {
    let columns = [
        COLUMNS[0],
        COLUMNS[1],
        Column::optional("more", column_type),
    ];
    let settings = JobSettings {
        columns: columns.to_vec(),
        debezium,
        ..settings()
    };
    let after = json!({"event_id": "a", "event_time": 1, "more": more});
    let change = envelope("c", Value::Null, after);
    let record = match field {
        Some(field) => json!({
            "schema": {"type": "struct", "fields": [
                {"type": "struct", "field": "after", "fields": [field]},
                {"type": "string", "field": "op"},
            ]},
            "payload": change
        }),
        None => change,
    };
    let record = record.to_string();
    let mut decoder = DebeziumDecoder::new(&settings, Some(0), 1).expect("a decoder");
    // Twice: the second is read as the first one predicts.
    let decoded = decoder.decode(&raw_batch(&[Some(&record), Some(&record)]));
    if let Some(failure) = decoded.failures.first() {
        assert_eq!(failure.error_type, ErrorType::SchemaMismatch);
        assert!(decoded.rows.is_empty(), "{record}");
        return Err(failure.message.clone());
    }
    let [first, second] = [0, 1].map(|at| cells(&decoded, &columns, at)[2].clone());
    assert_eq!(first, second, "{record}");
    Ok(first)
}

/// `1234` is base64 of -2658824, and digits.
#[test]
fn a_decimal_in_quotes_is_what_the_setting_says_whatever_it_looks_like() {
    use QuotedDecimals as D;
    let price = ColumnType::Decimal {
        precision: 10,
        scale: 2,
    };
    let read = |decimals: D, value: Value| {
        let debezium = DebeziumPolicy {
            decimals,
            ..Job::BRONZE.debezium
        };
        landed(debezium, price, None, value)
    };
    assert_eq!(
        read(D::Base64, json!("1234")),
        Ok(Cell::Decimal(-2_658_824))
    );
    assert_eq!(read(D::Digits, json!("1234")), Ok(Cell::Decimal(123_400)));
    for (decimals, value) in [
        (D::Double, "1234"),
        (D::Base64, "12.34"),
        (D::Digits, "JwA="),
    ] {
        let why = read(decimals, json!(value)).expect_err(value);
        assert!(why.contains("`debezium.decimals`"), "{why}");
    }
    // What nobody can take for something else is taken by all of them.
    for decimals in [D::Base64, D::Digits, D::Double] {
        assert_eq!(read(decimals, json!(12.34)), Ok(Cell::Decimal(1234)));
        let of_its_own_scale = json!({"scale": 1, "value": "A+Y="});
        assert_eq!(read(decimals, of_its_own_scale), Ok(Cell::Decimal(9980)));
    }
}

/// `deadbeef` is base64 of six bytes, and hexadecimal of four.
#[test]
fn bytes_in_quotes_are_what_the_setting_says_whatever_they_look_like() {
    use QuotedBinaries as B;
    let read = |binaries: B, field: Option<Value>, value: &str| {
        let debezium = DebeziumPolicy {
            binaries,
            ..Job::BRONZE.debezium
        };
        landed(debezium, ColumnType::Binary, field, json!(value))
    };
    let bytes = |bytes: &[u8]| Ok(Cell::Bytes(bytes.to_vec()));
    let four = [0xde, 0xad, 0xbe, 0xef];
    let six = [0x75, 0xe6, 0x9d, 0x6d, 0xe7, 0x9f];
    assert_eq!(read(B::Bytes, None, "deadbeef"), bytes(&six));
    assert_eq!(read(B::Base64, None, "deadbeef"), bytes(&six));
    assert_eq!(read(B::Hex, None, "deadbeef"), bytes(&four));
    assert_eq!(read(B::Base64, None, "/+8="), bytes(&[0xff, 0xef]));
    assert_eq!(read(B::Base64UrlSafe, None, "_-8="), bytes(&[0xff, 0xef]));
    for (binaries, value) in [
        (B::Bytes, "_-8="),
        (B::Base64, "_-8="),
        (B::Base64UrlSafe, "/+8="),
        (B::Hex, "/+8="),
    ] {
        let why = read(binaries, None, value).expect_err(value);
        assert!(why.contains("`debezium.binaries`"), "{why}");
    }
    // A schema that says bytes is Connect's word for base64.
    let of_bytes = || Some(json!({"type": "bytes", "field": "more"}));
    assert_eq!(read(B::Hex, of_bytes(), "deadbeef"), bytes(&six));
    let why = read(B::Base64UrlSafe, of_bytes(), "_-8=").expect_err("no base64");
    assert!(!why.contains("debezium.binaries"), "{why}");
    // One that says text is of bytes only where the setting says so, and of no text that it knows to be another kind.
    let of_text = || Some(json!({"type": "string", "field": "more"}));
    assert_eq!(read(B::Hex, of_text(), "deadbeef"), bytes(&four));
    let of_json =
        || Some(json!({"type": "string", "name": "io.debezium.data.Json", "field": "more"}));
    for (binaries, field) in [(B::Bytes, of_text()), (B::Hex, of_json())] {
        let why = read(binaries, field, "deadbeef").expect_err("text");
        assert!(why.contains("of another kind"), "{why}");
    }
}
