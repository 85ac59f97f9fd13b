//! The connector's guarantees, on a SQLite catalog and a warehouse in a temporary folder.

mod added_columns;
mod claims;
mod columns;
mod commits;
mod dead_letters;
mod manifests;
mod others;
mod reading;
mod routes;
mod savepoints;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use iceberg::{TableIdent, TableUpdate};
use strandline_operators::ErrorKind;
use strandline_operators::account::Account;
use strandline_operators::arrow_array::cast::AsArray;
use strandline_operators::arrow_array::types::Int64Type;
use strandline_operators::arrow_array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use strandline_operators::dedup::read_back::ReadBack;
use strandline_operators::io::{FileKey, Files, WrittenFile};
use strandline_operators::job::Job;
use strandline_operators::landing::trouble::CommitTrouble;
use strandline_operators::progress::{EpochCommit, PartitionDelta};
use strandline_operators::record::TopicPartition;
use strandline_operators::schema::{self, Column, ColumnType};
use strandline_operators::time::{Epoch, EventTime};
use tempfile::TempDir;

use super::pointer::{Change, NotSwapped, Pointer, Swapped};
use super::*;

const JOB: Job = Job {
    name: "clicks",
    topics: &["clicks"],
    columns: &[
        Column::required("event_id", ColumnType::String),
        Column::required("event_time", ColumnType::Timestamptz),
        Column::optional("amount", ColumnType::Double),
    ],
    table: "bronze.clicks",
    dead_letter_table: Some("bronze.clicks_dead_letters"),
    ..Job::BRONZE
};

const DAY_MICROS: i64 = 86_400_000_000;

/// 2026-11-21.
const DAY: i32 = 20_778;

/// A catalog and a warehouse of a test's own.
struct Place {
    folder: TempDir,
    connector: IcebergConnector,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().expect("folder");
        let connector = IcebergConnector::open(&settings_in(folder.path())).expect("open");
        Place { folder, connector }
    }

    /// The same place through a pointer of the test's.
    fn through(&self, wrap: impl FnOnce(Arc<dyn Pointer>) -> Arc<dyn Pointer>) -> IcebergConnector {
        let mut catalog = OpenCatalog::open(&settings_in(self.folder.path())).expect("open");
        catalog.pointer = wrap(catalog.pointer);
        IcebergConnector {
            host: Arc::new(Machine),
            catalog: Arc::new(catalog),
        }
    }

    fn metadata_files(&self, ending: &str) -> Vec<PathBuf> {
        files_below(
            &self.folder.path().join("warehouse/bronze/clicks/metadata"),
            ending,
        )
    }
}

fn settings_in(folder: &Path) -> CatalogSettings {
    CatalogSettings {
        kind: CatalogKind::Sql,
        uri: format!("sqlite://{}/some/where/catalog.db", folder.display()),
        warehouse: folder.join("warehouse").display().to_string(),
        properties: HashMap::new(),
    }
}

fn files_below(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
    {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found
}

fn claim(connector: &IcebergConnector) -> Result<JobTables> {
    connector.prepare(&JOB.settings(), ClaimOptions::default(), &mut |_| Ok(()))
}

/// One life of the job, as far as the tables see it.
struct Run {
    generation: u32,
    files: Arc<dyn Files>,
    table: Box<dyn Table>,
    behind: SecondariesBehind,
    next_offset: i64,
    next_epoch: Epoch,
}

impl Run {
    fn start(connector: &IcebergConnector) -> Run {
        Run::of(claim(connector).expect("claim"))
    }

    fn of(tables: JobTables) -> Run {
        let next_offset = tables.progress().partition(&source()).map_or(0, |p| p.next);
        let behind = SecondariesBehind::default();
        Run {
            behind: behind.clone(),
            generation: tables.generation(),
            next_epoch: Epoch::first_of(tables.generation()),
            files: open_files(tables.description(), &HashMap::new()).expect("files"),
            table: tables.into_committer(&CommitTrouble::default(), &behind),
            next_offset,
        }
    }

    /// Writes files for the next `rows` records and `letters` dead letters, and the epoch that commits them.
    fn stage(&mut self, rows: i64, letters: i64) -> EpochCommit {
        let epoch = self.next_epoch;
        self.next_epoch = epoch.next();
        let mut files = Vec::new();
        if rows > 0 {
            files.push(write_rows(
                self.files.as_ref(),
                epoch,
                self.next_offset,
                rows,
            ));
        }
        if letters > 0 {
            files.push(write_letters(
                self.files.as_ref(),
                epoch,
                self.next_offset + rows,
                letters,
            ));
        }
        let start = self.next_offset;
        self.next_offset += rows + letters;
        let account = Account {
            consumed: (rows + letters) as u64,
            landed: rows as u64,
            dead_letters: letters as u64,
            ..Account::default()
        };
        let max_event_time = Some(EventTime(event_time(self.next_offset)));
        let delta = PartitionDelta {
            start,
            next: self.next_offset,
            leader_epoch: None,
            max_event_time,
            account,
        };
        EpochCommit {
            epoch,
            watermark: max_event_time,
            partitions: BTreeMap::from([(source(), delta)]),
            files,
        }
    }

    fn land(&mut self, rows: i64) -> Result<strandline_operators::io::Committed> {
        let epoch = self.stage(rows, 0);
        self.table.commit(&epoch)
    }
}

fn source() -> TopicPartition {
    TopicPartition::new("clicks", 0)
}

fn event_time(offset: i64) -> i64 {
    i64::from(DAY) * DAY_MICROS + offset
}

fn times(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("+00:00"))
}

fn texts(values: impl Iterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn write_rows(files: &dyn Files, epoch: Epoch, first: i64, rows: i64) -> WrittenFile {
    write_rows_to(files, TableIndex::PRIMARY, epoch, first..first + rows)
}

/// Rows of these offsets for the primary table or a route's.
fn write_rows_to(
    files: &dyn Files,
    table: TableIndex,
    epoch: Epoch,
    rows: std::ops::Range<i64>,
) -> WrittenFile {
    let offsets = || rows.clone();
    let columns: Vec<ArrayRef> = vec![
        texts(offsets().map(|o| format!("id-{o}"))),
        times(offsets().map(event_time)),
        Arc::new(strandline_operators::arrow_array::Float64Array::from_iter(
            offsets().map(|o| (o % 2 == 0).then_some(o as f64)),
        )),
        Arc::new(BooleanArray::from_iter(offsets().map(|_| Some(false)))),
        texts(offsets().map(|_| "clicks".to_owned())),
        Arc::new(Int32Array::from_iter_values(offsets().map(|_| 0))),
        Arc::new(Int64Array::from_iter_values(offsets())),
        times(offsets().map(event_time)),
        times(offsets().map(event_time)),
        Arc::new(Int64Array::from_iter_values(
            offsets().map(|_| epoch.0 as i64),
        )),
        Arc::new(
            TimestampMicrosecondArray::from_iter(offsets().map(|_| None)).with_timezone("+00:00"),
        ),
    ];
    write(
        files,
        FileKey {
            table,
            day: DAY,
            epoch,
            worker: 0,
        },
        columns,
    )
}

fn write_letters(files: &dyn Files, epoch: Epoch, first: i64, rows: i64) -> WrittenFile {
    let offsets = || first..first + rows;
    let columns: Vec<ArrayRef> = vec![
        texts(offsets().map(|_| "{".to_owned())),
        texts(offsets().map(|_| "utf8".to_owned())),
        texts(offsets().map(|_| "malformed".to_owned())),
        texts(offsets().map(|_| "ends too early".to_owned())),
        times(offsets().map(event_time)),
        texts(offsets().map(|_| "clicks".to_owned())),
        texts(offsets().map(|_| "clicks".to_owned())),
        Arc::new(Int32Array::from_iter_values(offsets().map(|_| 0))),
        Arc::new(Int64Array::from_iter_values(offsets())),
        times(offsets().map(event_time)),
        Arc::new(Int64Array::from_iter_values(
            offsets().map(|_| epoch.0 as i64),
        )),
    ];
    write(
        files,
        FileKey {
            table: TableIndex::DEAD_LETTERS,
            day: DAY,
            epoch,
            worker: 0,
        },
        columns,
    )
}

fn write(files: &dyn Files, key: FileKey, columns: Vec<ArrayRef>) -> WrittenFile {
    let batch = RecordBatch::try_new(files.schema(key.table), columns).expect("batch");
    let mut writer = files.open(key, batch.schema_ref()).expect("open");
    writer.write(&batch).expect("write");
    writer.close().expect("close")
}

/// The offsets in a table, each as often as it is there.
fn offsets(connector: &IcebergConnector, table: &str) -> Vec<i64> {
    let mut found = Vec::new();
    connector
        .view(table)
        .expect("view")
        .expect("a table")
        .scan(Some(&["kafka_offset"]), &mut |batch| {
            found.extend(
                batch
                    .column(0)
                    .as_primitive::<Int64Type>()
                    .values()
                    .iter()
                    .copied(),
            );
            Ok(())
        })
        .expect("scan");
    found.sort_unstable();
    found
}

fn landed(connector: &IcebergConnector) -> Vec<i64> {
    offsets(connector, JOB.table)
}

fn letters(connector: &IcebergConnector) -> Vec<i64> {
    offsets(connector, "bronze.clicks_dead_letters")
}

fn facts(connector: &IcebergConnector) -> TableFacts {
    connector
        .inspect(JOB.table)
        .expect("inspect")
        .expect("there")
}

/// Changes the table as another tool would.
fn change_by_hand(
    connector: &IcebergConnector,
    updates: impl FnOnce(&iceberg::table::Table) -> Vec<TableUpdate>,
) {
    let catalog = &connector.catalog;
    let table = catalog
        .load(&tables::ident(JOB.table).expect("ident"))
        .expect("load");
    let change = Change {
        requirements: Vec::new(),
        updates: updates(&table),
    };
    catalog
        .blocking
        .wait(catalog.pointer.swap(&table, change))
        .expect("runtime")
        .expect("swap");
}

/// An append of another writer, through the library's own transaction.
fn append_by_another(connector: &IcebergConnector) {
    use iceberg::transaction::{ApplyTransactionAction, Transaction};
    let catalog = &connector.catalog;
    let table = catalog
        .load(&tables::ident(JOB.table).expect("ident"))
        .expect("load");
    let transaction = Transaction::new(&table);
    let action = transaction
        .fast_append()
        .set_snapshot_properties(HashMap::from([(
            "written-by".to_owned(),
            "another".to_owned(),
        )]));
    let transaction = action.apply(transaction).expect("apply");
    catalog
        .blocking
        .wait(transaction.commit(catalog.catalog.as_ref()))
        .expect("runtime")
        .expect("commit");
}

/// A secondary table that cannot be committed to.
#[derive(Debug)]
struct RefusesLetters {
    inner: Arc<dyn Pointer>,
}

#[async_trait]
impl Pointer for RefusesLetters {
    async fn load(&self, ident: &TableIdent) -> iceberg::Result<iceberg::table::Table> {
        self.inner.load(ident).await
    }

    async fn swap(
        &self,
        base: &iceberg::table::Table,
        change: Change,
    ) -> Result<Swapped, NotSwapped> {
        if base.identifier().name().ends_with("dead_letters") {
            return Err(NotSwapped::Failed(Error::unreachable("the power is gone")));
        }
        self.inner.swap(base, change).await
    }
}

fn is_pending(path: &Path) -> bool {
    path.to_string_lossy().contains("-pending-")
}

fn roll_back_to(connector: &IcebergConnector, sequence_number: i64) {
    change_by_hand(connector, |table| {
        let snapshot = table
            .metadata()
            .snapshots()
            .find(|s| s.sequence_number() == sequence_number)
            .expect("snapshot")
            .snapshot_id();
        let reference: iceberg::spec::SnapshotReference =
            serde_json::from_value(serde_json::json!({"snapshot-id": snapshot, "type": "branch"}))
                .expect("reference");
        vec![TableUpdate::SetSnapshotRef {
            ref_name: "main".to_owned(),
            reference,
        }]
    });
}

/// Where a described data file lies.
fn data_file_of(description: &str) -> PathBuf {
    let start = description.find("file://").expect("a place");
    let end = description.find(".parquet").expect("a place") + ".parquet".len();
    location::local_path(&description[start..end]).expect("local")
}
