//! `format: auto`: which format the records of a job's topics have, told from the first of them.

use std::time::Duration;

use strandline_operators::decode::decoder;
use strandline_operators::decode::recognise::{Recognised, recognise};
use strandline_operators::io::SchemaAnswer;
use strandline_operators::job::{Format, JobSettings};
use strandline_operators::{Error, Result};

use crate::connectors::kafka::client::KafkaSettings;
use crate::connectors::kafka::peek::{PeekFrom, PeekedRecord, records};
use crate::connectors::schema_registry::SchemaRegistry;

/// Records looked at, of each topic: its oldest ones.
const SAMPLE_RECORDS: usize = 100;

/// How long they are waited for.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The job's settings with a format that can be decoded, and what is to be said of each topic. Settings that name a
/// format stay as they are, and nothing is said.
///
/// # Errors
/// Configuration: no format can be told, or the topics have different ones. Unreachable: the broker, or the registry
/// when a schema must be asked for.
pub fn with_format(
    settings: &JobSettings,
    kafka: &KafkaSettings,
    registry: Option<&SchemaRegistry>,
) -> Result<(JobSettings, Vec<String>)> {
    if settings.format != Format::Auto {
        return Ok((settings.clone(), Vec::new()));
    }
    if settings.peek.is_some() {
        return Err(Error::configuration(format!(
            "`format: auto` is not for job `{}`, which keeps its records as they are",
            settings.name
        ))
        .hint(format!(
            "leave `jobs.{}.format` out, or set it to `raw`",
            settings.name
        )));
    }
    let mut found: Vec<(&str, Recognised)> = Vec::new();
    for topic in &settings.topics {
        let sample = records(
            kafka,
            topic,
            None,
            PeekFrom::Earliest,
            SAMPLE_RECORDS,
            SAMPLE_TIMEOUT,
        )?;
        found.push((topic, of_topic(topic, &sample, settings, registry)?));
    }
    let said = found.iter().map(|(topic, found)| {
        let name = found.format.name();
        format!("the format of `{topic}` is `{name}`: {}", found.reason)
    });
    let said: Vec<String> = said.collect();
    let formats: Vec<Format> = found.iter().map(|(_, found)| found.format).collect();
    let Some((&format, others)) = formats.split_first() else {
        return Err(Error::internal("a job without topics"));
    };
    if others.iter().any(|other| *other != format) {
        return Err(Error::configuration(format!(
            "the topics of job `{}` have different formats: {}",
            settings.name,
            said.join("; ")
        ))
        .hint("a job reads one format; make a job of each, or set `format` to one and have the others as dead letters"));
    }
    let settings = JobSettings {
        format,
        ..settings.clone()
    };
    decoder(&settings, registry.is_some())?;
    Ok((settings, said))
}

fn of_topic(
    topic: &str,
    sample: &[PeekedRecord],
    settings: &JobSettings,
    registry: Option<&SchemaRegistry>,
) -> Result<Recognised> {
    let mut failed = None;
    let mut kind_of = |id| {
        let answer = registry?.look_up(id);
        match answer {
            Ok(SchemaAnswer::Known(schema)) => Some(schema.kind),
            Ok(SchemaAnswer::Denied(_)) => None,
            Err(error) => {
                failed.get_or_insert(error);
                None
            }
        }
    };
    let values = sample.iter().map(|record| record.value.as_deref());
    let found = recognise(values, settings, &mut kind_of);
    if let Some(error) = failed {
        return Err(error.context(format!("the format of `{topic}` cannot be told")));
    }
    found.map_err(|unknown| {
        let names: Vec<String> = unknown
            .candidates
            .iter()
            .map(|format| format!("`{}`", format.name()))
            .collect();
        let named = match names.as_slice() {
            [] => "to the format that they have".to_owned(),
            names => format!("to one of {}", names.join(", ")),
        };
        Error::configuration(format!(
            "the format of `{topic}` cannot be told from its first records: {}",
            unknown.reason
        ))
        .hint(format!(
            "set `jobs.{}.format` {named}; `strandline peek --topic {topic}` shows the records",
            settings.name
        ))
    })
}
