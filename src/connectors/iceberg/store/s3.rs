//! The client of S3 and of what speaks its protocol, from the properties that Iceberg gave names to.
//!
//! What is set in `catalog.properties` is strongest, then what a REST catalog hands out, then the environment
//! (`AWS_*`). Without keys there the machine is asked: a web identity, a container's role, an instance's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use iceberg::io::{
    CLIENT_REGION, S3_ACCESS_KEY_ID, S3_ENDPOINT, S3_PATH_STYLE_ACCESS, S3_REGION,
    S3_SECRET_ACCESS_KEY, S3_SESSION_TOKEN, S3_SSE_KEY, S3_SSE_TYPE,
};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::SpawnedReqwestConnector;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use strandline_operators::{ErrorKind, Result};
use tokio::runtime::Handle;

use super::fault::{Fault, Named};
use super::properties::Properties;

/// Set by servers that sign each request themselves, which is not built in.
const REMOTE_SIGNING: &str = "s3.remote-signing-enabled";

/// The client's own name of a setting that it gives no other.
const SERVER_SIDE_ENCRYPTION: &str = "aws_server_side_encryption";

/// What AWS means without a region, and what most other servers take.
const DEFAULT_REGION: &str = "us-east-1";

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The first pause before a request is tried again; it doubles.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a request is tried when connections are refused, answers are lost or servers are overloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub(in super::super) enum Patience {
    /// Of what somebody waits for, or what is tried again by whoever asked.
    Brief,
    /// Of what a run fails without.
    Full,
}

impl Patience {
    #[cfg(test)]
    pub(super) const ALL: [Patience; 2] = [Patience::Brief, Patience::Full];

    /// After this no further try begins.
    fn limit(self) -> Duration {
        match self {
            // `check` asks for two tables and the warehouse, and is to answer within 10 s.
            Patience::Brief => Duration::from_secs(2),
            // As long as a commit is tried (`landing::attempt::Patience::FULL`).
            Patience::Full => Duration::from_secs(60),
        }
    }

    /// The longest pause between two tries; the last one may begin so long after [`Patience::limit`].
    fn longest_pause(self) -> Duration {
        match self {
            Patience::Brief => Duration::from_millis(500),
            Patience::Full => Duration::from_secs(2),
        }
    }

    /// How long one request may take, with all that it sends or receives.
    fn of_one_request(self) -> Duration {
        match self {
            // Within the time that the catalog gives the library for all it has to ask for.
            Patience::Brief => Duration::from_secs(10),
            // A part of 8 MiB at 280 KB/s.
            Patience::Full => Duration::from_secs(30),
        }
    }

    fn retries(self) -> RetryConfig {
        RetryConfig {
            backoff: BackoffConfig {
                init_backoff: PAUSE,
                max_backoff: self.longest_pause(),
                base: 2.0,
            },
            // The time is the bound.
            max_retries: 1_000,
            retry_timeout: self.limit(),
        }
    }
}

/// Checks what can be checked without asking the store.
///
/// # Errors
/// Configuration.
pub(in super::super) fn validate(properties: &HashMap<String, String>) -> Result<()> {
    Given(&Properties::of(properties))
        .builder("bucket", &HashMap::new(), Patience::Brief)
        .map(drop)
        .map_err(|fault| fault.explain("cannot use `catalog.properties`", "correct it"))
}

/// A client for one bucket, and what messages call it.
pub(super) fn connect(
    properties: &Properties,
    bucket: &str,
    patience: Patience,
    runtime: &Handle,
) -> Result<(AmazonS3, Named), Fault> {
    let environment: HashMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty())
        .collect();
    let (builder, named) = Given(properties).builder(bucket, &environment, patience)?;
    let client = builder
        .with_retry(patience.retries())
        .with_http_connector(SpawnedReqwestConnector::new(runtime.clone()))
        .build()
        .map_err(|e| {
            let why = format!("bucket `{bucket}` cannot be used: {e}");
            Fault::new(ErrorKind::Configuration, why)
        })?;
    Ok((client, named))
}

/// The properties, as they were given.
struct Given<'a>(&'a Properties);

impl Given<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)
    }

    fn is_on(&self, name: &str) -> Result<Option<bool>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(text) => Err(Fault::new(
                ErrorKind::Configuration,
                format!("`{name}: {text}` is neither true nor false"),
            )),
        }
    }

    fn builder(
        &self,
        bucket: &str,
        environment: &HashMap<String, String>,
        patience: Patience,
    ) -> Result<(AmazonS3Builder, Named), Fault> {
        let has_keys = self.require_both_keys()?;
        let mut builder = AmazonS3Builder::new();
        for (name, value) in environment {
            let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() else {
                continue;
            };
            // Never the key of the one and the token of the other.
            if !(has_keys && is_credential(&key)) {
                builder = builder.with_config(key, value);
            }
        }
        for (name, key) in [
            (S3_ACCESS_KEY_ID, AmazonS3ConfigKey::AccessKeyId),
            (S3_SECRET_ACCESS_KEY, AmazonS3ConfigKey::SecretAccessKey),
            (S3_SESSION_TOKEN, AmazonS3ConfigKey::Token),
        ] {
            // Without keys of its own a token would be one for the environment's.
            if let Some(value) = self.get(name).filter(|_| has_keys) {
                builder = builder.with_config(key, value);
            }
        }
        let set = |name: &str| environment.get(name).map(String::as_str);
        let region = (self.get(S3_REGION).or_else(|| self.get(CLIENT_REGION)))
            .or_else(|| set("AWS_REGION").or_else(|| set("AWS_DEFAULT_REGION")))
            .unwrap_or(DEFAULT_REGION);
        let endpoint = self.get(S3_ENDPOINT).or_else(|| {
            set("AWS_ENDPOINT_URL_S3")
                .or_else(|| set("AWS_ENDPOINT_URL").or_else(|| set("AWS_ENDPOINT")))
        });
        let path_style = self.is_on(S3_PATH_STYLE_ACCESS)?;
        builder = match endpoint {
            Some(endpoint) => {
                // Servers at an address of their own seldom have a name for each bucket.
                let path_style = path_style.unwrap_or(true);
                let url = endpoint_of(endpoint, bucket, path_style)?;
                builder
                    .with_config(AmazonS3ConfigKey::S3Endpoint, url)
                    .with_virtual_hosted_style_request(!path_style)
            }
            // A certificate of AWS covers one name below its own.
            None => builder.with_virtual_hosted_style_request(
                !path_style.unwrap_or(false) && !bucket.contains('.'),
            ),
        };
        let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
        let options = ClientOptions::new()
            .with_allow_http(is_plain)
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_timeout(patience.of_one_request());
        let builder = self
            .encrypted(builder)?
            .with_bucket_name(bucket)
            .with_region(region)
            .with_client_options(options);
        let asks_machine = !has_keys && !environment.contains_key("AWS_ACCESS_KEY_ID");
        let named = Named {
            bucket: bucket.to_owned(),
            at: endpoint.map_or_else(
                || format!("AWS region `{region}`"),
                |endpoint| format!("`{endpoint}`"),
            ),
            asks_machine,
            is_temporary: asks_machine
                || builder
                    .get_config_value(&AmazonS3ConfigKey::Token)
                    .is_some(),
            has_answered: Arc::default(),
        };
        Ok((builder, named))
    }

    /// Whether keys are given.
    fn require_both_keys(&self) -> Result<bool, Fault> {
        if self.is_on(REMOTE_SIGNING)? == Some(true) {
            return Err(Fault::new(
                ErrorKind::Configuration,
                format!("the catalog wants to sign requests itself (`{REMOTE_SIGNING}`), which is not built in"),
            )
            .hint("let the catalog hand out credentials (`header.X-Iceberg-Access-Delegation: vended-credentials` in \
                   `catalog.properties`), or set `s3.access-key-id` and `s3.secret-access-key`, and `s3.remote-signing-enabled: \"false\"`"));
        }
        let (id, secret) = (self.get(S3_ACCESS_KEY_ID), self.get(S3_SECRET_ACCESS_KEY));
        if id.is_some() == secret.is_some() {
            return Ok(id.is_some());
        }
        Err(Fault::new(
            ErrorKind::Configuration,
            format!("one of `{S3_ACCESS_KEY_ID}` and `{S3_SECRET_ACCESS_KEY}` is missing"),
        )
        .hint("set both, or none of them to use the environment's"))
    }

    fn encrypted(&self, builder: AmazonS3Builder) -> Result<AmazonS3Builder, Fault> {
        match self.get(S3_SSE_TYPE) {
            None | Some("none") => Ok(builder),
            Some("s3") => by_server(builder, "AES256"),
            Some("kms") => match self.get(S3_SSE_KEY) {
                Some(key) => Ok(builder.with_sse_kms_encryption(key)),
                // AWS takes its own key for S3 when none is named, and knows none by the name that it shows for it.
                None => by_server(builder, "aws:kms"),
            },
            Some(other) => Err(Fault::new(
                ErrorKind::Configuration,
                format!("`{S3_SSE_TYPE}: {other}` is not built in"),
            )
            .hint("`s3` and `kms` are; or let the bucket encrypt by default")),
        }
    }
}

fn by_server(builder: AmazonS3Builder, how: &str) -> Result<AmazonS3Builder, Fault> {
    let key = SERVER_SIDE_ENCRYPTION.parse();
    key.map(|key| builder.with_config(key, how))
        .map_err(|e: object_store::Error| Fault::new(ErrorKind::Internal, e.to_string()))
}

fn is_credential(key: &AmazonS3ConfigKey) -> bool {
    use AmazonS3ConfigKey::{AccessKeyId, SecretAccessKey, Token};
    matches!(key, AccessKeyId | SecretAccessKey | Token)
}

/// The endpoint, with the bucket in its name where buckets have names.
fn endpoint_of(endpoint: &str, bucket: &str, path_style: bool) -> Result<String, Fault> {
    let plain = endpoint.trim_end_matches('/');
    let Some((scheme @ ("http" | "https"), rest)) = plain.split_once("://") else {
        return Err(Fault::new(
            ErrorKind::Configuration,
            format!("`{S3_ENDPOINT}: {endpoint}` is no `http(s)://HOST:PORT`"),
        ));
    };
    Ok(match path_style {
        true => plain.to_owned(),
        false => format!("{scheme}://{bucket}.{rest}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    fn value(
        properties: &[(&str, &str)],
        environment: &[(&str, &str)],
        key: AmazonS3ConfigKey,
    ) -> Option<String> {
        let properties = Properties::of(&map(properties));
        let (builder, _) = Given(&properties)
            .builder("lake", &map(environment), Patience::Brief)
            .expect("valid");
        builder.get_config_value(&key)
    }

    #[test]
    fn a_token_belongs_to_the_keys_that_it_came_with() {
        let environment = [
            ("AWS_ACCESS_KEY_ID", "theirs"),
            ("AWS_SECRET_ACCESS_KEY", "theirs"),
        ];
        let token =
            |properties: &[(&str, &str)]| value(properties, &environment, AmazonS3ConfigKey::Token);
        assert_eq!(token(&[("s3.session-token", "ours")]), None);
        let keys = [
            ("s3.access-key-id", "ours"),
            ("s3.secret-access-key", "ours"),
        ];
        assert_eq!(token(&keys), None);
        let all = [&keys[..], &[("s3.session-token", "ours")]].concat();
        assert_eq!(token(&all).as_deref(), Some("ours"));
        // How a catalog's token is kept away from keys that are configured.
        let none = [&keys[..], &[("s3.session-token", "")]].concat();
        assert_eq!(token(&none), None);
    }

    #[test]
    fn properties_are_stronger_than_the_environment() {
        let environment = [
            ("AWS_ACCESS_KEY_ID", "theirs"),
            ("AWS_SECRET_ACCESS_KEY", "theirs"),
            ("AWS_SESSION_TOKEN", "theirs"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL_S3", "http://theirs:1"),
        ];
        let ours = [
            ("s3.access-key-id", "ours"),
            ("s3.secret-access-key", "ours"),
            ("s3.endpoint", "http://ours:1/"),
            ("client.region", "eu-west-2"),
        ];
        for (key, with_ours, without) in [
            (AmazonS3ConfigKey::AccessKeyId, Some("ours"), Some("theirs")),
            (AmazonS3ConfigKey::Token, None, Some("theirs")),
            (
                AmazonS3ConfigKey::Region,
                Some("eu-west-2"),
                Some("eu-west-1"),
            ),
            (
                AmazonS3ConfigKey::S3Endpoint,
                Some("http://ours:1"),
                Some("http://theirs:1"),
            ),
        ] {
            assert_eq!(
                value(&ours, &environment, key).as_deref(),
                with_ours,
                "{key:?}"
            );
            assert_eq!(value(&[], &environment, key).as_deref(), without, "{key:?}");
        }
        let region = [("s3.region", "eu-west-3"), ("client.region", "eu-west-2")];
        assert_eq!(
            value(&region, &environment, AmazonS3ConfigKey::Region).as_deref(),
            Some("eu-west-3")
        );
    }

    #[test]
    fn a_bucket_is_in_the_path_or_in_the_name() {
        let endpoint = ("s3.endpoint", "https://s3.local:9000");
        let at = |more: &[(&str, &str)]| {
            let properties = [&[endpoint], more].concat();
            value(&properties, &[], AmazonS3ConfigKey::S3Endpoint).expect("an endpoint")
        };
        assert_eq!(at(&[]), "https://s3.local:9000");
        assert_eq!(
            at(&[("s3.path-style-access", "true")]),
            "https://s3.local:9000"
        );
        assert_eq!(
            at(&[("s3.path-style-access", "false")]),
            "https://lake.s3.local:9000"
        );
        let is_virtual = |more: &[(&str, &str)]| {
            value(more, &[], AmazonS3ConfigKey::VirtualHostedStyleRequest).expect("said")
        };
        assert_eq!(is_virtual(&[]), "true");
        assert_eq!(is_virtual(&[("s3.path-style-access", "true")]), "false");
    }

    #[test]
    fn what_cannot_be_used_is_said_before_anything_is_asked() {
        for (name, wrong) in [
            ("s3.endpoint", "localhost:9000"),
            ("s3.path-style-access", "yes"),
            ("s3.access-key-id", "without its secret"),
            ("s3.sse.type", "custom"),
            ("s3.remote-signing-enabled", "true"),
        ] {
            let error = validate(&map(&[(name, wrong)])).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(name), "{error}");
            assert!(!error.to_string().contains("without its secret"), "{error}");
        }
        assert!(validate(&map(&[("token", "x"), ("s3.sse.type", "kms")])).is_ok());
    }
}
