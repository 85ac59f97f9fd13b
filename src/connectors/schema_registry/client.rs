//! Requests to the registry, and what its answers mean.

use std::time::Duration;

use reqwest::{Certificate, Identity, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use strandline_operators::io::SchemaKind;
use strandline_operators::{Error, Result};
use tokio::sync::Semaphore;

use super::RegistrySettings;
use super::outage::Outage;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Requests under way at once. A batch may bring thousands of ids that are new.
pub(super) const MAX_REQUESTS: usize = 16;

/// Bytes of an answer, at most. Confluent's own servers take schemas of 1 MB.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Characters of the server's error text that are shown.
const ERROR_TEXT_CHARS: usize = 200;

/// The codes by which the registry says that there is no such schema, subject or version.
const UNKNOWN: [i64; 3] = [40401, 40402, 40403];

/// The answers by which a registry refuses an id in other words: the same id will get the same again.
const REFUSES_ID: [StatusCode; 3] = [
    StatusCode::BAD_REQUEST,
    StatusCode::NOT_FOUND,
    StatusCode::UNPROCESSABLE_ENTITY,
];

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The registry says that there is none.
    Denied(String),
    /// It refuses our credentials.
    Refused(String),
    /// It has too much to do, and says nothing of what was asked.
    Busy(String),
    /// Nothing that it can be held to.
    Unreachable(String),
}

/// A schema as the registry sends it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Sent {
    pub schema: String,
    /// Absent means Avro.
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
    #[serde(default)]
    pub references: Vec<Reference>,
}

impl Sent {
    pub fn kind(&self) -> std::result::Result<SchemaKind, Trouble> {
        match self.schema_type.as_deref().unwrap_or("AVRO") {
            "AVRO" => Ok(SchemaKind::Avro),
            "JSON" => Ok(SchemaKind::Json),
            "PROTOBUF" => Ok(SchemaKind::Protobuf),
            other => Err(Trouble::Denied(format!(
                "it is of type `{other}`, which is none of AVRO, JSON and PROTOBUF"
            ))),
        }
    }
}

/// Another schema that a schema refers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub(super) struct Reference {
    #[serde(default)]
    pub name: String,
    pub subject: String,
    pub version: i64,
}

/// What the registry says is wrong.
#[derive(Debug, Deserialize)]
struct Refusal {
    error_code: i64,
    #[serde(default)]
    message: String,
}

/// The registry's client.
pub(super) struct Client {
    http: reqwest::Client,
    url: Url,
    /// As messages may show it.
    pub shown: String,
    settings: RegistrySettings,
    pub outage: Outage,
    /// A permit for each request that may be under way; who asks first is served first.
    turns: Semaphore,
}

impl Client {
    pub fn new(settings: &RegistrySettings) -> Result<Client> {
        let shown = crate::config::without_password(&settings.url);
        let wrong = |what: String| Error::configuration(what);
        let url = Url::parse(settings.url.trim_end_matches('/'))
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && !url.cannot_be_a_base())
            .ok_or_else(|| {
                wrong(format!("`schema_registry.url` cannot be `{shown}`"))
                    .hint("it must be an address such as `http://localhost:8081`")
            })?;
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT);
        let read = |key: &str, path: &str| {
            std::fs::read(path).map_err(|e| {
                wrong(format!(
                    "cannot read `{path}` of `schema_registry.{key}`: {e}"
                ))
            })
        };
        let unusable = |key: &str, path: &str, e: reqwest::Error| {
            wrong(format!(
                "`{path}` of `schema_registry.{key}` is no PEM that can be used: {e}"
            ))
        };
        if let Some(path) = &settings.ssl_ca_location {
            let key = "ssl_ca_location";
            let pem = read(key, path)?;
            let authorities =
                Certificate::from_pem_bundle(&pem).map_err(|e| unusable(key, path, e))?;
            if authorities.is_empty() {
                return Err(wrong(format!(
                    "`{path}` of `schema_registry.{key}` holds no certificate"
                )));
            }
            for authority in authorities {
                http = http.add_root_certificate(authority);
            }
        }
        if let Some((certificate, private_key)) = &settings.ssl_client {
            let mut pem = read("ssl_certificate_location", certificate)?;
            pem.push(b'\n');
            pem.extend(read("ssl_key_location", private_key)?);
            let identity = Identity::from_pem(&pem)
                .map_err(|e| unusable("ssl_certificate_location", certificate, e))?;
            http = http.identity(identity);
        }
        let http = http.build().map_err(|e| {
            wrong(format!(
                "cannot make an HTTP client for the schema registry: {}",
                chain(&e)
            ))
        })?;
        Ok(Client {
            http,
            url,
            outage: Outage::new(&shown),
            shown,
            settings: settings.clone(),
            turns: Semaphore::new(MAX_REQUESTS),
        })
    }

    /// The schema of an id. A refusal that is not in a registry's own words counts as a denial only where the address
    /// is a registry's: it may as well be that of a proxy, or lack its path.
    pub async fn by_id(&self, id: u32) -> std::result::Result<Sent, Trouble> {
        let (status, body) = self.ask(&["schemas", "ids", &id.to_string()]).await?;
        let answer: std::result::Result<Sent, Trouble> = read(status, &body);
        let is_unclear =
            matches!(answer, Err(Trouble::Unreachable(_))) && REFUSES_ID.contains(&status);
        if !is_unclear {
            return answer;
        }
        match self.greet().await {
            Ok(()) | Err(Trouble::Denied(_)) => {
                let (_, text) = refusal_in(&body);
                Err(Trouble::Denied(format!("it answers {status}: {text}")))
            }
            Err(busy @ Trouble::Busy(_)) => Err(busy),
            Err(Trouble::Refused(_) | Trouble::Unreachable(_)) => answer,
        }
    }

    /// The schema of a subject's version.
    pub async fn by_version(&self, of: &Reference) -> std::result::Result<Sent, Trouble> {
        let version = of.version.to_string();
        self.get(&["subjects", &of.subject, "versions", &version])
            .await
    }

    /// Asks for what every registry answers; the answer itself is of no use.
    pub async fn greet(&self) -> std::result::Result<(), Trouble> {
        let types: serde_json::Value = self.get(&["schemas", "types"]).await?;
        drop(types);
        Ok(())
    }

    fn request(&self, path: &[&str]) -> RequestBuilder {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let request = self.http.get(url).header(
            "Accept",
            "application/vnd.schemaregistry.v1+json, application/json",
        );
        match (&self.settings.basic, &self.settings.bearer_token) {
            (Some((user, password)), _) => request.basic_auth(user, Some(password.reveal())),
            (None, Some(token)) => request.bearer_auth(token.reveal()),
            (None, None) => request,
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> std::result::Result<T, Trouble> {
        let (status, body) = self.ask(path).await?;
        read(status, &body)
    }

    /// Asks when it is our turn; the answer's status and body.
    async fn ask(&self, path: &[&str]) -> std::result::Result<(StatusCode, Vec<u8>), Trouble> {
        // The turns are never closed.
        let _turn = self.turns.acquire().await.ok();
        let unreachable = |e: reqwest::Error| Trouble::Unreachable(chain(&e.without_url()));
        let mut response = self.request(path).send().await.map_err(unreachable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(unreachable)? {
            if body.len() + part.len() > MAX_ANSWER_BYTES {
                return Err(Trouble::Denied(format!(
                    "its answer has more than {MAX_ANSWER_BYTES} bytes"
                )));
            }
            body.extend_from_slice(&part);
        }
        Ok((status, body))
    }
}

/// What an answer says.
fn read<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> std::result::Result<T, Trouble> {
    if status.is_success() {
        return serde_json::from_slice(body).map_err(|e| {
            Trouble::Unreachable(format!("it answers, but not as a schema registry: {e}"))
        });
    }
    Err(trouble(status, body))
}

/// The registry's error, if the body is one, and the text that may be shown.
fn refusal_in(body: &[u8]) -> (Option<Refusal>, String) {
    let refusal: Option<Refusal> = serde_json::from_slice(body).ok();
    let text: String = match &refusal {
        Some(refusal) => refusal.message.clone(),
        None => String::from_utf8_lossy(body).into_owned(),
    };
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(ERROR_TEXT_CHARS)
        .collect();
    (refusal, text)
}

fn trouble(status: StatusCode, body: &[u8]) -> Trouble {
    let (refusal, text) = refusal_in(body);
    match (status, refusal) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
            Trouble::Refused(format!("{status} {text}").trim_end().to_owned())
        }
        (StatusCode::NOT_FOUND, Some(refusal)) if UNKNOWN.contains(&refusal.error_code) => {
            Trouble::Denied(format!("{text} (error {})", refusal.error_code))
        }
        (StatusCode::TOO_MANY_REQUESTS, _) => Trouble::Busy(format!("it answers {status}: {text}")),
        (StatusCode::NOT_FOUND, _) => Trouble::Unreachable(format!(
            "it answers {status}, but not as a schema registry does; the path of the address may be wrong (Apicurio's ends in /apis/ccompat/v7)"
        )),
        _ => Trouble::Unreachable(format!("it answers {status}: {text}")),
    }
}

/// An error with its causes: reqwest's own text only says what was tried.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
