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

use super::location;
use super::pointer::{Change, NotSwapped, Pointer, Swapped};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT_MS: u64 = 5_000;

/// How long any one answer may take. A commit that takes longer is looked up, not given up.
const REQUEST_TIMEOUT_MS: u64 = 30_000;

/// How much of a server's error text is shown.
const ERROR_TEXT_CHARS: usize = 300;

/// An HTTP client whose every wait is bounded.
pub(super) fn bounded_client() -> Result<Client> {
    Client::builder()
        .connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS))
        .timeout(Duration::from_millis(REQUEST_TIMEOUT_MS))
        .build()
        .map_err(|e| Error::internal(format!("cannot make an HTTP client: {e}")))
}

/// What `GET v1/config` answers, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ServerConfig {
    #[serde(default)]
    defaults: HashMap<String, String>,
    #[serde(default)]
    overrides: HashMap<String, String>,
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
    ) -> Result<RestPointer, String> {
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
        let answer = pointer.send(request).await.map_err(|e| with_causes(&e))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(describe(status, &answer.text().await.unwrap_or_default()));
        }
        let config: ServerConfig = answer.json().await.map_err(|e| {
            format!(
                "what answers there is no Iceberg REST catalog: {}",
                with_causes(&e)
            )
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
        if answer.status() == StatusCode::UNAUTHORIZED
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

/// What the server said, without the stack trace that some send along.
fn describe(status: StatusCode, body: &str) -> String {
    #[derive(Deserialize)]
    struct Body {
        error: Model,
    }
    #[derive(Deserialize)]
    struct Model {
        message: String,
    }
    let message =
        serde_json::from_str::<Body>(body).map_or_else(|_| body.to_owned(), |b| b.error.message);
    let line = message.lines().next().unwrap_or_default();
    format!(
        "{status}: {}",
        line.chars().take(ERROR_TEXT_CHARS).collect::<String>()
    )
}

#[async_trait]
impl Pointer for RestPointer {
    async fn load(&self, ident: &TableIdent) -> iceberg::Result<Table> {
        self.catalog.load_table(ident).await
    }

    async fn swap(&self, base: &Table, change: Change) -> Result<Swapped, NotSwapped> {
        // The server writes the metadata; the manifests beside it are ours, and so is their durability.
        if let Some(folder) =
            location::local_path(&format!("{}/metadata", base.metadata().location()))
            && folder.is_dir()
        {
            location::sync_folder(&folder).map_err(|e| {
                NotSwapped::Failed(Error::unreachable(format!(
                    "cannot sync `{}`: {e}",
                    folder.display()
                )))
            })?;
        }
        let request =
            self.client
                .post(self.table_url(base.identifier()))
                .json(&CommitTableRequest {
                    identifier: Some(base.identifier().clone()),
                    requirements: change.requirements,
                    updates: change.updates,
                });
        let answer = self
            .send(request)
            .await
            .map_err(|e| NotSwapped::Unknown(with_causes(&e)))?;
        let status = answer.status();
        match status {
            StatusCode::OK => {}
            StatusCode::CONFLICT => {
                return Err(NotSwapped::Conflict(describe(
                    status,
                    &answer.text().await.unwrap_or_default(),
                )));
            }
            // 408 and 429 and all of 5xx: the server, or something on the way, may have done it or not.
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                return Err(NotSwapped::Unknown(describe(
                    status,
                    &answer.text().await.unwrap_or_default(),
                )));
            }
            status if status.is_server_error() => {
                return Err(NotSwapped::Unknown(describe(
                    status,
                    &answer.text().await.unwrap_or_default(),
                )));
            }
            status => {
                let text = describe(status, &answer.text().await.unwrap_or_default());
                return Err(NotSwapped::Failed(Error::unreachable(format!(
                    "the catalog at `{}` refused a commit to `{}`: {text}",
                    self.uri,
                    base.identifier()
                ))));
            }
        }
        let answer: CommitTableResponse = answer
            .json()
            .await
            .map_err(|e| NotSwapped::Unknown(with_causes(&e)))?;
        let table = Table::builder()
            .identifier(base.identifier().clone())
            .file_io(base.file_io().clone())
            .metadata(answer.metadata)
            .metadata_location(answer.metadata_location)
            .runtime(self.runtime.clone())
            .build()
            .map_err(|e| NotSwapped::Unknown(e.to_string()))?;
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
    fn a_servers_stack_trace_is_not_shown() {
        let body = r#"{"error":{"message":"Commit failed\n at java.lang","type":"T","code":409}}"#;
        assert_eq!(
            describe(StatusCode::CONFLICT, body),
            "409 Conflict: Commit failed"
        );
    }
}
