//! A few records of a topic, touching no state: no group is joined, no offset committed.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use strandline_operators::record::TopicPartition;
use strandline_operators::{Error, Result};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::client::{Context, Diagnosis, KafkaSettings, unreachable};
use super::fetching::Fetching;
use super::metadata::Cluster;

/// The most records that one peek returns.
pub const MAX_RECORDS: usize = 10_000;

/// librdkafka wants a group to assign partitions by hand. It is never joined and nothing is committed in
/// it, so the broker never hears of it beyond a look-up of its coordinator.
const GROUP: &str = "strandline-peek";

/// What librdkafka may hold for a peek, in bytes.
const QUEUE_BYTES: u64 = 8 << 20;

/// Where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeekFrom {
    /// The oldest records.
    Earliest,
    /// The newest records, those last written.
    Latest,
    /// The records from this offset on, in every partition looked at.
    Offset(i64),
    /// The records from these offsets on, by partition; of a partition that is not named, none.
    Offsets(BTreeMap<i32, i64>),
}

/// A record as it is on the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeekedRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds since 1970; `None` when it has none.
    pub timestamp_ms: Option<i64>,
    /// Its key; `None` when null.
    pub key: Option<Vec<u8>>,
    /// Its value; `None` when null.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl PeekedRecord {
    /// The schema registry's id, when the value begins as its serialisers write: a zero byte and a
    /// four-byte id.
    pub fn schema_id(&self) -> Option<u32> {
        match self.value.as_deref()? {
            [0, a, b, c, d, ..] => Some(u32::from_be_bytes([*a, *b, *c, *d])),
            _ => None,
        }
    }
}

/// Up to `count` records of a topic or one of its partitions, ordered by timestamp, then partition and
/// offset. Returns what there is when the partitions have no more, or after `timeout`.
///
/// # Errors
/// Unreachable when the broker does not answer, or the topic does not exist; configuration for a partition
/// that does not exist.
pub fn records(
    settings: &KafkaSettings,
    topic: &str,
    partition: Option<i32>,
    from: PeekFrom,
    count: usize,
    timeout: Duration,
) -> Result<Vec<PeekedRecord>> {
    let count = count.min(MAX_RECORDS);
    let deadline = Instant::now() + timeout;
    let cluster = Cluster::connect(settings)?;
    let metadata = cluster.topic(topic)?;
    let sources: Vec<TopicPartition> = metadata
        .sources()
        .filter(|s| partition.is_none_or(|p| s.partition == p))
        .collect();
    if sources.is_empty() {
        return Err(Error::configuration(format!(
            "topic `{topic}` has no partition {}",
            partition.unwrap_or_default()
        ))
        .hint(format!(
            "it has partitions 0 to {}",
            metadata.partitions.len().saturating_sub(1)
        )));
    }
    let (starts, ends) = (cluster.log_starts(&sources)?, cluster.ends(&sources)?);
    let mut list = TopicPartitionList::new();
    let mut open = BTreeSet::new();
    for source in &sources {
        let start = starts.get(source).copied().unwrap_or(0);
        let end = ends.get(source).copied().unwrap_or(start);
        let from_offset = |offset: i64| offset.clamp(start, end.max(start));
        let first = match &from {
            PeekFrom::Earliest => start,
            PeekFrom::Latest => (end - count as i64).max(start),
            PeekFrom::Offset(offset) => from_offset(*offset),
            PeekFrom::Offsets(offsets) => offsets
                .get(&source.partition)
                .map_or(end, |&offset| from_offset(offset)),
        };
        if first < end {
            open.insert(source.partition);
            list.add_partition_offset(topic, source.partition, Offset::Offset(first))
                .map_err(|e| Error::internal(format!("cannot assign partition {source}: {e}")))?;
        }
    }
    let mut records = Vec::new();
    if open.is_empty() || count == 0 {
        return Ok(records);
    }
    let diagnosis = Arc::new(Diagnosis::default());
    let consumer = settings.reading_consumer(
        GROUP,
        open.len(),
        Fetching {
            queue_bytes: QUEUE_BYTES,
            wait: Duration::ZERO,
        },
        Context::new(Arc::clone(&diagnosis)),
    )?;
    consumer
        .assign(&list)
        .map_err(|e| Error::internal(format!("cannot assign partitions: {e}")))?;
    let mut taken = BTreeMap::<i32, usize>::new();
    while !open.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            if records.is_empty() {
                let what = format!("cannot read topic `{topic}`");
                return Err(unreachable(&what, settings, &diagnosis, None, timeout));
            }
            break;
        }
        match consumer.poll(left) {
            None => {}
            Some(Ok(message)) => {
                let partition = message.partition();
                let of_partition = taken.entry(partition).or_default();
                if *of_partition < count && open.contains(&partition) {
                    *of_partition += 1;
                    records.push(peeked(&message));
                }
                let end = ends
                    .get(&TopicPartition::new(topic, partition))
                    .copied()
                    .unwrap_or(i64::MAX);
                if *of_partition >= count || message.offset() + 1 >= end {
                    open.remove(&partition);
                }
                // The newest are known only when all partitions have been read.
                if from != PeekFrom::Latest && records.len() >= count {
                    break;
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                    return Err(Error::configuration(format!(
                        "cannot read topic `{topic}`: the broker does not allow us to"
                    ))
                    .hint("grant `Read` on the topic to the user in `kafka.properties`"));
                }
                Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                    return Err(Error::unreachable(format!(
                        "cannot read topic `{topic}`: the oldest records were deleted while looking"
                    ))
                    .hint("try again"));
                }
                _ => diagnosis.report(error.rdkafka_error_code(), &error.to_string()),
            },
        }
    }
    records.sort_by_key(|r| (r.timestamp_ms, r.partition, r.offset));
    match from {
        PeekFrom::Latest => drop(records.drain(..records.len().saturating_sub(count))),
        _ => records.truncate(count),
    }
    Ok(records)
}

fn peeked(message: &rdkafka::message::BorrowedMessage<'_>) -> PeekedRecord {
    let headers = message.headers().map(|headers| {
        headers
            .iter()
            .map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec)))
            .collect()
    });
    PeekedRecord {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::embedded::EmbeddedKafka;
    use super::*;
    use crate::generator::{Generator, GeneratorConfig, producer};

    #[test]
    fn the_oldest_the_newest_and_those_from_an_offset_are_shown() {
        let kafka = EmbeddedKafka::start(&[("t", 2)]).expect("kafka");
        let config = GeneratorConfig {
            events: 1000,
            partitions: 2,
            ..GeneratorConfig::default()
        };
        producer::produce(
            &kafka.settings(),
            "t",
            &mut Generator::new(config.clone()),
            None,
            &|| true,
        )
        .expect("produce");
        let timeout = Duration::from_secs(20);
        let peek = |partition, from, count| {
            records(&kafka.settings(), "t", partition, from, count, timeout).expect("peek")
        };
        let all: Vec<_> = Generator::new(config).collect();

        let newest = peek(None, PeekFrom::Latest, 3);
        assert_eq!(
            newest.iter().map(|r| r.value.clone()).collect::<Vec<_>>(),
            all[997..]
                .iter()
                .map(|r| r.value.clone())
                .collect::<Vec<_>>()
        );
        let of_one: Vec<_> = all.iter().filter(|r| r.partition == 1).collect();
        let oldest = peek(Some(1), PeekFrom::Earliest, 2);
        assert_eq!(oldest.len(), 2);
        assert_eq!((oldest[0].offset, &oldest[0].value), (0, &of_one[0].value));
        assert_eq!(oldest[1].timestamp_ms, Some(of_one[1].timestamp_ms));
        let from = peek(Some(1), PeekFrom::Offset(10), 1);
        assert_eq!((from[0].offset, &from[0].value), (10, &of_one[10].value));
        assert!(
            peek(Some(1), PeekFrom::Offset(1 << 40), 1).is_empty(),
            "there is nothing behind the end"
        );
        let error = records(
            &kafka.settings(),
            "t",
            Some(9),
            PeekFrom::Earliest,
            1,
            timeout,
        )
        .expect_err("no partition 9");
        assert!(error.message().contains("no partition 9"), "{error}");
    }

    #[test]
    fn a_schema_id_is_recognised() {
        let mut record = PeekedRecord {
            partition: 0,
            offset: 0,
            timestamp_ms: None,
            key: None,
            value: Some(vec![0, 0, 0, 1, 2, 9]),
            headers: Vec::new(),
        };
        assert_eq!(record.schema_id(), Some(258));
        record.value = Some(b"{}".to_vec());
        assert_eq!(record.schema_id(), None);
    }
}
