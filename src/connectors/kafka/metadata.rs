//! What a job must know before it reads: the cluster, its topics, and the offsets of their partitions.
//!
//! Everything here blocks, and everything ends within [`TIMEOUT`]: a broker that cannot be reached is an
//! error that says what was tried, what librdkafka found, and what to do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use strandline_operators::job::StartingOffsets;
use strandline_operators::positions::{PartitionFacts, TopicMetadata};
use strandline_operators::record::TopicPartition;
use strandline_operators::{Error, Result};

use super::client::{Consumer, Diagnosis, KafkaSettings, unreachable};
use super::describe::{self, Described, describe_topics};
use super::identity::{self, TOPIC_ID_TIMEOUT};

/// The longest that one question to the cluster may take: a command that finds no broker says so within
/// 10 s (INTERFACES), and has other things to do in them.
pub const TIMEOUT: Duration = Duration::from_secs(8);

/// One attempt of those that make up [`TIMEOUT`]; between them the client's errors are looked at.
const ATTEMPT: Duration = Duration::from_millis(500);

/// What a question still gets when the ones before it have used up [`TIMEOUT`]: a job asks several in a
/// row when it starts, and all of them together shall not take much longer than one.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// After this time it is looked whether a question about a group waits because we have no right to it.
const DENIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// A name this similar to a missing topic's is suggested (Jaro-Winkler).
const SIMILAR: f64 = 0.8;

/// A cluster that has answered.
pub struct Cluster {
    settings: KafkaSettings,
    consumer: Consumer,
    diagnosis: Arc<Diagnosis>,
    id: String,
    connected_at: Instant,
}

impl Cluster {
    /// Connects, and asks who is there.
    ///
    /// # Errors
    /// Unreachable within [`TIMEOUT`]; configuration for wrong credentials or properties.
    pub fn connect(settings: &KafkaSettings) -> Result<Cluster> {
        let diagnosis = Arc::new(Diagnosis::default());
        let consumer = settings.metadata_consumer(None, Arc::clone(&diagnosis))?;
        let started = Instant::now();
        loop {
            if let Some(id) = consumer.client().fetch_cluster_id(ATTEMPT) {
                return Ok(Cluster {
                    settings: settings.clone(),
                    consumer,
                    diagnosis,
                    id,
                    connected_at: started,
                });
            }
            serve(&consumer);
            if started.elapsed() >= TIMEOUT || is_hopeless(&diagnosis) {
                return Err(unreachable(
                    "cannot reach Kafka",
                    settings,
                    &diagnosis,
                    None,
                    started.elapsed(),
                ));
            }
        }
    }

    /// The cluster's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Describes a topic.
    ///
    /// # Errors
    /// Unreachable when it does not exist or the broker does not answer; configuration when we may not
    /// read it.
    pub fn topic(&self, name: &str) -> Result<TopicMetadata> {
        self.find_topic(name)?
            .ok_or_else(|| self.missing_topic(name))
    }

    /// Describes a topic; `None` when the cluster has none of that name.
    ///
    /// # Errors
    /// As [`Cluster::topic`].
    pub fn find_topic(&self, name: &str) -> Result<Option<TopicMetadata>> {
        let what = format!("cannot read topic `{name}`");
        let metadata = self.until_answered(&what, |timeout| {
            self.consumer.fetch_metadata(Some(name), timeout)
        })?;
        let topic = metadata.topics().iter().find(|t| t.name() == name);
        match topic.and_then(|t| t.error()).map(RDKafkaErrorCode::from) {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                return Ok(None);
            }
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                return Err(denied(&what));
            }
            Some(RDKafkaErrorCode::InvalidTopic) => {
                return Err(Error::configuration(format!(
                    "`{name}` cannot be the name of a topic"
                )));
            }
            Some(other) => return Err(Error::unreachable(format!("{what}: {other}"))),
        }
        let mut partitions: Vec<i32> = topic
            .map(|t| t.partitions().iter().map(|p| p.id()).collect())
            .unwrap_or_default();
        if partitions.is_empty() {
            return Ok(None);
        }
        partitions.sort_unstable();
        let patience = TOPIC_ID_TIMEOUT.min(self.patience());
        let id = identity::topic_id(self, metadata.orig_broker_id(), name, patience);
        Ok(Some(TopicMetadata {
            name: name.to_owned(),
            id,
            partitions,
        }))
    }

    /// Which broker is up: the one that answers a question about a topic now.
    pub(super) fn any_broker(&self, topic: &str, timeout: Duration) -> Result<i32, KafkaError> {
        let metadata = self.consumer.fetch_metadata(Some(topic), timeout)?;
        Ok(metadata.orig_broker_id())
    }

    /// What a broker says of topics, in their order.
    ///
    /// # Errors
    /// Why it has not answered in time.
    pub(super) fn describe(
        &self,
        broker: i32,
        topics: &[&str],
        timeout: Duration,
    ) -> Result<Vec<Described>, String> {
        describe_topics(self.consumer.client().native_ptr(), broker, topics, timeout)
    }

    /// What the client complained of last.
    pub(super) fn complaint(&self) -> Option<String> {
        self.diagnosis.last()
    }

    /// The addresses that the client was given.
    pub(super) fn servers(&self) -> &str {
        &self.settings.bootstrap_servers
    }

    /// Serves the client's logs and errors that are waiting. For a client that is kept and seldom asked.
    pub(super) fn serve(&self) {
        serve(&self.consumer);
    }

    /// Whether a topic exists.
    pub fn has_topic(&self, name: &str) -> Result<bool> {
        Ok(self.topic_names()?.iter().any(|t| t == name))
    }

    /// Whether a broker is the controller. The embedded cluster has none, and leaves administrative requests
    /// without an answer.
    pub fn has_controller(&self) -> Result<bool> {
        let metadata = self.until_answered("cannot list brokers", |timeout| {
            self.consumer.fetch_metadata(None, timeout)
        })?;
        let controller = describe::controller(self.consumer.client().native_ptr());
        Ok(metadata.brokers().iter().any(|b| b.id() == controller))
    }

    /// The names of all topics that we may see.
    pub fn topic_names(&self) -> Result<Vec<String>> {
        let metadata = self.until_answered("cannot list topics", |timeout| {
            self.consumer.fetch_metadata(None, timeout)
        })?;
        Ok(metadata
            .topics()
            .iter()
            .map(|t| t.name().to_owned())
            .collect())
    }

    fn missing_topic(&self, name: &str) -> Error {
        let error = Error::unreachable(format!(
            "cannot read topic `{name}`: broker {} answers, but has no such topic",
            self.settings.bootstrap_servers
        ));
        let similar = self.topic_names().ok().and_then(|names| {
            names
                .into_iter()
                .map(|n| (strsim::jaro_winkler(&n, name), n))
                .filter(|(similarity, _)| *similarity >= SIMILAR)
                .max_by(|a, b| a.0.total_cmp(&b.0))
        });
        match similar {
            Some((_, similar)) => {
                error.hint(format!("did you mean `{similar}`? Else create the topic"))
            }
            None => error.hint(format!(
                "create it: kafka-topics --create --topic {name} --bootstrap-server {}",
                self.settings.bootstrap_servers
            )),
        }
    }

    /// The log start and end of every partition, and what `starting` needs to be known besides, in one
    /// request a broker each.
    pub fn facts(
        &self,
        topics: &[TopicMetadata],
        group_id: &str,
        starting: &StartingOffsets,
    ) -> Result<Vec<PartitionFacts>> {
        let sources: Vec<TopicPartition> = topics.iter().flat_map(TopicMetadata::sources).collect();
        let log_starts = self.offsets(&sources, Offset::Beginning)?;
        let ends = self.offsets(&sources, Offset::End)?;
        let group = match starting {
            StartingOffsets::Group => self.group_offsets(&sources, group_id)?,
            _ => BTreeMap::new(),
        };
        let at_timestamp = match starting {
            StartingOffsets::Timestamp(ms) => {
                self.offsets(&sources, Offset::Offset((*ms).max(0)))?
            }
            _ => BTreeMap::new(),
        };
        sources
            .into_iter()
            .map(|source| {
                let known = |of: &BTreeMap<TopicPartition, i64>| {
                    of.get(&source).copied().ok_or_else(|| {
                        Error::unreachable(format!(
                            "the broker tells no offsets of partition {source}"
                        ))
                    })
                };
                Ok(PartitionFacts {
                    log_start: known(&log_starts)?,
                    end: known(&ends)?,
                    group: group.get(&source).copied(),
                    at_timestamp: at_timestamp.get(&source).copied(),
                    source,
                })
            })
            .collect()
    }

    /// The ends of partitions, as a `read_committed` reader sees them.
    pub fn ends(&self, sources: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, i64>> {
        self.offsets(sources, Offset::End)
    }

    /// The oldest offsets that the broker holds.
    pub fn log_starts(&self, sources: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, i64>> {
        self.offsets(sources, Offset::Beginning)
    }

    /// Offsets by time. Kafka's request takes -2 and -1 in a timestamp's place for beginning and end, so
    /// one request a broker answers for all its partitions, with our isolation level.
    fn offsets(
        &self,
        sources: &[TopicPartition],
        at: Offset,
    ) -> Result<BTreeMap<TopicPartition, i64>> {
        if sources.is_empty() {
            return Ok(BTreeMap::new());
        }
        let what = "cannot look up offsets";
        let list = self.until_answered(what, |timeout| {
            let mut list = TopicPartitionList::with_capacity(sources.len());
            for source in sources {
                list.add_partition_offset(&source.topic, source.partition, at)?;
            }
            self.consumer.offsets_for_times(list, timeout)
        })?;
        let mut offsets = BTreeMap::new();
        for element in list.elements() {
            let source = TopicPartition::new(element.topic(), element.partition());
            if let Err(error) = element.error() {
                return Err(
                    Error::unreachable(format!("{what} of partition {source}: {error}"))
                        .hint("is the partition's leader up? See `kafka-topics --describe`"),
                );
            }
            // By time, -1 says that there is no record that late.
            if let Offset::Offset(offset) = element.offset() {
                offsets.insert(source, offset);
            }
        }
        Ok(offsets)
    }

    /// Where a consumer group stands; partitions without a position are left out.
    pub fn group_offsets(
        &self,
        sources: &[TopicPartition],
        group_id: &str,
    ) -> Result<BTreeMap<TopicPartition, i64>> {
        let diagnosis = Arc::new(Diagnosis::default());
        let consumer = self
            .settings
            .metadata_consumer(Some(group_id), Arc::clone(&diagnosis))?;
        let mut list = TopicPartitionList::with_capacity(sources.len());
        for source in sources {
            list.add_partition(&source.topic, source.partition);
        }
        let what = format!("cannot look up the offsets of group `{group_id}`");
        let ask = |timeout| consumer.committed_offsets(list.clone(), timeout);
        // Whoever has no right to the group is not told its coordinator, and the question would wait for that.
        let answer = ask(DENIAL_TIMEOUT).or_else(|error| {
            serve(&consumer);
            match is_denied(&error, &diagnosis) {
                true => Err(error),
                false => ask(TIMEOUT - DENIAL_TIMEOUT),
            }
        });
        let list = answer.map_err(|error| {
            serve(&consumer);
            if is_denied(&error, &diagnosis) {
                return Error::configuration(format!("{what}: the broker does not allow us to"))
                    .hint("grant `Read` on the group to the user in `kafka.properties`");
            }
            unreachable(&what, &self.settings, &diagnosis, Some(&error), TIMEOUT)
        })?;
        Ok(list
            .elements()
            .iter()
            .filter_map(|e| match e.offset() {
                Offset::Offset(offset) => {
                    Some((TopicPartition::new(e.topic(), e.partition()), offset))
                }
                _ => None,
            })
            .collect())
    }

    /// Puts a consumer group at these offsets. For people and lag tools; no job reads them but once, with
    /// `starting_offsets: group`.
    ///
    /// # Errors
    /// Unreachable when the broker does not take them: also when the group has members of its own.
    pub fn set_group_offsets(
        &self,
        offsets: &BTreeMap<TopicPartition, i64>,
        group_id: &str,
    ) -> Result<()> {
        let diagnosis = Arc::new(Diagnosis::default());
        let consumer = self
            .settings
            .metadata_consumer(Some(group_id), Arc::clone(&diagnosis))?;
        let what = format!("cannot set the offsets of group `{group_id}`");
        let failed = |error: KafkaError| {
            serve(&consumer);
            unreachable(&what, &self.settings, &diagnosis, Some(&error), TIMEOUT)
        };
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (source, offset) in offsets {
            let offset = Offset::Offset(*offset);
            list.add_partition_offset(&source.topic, source.partition, offset)
                .map_err(failed)?;
        }
        consumer.commit(&list, CommitMode::Sync).map_err(failed)
    }

    /// Who consumes as members of a group: `client id` and host of each. A job is no member of its own group.
    pub fn group_members(&self, group_id: &str) -> Result<Vec<String>> {
        let what = format!("cannot describe group `{group_id}`");
        let groups = self.consumer.fetch_group_list(Some(group_id), TIMEOUT);
        let groups = groups.map_err(|error| {
            serve(&self.consumer);
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) {
                return Error::configuration(format!("{what}: the broker does not allow us to"))
                    .hint("grant `Describe` and `Read` on the group to the user in `kafka.properties`");
            }
            unreachable(&what, &self.settings, &self.diagnosis, Some(&error), TIMEOUT)
        })?;
        let members = groups.groups().iter().flat_map(|group| group.members());
        Ok(members
            .map(|member| format!("`{}` at {}", member.client_id(), member.client_host()))
            .collect())
    }

    /// How long the next question may take.
    fn patience(&self) -> Duration {
        let age = self.connected_at.elapsed();
        // Later questions (new partitions, an audit) stand on their own.
        if age >= 2 * TIMEOUT {
            TIMEOUT
        } else {
            TIMEOUT.saturating_sub(age).max(LEAST_PATIENCE)
        }
    }

    /// Asks until there is an answer or [`TIMEOUT`] has passed; looks at the client's errors in between.
    fn until_answered<T>(
        &self,
        what: &str,
        ask: impl Fn(Duration) -> Result<T, KafkaError>,
    ) -> Result<T> {
        let started = Instant::now();
        let patience = self.patience();
        loop {
            // Not in short attempts: a slow answer that is given up is asked for again from the start.
            let error = match ask(patience.saturating_sub(started.elapsed()).max(ATTEMPT)) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            serve(&self.consumer);
            let again = started.elapsed() + ATTEMPT < patience && !is_hopeless(&self.diagnosis);
            if !again {
                return Err(unreachable(
                    what,
                    &self.settings,
                    &self.diagnosis,
                    Some(&error),
                    started.elapsed(),
                ));
            }
            // Fails at once where nothing is connected; the client reconnects by its own backoff.
            self.consumer.poll(ATTEMPT / 5);
        }
    }
}

/// Serves the client's logs and errors that are waiting.
fn serve(consumer: &Consumer) {
    while consumer.poll(Duration::ZERO).is_some() {}
}

pub(super) fn denied(what: &str) -> Error {
    Error::configuration(format!("{what}: the broker does not allow us to"))
        .hint("grant `Describe` and `Read` on the topic to the user in `kafka.properties`")
}

/// Whether the broker does not let us use the group: by its answer, or by what it said of the coordinator.
fn is_denied(error: &KafkaError, diagnosis: &Diagnosis) -> bool {
    let told = diagnosis.recent(TIMEOUT).into_iter().map(|e| e.code);
    told.chain([error.rdkafka_error_code()])
        .any(|code| code == Some(RDKafkaErrorCode::GroupAuthorizationFailed))
}

/// Whether waiting longer cannot help: wrong credentials do not get better.
fn is_hopeless(diagnosis: &Diagnosis) -> bool {
    diagnosis.recent(TIMEOUT).iter().any(|e| {
        matches!(
            e.code,
            Some(
                RDKafkaErrorCode::Authentication
                    | RDKafkaErrorCode::SaslAuthenticationFailed
                    | RDKafkaErrorCode::UnsupportedSASLMechanism
                    | RDKafkaErrorCode::SSL
            )
        )
    })
}

#[cfg(test)]
mod tests {
    use strandline_operators::ErrorKind;

    use super::super::embedded::EmbeddedKafka;
    use super::*;

    #[test]
    fn an_unreachable_broker_is_an_error_within_ten_seconds_that_names_what_was_tried() {
        let started = Instant::now();
        // Port 9 (discard) is closed here as everywhere.
        let Err(error) = Cluster::connect(&KafkaSettings::new("127.0.0.1:9")) else {
            panic!("nobody is there")
        };
        assert!(started.elapsed() < Duration::from_secs(10));
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        assert!(error.to_string().contains("127.0.0.1:9"), "{error}");
        assert!(error.to_string().contains("refused"), "{error}");
        assert!(error.to_string().contains("hint:"), "{error}");
    }

    #[test]
    fn a_missing_topic_is_named_and_a_similar_one_suggested() {
        let kafka = EmbeddedKafka::start(&[("roman-numeral-events", 2)]).expect("kafka");
        let cluster = Cluster::connect(&kafka.settings()).expect("cluster");
        let error = cluster.topic("roman-numeral-event").expect_err("missing");
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        assert!(
            error
                .to_string()
                .contains("did you mean `roman-numeral-events`"),
            "{error}"
        );
    }

    #[test]
    fn topics_and_offsets_are_described() {
        let kafka = EmbeddedKafka::start(&[("t", 3)]).expect("kafka");
        let cluster = Cluster::connect(&kafka.settings()).expect("cluster");
        let topic = cluster.topic("t").expect("topic");
        assert_eq!(topic.partitions, [0, 1, 2]);
        let facts = cluster
            .facts(&[topic], "group", &StartingOffsets::Group)
            .expect("facts");
        assert_eq!(facts.len(), 3);
        assert!(
            facts
                .iter()
                .all(|f| f.log_start == 0 && f.end == 0 && f.group.is_none()),
            "{facts:?}"
        );
    }
}
