//! What becomes of each record of a judged batch: a pure function, apart from its operator.

use std::collections::BTreeMap;
use std::sync::Arc;

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

use crate::account::Account;
use crate::credit::Credit;
use crate::dedup::JudgedBatch;
use crate::error::{Error, Result};
use crate::io::{Files, TableIndex};
use crate::job::TooLate;
use crate::progress::{LeaderEpoch, PartitionDelta};
use crate::record::{DeadLetter, ErrorType, EventBatch, TopicPartition};
use crate::routes::{Columns, Row};
use crate::schema::{as_of_table, metadata_fields};
use crate::time::{Epoch, EventTime, MICROS_PER_SECOND};
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
    pub(super) fn timestamps<'a>(
        &self,
        landing: &'a Landing,
    ) -> impl Iterator<Item = i64> + use<'a> {
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
