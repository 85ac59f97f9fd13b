//! Reads the values that are more than a word or a number.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use strandline_operators::job::StartingOffsets;

use super::bounds::DEDUP_TTL;
use super::{DedupSection, Switch};
use crate::config::origin::At;
use crate::config::read::{Problems, Section};
use crate::config::tree::Value;

/// An address and port, or `off`.
pub(super) fn address(text: &str) -> Option<Switch<SocketAddr>> {
    match text {
        "off" => Some(Switch::Off),
        _ => match text.strip_prefix("localhost:") {
            Some(port) => port
                .parse()
                .ok()
                .map(|port| Switch::On(SocketAddr::from(([127, 0, 0, 1], port)))),
            None => text.parse().ok().map(Switch::On),
        },
    }
}

/// `namespace.table`, with no empty part.
pub(super) fn table(text: &str) -> Option<String> {
    let mut parts = text.split('.');
    (text.contains('.') && parts.all(|part| !part.trim().is_empty())).then(|| text.to_owned())
}

/// A name that Kafka takes for a topic: up to 249 of these characters, and neither `.` nor `..`.
pub(super) fn topic(text: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_name =
        (1..=249).contains(&text.len()) && text.chars().all(fits) && text != "." && text != "..";
    is_name.then(|| text.to_owned())
}

/// The character between two cells.
pub(super) fn csv_delimiter(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [b'"' | b'\r' | b'\n'] => None,
        [byte] => Some(*byte),
        _ => None,
    }
}

pub(super) fn read_topics(
    section: &mut Section<'_>,
    problems: &mut Problems,
) -> Option<At<Vec<String>>> {
    const ALLOWED: &str = "a list of topics such as `[orders]`, each of letters, digits, `.`, `_` and `-`, none twice";
    read_names(section, "topics", ALLOWED, false, topic, problems)
}

pub(super) fn read_csv_columns(
    section: &mut Section<'_>,
    problems: &mut Problems,
) -> Option<At<Vec<String>>> {
    const ALLOWED: &str = "a list of the names of a row's cells, none twice";
    let name = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    // None at all means the job's columns, and is shown like that.
    read_names(section, "columns", ALLOWED, true, name, problems)
}

/// A list of names, none twice; `name` says whether a text is one.
fn read_names(
    section: &mut Section<'_>,
    key: &'static str,
    allowed: &str,
    may_be_empty: bool,
    name: impl Fn(&str) -> Option<String>,
    problems: &mut Problems,
) -> Option<At<Vec<String>>> {
    let path = section.path_of(key);
    let node = section.node(key)?;
    let mut names: Vec<String> = Vec::new();
    // One may stand without its brackets.
    let list = match &node.value {
        Value::List(list) if may_be_empty || !list.is_empty() => list.as_slice(),
        Value::Scalar(_) => std::slice::from_ref(node),
        _ => {
            problems.bad_value(&path, node, allowed);
            return None;
        }
    };
    for item in list {
        let name = match &item.value {
            Value::Scalar(text) => name(text).filter(|name| !names.contains(name)),
            _ => None,
        };
        match name {
            Some(name) => names.push(name),
            None => problems.bad_value(&path, item, allowed),
        }
    }
    Some(At {
        value: names,
        origin: node.origin.clone(),
    })
}

pub(super) fn read_dedup(
    section: &mut Section<'_>,
    problems: &mut Problems,
) -> Option<At<Switch<DedupSection>>> {
    let path = section.path_of("dedup");
    let node = section.node("dedup")?;
    let value = match &node.value {
        Value::Scalar(text) if text == "off" => Switch::Off,
        Value::Map(_) => {
            let mut section = Section::of(&path, node, problems);
            let dedup = DedupSection {
                key: section.text("key", "the name of a column", problems),
                ttl: section.duration("ttl", DEDUP_TTL, problems),
            };
            section.finish(problems);
            Switch::On(dedup)
        }
        _ => {
            problems.bad_value(
                &path,
                node,
                "`off` or a map such as `{ key: event_id, ttl: 24h }`",
            );
            return None;
        }
    };
    Some(At {
        value,
        origin: node.origin.clone(),
    })
}

pub(super) fn read_starting_offsets(
    section: &mut Section<'_>,
    problems: &mut Problems,
) -> Option<At<StartingOffsets>> {
    const ALLOWED: &str = "`earliest`, `latest`, `group`, `{ timestamp: TIME }` or `{ explicit: { TOPIC: { PARTITION: OFFSET } } }`";
    let path = section.path_of("starting_offsets");
    let node = section.node("starting_offsets")?;
    let value = match &node.value {
        Value::Scalar(text) => match text.as_str() {
            "earliest" => Some(StartingOffsets::Earliest),
            "latest" => Some(StartingOffsets::Latest),
            "group" => Some(StartingOffsets::Group),
            _ => None,
        },
        Value::Map(_) => {
            let before = problems.len();
            let mut section = Section::of(&path, node, problems);
            let timestamp = section.scalar(
                "timestamp",
                "milliseconds since 1970, or a time such as `2026-01-31T12:00:00Z`",
                problems,
                timestamp,
            );
            let explicit = read_explicit(&mut section, problems);
            section.finish(problems);
            if problems.len() > before {
                return None;
            }
            match (timestamp, explicit) {
                (Some(timestamp), None) => Some(StartingOffsets::Timestamp(timestamp.value)),
                (None, Some(explicit)) => Some(StartingOffsets::Explicit(explicit)),
                _ => None,
            }
        }
        _ => None,
    };
    if value.is_none() {
        problems.bad_value(&path, node, ALLOWED);
    }
    value.map(|value| At {
        value,
        origin: node.origin.clone(),
    })
}

/// Milliseconds since 1970, from a number or from RFC 3339.
fn timestamp(text: &str) -> Option<i64> {
    match text.parse::<i64>() {
        Ok(millis) => Some(millis).filter(|m| *m >= 0),
        Err(_) => chrono::DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|t| t.timestamp_millis()),
    }
}

fn read_explicit(
    section: &mut Section<'_>,
    problems: &mut Problems,
) -> Option<BTreeMap<String, BTreeMap<i32, i64>>> {
    const ALLOWED: &str =
        "a map of partition to offset such as `{ 0: 17, 1: 42 }`, neither below 0";
    let explicit = section.section("explicit", problems)?;
    let mut offsets = BTreeMap::new();
    for topic in explicit.entries() {
        let path = explicit.path_of(&topic.key);
        let mut partitions = BTreeMap::new();
        for entry in Section::of(&path, &topic.node, problems).entries() {
            let partition = entry.key.parse::<i32>().ok().filter(|p| *p >= 0);
            let offset = match &entry.node.value {
                Value::Scalar(text) => text.parse::<i64>().ok().filter(|o| *o >= 0),
                _ => None,
            };
            match (partition, offset) {
                (Some(partition), Some(offset)) => {
                    partitions.insert(partition, offset);
                }
                _ => problems.bad_value(&format!("{path}.{}", entry.key), &entry.node, ALLOWED),
            }
        }
        offsets.insert(topic.key.clone(), partitions);
    }
    Some(offsets)
}
