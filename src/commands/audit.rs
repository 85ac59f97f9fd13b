//! `audit JOB`: proves the account against table and broker.
//!
//! Reads the whole table once. Memory: 24 bytes a row for the identity of rows and ids.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;
use strandline_operators::account::Account;
use strandline_operators::arrow_array::cast::AsArray;
use strandline_operators::arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use strandline_operators::arrow_array::{Array, RecordBatch};
use strandline_operators::dedup::expiry::{Retention, first_live_bucket};
use strandline_operators::dedup::hash::hash_strings;
use strandline_operators::job::{JobSettings, SecondaryTable};
use strandline_operators::numbers::grouped;
use strandline_operators::progress::Progress;
use strandline_operators::record::TopicPartition;
use strandline_operators::time::EventTime;
use strandline_operators::{Error, ErrorKind, Result};

use crate::cli::Context;
use crate::cli::arguments::AuditArgs;
use crate::cli::output::{print, print_json};
use crate::commands::run::{catalog_settings, kafka_settings};
use crate::connectors::iceberg::IcebergConnector;
use crate::connectors::kafka::client::KafkaSettings;
use crate::connectors::kafka::metadata::Cluster;
use crate::engine::report::TableReport;

/// What an audit found. A count that is not zero where it should be is a finding.
#[derive(Debug, Serialize)]
struct Audit {
    job: String,
    account: Account,
    tables: Vec<TableReport>,
    partitions: Vec<PartitionAudit>,
    /// Rows beyond the first with the same topic, partition and offset.
    duplicate_coordinates: u64,
    /// Rows beyond the first with the same id, that landed while the id was still remembered.
    duplicate_ids: u64,
    /// Rows of topics and partitions that the job has never heard of.
    rows_out_of_range: u64,
    problems: Vec<String>,
    /// Tables besides the primary that have not followed it yet.
    behind: Vec<String>,
    /// How long the audit took.
    seconds: f64,
    /// Records that the account was proved of, in a second of it.
    events_per_second: f64,
    /// Why the broker could not be asked, if it could not: then the table alone was judged.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "message_of")]
    unanswered: Option<Error>,
}

/// What was found of one partition.
#[derive(Debug, Serialize)]
struct PartitionAudit {
    topic: String,
    partition: i32,
    start: i64,
    next: i64,
    /// The broker's end; `None` when the broker was not asked or does not know it.
    end: Option<i64>,
    lag: Option<i64>,
    rows: u64,
    account: Account,
}

fn message_of<S: serde::Serializer>(
    error: &Option<Error>,
    to: S,
) -> std::result::Result<S::Ok, S::Error> {
    to.serialize_some(&error.as_ref().map(Error::message))
}

/// Runs the command.
///
/// # Errors
/// The table cannot be read, or holds what a run refuses too; once everything is printed: the account is not proved, or
/// the broker could not be asked.
pub fn run(context: &Context, args: &AuditArgs) -> Result<()> {
    context.job_with_tables(&args.job)?;
    let config = context.config_for(&args.job, &[])?;
    let Some(settings) = config.engine.jobs.get(&args.job) else {
        return Err(Error::internal(format!(
            "the configuration has no settings for job `{}`",
            args.job
        )));
    };
    let iceberg = IcebergConnector::open(&catalog_settings(&config))?;
    let audit = examine(&iceberg, &kafka_settings(&config), settings)?;
    if args.json {
        print_json(&audit)?;
    } else {
        print(&text(&audit))?;
    }
    if audit.problems.is_empty() {
        // The table is as it should be, as far as can be told without the broker.
        return audit.unanswered.map_or(Ok(()), |error| {
            Err(error.context(format!(
                "the account of job {} is proved of the table alone",
                args.job
            )))
        });
    }
    Err(Error::new(ErrorKind::Internal, format!("the account of job {} is not proved: {}", args.job, audit.problems.join("; ")))
        .hint("keep the table and the topic as they are, and report this with the output of `audit --json`"))
}

fn examine(
    iceberg: &IcebergConnector,
    kafka: &KafkaSettings,
    settings: &JobSettings,
) -> Result<Audit> {
    let missing = || {
        Error::configuration(format!(
            "there is nothing to audit: table `{}` holds no progress of this job",
            settings.table
        ))
        .hint(format!(
            "run the job first: `strandline run {}`",
            settings.name
        ))
    };
    let began = Instant::now();
    let view = iceberg.view(&settings.table)?.ok_or_else(missing)?;
    let progress = &view.progress(settings)?.ok_or_else(missing)?;
    let facts = view.facts()?;
    // Now, not after the scan: a job that runs goes on meanwhile.
    let mut secondaries = Vec::new();
    for secondary in settings.secondary_tables() {
        if let Some(view) = iceberg.view(secondary.name)? {
            let is_behind = view.is_behind(progress)?;
            secondaries.push((secondary, view.facts()?, is_behind));
        }
    }
    let mut rows = Rows::default();
    let key = settings.dedup.as_ref().map(|dedup| dedup.key.as_str());
    let mut columns = vec![
        "kafka_topic",
        "kafka_partition",
        "kafka_offset",
        settings.event_time.as_str(),
    ];
    columns.push("ingest_watermark");
    columns.extend(key);
    let retention = Retention::of(settings);
    view.scan(Some(&columns), &mut |batch| {
        rows.take_in(batch, retention.as_ref())
    })?;

    let mut problems = Vec::new();
    let account = progress.account();
    let (ends, unanswered) = match broker_ends(kafka, progress) {
        Ok(ends) => (ends, None),
        // A broker that is away is not the audit's end: the table is still judged.
        Err(error) => (BTreeMap::new(), Some(error)),
    };
    let mut partitions = Vec::new();
    let mut duplicate_coordinates = 0;
    for (topic, known) in &progress.topics {
        for (&partition, at) in &known.partitions {
            let source = TopicPartition::new(topic.as_str(), partition);
            let mut offsets = rows.offsets.remove(&source).unwrap_or_default();
            offsets.sort_unstable();
            duplicate_coordinates +=
                offsets.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64;
            let outside = offsets
                .iter()
                .filter(|&&o| o < at.start || o >= at.read_up_to())
                .count() as u64;
            if outside > 0 {
                problems.push(format!(
                    "{source}: {outside} rows have offsets outside of {}..{}, which is what was consumed",
                    at.start,
                    at.read_up_to()
                ));
            }
            if !at.is_accounted() {
                problems.push(format!(
                    "{source}: {} offsets were passed, its account says otherwise",
                    at.next - at.start
                ));
            }
            if offsets.len() as u64 - outside != at.account.landed {
                problems.push(format!(
                    "{source}: {} rows in the table, {} landed",
                    offsets.len() as u64 - outside,
                    at.account.landed
                ));
            }
            let end = ends.get(&source).copied();
            if end.is_some_and(|end| end < at.next) {
                problems.push(format!(
                    "{source}: the broker's end is behind what was consumed"
                ));
            }
            partitions.push(PartitionAudit {
                topic: topic.clone(),
                partition,
                start: at.start,
                next: at.next,
                end,
                lag: end.map(|end| end - at.next),
                rows: offsets.len() as u64,
                account: at.account,
            });
        }
    }
    // What is left has coordinates that the job has never heard of: somebody else's rows.
    let rows_out_of_range = rows
        .offsets
        .values()
        .map(|offsets| offsets.len() as u64)
        .sum::<u64>();
    let duplicate_ids = rows.duplicate_ids();
    for (count, what) in [
        (
            duplicate_coordinates,
            "rows have coordinates that another row has",
        ),
        (duplicate_ids, "rows have an id that another row has"),
    ] {
        if count > 0 {
            problems.push(format!("{count} {what}"));
        }
    }
    let mut tables = vec![TableReport {
        name: facts.name.clone(),
        metadata_location: facts.metadata_location.clone(),
        rows: facts.rows,
    }];
    let mut behind = Vec::new();
    for (SecondaryTable { name, route, .. }, secondary, is_behind) in secondaries {
        let known = progress.rows_of(route);
        if is_behind {
            behind.push(name.to_owned());
        } else if secondary.rows != known {
            let what = route.map_or("dead letters".to_owned(), |route| {
                format!("were routed there by `{route}`")
            });
            problems.push(format!(
                "{} rows in `{name}`, {known} {what}",
                secondary.rows
            ));
        }
        tables.push(TableReport {
            name: secondary.name,
            metadata_location: secondary.metadata_location,
            rows: secondary.rows,
        });
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(Audit {
        job: settings.name.clone(),
        account,
        tables,
        partitions,
        duplicate_coordinates,
        duplicate_ids,
        rows_out_of_range,
        problems,
        behind,
        seconds,
        events_per_second: account.consumed as f64 / seconds,
        unanswered,
    })
}

/// The ends of all partitions.
fn broker_ends(
    kafka: &KafkaSettings,
    progress: &Progress,
) -> Result<BTreeMap<TopicPartition, i64>> {
    let sources: Vec<TopicPartition> = progress
        .topics
        .iter()
        .flat_map(|(topic, known)| {
            known
                .partitions
                .keys()
                .map(|&p| TopicPartition::new(topic.as_str(), p))
        })
        .collect();
    Cluster::connect(kafka)?.ends(&sources)
}

/// The identities of the table's rows.
#[derive(Default)]
struct Rows {
    offsets: BTreeMap<TopicPartition, Vec<i64>>,
    ids: Vec<IdRow>,
}

/// A row by its id. Ordered by id, then by event time as far as ids expire by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct IdRow {
    hash: u128,
    /// No id of an earlier bucket than this can have expired before the row was judged, as far as its own
    /// event time and watermark tell.
    live: u32,
    /// The bucket that its id expires with.
    expires: u32,
}

impl IdRow {
    fn new(
        hash: u128,
        event_time: EventTime,
        watermark: Option<EventTime>,
        retention: &Retention,
    ) -> IdRow {
        IdRow {
            hash,
            live: first_live_bucket(event_time.max(watermark.unwrap_or(event_time))),
            expires: retention.bucket(event_time, watermark),
        }
    }
}

impl Rows {
    fn take_in(&mut self, batch: &RecordBatch, retention: Option<&Retention>) -> Result<()> {
        let unexpected =
            || Error::internal("the table gave columns of other types than it was created with");
        let topics = batch
            .column(0)
            .as_string_opt::<i32>()
            .ok_or_else(unexpected)?;
        let partitions = batch
            .column(1)
            .as_primitive_opt::<Int32Type>()
            .ok_or_else(unexpected)?;
        let offsets = batch
            .column(2)
            .as_primitive_opt::<Int64Type>()
            .ok_or_else(unexpected)?;
        let times = batch
            .column(3)
            .as_primitive_opt::<TimestampMicrosecondType>()
            .ok_or_else(unexpected)?;
        let mut last: Option<(TopicPartition, Vec<i64>)> = None;
        for row in 0..batch.num_rows() {
            let (topic, partition) = (topics.value(row), partitions.value(row));
            if last
                .as_ref()
                .is_none_or(|(s, _)| &*s.topic != topic || s.partition != partition)
            {
                self.keep(last.take());
                last = Some((TopicPartition::new(topic, partition), Vec::new()));
            }
            if let Some((_, kept)) = &mut last {
                kept.push(offsets.value(row));
            }
        }
        self.keep(last);
        if let Some(retention) = retention {
            let watermarks = batch
                .column(4)
                .as_primitive_opt::<TimestampMicrosecondType>()
                .ok_or_else(unexpected)?;
            let ids = batch
                .column(5)
                .as_string_opt::<i32>()
                .ok_or_else(unexpected)?;
            let rows = hash_strings(ids, 0).into_iter().enumerate();
            self.ids.extend(rows.map(|(row, hash)| {
                let watermark = watermarks
                    .is_valid(row)
                    .then(|| EventTime(watermarks.value(row)));
                IdRow::new(hash, EventTime(times.value(row)), watermark, retention)
            }));
        }
        Ok(())
    }

    fn keep(&mut self, offsets: Option<(TopicPartition, Vec<i64>)>) {
        if let Some((source, offsets)) = offsets {
            self.offsets.entry(source).or_default().extend(offsets);
        }
    }

    /// Rows whose id another row has, that landed while it was still remembered. Ids expire by the hour
    /// (`dedup::expiry`), between the TTL and an hour more, and a copy that comes after that lands rightly.
    fn duplicate_ids(&mut self) -> u64 {
        self.ids.sort_unstable();
        self.ids
            .windows(2)
            .filter(|pair| pair[0].hash == pair[1].hash && pair[1].live <= pair[0].expires)
            .count() as u64
    }
}

fn text(audit: &Audit) -> String {
    let account = &audit.account;
    let mut text = format!("{}\n", audit.job);
    for p in &audit.partitions {
        let lag = p
            .lag
            .map_or_else(|| "unknown".to_owned(), |lag| grouped(lag.max(0) as u64));
        text.push_str(&format!(
            "  {}[{}]: offsets {}..{} = {} landed + {} duplicates + {} dead letters + {} dropped + {} gaps; {} rows; lag {lag}\n",
            p.topic,
            p.partition,
            p.start,
            p.next,
            grouped(p.account.landed),
            grouped(p.account.duplicates),
            grouped(p.account.dead_letters),
            grouped(p.account.dropped),
            grouped(p.account.gaps),
            grouped(p.rows),
        ));
    }
    for table in &audit.tables {
        text.push_str(&format!(
            "  table {}: {} rows\n",
            table.name,
            grouped(table.rows)
        ));
    }
    text.push_str(&format!(
        "  consumed {} = landed {} (late {}) + duplicates {} + dead letters {} + dropped {}\n",
        grouped(account.consumed),
        grouped(account.landed),
        grouped(account.late),
        grouped(account.duplicates),
        grouped(account.dead_letters),
        grouped(account.dropped),
    ));
    text.push_str(&format!(
        "  {} duplicate coordinates, {} duplicate ids, {} rows of others\n",
        audit.duplicate_coordinates, audit.duplicate_ids, audit.rows_out_of_range
    ));
    for table in &audit.behind {
        text.push_str(&format!(
            "  table {table} is not where the primary is; the job brings it there when it runs\n"
        ));
    }
    if audit.problems.is_empty() {
        text.push_str(match audit.unanswered {
            None => "  the account is proved\n",
            Some(_) => "  the account is proved of the table; the broker could not be asked\n",
        });
    }
    for problem in &audit.problems {
        text.push_str(&format!("  problem: {problem}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use strandline_operators::job::TooLate;

    use super::*;

    const MINUTE: i64 = 60 * 1_000_000;
    const HOUR: i64 = 60 * MINUTE;

    /// Rows of one id, each with its event time and watermark, where ids are remembered for two days.
    fn duplicates(rows: &[(i64, Option<i64>)]) -> u64 {
        let retention = Retention {
            ttl: Duration::from_secs(48 * 3600),
            allowed_lateness: Duration::from_secs(3600),
            too_late: TooLate::Land,
        };
        let row = |&(event_time, watermark): &(i64, Option<i64>)| {
            let watermark = watermark.map(EventTime);
            IdRow::new(7, EventTime(event_time), watermark, &retention)
        };
        let mut rows = Rows {
            ids: rows.iter().map(row).collect(),
            ..Rows::default()
        };
        rows.duplicate_ids()
    }

    #[test]
    fn a_copy_that_lands_after_its_id_has_expired_is_no_duplicate() {
        let first = (1000 * HOUR + 30 * MINUTE, None);
        let copy_at = |watermark: i64| (first.0, Some(watermark));
        assert_eq!(duplicates(&[first, copy_at(first.0 + HOUR)]), 1);
        assert_eq!(duplicates(&[first, copy_at(first.0 + 48 * HOUR)]), 1);
        // Remembered to the end of the hour.
        let expired = 1049 * HOUR;
        assert_eq!(duplicates(&[first, copy_at(expired - 1)]), 1);
        assert_eq!(duplicates(&[first, copy_at(expired)]), 0);
        assert_eq!(duplicates(&[first, copy_at(first.0 + 49 * HOUR)]), 0);
    }

    #[test]
    fn a_row_that_was_late_is_remembered_from_its_watermark_on() {
        let late = (1000 * HOUR, Some(1040 * HOUR));
        let copy_at = |watermark: i64| (late.0, Some(watermark));
        assert_eq!(duplicates(&[late, copy_at(1060 * HOUR)]), 1);
        assert_eq!(duplicates(&[late, copy_at(1089 * HOUR)]), 0);
        let copies = [late, copy_at(1089 * HOUR), copy_at(1090 * HOUR)];
        assert_eq!(
            duplicates(&copies),
            1,
            "the second copy is one of the first"
        );
    }

    #[test]
    fn event_times_far_apart_are_no_duplicates_close_ones_are() {
        assert_eq!(duplicates(&[(0, None), (0, None), (HOUR, None)]), 2);
        assert_eq!(duplicates(&[(1000 * HOUR, None), (1050 * HOUR, None)]), 0);
    }
}
