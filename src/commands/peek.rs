//! `peek`: records of a topic, touching no state. Of a job's topics they are decoded too.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use strandline_operators::credit::Budget;
use strandline_operators::decode::{self, Decode, SchemaIds};
use strandline_operators::job::JobSettings;
use strandline_operators::record::{Headers, RawBatch, RawRecord, Span, TopicPartition};
use strandline_operators::time::EventTime;
use strandline_operators::{Error, Result};

use crate::cli::Context;
use crate::cli::arguments::{PeekArgs, PeekFrom, PeekSource};
use crate::cli::output::{print, print_json};
use crate::commands::run::{kafka_settings, registry_settings};
use crate::config::Config;
use crate::connectors::json_row::object;
use crate::connectors::kafka::peek::{self, PeekedRecord};
use crate::connectors::schema_registry::SchemaRegistry;
use crate::engine::recognise;

/// How long records are waited for.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a value shown to people.
const SHOWN_BYTES: usize = 2000;

/// A record as it is printed.
#[derive(Debug, Serialize)]
struct Shown {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp: Option<String>,
    key: Option<String>,
    headers: Vec<(String, Option<String>)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_id: Option<u32>,
    /// The value: JSON when it is JSON, text when it is text, else `hex:` and its bytes; null when null.
    value: Value,
    #[serde(flatten)]
    verdict: Option<Verdict>,
}

/// What a job's format makes of a record.
#[derive(Debug, Serialize)]
struct Verdict {
    /// `ok`, `dropped`, or why the record cannot land.
    decodes: String,
    /// The job's columns that are not null, of a record that decodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    decoded: Option<Value>,
}

/// Runs the command.
///
/// # Errors
/// The topic cannot be read.
pub fn run(context: &Context, args: &PeekArgs) -> Result<()> {
    let count = usize::try_from(args.number).unwrap_or(usize::MAX);
    let from = match args.from {
        PeekFrom::Earliest => peek::PeekFrom::Earliest,
        PeekFrom::Latest => peek::PeekFrom::Latest,
        PeekFrom::Offset(offset) => peek::PeekFrom::Offset(offset),
    };
    let mut shown = Vec::new();
    match &args.source {
        PeekSource::Topic(topic) => {
            let kafka = kafka_settings(&context.config()?);
            let records = peek::records(&kafka, topic, None, from, count, TIMEOUT)?;
            shown.extend(records.into_iter().map(|record| show(topic, record, None)));
        }
        PeekSource::Job(job) => {
            let config = context.config_for(job, &[])?;
            let kafka = kafka_settings(&config);
            let settings = config.engine.jobs.get(job).ok_or_else(|| {
                Error::internal(format!("the configuration has no settings for job `{job}`"))
            })?;
            let registry = registry_of(&config, settings)?;
            let (settings, _) = recognise::with_formats(settings, &kafka, registry.as_ref())?;
            let mut decoder = decode::decoder(&settings, registry.is_some())?;
            for topic in &settings.topics {
                let records = peek::records(&kafka, topic, None, from.clone(), count, TIMEOUT)?;
                for record in records {
                    let batch = batch(topic, std::slice::from_ref(&record));
                    learn_schemas(&mut *decoder, registry.as_ref(), &batch)?;
                    let verdict = verdict(&batch, &mut *decoder);
                    shown.push(show(topic, record, Some(verdict)));
                }
            }
            shown.truncate(count);
        }
    }
    if args.json {
        return print_json(&shown);
    }
    let mut text = String::new();
    for record in &shown {
        text.push_str(&line(record));
    }
    if shown.is_empty() {
        text.push_str("no records there\n");
    }
    print(&text)
}

/// The schema registry, when the job's format has to do with it.
pub(super) fn registry_of(
    config: &Config,
    settings: &JobSettings,
) -> Result<Option<SchemaRegistry>> {
    let registry = config.schema_registry.as_ref();
    let registry = registry.filter(|_| settings.has_schema_ids());
    registry
        .map(|registry| SchemaRegistry::open(&registry_settings(registry)))
        .transpose()
}

/// Looks up the schemas that a sample needs.
pub(super) fn learn_schemas(
    decoder: &mut dyn Decode,
    registry: Option<&SchemaRegistry>,
    sample: &RawBatch,
) -> Result<()> {
    let mut missing = SchemaIds::new();
    decoder.missing_schemas(sample, &mut missing);
    if let Some(registry) = registry {
        for id in missing {
            decoder.learn(id, &registry.look_up(id)?);
        }
    }
    Ok(())
}

/// What the decoder makes of a batch of one record.
fn verdict(batch: &RawBatch, decoder: &mut dyn Decode) -> Verdict {
    let decoded = decoder.decode(batch);
    let decodes = match decoded.failures.first() {
        Some(failure) => format!("{}: {}", failure.error_type.name(), failure.message),
        None if decoded.rows.is_empty() => "dropped".to_owned(),
        None => "ok".to_owned(),
    };
    let has_row = !decoded.rows.is_empty();
    Verdict {
        decodes,
        decoded: has_row.then(|| Value::Object(object(&decoded.columns, 0, &[]))),
    }
}

/// Peeked records as the batch that a source would have made of them.
pub(super) fn batch(topic: &str, records: &[PeekedRecord]) -> RawBatch {
    let mut arena = Vec::new();
    let mut span = |bytes: &[u8]| {
        let start = arena.len() as u32;
        arena.extend_from_slice(bytes);
        Span {
            start,
            end: arena.len() as u32,
        }
    };
    let mut headers = Headers::default();
    for record in records {
        for (name, value) in &record.headers {
            headers.push(span(name.as_bytes()), value.as_deref().map(&mut span));
        }
        headers.close_record();
    }
    let raw: Vec<RawRecord> = records
        .iter()
        .map(|record| RawRecord {
            offset: record.offset,
            timestamp: record
                .timestamp_ms
                .map(|ms| EventTime(ms.saturating_mul(1000))),
            key: record.key.as_deref().map(&mut span),
            value: record.value.as_deref().map(&mut span),
        })
        .collect();
    let first = records.first();
    RawBatch {
        source: TopicPartition::new(topic, first.map_or(0, |r| r.partition)),
        start: first.map_or(0, |r| r.offset),
        next: records.last().map_or(0, |r| r.offset + 1),
        leader_epoch: None,
        received_at: EventTime::now(),
        arena: arena.into(),
        records: raw,
        headers: Some(headers),
        credit: Budget::new(0).take(0),
    }
}

fn show(topic: &str, record: PeekedRecord, verdict: Option<Verdict>) -> Shown {
    let schema_id = record.schema_id();
    Shown {
        topic: topic.to_owned(),
        partition: record.partition,
        offset: record.offset,
        timestamp: record
            .timestamp_ms
            .map(|ms| EventTime(ms.saturating_mul(1000)).to_string()),
        key: record.key.as_deref().map(text_or_hex),
        headers: record
            .headers
            .into_iter()
            .map(|(name, value)| (name, value.as_deref().map(text_or_hex)))
            .collect(),
        schema_id,
        value: match record.value.as_deref() {
            None => Value::Null,
            Some(bytes) => {
                serde_json::from_slice(bytes).unwrap_or_else(|_| Value::String(text_or_hex(bytes)))
            }
        },
        verdict,
    }
}

/// Text when it is text that a terminal can show, else `hex:` and the bytes.
fn text_or_hex(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text)
            if !text
                .chars()
                .any(|c| c.is_control() && c != '\n' && c != '\t') =>
        {
            text.to_owned()
        }
        _ => {
            let mut text = "hex:".to_owned();
            for byte in bytes {
                text.push_str(&format!("{byte:02x}"));
            }
            text
        }
    }
}

fn line(record: &Shown) -> String {
    let verdict = record.verdict.as_ref();
    let decoded = verdict.and_then(|verdict| verdict.decoded.as_ref());
    let value = match decoded.unwrap_or(&record.value) {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let shown: String = value.chars().take(SHOWN_BYTES).collect();
    let more = if shown.len() < value.len() {
        format!(" ... ({} bytes)", value.len())
    } else {
        String::new()
    };
    let mut text = format!("{}[{}] {}", record.topic, record.partition, record.offset);
    for (name, part) in [("at", &record.timestamp), ("key", &record.key)] {
        if let Some(part) = part {
            text.push_str(&format!("  {name} {part}"));
        }
    }
    if let Some(id) = record.schema_id {
        text.push_str(&format!("  schema id {id}"));
    }
    for (name, value) in &record.headers {
        text.push_str(&format!(
            "  header {name}={}",
            value.as_deref().unwrap_or("null")
        ));
    }
    match verdict.map(|verdict| verdict.decodes.as_str()) {
        None | Some("ok") => {}
        Some("dropped") => text.push_str("  carries no row, by the format's rules"),
        Some(decodes) => text.push_str(&format!("  CANNOT LAND: {decodes}")),
    }
    format!("{text}\n  {shown}{more}\n")
}
