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
//! | the record before the offset is another one (leader epoch) | refused: the log was truncated and has grown again |
//! | leader epochs go back | refused: it is another log |
//! | corrupt records, unknown compression | refused: librdkafka goes on behind them, which would lose them |
//! | topic or partition unknown, for `UNKNOWN_GRACE` | refused if a look at the cluster finds it gone: deleted while running |
//! | not allowed, wrong credentials | configuration, unreachable |
//! | leader moved, broker down, timed out | retried by librdkafka, told to the [`Diagnosis`] |
//! | anything else | unreachable: the restart from the table is safe |
//!
//! An offset that is gone may mean that the topic was created again. So before such an error ends the job,
//! the [discovery](super::discovery) is asked for a look, and nothing is read until it has answered.

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
use strandline_operators::record::{Headers, RawBatch, RawRecord, Span, TopicPartition};
use strandline_operators::time::EventTime;
use strandline_operators::{Error, Result};

use super::batch::{Fetched, Message, PartitionQueue, Wake, cached_end, set_leader_epoch};
use super::client::{Consumer, Context, Diagnosis, KafkaSettings};
use super::commits::GroupCommits;
use super::discovery::{Discovered, News};
use super::fetching::Fetching;
use super::positions::Position;

/// A batch is closed before it grows beyond this many bytes; a single record may be larger.
const MAX_BATCH_BYTES: usize = 4 << 20;

/// librdkafka's text for a log that no longer holds, at a position, the record that was read there
/// (`RD_KAFKA_RESP_ERR__LOG_TRUNCATION`). The code that comes with it is that of any position that is gone.
const LOG_TRUNCATION: &str = "log truncation detected";

/// How long a partition may be unknown to the broker before it counts as deleted. A leader that has just
/// started does not know its topics yet.
const UNKNOWN_GRACE: Duration = Duration::from_secs(30);

/// How long an error waits for a look at the cluster that may explain it better.
const EXPLANATION_TIMEOUT: Duration = Duration::from_secs(15);

/// How often the queues are looked at even though no callback said that they have something.
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// How long the last commit of group offsets is waited for when the log is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Errors and log lines served by one poll; the others wait for the next.
const MAX_EVENTS_PER_POLL: usize = 64;

/// An error of a partition that waits for a look at the cluster. Nothing is read meanwhile.
struct Doubt {
    error: Error,
    since: Instant,
    /// The partition that is said to be gone: forgotten when it is there after all.
    gone: Option<TopicPartition>,
}

/// Why a partition cannot be read on.
enum Trouble {
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
    discovered: Option<Discovered>,
    doubt: Option<Doubt>,
    /// Whether records come with their headers.
    keeps_headers: bool,
    /// The reader whose turn is next.
    turn: usize,
    swept_at: Instant,
}

impl KafkaLog {
    /// Begins to read at the given positions. `on_gap` says what an offset is that the broker no longer holds.
    pub fn open(
        settings: &KafkaSettings,
        group_id: &str,
        positions: &[Position],
        on_gap: OnGap,
        fetching: Fetching,
    ) -> Result<KafkaLog> {
        let diagnosis = Arc::new(Diagnosis::default());
        let context = Context::new(Arc::clone(&diagnosis));
        let consumer =
            Arc::new(settings.reading_consumer(group_id, positions.len(), fetching, context)?);
        let commits = GroupCommits::new(&consumer);
        let mut log = KafkaLog {
            readers: Vec::new(),
            assigned: Vec::new(),
            consumer,
            diagnosis,
            commits,
            on_gap,
            wake: None,
            discovered: None,
            doubt: None,
            keeps_headers: false,
            turn: 0,
            swept_at: Instant::now(),
        };
        if !positions.is_empty() {
            log.assign(positions)?;
        }
        Ok(log)
    }

    /// Gives records with their headers from here on. Only for jobs that want them: they take time and room.
    pub fn keep_headers(&mut self) {
        self.keeps_headers = true;
        for reader in &mut self.readers {
            reader.keeps_headers = true;
        }
    }

    /// Reads the partitions too that the discovery finds, and asks it before an error ends the job.
    pub fn follow(&mut self, discovered: Discovered) {
        self.discovered = Some(discovered);
    }

    /// Reads more partitions from here on. The client's queues keep the size that they were given for the
    /// partitions known at the start, so these come on top until the next start.
    pub fn assign(&mut self, positions: &[Position]) -> Result<()> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        let mut compared = TopicPartitionList::new();
        for position in positions {
            let source = &position.assigned.source;
            let cannot = |e: &dyn std::fmt::Display| {
                Error::internal(format!("cannot assign partition {source}: {e}"))
            };
            let from = Offset::Offset(position.read_from);
            list.add_partition_offset(&source.topic, source.partition, from)
                .map_err(|e| cannot(&e))?;
            if let Some(epoch) = position.leader_epoch {
                compared
                    .add_partition_offset(&source.topic, source.partition, from)
                    .map_err(|e| cannot(&e))?;
                set_leader_epoch(&compared, source, epoch)?;
            }
            let queue = PartitionQueue::split(&self.consumer, source)?;
            if let Some(wake) = &self.wake {
                queue.readiness().on_ready(Arc::clone(wake));
            }
            self.readers.push(Reader {
                source: source.clone(),
                topic: CString::new(&*source.topic).map_err(|e| cannot(&e))?,
                keeps_headers: self.keeps_headers,
                fetched: Fetched::new(&self.consumer),
                queue,
                next: position.assigned.start,
                leader_epoch: position.leader_epoch,
                on_gap: self.on_gap,
                unknown_since: None,
            });
            self.assigned.push(position.assigned.clone());
        }
        self.consumer
            .incremental_assign(&list)
            .map_err(|e| Error::internal(format!("cannot assign partitions: {e}")))?;
        if compared.count() > 0 {
            // librdkafka compares the leader epoch of a seek with the leader's log before it fetches; that of
            // an assignment only if metadata happens to come later.
            self.consumer
                .seek_partitions(compared, Duration::ZERO)
                .map_err(|e| {
                    Error::internal(format!(
                        "cannot compare positions with the broker's log: {e}"
                    ))
                })?;
        }
        Ok(())
    }

    /// What librdkafka reports and retries by itself; may be read from any thread.
    pub fn diagnosis(&self) -> Arc<Diagnosis> {
        Arc::clone(&self.diagnosis)
    }

    /// Takes in what the discovery has found.
    fn take_news(&mut self) -> Result<()> {
        while let Some(news) = self
            .discovered
            .as_ref()
            .and_then(|discovered| discovered.news.try_recv().ok())
        {
            match news {
                News::Added(positions) => self.assign(&positions)?,
                News::Refused(error) => return Err(error),
                News::Looked(there) => {
                    let Some(doubt) = self.doubt.take() else {
                        continue;
                    };
                    match doubt.gone.filter(|gone| there.contains(gone)) {
                        Some(gone) => {
                            let unknown = self.readers.iter_mut().filter(|r| r.source == gone);
                            unknown.for_each(|r| r.unknown_since = None);
                        }
                        None => return Err(doubt.error),
                    }
                }
            }
        }
        // What is said to be gone may be there when its broker is back, however long that takes.
        match &self.doubt {
            Some(doubt) if doubt.gone.is_none() && doubt.since.elapsed() >= EXPLANATION_TIMEOUT => {
                Err(doubt.error.clone())
            }
            _ => Ok(()),
        }
    }

    /// Asks for a look at the cluster before the error ends the job.
    fn doubt(&mut self, error: Error, gone: Option<TopicPartition>) -> Result<()> {
        if !self.discovered.as_ref().is_some_and(Discovered::ask) {
            return Err(error);
        }
        tracing::debug!("looking at the cluster before this ends the job: {error}");
        self.doubt = Some(Doubt {
            error,
            since: Instant::now(),
            gone,
        });
        Ok(())
    }

    /// Serves what does not belong to a partition: errors, logs, answers to commits.
    fn serve_events(&mut self) -> Result<()> {
        let consumer = Arc::clone(&self.consumer);
        for _ in 0..MAX_EVENTS_PER_POLL {
            match consumer.poll(Duration::ZERO) {
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
    fn judge_client_error(&mut self, error: &KafkaError) -> Result<()> {
        let text = || self.diagnosis.last().unwrap_or_else(|| error.to_string());
        match error {
            KafkaError::MessageConsumption(RDKafkaErrorCode::GroupAuthorizationFailed) => {
                self.commits.denied(&self.diagnosis);
                Ok(())
            }
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
        self.take_news()?;
        self.commits.advance(Duration::ZERO, &self.diagnosis);
        if self.doubt.is_some() || !budget.has_room() {
            return Ok(Polled::Nothing);
        }
        let count = self.readers.len();
        for i in 0..count {
            let at = (self.turn + i) % count;
            match self.readers[at].poll(max_records.max(1), budget, &self.diagnosis) {
                Ok(None) => {}
                Ok(Some(polled)) => {
                    self.turn = at + 1;
                    return Ok(polled);
                }
                Err(Trouble::Certain(error)) => return Err(error),
                Err(Trouble::Unexplained { error, gone }) => {
                    self.doubt(error, gone)?;
                    return Ok(Polled::Nothing);
                }
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
    /// The leader epoch of the last record.
    leader_epoch: Option<i32>,
    on_gap: OnGap,
    keeps_headers: bool,
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

#[cfg(test)]
mod tests;
