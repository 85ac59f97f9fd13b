//! How far the job is: what it has told Kafka, and what it could go on from.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::Outcome;
use crate::harness::PARTITIONS;
use crate::support::Topic;

/// How long the broker may take for one answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The offsets that the job's checkpoints tell Kafka.
pub struct Position {
    consumer: BaseConsumer,
    topic: String,
}

impl Position {
    /// Of the job that reads a topic.
    ///
    /// # Errors
    /// No Kafka client.
    pub fn of(topic: &Topic) -> Outcome<Position> {
        let consumer = ClientConfig::new()
            .set("bootstrap.servers", &topic.bootstrap_servers)
            // As the job calls it.
            .set("group.id", format!("flink-{}", topic.name))
            .set("enable.auto.commit", "false")
            .set("reconnect.backoff.max.ms", "500")
            // The broker's deaths are ours.
            .set("log_level", "2")
            .create()?;
        Ok(Position {
            consumer,
            topic: topic.name.clone(),
        })
    }

    /// Whether a complete checkpoint holds everything that is in the topic.
    ///
    /// # Errors
    /// The broker does not answer.
    pub fn is_at_end(&self) -> Outcome<bool> {
        let mut asked = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            asked.add_partition(&self.topic, partition);
        }
        let told = self.consumer.committed_offsets(asked, TIMEOUT)?;
        for partition in 0..PARTITIONS {
            let (_, end) = self
                .consumer
                .fetch_watermarks(&self.topic, partition, TIMEOUT)?;
            let told = told.find_partition(&self.topic, partition);
            let is_at_end = told.is_some_and(|told| told.offset() == Offset::Offset(end));
            // Nothing is told of a partition that is empty.
            if end > 0 && !is_at_end {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The newest complete checkpoint of any life of the job, with its number: its folder has the file that is written last.
///
/// # Errors
/// A folder that cannot be read.
pub fn newest_checkpoint(folder: &Path) -> Outcome<Option<(u64, PathBuf)>> {
    let mut newest: Option<(u64, PathBuf)> = None;
    for job in folders(folder)? {
        for checkpoint in folders(&job)? {
            // Numbers go on when a job goes on from a checkpoint.
            if let Some(number) = number_of(&checkpoint)
                && newest.as_ref().is_none_or(|(newest, _)| number > *newest)
                && checkpoint.join("_metadata").is_file()
            {
                newest = Some((number, checkpoint));
            }
        }
    }
    Ok(newest)
}

/// The number of a checkpoint, by its folder's name.
fn number_of(checkpoint: &Path) -> Option<u64> {
    let name = checkpoint.file_name()?.to_str()?;
    name.strip_prefix("chk-")?.parse().ok()
}

/// What a folder holds; nothing when it is not there.
fn folders(folder: &Path) -> Outcome<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        found.push(entry?.path());
    }
    Ok(found)
}
