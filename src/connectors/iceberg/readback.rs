//! Reads rows back from the table that a claim was made on: what the deduplication state is rebuilt from.
//!
//! Rows carry the epoch they came in with and the watermark they were judged by, so this works after
//! compaction and after the expiry of snapshots; bounds of files and row groups prune what is older.

use futures::StreamExt;
use iceberg::TableIdent;
use iceberg::expr::{Predicate, Reference};
use iceberg::io::FileIO;
use iceberg::spec::Datum;
use iceberg::table::{StaticTable, Table};
use strandline_operators::arrow_array::RecordBatch;
use strandline_operators::dedup::read_back::ReadBack;
use strandline_operators::io::TableIndex;
use strandline_operators::progress::Progress;
use strandline_operators::{Error, Result};

use super::blocking::Blocking;
use super::catalog::reason;
use super::description::TablesDescription;
use super::tables;

/// Rows of a batch handed out.
const BATCH_ROWS: usize = 16 * 1024;

/// Data files read at a time. Each holds a row group of the chosen columns in memory.
const FILES_AT_A_TIME: usize = 2;

/// Streams rows of the primary table, as the claim found it, to `visit`: the named columns, in that order.
/// Works in every process of the job, without the catalog. Memory: a few batches and row groups.
///
/// Rows that others appended are left out: an id that never came over a topic of the job is not known to
/// its deduplication, whether its state was kept or is read back.
///
/// # Errors
/// When the table cannot be read, or `visit` fails.
pub fn read_back(
    description: &TablesDescription,
    columns: &[&str],
    rows: ReadBack,
    visit: &mut dyn FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    let primary = description
        .tables
        .iter()
        .find(|t| t.index == TableIndex::PRIMARY)
        .ok_or_else(|| Error::internal("the description of the tables lacks the primary"))?;
    let ident = tables::ident(&primary.name)?;
    let blocking = Blocking::new()?;
    let location = primary.metadata_location.clone();
    let table = blocking
        .wait(load_static(&location, ident, blocking.handle()?))?
        .map_err(|e| unreadable(&primary.name, &e))?;
    let mut filter = of_the_job(&table, &description.job)?;
    if let Some(epoch) = rows.epoch_above {
        let epoch = i64::try_from(epoch.0)
            .map_err(|_| Error::internal(format!("epoch {epoch} is out of range")))?;
        and(
            &mut filter,
            Reference::new("ingest_epoch").greater_than(Datum::long(epoch)),
        );
    }
    if let Some(time) = rows.alive_after {
        let time = Datum::timestamptz_micros(time.0);
        let by_event = Reference::new(&primary.day_of).greater_than(time.clone());
        and(
            &mut filter,
            by_event.or(Reference::new("ingest_watermark").greater_than(time)),
        );
    }
    scan(
        &blocking,
        &table,
        &primary.name,
        Some(columns),
        filter,
        visit,
    )
}

/// Rows of the topics that the job has read so far; `None` before it has read any.
fn of_the_job(table: &Table, job: &str) -> Result<Option<Predicate>> {
    let progress = table.metadata().properties().get(&Progress::property(job));
    let Some(json) = progress else {
        return Ok(None);
    };
    let topics = Progress::parse(json)?.topics;
    Ok((!topics.is_empty()).then(|| is_of_topics(topics.keys())))
}

fn is_of_topics<'a>(topics: impl Iterator<Item = &'a String>) -> Predicate {
    Reference::new("kafka_topic").is_in(topics.map(Datum::string))
}

/// Whether the table holds a row of any of the topics.
pub(super) fn holds_rows_of(
    blocking: &Blocking,
    table: &Table,
    name: &str,
    topics: &[String],
) -> Result<bool> {
    let mut found = false;
    // Ends the scan early; never leaves this function.
    let enough = || Error::internal("one is enough");
    let filter = Some(is_of_topics(topics.iter()));
    let scanned = scan(
        blocking,
        table,
        name,
        Some(&["kafka_topic"]),
        filter,
        &mut |batch| {
            found |= batch.num_rows() > 0;
            if found { Err(enough()) } else { Ok(()) }
        },
    );
    match scanned {
        Err(error) if !found => Err(error),
        _ => Ok(found),
    }
}

async fn load_static(
    location: &str,
    ident: TableIdent,
    runtime: iceberg::Runtime,
) -> iceberg::Result<Table> {
    let table =
        StaticTable::from_metadata_file(location, ident.clone(), FileIO::new_with_fs()).await?;
    Table::builder()
        .identifier(ident)
        .file_io(FileIO::new_with_fs())
        .metadata_location(location)
        .metadata(table.metadata())
        .readonly(true)
        .runtime(runtime)
        .build()
}

fn and(filter: &mut Option<Predicate>, more: Predicate) {
    *filter = Some(match filter.take() {
        Some(already) => already.and(more),
        None => more,
    });
}

fn unreadable(table: &str, error: &iceberg::Error) -> Error {
    Error::unreachable(format!("cannot read table `{table}`: {}", reason(error)))
        .hint("see that the warehouse is there and readable")
}

/// Streams the rows of the table's current snapshot.
pub(super) fn scan(
    blocking: &Blocking,
    table: &Table,
    name: &str,
    columns: Option<&[&str]>,
    filter: Option<Predicate>,
    visit: &mut dyn FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    if table.metadata().current_snapshot().is_none() {
        return Ok(());
    }
    let failed = |e: iceberg::Error| unreadable(name, &e);
    let mut scan = table
        .scan()
        .with_batch_size(Some(BATCH_ROWS))
        .with_data_file_concurrency_limit(FILES_AT_A_TIME)
        .with_row_group_filtering_enabled(true);
    scan = match columns {
        Some(columns) => scan.select(columns.iter().copied()),
        None => scan.select_all(),
    };
    if let Some(filter) = filter {
        scan = scan.with_filter(filter);
    }
    let scan = scan.build().map_err(failed)?;
    let mut batches = blocking
        .wait(async move { scan.to_arrow().await })?
        .map_err(failed)?;
    while let Some(batch) = blocking.wait(batches.next())? {
        visit(&batch.map_err(failed)?)?;
    }
    Ok(())
}
