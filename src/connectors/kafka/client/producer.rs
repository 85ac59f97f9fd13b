//! A producer that loses nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use strandline_operators::{Error, Result};

use super::trouble::{Diagnosis, trace_log, unreachable};
use super::{KafkaSettings, create};

/// A producer, with what it has to say about its deliveries.
pub struct RecordProducer {
    producer: BaseProducer<DeliveryContext>,
    settings: KafkaSettings,
}

impl RecordProducer {
    /// A producer that loses nothing: idempotent, acknowledged by all replicas in sync. `overrides` are
    /// librdkafka properties.
    pub(in super::super) fn open(
        settings: &KafkaSettings,
        overrides: &[(&str, &str)],
    ) -> Result<RecordProducer> {
        let mut config = settings.base()?;
        config.set("enable.idempotence", "true").set("acks", "all");
        for (name, value) in overrides {
            if !settings.properties.contains_key(*name) {
                config.set(*name, *value);
            }
        }
        let producer = create(&config, DeliveryContext::default())?;
        Ok(RecordProducer {
            producer,
            settings: settings.clone(),
        })
    }

    /// A producer for many records.
    pub(crate) fn bulk(settings: &KafkaSettings) -> Result<RecordProducer> {
        RecordProducer::open(
            settings,
            &[
                // A report for every record costs as much as making it; failures are reported all the same.
                ("delivery.report.only.error", "true"),
                ("compression.type", "lz4"),
                ("linger.ms", "20"),
                ("batch.size", "1000000"),
                ("batch.num.messages", "20000"),
                ("queue.buffering.max.messages", "200000"),
                ("queue.buffering.max.kbytes", "131072"),
            ],
        )
    }

    /// Queues a record.
    pub(crate) fn send(&self, record: BaseRecord<'_, [u8], [u8]>) -> KafkaResult<()> {
        self.producer.send(record).map_err(|(error, _)| error)
    }

    /// Serves what is waiting: acknowledgements, logs, errors.
    pub(crate) fn serve(&self) {
        self.producer.poll(Duration::ZERO);
    }

    /// Serves what comes in for so long.
    pub(crate) fn wait(&self, time: Duration) {
        self.producer.poll(time);
    }

    /// Records queued or sent, but not yet acknowledged.
    pub(crate) fn unacknowledged(&self) -> usize {
        usize::try_from(self.producer.in_flight_count()).unwrap_or(0)
    }

    /// Whether every record so far was delivered or is still on its way.
    pub(crate) fn check(&self, what: &str) -> Result<()> {
        match self.producer.context().take_failure() {
            None => Ok(()),
            Some(error) => Err(self.delivery_error(what, &error)),
        }
    }

    /// Returns when every record sent before is acknowledged.
    pub(crate) fn flush(&self, what: &str, timeout: Duration) -> Result<()> {
        let started = Instant::now();
        let result = self.producer.flush(timeout);
        self.check(what)?;
        result.map_err(|error| self.unanswered(what, Some(&error), started.elapsed()))
    }

    /// The error for a broker that acknowledges nothing.
    pub(crate) fn unanswered(
        &self,
        what: &str,
        error: Option<&KafkaError>,
        after: Duration,
    ) -> Error {
        unreachable(
            what,
            &self.settings,
            &self.producer.context().diagnosis,
            error,
            after,
        )
    }

    fn delivery_error(&self, what: &str, error: &KafkaError) -> Error {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition,
            ) => Error::unreachable(format!("{what}: the topic or partition does not exist"))
                .hint("create the topic"),
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                Error::configuration(format!("{what}: the broker does not allow us to"))
                    .hint("grant `Write` on the topic to the user in `kafka.properties`")
            }
            _ => self.unanswered(what, Some(error), Duration::ZERO),
        }
    }
}

/// The context of a producer: keeps the first failure.
#[derive(Default)]
struct DeliveryContext {
    diagnosis: Arc<Diagnosis>,
    /// The first record that could not be delivered.
    failure: Mutex<Option<KafkaError>>,
}

impl DeliveryContext {
    fn take_failure(&self) -> Option<KafkaError> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl ClientContext for DeliveryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        trace_log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{error}: {reason}");
        self.diagnosis.report(error.rdkafka_error_code(), reason);
    }
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _opaque: ()) {
        if let Err((error, _)) = result {
            self.failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert_with(|| error.clone());
        }
    }
}
