//! Debezium's changes in JSON of about 900 bytes, without Connect's schema: inserted and updated rows of one table.

use std::hint::black_box;
use std::sync::Arc;

use strandline_operators::arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use strandline_operators::decode::{DebeziumDecoder, Decode};
use strandline_operators::job::{DedupPolicy, Job, JobSettings};
use strandline_operators::schema::ColumnType::{Boolean, Long, String as Text, Timestamptz};
use strandline_operators::schema::{Column, timestamptz};

use crate::yardsticks::{arrow_json, json_rows};
use crate::{Random, batches_of, measure};

/// Five of the row, five of the change, and the id, which is the position.
const COLUMNS: &[Column] = &[
    Column::required("event_id", Text),
    Column::required("event_time", Timestamptz),
    Column::optional("event_type", Text),
    Column::optional("aggregate_type", Text),
    Column::optional("aggregate_id", Text),
    Column::optional("payload", Text),
    Column::optional("__op", Text),
    Column::optional("__table", Text),
    Column::optional("__source_ts_ms", Timestamptz),
    Column::optional("__lsn", Long),
    Column::optional("__deleted", Boolean),
];

/// The decoder, and arrow-json to the change as it is nested.
pub fn measure_debezium() {
    let batches = batches_of(|random| change(random).into_bytes());
    let settings = JobSettings {
        columns: COLUMNS.to_vec(),
        dedup: Some(DedupPolicy {
            key: "event_id".to_owned(),
            ttl: std::time::Duration::from_secs(1),
        }),
        ..Job::BRONZE.settings()
    };
    let mut decoder = DebeziumDecoder::new(&settings, Some(0), 1).expect("a decoder");
    measure("Debezium JSON to columns", &batches, |batch| {
        black_box(decoder.decode(batch)).rows.len()
    });
    let mut decoder = arrow_json(nested());
    measure(
        "arrow-json to a Debezium change's columns",
        &batches,
        |batch| json_rows(&mut decoder, batch),
    );
}

/// What of a change [`COLUMNS`] need, as a schema of structures.
fn nested() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let long = |name: &str| Field::new(name, DataType::Int64, true);
    let row = Fields::from(vec![
        text("event_type"),
        Field::new("event_time", timestamptz(), true),
        text("aggregate_type"),
        text("aggregate_id"),
        text("payload"),
    ]);
    let source = Fields::from(vec![text("table"), long("ts_ms"), long("lsn")]);
    Arc::new(Schema::new(vec![
        Field::new("after", DataType::Struct(row), true),
        Field::new("source", DataType::Struct(source), true),
        text("op"),
    ]))
}

fn change(random: &mut Random) -> String {
    let (lsn, ms) = (
        1 << 40 | random.below(1 << 39),
        1_795_298_878_924 + random.below(1 << 20),
    );
    // One in three has the former row.
    let (op, before) = match random.below(3) {
        0 => ('u', row(random)),
        _ => ('c', "null".to_owned()),
    };
    let after = row(random);
    format!(
        "{{\"before\":{before},\"after\":{after},\"source\":{{\"version\":\"3.6.3.Final\",\"connector\":\"postgresql\",\
         \"name\":\"warehouse\",\"ts_ms\":{ms},\"snapshot\":\"false\",\"db\":\"warehouse\",\
         \"sequence\":\"[\\\"{}\\\",\\\"{lsn}\\\"]\",\"ts_us\":{ms}112,\"ts_ns\":{ms}112000,\"schema\":\"public\",\
         \"table\":\"stock_events\",\"txId\":{},\"lsn\":{lsn},\"xmin\":null,\"origin\":null,\"origin_lsn\":null}},\
         \"transaction\":null,\"op\":\"{op}\",\"ts_ms\":{ms},\"ts_us\":{ms}503,\"ts_ns\":{ms}503645}}",
        lsn - 56,
        random.below(1 << 20),
    )
}

fn row(random: &mut Random) -> String {
    format!(
        "{{\"event_type\":\"stock.counted\",\"event_time\":\"2026-11-21T10:{:02}:{:02}.{:03}Z\",\
         \"aggregate_type\":\"stock\",\"aggregate_id\":\"{}\",\
         \"payload\":\"{{\\\"sku\\\":\\\"SKU-{:08}\\\",\\\"place\\\":\\\"ams-{}\\\",\\\"quantity\\\":{},\\\"batch\\\":\\\"{}\\\"}}\"}}",
        random.below(60),
        random.below(60),
        random.below(1000),
        random.uuid(),
        random.below(100_000_000),
        random.below(9),
        random.below(1000),
        random.uuid(),
    )
}
