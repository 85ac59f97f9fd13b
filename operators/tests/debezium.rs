//! What Debezium really writes, decoded, and held against what PostgreSQL itself says of the rows.
//!
//! The records are in `tests/debezium/recorded`, one file for each way to configure the connector, as
//! `tests/debezium/record.py` recorded them; `VERSIONS` there says of what.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{Array, RecordBatch};
use serde::Deserialize;
use serde_json::Value;
use strandline_operators::credit::Budget;
use strandline_operators::decode::{Decoded, decoder};
use strandline_operators::job::{
    DebeziumPolicy, Format, IntegerTimestamps, Job, JobSettings, QuotedDecimals,
};
use strandline_operators::record::{ErrorType, RawBatch, RawRecord, Span, TopicPartition};
use strandline_operators::schema::Column;
use strandline_operators::time::EventTime;

#[path = "../../tests/debezium/columns.rs"]
mod columns;

use columns::columns;

const COLUMNS: &[Column] = &columns(None);

const TABLES: [&str; 3] = ["full_rows", "keyed_rows", "keyless_rows"];

#[derive(Deserialize)]
struct Recorded {
    topic: String,
    offset: i64,
    timestamp: i64,
    value: Option<String>,
}

/// A change, by PostgreSQL's own account.
#[derive(Clone, Deserialize)]
struct Expected {
    op: String,
    table: String,
    row: Option<BTreeMap<String, Option<String>>>,
}

fn lines<T: for<'a> Deserialize<'a>>(file: &str) -> Vec<T> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/debezium/recorded")
        .join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let line = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{file}: {e}: {line}"));
    text.lines().map(line).collect()
}

fn settings(
    format: Format,
    timestamps: IntegerTimestamps,
    decimals: QuotedDecimals,
) -> JobSettings {
    const JOB: Job = Job {
        name: "changes",
        topics: &["t"],
        columns: COLUMNS,
        table: "bronze.changes",
        ..Job::BRONZE
    };
    JobSettings {
        format,
        debezium: DebeziumPolicy {
            timestamps,
            decimals,
            ..JOB.debezium
        },
        ..JOB.settings()
    }
}

fn batch(records: &[&Recorded], header: &[u8]) -> RawBatch {
    let mut arena: Vec<u8> = Vec::new();
    let records = records
        .iter()
        .map(|record| RawRecord {
            offset: record.offset,
            timestamp: Some(EventTime(record.timestamp * 1000)),
            key: None,
            value: record.value.as_ref().map(|value| {
                let start = arena.len() as u32;
                arena.extend(header);
                arena.extend(value.as_bytes());
                Span {
                    start,
                    end: arena.len() as u32,
                }
            }),
        })
        .collect::<Vec<_>>();
    RawBatch {
        source: TopicPartition::new("t", 0),
        start: 0,
        next: records.last().map_or(0, |r| r.offset + 1),
        leader_epoch: None,
        received_at: EventTime::now(),
        arena: arena.into(),
        records,
        headers: None,
        credit: Budget::new(0).take(0),
    }
}

/// What a variant's topics are decoded to, by the end of the topic's name.
struct Variant {
    name: &'static str,
    topics: BTreeMap<String, Decoded>,
}

impl Variant {
    fn read(name: &'static str, settings: &JobSettings, header: &[u8]) -> Variant {
        let records: Vec<Recorded> = lines(&format!("{name}.jsonl"));
        let mut by_topic: BTreeMap<String, Vec<&Recorded>> = BTreeMap::new();
        for record in &records {
            let end = record.topic.rsplit('.').next().unwrap_or_default();
            let topic = match record.topic.starts_with("__debezium-heartbeat") {
                true => "heartbeat",
                false => end,
            };
            by_topic.entry(topic.to_owned()).or_default().push(record);
        }
        let decode = |records: &Vec<&Recorded>| {
            let mut decoder = decoder(settings, false).expect("a decoder");
            decoder.decode(&batch(records, header))
        };
        let topics = by_topic
            .iter()
            .map(|(topic, records)| (topic.clone(), decode(records)));
        Variant {
            name,
            topics: topics.collect(),
        }
    }

    /// Every change of the tables is a row, equal field by field but for the columns named, and everything
    /// else is what it should be. `cut` says how PostgreSQL's text is cut to what the connector keeps.
    fn check(&self, not: &[&str], cut: fn(&str, &str) -> String) {
        let expected: Vec<Expected> = lines("postgres.jsonl");
        let mut wrong = Vec::new();
        for table in TABLES {
            let decoded = &self.topics[table];
            assert!(
                decoded.failures.is_empty(),
                "{}, {table}: {:?}",
                self.name,
                decoded.failures
            );
            // `ExtractNewRecordState` has no row to make of a truncation, and drops it.
            let is_there =
                |e: &&Expected| e.table == table && !(self.name == "unwrapped" && e.op == "t");
            let expected: Vec<&Expected> = expected.iter().filter(is_there).collect();
            let rows = &decoded.columns;
            assert_eq!(
                rows.num_rows(),
                expected.len(),
                "{}, {table}: rows",
                self.name
            );
            for (row, change) in expected.iter().enumerate() {
                let at = |column: &str| text(rows, column, row);
                let place = format!("{}, {table}, row {row} ({})", self.name, change.op);
                assert_eq!(at("__op").as_deref(), Some(change.op.as_str()), "{place}");
                assert_eq!(at("__table").as_deref(), Some(table), "{place}");
                assert_eq!(at("__schema").as_deref(), Some("public"), "{place}");
                assert_eq!(at("__db").as_deref(), Some("postgres"), "{place}");
                let deleted = (change.op == "d").to_string();
                assert_eq!(at("__deleted"), Some(deleted), "{place}");
                for column in [
                    "event_id",
                    "event_time",
                    "__lsn",
                    "__ts_ms",
                    "__source_ts_ms",
                ] {
                    assert!(at(column).is_some(), "{place}: no {column}");
                }
                let is_key_only = change.op == "d" && table == "keyed_rows";
                let unavailable = at("__unavailable").unwrap_or_default();
                for (column, value) in change.row.iter().flatten() {
                    if not.contains(&column.as_str()) || (is_key_only && column != "id") {
                        continue;
                    }
                    let value = value.as_ref().map(|value| cut(column, value));
                    let found = at(column);
                    if unavailable.contains(&format!("\"{column}\"")) && found.is_none() {
                        continue;
                    }
                    if !is_same(column, found.as_deref(), value.as_deref()) {
                        wrong.push(format!(
                            "{place}: {column} is {found:?}, PostgreSQL has {value:?}"
                        ));
                    }
                }
                if change.op == "t" {
                    assert_eq!(
                        at("id").or(at("a")),
                        None,
                        "{place}: a truncation has no row"
                    );
                }
            }
            let ids: BTreeSet<_> = (0..rows.num_rows())
                .map(|row| text(rows, "event_id", row))
                .collect();
            assert_eq!(ids.len(), rows.num_rows(), "{}, {table}: ids", self.name);
        }
        for topic in ["heartbeat", "transaction"] {
            if let Some(decoded) = self.topics.get(topic) {
                assert_eq!(decoded.columns.num_rows(), 0, "{}: {topic}", self.name);
                assert!(
                    decoded.failures.is_empty(),
                    "{}: {:?}",
                    self.name,
                    decoded.failures
                );
                assert!(decoded.dropped > 0, "{}: {topic}", self.name);
            }
        }
        if let Some(decoded) = self.topics.get("message") {
            let kinds: Vec<ErrorType> = decoded.failures.iter().map(|f| f.error_type).collect();
            assert_eq!(kinds, [ErrorType::SchemaMismatch], "{}", self.name);
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn column(&self, table: &str, column: &str) -> Vec<Option<String>> {
        let rows = &self.topics[table].columns;
        (0..rows.num_rows())
            .map(|row| text(rows, column, row))
            .collect()
    }
}

/// A value as PostgreSQL writes it.
fn text(rows: &RecordBatch, column: &str, row: usize) -> Option<String> {
    use arrow_schema::DataType as T;
    let array = rows
        .column_by_name(column)
        .unwrap_or_else(|| panic!("no column {column}"));
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        T::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        T::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        T::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        T::Float32 => array.as_primitive::<Float32Type>().value(row).to_string(),
        T::Float64 => array.as_primitive::<Float64Type>().value(row).to_string(),
        T::Boolean => array.as_boolean().value(row).to_string(),
        T::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        T::Date32 => array
            .as_primitive::<Date32Type>()
            .value_as_date(row)?
            .to_string(),
        T::Time64(_) => {
            let times = array.as_primitive::<Time64MicrosecondType>();
            times.value_as_time(row)?.to_string()
        }
        T::Timestamp(..) => {
            let times = array.as_primitive::<TimestampMicrosecondType>();
            times.value_as_datetime(row)?.to_string()
        }
        T::Binary => {
            let bytes = array.as_binary::<i32>().value(row);
            bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        }
        other => panic!("{column} is a {other}"),
    })
}

fn is_same(column: &str, found: Option<&str>, expected: Option<&str>) -> bool {
    let (Some(found), Some(expected)) = (found, expected) else {
        return found == expected;
    };
    let number = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    match column {
        "c_real" => number(found) as f32 == number(expected) as f32,
        "c_double" => number(found) == number(expected),
        "c_numeric_free" => {
            let plain = |text: &str| match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                false => text.to_owned(),
            };
            plain(found) == plain(expected)
        }
        "c_json" | "c_jsonb" | "c_integers" | "c_texts" => json(found) == json(expected),
        "c_timetz" => found.trim_end_matches('Z') == expected.trim_end_matches("+00"),
        // PostgreSQL says it in words, Debezium in microseconds of months of 30.4375 days.
        "c_interval" => true,
        "c_toast" => {
            let chars: Vec<char> = found.chars().collect();
            let end = chars.len();
            let first: String = chars[..end.min(32)].iter().collect();
            let last: String = chars[end.saturating_sub(32)..].iter().collect();
            format!("{end}:{first}:{last}") == expected
        }
        _ => found == expected,
    }
}

fn whole(_column: &str, value: &str) -> String {
    value.to_owned()
}

/// Times of Connect's own types have milliseconds.
fn to_millis(column: &str, value: &str) -> String {
    match (column, value.split_once('.')) {
        ("c_time" | "c_timestamp", Some((seconds, fraction))) => {
            let millis = fraction[..fraction.len().min(3)].trim_end_matches('0');
            match millis {
                "" => seconds.to_owned(),
                millis => format!("{seconds}.{millis}"),
            }
        }
        _ => value.to_owned(),
    }
}

use IntegerTimestamps::{Micros, Millis, Nanos};
use QuotedDecimals::{Base64, Digits};

/// As a job says it whose columns of at most three digits are `counts(Millis)`.
fn read_with_millis(name: &'static str, in_millis: &[&str]) -> Variant {
    let mut settings = settings(Format::DebeziumJson, Micros, Base64);
    for column in &mut settings.columns {
        if in_millis.contains(&column.name) {
            *column = column.counts(Millis);
        }
    }
    Variant::read(name, &settings, b"")
}

fn read(name: &'static str, timestamps: IntegerTimestamps, decimals: QuotedDecimals) -> Variant {
    Variant::read(
        name,
        &settings(Format::DebeziumJson, timestamps, decimals),
        b"",
    )
}

#[test]
fn with_connects_schema_every_value_is_what_postgresql_has() {
    // The schema says what the settings would have to.
    read("schemas", Millis, Digits).check(&[], whole);
    read("schemas_string_connect", Nanos, Base64).check(&[], to_millis);
}

#[test]
fn without_a_schema_the_settings_say_what_numbers_mean() {
    read("string_connect", Millis, Digits).check(&[], to_millis);
    read("microseconds", Micros, Base64).check(&[], whole);
    read("nanoseconds", Nanos, Base64).check(&[], whole);
}

#[test]
fn times_as_iso_text_need_no_setting() {
    read("isostring", Nanos, Base64).check(&[], whole);
}

#[test]
fn a_column_of_few_digits_counts_something_else_by_default_and_can_say_so() {
    let few = ["c_time_3", "c_timestamp_3"];
    read_with_millis("plain", &few).check(&[], whole);
    read_with_millis("adaptive_time_microseconds", &few[1..]).check(&[], whole);
}

#[test]
fn rows_that_were_unwrapped_are_the_same_rows() {
    read_with_millis("unwrapped", &["c_time_3", "c_timestamp_3"]).check(&[], whole);
}

#[test]
fn what_the_database_did_not_say_is_null_and_named() {
    let variant = read("plain", Micros, Base64);
    let updates = |table: &str, column: &str| -> Vec<Option<String>> {
        let ops = variant.column(table, "__op").into_iter();
        let of_updates = ops.zip(variant.column(table, column));
        let of_updates = of_updates.filter(|(op, _)| op.as_deref() == Some("u"));
        of_updates.map(|(_, value)| value).collect()
    };
    let unchanged = Some(r#"["c_toast"]"#.to_owned());
    assert_eq!(
        updates("keyed_rows", "__unavailable"),
        [unchanged.clone(), None, unchanged]
    );
    assert_eq!(updates("full_rows", "__unavailable"), [None, None, None]);
    let has_before = |table: &str| updates(table, "__before").iter().all(Option::is_some);
    assert!(has_before("full_rows") && !has_before("keyed_rows"));
}

#[test]
fn behind_a_registrys_header_it_is_the_same() {
    let settings = settings(Format::DebeziumJsonSr, Millis, Digits);
    Variant::read("schemas", &settings, b"\x00\x00\x00\x00\x07").check(&[], whole);
    let settings = self::settings(Format::DebeziumJsonSr, Millis, Digits);
    Variant::read("string_connect", &settings, b"\x00\x00\x00\x00\x07").check(&[], to_millis);
}
