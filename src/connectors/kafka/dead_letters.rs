//! The dead-letter topic. At least once: an epoch commits only after [`DeadLetterTopic::flush`], so a
//! crash between the two writes its letters again. Coordinates of the source make the copies known.

use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::admin::{AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::BaseRecord;
use strandline_operators::io::DeadLetterTopic;
use strandline_operators::record::DeadLetter;
use strandline_operators::{Error, Result};

use super::client::{KafkaSettings, RecordProducer};
use super::metadata::{Cluster, TIMEOUT};

/// How a dead letter is written: the letter and the job's name to JSON.
pub type ToJson = fn(&DeadLetter, &str) -> Vec<u8>;

/// How long the broker may take to acknowledge the letters of an epoch: as long as a broker may be down, and
/// less than an epoch may take to become durable before the watch ends the job (`HANG_TIMEOUT`).
const FLUSH_TIMEOUT: Duration = Duration::from_secs(90);

/// Kafka's default of a topic's `max.message.bytes`, for brokers that do not tell.
const DEFAULT_MAX_MESSAGE_BYTES: usize = 1_048_588;

/// Room for what a record batch adds to key and value.
const BATCH_OVERHEAD: usize = 512;

/// The dead-letter topic of a job.
pub struct KafkaDeadLetters {
    producer: RecordProducer,
    topic: String,
    job: String,
    to_json: ToJson,
    /// The largest key and value, together, that the topic takes. Bytes.
    max_bytes: usize,
}

impl KafkaDeadLetters {
    /// Opens the topic; creates it, with one partition, when it does not exist.
    ///
    /// # Errors
    /// Unreachable, or configuration when we may not create it.
    pub fn open(
        settings: &KafkaSettings,
        topic: &str,
        job: &str,
        to_json: ToJson,
    ) -> Result<KafkaDeadLetters> {
        let cluster = Cluster::connect(settings)?;
        if !cluster.has_topic(topic)? {
            create_topic(settings, topic)?;
        }
        let told = match cluster.has_controller()? {
            true => max_message_bytes(settings, topic),
            false => None,
        };
        let max_message_bytes = told.unwrap_or(DEFAULT_MAX_MESSAGE_BYTES);
        let producer = RecordProducer::open(
            settings,
            &[
                ("linger.ms", "5"),
                ("compression.type", "lz4"),
                ("message.max.bytes", &max_message_bytes.to_string()),
            ],
        )?;
        let max_bytes = max_message_bytes.saturating_sub(BATCH_OVERHEAD);
        Ok(KafkaDeadLetters {
            producer,
            topic: topic.to_owned(),
            job: job.to_owned(),
            to_json,
            max_bytes,
        })
    }

    fn what(&self) -> String {
        format!("cannot write dead letters to topic `{}`", self.topic)
    }

    /// The letter's JSON; without its payload when the topic would not take it, because a letter that is
    /// never taken would hold the job for ever. The table of dead letters has the payload.
    fn value(&self, letter: &DeadLetter) -> Vec<u8> {
        let json = (self.to_json)(letter, &self.job);
        let key = letter.key.as_ref().map_or(0, Vec::len);
        if json.len() + key <= self.max_bytes {
            return json;
        }
        let size = letter.payload.as_ref().map_or(0, Vec::len);
        let shortened = DeadLetter {
            payload: None,
            message: format!(
                "{} (payload of {size} bytes left out: larger than the topic takes)",
                letter.message
            ),
            ..letter.clone()
        };
        (self.to_json)(&shortened, &self.job)
    }

    fn send_one(&self, letter: &DeadLetter) -> Result<()> {
        let value = self.value(letter);
        let started = Instant::now();
        loop {
            let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic).payload(&value);
            // A key beyond the limit cannot be kept either.
            if let Some(key) = letter
                .key
                .as_ref()
                .filter(|k| k.len() + value.len() <= self.max_bytes)
            {
                record = record.key(key);
            }
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => {
                    self.producer.wait(Duration::from_millis(5));
                    self.producer.check(&self.what())?;
                    if started.elapsed() >= FLUSH_TIMEOUT {
                        return Err(self.producer.unanswered(&self.what(), None, FLUSH_TIMEOUT));
                    }
                }
                Err(error) => {
                    return Err(self.producer.unanswered(
                        &self.what(),
                        Some(&error),
                        started.elapsed(),
                    ));
                }
            }
        }
    }
}

impl DeadLetterTopic for KafkaDeadLetters {
    fn send(&mut self, letters: &[DeadLetter]) -> Result<()> {
        for letter in letters {
            self.send_one(letter)?;
        }
        self.producer.serve();
        self.producer.check(&self.what())
    }

    fn flush(&mut self) -> Result<()> {
        self.producer.flush(&self.what(), FLUSH_TIMEOUT)
    }
}

/// Creates a topic with one partition and the broker's own replication factor.
fn create_topic(settings: &KafkaSettings, topic: &str) -> Result<()> {
    let admin = settings.admin()?;
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(-1));
    let options = AdminOptions::new()
        .request_timeout(Some(TIMEOUT))
        .operation_timeout(Some(TIMEOUT));
    let what = format!("cannot create topic `{topic}` for dead letters");
    let hint = format!(
        "create it: kafka-topics --create --topic {topic} --bootstrap-server {}",
        settings.bootstrap_servers
    );
    let results = block_on(admin.create_topics([&new], &options))
        .map_err(|error| Error::unreachable(format!("{what}: {error}")).hint(hint.clone()))?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((
                _,
                code @ (RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed),
            )) => {
                return Err(Error::configuration(format!("{what}: {code}")).hint(hint));
            }
            Err((_, code)) => return Err(Error::unreachable(format!("{what}: {code}")).hint(hint)),
        }
    }
    tracing::info!(topic, "created the topic for dead letters");
    Ok(())
}

/// The largest record batch that a topic takes, in bytes; `None` when the broker does not tell.
fn max_message_bytes(settings: &KafkaSettings, topic: &str) -> Option<usize> {
    let admin = settings.admin().ok()?;
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let configs =
        block_on(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options)).ok()?;
    let config = configs.into_iter().next()?.ok()?;
    config
        .get("max.message.bytes")?
        .value
        .as_ref()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use strandline_operators::ErrorKind;
    use strandline_operators::record::{ErrorType, TopicPartition};
    use strandline_operators::time::EventTime;

    use super::super::embedded::EmbeddedKafka;
    use super::super::peek::{self, PeekFrom};
    use super::*;

    fn to_json(letter: &DeadLetter, job: &str) -> Vec<u8> {
        let payload = letter.payload.as_deref().map(String::from_utf8_lossy);
        format!("{job}:{}:{:?}:{}", letter.offset, payload, letter.message).into_bytes()
    }

    fn letter(offset: i64, payload: Vec<u8>) -> DeadLetter {
        DeadLetter {
            source: TopicPartition::new("t", 0),
            offset,
            timestamp: None,
            key: Some(b"key".to_vec()),
            payload: Some(payload),
            error_type: ErrorType::Malformed,
            message: "found".to_owned(),
            failed_at: EventTime(0),
        }
    }

    #[test]
    fn flushed_letters_are_on_the_topic_with_their_keys_and_a_huge_one_without_its_payload() {
        let kafka = EmbeddedKafka::start(&[("dlq", 1)]).expect("kafka");
        let mut topic =
            KafkaDeadLetters::open(&kafka.settings(), "dlq", "job", to_json).expect("open");
        topic
            .send(&[letter(7, b"{".to_vec()), letter(8, vec![b'x'; 2 << 20])])
            .expect("send");
        topic.flush().expect("flush");
        let records = peek::records(
            &kafka.settings(),
            "dlq",
            None,
            PeekFrom::Earliest,
            10,
            Duration::from_secs(10),
        )
        .expect("peek");
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].key.as_deref(), Some(b"key".as_slice()));
        assert_eq!(
            records[0].value.as_deref(),
            Some(b"job:7:Some(\"{\"):found".as_slice())
        );
        let second =
            String::from_utf8_lossy(records[1].value.as_deref().unwrap_or_default()).into_owned();
        assert!(
            second.contains("payload of 2097152 bytes left out"),
            "{second}"
        );
    }

    #[test]
    fn a_broker_that_acknowledges_nothing_fails_the_flush() {
        let kafka = EmbeddedKafka::start(&[("dlq", 1)]).expect("kafka");
        let mut topic =
            KafkaDeadLetters::open(&kafka.settings(), "dlq", "job", to_json).expect("open");
        kafka
            .cluster()
            .topic_error(
                "dlq",
                rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            )
            .expect("topic error");
        let code = rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        kafka
            .cluster()
            .request_errors(rdkafka::types::RDKafkaApiKey::Produce, &[code; 10]);
        topic.send(&[letter(7, b"{".to_vec())]).expect("queued");
        let error = topic.flush().expect_err("not acknowledged");
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    }
}
