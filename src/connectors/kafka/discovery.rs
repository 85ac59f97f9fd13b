//! What changes about the topics while a job reads them: partitions are added, a topic is deleted or created
//! again.
//!
//! One thread a process, with a client of its own: to ask the cluster blocks, and a worker never does. What
//! it finds goes through channels to the logs of the process' workers, which read them in `poll`. Every
//! process finds out for itself; which worker reads a partition is the same function in all of them.
//!
//! A topic created again is found by its id. Until then its records are read as those of the old one, where
//! they lie behind the old position: [`KafkaLog`](super::log::KafkaLog) sees that at once by leader epochs
//! that go back, and this within an interval. librdkafka itself reads on (2.12: `rdkafka_topic.c`, "an
//! offset reset must be triggered").

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded, unbounded};
use strandline_operators::job::OnGap;
use strandline_operators::positions::{self, PartitionFacts, Position, TopicMetadata, worker_of};
use strandline_operators::record::TopicPartition;
use strandline_operators::{Error, ErrorKind, Result};

use super::client::KafkaSettings;
use super::metadata::Cluster;

/// When a look that somebody waits for has failed, the pause before the next.
const RETRY: Duration = Duration::from_secs(1);

/// How long the end of the thread is waited for, so that no client is at work when the process ends. It may
/// be waiting for a broker.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// What was known of the topics when reading started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// The topics, in the order in which the job names them.
    pub topics: Vec<KnownTopic>,
}

/// What was known of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownTopic {
    /// Its name.
    pub name: String,
    /// Its id, when the broker told it.
    pub id: Option<String>,
    /// The partitions that are read already.
    pub partitions: BTreeSet<i32>,
}

/// The workers that take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers {
    /// Those of this process, by their index in the cluster.
    pub local: Range<usize>,
    /// How many the cluster has.
    pub peers: usize,
}

/// What a worker's log hears.
pub(super) enum News {
    /// Partitions that the worker shall read from now on.
    Added(Vec<Position>),
    /// Somebody asked for a look: these partitions are there, and the topics are the same.
    Looked(Arc<BTreeSet<TopicPartition>>),
    /// The job must not go on.
    Refused(Error),
}

/// A worker's end of the discovery.
pub struct Discovered {
    pub(super) news: Receiver<News>,
    ask: Sender<()>,
}

impl Discovered {
    /// Asks for a look now; [`News::Looked`] or [`News::Refused`] answers, once the cluster can be reached.
    /// Returns whether an answer will come.
    pub(super) fn ask(&self) -> bool {
        !matches!(self.ask.try_send(()), Err(TrySendError::Disconnected(())))
    }
}

/// The thread that looks. Dropped after the workers' ends, it waits a little for the thread's end.
pub struct Looking {
    ended: Receiver<()>,
}

impl Drop for Looking {
    fn drop(&mut self) {
        // Nobody sends: it is the sender's end that is waited for.
        let _ = self.ended.recv_timeout(END_TIMEOUT);
    }
}

/// Starts to look, every `interval`, the first time after one. Gives each local worker its end; the thread
/// ends when all of them are gone.
///
/// # Errors
/// No thread can be started.
pub fn discover(
    settings: &KafkaSettings,
    job: &str,
    known: Known,
    on_gap: OnGap,
    interval: Duration,
    workers: Workers,
) -> Result<(Vec<Discovered>, Looking)> {
    // One place: a question that waits already will be answered for all.
    let (ask, asked) = bounded(1);
    let mut logs = Vec::new();
    let mut ends = Vec::new();
    for _ in workers.local.clone() {
        let (log, news) = unbounded();
        logs.push(log);
        ends.push(Discovered {
            news,
            ask: ask.clone(),
        });
    }
    let discovery = Discovery {
        settings: settings.clone(),
        job: job.to_owned(),
        known,
        on_gap,
        workers,
        cluster: None,
        logs,
    };
    let (at_work, ended) = bounded(0);
    thread::Builder::new()
        .name("discovery".to_owned())
        .spawn(move || {
            // Dropped in reverse: whoever waits for the end finds that nobody takes questions any more.
            let _at_work: Sender<()> = at_work;
            let asked = asked;
            discovery.run(&asked, interval);
        })
        .map_err(|e| {
            Error::internal(format!(
                "cannot start the thread that looks for new partitions: {e}"
            ))
        })?;
    Ok((ends, Looking { ended }))
}

struct Discovery {
    settings: KafkaSettings,
    job: String,
    known: Known,
    on_gap: OnGap,
    workers: Workers,
    /// Opened at the first look: many runs end before.
    cluster: Option<Cluster>,
    logs: Vec<Sender<News>>,
}

impl Discovery {
    fn run(mut self, asked: &Receiver<()>, interval: Duration) {
        let mut somebody_waits = false;
        loop {
            let pause = if somebody_waits {
                interval.min(RETRY)
            } else {
                interval
            };
            match asked.recv_timeout(pause) {
                Ok(()) => somebody_waits = true,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            match self.look() {
                Ok(there) if somebody_waits => {
                    somebody_waits = false;
                    let there = Arc::new(there);
                    self.tell_all(|| News::Looked(Arc::clone(&there)));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Refused => {
                    self.tell_all(|| News::Refused(error.clone()));
                    return;
                }
                // The clients that read say loudly when no broker can be reached.
                Err(error) => {
                    tracing::debug!(job = self.job, "cannot look for new partitions: {error}");
                }
            }
        }
    }

    fn tell_all(&self, news: impl Fn() -> News) {
        for log in &self.logs {
            // A worker that has ended needs no news.
            let _ = log.send(news());
        }
    }

    /// Looks once; tells the workers of what is new and returns what is there.
    fn look(&mut self) -> Result<BTreeSet<TopicPartition>> {
        let cluster = match self.cluster.take() {
            Some(cluster) => cluster,
            None => Cluster::connect(&self.settings)?,
        };
        cluster.serve();
        let looked = self.look_at(&cluster);
        self.cluster = Some(cluster);
        looked
    }

    fn look_at(&mut self, cluster: &Cluster) -> Result<BTreeSet<TopicPartition>> {
        positions::check_cluster(self.known.cluster_id.as_deref(), Some(cluster.id()))?;
        let mut there = BTreeSet::new();
        let mut failure = None;
        for index in 0..self.known.topics.len() {
            // One that is not there was deleted, or its broker has just started: whoever reads it knows for
            // how long.
            let looked = cluster
                .find_topic(&self.known.topics[index].name)
                .and_then(|found| match found {
                    Some(found) => {
                        there.extend(found.sources());
                        self.look_at_topic(cluster, index, &found)
                    }
                    None => Ok(()),
                });
            match looked {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Refused => return Err(error),
                // The other topics may be in order.
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(there), Err)
    }

    fn look_at_topic(
        &mut self,
        cluster: &Cluster,
        index: usize,
        found: &TopicMetadata,
    ) -> Result<()> {
        let known = &mut self.known.topics[index];
        positions::check_topic_id(&known.name, known.id.as_deref(), found.id.as_deref())?;
        if known.id.is_none() {
            known.id.clone_from(&found.id);
        }
        let added: Vec<TopicPartition> = found
            .sources()
            .filter(|source| !known.partitions.contains(&source.partition))
            .collect();
        if added.is_empty() {
            return Ok(());
        }
        let facts = facts(cluster, &added)?;
        let mut by_worker = vec![Vec::new(); self.workers.local.len()];
        for fact in &facts {
            let position = positions::of_added(fact, self.on_gap)?;
            let partition = fact.source.partition;
            known.partitions.insert(partition);
            let worker = worker_of(index, partition, self.workers.peers);
            if self.workers.local.contains(&worker) {
                tracing::info!(
                    job = self.job,
                    topic = %fact.source.topic,
                    partition,
                    offset = position.read_from,
                    worker,
                    "{}",
                    position.reason
                );
                by_worker[worker - self.workers.local.start].push(position);
            }
        }
        for (log, positions) in self.logs.iter().zip(by_worker) {
            if !positions.is_empty() {
                let _ = log.send(News::Added(positions));
            }
        }
        Ok(())
    }
}

/// Where new partitions begin and end. Fails while one of them has no leader yet.
fn facts(cluster: &Cluster, added: &[TopicPartition]) -> Result<Vec<PartitionFacts>> {
    let log_starts = cluster.log_starts(added)?;
    let ends = cluster.ends(added)?;
    added
        .iter()
        .map(|source| match (log_starts.get(source), ends.get(source)) {
            (Some(&log_start), Some(&end)) => Ok(PartitionFacts {
                source: source.clone(),
                log_start,
                end,
                group: None,
                at_timestamp: None,
            }),
            _ => Err(Error::unreachable(format!(
                "the broker tells no offsets of partition {source} yet"
            ))),
        })
        .collect()
}

#[cfg(test)]
mod tests;
