//! The first records that a run would read, decoded as it would decode them.

use std::time::Duration;

use strandline_operators::Error;
use strandline_operators::arrow_array::Array as _;
use strandline_operators::arrow_array::cast::AsArray as _;
use strandline_operators::arrow_array::types::TimestampMicrosecondType;
use strandline_operators::decode::recognise::look;
use strandline_operators::decode::{self, Decoded};
use strandline_operators::job::{Format, JobSettings};
use strandline_operators::positions::TopicMetadata;
use strandline_operators::record::{DecodeFailure, RawBatch};
use strandline_operators::time::EventTime;

use super::{Findings, Starts, Verdict};
use crate::commands::peek;
use crate::connectors::kafka::client::KafkaSettings;
use crate::connectors::kafka::peek::{PeekFrom, records};
use crate::connectors::schema_registry::SchemaRegistry;
use crate::engine::recognise;

/// Records decoded as a sample.
const SAMPLE_RECORDS: usize = 100;

/// How long they are waited for.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Event times before this are hardly meant: 2000-01-01, in microseconds. Seconds read as milliseconds are in January
/// 1970, and milliseconds read as microseconds too.
const PLAUSIBLE_FROM: i64 = 946_684_800_000_000;

/// Looks at records of each topic: those that would be read, or where there are none, the newest.
pub(super) fn check(
    findings: &mut Findings,
    kafka: &KafkaSettings,
    starts: &Starts,
    topics: &[TopicMetadata],
    settings: &JobSettings,
    registry: Option<&SchemaRegistry>,
) {
    if settings.leaves_format_open() {
        let empty = recognise::empty_topics(settings, kafka);
        let Some(empty) = findings.look("format", empty) else {
            return;
        };
        if !empty.is_empty() {
            let topics = empty.join("`, `");
            let found = format!(
                "topic `{topics}` is empty: a run waits for the first records, to tell their format"
            );
            findings.add(Verdict::Warn, "format", found);
            return;
        }
    }
    let recognised = recognise::with_formats(settings, kafka, registry);
    let Some((settings, said)) = findings.look("format", recognised) else {
        return;
    };
    for line in said {
        findings.add(Verdict::Ok, "format", line);
    }
    let decoder = decode::decoder(&settings, registry.is_some());
    let Some(mut decoder) = findings.look("sample", decoder) else {
        return;
    };
    for topic in topics {
        let name = &topic.name;
        let from = match starts.get(name) {
            Some(offsets) => PeekFrom::Offsets(offsets.clone()),
            None => PeekFrom::Latest,
        };
        let read = |from| records(kafka, name, None, from, SAMPLE_RECORDS, SAMPLE_TIMEOUT);
        let Some(mut sample) = findings.look("sample", read(from)) else {
            continue;
        };
        if sample.is_empty() && starts.contains_key(name) {
            // Only what was aborted, or markers, lie there so far.
            let Some(newest) = findings.look("sample", read(PeekFrom::Latest)) else {
                continue;
            };
            sample = newest;
        }
        if sample.is_empty() {
            findings.add(
                Verdict::Warn,
                "sample",
                format!(
                    "topic `{name}` holds no record to look at\n  hint: see that its producer runs and writes to this broker; a run waits for the first record"
                ),
            );
            continue;
        }
        let batch = peek::batch(name, &sample);
        // With the registry away a run would start, and wait for it: whoever asks beforehand wants to know.
        let learned = peek::learn_schemas(&mut *decoder, registry, &batch);
        if findings.look("sample", learned).is_none() {
            continue;
        }
        judge(findings, name, &settings, &batch, &decoder.decode(&batch));
    }
}

/// How many decode, and why the first that does not does not.
fn judge(
    findings: &mut Findings,
    topic: &str,
    settings: &JobSettings,
    batch: &RawBatch,
    decoded: &Decoded,
) {
    let found = format!(
        "{} of {} records of `{topic}` decode as {}",
        decoded.rows.len(),
        batch.records.len(),
        settings.format_of(topic).name()
    );
    let strange = strange_times(settings, batch, decoded);
    match decoded.failures.first() {
        None => findings.add(Verdict::Ok, "sample", found),
        Some(failure) => {
            let found = format!(
                "{found}; the first that does not: {}, {}{}",
                failure.error_type.name(),
                failure.message,
                fitting(settings, batch, failure)
            );
            let status = if decoded.rows.is_empty() {
                findings
                    .worst
                    .get_or_insert_with(|| Error::configuration(found.clone()));
                Verdict::Fail
            } else {
                Verdict::Warn
            };
            findings.add(status, "sample", found);
        }
    }
    if let Some(strange) = strange {
        findings.add(Verdict::Warn, "event time", strange);
    }
}

/// What a record that does not decode looks like, and the setting that would fit.
fn fitting(settings: &JobSettings, batch: &RawBatch, failure: &DecodeFailure) -> String {
    let record = batch.records.get(failure.record as usize);
    let value = record.and_then(|record| record.value);
    let Some(value) = value.map(|span| batch.bytes(span)) else {
        return String::new();
    };
    let (format, key) = settings.read_as(&batch.source.topic);
    let look = look(value, settings);
    match look.setting(&key) {
        Some(setting) if !look.formats.contains(&format) => format!(
            "\n  hint: it looks like {}, for which {setting} would fit",
            look.seen
        ),
        _ => format!(
            "\n  hint: it looks like {}: compare the record with the job's columns (`strandline peek {}`)",
            look.seen, settings.name
        ),
    }
}

/// Event times that are hardly meant: most of them before the year 2000, or further ahead of their records than the
/// watermark's skew allows.
fn strange_times(settings: &JobSettings, batch: &RawBatch, decoded: &Decoded) -> Option<String> {
    let column = decoded.columns.column_by_name(&settings.event_time)?;
    let times = column.as_primitive_opt::<TimestampMicrosecondType>()?;
    let skew = i64::try_from(settings.watermark.max_future_skew.as_micros()).unwrap_or(i64::MAX);
    let (mut early, mut ahead) = (None, None);
    let (mut early_count, mut ahead_count) = (0, 0);
    for (row, &record) in decoded.rows.iter().enumerate() {
        if !times.is_valid(row) {
            continue;
        }
        let time = times.value(row);
        let sent = batch.records.get(record as usize).and_then(|r| r.timestamp);
        let latest = sent.unwrap_or_else(EventTime::now).0.saturating_add(skew);
        if time < PLAUSIBLE_FROM {
            early_count += 1;
            early.get_or_insert(time);
        } else if time > latest {
            ahead_count += 1;
            ahead.get_or_insert(time);
        }
    }
    let units = match settings.format_of(&batch.source.topic) {
        Format::DebeziumJson | Format::DebeziumJsonSr => {
            "`debezium.timestamps` says what integers count"
        }
        _ => "an integer is milliseconds since 1970 (docs/formats.md)",
    };
    let (count, first, what) = match (early, ahead) {
        (Some(first), _) if early_count * 2 > decoded.rows.len() => {
            (early_count, first, "are before the year 2000")
        }
        (_, Some(first)) if ahead_count * 2 > decoded.rows.len() => (
            ahead_count,
            first,
            "are ahead of their records' timestamps by more than `watermark.max_future_skew`: they would be dead letters",
        ),
        _ => return None,
    };
    Some(format!(
        "{count} of {} event times in `{}` {what}, the first is {}\n  hint: see which unit the producer writes: {units}",
        decoded.rows.len(),
        settings.event_time,
        EventTime(first)
    ))
}
