//! A batch gives its credit back when what became of it is gone.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::SchemaRef;
use bytes::Bytes;

use super::*;
use crate::credit::Budget;
use crate::error::{Error, Result};
use crate::io::{DataFileWriter, FileKey, Files};
use crate::job::Job;
use crate::record::{DecodeFailure, ErrorType, EventBatch, RawBatch, RawRecord, TopicPartition};
use crate::schema::{Column, ColumnType, bronze_schema};
use crate::time::{Epoch, EventTime};
use crate::watermark::LatenessJudge;

const JOB: Job = Job {
    name: "test",
    topics: &["t"],
    columns: &[
        Column::required("event_id", ColumnType::String),
        Column::required("event_time", ColumnType::Timestamptz),
    ],
    table: "bronze.test",
    ..Job::BRONZE
};

struct Columns;

impl Files for Columns {
    fn schema(&self, _table: TableIndex) -> SchemaRef {
        bronze_schema(JOB.columns)
    }

    fn open(&self, key: FileKey, _columns: &SchemaRef) -> Result<Box<dyn DataFileWriter>> {
        Err(Error::internal(format!("no file is written here: {key:?}")))
    }
}

fn router() -> Router {
    Router::new(
        Arc::new(Columns),
        LatenessJudge::new(&JOB.settings().lateness),
    )
}

/// A batch of 100 bytes of credit: one row, whose event time is `age` behind the watermark, and one
/// tombstone, if `tombstone`.
fn batch(budget: &Budget, age: Duration, tombstone: bool) -> JudgedBatch {
    let watermark = EventTime(1_700_000_000_000_000);
    let event_time = watermark.minus(age.as_micros() as i64);
    let records: Vec<RawRecord> = (0..1 + i64::from(tombstone))
        .map(|offset| RawRecord {
            offset,
            timestamp: None,
            key: None,
            value: None,
        })
        .collect();
    let schema = bronze_schema(&JOB.settings().columns);
    let columns = RecordBatch::try_new(
        Arc::new(schema.project(&[0, 1]).expect("columns")),
        vec![
            Arc::new(StringArray::from(vec!["id"])),
            Arc::new(TimestampMicrosecondArray::from(vec![event_time.0]).with_timezone("+00:00")),
        ],
    )
    .expect("batch");
    let failures = records[1..]
        .iter()
        .map(|_| DecodeFailure {
            record: 1,
            error_type: ErrorType::NullValue,
            message: "its value is null".to_owned(),
        })
        .collect();
    JudgedBatch {
        events: EventBatch {
            raw: RawBatch {
                source: TopicPartition::new("t", 0),
                start: 0,
                next: records.len() as i64,
                leader_epoch: None,
                received_at: watermark,
                arena: Bytes::new(),
                records,
                headers: None,
                credit: budget.take(100),
            },
            columns,
            rows: vec![0],
            event_times: vec![event_time],
            watermarks: vec![Some(watermark)],
            hashes: Vec::new(),
            failures,
            dropped: 0,
            max_event_time: Some(watermark),
        },
        duplicates: vec![false],
    }
}

#[test]
fn a_batch_keeps_its_credit_until_its_dead_letters_are_gone_too() {
    let budget = Budget::new(100);
    let batch = batch(&budget, Duration::ZERO, true);
    let routed = router().route(batch, Epoch(1)).expect("routed");
    assert_eq!(routed.landing.len(), 1);
    let letters = routed.dead_letters.expect("a letter");
    assert_eq!(letters.letters.len(), 1);
    drop(routed.landing);
    assert_eq!(budget.in_flight(), 100, "the letter still holds it");
    drop(letters);
    assert_eq!(budget.in_flight(), 0);
}

#[test]
fn a_batch_of_nothing_but_dead_letters_keeps_its_credit() {
    let budget = Budget::new(100);
    let batch = batch(&budget, Duration::from_secs(30 * 24 * 3600), false);
    let routed = router().route(batch, Epoch(1)).expect("routed");
    assert!(routed.landing.is_empty());
    assert!(!budget.has_room());
    drop(routed.dead_letters.expect("a letter"));
    assert!(budget.has_room());
}

#[test]
fn rows_without_dead_letters_give_the_credit_back_when_they_are_encoded() {
    let budget = Budget::new(100);
    let batch = batch(&budget, Duration::ZERO, false);
    let routed = router().route(batch, Epoch(1)).expect("routed");
    assert!(routed.dead_letters.is_none());
    assert_eq!(budget.in_flight(), 100);
    drop(routed.landing);
    assert_eq!(budget.in_flight(), 0);
}
