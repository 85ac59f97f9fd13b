//! Decode: raw batches into columns, watermarks and hashes.
//!
//! | | |
//! |---|---|
//! | in | [`RawBatch`]es, of one partition each, in offset order |
//! | out | an [`EventBatch`] for every raw batch, empty ones included: they carry the account |
//! | exchange | none |
//! | state | the watermark of every partition of this worker (in [`WorkerPartitions`]) |
//! | frontier | passed on as it is |
//! | errors | none: a record that cannot be decoded is a failure of its own, its neighbours go on |
//! | metrics | records decoded; the account counts failures |
//!
//! [`WorkerPartitions`]: crate::partitions::WorkerPartitions

use std::rc::Rc;
use std::sync::atomic::Ordering;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{BooleanArray, StringArray};
use arrow_select::filter::filter_record_batch;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;

use super::{Decode, Decoded};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::failpoint::Failpoint;
use crate::record::{DecodeFailure, ErrorType, EventBatch, RawBatch};
use crate::time::{EventTime, IngestTime};
use crate::watermark::{EARLIEST_EVENT_TIME, Implausible, PartitionWatermark};

/// Hashes the ids of a column; given by the deduplication, absent when the job has none.
pub type HashIds = Box<dyn Fn(&StringArray) -> Vec<u128>>;

/// Turns decoded columns into events: finds key and time, judges plausibility, follows the watermark.
pub struct Eventize {
    event_time: usize,
    key: Option<usize>,
    hash: Option<HashIds>,
}

impl Eventize {
    /// For the columns of `context`'s job.
    ///
    /// # Errors
    /// A job whose event time or key is none of its columns.
    pub fn new(context: &Context, hash: Option<HashIds>) -> Result<Eventize> {
        let settings = &context.settings;
        let place = |name: &str| {
            settings
                .columns
                .iter()
                .position(|c| c.name == name)
                .ok_or_else(|| {
                    Error::configuration(format!("`{name}` is none of the job's columns"))
                })
        };
        let key = settings.dedup.as_ref().map(|d| place(&d.key)).transpose()?;
        Ok(Eventize {
            event_time: place(&settings.event_time)?,
            key,
            hash,
        })
    }

    /// Makes the event batch of a decoded batch, and moves the partition's watermark.
    ///
    /// # Errors
    /// A defect of the decoder: columns that do not have the types of the job.
    pub fn eventize(
        &self,
        raw: RawBatch,
        decoded: Decoded,
        watermark: &mut PartitionWatermark,
    ) -> Result<EventBatch> {
        let Decoded {
            mut columns,
            mut rows,
            mut failures,
        } = decoded;
        let times = columns
            .column(self.event_time)
            .as_primitive_opt::<TimestampMicrosecondType>()
            .ok_or_else(|| {
                Error::internal("the decoder gave an event time of another type than microseconds")
            })?;
        let mut event_times = Vec::with_capacity(rows.len());
        let mut watermarks = Vec::with_capacity(rows.len());
        let mut rejected: Vec<usize> = Vec::new();
        for (row, (&micros, &record)) in times.values().iter().zip(&rows).enumerate() {
            let event_time = EventTime(micros);
            match watermark.accept(
                event_time,
                raw.records[record as usize].timestamp,
                raw.received_at,
            ) {
                Ok(before) => {
                    event_times.push(event_time);
                    watermarks.push(before);
                }
                Err(why) => {
                    rejected.push(row);
                    failures.push(implausible(record, event_time, why));
                }
            }
        }
        if !rejected.is_empty() {
            let mut keep = vec![true; rows.len()];
            for &row in &rejected {
                keep[row] = false;
            }
            let mut kept = keep.iter();
            rows.retain(|_| kept.next().copied().unwrap_or(true));
            columns = filter_record_batch(&columns, &BooleanArray::from(keep))
                .map_err(|e| Error::internal(format!("cannot drop implausible rows: {e}")))?;
            failures.sort_by_key(|f| f.record);
        }
        let hashes = match (self.key, &self.hash) {
            (Some(key), Some(hash)) => {
                let ids = columns.column(key).as_string_opt::<i32>().ok_or_else(|| {
                    Error::internal("the decoder gave an id of another type than string")
                })?;
                hash(ids)
            }
            _ => Vec::new(),
        };
        let max_event_time = watermark.max_event_time();
        Ok(EventBatch {
            raw,
            columns,
            rows,
            event_times,
            watermarks,
            hashes,
            failures,
            max_event_time,
        })
    }
}

fn implausible(record: u32, event_time: EventTime, why: Implausible) -> DecodeFailure {
    let (error_type, message) = match why {
        Implausible::Past => (
            ErrorType::TooLate,
            format!(
                "event time {event_time} is before {EARLIEST_EVENT_TIME}, the earliest one accepted"
            ),
        ),
        Implausible::Future(latest) => (
            ErrorType::FutureEventTime,
            format!(
                "event time {event_time} is after {latest}: further ahead of the record's timestamp than `max_future_skew`"
            ),
        ),
    };
    DecodeFailure {
        record,
        error_type,
        message,
    }
}

/// Decodes raw batches.
pub trait DecodeRecords<'scope> {
    /// Decodes every record with `decoder`, in offset order, and follows each partition's watermark.
    fn decode(
        self,
        decoder: Box<dyn Decode>,
        eventize: Eventize,
        context: &Context,
    ) -> StreamVec<'scope, IngestTime, EventBatch>;
}

impl<'scope> DecodeRecords<'scope> for StreamVec<'scope, IngestTime, RawBatch> {
    fn decode(
        self,
        mut decoder: Box<dyn Decode>,
        eventize: Eventize,
        context: &Context,
    ) -> StreamVec<'scope, IngestTime, EventBatch> {
        let context = Rc::clone(context);
        self.unary::<CapacityContainerBuilder<Vec<EventBatch>>, _, _, _>(
            Pipeline,
            "Decode",
            move |_capability, _info| {
                let mut failed = None;
                move |input, output| {
                    input.for_each(|time, batches: &mut Vec<RawBatch>| {
                        if failed.is_some() {
                            return;
                        }
                        for raw in batches.drain(..) {
                            let records = raw.records.len() as u64;
                            let events = || {
                                context.reached(Failpoint::Decode)?;
                                let decoded = decoder.decode(&raw);
                                let mut partitions = context.partitions.borrow_mut();
                                let view = partitions.view_mut(&raw.source).ok_or_else(|| {
                                    Error::internal(format!(
                                        "records of {}, which is not read here",
                                        raw.source
                                    ))
                                })?;
                                eventize.eventize(raw, decoded, &mut view.watermark)
                            };
                            let events = events();
                            match events {
                                Ok(events) => {
                                    let decoded = &context.observed.records_decoded;
                                    decoded.fetch_add(records, Ordering::Relaxed);
                                    output.session(&time).give(events);
                                }
                                Err(error) => {
                                    failed = Some(time.retain(0));
                                    context.fail(error);
                                    return;
                                }
                            }
                        }
                    });
                }
            },
        )
    }
}
