//! Reads rows back from the table that a claim was made on: what the deduplication state is rebuilt from.
//!
//! Rows carry the epoch they came in with and the watermark they were judged by, so this works after
//! compaction and after the expiry of snapshots; bounds of files and row groups prune what is older.

mod columns;
mod wanted;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use futures::{StreamExt, stream};
use iceberg::TableIdent;
use iceberg::arrow::ArrowReaderBuilder;
use iceberg::expr::{Predicate, Reference};
use iceberg::io::FileIO;
use iceberg::scan::{FileScanTask, TableScan};
use iceberg::spec::Datum;
use iceberg::table::{StaticTable, Table};
use parquet::errors::ParquetError;
use strandline_operators::arrow_array::RecordBatch;
use strandline_operators::arrow_schema::ArrowError;
use strandline_operators::dedup::read_back::ReadBack;
use strandline_operators::io::TableIndex;
use strandline_operators::progress::Progress;
use strandline_operators::{Error, Result};

use super::blocking::Blocking;
use super::catalog::reason;
use super::description::TablesDescription;
use super::store::{Fault, Patience, Store, StoreFactory};
use super::tables;
use columns::DataFile;
use wanted::Wanted;

/// Rows of a batch handed out.
const BATCH_ROWS: usize = 16 * 1024;

/// Data files read at a time by a scan. Each holds a row group of the chosen columns in memory.
const FILES_AT_A_TIME: usize = 2;

/// Data files that are planned ahead of those that are read.
const WAITING_FILES: usize = 64;

/// What is done with the rows, on a thread of its own.
pub type Visitor<'a> = Box<dyn FnMut(&RecordBatch) -> Result<()> + Send + 'a>;

/// Reads rows of the primary table, as the claim found it, on as many threads as there are visitors: the named
/// columns, in that order, each row to one of the visitors. Works in every process of the job, without the
/// catalog, of which `configured` are this process' properties. Memory: for each thread a batch and the pages of a row group's columns.
///
/// Rows that others appended are left out: an id that never came over a topic of the job is not known to
/// its deduplication, whether its state was kept or is read back.
///
/// # Errors
/// When the table cannot be read, or a visitor fails.
pub fn read_back(
    description: &TablesDescription,
    configured: &HashMap<String, String>,
    columns: &[&str],
    rows: ReadBack,
    visitors: Vec<Visitor<'_>>,
) -> Result<()> {
    let primary = description
        .tables
        .iter()
        .find(|t| t.index == TableIndex::PRIMARY)
        .ok_or_else(|| Error::internal("the description of the tables lacks the primary"))?;
    let ident = tables::ident(&primary.name)?;
    let blocking = Blocking::new()?;
    let location = primary.metadata_location.clone();
    let factory = StoreFactory::with(Patience::Full);
    let file_io = factory.file_io(&primary.store_properties(configured));
    let table = blocking
        .wait(load_static(&location, ident, file_io, blocking.handle()?))?
        .map_err(|e| unreadable(&primary.name, &e))?;
    if table.metadata().current_snapshot().is_none() {
        return Ok(());
    }
    let epoch_above = rows.epoch_above.map(|epoch| {
        i64::try_from(epoch.0)
            .map_err(|_| Error::internal(format!("epoch {epoch} is out of range")))
    });
    let wanted = Wanted {
        topics: topics_of_the_job(&table, &description.job)?,
        epoch_above: epoch_above.transpose()?,
        alive_after: rows.alive_after.map(|time| time.0),
        event_time: primary.day_of.clone(),
    };
    let mut scan = table.scan().select(columns.iter().copied());
    if let Some(predicate) = wanted.predicate() {
        scan = scan.with_filter(predicate);
    }
    let scan = scan.build().map_err(|e| unreadable(&primary.name, &e))?;
    let reading = Reading {
        blocking: &blocking,
        store: primary.store(configured),
        file_io: table.file_io().clone(),
        name: &primary.name,
        wanted,
        has_failed: AtomicBool::new(false),
    };
    let (queue, files) = bounded(WAITING_FILES);
    thread::scope(|scope| {
        let reading = &reading;
        let readers: Vec<_> = visitors
            .into_iter()
            .map(|visit| {
                let files = files.clone();
                scope.spawn(move || reading.read(&files, visit))
            })
            .collect();
        drop(files);
        let planned = reading.plan(&scan, queue);
        readers.into_iter().fold(planned, |result, reader| {
            let panicked = |_| Error::internal("a thread that reads the table back panicked");
            result.and(reader.join().map_err(panicked).flatten())
        })
    })
}

/// One pass over the table.
struct Reading<'a> {
    blocking: &'a Blocking,
    store: Store,
    file_io: FileIO,
    name: &'a str,
    wanted: Wanted,
    /// Set when a thread has failed: the others need not go on.
    has_failed: AtomicBool,
}

impl Reading<'_> {
    /// Queues the files that may hold wanted rows.
    fn plan(&self, scan: &TableScan, queue: Sender<FileScanTask>) -> Result<()> {
        let failed = |e: iceberg::Error| unreadable(self.name, &e);
        let mut files = self.blocking.wait(scan.plan_files())?.map_err(failed)?;
        while let Some(file) = self.blocking.wait(files.next())? {
            // Without a reader all of them have failed, and say so themselves.
            if queue.send(file.map_err(failed)?).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn read(&self, files: &Receiver<FileScanTask>, mut visit: Visitor<'_>) -> Result<()> {
        for file in files {
            if self.has_failed.load(Ordering::Relaxed) {
                break;
            }
            let read = match DataFile::open(&self.store, &file, &self.wanted) {
                Some(data) => data
                    .read(&self.wanted, &mut |rows| Ok(visit(rows)?))
                    .map_err(|failure: Failure| failure.explain(self.name, &file)),
                None => self.read_by_library(file, &mut visit),
            };
            if read.is_err() {
                self.has_failed.store(true, Ordering::Relaxed);
                return read;
            }
        }
        Ok(())
    }

    /// Reads a file that has deletes, or that another engine wrote in another shape.
    fn read_by_library(&self, file: FileScanTask, visit: &mut Visitor<'_>) -> Result<()> {
        let failed = |e: iceberg::Error| unreadable(self.name, &e);
        let reader = ArrowReaderBuilder::new(self.file_io.clone(), self.blocking.handle()?)
            .with_batch_size(BATCH_ROWS)
            .with_data_file_concurrency_limit(1)
            .with_row_group_filtering_enabled(true)
            .build();
        let read = reader.read(stream::iter([Ok(file)]).boxed());
        let mut batches = read.map_err(failed)?.stream();
        while let Some(batch) = self.blocking.wait(batches.next())? {
            visit(&batch.map_err(failed)?)?;
        }
        Ok(())
    }
}

/// Why a file was not read to its end.
enum Failure {
    File(String),
    Store(Fault),
    Visitor(Error),
}

impl Failure {
    fn explain(self, table: &str, file: &FileScanTask) -> Error {
        let path = file.data_file_path();
        let what = format!("cannot read table `{table}`: data file `{path}`");
        match self {
            Failure::Visitor(error) => error,
            Failure::Store(fault) => {
                fault.explain(what, "see that the warehouse is there and readable")
            }
            Failure::File(reason) => Error::unreachable(format!("{what}: {reason}"))
                .hint("see that the file is whole; the table's other readers need it too"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Visitor(error)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::Store(fault)
    }
}

impl From<ParquetError> for Failure {
    fn from(error: ParquetError) -> Failure {
        match Fault::within(&error) {
            Some(fault) => Failure::Store(fault.clone()),
            None => Failure::File(error.to_string()),
        }
    }
}

impl From<ArrowError> for Failure {
    fn from(error: ArrowError) -> Failure {
        Failure::File(error.to_string())
    }
}

/// The topics that the job has read so far; none before it has read any.
fn topics_of_the_job(table: &Table, job: &str) -> Result<Vec<String>> {
    let progress = table.metadata().properties().get(&Progress::property(job));
    let Some(json) = progress else {
        return Ok(Vec::new());
    };
    Ok(Progress::parse(json)?.topics.into_keys().collect())
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
    file_io: FileIO,
    runtime: iceberg::Runtime,
) -> iceberg::Result<Table> {
    let table = StaticTable::from_metadata_file(location, ident.clone(), file_io.clone()).await?;
    Table::builder()
        .identifier(ident)
        .file_io(file_io)
        .metadata_location(location)
        .metadata(table.metadata())
        .readonly(true)
        .runtime(runtime)
        .build()
}

fn unreadable(table: &str, error: &iceberg::Error) -> Error {
    let what = format!("cannot read table `{table}`");
    let hint = "see that the warehouse is there and readable";
    match Fault::within(error) {
        Some(fault) => fault.clone().explain(what, hint),
        None => Error::unreachable(format!("{what}: {}", reason(error))).hint(hint),
    }
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

#[cfg(test)]
mod tests;
