//! The JSON decoder against the model, and against cases that everyone gets wrong once.

mod aliases;
mod bounds;
mod failures;
mod generated;
mod grammar;
mod prediction;
mod registered;
mod seldom_types;
mod settings;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};

use super::json_model::{Cell, Model};
use super::message::MAX_MESSAGE_BYTES;
use super::testing::raw_batch;
use super::{Decode, Decoded, JsonDecoder};
use crate::record::ErrorType;
use crate::schema::{Column, ColumnType, decoded_schema};

const COLUMNS: &[Column] = &[
    Column::required("event_id", ColumnType::String),
    Column::required("event_time", ColumnType::Timestamptz),
    Column::required("count", ColumnType::Int),
    Column::optional("name", ColumnType::String),
    Column::optional("total", ColumnType::Long),
    Column::optional("ratio", ColumnType::Double),
    Column::optional("is_new", ColumnType::Boolean),
    Column::optional("seen_at", ColumnType::Timestamptz),
];
const MAX_RECORD_BYTES: usize = 4096;
const MODEL: Model<'_> = Model {
    columns: COLUMNS,
    event_id: Some(0),
    event_time: 1,
    max_record_bytes: MAX_RECORD_BYTES,
};

fn test_decoder() -> JsonDecoder {
    JsonDecoder::new(COLUMNS, Some(0), 1, MAX_RECORD_BYTES as u64).expect("decoder")
}

fn cell(columns: &RecordBatch, place: usize, row: usize) -> Cell {
    let array = columns.column(place);
    if array.is_null(row) {
        return Cell::Null;
    }
    match COLUMNS[place].column_type {
        ColumnType::String => Cell::Text(array.as_string::<i32>().value(row).to_owned()),
        ColumnType::Int => Cell::Integer(array.as_primitive::<Int32Type>().value(row).into()),
        ColumnType::Long => Cell::Integer(array.as_primitive::<Int64Type>().value(row)),
        ColumnType::Double => {
            Cell::Double(array.as_primitive::<Float64Type>().value(row).to_bits())
        }
        ColumnType::Boolean => Cell::Boolean(array.as_boolean().value(row)),
        ColumnType::Timestamptz => {
            Cell::Micros(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        other => panic!("the model has no {}", other.name()),
    }
}

/// For each record its row or failure; checks that the batch is accounted for and the messages bounded.
fn outcomes(decoded: &Decoded, records: usize) -> Vec<Result<Vec<Cell>, (ErrorType, String)>> {
    assert_eq!(decoded.columns.num_rows(), decoded.rows.len());
    assert_eq!(decoded.columns.schema(), decoded_schema(COLUMNS));
    assert!(decoded.rows.is_sorted() && decoded.failures.is_sorted_by_key(|f| f.record));
    let mut outcomes = vec![None; records];
    for (row, &record) in decoded.rows.iter().enumerate() {
        let cells = (0..COLUMNS.len())
            .map(|place| cell(&decoded.columns, place, row))
            .collect();
        assert!(
            outcomes[record as usize].replace(Ok(cells)).is_none(),
            "record {record} is there twice"
        );
    }
    for failure in &decoded.failures {
        assert!(!failure.message.is_empty() && failure.message.len() <= MAX_MESSAGE_BYTES);
        assert!(!failure.message.contains('\n'), "{}", failure.message);
        let outcome = Err((failure.error_type, failure.message.clone()));
        assert!(
            outcomes[failure.record as usize].replace(outcome).is_none(),
            "a record is there twice"
        );
    }
    outcomes
        .into_iter()
        .map(|outcome| outcome.expect("every record is a row or a failure"))
        .collect()
}

fn decode_one(value: &[u8]) -> Result<Vec<Cell>, (ErrorType, String)> {
    outcomes(&test_decoder().decode(&raw_batch(&[Some(value)])), 1).remove(0)
}

/// Records decoded together are what the model says, and what each is alone, without a prediction.
fn check(values: &[Option<Vec<u8>>]) {
    let decoded = outcomes(&test_decoder().decode(&raw_batch(values)), values.len());
    for (value, outcome) in values.iter().zip(decoded) {
        let alone = outcomes(
            &test_decoder().decode(&raw_batch(std::slice::from_ref(value))),
            1,
        )
        .remove(0);
        let text = value
            .as_ref()
            .map(|value| String::from_utf8_lossy(value).into_owned());
        assert_eq!(outcome, alone, "with and without a prediction: {text:?}");
        let expected = MODEL.decode(value.as_deref());
        assert_eq!(
            outcome.map_err(|(error_type, _)| error_type),
            expected,
            "decoder and model: {text:?}"
        );
    }
}

/// A good record, but for the value of one field.
fn with_field(key: &str, value: &str) -> Vec<u8> {
    let good = [
        ("event_id", "\"a\""),
        ("event_time", "0"),
        ("count", "1"),
        ("name", "\"n\""),
        ("total", "2"),
        ("ratio", "0.5"),
        ("is_new", "true"),
        ("seen_at", "\"2026-11-21T10:00:00.123Z\""),
        ("other", "[]"),
    ];
    let members: Vec<String> = good
        .iter()
        .map(|(name, v)| format!("\"{name}\":{}", if *name == key { value } else { v }))
        .collect();
    format!("{{{}}}", members.join(",")).into_bytes()
}
