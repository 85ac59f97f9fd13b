//! The client: settings, the properties that are ours to set, librdkafka's logs and errors.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::AdminClient;
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use strandline_operators::{Error, Result};

use super::fetching::Fetching;

/// Errors this old may still be the cause of what fails now: librdkafka does not repeat itself often.
const RECENT: Duration = Duration::from_secs(30);

/// Errors kept by [`Diagnosis`].
const MAX_REMEMBERED_ERRORS: usize = 32;

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

/// An error that librdkafka is still retrying by itself.
#[derive(Clone, Debug)]
pub struct PassingError {
    /// When it was reported last.
    pub at: Instant,
    /// librdkafka's code.
    pub code: Option<RDKafkaErrorCode>,
    /// librdkafka's text; names the broker.
    pub text: String,
}

/// What librdkafka reported and retries by itself: the cause of a stall, when there is one.
#[derive(Debug, Default)]
pub struct Diagnosis {
    errors: Mutex<VecDeque<PassingError>>,
    losses: AtomicU64,
}

impl Diagnosis {
    /// Remembers an error; the same text again only renews its time.
    pub(super) fn report(&self, code: Option<RDKafkaErrorCode>, text: &str) {
        if code == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.losses.fetch_add(1, Ordering::Relaxed);
        }
        let mut errors = self.lock();
        errors.retain(|e| e.text != text);
        if errors.len() == MAX_REMEMBERED_ERRORS {
            errors.pop_front();
        }
        errors.push_back(PassingError {
            at: Instant::now(),
            code,
            text: text.to_owned(),
        });
    }

    /// The errors reported within the last `age`, oldest first.
    pub fn recent(&self, age: Duration) -> Vec<PassingError> {
        self.lock()
            .iter()
            .filter(|e| e.at.elapsed() <= age)
            .cloned()
            .collect()
    }

    /// The text of the last error that says more than that all brokers are down.
    pub fn last(&self) -> Option<String> {
        let errors = self.lock();
        let telling = |e: &&PassingError| e.code != Some(RDKafkaErrorCode::AllBrokersDown);
        errors
            .iter()
            .rev()
            .find(telling)
            .or_else(|| errors.back())
            .map(|e| e.text.clone())
    }

    /// Whether the client has lost its last broker within the last `age`, and said so since.
    pub fn has_lost_brokers(&self, age: Duration) -> bool {
        let is_loss = |e: &PassingError| e.code == Some(RDKafkaErrorCode::AllBrokersDown);
        let errors = self.lock();
        errors.iter().any(|e| is_loss(e) && e.at.elapsed() <= age)
    }

    /// How often the client has lost its last broker. It goes on trying by itself.
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<PassingError>> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What librdkafka calls back: logs go to `tracing`, errors to the [`Diagnosis`].
pub(super) struct Context {
    diagnosis: Arc<Diagnosis>,
}

impl Context {
    pub(super) fn new(diagnosis: Arc<Diagnosis>) -> Context {
        Context { diagnosis }
    }
}

/// Where librdkafka's log lines go.
pub(super) fn trace_log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    // A consumer's property given to a producer, and lost connections that are told as errors besides.
    if facility == "CONFWARN" {
        tracing::debug!(target: "librdkafka", facility, "{message}");
        return;
    }
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
            tracing::warn!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        trace_log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{error}: {reason}");
        self.diagnosis.report(error.rdkafka_error_code(), reason);
    }
}

impl ConsumerContext for Context {}

/// A producer, with what it has to say about its deliveries.
pub struct RecordProducer {
    producer: BaseProducer<DeliveryContext>,
    settings: KafkaSettings,
}

impl RecordProducer {
    /// A producer that loses nothing: idempotent, acknowledged by all replicas in sync. `overrides` are
    /// librdkafka properties.
    pub(super) fn open(
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

/// Turns what a client could not do into an error a person can act on: unreachable broker, an address
/// that it advertises but that does not answer, wrong credentials.
pub(super) fn unreachable(
    what: &str,
    settings: &KafkaSettings,
    diagnosis: &Diagnosis,
    error: Option<&KafkaError>,
    after: Duration,
) -> Error {
    let bootstrap = &settings.bootstrap_servers;
    let texts = diagnosis.recent(after.max(RECENT));
    let is_code = |wanted: &[RDKafkaErrorCode]| {
        texts
            .iter()
            .filter_map(|e| e.code)
            .chain(error.and_then(KafkaError::rdkafka_error_code))
            .any(|c| wanted.contains(&c))
    };
    let found = diagnosis
        .last()
        .or_else(|| error.map(KafkaError::to_string))
        .unwrap_or_else(|| "no answer".to_owned());
    let seconds = after.as_secs().max(1);
    if is_code(&[
        RDKafkaErrorCode::Authentication,
        RDKafkaErrorCode::SaslAuthenticationFailed,
        RDKafkaErrorCode::UnsupportedSASLMechanism,
    ]) {
        return Error::configuration(format!(
            "{what}: `{bootstrap}` refuses our credentials: {found}"
        ))
        .hint("check `sasl.mechanism`, `sasl.username` and `sasl.password` in `kafka.properties`");
    }
    if is_code(&[RDKafkaErrorCode::SSL]) {
        return Error::configuration(format!("{what}: no TLS with `{bootstrap}`: {found}"))
            .hint("check `security.protocol` and `ssl.ca.location` in `kafka.properties`");
    }
    // librdkafka's errors begin with `[security://]host:port/broker`. The bootstrap entries have the word
    // `bootstrap` for a broker, an advertised address has the broker's id.
    let advertised = texts
        .iter()
        .rev()
        .find_map(|e| advertised_address(&e.text).map(|address| (address, &e.text)));
    if let Some((address, text)) = advertised
        && !bootstrap.split(',').any(|b| same_address(b, address))
    {
        return Error::unreachable(format!(
            "{what}: a broker answers at `{bootstrap}`, but advertises `{address}`, which cannot be reached from here: {text}"
        ))
        .hint(format!(
            "set `advertised.listeners` on the broker, or run where `{address}` can be reached"
        ))
        .context(format!("after {seconds} s"));
    }
    // What a listener that wants another protocol closes without a word leaves nothing else to be said.
    let hint = if found.ends_with("brokers are down") {
        "start the broker, or set `kafka.bootstrap_servers`; if it is up, its listener may want TLS or SASL: set `security.protocol` in `kafka.properties`"
    } else {
        "start the broker, or set `kafka.bootstrap_servers`"
    };
    Error::unreachable(format!(
        "{what}: no broker can be reached at `{bootstrap}`: {found}"
    ))
    .hint(hint)
    .context(format!("after {seconds} s"))
}

/// The address in an error about a broker that metadata named: `host:port` of `host:port/7: Connect ...`.
fn advertised_address(text: &str) -> Option<&str> {
    let (before, after) = text.split_once('/').map(|(a, b)| {
        // `sasl_ssl://host:port/7`
        if a.ends_with(':') {
            b.trim_start_matches('/').split_once('/').unwrap_or((b, ""))
        } else {
            (a, b)
        }
    })?;
    let broker = after.split(':').next()?;
    let is_id = !broker.is_empty() && broker.bytes().all(|b| b.is_ascii_digit());
    (is_id && before.contains(':') && !before.contains(' ')).then_some(before)
}

fn same_address(bootstrap: &str, address: &str) -> bool {
    let bare = bootstrap.trim();
    let bare = bare.rsplit_once("://").map_or(bare, |(_, b)| b);
    // librdkafka's default port.
    let with_port = if bare.contains(':') {
        bare.to_owned()
    } else {
        format!("{bare}:9092")
    };
    with_port.eq_ignore_ascii_case(address)
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn an_advertised_address_is_told_apart_from_a_bootstrap_address() {
        assert_eq!(
            advertised_address(
                "kafka:29092/1: Failed to resolve 'kafka:29092': Name or service not known"
            ),
            Some("kafka:29092")
        );
        assert_eq!(
            advertised_address("sasl_ssl://kafka:29092/12: Connect to ipv4#10.0.0.1:29092 failed"),
            Some("kafka:29092")
        );
        assert_eq!(
            advertised_address("localhost:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed"),
            None
        );
        assert_eq!(advertised_address("1/1 brokers are down"), None);
        assert!(same_address("localhost:9092", "localhost:9092"));
        assert!(same_address("PLAINTEXT://localhost", "localhost:9092"));
    }
}
