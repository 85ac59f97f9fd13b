//! Reads the values that are more than a word or a number.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use strandline_operators::job::{Format, StartingOffsets};

use super::bounds::DEDUP_TTL;
use super::{DedupSection, FORMATS, Formats, Switch};
use crate::config::origin::At;
use crate::config::read::{Problems, Section};
use crate::config::tree::{Node, Value};

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
    const ALLOWED: &str =
        "a list of the names of a row's cells, none twice; an empty one for the job's own columns";
    let name = |text: &str| (!text.is_empty()).then(|| text.to_owned());
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

/// A format of all topics, or formats by topic. Which topics there are is not known here.
pub(super) fn read_format(
    section: &mut Section<'_>,
    problems: &mut Problems,
) -> Option<At<Formats>> {
    let path = section.path_of("format");
    let node = section.node("format")?;
    let value = match &node.value {
        Value::Map(entries) => {
            let each = entries.iter().map(|entry| {
                let path = format!("{path}.{}", entry.key);
                let value = read_one_format(&path, &entry.node, problems, "")?;
                let origin = entry.node.origin.clone();
                Some((entry.key.clone(), At { value, origin }))
            });
            // All of them first: what is wrong with one says nothing of the next.
            let each: Vec<Option<(String, At<Format>)>> = each.collect();
            Formats::ByTopic(each.into_iter().collect::<Option<_>>()?)
        }
        _ => Formats::One(read_one_format(
            &path,
            node,
            problems,
            ", or a map of topics such as `{ orders: json }`",
        )?),
    };
    Some(At {
        value,
        origin: node.origin.clone(),
    })
}

/// The name of a format; `or` says what else is allowed.
fn read_one_format(path: &str, node: &Node, problems: &mut Problems, or: &str) -> Option<Format> {
    let named = match &node.value {
        Value::Scalar(text) => FORMATS.iter().find(|(name, _)| name == text),
        _ => None,
    };
    if named.is_none() {
        let names: Vec<String> = FORMATS
            .iter()
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        problems.bad_value(path, node, &format!("one of {}{or}", names.join(", ")));
    }
    named.map(|(_, format)| *format)
}

/// Tables by the names of routes. Which routes there are is the job's to say.
pub(super) fn read_routes(
    section: &mut Section<'_>,
    problems: &mut Problems,
) -> BTreeMap<String, At<String>> {
    let path = section.path_of("routes");
    let mut routes = section.properties("routes", problems);
    routes.retain(|name, said| {
        let is_table = table(&said.value).is_some();
        if !is_table {
            problems.reject(
                &format!("{path}.{name}"),
                &format!("`{}`", said.value),
                &said.origin,
                "a table as `namespace.table`",
            );
        }
        is_table
    });
    routes
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
