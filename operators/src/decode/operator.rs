//! Decode: raw batches into columns, watermarks and hashes.
//!
//! | | |
//! |---|---|
//! | in | [`RawBatch`]es, of one partition each, in offset order |
//! | out | an [`EventBatch`] for every raw batch, empty ones included: they carry the account |
//! | exchange | none |
//! | state | the watermark of every partition of this worker (in [`WorkerPartitions`]); batches whose schemas are not known yet, or add columns that the tables lack yet, bounded by the credits that they hold |
//! | frontier | passed on as it is; held at a batch that waits for a schema |
//! | errors | a registry that refuses our credentials ends the job, and so does a table that columns cannot be added to; a record that cannot be decoded is a failure of its own, its neighbours go on |
//! | metrics | records decoded; the account counts failures |
//!
//! A batch with a schema id that is new waits until the registry has answered, and the later batches of its
//! partition wait behind it; other partitions go on. While the registry is away nothing is a dead letter:
//! the source stops when the credits are out.
//!
//! With `schema_evolution: add_columns` a batch waits as well until the tables have the columns that its schemas
//! add, be they the registry's or such as records carry with them. Nothing else waits, and no worker for another: each decodes with the columns that it has learned of, and
//! a data file says which columns it has.
//!
//! [`WorkerPartitions`]: crate::partitions::WorkerPartitions

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{BooleanArray, StringArray};
use arrow_select::filter::filter_record_batch;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::{Capability, Operator};

use super::growth::Growth;
use super::held::HeldBack;
use super::{Decode, Decoded, SchemaIds, frame};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::failpoint::Failpoint;
use crate::io::{SchemaAnswer, Schemas, TableColumns};
use crate::record::{DecodeFailure, ErrorType, EventBatch, RawBatch, TopicPartition};
use crate::time::{EventTime, IngestTime};
use crate::watermark::{EARLIEST_EVENT_TIME, Implausible, PartitionWatermark};

/// How long it is believed that the registry does not know a schema.
const DENIAL_TTL: Duration = Duration::from_secs(60);

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
            dropped,
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
            dropped,
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
    /// `schemas` is asked for the schemas that the decoder lacks, `columns` for the columns that the tables lack.
    fn decode(
        self,
        decoder: Box<dyn Decode>,
        schemas: Option<Box<dyn Schemas>>,
        columns: Option<Arc<dyn TableColumns>>,
        eventize: Eventize,
        context: &Context,
    ) -> StreamVec<'scope, IngestTime, EventBatch>;
}

/// The schemas that the registry does not know, each believed for [`DENIAL_TTL`], and for as long as a batch waits
/// that needs it: a batch of many of them would never have them all else.
#[derive(Debug, Default)]
struct Denials {
    /// With the time since when each is believed; the oldest first.
    denied: VecDeque<(Instant, u32)>,
    /// The ids of the batch that waits first, for each partition where one does.
    needed: BTreeMap<TopicPartition, SchemaIds>,
}

impl Denials {
    /// The registry does not know an id.
    fn add(&mut self, id: u32, now: Instant) {
        self.denied.push_back((now, id));
    }

    /// The first batch of a partition waits.
    fn hold(&mut self, raw: &RawBatch) {
        let source = raw.source.clone();
        self.needed
            .entry(source)
            .or_insert_with(|| frame::ids_of(raw));
    }

    /// The first batch of a partition waits no longer, if it did.
    fn release(&mut self, source: &TopicPartition) {
        self.needed.remove(source);
    }

    /// An id that is not believed to be unknown any longer: it may have been registered since.
    fn take_old(&mut self, now: Instant) -> Option<u32> {
        while let Some(&(since, id)) = self.denied.front()
            && now.duration_since(since) >= DENIAL_TTL
        {
            self.denied.pop_front();
            if !self.needed.values().any(|ids| ids.contains(&id)) {
                return Some(id);
            }
            self.denied.push_back((now, id));
        }
        None
    }

    /// The decoder knows nothing any more.
    fn clear(&mut self) {
        self.denied.clear();
    }
}

/// The decoder, and what it needs to make events.
struct Decoding {
    decoder: Box<dyn Decode>,
    schemas: Option<Box<dyn Schemas>>,
    /// Schemas asked for and not answered.
    asked: SchemaIds,
    eventize: Eventize,
    context: Context,
    /// What the batch at hand lacks; kept only to keep its memory.
    missing: SchemaIds,
    denials: Denials,
    /// Batches held, as last said.
    counted: u64,
    /// Adds columns, if the job's columns follow its schemas.
    growth: Option<Growth>,
}

impl Decoding {
    /// Hears the answers of registry and tables; whether there were any.
    fn hear(&mut self) -> Result<bool> {
        let mut heard = false;
        if let Some(growth) = &mut self.growth
            && let Some(decoder) = growth.grown()?
        {
            // It knows no schema; those in use come again, from the registry's cache.
            self.decoder = decoder;
            self.denials.clear();
            self.asked.retain(|id| !growth.take_waiting(*id));
            heard = true;
        }
        if let Some(schemas) = &mut self.schemas {
            while let Some((id, answer)) = schemas.answer()? {
                if let (Some(growth), SchemaAnswer::Known(schema)) = (&mut self.growth, &answer)
                    && growth.waits_for_columns(id, schema)
                {
                    // It stays asked for until the tables have them.
                    continue;
                }
                self.asked.remove(&id);
                self.decoder.learn(id, &answer);
                if matches!(answer, SchemaAnswer::Denied(_)) {
                    self.denials.add(id, self.context.host.now());
                }
                heard = true;
            }
        }
        Ok(heard)
    }

    /// Whether every schema of the batch is known, and the tables have the columns of those that its records carry.
    /// Asks for what is lacking. Of a partition, for the batch that is decoded next.
    fn is_ready(&mut self, raw: &RawBatch) -> bool {
        let knows = self.knows_schemas(raw);
        let waits = |growth: &mut Growth| growth.waits_for_carried(raw);
        let is_ready = knows && !self.growth.as_mut().is_some_and(waits);
        if is_ready {
            self.denials.release(&raw.source);
        } else {
            self.denials.hold(raw);
        }
        is_ready
    }

    /// Whether every registered schema of the batch is known; asks for those that are not.
    fn knows_schemas(&mut self, raw: &RawBatch) -> bool {
        if self.schemas.is_none() {
            return true;
        }
        self.forget_old_denials();
        self.missing.clear();
        self.decoder.missing_schemas(raw, &mut self.missing);
        let Some(schemas) = &mut self.schemas else {
            return true;
        };
        for &id in &self.missing {
            if self.asked.insert(id) {
                schemas.ask(id);
            }
        }
        self.missing.is_empty()
    }

    /// Says how many batches of this worker wait.
    fn count_held(&mut self, held: usize) {
        let observed = &self.context.observed.held_back;
        let held = held as u64;
        match held.checked_sub(self.counted) {
            Some(more) => observed.fetch_add(more, Ordering::Relaxed),
            None => observed.fetch_sub(self.counted - held, Ordering::Relaxed),
        };
        self.counted = held;
    }

    fn forget_old_denials(&mut self) {
        let now = self.context.host.now();
        while let Some(id) = self.denials.take_old(now) {
            self.decoder.forget(id);
        }
    }

    fn events(&mut self, raw: RawBatch) -> Result<EventBatch> {
        self.context.reached(Failpoint::Decode)?;
        let records = raw.records.len() as u64;
        let decoded = self.decoder.decode(&raw);
        let counted = &self.context.observed.records_decoded;
        counted.fetch_add(records, Ordering::Relaxed);
        let mut partitions = self.context.partitions.borrow_mut();
        let view = partitions.view_mut(&raw.source).ok_or_else(|| {
            Error::internal(format!("records of {}, which is not read here", raw.source))
        })?;
        let (source, next) = (raw.source.clone(), raw.next);
        let events = self.eventize.eventize(raw, decoded, &mut view.watermark)?;
        partitions.decoded_up_to(&source, next);
        Ok(events)
    }
}

impl<'scope> DecodeRecords<'scope> for StreamVec<'scope, IngestTime, RawBatch> {
    fn decode(
        self,
        decoder: Box<dyn Decode>,
        mut schemas: Option<Box<dyn Schemas>>,
        columns: Option<Arc<dyn TableColumns>>,
        eventize: Eventize,
        context: &Context,
    ) -> StreamVec<'scope, IngestTime, EventBatch> {
        let context = Rc::clone(context);
        let scope = self.scope();
        self.unary::<CapacityContainerBuilder<Vec<EventBatch>>, _, _, _>(
            Pipeline,
            "Decode",
            move |_capability, info| {
                if let Some(schemas) = &mut schemas {
                    let waker = scope.worker().sync_activator_for(info.address.to_vec());
                    schemas.on_answer(Arc::new(move || {
                        // The worker is gone only when the process ends.
                        let _ = waker.activate();
                    }));
                }
                let growth = columns.map(|columns| {
                    let wake = scope.worker().sync_activator_for(info.address.to_vec());
                    Growth::start(columns, &context, wake)
                });
                let growth = growth.transpose();
                // What could not be decoded keeps its capability: a frontier never moves because something
                // failed.
                let mut failed = None;
                let mut ended = growth.is_err();
                let growth = growth.unwrap_or_else(|error| {
                    context.fail(error);
                    None
                });
                let mut decoding = Decoding {
                    decoder,
                    schemas,
                    asked: SchemaIds::new(),
                    eventize,
                    context,
                    missing: SchemaIds::new(),
                    denials: Denials::default(),
                    counted: 0,
                    growth,
                };
                let mut held: HeldBack<Capability<IngestTime>> = HeldBack::default();
                move |input, output| {
                    if ended {
                        // What comes is not even taken, and so holds the frontier itself.
                        return;
                    }
                    let heard = decoding.hear();
                    if matches!(heard, Ok(true)) {
                        while let Some((capability, raw)) =
                            held.take_ready(|raw| decoding.is_ready(raw))
                        {
                            decoding.count_held(held.len());
                            match decoding.events(raw) {
                                Ok(events) => output.session(&capability).give(events),
                                Err(error) => {
                                    (failed, ended) = (Some(capability), true);
                                    decoding.context.fail(error);
                                    return;
                                }
                            }
                        }
                    }
                    if let Err(error) = heard {
                        ended = true;
                        decoding.context.fail(error);
                        return;
                    }
                    input.for_each(|time, batches: &mut Vec<RawBatch>| {
                        if failed.is_some() {
                            return;
                        }
                        for raw in batches.drain(..) {
                            if held.holds(&raw.source) || !decoding.is_ready(&raw) {
                                held.hold(time.retain(0), raw);
                                decoding.count_held(held.len());
                                continue;
                            }
                            match decoding.events(raw) {
                                Ok(events) => output.session(&time).give(events),
                                Err(error) => {
                                    (failed, ended) = (Some(time.retain(0)), true);
                                    decoding.context.fail(error);
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

#[cfg(test)]
mod tests {
    use super::super::testing::raw_batch;
    use super::*;

    /// A batch of a record of each of these schemas, and of one without a header.
    fn batch(ids: &[u32]) -> RawBatch {
        let framed = ids
            .iter()
            .map(|id| [&[0u8][..], &id.to_be_bytes()[..]].concat());
        let values: Vec<Option<Vec<u8>>> = framed.chain([b"{}".to_vec()]).map(Some).collect();
        raw_batch(&values)
    }

    fn forgotten(denials: &mut Denials, now: Instant) -> Vec<u32> {
        std::iter::from_fn(|| denials.take_old(now)).collect()
    }

    #[test]
    fn a_denial_is_believed_for_a_minute_and_for_as_long_as_a_batch_waits_that_needs_it() {
        let start = Instant::now();
        let waiting = batch(&[1, 2, 1]);
        let mut denials = Denials::default();
        denials.add(1, start);
        denials.hold(&waiting);
        denials.add(2, start);
        denials.add(3, start);
        assert!(forgotten(&mut denials, start + DENIAL_TTL / 2).is_empty());
        assert_eq!(forgotten(&mut denials, start + DENIAL_TTL), [3]);
        let decoded_at = start + DENIAL_TTL * 5;
        assert!(forgotten(&mut denials, decoded_at).is_empty());
        denials.release(&waiting.source);
        assert_eq!(forgotten(&mut denials, decoded_at + DENIAL_TTL), [1, 2]);
        assert!(forgotten(&mut denials, decoded_at + DENIAL_TTL * 5).is_empty());
    }

    #[test]
    fn a_batch_has_all_its_denials_however_long_they_take_to_come() {
        let ids: Vec<u32> = (1..=1000).collect();
        let mut denials = Denials::default();
        denials.hold(&batch(&ids));
        let mut now = Instant::now();
        for &id in &ids {
            now += Duration::from_secs(1);
            denials.add(id, now);
            assert!(forgotten(&mut denials, now).is_empty(), "at id {id}");
        }
    }
}
