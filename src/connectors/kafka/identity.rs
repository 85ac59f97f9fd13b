//! The ids of topics: told at the start, and asked for again before each commit.

use std::collections::BTreeMap;
use std::time::Duration;

use strandline_operators::io::Topics;
use strandline_operators::{Error, Result};

use super::describe::Described;
use super::metadata::{Cluster, denied};

/// How long a broker may take to tell ids. At the start not worth waiting longer, since they may be left out; before a
/// commit another broker is asked.
pub(super) const TOPIC_ID_TIMEOUT: Duration = Duration::from_secs(3);

/// The id of a topic as a broker tells it, if it does.
pub(super) fn topic_id(
    cluster: &Cluster,
    broker: i32,
    name: &str,
    timeout: Duration,
) -> Option<String> {
    let why = match cluster.describe(broker, &[name], timeout).as_deref() {
        Ok([Described::Id(id)]) => return Some(id.clone()),
        Ok([Described::NoId]) => return None,
        Ok(other) => format!("{other:?}"),
        Err(why) => why.clone(),
    };
    tracing::warn!(
        topic = name,
        "Kafka does not tell the topic's id, so whether it was created again cannot be told: {why}"
    );
    None
}

/// Asks for the ids of topics, the same broker as long as it answers.
pub struct KafkaTopics {
    cluster: Cluster,
    broker: Option<i32>,
}

impl KafkaTopics {
    /// Asks with a client that is connected already, so that the first commit need not wait for it.
    pub fn new(cluster: Cluster) -> KafkaTopics {
        KafkaTopics {
            cluster,
            broker: None,
        }
    }
}

impl Topics for KafkaTopics {
    fn ids(&mut self, names: &[&str]) -> Result<BTreeMap<String, Option<String>>> {
        let Some(&first) = names.first() else {
            return Ok(BTreeMap::new());
        };
        self.cluster.serve();
        let failed = |why: String| {
            let servers = self.cluster.servers();
            let last = self.cluster.complaint();
            let complaint = last.map_or_else(String::new, |last| format!(" ({last})"));
            Error::unreachable(format!(
                "Kafka at {servers} tells no ids of topics: {why}{complaint}"
            ))
        };
        let broker = match self.broker.take() {
            Some(broker) => broker,
            None => self
                .cluster
                .any_broker(first, TOPIC_ID_TIMEOUT)
                .map_err(|error| failed(error.to_string()))?,
        };
        let described = self
            .cluster
            .describe(broker, names, TOPIC_ID_TIMEOUT)
            .map_err(failed)?;
        let mut ids = BTreeMap::new();
        for (&name, described) in names.iter().zip(described) {
            let id = match described {
                Described::Id(id) => Some(id),
                Described::NoId => None,
                Described::Unknown => continue,
                Described::Denied => return Err(denied(&format!("cannot read topic `{name}`"))),
                Described::Failed(why) => {
                    return Err(Error::unreachable(format!(
                        "Kafka tells no id of topic `{name}`: {why}"
                    )));
                }
            };
            ids.insert(name.to_owned(), id);
        }
        if ids.len() == names.len() {
            self.broker = Some(broker);
        }
        Ok(ids)
    }
}
