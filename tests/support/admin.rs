//! What happens to a topic besides records.

use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication, TopicResult,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::topic::{TIMEOUT, Topic};
use super::wait::wait_until;

impl Topic {
    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap_servers)
            .create()
            .expect("a Kafka client")
    }

    /// Creates a topic with settings of its own.
    #[track_caller]
    pub fn create_with(
        bootstrap_servers: &str,
        name: &str,
        partitions: i32,
        replication: TopicReplication<'_>,
        settings: &[(&str, &str)],
    ) -> Topic {
        let topic = Topic {
            name: name.to_owned(),
            bootstrap_servers: bootstrap_servers.to_owned(),
        };
        topic
            .try_create(partitions, replication, settings)
            .unwrap_or_else(|e| panic!("cannot create topic `{name}`: {e}"));
        topic
    }

    fn try_create(
        &self,
        partitions: i32,
        replication: TopicReplication<'_>,
        settings: &[(&str, &str)],
    ) -> Result<(), RDKafkaErrorCode> {
        let mut topic = NewTopic::new(&self.name, partitions, replication);
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let admin = self.admin();
        let created = admin.create_topics([&topic], &options());
        one(futures::executor::block_on(created))
    }

    /// Deletes the topic.
    #[track_caller]
    pub fn delete(&self) {
        let admin = self.admin();
        let deleted = admin.delete_topics(&[&self.name], &options());
        one(futures::executor::block_on(deleted))
            .unwrap_or_else(|e| panic!("cannot delete topic `{}`: {e}", self.name));
    }

    /// Deletes the topic and creates it again, with another id.
    #[track_caller]
    pub fn create_again(&self, partitions: i32) {
        self.delete();
        // The name is free once the deletion is through.
        wait_until("the topic to be created again", TIMEOUT, || {
            match self.try_create(partitions, TopicReplication::Fixed(1), &[]) {
                Ok(()) => Some(()),
                Err(RDKafkaErrorCode::TopicAlreadyExists) => None,
                Err(e) => panic!("cannot create topic `{}` again: {e}", self.name),
            }
        });
    }

    /// Adds partitions, up to `partitions` in all.
    #[track_caller]
    pub fn grow_to(&self, partitions: usize) {
        let admin = self.admin();
        let grown = NewPartitions::new(&self.name, partitions);
        let created = admin.create_partitions([&grown], &options());
        one(futures::executor::block_on(created))
            .unwrap_or_else(|e| panic!("cannot add partitions to `{}`: {e}", self.name));
    }

    /// Deletes the records of a partition below an offset, as retention would.
    #[track_caller]
    pub fn delete_records(&self, partition: i32, below: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name, partition, Offset::Offset(below))
            .expect("an offset");
        let admin = self.admin();
        let deleted = futures::executor::block_on(admin.delete_records(&list, &options()))
            .unwrap_or_else(|e| panic!("cannot delete records of `{}`: {e}", self.name));
        for element in deleted.elements() {
            element.error().expect("records deleted");
        }
    }

    /// Has a consumer group stand at an offset, as another consumer of it would leave it.
    #[track_caller]
    pub fn commit_group(&self, group: &str, partition: i32, offset: i64) {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .create()
            .expect("a Kafka consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name, partition, Offset::Offset(offset))
            .expect("a partition");
        consumer.commit(&list, CommitMode::Sync).expect("commit");
    }

    /// Waits until a broker leads all partitions.
    #[track_caller]
    pub fn wait_until_led_by(&self, broker: i32) {
        let admin = self.admin();
        wait_until(&format!("broker {broker} to lead"), BROKER_DEADLINE, || {
            let client = admin.inner();
            let metadata = client.fetch_metadata(Some(&self.name), TIMEOUT).ok()?;
            let topic = metadata.topics().first()?;
            let led = topic.partitions().iter().all(|p| p.leader() == broker);
            (led && !topic.partitions().is_empty()).then_some(())
        });
    }

    /// The offsets of a partition that hold records which a `read_committed` reader sees.
    #[track_caller]
    pub fn offsets(&self, partition: i32) -> Vec<i64> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("group.id", "strandline-tests")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .create()
            .expect("a Kafka consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name, partition, Offset::Beginning)
            .expect("a partition");
        consumer.assign(&list).expect("assign");
        let mut offsets = Vec::new();
        loop {
            match consumer.poll(TIMEOUT) {
                Some(Ok(message)) => offsets.push(message.offset()),
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(e)) => panic!("cannot read `{}`: {e}", self.name),
                None => panic!("`{}` was silent for {TIMEOUT:?}", self.name),
            }
        }
        offsets
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(TIMEOUT))
        .request_timeout(Some(TIMEOUT))
}

/// The result of a request about one thing.
fn one(results: Result<Vec<TopicResult>, KafkaError>) -> Result<(), RDKafkaErrorCode> {
    let results = results.expect("an answer of the broker");
    results
        .into_iter()
        .try_for_each(|result| result.map(drop).map_err(|(_, code)| code))
}

/// How long something that a broker does by itself may take.
pub const BROKER_DEADLINE: Duration = Duration::from_secs(180);
