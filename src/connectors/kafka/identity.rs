//! The port [`Topics`] on Kafka: the ids of topics, asked before each commit.

use std::collections::BTreeMap;

use strandline_operators::Result;
use strandline_operators::io::Topics;

use super::metadata::Cluster;

/// Asks for the ids of topics.
pub struct KafkaTopics(Cluster);

impl KafkaTopics {
    /// Asks with a client that is connected already, so that the first commit need not wait for it.
    pub fn new(cluster: Cluster) -> KafkaTopics {
        KafkaTopics(cluster)
    }
}

impl Topics for KafkaTopics {
    fn ids(&mut self, names: &[&str]) -> Result<BTreeMap<String, Option<String>>> {
        self.0.serve();
        self.0.topic_ids(names)
    }
}
