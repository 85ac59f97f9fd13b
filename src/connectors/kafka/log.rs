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
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use strandline_operators::credit::Budget;
use strandline_operators::io::{AssignedPartition, Log, Polled};
use strandline_operators::job::OnGap;
use strandline_operators::positions::Position;
use strandline_operators::record::TopicPartition;
use strandline_operators::{Error, Result};

use self::reader::{Reader, Trouble};
use super::batch::{Fetched, PartitionQueue, cached_end, set_leader_epoch};
use super::client::{Consumer, Context, Diagnosis, KafkaSettings};
use super::commits::GroupCommits;
use super::discovery::{Discovered, News};
use super::fetching::Fetching;

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

/// The partitions of one worker.
pub struct KafkaLog {
    // Declared before the consumer: queues and messages go before the client they belong to.
    readers: Vec<Reader>,
    assigned: Vec<AssignedPartition>,
    commits: GroupCommits,
    consumer: Arc<Consumer>,
    diagnosis: Arc<Diagnosis>,
    on_gap: OnGap,
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

mod reader;
#[cfg(test)]
mod tests;
