//! The port [`Topics`] on Kafka: the ids of topics, asked before each commit.

use std::collections::BTreeMap;

use strandline_operators::Result;
use strandline_operators::io::Topics;

use super::client::KafkaSettings;
use super::metadata::Cluster;

/// Asks for the ids of topics, with a client of its own, opened when it is first asked.
pub struct KafkaTopics {
    settings: KafkaSettings,
    cluster: Option<Cluster>,
}

impl KafkaTopics {
    /// Nothing is connected yet.
    pub fn new(settings: &KafkaSettings) -> KafkaTopics {
        KafkaTopics {
            settings: settings.clone(),
            cluster: None,
        }
    }
}

impl Topics for KafkaTopics {
    fn ids(&mut self, names: &[&str]) -> Result<BTreeMap<String, String>> {
        let cluster = match &mut self.cluster {
            Some(cluster) => cluster,
            none => none.insert(Cluster::connect(&self.settings)?),
        };
        cluster.serve();
        cluster.topic_ids(names)
    }
}
