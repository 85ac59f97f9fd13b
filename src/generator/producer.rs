//! Writes generated records to a topic, as fast as the broker takes them or as slowly as it must be.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::BaseRecord;
use strandline_operators::{Error, Result};

use super::{GeneratedRecord, Generator};
use crate::connectors::kafka::client::{KafkaSettings, RecordProducer};

/// How long nothing at all may be acknowledged before the broker counts as gone.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait for acknowledgements, or for the durable position to move, before looking again.
const WAIT: Duration = Duration::from_millis(2);

/// Records between two services of acknowledgements.
const POLL_EVERY: u64 = 1024;

/// What a producer did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Produced {
    /// Records acknowledged.
    pub records: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Records, by partition.
    pub by_partition: Vec<u64>,
}

/// Keeps a producer near the durable position, so that a broker that retains little (the embedded one)
/// does not drop what has not landed.
pub struct Throttle<'a> {
    /// At most this many records of a partition may be ahead of its durable position.
    pub max_records: u64,
    /// And at most this many bytes, reckoned by the mean size of a record.
    pub max_bytes: u64,
    /// How many records of a partition are durable, of those that this producer wrote.
    pub durable: &'a mut dyn FnMut(i32) -> u64,
}

/// A broker's default `log.retention.hours`, in milliseconds.
const USUAL_RETENTION_MS: u128 = 168 * 3_600_000;

/// Produces every record of `generator`; ends early when `keep_going` says no. Returns when all of them
/// are acknowledged.
///
/// # Errors
/// Unreachable when the broker does not take the records.
pub fn produce(
    settings: &KafkaSettings,
    topic: &str,
    generator: &mut Generator,
    mut throttle: Option<Throttle<'_>>,
    keep_going: &dyn Fn() -> bool,
) -> Result<Produced> {
    let producer = RecordProducer::bulk(settings)?;
    let what = format!("cannot produce to topic `{topic}`");
    let partitions = generator.config.partitions.max(1) as usize;
    let mut produced = Produced {
        by_partition: vec![0; partitions],
        ..Produced::default()
    };
    let mut record = GeneratedRecord::empty();
    warn_of_retention(topic, generator);
    while keep_going() && generator.fill(&mut record) {
        let partition = record.partition as usize;
        if let Some(throttle) = &mut throttle {
            let mean = (produced.bytes / produced.records.max(1)).max(1);
            let ahead = throttle.max_records.min(throttle.max_bytes / mean).max(1);
            while produced.by_partition[partition] >= (throttle.durable)(record.partition) + ahead
                && keep_going()
            {
                producer.wait(WAIT);
            }
        }
        send(&producer, topic, &record, &what)?;
        produced.records += 1;
        produced.bytes += record.key.as_ref().map_or(0, Vec::len) as u64;
        produced.bytes += record.value.as_ref().map_or(0, Vec::len) as u64;
        produced.by_partition[partition] += 1;
        if produced.records.is_multiple_of(POLL_EVERY) {
            producer.serve();
            producer.check(&what)?;
        }
    }
    producer.flush(&what, STALL_TIMEOUT)?;
    Ok(produced)
}

/// Brokers delete by the records' own timestamps: what is made in an older past is gone within minutes.
fn warn_of_retention(topic: &str, generator: &Generator) {
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    let start_ms = u128::try_from(generator.config.start.0 / 1000).unwrap_or(0);
    if start_ms + USUAL_RETENTION_MS < now_ms {
        tracing::debug!(
            topic,
            "records are timestamped {}; a broker with time retention deletes them at once (`retention.ms=-1`, or `GeneratorConfig::until`)",
            generator.config.start
        );
    }
}

fn send(
    producer: &RecordProducer,
    topic: &str,
    record: &GeneratedRecord,
    what: &str,
) -> Result<()> {
    let mut stalled_since: Option<(Instant, usize)> = None;
    loop {
        let mut message = BaseRecord::<[u8], [u8]>::to(topic)
            .partition(record.partition)
            .timestamp(record.timestamp_ms);
        if let Some(key) = &record.key {
            message = message.key(key.as_slice());
        }
        if let Some(value) = &record.value {
            message = message.payload(value.as_slice());
        }
        match producer.send(message) {
            Ok(()) => return Ok(()),
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => {
                producer.wait(WAIT);
                producer.check(what)?;
                let waiting = producer.unacknowledged();
                match stalled_since {
                    Some((since, then)) if then == waiting => {
                        if since.elapsed() >= STALL_TIMEOUT {
                            return Err(producer.unanswered(what, None, STALL_TIMEOUT));
                        }
                    }
                    _ => stalled_since = Some((Instant::now(), waiting)),
                }
            }
            Err(error) => {
                return Err(Error::unreachable(format!("{what}: {error}")));
            }
        }
    }
}
