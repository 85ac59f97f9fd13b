//! What librdkafka says of itself: its logs, and the errors that it retries; what they mean to a person.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use strandline_operators::Error;

use super::KafkaSettings;

/// Errors this old may still be the cause of what fails now: librdkafka does not repeat itself often.
const RECENT: Duration = Duration::from_secs(30);

/// Errors kept by [`Diagnosis`].
const MAX_REMEMBERED_ERRORS: usize = 32;

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
    pub(in super::super) fn report(&self, code: Option<RDKafkaErrorCode>, text: &str) {
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
pub(in super::super) struct Context {
    diagnosis: Arc<Diagnosis>,
}

impl Context {
    pub(in super::super) fn new(diagnosis: Arc<Diagnosis>) -> Context {
        Context { diagnosis }
    }
}

/// Where librdkafka's log lines go.
pub(in super::super) fn trace_log(level: RDKafkaLogLevel, facility: &str, message: &str) {
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

/// Turns what a client could not do into an error a person can act on: unreachable broker, an address
/// that it advertises but that does not answer, wrong credentials.
pub(in super::super) fn unreachable(
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
    use super::*;

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
