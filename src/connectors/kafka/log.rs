//! The log as one worker reads it: one consumer, manual assignment, one queue a partition.
//!
//! Records are taken thousands at a time out of the partitions in turn, and their bytes copied once into
//! the batch's arena. Without room in the budget the queues are left alone: they fill up to their limit,
//! and librdkafka stops fetching. `max.poll.interval.ms` does not apply: librdkafka enforces it only after
//! `subscribe` (its timer is started there).
//!
//! | error of a partition | is |
//! |---|---|
//! | the offset is no longer held | refused: retention or truncation, names the partition and the offset; with `on_gap: record` unreachable, so that the restart books the loss |
//! | corrupt records, unknown compression | refused: librdkafka goes on behind them, which would lose them |
//! | topic or partition unknown, for `UNKNOWN_GRACE` | refused: deleted while running |
//! | not allowed, wrong credentials | configuration, unreachable |
//! | leader moved, broker down, timed out | retried by librdkafka, told to the [`Diagnosis`] |
//! | anything else | unreachable: the restart from the table is safe |

use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use strandline_operators::credit::Budget;
use strandline_operators::io::{AssignedPartition, Log, Polled};
use strandline_operators::job::OnGap;
use strandline_operators::record::{RawBatch, RawRecord, Span, TopicPartition};
use strandline_operators::time::EventTime;
use strandline_operators::{Error, Result};

use super::batch::{Fetched, Message, PartitionQueue, Wake, cached_end};
use super::client::{Consumer, Context, Diagnosis, KafkaSettings};
use super::commits::GroupCommits;
use super::positions::Position;

/// A batch is closed before it grows beyond this many bytes; a single record may be larger.
const MAX_BATCH_BYTES: usize = 4 << 20;

/// How long a partition may be unknown to the broker before it counts as deleted. A leader that has just
/// started does not know its topics yet.
const UNKNOWN_GRACE: Duration = Duration::from_secs(30);

/// How often the queues are looked at even though no callback said that they have something.
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// How long the last commit of group offsets is waited for when the log is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Errors and log lines served by one poll; the others wait for the next.
const MAX_EVENTS_PER_POLL: usize = 64;

/// The partitions of one worker.
pub struct KafkaLog {
    // Declared before the consumer: queues and messages go before the client they belong to.
    readers: Vec<Reader>,
    assigned: Vec<AssignedPartition>,
    commits: GroupCommits,
    consumer: Arc<Consumer>,
    diagnosis: Arc<Diagnosis>,
    on_gap: OnGap,
    wake: Option<Wake>,
    /// The reader whose turn is next.
    turn: usize,
    swept_at: Instant,
}

impl KafkaLog {
    /// Begins to read at the given positions. `queue_bytes` bounds what librdkafka holds for this worker,
    /// all partitions together; 256 KiB a partition is the least. `on_gap` says what an offset is that the
    /// broker no longer holds.
    pub fn open(
        settings: &KafkaSettings,
        group_id: &str,
        positions: &[Position],
        on_gap: OnGap,
        queue_bytes: u64,
    ) -> Result<KafkaLog> {
        let diagnosis = Arc::new(Diagnosis::default());
        let context = Context::new(Arc::clone(&diagnosis));
        let consumer =
            Arc::new(settings.reading_consumer(group_id, positions.len(), queue_bytes, context)?);
        let commits = GroupCommits::new(&consumer);
        let mut log = KafkaLog {
            readers: Vec::new(),
            assigned: Vec::new(),
            consumer,
            diagnosis,
            commits,
            on_gap,
            wake: None,
            turn: 0,
            swept_at: Instant::now(),
        };
        if !positions.is_empty() {
            log.assign(positions)?;
        }
        Ok(log)
    }

    /// Reads more partitions from here on.
    pub fn assign(&mut self, positions: &[Position]) -> Result<()> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for position in positions {
            let source = &position.assigned.source;
            let cannot = |e: &dyn std::fmt::Display| {
                Error::internal(format!("cannot assign partition {source}: {e}"))
            };
            list.add_partition_offset(
                &source.topic,
                source.partition,
                Offset::Offset(position.read_from),
            )
            .map_err(|e| cannot(&e))?;
            let queue = PartitionQueue::split(&self.consumer, source)?;
            if let Some(wake) = &self.wake {
                queue.readiness().on_ready(Arc::clone(wake));
            }
            self.readers.push(Reader {
                source: source.clone(),
                topic: CString::new(&*source.topic).map_err(|e| cannot(&e))?,
                fetched: Fetched::new(&self.consumer),
                queue,
                next: position.assigned.start,
                on_gap: self.on_gap,
                unknown_since: None,
            });
            self.assigned.push(position.assigned.clone());
        }
        self.consumer
            .incremental_assign(&list)
            .map_err(|e| Error::internal(format!("cannot assign partitions: {e}")))
    }

    /// What librdkafka reports and retries by itself; may be read from any thread.
    pub fn diagnosis(&self) -> Arc<Diagnosis> {
        Arc::clone(&self.diagnosis)
    }

    /// Serves what does not belong to a partition: errors, logs, answers to commits.
    fn serve_events(&self) -> Result<()> {
        for _ in 0..MAX_EVENTS_PER_POLL {
            match self.consumer.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => {
                    use rdkafka::message::Message as _;
                    // It would be lost: its partition's queue goes on behind it.
                    return Err(Error::internal(format!(
                        "offset {} of {}[{}] came outside of its partition's queue",
                        message.offset(),
                        message.topic(),
                        message.partition()
                    )));
                }
                Some(Err(error)) => self.judge_client_error(&error)?,
            }
        }
        Ok(())
    }

    /// An error of the client as a whole; its text is in the diagnosis already.
    fn judge_client_error(&self, error: &KafkaError) -> Result<()> {
        let text = || self.diagnosis.last().unwrap_or_else(|| error.to_string());
        match error {
            KafkaError::MessageConsumptionFatal(_) => Err(Error::unreachable(format!(
                "Kafka's client gave up: {}",
                text()
            ))),
            KafkaError::MessageConsumption(
                RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed,
            ) => Err(Error::unreachable(format!(
                "the Kafka broker no longer accepts our credentials: {}",
                text()
            ))
            .hint("check `sasl.username` and `sasl.password` in `kafka.properties`")),
            _ => Ok(()),
        }
    }
}

impl Log for KafkaLog {
    fn partitions(&self) -> &[AssignedPartition] {
        &self.assigned
    }

    fn poll(&mut self, max_records: usize, budget: &Budget) -> Result<Polled> {
        self.serve_events()?;
        self.commits.advance(Duration::ZERO, &self.diagnosis);
        if !budget.has_room() {
            return Ok(Polled::Nothing);
        }
        let count = self.readers.len();
        for i in 0..count {
            let at = (self.turn + i) % count;
            if let Some(polled) =
                self.readers[at].poll(max_records.max(1), budget, &self.diagnosis)?
            {
                self.turn = at + 1;
                return Ok(polled);
            }
        }
        if self.swept_at.elapsed() >= SWEEP_INTERVAL {
            // Nothing depends on it, as far as we know; a lost callback would otherwise be a lost partition.
            self.readers.iter().for_each(|r| r.queue.readiness().set());
            self.swept_at = Instant::now();
        }
        Ok(Polled::Nothing)
    }

    fn on_ready(&mut self, wake: Wake) {
        for reader in &self.readers {
            reader.queue.readiness().on_ready(Arc::clone(&wake));
        }
        self.wake = Some(wake);
    }

    fn commit_group_offsets(&mut self, offsets: &[(TopicPartition, i64)]) {
        for (source, next) in offsets {
            self.commits.add(source.clone(), *next);
        }
        self.commits.advance(Duration::ZERO, &self.diagnosis);
    }

    fn end_offsets(&self) -> Vec<(TopicPartition, i64)> {
        self.readers
            .iter()
            .filter_map(|r| {
                let end = cached_end(&self.consumer, &r.topic, r.source.partition)?;
                Some((r.source.clone(), end.max(r.next)))
            })
            .collect()
    }
}

impl Drop for KafkaLog {
    /// Waits a little for the group offsets, so that lag tools show what has landed.
    fn drop(&mut self) {
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        while self.commits.is_busy() && Instant::now() < deadline {
            self.commits
                .advance(Duration::from_millis(10), &self.diagnosis);
            let _ = self.consumer.poll(Duration::ZERO);
        }
    }
}

/// One partition.
struct Reader {
    source: TopicPartition,
    topic: CString,
    // Before the queue: messages go before it.
    fetched: Fetched,
    queue: PartitionQueue,
    /// The offset that comes next in the account.
    next: i64,
    on_gap: OnGap,
    /// Since when the broker says that it does not know the partition.
    unknown_since: Option<Instant>,
}

impl Reader {
    /// The next batch or end of partition, `None` when nothing is waiting.
    fn poll(
        &mut self,
        max_records: usize,
        budget: &Budget,
        diagnosis: &Diagnosis,
    ) -> Result<Option<Polled>> {
        if self
            .unknown_since
            .is_some_and(|since| since.elapsed() >= UNKNOWN_GRACE)
        {
            return Err(Error::refused(format!(
                "topic or partition {} is gone: the broker has not known it for {} s",
                self.source,
                UNKNOWN_GRACE.as_secs()
            ))
            .hint("it was deleted while the job was reading it"));
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
                None => self.take_batch(max_records, budget),
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

    /// Copies records up to the limits, or up to what is no record. `None` when all of them were read
    /// before.
    fn take_batch(&mut self, max_records: usize, budget: &Budget) -> Option<Polled> {
        let start = self.next;
        // Measured first, so that the arena is allocated once and never grows.
        let (mut passed, mut count, mut bytes) = (0, 0, 0);
        for message in self.fetched.rest() {
            if message.error().is_some() || count == max_records {
                break;
            }
            let size =
                message.key().map_or(0, <[u8]>::len) + message.value().map_or(0, <[u8]>::len);
            if message.offset() >= start {
                if count > 0 && bytes + size > MAX_BATCH_BYTES {
                    break;
                }
                count += 1;
                bytes += size;
            }
            passed += 1;
        }
        let mut arena = Vec::with_capacity(bytes);
        let mut records = Vec::with_capacity(count);
        let mut next = start;
        for message in self.fetched.rest().take(passed) {
            // Below: read before, and delivered again after a rewind.
            if message.offset() >= next {
                next = message.offset() + 1;
                records.push(copy(message, &mut arena));
            }
        }
        self.fetched.pass(passed);
        self.unknown_since = None;
        if records.is_empty() {
            return None;
        }
        self.next = next;
        let held = arena.capacity() + records.capacity() * size_of::<RawRecord>();
        Some(Polled::Batch(RawBatch {
            source: self.source.clone(),
            start,
            next,
            received_at: now(),
            arena: Bytes::from(arena),
            records,
            credit: budget.take(held as u64),
        }))
    }

    fn judge_error(
        &mut self,
        code: RDKafkaErrorCode,
        text: &str,
        offset: i64,
        diagnosis: &Diagnosis,
    ) -> Result<()> {
        let source = &self.source;
        match code {
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                let gone = format!("offset {} of partition {source} is not on the broker: {text}", self.next);
                Err(match self.on_gap {
                    OnGap::Stop => Error::refused(gone)
                        .hint("retention passed the job, or the log was truncated; start again to hear which range is lost"),
                    // Where to go on is decided at the start, from the table and what the broker holds.
                    OnGap::Record => Error::unreachable(gone)
                        .hint("the job ends so that its next start records the lost offsets as gaps (`on_gap: record`) and goes on behind them; `launch` starts it again by itself"),
                })
            }
            RDKafkaErrorCode::BadMessage | RDKafkaErrorCode::BadCompression | RDKafkaErrorCode::Underflow => {
                Err(Error::refused(format!("records of partition {source} at offset {offset} cannot be read: {text}"))
                    .hint("the broker's log is damaged there, or written in a way that this client does not know"))
            }
            RDKafkaErrorCode::TopicAuthorizationFailed => {
                Err(Error::configuration(format!("cannot read partition {source}: the broker does not allow us to"))
                    .hint("grant `Read` on the topic to the user in `kafka.properties`"))
            }
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::UnknownTopicId => {
                self.unknown_since.get_or_insert_with(Instant::now);
                diagnosis.report(Some(code), &format!("{source}: {text}"));
                Ok(())
            }
            code if is_passing(code) => {
                diagnosis.report(Some(code), &format!("{source}: {text}"));
                Ok(())
            }
            _ => Err(Error::unreachable(format!("cannot read partition {source} at offset {offset}: {text}"))),
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

fn copy(message: Message<'_>, arena: &mut Vec<u8>) -> RawRecord {
    let mut span = |bytes: Option<&[u8]>| {
        bytes.map(|bytes| {
            let start = arena.len() as u32;
            arena.extend_from_slice(bytes);
            // At most MAX_BATCH_BYTES and one record, which Kafka limits to 1 GiB or so.
            Span {
                start,
                end: arena.len() as u32,
            }
        })
    };
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

#[cfg(test)]
mod tests;
