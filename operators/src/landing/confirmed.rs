//! No epoch is committed before it is known that its records are of the topics that the table was filled from.
//!
//! A topic that is deleted and created again has other records at the same offsets. A reader that was away for a
//! moment (stopped, or without room for records) goes on in the new log: its client takes the new id for the topic's
//! and says nothing. But a topic's id never comes back. Whoever is told the right one *after* the records
//! of an epoch were read knows that all of them are of the right topic, and what was read by mistake is in no
//! table. As far as a broker knows: one that hears of the cluster's metadata late tells the old id for so long.
//!
//! While nobody answers, the commit waits, as reading does: there is nothing new to be read either. A job that is
//! asked to end meanwhile leaves it to the next start, which reads those records again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::io::{Committed, Table, Topics};
use crate::landing::trouble::CommitTrouble;
use crate::observed::Observed;
use crate::positions::check_topic_id;
use crate::progress::{EpochCommit, Progress};

/// The first pause before Kafka is asked again; it doubles.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long a topic may be unknown before it counts as deleted, and not as one that is being created again and that
/// not every broker knows yet; in pauses between questions. Shorter than whoever reads it waits: what was read before it
/// was deleted is to land.
const GONE_GRACE: Duration = Duration::from_secs(5);

/// How long a commit still waits for Kafka once the job is asked to end. A question under way may take some seconds more.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// A table that commits only what comes from the right topics.
pub struct Confirmed {
    host: Arc<dyn Host>,
    topics: Box<dyn Topics>,
    /// The ids by topic; topics whose id was never told are not among them.
    known: BTreeMap<String, String>,
    observed: Arc<Observed>,
    trouble: CommitTrouble,
    /// Whether it was said that a topic has no id any more.
    has_warned: bool,
    table: Box<dyn Table>,
}

impl Confirmed {
    /// Commits to `table`, which was claimed with `progress`. What a commit waits for is told to `trouble`, and that
    /// it waits for Kafka to `observed`; once the job is asked to end, it does not wait for long.
    pub fn new(
        host: Arc<dyn Host>,
        topics: Box<dyn Topics>,
        progress: &Progress,
        observed: Arc<Observed>,
        trouble: CommitTrouble,
        table: Box<dyn Table>,
    ) -> Confirmed {
        let id_of = |(name, topic): (&String, &crate::progress::TopicProgress)| {
            Some((name.clone(), topic.topic_id.clone()?))
        };
        Confirmed {
            host,
            topics,
            known: progress.topics.iter().filter_map(id_of).collect(),
            observed,
            trouble,
            has_warned: false,
            table,
        }
    }

    /// Returns once every topic that the epoch has records of was found to be the right one.
    fn confirm(&mut self, epoch: &EpochCommit) -> Result<()> {
        let mut names: Vec<&str> = Vec::new();
        for (source, delta) in &epoch.partitions {
            let is_read = delta.start < delta.next && self.known.contains_key(&*source.topic);
            if is_read && names.last() != Some(&&*source.topic) {
                names.push(&source.topic);
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        let mut pause = PAUSE;
        let mut has_said = false;
        // In pauses of our own: of a machine that stood still nobody asked meanwhile.
        let mut gone_for: Option<Duration> = None;
        let mut stopped_since: Option<Instant> = None;
        loop {
            let why = match self.topics.ids(&names) {
                Ok(ids) => match self.unknown_of(&names, &ids)? {
                    None => return Ok(()),
                    Some(name) => {
                        if *gone_for.get_or_insert(Duration::ZERO) >= GONE_GRACE {
                            tracing::warn!(
                                topic = name,
                                epoch = %epoch.epoch,
                                "the topic is gone; what was read of it before lands"
                            );
                            return Ok(());
                        }
                        format!("Kafka does not know topic `{name}` any more")
                    }
                },
                Err(error) if error.kind() == ErrorKind::Unreachable => {
                    gone_for = None;
                    format!(
                        "whether the topics are still the same is to be asked first: {}",
                        error.message()
                    )
                }
                Err(error) => return Err(error),
            };
            // Not for a topic that is perhaps gone: that is known soon, and then what was read of it lands.
            if self.observed.stops.load(Ordering::Relaxed) && gone_for.is_none() {
                let now = self.host.now();
                let since = *stopped_since.get_or_insert(now);
                if now.duration_since(since) >= STOP_PATIENCE {
                    return Err(Error::unreachable(why).hint(
                        "the job was asked to end; what it had read and not committed is read again at the next start",
                    ));
                }
            }
            if pause == PAUSE_MAX && !has_said {
                has_said = true;
                tracing::warn!(epoch = %epoch.epoch, "a commit waits for Kafka: {why}");
            }
            self.trouble.tell(&why);
            self.observed.awaits_kafka.store(true, Ordering::Relaxed);
            self.host.sleep(pause);
            gone_for = gone_for.map(|gone_for| gone_for + pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// The first topic that Kafka does not know.
    fn unknown_of<'a>(
        &mut self,
        names: &[&'a str],
        ids: &BTreeMap<String, Option<String>>,
    ) -> Result<Option<&'a str>> {
        let mut unknown = None;
        for &name in names {
            match ids.get(name) {
                Some(id) => {
                    let known = self.known.get(name).map(String::as_str);
                    check_topic_id(name, known, id.as_deref())?;
                    if id.is_none() && !std::mem::replace(&mut self.has_warned, true) {
                        tracing::warn!(
                            topic = name,
                            "Kafka tells no id of the topic any more, so whether it was created again cannot be told"
                        );
                    }
                }
                None => unknown = unknown.or(Some(name)),
            }
        }
        Ok(unknown)
    }
}

impl Table for Confirmed {
    fn commit(&mut self, epoch: &EpochCommit) -> Result<Committed> {
        let confirmed = self.confirm(epoch);
        if self.observed.awaits_kafka.swap(false, Ordering::Relaxed) {
            self.trouble.over();
        }
        confirmed.map_err(|error: Error| error.context(format!("epoch {}", epoch.epoch)))?;
        self.table.commit(epoch)
    }

    fn catch_up(&mut self) -> Result<bool> {
        self.table.catch_up()
    }

    fn settle(&mut self) -> Result<()> {
        self.table.settle()
    }
}

#[cfg(test)]
mod tests;
