//! Route: verdicts into rows of the job's tables, dead letters and the account.
//!
//! | | |
//! |---|---|
//! | in | [`JudgedBatch`]es |
//! | out | rows of the primary table and of the routes' ([`Landing`]), dead letters, and what became of each record ([`Accounted`]) |
//! | exchange | none |
//! | state | none: a pure function of the batch and of its columns in the tables |
//! | frontier | passed on as it is |
//! | errors | a defect (columns that do not fit) ends the job |
//! | metrics | the account, records judged, the age of what lands |
//!
//! Order of verdicts: failures of decoding came first, then a known id is a duplicate however late it is,
//! then the too late are sorted out, then the late are flagged. Nothing after this may reject a record:
//! every row that lands is in the primary table, and in those of the routes that take it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray,
    UInt32Array,
};
use arrow_schema::{Field, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use arrow_select::take::take_record_batch;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::account::Account;
use crate::context::Context;
use crate::credit::Credit;
use crate::dedup::JudgedBatch;
use crate::error::{Error, Result};
use crate::io::{Files, TableIndex};
use crate::job::TooLate;
use crate::progress::{LeaderEpoch, PartitionDelta};
use crate::record::{DeadLetter, ErrorType, EventBatch, TopicPartition};
use crate::routes::{Columns, Row};
use crate::schema::{as_of_table, metadata_fields};
use crate::time::{Epoch, EventTime, IngestTime, MICROS_PER_SECOND};
use crate::watermark::{Lateness, LatenessJudge};

/// The column that holds the broker's timestamp of each row.
const KAFKA_TIMESTAMP: &str = "kafka_timestamp";

/// Microseconds in a day.
const MICROS_PER_DAY: i64 = 24 * 60 * 60 * MICROS_PER_SECOND;

/// Rows of one table and one day, on their way into a data file.
#[derive(Debug)]
pub struct Landing {
    /// The table.
    pub table: TableIndex,
    /// The partition value: days since 1970-01-01.
    pub day: i32,
    /// The rows.
    pub rows: RecordBatch,
    /// The memory that they hold, given back once they are encoded.
    pub credit: Option<Arc<Credit>>,
}

/// What became of a range of offsets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounted {
    /// The partition.
    pub source: TopicPartition,
    /// The range and its account.
    pub delta: PartitionDelta,
}

/// Dead letters of one batch, on their way to the topic and the table.
#[derive(Debug)]
pub struct Letters {
    /// The letters; never none.
    pub letters: Vec<DeadLetter>,
    /// The memory of the batch they come from, given back once they are sent and encoded.
    pub credit: Arc<Credit>,
}

/// Everything that comes out of one batch. Its credit is given back when all of it is gone.
#[derive(Debug)]
pub struct Routed {
    /// Rows of the Bronze table, by day.
    pub landing: Vec<Landing>,
    /// Records that cannot land, if there are any.
    pub dead_letters: Option<Letters>,
    /// What became of each record.
    pub accounted: Accounted,
}

/// A route's table.
struct RouteTarget {
    table: TableIndex,
    takes: fn(&Row<'_>) -> bool,
}

/// The columns of the tables, for batches of certain decoded columns.
struct Shape {
    /// The decoded columns that it is for.
    decoded: SchemaRef,
    /// Those of the primary table: the decoded ones, then the metadata columns.
    primary: SchemaRef,
    /// The same columns of each route's table, with ids of its own.
    routes: Vec<SchemaRef>,
}

/// The pure core: turns a judged batch into what lands, what does not, and the account.
pub struct Router {
    files: Arc<dyn Files>,
    routes: Vec<RouteTarget>,
    /// Of the batch before: the columns seldom change.
    shape: Option<Shape>,
    /// How far from the last column that with the broker's timestamps is.
    timestamps: usize,
    lateness: LatenessJudge,
}

impl Router {
    /// A router into the primary table of `files`.
    pub fn new(files: Arc<dyn Files>, lateness: LatenessJudge) -> Router {
        // The metadata columns are the last ones.
        let metadata = metadata_fields();
        let mut from_the_end = metadata.iter().rev();
        let timestamps = from_the_end.position(|field| field.name() == KAFKA_TIMESTAMP);
        Router {
            files,
            routes: Vec::new(),
            shape: None,
            timestamps: timestamps.map_or(0, |place| place + 1),
            lateness,
        }
    }

    /// The same with a route to `table` for the rows that `takes` says yes to.
    #[must_use]
    pub fn with_route(mut self, table: TableIndex, takes: fn(&Row<'_>) -> bool) -> Router {
        self.routes.push(RouteTarget { table, takes });
        self
    }

    /// Sees to it that the shape is that of these decoded columns.
    fn shape(&mut self, decoded: &SchemaRef) -> Result<&Shape> {
        let known = self
            .shape
            .take()
            .filter(|shape| Arc::ptr_eq(&shape.decoded, decoded) || shape.decoded == *decoded);
        let shape = match known {
            Some(shape) => shape,
            None => Shape {
                decoded: Arc::clone(decoded),
                primary: self.columns_of(TableIndex::PRIMARY, decoded)?,
                routes: self
                    .routes
                    .iter()
                    .map(|route| self.columns_of(route.table, decoded))
                    .collect::<Result<_>>()?,
            },
        };
        Ok(self.shape.insert(shape))
    }

    /// The decoded columns and the metadata columns, as a table has them.
    fn columns_of(&self, table: TableIndex, decoded: &Schema) -> Result<SchemaRef> {
        let all = self.files.schema(table);
        let metadata = metadata_fields();
        let names = decoded.fields().iter().map(|field| field.name().as_str());
        let names = names.chain(metadata.iter().map(|field| field.name().as_str()));
        let fields = names.map(|name| all.field_with_name(name).cloned());
        let fields: Vec<Field> = fields.collect::<std::result::Result<_, _>>().map_err(fit)?;
        Ok(Arc::new(Schema::new(fields)))
    }

    /// Routes a batch that was read in `epoch`.
    ///
    /// # Errors
    /// A defect: columns that do not fit the table's schema.
    pub fn route(&mut self, batch: JudgedBatch, epoch: Epoch) -> Result<Routed> {
        let JudgedBatch { events, duplicates } = batch;
        let mut account = Account {
            consumed: events.raw.records.len() as u64,
            gaps: events.raw.gaps(),
            dead_letters: events.failures.len() as u64,
            dropped: events.dropped,
            ..Account::default()
        };
        let mut lands = Vec::with_capacity(events.rows.len());
        let mut late = Vec::with_capacity(events.rows.len());
        let mut dead_letters: Vec<DeadLetter> = events
            .failures
            .iter()
            .map(|f| dead_letter(&events, f.record, f.error_type, f.message.clone()))
            .collect();
        for (row, &duplicate) in duplicates.iter().enumerate() {
            let (event_time, watermark) = (events.event_times[row], events.watermarks[row]);
            let lateness = self.lateness.judge(event_time, watermark);
            let is_landing = !duplicate && lateness != Lateness::TooLate;
            if duplicate {
                account.duplicates += 1;
            } else if is_landing {
                account.landed += 1;
                account.late += u64::from(lateness == Lateness::Late);
                late.push(lateness == Lateness::Late);
            } else if self.lateness.too_late() == TooLate::Drop {
                account.dropped += 1;
            } else {
                account.dead_letters += 1;
                dead_letters.push(dead_letter(
                    &events,
                    events.rows[row],
                    ErrorType::TooLate,
                    too_late(event_time, watermark),
                ));
            }
            lands.push(is_landing);
        }
        let accounted = Accounted {
            source: events.raw.source.clone(),
            delta: PartitionDelta {
                start: events.raw.start,
                next: events.raw.next,
                leader_epoch: events.raw.leader_epoch.zip(events.raw.records.last()).map(
                    |(epoch, last)| LeaderEpoch {
                        epoch,
                        offset: last.offset,
                    },
                ),
                max_event_time: events.max_event_time,
                account,
            },
        };
        let tables = if account.landed == 0 {
            Vec::new()
        } else {
            self.tables(&events, lands, late, epoch)?
        };
        let credit = Arc::new(events.raw.credit);
        let landing = tables
            .into_iter()
            .map(|(table, day, rows)| Landing {
                table,
                day,
                rows,
                credit: Some(Arc::clone(&credit)),
            })
            .collect();
        Ok(Routed {
            landing,
            dead_letters: (!dead_letters.is_empty()).then_some(Letters {
                letters: dead_letters,
                credit,
            }),
            accounted,
        })
    }

    /// The broker's timestamps of rows that land, in microseconds; records without one are left out.
    fn timestamps<'a>(&self, landing: &'a Landing) -> impl Iterator<Item = i64> + use<'a> {
        let place = landing.rows.num_columns().checked_sub(self.timestamps);
        let column = place.and_then(|place| landing.rows.columns().get(place));
        let column = column.and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
        column.into_iter().flatten().flatten()
    }

    /// The rows that land, by table and day.
    fn tables(
        &mut self,
        events: &EventBatch,
        lands: Vec<bool>,
        late: Vec<bool>,
        epoch: Epoch,
    ) -> Result<Vec<(TableIndex, i32, RecordBatch)>> {
        let shape = self.shape(events.columns.schema_ref())?;
        let (rows, days) = rows_of(&shape.primary, events, lands, late, epoch)?;
        let schemas = shape.routes.clone();
        let mut tables = Vec::new();
        for (route, schema) in self.routes.iter().zip(&schemas) {
            let columns = Columns::of(&rows);
            let taken: Vec<bool> = (0..rows.num_rows())
                .map(|row| (route.takes)(&columns.row(row)))
                .collect();
            let days: Vec<i32> = days
                .iter()
                .zip(&taken)
                .filter_map(|(day, taken)| taken.then_some(*day))
                .collect();
            if days.is_empty() {
                continue;
            }
            let taken = filter_record_batch(&rows, &BooleanArray::from(taken)).map_err(fit)?;
            let of_table = taken.columns().iter().zip(schema.fields());
            let columns = of_table
                .map(|(column, field)| as_of_table(column, field.data_type()))
                .collect::<std::result::Result<_, _>>()
                .map_err(fit)?;
            let taken = RecordBatch::try_new(Arc::clone(schema), columns).map_err(fit)?;
            let by_day = by_day(taken, &days)?.into_iter();
            tables.extend(by_day.map(|(day, rows)| (route.table, day, rows)));
        }
        let primary = by_day(rows, &days)?.into_iter();
        tables.extend(primary.map(|(day, rows)| (TableIndex::PRIMARY, day, rows)));
        Ok(tables)
    }
}

/// The rows that land, with the metadata columns, and the day of each.
fn rows_of(
    schema: &SchemaRef,
    events: &EventBatch,
    lands: Vec<bool>,
    late: Vec<bool>,
    epoch: Epoch,
) -> Result<(RecordBatch, Vec<i32>)> {
    let all_land = late.len() == lands.len();
    let places: Vec<usize> = (0..lands.len()).filter(|&row| lands[row]).collect();
    let columns = if all_land {
        events.columns.clone()
    } else {
        filter_record_batch(&events.columns, &BooleanArray::from(lands)).map_err(fit)?
    };
    let record = |&row: &usize| &events.raw.records[events.rows[row] as usize];
    let rows = places.len();
    let topic = &*events.raw.source.topic;
    let mut topics = StringBuilder::with_capacity(rows, rows * topic.len());
    for _ in 0..rows {
        topics.append_value(topic);
    }
    let utc =
        |array: TimestampMicrosecondArray| -> ArrayRef { Arc::new(array.with_timezone("+00:00")) };
    let micros = |time: EventTime| time.0;
    let of_table = columns.columns().iter().zip(schema.fields());
    let mut arrays: Vec<ArrayRef> = of_table
        .map(|(column, field)| as_of_table(column, field.data_type()))
        .collect::<std::result::Result<_, _>>()
        .map_err(fit)?;
    arrays.push(Arc::new(BooleanArray::from(late)));
    arrays.push(Arc::new(topics.finish()));
    arrays.push(Arc::new(Int32Array::from_value(
        events.raw.source.partition,
        rows,
    )));
    arrays.push(Arc::new(Int64Array::from_iter_values(
        places.iter().map(|row| record(row).offset),
    )));
    arrays.push(utc(places
        .iter()
        .map(|row| record(row).timestamp.map(micros))
        .collect()));
    arrays.push(utc(TimestampMicrosecondArray::from_value(
        events.raw.received_at.0,
        rows,
    )));
    arrays.push(Arc::new(Int64Array::from_value(epoch.0 as i64, rows)));
    arrays.push(utc(places
        .iter()
        .map(|&row| events.watermarks[row].map(micros))
        .collect()));
    let batch = RecordBatch::try_new(Arc::clone(schema), arrays).map_err(fit)?;
    let days: Vec<i32> = places
        .iter()
        .map(|&row| day_of(events.event_times[row]))
        .collect();
    Ok((batch, days))
}

fn fit(error: arrow_schema::ArrowError) -> Error {
    Error::internal(format!("decoded columns do not fit the table: {error}"))
}

/// Days since 1970-01-01.
pub fn day_of(time: EventTime) -> i32 {
    // An i64 of microseconds spans 213 million days.
    time.0.div_euclid(MICROS_PER_DAY) as i32
}

/// Splits rows by their day. Nearly every batch has one.
pub fn by_day(rows: RecordBatch, days: &[i32]) -> Result<Vec<(i32, RecordBatch)>> {
    let Some(&first) = days.first() else {
        return Ok(Vec::new());
    };
    if days.iter().all(|&day| day == first) {
        return Ok(vec![(first, rows)]);
    }
    let mut places: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
    for (row, &day) in days.iter().enumerate() {
        places.entry(day).or_default().push(row as u32);
    }
    places
        .into_iter()
        .map(|(day, places)| {
            take_record_batch(&rows, &UInt32Array::from(places))
                .map(|rows| (day, rows))
                .map_err(|e| Error::internal(format!("cannot split rows by day: {e}")))
        })
        .collect()
}

fn too_late(event_time: EventTime, watermark: Option<EventTime>) -> String {
    match watermark {
        Some(watermark) => format!(
            "event time {event_time} is further behind the watermark {watermark} than the allowed lateness"
        ),
        None => format!("event time {event_time} is too late"),
    }
}

fn dead_letter(
    events: &EventBatch,
    record: u32,
    error_type: ErrorType,
    message: String,
) -> DeadLetter {
    let raw = &events.raw;
    let record = &raw.records[record as usize];
    DeadLetter {
        source: raw.source.clone(),
        offset: record.offset,
        timestamp: record.timestamp,
        key: raw.key(record).map(<[u8]>::to_vec),
        payload: raw.value(record).map(<[u8]>::to_vec),
        error_type,
        message,
        failed_at: raw.received_at,
    }
}

/// Routes judged batches.
pub trait Route<'scope> {
    /// What lands, what cannot, and the account.
    #[allow(
        clippy::type_complexity,
        reason = "three streams, each with its own consumer"
    )]
    fn route(
        self,
        router: Router,
        context: &Context,
    ) -> (
        StreamVec<'scope, IngestTime, Landing>,
        StreamVec<'scope, IngestTime, Letters>,
        StreamVec<'scope, IngestTime, Accounted>,
    );
}

impl<'scope> Route<'scope> for StreamVec<'scope, IngestTime, JudgedBatch> {
    fn route(
        self,
        mut router: Router,
        context: &Context,
    ) -> (
        StreamVec<'scope, IngestTime, Landing>,
        StreamVec<'scope, IngestTime, Letters>,
        StreamVec<'scope, IngestTime, Accounted>,
    ) {
        let context = Rc::clone(context);
        let mut builder = OperatorBuilder::new("Route".to_owned(), self.scope());
        let mut input = builder.new_input(self, Pipeline);
        let (landing, landing_stream) = builder.new_output::<Vec<Landing>>();
        let (letters, letters_stream) = builder.new_output::<Vec<Letters>>();
        let (accounted, accounted_stream) = builder.new_output::<Vec<Accounted>>();
        let mut landing = OutputBuilder::<_, CapacityContainerBuilder<Vec<Landing>>>::from(landing);
        let mut letters = OutputBuilder::<_, CapacityContainerBuilder<Vec<Letters>>>::from(letters);
        let mut accounted =
            OutputBuilder::<_, CapacityContainerBuilder<Vec<Accounted>>>::from(accounted);
        builder.build(move |_capabilities| {
            let mut failed = None;
            move |_frontiers| {
                let (mut landing, mut letters, mut accounted) =
                    (landing.activate(), letters.activate(), accounted.activate());
                input.for_each(|time, batches: &mut Vec<JudgedBatch>| {
                    for batch in batches.drain(..) {
                        if failed.is_some() {
                            return;
                        }
                        match router.route(batch, time.epoch) {
                            Ok(routed) => {
                                let judged = &context.observed.records_judged;
                                let records = routed.accounted.delta.account.consumed;
                                judged.fetch_add(records, Ordering::Relaxed);
                                let now = context.host.wall_clock();
                                let primary =
                                    |landing: &&Landing| landing.table == TableIndex::PRIMARY;
                                for landing in routed.landing.iter().filter(primary) {
                                    let timestamps = router.timestamps(landing);
                                    let mut latency = context.latency.borrow_mut();
                                    latency.routed(time.epoch, now, timestamps);
                                }
                                landing
                                    .session(&time)
                                    .give_iterator(routed.landing.into_iter());
                                if let Some(dead) = routed.dead_letters {
                                    letters.session(&time).give(dead);
                                }
                                accounted.session(&time).give(routed.accounted);
                            }
                            Err(error) => {
                                failed = Some((time.retain(0), time.retain(1), time.retain(2)));
                                context.fail(error);
                            }
                        }
                    }
                });
            }
        });
        (landing_stream, letters_stream, accounted_stream)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arrow_array::StringArray;
    use bytes::Bytes;

    use super::*;
    use crate::credit::Budget;
    use crate::io::{DataFileWriter, FileKey};
    use crate::job::Job;
    use crate::record::{DecodeFailure, RawBatch, RawRecord};
    use crate::schema::{Column, ColumnType, bronze_schema};

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
                Arc::new(
                    TimestampMicrosecondArray::from(vec![event_time.0]).with_timezone("+00:00"),
                ),
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
}
