//! Topics, and records in them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::unique;

/// How long the broker may take for one request of a test's own.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// A topic of the test's own.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// The broker it is on.
    pub bootstrap_servers: String,
}

/// A record to be produced. A value of `None` is a tombstone.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The partition.
    pub partition: i32,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// The timestamp in milliseconds since 1970; the time of producing when `None`.
    pub timestamp_ms: Option<i64>,
    /// The headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Creates a topic named `prefix-...` on the shared broker.
#[track_caller]
pub fn create_topic(prefix: &str, partitions: i32) -> Topic {
    Topic::create(
        &super::stack().bootstrap_servers,
        &unique(prefix),
        partitions,
    )
}

impl Topic {
    /// Creates a topic.
    #[track_caller]
    pub fn create(bootstrap_servers: &str, name: &str, partitions: i32) -> Topic {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", bootstrap_servers)
            .create()
            .expect("a Kafka client");
        let options = AdminOptions::new()
            .operation_timeout(Some(TIMEOUT))
            .request_timeout(Some(TIMEOUT));
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let created = futures::executor::block_on(admin.create_topics([&topic], &options))
            .unwrap_or_else(|e| panic!("cannot create topic `{name}` at {bootstrap_servers}: {e}"));
        for result in created {
            result.unwrap_or_else(|(name, e)| {
                panic!("cannot create topic `{name}` at {bootstrap_servers}: {e}")
            });
        }
        Topic {
            name: name.to_owned(),
            bootstrap_servers: bootstrap_servers.to_owned(),
        }
    }

    /// Produces the messages, each once, in their order, and returns when the broker has all of them.
    #[track_caller]
    pub fn produce(&self, messages: impl IntoIterator<Item = Message>) {
        let producer: BaseProducer<Undelivered> = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("message.max.bytes", "16777216")
            .create_with_context(Undelivered::default())
            .expect("a Kafka producer");
        for message in messages {
            send(&producer, &self.name, &message);
        }
        producer
            .flush(TIMEOUT)
            .unwrap_or_else(|e| panic!("cannot produce to `{}`: {e}", self.name));
        let undelivered = producer.context().0.load(Ordering::SeqCst);
        assert_eq!(undelivered, 0, "messages that `{}` did not take", self.name);
    }
}

#[track_caller]
pub fn send<C>(producer: &BaseProducer<C>, topic: &str, message: &Message)
where
    C: ProducerContext<DeliveryOpaque = ()>,
{
    let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(message.partition);
    record.key = message.key.as_deref();
    record.payload = message.value.as_deref();
    record.timestamp = message.timestamp_ms;
    if !message.headers.is_empty() {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &message.headers {
            headers = headers.insert(Header {
                key,
                value: value.as_ref(),
            });
        }
        record.headers = Some(headers);
    }
    while let Err((error, unsent)) = producer.send(record) {
        assert_eq!(
            error,
            KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull),
            "cannot produce to `{topic}`"
        );
        producer.poll(Duration::from_millis(100));
        record = unsent;
    }
    producer.poll(Duration::ZERO);
}

/// Counts the messages that the broker refused.
#[derive(Default)]
struct Undelivered(AtomicU64);

impl ClientContext for Undelivered {}

impl ProducerContext for Undelivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            eprintln!("not delivered: {error}");
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}
