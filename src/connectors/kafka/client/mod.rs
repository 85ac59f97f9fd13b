//! The client: settings, and the properties that are ours to set.

mod producer;
mod trouble;

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::admin::AdminClient;
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use strandline_operators::{Error, Result};

use super::fetching::Fetching;

pub use producer::RecordProducer;
pub(super) use trouble::{Context, unreachable};
pub use trouble::{Diagnosis, PassingError};

/// librdkafka's property for how long a broker may leave a request without an answer. Then the connection is given up.
const SOCKET_TIMEOUT: &str = "socket.timeout.ms";

/// The same where something is only asked for: another broker may know it, and librdkafka's minute is longer than whoever
/// asks waits.
const ASKING_TIMEOUT_MS: &str = "10000";

/// Where Kafka is, as the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `kafka.bootstrap_servers`, `host:port` separated by commas.
    pub bootstrap_servers: String,
    /// `kafka.properties`, verbatim librdkafka properties.
    pub properties: BTreeMap<String, String>,
}

impl KafkaSettings {
    /// Settings without further properties.
    pub fn new(bootstrap_servers: impl Into<String>) -> KafkaSettings {
        KafkaSettings {
            bootstrap_servers: bootstrap_servers.into(),
            properties: BTreeMap::new(),
        }
    }

    /// Checks the properties without reaching for the network.
    ///
    /// # Errors
    /// Configuration errors: a property that would break a guarantee, or that librdkafka does not accept.
    pub fn validate(&self) -> Result<()> {
        self.base()?
            .create_native_config()
            .map(drop)
            .map_err(|e| creation_error(&e))
    }

    /// Properties common to all clients.
    fn base(&self) -> Result<ClientConfig> {
        if self.bootstrap_servers.trim().is_empty() {
            return Err(Error::configuration("`kafka.bootstrap_servers` is empty")
                .hint("set it to the brokers' addresses, such as localhost:9092"));
        }
        let mut config = ClientConfig::new();
        for (name, value) in &self.properties {
            if let Some(refusal) = refused_property(name, value) {
                return Err(Error::configuration(format!(
                    "`kafka.properties.{name}` cannot be `{value}`: {refusal}"
                ))
                .hint(format!("remove `{name}` from `kafka.properties`")));
            }
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.bootstrap_servers);
        if !self.properties.contains_key("client.id") {
            config.set("client.id", "strandline");
        }
        // Its own warnings (a consumer's property given to a producer) come back as log lines.
        config.set_log_level(RDKafkaLogLevel::Info);
        Ok(config)
    }

    /// A consumer that only asks questions: metadata, offsets. `group` only to read a group's offsets.
    pub(super) fn metadata_consumer(
        &self,
        group: Option<&str>,
        diagnosis: Arc<Diagnosis>,
    ) -> Result<Consumer> {
        let mut config = self.base()?;
        reading_properties(&mut config);
        if !self.properties.contains_key(SOCKET_TIMEOUT) {
            config.set(SOCKET_TIMEOUT, ASKING_TIMEOUT_MS);
        }
        if let Some(group) = group {
            config.set("group.id", group);
        }
        create(&config, Context::new(diagnosis))
    }

    /// A consumer that reads `partitions` partitions.
    pub(super) fn reading_consumer(
        &self,
        group: &str,
        partitions: usize,
        fetching: Fetching,
        context: Context,
    ) -> Result<Consumer> {
        create(&self.reading_config(group, partitions, fetching)?, context)
    }

    fn reading_config(
        &self,
        group: &str,
        partitions: usize,
        fetching: Fetching,
    ) -> Result<ClientConfig> {
        let mut config = self.base()?;
        reading_properties(&mut config);
        config.set("group.id", group);
        for (name, value) in fetching.properties(partitions) {
            if !self.properties.contains_key(name) {
                config.set(name, value);
            }
        }
        Ok(config)
    }

    /// A client for administration.
    pub(super) fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        create(&self.base()?, DefaultClientContext)
    }
}

/// What reading needs for the guarantees to hold.
fn reading_properties(config: &mut ClientConfig) {
    config
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "error")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("allow.auto.create.topics", "false");
}

/// Why a property may not have this value, if so.
fn refused_property(name: &str, value: &str) -> Option<&'static str> {
    let (allowed, why): (&[&str], &str) = match name {
        "bootstrap.servers" | "metadata.broker.list" => (&[], "`kafka.bootstrap_servers` sets it"),
        "group.id" => (&[], "the job's `group_id` sets it"),
        "isolation.level" => (
            &["read_committed"],
            "records of aborted transactions would land, and could not be taken back",
        ),
        "auto.offset.reset" => (
            &["error"],
            "a position that the broker no longer holds would be skipped in silence; see `on_gap`",
        ),
        "enable.auto.commit" | "auto.commit.enable" => (
            &["false"],
            "group offsets follow the table's commits, never run ahead of them",
        ),
        "enable.auto.offset.store" => (
            &["false"],
            "group offsets follow the table's commits, never run ahead of them",
        ),
        "enable.partition.eof" => (
            &["true"],
            "the end of a partition decides when it is idle and when a job has caught up",
        ),
        "enable.idempotence" => (
            &["true"],
            "a retry could write a dead letter twice or out of order",
        ),
        "acks" | "request.required.acks" => (
            &["all", "-1"],
            "an epoch commits only after its dead letters are safe on all replicas in sync",
        ),
        "log.queue" | "opaque" | "enabled_events" => {
            (&[], "it is part of how Strandline drives the client")
        }
        _ => return None,
    };
    let value = value.trim();
    if allowed.iter().any(|a| a.eq_ignore_ascii_case(value)) {
        None
    } else {
        Some(why)
    }
}

fn create<C, T>(config: &ClientConfig, context: C) -> Result<T>
where
    C: ClientContext,
    T: FromClientConfigAndContext<C>,
{
    config
        .create_with_context(context)
        .map_err(|e| creation_error(&e))
}

/// What librdkafka did not accept, without the values of secrets.
fn creation_error(error: &KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(_, description, name, value) => {
            let value = if is_secret(name) { "..." } else { value };
            Error::configuration(format!(
                "Kafka's client does not accept `kafka.properties.{name}: {value}`: {}",
                description.trim()
            ))
            .hint("the names and values are librdkafka's (CONFIGURATION.md in its repository)")
        }
        other => Error::configuration(format!("cannot create a Kafka client: {other}"))
            .hint("check `kafka.properties`"),
    }
}

fn is_secret(name: &str) -> bool {
    ["password", "secret", "pem", "token", "key", "jaas"]
        .iter()
        .any(|part| name.contains(part))
}

/// The consumer as all of this module uses it.
pub(super) type Consumer = BaseConsumer<Context>;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use strandline_operators::ErrorKind;

    use super::*;

    fn with(name: &str, value: &str) -> KafkaSettings {
        let mut settings = KafkaSettings::new("localhost:9092");
        settings
            .properties
            .insert(name.to_owned(), value.to_owned());
        settings
    }

    #[test]
    fn a_property_that_would_break_a_guarantee_is_refused_by_name() {
        for (name, value) in [
            ("isolation.level", "read_uncommitted"),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "true"),
            ("enable.auto.offset.store", "true"),
            ("enable.partition.eof", "false"),
            ("group.id", "mine"),
            ("bootstrap.servers", "elsewhere:9092"),
            ("acks", "1"),
            ("enable.idempotence", "false"),
        ] {
            let error = with(name, value).validate().expect_err(name);
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.message().contains(name), "{error}");
        }
        with("isolation.level", "read_committed")
            .validate()
            .expect("what we set ourselves is no error");
        with("fetch.wait.max.ms", "50")
            .validate()
            .expect("any other property goes through");
    }

    #[test]
    fn a_client_that_reads_fetches_as_it_is_told_unless_the_configuration_says_otherwise() {
        let fetching = Fetching {
            queue_bytes: 8 << 20,
            wait: Duration::from_millis(50),
        };
        let of = |settings: &KafkaSettings| {
            let config = settings.reading_config("group", 4, fetching);
            config.expect("a configuration")
        };
        let plain = of(&KafkaSettings::new("localhost:9092"));
        for (name, value) in fetching.properties(4) {
            assert_eq!(plain.get(name), Some(value.as_str()), "{name}");
        }
        assert_eq!(plain.get("isolation.level"), Some("read_committed"));
        assert_eq!(plain.get("group.id"), Some("group"));
        let own = of(&with("fetch.wait.max.ms", "7"));
        assert_eq!(own.get("fetch.wait.max.ms"), Some("7"));
        assert_eq!(own.get("fetch.min.bytes"), plain.get("fetch.min.bytes"));
    }

    #[test]
    fn an_unknown_property_or_value_is_a_configuration_error_and_shows_no_secret() {
        let error = with("fetch.wait.max.mss", "50")
            .validate()
            .expect_err("unknown");
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.message().contains("fetch.wait.max.mss"), "{error}");
        let error = with("ssl.key.pasword", "hunter2")
            .validate()
            .expect_err("unknown");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
