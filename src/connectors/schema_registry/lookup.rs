//! Looking a schema up, with those that it refers to, for as long as it takes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use strandline_operators::io::{ReferencedSchema, RegisteredSchema, SchemaAnswer};
use strandline_operators::{Error, Result};

use super::client::{Client, Reference, Sent, Trouble};

/// The pause after the first failure; each one after is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How often the registry must deny an id, a pause apart: a replica of it may lag behind the producer that
/// has just registered the schema.
const DENIALS: u32 = 3;

/// The pause between two denials.
const DENIAL_PAUSE: Duration = Duration::from_millis(500);

/// How often in a row our credentials must be refused, after the start, until that is believed: a registry
/// that restarts may refuse everyone for a moment.
const REFUSALS: u32 = 6;

/// How often somebody who waits asks. Apicurio has been seen to never answer one request, and the next at once.
const ATTEMPTS: u32 = 2;

/// Schemas that one may refer to, however far.
const MAX_REFERENCES: usize = 1000;

/// Why an id is denied without a request: registries give ids that are positive integers of Java's.
pub(super) fn never_given(id: u32) -> Option<String> {
    let is_given = i32::try_from(id).is_ok_and(|id| id > 0);
    (!is_given).then(|| format!("a registry's ids are between 1 and {}", i32::MAX))
}

/// Sees whether the registry can be reached and takes our credentials.
///
/// # Errors
/// It refuses them. That it cannot be reached is only said in the log.
pub(super) async fn greet(client: &Client) -> Result<()> {
    match client.greet().await {
        Ok(()) => Ok(()),
        // An older registry, without this request.
        Err(Trouble::Denied(_)) => Ok(()),
        Err(Trouble::Refused(why)) => Err(refused(client, &why)),
        Err(Trouble::Busy(why) | Trouble::Unreachable(why)) => {
            client.outage.failed(&why);
            Ok(())
        }
    }
}

/// Looks an id up until the registry has answered.
///
/// # Errors
/// It refuses our credentials, again and again.
pub(super) async fn until_answered(client: &Client, id: u32) -> Result<SchemaAnswer> {
    let (mut pause, mut denials, mut refusals) = (FIRST_PAUSE, 0, 0);
    loop {
        match find(client, id).await {
            Ok(schema) => {
                client.outage.answered();
                return Ok(SchemaAnswer::Known(Arc::new(schema)));
            }
            Err(Trouble::Denied(why)) => {
                client.outage.answered();
                denials += 1;
                if denials == DENIALS {
                    tracing::warn!(
                        schema_id = id,
                        "schema registry {}: no schema {id}: {why}; its records are dead letters (unknown_schema)",
                        client.shown
                    );
                    return Ok(SchemaAnswer::Denied(why));
                }
                tokio::time::sleep(DENIAL_PAUSE).await;
                continue;
            }
            Err(Trouble::Refused(why)) => {
                refusals += 1;
                if refusals == REFUSALS {
                    return Err(refused(client, &why));
                }
                client.outage.failed(&why);
            }
            // Where thousands of ids are asked for, it may say so between any two denials.
            Err(Trouble::Busy(why)) => {
                client.outage.failed(&why);
            }
            Err(Trouble::Unreachable(why)) => {
                (denials, refusals) = (0, 0);
                client.outage.failed(&why);
            }
        }
        // Spread, so that many ids do not all come back at once.
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Looks an id up for somebody who waits for it.
///
/// # Errors
/// Whatever keeps the registry from answering, [`ATTEMPTS`] times.
pub(super) async fn soon(client: &Client, id: u32) -> Result<SchemaAnswer> {
    let mut attempt = 1;
    loop {
        match find(client, id).await {
            Ok(schema) => return Ok(SchemaAnswer::Known(Arc::new(schema))),
            Err(Trouble::Denied(why)) => return Ok(SchemaAnswer::Denied(why)),
            Err(Trouble::Refused(why)) => return Err(refused(client, &why)),
            Err(Trouble::Busy(_) | Trouble::Unreachable(_)) if attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(FIRST_PAUSE).await;
            }
            Err(Trouble::Busy(why) | Trouble::Unreachable(why)) => {
                return Err(unreachable(client, &why));
            }
        }
    }
}

/// Whether the registry answers now.
///
/// # Errors
/// Why it does not.
pub(super) async fn greet_now(client: &Client) -> Result<()> {
    match client.greet().await {
        Ok(()) | Err(Trouble::Denied(_)) => Ok(()),
        Err(Trouble::Refused(why)) => Err(refused(client, &why)),
        Err(Trouble::Busy(why) | Trouble::Unreachable(why)) => Err(unreachable(client, &why)),
    }
}

fn unreachable(client: &Client, why: &str) -> Error {
    Error::unreachable(format!(
        "cannot reach the schema registry at `{}`: {why}",
        client.shown
    ))
    .hint("start the registry, or set `schema_registry.url`")
}

fn refused(client: &Client, why: &str) -> Error {
    Error::configuration(format!(
        "the schema registry at `{}` refuses our credentials: {why}",
        client.shown
    ))
    .hint("set `schema_registry.username` and `password`, `bearer_token`, or the client certificate that it asks for")
}

/// A schema and all that it refers to, each before those that refer to it.
async fn find(client: &Client, id: u32) -> std::result::Result<RegisteredSchema, Trouble> {
    let root = client.by_id(id).await?;
    let kind = root.kind()?;
    let mut references = Vec::new();
    let mut seen: HashSet<Reference> = HashSet::new();
    // Depth first without recursion: a schema is done when those it refers to are.
    let mut open: Vec<(Sent, String, usize)> = vec![(root, String::new(), 0)];
    let text = loop {
        let Some((sent, _, next)) = open.last_mut() else {
            return Err(Trouble::Denied("it has no text".to_owned()));
        };
        match sent.references.get(*next).cloned() {
            Some(reference) => {
                *next += 1;
                if !seen.insert(reference.clone()) {
                    continue;
                }
                if seen.len() > MAX_REFERENCES {
                    return Err(Trouble::Denied(format!(
                        "it refers to more than {MAX_REFERENCES} schemas"
                    )));
                }
                let found =
                    client
                        .by_version(&reference)
                        .await
                        .map_err(|trouble| match trouble {
                            Trouble::Denied(why) => Trouble::Denied(format!(
                                "it refers to version {} of subject `{}`: {why}",
                                reference.version, reference.subject
                            )),
                            other => other,
                        })?;
                open.push((found, reference.name, 0));
            }
            None => {
                let Some((done, name, _)) = open.pop() else {
                    continue;
                };
                if open.is_empty() {
                    break done.schema;
                }
                references.push(ReferencedSchema {
                    name,
                    text: done.schema,
                });
            }
        }
    };
    Ok(RegisteredSchema {
        kind,
        text,
        references,
    })
}
