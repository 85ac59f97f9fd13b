//! What the tests of this module share.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use bytes::Bytes;
use timely::dataflow::operators::ActivateCapability;
use timely::dataflow::operators::vec::unordered_input::{UnorderedHandle, UnorderedInput};
use timely::dataflow::{Scope, Stream};

use super::expiry::Retention;
use super::memory_store::MemoryIdStore;
use crate::credit::Budget;
use crate::error::Result;
use crate::io::{IdStore, IdsByBucket, Scanned, StateMarker, StoredId};
use crate::job::TooLate;
use crate::record::{EventBatch, RawBatch, TopicPartition};
use crate::time::{EventTime, IngestTime};

/// A hash as random as xxh3-128 would give; the same for the same seed.
pub(crate) fn random_hash(seed: u64) -> u128 {
    xxhash_rust::xxh3::xxh3_128(&seed.to_le_bytes())
}

/// A day, an hour of lateness, too late records are dead letters.
pub(crate) fn retention() -> Retention {
    Retention {
        ttl: Duration::from_secs(24 * 3600),
        allowed_lateness: Duration::from_secs(3600),
        too_late: TooLate::DeadLetter,
    }
}

/// A batch of events of which only hash, event time and watermark (microseconds) matter.
pub(crate) fn event_batch(rows: impl IntoIterator<Item = (u128, i64, Option<i64>)>) -> EventBatch {
    let rows: Vec<(u128, i64, Option<i64>)> = rows.into_iter().collect();
    EventBatch {
        raw: RawBatch {
            source: TopicPartition::new("t", 0),
            start: 0,
            next: rows.len() as i64,
            leader_epoch: None,
            received_at: EventTime(0),
            arena: Bytes::new(),
            records: Vec::new(),
            headers: None,
            credit: Budget::new(1).take(0),
        },
        columns: RecordBatch::new_empty(Arc::new(Schema::empty())),
        rows: (0..rows.len() as u32).collect(),
        event_times: rows.iter().map(|r| EventTime(r.1)).collect(),
        watermarks: rows.iter().map(|r| r.2.map(EventTime)).collect(),
        hashes: rows.iter().map(|r| r.0).collect(),
        failures: Vec::new(),
        dropped: 0,
        max_event_time: None,
    }
}

/// A store whose look-ups wait until it is opened.
#[derive(Default)]
pub(crate) struct GatedStore {
    pub(crate) store: MemoryIdStore,
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl GatedStore {
    pub(crate) fn open(&self) {
        *self.is_open.lock().expect("lock") = true;
        self.opened.notify_all();
    }
}

impl IdStore for GatedStore {
    fn marker(&self) -> Option<StateMarker> {
        self.store.marker()
    }

    fn contains(&self, keys: &[StoredId], held: &mut Vec<bool>) -> Result<()> {
        drop(
            self.opened
                .wait_while(self.is_open.lock().expect("lock"), |open| !*open)
                .expect("lock"),
        );
        self.store.contains(keys, held)
    }

    fn ingest(&self, ids: &IdsByBucket, marker: Option<StateMarker>) -> Result<()> {
        self.store.ingest(ids, marker)
    }

    fn expire_below(&self, bucket: u32) -> Result<()> {
        self.store.expire_below(bucket)
    }

    fn buckets(&self) -> Result<Vec<u32>> {
        self.store.buckets()
    }

    fn scan(&self, from: StoredId, at_most: usize) -> Result<Scanned> {
        self.store.scan(from, at_most)
    }
}

/// An input that a test drives by hand. timely's own wants totally ordered times.
pub(crate) struct TestInput {
    handle: UnorderedHandle<IngestTime, EventBatch>,
    capability: Option<ActivateCapability<IngestTime>>,
}

impl TestInput {
    pub(crate) fn new<'scope>(
        scope: Scope<'scope, IngestTime>,
    ) -> (TestInput, Stream<'scope, IngestTime, Vec<EventBatch>>) {
        let ((handle, capability), stream) = scope.new_unordered_input::<EventBatch>();
        (
            TestInput {
                handle,
                capability: Some(capability),
            },
            stream,
        )
    }

    pub(crate) fn advance_to(&mut self, time: IngestTime) {
        self.capability.as_mut().expect("open").downgrade(&time);
    }

    pub(crate) fn send(&mut self, events: EventBatch) {
        let capability = self.capability.as_ref().expect("open");
        self.handle.activate().session(capability).give(events);
    }

    pub(crate) fn close(mut self) {
        self.capability = None;
    }
}
