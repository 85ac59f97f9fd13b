//! What Debezium really wrote (`tests/debezium/recorded`): its schemas add the columns that a person gave the job of
//! `tests/debezium/columns.rs`, and its records land in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::new_carried_fields;
use crate::decode::decoder;
use crate::decode::testing::raw_batch;
use crate::job::{Format, Job, JobSettings};
use crate::schema::{Column, ColumnType};

const JOB: Job = Job {
    name: "changes",
    format: Format::DebeziumJson,
    columns: &[
        Column::required("event_id", ColumnType::String),
        Column::required("event_time", ColumnType::Timestamptz),
    ],
    ..Job::BRONZE
};

/// The values of a variant's records, tombstones left out.
fn values(variant: &str) -> Vec<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/debezium/recorded")
        .join(format!("{variant}.jsonl"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let value = |line: &str| {
        let record: Value = serde_json::from_str(line).expect("a recorded record");
        record["value"].as_str().map(str::to_owned)
    };
    text.lines().filter_map(value).collect()
}

/// The settings with the columns that the schemas of the records add.
fn grown(values: &[String]) -> JobSettings {
    let mut settings = JOB.settings();
    for value in values {
        let record: Value = serde_json::from_str(value).expect("JSON");
        let found = new_carried_fields(&settings, &record["schema"]);
        settings.add_columns(&found.columns);
    }
    settings
}

/// The places of the records that land, and of those that fail with their messages.
fn fates(settings: &JobSettings, values: &[String]) -> (Vec<u32>, Vec<(u32, String)>) {
    let records: Vec<Option<&String>> = values.iter().map(Some).collect();
    let mut decoder = decoder(settings, false).expect("a decoder");
    let decoded = decoder.decode(&raw_batch(&records));
    let failures = decoded.failures.into_iter();
    let failures = failures.map(|failure| (failure.record, failure.message));
    (decoded.rows, failures.collect())
}

#[test]
fn a_recorded_change_lands_in_the_columns_that_its_schema_adds() {
    for variant in ["schemas", "schemas_string_connect"] {
        let values = values(variant);
        let grown = grown(&values);
        assert!(grown.columns.len() > 20, "{variant}: {:?}", grown.columns);
        let (rows, _) = fates(&grown, &values);
        assert!(rows.len() > 20, "{variant}: {} rows", rows.len());
        let alone = fates(&JOB.settings(), &values);
        assert_eq!(fates(&grown, &values), alone, "{variant}");
    }
}

#[test]
fn a_recorded_schema_adds_the_columns_that_a_person_would() {
    use ColumnType as C;
    let added = grown(&values("schemas"));
    let added: BTreeMap<&str, ColumnType> = added
        .columns
        .iter()
        .skip(JOB.columns.len())
        .map(|column| (column.name, column.column_type))
        .collect();
    let numeric = C::Decimal {
        precision: 18,
        scale: 4,
    };
    let expected = BTreeMap::from([
        ("a", C::String),
        ("b", C::Int),
        ("c_bigint", C::Long),
        ("c_boolean", C::Boolean),
        ("c_bytea", C::Binary),
        ("c_char", C::String),
        ("c_date", C::Date),
        ("c_double", C::Double),
        ("c_integer", C::Int),
        ("c_interval", C::Long),
        ("c_json", C::String),
        ("c_jsonb", C::String),
        ("c_numeric", numeric),
        ("c_real", C::Float),
        ("c_smallint", C::Int),
        ("c_text", C::String),
        ("c_time", C::Time),
        ("c_time_3", C::Time),
        ("c_timestamp", C::Timestamp),
        ("c_timestamp_3", C::Timestamp),
        ("c_timestamptz", C::Timestamptz),
        ("c_timetz", C::String),
        ("c_toast", C::String),
        ("c_uuid", C::String),
        ("c_varchar", C::String),
        ("id", C::Int),
    ]);
    assert_eq!(added, expected);
}
