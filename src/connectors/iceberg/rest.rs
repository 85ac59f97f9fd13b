//! The REST catalog's pointer: one request that the server checks and applies.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use iceberg::table::Table;
use iceberg::{Catalog, TableIdent};
use iceberg_catalog_rest::{CommitTableRequest, CommitTableResponse};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use strandline_operators::{Error, Result};
use tokio::sync::Mutex;

use super::pointer::{self, Change, NotSwapped, Pointer, Swapped};
use super::store::Store;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT_MS: u64 = 5_000;

/// How long any one answer may take. A commit that takes longer is looked up, not given up.
const REQUEST_TIMEOUT_MS: u64 = 30_000;

/// What the specification answers when a token has run out, besides 401.
const CREDENTIALS_TIMED_OUT: u16 = 419;

/// How much of a server's error text is shown.
const ERROR_TEXT_CHARS: usize = 300;

/// The properties that set these bounds lower, under the names that Iceberg's Java client gave them.
const CONNECT_TIMEOUT_PROPERTY: &str = "rest.client.connection-timeout-ms";
const REQUEST_TIMEOUT_PROPERTY: &str = "rest.client.socket-timeout-ms";

/// An HTTP client whose every wait is bounded.
pub(super) fn bounded_client(properties: &HashMap<String, String>) -> Result<Client> {
    let bound = |property, most| timeout(properties, property, most);
    Client::builder()
        .connect_timeout(bound(CONNECT_TIMEOUT_PROPERTY, CONNECT_TIMEOUT_MS)?)
        .timeout(bound(REQUEST_TIMEOUT_PROPERTY, REQUEST_TIMEOUT_MS)?)
        .build()
        .map_err(|e| Error::internal(format!("cannot make an HTTP client: {e}")))
}

/// The bound that a property sets, at most `most`: longer waits would outlive the deadline of a commit.
fn timeout(properties: &HashMap<String, String>, property: &str, most: u64) -> Result<Duration> {
    let Some(text) = properties.get(property) else {
        return Ok(Duration::from_millis(most));
    };
    match text.parse::<u64>() {
        Ok(ms) if ms > 0 => Ok(Duration::from_millis(ms.min(most))),
        _ => Err(Error::configuration(format!(
            "cannot use `{property}: {text}` of `catalog.properties`: it is no number of milliseconds"
        ))
        .hint(format!("write it as `{property}: \"{most}\"`, or leave it out"))),
    }
}

/// What `GET v1/config` answers, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ServerConfig {
    #[serde(default)]
    defaults: HashMap<String, String>,
    #[serde(default)]
    overrides: HashMap<String, String>,
}

/// Why a server could not be opened.
#[derive(Debug)]
pub(super) enum NotOpened {
    /// It does not take our credentials.
    Refused(String),
    /// Anything else.
    Unreachable(String),
}

/// The pointer behind a REST server.
#[derive(Debug)]
pub(super) struct RestPointer {
    catalog: Arc<dyn Catalog>,
    client: Client,
    uri: String,
    // Ours, below the server's overrides, above its defaults.
    properties: HashMap<String, String>,
    token: Mutex<Option<String>>,
    runtime: iceberg::Runtime,
}

impl RestPointer {
    /// Asks the server for its configuration.
    ///
    /// # Errors
    /// What the server, or the way to it, answered.
    pub(super) async fn connect(
        uri: &str,
        warehouse: &str,
        properties: &HashMap<String, String>,
        client: Client,
        catalog: Arc<dyn Catalog>,
        runtime: iceberg::Runtime,
    ) -> Result<RestPointer, NotOpened> {
        let mut pointer = RestPointer {
            catalog,
            client,
            uri: uri.trim_end_matches('/').to_owned(),
            properties: properties.clone(),
            token: Mutex::new(properties.get("token").cloned()),
            runtime,
        };
        let mut request = pointer.client.get(format!("{}/v1/config", pointer.uri));
        if !warehouse.is_empty() {
            request = request.query(&[("warehouse", warehouse)]);
        }
        let unreachable = |e: reqwest::Error| NotOpened::Unreachable(with_causes(&e));
        let answer = pointer.send(request).await.map_err(unreachable)?;
        let status = answer.status();
        if !status.is_success() {
            let why = describe(status, &answer.text().await.unwrap_or_default());
            return Err(match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => NotOpened::Refused(why),
                _ => NotOpened::Unreachable(why),
            });
        }
        let config: ServerConfig = answer.json().await.map_err(|e| {
            NotOpened::Unreachable(format!(
                "what answers there is no Iceberg REST catalog: {}",
                with_causes(&e)
            ))
        })?;
        let mut merged = config.defaults;
        merged.extend(std::mem::take(&mut pointer.properties));
        merged.extend(config.overrides);
        if let Some(uri) = merged.get("uri") {
            pointer.uri = uri.trim_end_matches('/').to_owned();
        }
        pointer.properties = merged;
        Ok(pointer)
    }

    fn table_url(&self, ident: &TableIdent) -> String {
        let prefix = self
            .properties
            .get("prefix")
            .map_or_else(String::new, |p| format!("/{p}"));
        // The specification joins the parts of a namespace with 0x1F.
        let namespace = ident
            .namespace()
            .iter()
            .map(|part| encode(part))
            .collect::<Vec<_>>()
            .join("%1F");
        format!(
            "{}/v1{prefix}/namespaces/{namespace}/tables/{}",
            self.uri,
            encode(ident.name())
        )
    }

    async fn send(&self, request: RequestBuilder) -> Result<reqwest::Response, reqwest::Error> {
        let mut request = request;
        for (name, value) in &self.properties {
            if let Some(name) = name.strip_prefix("header.") {
                request = request.header(name, value);
            }
        }
        let again = request.try_clone();
        let token = self.token(false).await?;
        let answer = with_token(request, token).send().await?;
        // A token that has run out: once more with a new one. Nothing was done under the old one.
        if [StatusCode::UNAUTHORIZED.as_u16(), CREDENTIALS_TIMED_OUT]
            .contains(&answer.status().as_u16())
            && self.properties.contains_key("credential")
            && let Some(again) = again
        {
            let token = self.token(true).await?;
            return with_token(again, token).send().await;
        }
        Ok(answer)
    }

    /// The bearer token: the configured one, or one that the credential was exchanged for.
    async fn token(&self, renew: bool) -> Result<Option<String>, reqwest::Error> {
        let mut token = self.token.lock().await;
        let Some(credential) = self
            .properties
            .get("credential")
            .filter(|_| renew || token.is_none())
        else {
            return Ok(token.clone());
        };
        #[derive(Deserialize)]
        struct TokenAnswer {
            access_token: String,
        }
        let endpoint = self
            .properties
            .get("oauth2-server-uri")
            .cloned()
            .unwrap_or_else(|| format!("{}/v1/oauth/tokens", self.uri));
        let mut form = vec![("grant_type", "client_credentials")];
        match credential.split_once(':') {
            Some((id, secret)) => form.extend([("client_id", id), ("client_secret", secret)]),
            None => form.push(("client_secret", credential)),
        }
        form.push((
            "scope",
            self.properties
                .get("scope")
                .map_or("catalog", String::as_str),
        ));
        for name in ["audience", "resource"] {
            if let Some(value) = self.properties.get(name) {
                form.push((name, value));
            }
        }
        let answer = self
            .client
            .post(endpoint)
            .form(&form)
            .send()
            .await?
            .error_for_status()?;
        let answer: TokenAnswer = answer.json().await?;
        *token = Some(answer.access_token);
        Ok(token.clone())
    }
}

impl RestPointer {
    /// What an answer other than 200 says about a commit to `base`.
    async fn not_swapped(&self, base: &Table, status: StatusCode, body: &str) -> NotSwapped {
        let text = describe(status, body);
        let said = format!("the catalog at `{}` answered {text}", self.uri);
        match status {
            StatusCode::CONFLICT => NotSwapped::Conflict(said),
            StatusCode::NOT_FOUND if is_missing_table(body) => {
                NotSwapped::Failed(pointer::gone(base.identifier()))
            }
            // The server, or something on the way, may have done it or not; a success that is no answer to
            // a commit tells as little.
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => NotSwapped::Unknown(said),
            status if status.is_server_error() || !status.is_client_error() => {
                NotSwapped::Unknown(said)
            }
            // Some servers say 400 to a commit for a version that is no longer the newest.
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY
                if self.has_moved(base).await =>
            {
                NotSwapped::Conflict(said)
            }
            _ => NotSwapped::Failed(
                Error::unreachable(format!(
                    "the catalog at `{}` refused a commit to `{}`: {text}",
                    self.uri,
                    base.identifier()
                ))
                .hint("see the catalog's own log, and the rights of the `token` or `credential` in `catalog.properties`"),
            ),
        }
    }

    /// Whether the table is at another version than `base`.
    async fn has_moved(&self, base: &Table) -> bool {
        self.load(base.identifier())
            .await
            .is_ok_and(|now| now.metadata_location() != base.metadata_location())
    }
}

fn with_token(request: RequestBuilder, token: Option<String>) -> RequestBuilder {
    match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

/// Percent-encodes one part of a path.
fn encode(part: &str) -> String {
    let mut encoded = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(byte as char)
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// An error's text with those of its causes: the library's own text leaves out "connection refused".
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}

/// The error document of the specification.
#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorModel,
}

#[derive(Deserialize)]
struct ErrorModel {
    message: String,
    #[serde(default)]
    r#type: String,
}

/// Whether a 404 comes from a catalog that has no such table, not from a server that is no catalog.
fn is_missing_table(body: &str) -> bool {
    serde_json::from_str::<ErrorBody>(body).is_ok_and(|body| {
        ["NoSuchTableException", "NoSuchNamespaceException"].contains(&body.error.r#type.as_str())
    })
}

/// What the server said, without the stack trace that some send along.
fn describe(status: StatusCode, body: &str) -> String {
    let message = serde_json::from_str::<ErrorBody>(body)
        .map_or_else(|_| body.to_owned(), |b| b.error.message);
    let line = message.lines().next().unwrap_or_default();
    format!(
        "{status}: {}",
        line.chars().take(ERROR_TEXT_CHARS).collect::<String>()
    )
}

#[async_trait]
impl Pointer for RestPointer {
    async fn load(&self, ident: &TableIdent) -> iceberg::Result<Table> {
        let error = match self.catalog.load_table(ident).await {
            Err(error) if error.kind() == iceberg::ErrorKind::TableNotFound => error,
            loaded => return loaded,
        };
        // The library takes any 404 for a missing table, also that of a server on the way.
        let unexpected = |text: String| iceberg::Error::new(iceberg::ErrorKind::Unexpected, text);
        let answer = self
            .send(self.client.get(self.table_url(ident)))
            .await
            .map_err(|e| unexpected(with_causes(&e)))?;
        let status = answer.status();
        let body = answer.text().await.unwrap_or_default();
        if status == StatusCode::NOT_FOUND && is_missing_table(&body) {
            return Err(error);
        }
        Err(unexpected(format!(
            "the catalog at `{}` answered {}",
            self.uri,
            describe(status, &body)
        )))
    }

    async fn swap(&self, base: &Table, change: Change) -> Result<Swapped, NotSwapped> {
        // The server writes the metadata; the manifests beside it are ours, and so is their durability.
        let folder = format!("{}/metadata", base.metadata().location());
        Store::of(base.file_io())
            .sync_folder(&folder)
            .map_err(|fault| {
                let what = format!("cannot sync `{folder}`");
                NotSwapped::Failed(fault.explain(what, "see that the warehouse is there"))
            })?;
        let request =
            self.client
                .post(self.table_url(base.identifier()))
                .json(&CommitTableRequest {
                    identifier: Some(base.identifier().clone()),
                    requirements: change.requirements,
                    updates: change.updates,
                });
        // A person must find the catalog's name in the last of these texts.
        let unknown =
            |why: &str| NotSwapped::Unknown(format!("the catalog at `{}`: {why}", self.uri));
        let answer = self
            .send(request)
            .await
            .map_err(|e| unknown(&with_causes(&e)))?;
        let status = answer.status();
        if status != StatusCode::OK {
            let body = answer.text().await.unwrap_or_default();
            return Err(self.not_swapped(base, status, &body).await);
        }
        let answer: CommitTableResponse =
            answer.json().await.map_err(|e| unknown(&with_causes(&e)))?;
        let table = Table::builder()
            .identifier(base.identifier().clone())
            .file_io(base.file_io().clone())
            .metadata(answer.metadata)
            .metadata_location(answer.metadata_location)
            .runtime(self.runtime.clone())
            .build()
            .map_err(|e| unknown(&e.to_string()))?;
        // The server deletes superseded metadata itself (`write.metadata.delete-after-commit.enabled`).
        Ok(Swapped {
            table,
            superseded: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_path_cannot_break_out_of_it() {
        assert_eq!(encode("conversion_events"), "conversion_events");
        assert_eq!(encode("a/b?c d"), "a%2Fb%3Fc%20d");
    }

    #[test]
    fn a_bound_can_only_be_set_lower() {
        let of = |text: &str| {
            let properties = HashMap::from([("p".to_owned(), text.to_owned())]);
            timeout(&properties, "p", 1000).map(|bound| bound.as_millis())
        };
        assert_eq!(of("200").expect("lower"), 200);
        assert_eq!(of("5000").expect("higher"), 1000);
        for wrong in ["0", "-1", "5s", ""] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_the_catalog_itself_can_say_that_a_table_is_gone() {
        let error = |kind: &str| {
            format!(r#"{{"error": {{"message": "m", "type": "{kind}", "code": 404}}}}"#)
        };
        assert!(is_missing_table(&error("NoSuchTableException")));
        assert!(!is_missing_table(&error("NotFoundException")));
        assert!(!is_missing_table("<html>404</html>"));
    }

    #[test]
    fn a_servers_stack_trace_is_not_shown() {
        let body = r#"{"error":{"message":"Commit failed\n at java.lang","type":"T","code":409}}"#;
        assert_eq!(
            describe(StatusCode::CONFLICT, body),
            "409 Conflict: Commit failed"
        );
    }
}
