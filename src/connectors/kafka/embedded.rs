//! A Kafka broker inside this process, for the demo and light tests: librdkafka's mock cluster.
//!
//! It keeps only 5 MiB or 100,000 records a partition (hard-coded in librdkafka): whoever produces must
//! stay that close to the durable position, or retention passes the reader. It knows no admin requests;
//! topics are made here. Its cluster and topics have new ids with every start.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use strandline_operators::{Error, Result};

use super::client::KafkaSettings;

/// What the embedded broker keeps of a partition, in bytes.
pub const RETAINED_BYTES: u64 = 5 << 20;

/// What the embedded broker keeps of a partition, in records.
pub const RETAINED_RECORDS: u64 = 100_000;

/// An embedded broker; gone, with its records, when dropped.
pub struct EmbeddedKafka {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl EmbeddedKafka {
    /// Starts a broker on a free port of the loopback interface, with these topics and partition counts.
    pub fn start(topics: &[(&str, i32)]) -> Result<EmbeddedKafka> {
        let cluster = MockCluster::new(1)
            .map_err(|e| Error::internal(format!("cannot start the embedded Kafka: {e}")))?;
        let kafka = EmbeddedKafka { cluster };
        for (topic, partitions) in topics {
            kafka.create_topic(topic, *partitions)?;
        }
        Ok(kafka)
    }

    /// Makes a topic.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<()> {
        self.cluster
            .create_topic(topic, partitions, 1)
            .map_err(|e| {
                Error::internal(format!(
                    "cannot make topic `{topic}` in the embedded Kafka: {e}"
                ))
            })
    }

    /// Its address.
    pub fn bootstrap_servers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Settings that reach it.
    pub fn settings(&self) -> KafkaSettings {
        KafkaSettings::new(self.bootstrap_servers())
    }

    /// The cluster itself, to inject errors in tests.
    #[cfg(test)]
    pub(crate) fn cluster(&self) -> &MockCluster<'static, DefaultProducerContext> {
        &self.cluster
    }
}
