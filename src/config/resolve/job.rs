//! A job's settings in force.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use strandline_operators::job::{
    CommitPolicy, CsvSettings, DebeziumPolicy, DedupPolicy, Format, Job, JobSettings,
    LatenessPolicy, Peek, PeekAt, Route, StartingOffsets, WatermarkPolicy,
};

use super::listing::{Below, Listing};
use super::whole;
use crate::config::file::{
    DedupSection, Formats, JobSection, ON_GAP, PeekSection, SCHEMA_EVOLUTIONS, Switch, TOO_LATE,
};
use crate::config::origin::{At, Origin};
use crate::config::read::Problems;
use crate::config::units::{format_duration, format_size};

/// Where a setting of a job comes from when the file does not say: the job's code where it departs from
/// the defaults of a Bronze job.
fn whence(departs: bool) -> Origin {
    if departs {
        Origin::JOB
    } else {
        Origin::DEFAULT
    }
}

/// Joins one job's section with its code.
pub(super) fn resolve(
    job: &Job,
    said: JobSection,
    listing: &mut Listing,
    problems: &mut Problems,
) -> JobSettings {
    whole::check(job, &said, problems);
    let ours = job.settings();
    let bronze = Job::BRONZE;
    let duration = |d: &std::time::Duration| json!(format_duration(*d));
    let size = |bytes: &u64| json!(format_size(*bytes));
    let mut at = listing.below(&["jobs", job.name]);
    let watermark = said.watermark.unwrap_or_default();
    let lateness = said.lateness.unwrap_or_default();
    let commit = said.commit.unwrap_or_default();
    let letters = said.dead_letters.unwrap_or_default();
    // Filled where the format stands in the listing, and of use once the topics are known.
    let mut by_topic = BTreeMap::new();
    let mut settings = JobSettings {
        name: ours.name,
        topics: at.pick("topics", said.topics, ours.topics, Origin::JOB, |t| {
            json!(t)
        }),
        group_id: at.pick(
            "group_id",
            said.group_id,
            ours.group_id,
            Origin::DEFAULT,
            |g| json!(g),
        ),
        starting_offsets: at.pick(
            "starting_offsets",
            said.starting_offsets,
            ours.starting_offsets,
            Origin::DEFAULT,
            show_offsets,
        ),
        format: resolve_format(job, said.format, &mut by_topic, &mut at),
        formats: ours.formats,
        avro_schema: match said.avro_schema {
            Some(schema) => {
                at.list_text("avro_schema", &schema);
                Some(schema.value)
            }
            None => ours.avro_schema,
        },
        json_fail_invalid_schema: at.pick(
            "json_fail_invalid_schema",
            said.json_fail_invalid_schema,
            ours.json_fail_invalid_schema,
            whence(ours.json_fail_invalid_schema != bronze.json_fail_invalid_schema),
            |yes| json!(yes),
        ),
        schema_evolution: at.pick(
            "schema_evolution",
            said.schema_evolution,
            ours.schema_evolution,
            whence(ours.schema_evolution != bronze.schema_evolution),
            |e| word(&SCHEMA_EVOLUTIONS, e),
        ),
        peek: resolve_peek(ours.format, ours.peek, said.peek, &mut at),
        debezium: at.within("debezium", |at| {
            let (ours, theirs) = (ours.debezium, bronze.debezium);
            let said = said.debezium.unwrap_or_default();
            DebeziumPolicy {
                timestamps: at.pick(
                    "timestamps",
                    said.timestamps,
                    ours.timestamps,
                    whence(ours.timestamps != theirs.timestamps),
                    |t| json!(t.name()),
                ),
                decimals: at.pick(
                    "decimals",
                    said.decimals,
                    ours.decimals,
                    whence(ours.decimals != theirs.decimals),
                    |d| json!(d.name()),
                ),
                binaries: at.pick(
                    "binaries",
                    said.binaries,
                    ours.binaries,
                    whence(ours.binaries != theirs.binaries),
                    |b| json!(b.name()),
                ),
            }
        }),
        csv: at.within("csv", |at| {
            let said = said.csv.unwrap_or_default();
            let whence = whence(job.csv != bronze.csv);
            CsvSettings {
                columns: at.pick(
                    "columns",
                    said.columns,
                    ours.csv.columns,
                    whence.clone(),
                    |columns| json!(columns),
                ),
                delimiter: at.pick(
                    "delimiter",
                    said.delimiter,
                    ours.csv.delimiter,
                    whence,
                    |delimiter| json!(char::from(*delimiter).to_string()),
                ),
            }
        }),
        columns: ours.columns,
        derived: ours.derived,
        sink: ours.sink,
        table: at.pick("table", said.table, ours.table, Origin::JOB, |t| json!(t)),
        routes: at.within("routes", |at| {
            let mut said = said.routes;
            let mut resolve = |route: Route<String>| Route {
                table: at.pick(
                    route.name,
                    said.remove(route.name),
                    route.table,
                    Origin::JOB,
                    |t| json!(t),
                ),
                name: route.name,
                takes: route.takes,
            };
            ours.routes.into_iter().map(&mut resolve).collect()
        }),
        dead_letter_topic: at.within("dead_letters", |at| {
            let whence = whence(job.dead_letter_topic.is_some());
            option(at.pick(
                "topic",
                letters.topic,
                switch(ours.dead_letter_topic),
                whence,
                show_switch,
            ))
        }),
        dead_letter_table: at.within("dead_letters", |at| {
            let whence = whence(job.dead_letter_table.is_some());
            option(at.pick(
                "table",
                letters.table,
                switch(ours.dead_letter_table),
                whence,
                show_switch,
            ))
        }),
        event_time: at.pick(
            "event_time",
            said.event_time,
            ours.event_time,
            whence(job.event_time != bronze.event_time),
            |e| json!(e),
        ),
        watermark: at.within("watermark", |at| {
            let (ours, theirs) = (ours.watermark, bronze.watermark);
            let mut pick = |key, said, ours, theirs| {
                at.pick(key, said, ours, whence(ours != theirs), duration)
            };
            WatermarkPolicy {
                out_of_orderness: pick(
                    "out_of_orderness",
                    watermark.out_of_orderness,
                    ours.out_of_orderness,
                    theirs.out_of_orderness,
                ),
                idle_timeout: pick(
                    "idle_timeout",
                    watermark.idle_timeout,
                    ours.idle_timeout,
                    theirs.idle_timeout,
                ),
                max_future_skew: pick(
                    "max_future_skew",
                    watermark.max_future_skew,
                    ours.max_future_skew,
                    theirs.max_future_skew,
                ),
            }
        }),
        lateness: at.within("lateness", |at| {
            let (ours, theirs) = (ours.lateness, bronze.lateness);
            LatenessPolicy {
                allowed: at.pick(
                    "allowed",
                    lateness.allowed,
                    ours.allowed,
                    whence(ours.allowed != theirs.allowed),
                    duration,
                ),
                too_late: at.pick(
                    "too_late",
                    lateness.too_late,
                    ours.too_late,
                    whence(ours.too_late != theirs.too_late),
                    |t| word(&TOO_LATE, t),
                ),
            }
        }),
        dedup: resolve_dedup(job, said.dedup, &mut at),
        commit: at.within("commit", |at| {
            let (ours, theirs) = (ours.commit, bronze.commit);
            CommitPolicy {
                interval: at.pick(
                    "interval",
                    commit.interval,
                    ours.interval,
                    whence(ours.interval != theirs.interval),
                    duration,
                ),
                max_bytes: at.pick(
                    "max_bytes",
                    commit.max_bytes,
                    ours.max_bytes,
                    whence(ours.max_bytes != theirs.max_bytes),
                    size,
                ),
            }
        }),
        on_gap: at.pick("on_gap", said.on_gap, ours.on_gap, Origin::DEFAULT, |o| {
            word(&ON_GAP, o)
        }),
        partition_discovery_interval: at.pick(
            "partition_discovery_interval",
            said.partition_discovery_interval,
            ours.partition_discovery_interval,
            Origin::DEFAULT,
            duration,
        ),
        memory: at.pick("memory", said.memory, ours.memory, Origin::DEFAULT, size),
        max_record_bytes: at.pick(
            "max_record_bytes",
            said.max_record_bytes,
            ours.max_record_bytes,
            Origin::DEFAULT,
            size,
        ),
    };
    settings.set_formats(&by_topic);
    settings
}

/// The format of all topics. What the file says of single ones goes `by_topic`, and is listed in its place.
fn resolve_format(
    job: &Job,
    said: Option<At<Formats>>,
    by_topic: &mut BTreeMap<String, Format>,
    at: &mut Below<'_>,
) -> Format {
    let At { value, origin } = said.unwrap_or(At {
        value: Formats::One(job.format),
        origin: whence(job.format != Job::BRONZE.format),
    });
    match value {
        Formats::One(format) => {
            at.list("format", json!(format.name()), origin);
            format
        }
        Formats::ByTopic(formats) => {
            at.within("format", |at| {
                for (topic, format) in formats {
                    at.list(&topic, json!(format.value.name()), format.origin);
                    by_topic.insert(topic, format.value);
                }
            });
            job.format
        }
    }
}

/// What the file says of the peek, else the job. A job that has none gets one when the file says all of it.
fn resolve_peek(
    format: Format,
    ours: Option<Peek<String>>,
    said: Option<PeekSection>,
    at: &mut Below<'_>,
) -> Option<Peek<String>> {
    let said = said.unwrap_or_default();
    at.within("peek", |at| {
        let mut pick = |key, said: Option<At<PeekAt<String>>>, ours: Option<PeekAt<String>>| {
            let ours = ours.or(said.as_ref().map(|s| s.value.clone()))?;
            Some(at.pick(key, said, ours, Origin::JOB, |p| json!(p.text())))
        };
        let event_id = pick(
            "event_id",
            said.event_id,
            ours.as_ref().map(|p| p.event_id.clone()),
        );
        let event_time = pick(
            "event_time",
            said.event_time,
            ours.as_ref().map(|p| p.event_time.clone()),
        );
        let (event_id, event_time) = (event_id?, event_time?);
        let default = ours.map_or(format, |p| p.format);
        Some(Peek {
            format: at.pick("format", said.format, default, Origin::JOB, |f| {
                json!(f.name())
            }),
            event_id,
            event_time,
        })
    })
}

/// `dedup: { ttl: 1h }` keeps the job's key; a job without deduplication gets the Bronze defaults.
fn resolve_dedup(
    job: &Job,
    said: Option<At<Switch<DedupSection>>>,
    at: &mut Below<'_>,
) -> Option<DedupPolicy<String>> {
    let bronze = Job::BRONZE.dedup;
    let (said, ours) = match said {
        Some(At {
            value: Switch::Off,
            origin,
        }) => {
            at.list("dedup", json!("off"), origin);
            return None;
        }
        Some(At {
            value: Switch::On(section),
            ..
        }) => (section, job.dedup.or(bronze)?),
        None => match job.dedup {
            Some(ours) => (DedupSection::default(), ours),
            None => {
                at.list("dedup", json!("off"), Origin::JOB);
                return None;
            }
        },
    };
    Some(at.within("dedup", |at| DedupPolicy {
        key: at.pick(
            "key",
            said.key,
            ours.key.to_owned(),
            whence(bronze.is_none_or(|b| b.key != ours.key)),
            |k| json!(k),
        ),
        ttl: at.pick(
            "ttl",
            said.ttl,
            ours.ttl,
            whence(bronze.is_none_or(|b| b.ttl != ours.ttl)),
            |t| json!(format_duration(*t)),
        ),
    }))
}

fn switch(option: Option<String>) -> Switch<String> {
    option.map_or(Switch::Off, Switch::On)
}

fn option(switch: Switch<String>) -> Option<String> {
    match switch {
        Switch::On(text) => Some(text),
        Switch::Off => None,
    }
}

fn show_switch(switch: &Switch<String>) -> Value {
    match switch {
        Switch::On(text) => json!(text),
        Switch::Off => json!("off"),
    }
}

fn word<T: PartialEq>(words: &[(&str, T)], value: &T) -> Value {
    words
        .iter()
        .find(|(_, v)| v == value)
        .map_or(Value::Null, |(word, _)| json!(word))
}

fn show_offsets(offsets: &StartingOffsets) -> Value {
    match offsets {
        StartingOffsets::Earliest => json!("earliest"),
        StartingOffsets::Latest => json!("latest"),
        StartingOffsets::Group => json!("group"),
        StartingOffsets::Timestamp(millis) => json!({ "timestamp": millis }),
        StartingOffsets::Explicit(explicit) => json!({ "explicit": explicit }),
    }
}
