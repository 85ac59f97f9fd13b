//! One partition: its queue, where it stands, and what its errors mean.

use std::ffi::CString;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rdkafka::error::RDKafkaErrorCode;
use strandline_operators::credit::Budget;
use strandline_operators::io::Polled;
use strandline_operators::job::OnGap;
use strandline_operators::record::{Headers, RawBatch, RawRecord, Span, TopicPartition};
use strandline_operators::time::EventTime;
use strandline_operators::{Error, Result};

use super::super::batch::{Fetched, Message, PartitionQueue};
use super::super::client::Diagnosis;

/// A batch is closed before it grows beyond this many bytes; a single record may be larger.
pub(super) const MAX_BATCH_BYTES: usize = 4 << 20;

/// librdkafka's text for a log that no longer holds, at a position, the record that was read there
/// (`RD_KAFKA_RESP_ERR__LOG_TRUNCATION`). The code that comes with it is that of any position that is gone.
const LOG_TRUNCATION: &str = "log truncation detected";

/// How long a partition may be unknown to the broker before it counts as deleted. A leader that has just
/// started does not know its topics yet.
pub(super) const UNKNOWN_GRACE: Duration = Duration::from_secs(30);

/// Why a partition cannot be read on.
pub(super) enum Trouble {
    /// Nothing can make it clearer.
    Certain(Error),
    /// A look at the cluster may say what happened.
    Unexplained {
        error: Error,
        gone: Option<TopicPartition>,
    },
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Certain(error)
    }
}

/// One partition.
pub(super) struct Reader {
    pub(super) source: TopicPartition,
    pub(super) topic: CString,
    // Before the queue: messages go before it.
    pub(super) fetched: Fetched,
    pub(super) queue: PartitionQueue,
    /// The offset that comes next in the account.
    pub(super) next: i64,
    /// The leader epoch of the last record.
    pub(super) leader_epoch: Option<i32>,
    pub(super) on_gap: OnGap,
    pub(super) keeps_headers: bool,
    /// Since when the broker says that it does not know the partition.
    pub(super) unknown_since: Option<Instant>,
}

impl Reader {
    /// The next batch or end of partition, `None` when nothing is waiting.
    pub(super) fn poll(
        &mut self,
        max_records: usize,
        budget: &Budget,
        diagnosis: &Diagnosis,
    ) -> Result<Option<Polled>, Trouble> {
        if self
            .unknown_since
            .is_some_and(|since| since.elapsed() >= UNKNOWN_GRACE)
        {
            return Err(self.gone());
        }
        loop {
            if self.fetched.is_empty() {
                if !self.queue.readiness().take() {
                    return Ok(None);
                }
                self.queue.fetch(&mut self.fetched, max_records);
            }
            let Some(first) = self.fetched.rest().next() else {
                return Ok(None);
            };
            let polled = match first.error() {
                None => self.take_batch(max_records, budget)?,
                Some(RDKafkaErrorCode::PartitionEOF) => {
                    let next = first.offset();
                    self.fetched.pass(1);
                    self.unknown_since = None;
                    // One from before a rewind says nothing.
                    (next >= self.next).then(|| {
                        self.next = next;
                        Polled::EndOfPartition {
                            source: self.source.clone(),
                            next,
                        }
                    })
                }
                Some(code) => {
                    let (text, offset) = (first.error_text(), first.offset());
                    self.fetched.pass(1);
                    self.judge_error(code, &text, offset, diagnosis)?;
                    None
                }
            };
            if polled.is_some() {
                return Ok(polled);
            }
        }
    }

    fn gone(&self) -> Trouble {
        let error = Error::refused(format!(
            "topic or partition {} is gone: the broker has not known it for {} s",
            self.source,
            UNKNOWN_GRACE.as_secs()
        ))
        .hint("it was deleted while the job was reading it");
        Trouble::Unexplained {
            error,
            gone: Some(self.source.clone()),
        }
    }

    /// In one log leader epochs never go back; another log begins with 0 again.
    fn check_leader_epoch(&self, epoch: Option<i32>) -> Result<(), Trouble> {
        match (self.leader_epoch, epoch) {
            (Some(before), Some(epoch)) if epoch < before => Err(Trouble::Unexplained {
                error: Error::refused(format!(
                    "the log of partition {} was replaced: leader epoch {epoch} follows {before} at offset {}",
                    self.source, self.next
                ))
                .hint("its offsets mean other records than those that landed; restore the log, or land the topic in another table"),
                gone: None,
            }),
            _ => Ok(()),
        }
    }

    /// Copies records up to the limits, or up to what is no record. `None` when all of them were read
    /// before.
    fn take_batch(
        &mut self,
        max_records: usize,
        budget: &Budget,
    ) -> Result<Option<Polled>, Trouble> {
        let start = self.next;
        let mut last = None;
        // Measured first, so that the arena is allocated once and never grows.
        let (mut passed, mut count, mut bytes) = (0, 0, 0);
        for message in self.fetched.rest() {
            if message.error().is_some() || count == max_records {
                break;
            }
            let mut size =
                message.key().map_or(0, <[u8]>::len) + message.value().map_or(0, <[u8]>::len);
            if self.keeps_headers {
                message.headers(|name, value| size += name.len() + value.map_or(0, <[u8]>::len));
            }
            if message.offset() >= start {
                if count > 0 && bytes + size > MAX_BATCH_BYTES {
                    break;
                }
                if count == 0 {
                    self.check_leader_epoch(message.leader_epoch())?;
                }
                count += 1;
                bytes += size;
                last = Some(message);
            }
            passed += 1;
        }
        let leader_epoch = last.and_then(Message::leader_epoch);
        let mut arena = Vec::with_capacity(bytes);
        let mut records = Vec::with_capacity(count);
        let mut headers = self.keeps_headers.then(Headers::default);
        let mut next = start;
        for message in self.fetched.rest().take(passed) {
            // Below: read before, and delivered again after a rewind.
            if message.offset() >= next {
                next = message.offset() + 1;
                records.push(copy(message, &mut arena));
                if let Some(headers) = &mut headers {
                    copy_headers(message, headers, &mut arena);
                }
            }
        }
        self.fetched.pass(passed);
        self.unknown_since = None;
        if records.is_empty() {
            return Ok(None);
        }
        self.check_leader_epoch(leader_epoch)?;
        self.next = next;
        self.leader_epoch = leader_epoch;
        let held = arena.capacity()
            + records.capacity() * size_of::<RawRecord>()
            + headers.as_ref().map_or(0, Headers::held_bytes);
        Ok(Some(Polled::Batch(RawBatch {
            source: self.source.clone(),
            start,
            next,
            leader_epoch,
            received_at: now(),
            arena: Bytes::from(arena),
            records,
            headers,
            credit: budget.take(held as u64),
        })))
    }

    fn judge_error(
        &mut self,
        code: RDKafkaErrorCode,
        text: &str,
        offset: i64,
        diagnosis: &Diagnosis,
    ) -> Result<(), Trouble> {
        let source = &self.source;
        let error = match code {
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                return Err(Trouble::Unexplained {
                    error: self.offset_is_gone(text),
                    gone: None,
                });
            }
            RDKafkaErrorCode::BadMessage | RDKafkaErrorCode::BadCompression | RDKafkaErrorCode::Underflow => {
                Error::refused(format!("records of partition {source} at offset {offset} cannot be read: {text}"))
                    .hint("the broker's log is damaged there, or written in a way that this client does not know")
            }
            RDKafkaErrorCode::TopicAuthorizationFailed => {
                Error::configuration(format!("cannot read partition {source}: the broker does not allow us to"))
                    .hint("grant `Read` on the topic to the user in `kafka.properties`")
            }
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::UnknownTopicId => {
                self.unknown_since.get_or_insert_with(Instant::now);
                diagnosis.report(Some(code), &format!("{source}: {text}"));
                return Ok(());
            }
            code if is_passing(code) => {
                diagnosis.report(Some(code), &format!("{source}: {text}"));
                return Ok(());
            }
            _ => Error::unreachable(format!("cannot read partition {source} at offset {offset}: {text}")),
        };
        Err(Trouble::Certain(error))
    }

    /// The error for a position that the broker does not hold (any more).
    fn offset_is_gone(&self, text: &str) -> Error {
        let source = &self.source;
        if text.contains(LOG_TRUNCATION) {
            // Whatever `on_gap` says: the offsets behind the truncation are given to other records.
            return Error::refused(format!(
                "the log of partition {source} was truncated below offset {}: {text}",
                self.next
            ))
            .hint("records that landed are no longer on the broker, and their offsets were given to others; restore the log, or land the topic in another table");
        }
        let gone = format!(
            "offset {} of partition {source} is not on the broker: {text}",
            self.next
        );
        match self.on_gap {
            OnGap::Stop => Error::refused(gone)
                .hint("retention passed the job, or the log was truncated; start again to hear which range is lost"),
            // Where to go on is decided at the start, from the table and what the broker holds.
            OnGap::Record => Error::unreachable(gone)
                .hint("the job ends so that its next start records the lost offsets as gaps (`on_gap: record`) and goes on behind them; `launch` starts it again by itself"),
        }
    }
}

/// What librdkafka retries by itself without losing its place.
fn is_passing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::NotLeaderForPartition
            | RDKafkaErrorCode::LeaderNotAvailable
            | RDKafkaErrorCode::ReplicaNotAvailable
            | RDKafkaErrorCode::BrokerNotAvailable
            | RDKafkaErrorCode::FencedLeaderEpoch
            | RDKafkaErrorCode::UnknownLeaderEpoch
            | RDKafkaErrorCode::OffsetNotAvailable
            | RDKafkaErrorCode::KafkaStorageError
            | RDKafkaErrorCode::NetworkException
            | RDKafkaErrorCode::CoordinatorLoadInProgress
            | RDKafkaErrorCode::CoordinatorNotAvailable
            | RDKafkaErrorCode::NotCoordinator
    )
}

/// Adds bytes to the arena.
fn append(arena: &mut Vec<u8>, bytes: &[u8]) -> Span {
    let start = arena.len() as u32;
    arena.extend_from_slice(bytes);
    // At most MAX_BATCH_BYTES and one record, which Kafka limits to 1 GiB or so.
    Span {
        start,
        end: arena.len() as u32,
    }
}

fn copy_headers(message: Message<'_>, headers: &mut Headers, arena: &mut Vec<u8>) {
    message.headers(|name, value| {
        let name = append(arena, name);
        headers.push(name, value.map(|value| append(arena, value)));
    });
    headers.close_record();
}

fn copy(message: Message<'_>, arena: &mut Vec<u8>) -> RawRecord {
    let mut span = |bytes: Option<&[u8]>| bytes.map(|bytes| append(arena, bytes));
    RawRecord {
        offset: message.offset(),
        key: span(message.key()),
        value: span(message.value()),
        timestamp: message
            .timestamp_ms()
            .map(|ms| EventTime(ms.saturating_mul(1000))),
    }
}

fn now() -> EventTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    EventTime(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
