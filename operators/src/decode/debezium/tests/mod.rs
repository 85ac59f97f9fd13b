//! Debezium's changes as its PostgreSQL connector writes them.

mod changes;
mod event_times;
mod meanings;
mod positions;
mod unavailable;
mod unwrapped;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{Array, RecordBatch};
use serde_json::{Value, json};

use super::super::testing::raw_batch;
use super::super::{Decode, Decoded};
use super::DebeziumDecoder;
use crate::job::{DedupPolicy, Job, JobSettings};
use crate::record::ErrorType;
use crate::schema::{Column, ColumnType};

const COLUMNS: &[Column] = &[
    Column::required("event_id", ColumnType::String),
    Column::required("event_time", ColumnType::Timestamptz),
    Column::optional("note", ColumnType::String),
    Column::optional(
        "price",
        ColumnType::Decimal {
            precision: 10,
            scale: 2,
        },
    ),
    Column::optional("day", ColumnType::Date),
    Column::optional("at", ColumnType::Time),
    Column::optional("seen", ColumnType::Timestamp),
    Column::optional("__op", ColumnType::String),
    Column::optional("__table", ColumnType::String),
    Column::optional("__schema", ColumnType::String),
    Column::optional("__ts_ms", ColumnType::Long),
    Column::optional("__source_ts_ms", ColumnType::Timestamptz),
    Column::optional("__lsn", ColumnType::Long),
    Column::optional("__deleted", ColumnType::Boolean),
    Column::optional("__before", ColumnType::String),
    Column::optional("__unavailable", ColumnType::String),
];

fn settings() -> JobSettings {
    JobSettings {
        columns: COLUMNS.to_vec(),
        dedup: Some(DedupPolicy {
            key: "event_id".to_owned(),
            ttl: std::time::Duration::from_secs(1),
        }),
        ..Job::BRONZE.settings()
    }
}

fn decode(records: &[Option<Value>]) -> Decoded {
    let records: Vec<Option<String>> = records
        .iter()
        .map(|record| record.as_ref().map(Value::to_string))
        .collect();
    let mut decoder = DebeziumDecoder::new(&settings(), Some(0), 1).expect("a decoder");
    decoder.decode(&raw_batch(&records))
}

/// The row as JSON, columns that are null left out.
fn row(columns: &RecordBatch, row: usize) -> Value {
    let mut object = serde_json::Map::new();
    for (column, array) in COLUMNS.iter().zip(columns.columns()) {
        if array.is_null(row) {
            continue;
        }
        let value = match column.column_type {
            ColumnType::String => json!(array.as_string::<i32>().value(row)),
            ColumnType::Long => json!(array.as_primitive::<Int64Type>().value(row)),
            ColumnType::Date => json!(array.as_primitive::<Date32Type>().value(row)),
            ColumnType::Time => json!(array.as_primitive::<Time64MicrosecondType>().value(row)),
            ColumnType::Boolean => json!(array.as_boolean().value(row)),
            ColumnType::Decimal { .. } => {
                json!(array.as_primitive::<Decimal128Type>().value(row) as i64)
            }
            _ => json!(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        };
        object.insert(column.name.to_owned(), value);
    }
    Value::Object(object)
}

fn source() -> Value {
    json!({
        "version": "3.6.3.Final", "connector": "postgresql", "name": "shop", "ts_ms": 1_700_000_000_500i64,
        "snapshot": "false", "db": "shop", "sequence": "[\"1\",\"2\"]", "schema": "public",
        "table": "orders", "txId": 7, "lsn": 4242, "xmin": null
    })
}

fn envelope(op: &str, before: Value, after: Value) -> Value {
    json!({
        "before": before, "after": after, "source": source(), "transaction": null,
        "op": op, "ts_ms": 1_700_000_000_900i64
    })
}
