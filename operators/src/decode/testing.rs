//! What the tests of decoders share.

use bytes::Bytes;

use crate::credit::Budget;
use crate::record::{RawBatch, RawRecord, Span, TopicPartition};
use crate::time::EventTime;

/// A batch of records with these values, without keys and headers.
pub(super) fn raw_batch<V: AsRef<[u8]>>(values: &[Option<V>]) -> RawBatch {
    let mut arena = Vec::new();
    let mut records = Vec::new();
    for (i, value) in values.iter().enumerate() {
        let start = arena.len() as u32;
        let value = value.as_ref().map(|value| {
            arena.extend_from_slice(value.as_ref());
            Span {
                start,
                end: arena.len() as u32,
            }
        });
        records.push(RawRecord {
            offset: i as i64,
            timestamp: None,
            key: None,
            value,
        });
    }
    RawBatch {
        source: TopicPartition::new("t", 0),
        start: 0,
        next: values.len() as i64,
        leader_epoch: None,
        received_at: EventTime(0),
        arena: Bytes::from(arena),
        records,
        headers: None,
        credit: Budget::new(1).take(0),
    }
}
