//! `format: auto`: which format the records of a job's topics have, told from the first of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use strandline_operators::decode::decoder;
use strandline_operators::decode::recognise::{Recognised, recognise};
use strandline_operators::io::SchemaAnswer;
use strandline_operators::job::{Format, JobSettings};
use strandline_operators::{Error, Result};

use crate::connectors::kafka::client::KafkaSettings;
use crate::connectors::kafka::metadata::Cluster;
use crate::connectors::kafka::peek::{PeekFrom, PeekedRecord, records};
use crate::connectors::schema_registry::SchemaRegistry;

/// Records looked at, of each topic: its oldest ones.
const SAMPLE_RECORDS: usize = 100;

/// How long they are waited for.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often topics without a record are looked at again: two small requests.
const EMPTY_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is said that they have none.
const EMPTY_SAY_INTERVAL: Duration = Duration::from_secs(60);

/// The longest that nobody looks whether the wait is to end.
const STOP_LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The topics whose format is to be told.
fn open_topics(settings: &JobSettings) -> impl Iterator<Item = &String> {
    let is_open = move |topic: &&String| settings.format_of(topic) == Format::Auto;
    settings.topics.iter().filter(is_open)
}

/// The topics of a job whose format is to be told, and that hold no record.
///
/// # Errors
/// Unreachable: the broker, or a topic that is not there.
pub fn empty_topics(settings: &JobSettings, kafka: &KafkaSettings) -> Result<Vec<String>> {
    empty(settings, &Cluster::connect(kafka)?)
}

fn empty(settings: &JobSettings, kafka: &Cluster) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for topic in open_topics(settings) {
        let sources: Vec<_> = kafka.topic(topic)?.sources().collect();
        let (starts, ends) = (kafka.log_starts(&sources)?, kafka.ends(&sources)?);
        if sources
            .iter()
            .all(|source| starts.get(source) == ends.get(source))
        {
            found.push(topic.clone());
        }
    }
    Ok(found)
}

/// For `format: auto`: waits until every topic of it holds a record that a format can be told from, and says which ones
/// it waits for. Whether there are; not, when `stop` was raised before.
///
/// # Errors
/// As [`empty_topics`].
pub fn wait_for_records(
    settings: &JobSettings,
    kafka: &KafkaSettings,
    stop: &AtomicBool,
) -> Result<bool> {
    let kafka = Cluster::connect(kafka)?;
    let mut said: Option<Instant> = None;
    loop {
        let empty = empty(settings, &kafka)?;
        if empty.is_empty() {
            return Ok(true);
        }
        if said.is_none_or(|at| at.elapsed() >= EMPTY_SAY_INTERVAL) {
            said = Some(Instant::now());
            let (job, topics) = (&settings.name, empty.join("`, `"));
            tracing::warn!(
                job,
                "`format: auto` waits for the first records of `{topics}`, to tell their format; set `jobs.{job}.format` to begin without them"
            );
        }
        let looked = Instant::now();
        while looked.elapsed() < EMPTY_LOOK_INTERVAL {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            std::thread::sleep(STOP_LOOK_INTERVAL);
        }
    }
}

/// The job's settings with formats that can be decoded, and what is to be said of each topic. A topic whose format the
/// settings name keeps it, and nothing is said of it.
///
/// # Errors
/// Configuration: no format can be told, or those of the topics do not go together. Unreachable: the broker, or the
/// registry when a schema must be asked for.
pub fn with_formats(
    settings: &JobSettings,
    kafka: &KafkaSettings,
    registry: Option<&SchemaRegistry>,
) -> Result<(JobSettings, Vec<String>)> {
    if !settings.leaves_format_open() {
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
    let (mut formats, mut said) = (BTreeMap::new(), Vec::new());
    for topic in open_topics(settings) {
        let sample = records(
            kafka,
            topic,
            None,
            PeekFrom::Earliest,
            SAMPLE_RECORDS,
            SAMPLE_TIMEOUT,
        )?;
        let Recognised { format, reason } = of_topic(topic, &sample, settings, registry)?;
        let name = format.name();
        said.push(format!("the format of `{topic}` is `{name}`: {reason}"));
        formats.insert(topic.clone(), format);
    }
    let mut settings = settings.clone();
    settings.set_formats(&formats);
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
            "set `jobs.{}.{}` {named}; `strandline peek --topic {topic}` shows the records",
            settings.name,
            settings.format_key(topic)
        ))
    })
}
