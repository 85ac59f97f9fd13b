//! The connector's guarantees, on a SQLite catalog and a warehouse in a temporary folder.

mod columns;
mod others;
mod routes;

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

mod savepoints;

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
            files: open_files(tables.description()).expect("files"),
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
        .scan(table, Some(&["kafka_offset"]), &mut |batch| {
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

#[test]
fn what_is_committed_is_read_back_with_its_account() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    let epoch = run.stage(10, 3);
    let committed = run.table.commit(&epoch).expect("commit");
    run.land(5).expect("commit");

    assert_eq!(
        landed(&place.connector),
        (0..10).chain(13..18).collect::<Vec<_>>()
    );
    assert_eq!(letters(&place.connector), vec![10, 11, 12]);
    let facts = facts(&place.connector);
    assert_eq!((facts.rows, facts.files), (15, 2));
    assert_eq!(facts.progress["clicks"].account().consumed, 18);
    let snapshot = facts
        .snapshots
        .iter()
        .find(|s| Some(s.snapshot_id) == committed.snapshot_id)
        .expect("snapshot");
    assert_eq!(snapshot.summary["strandline.job"], "clicks");
    assert_eq!(snapshot.summary["strandline.landed"], "10");
    assert_eq!(snapshot.summary["strandline.dead-letters"], "3");
    assert_eq!(
        snapshot.summary["strandline.offsets"],
        r#"{"clicks":{"0":13}}"#
    );
    assert_eq!(facts.snapshots[0].summary["total-records"], "15");
}

#[test]
fn a_zombie_cannot_commit() {
    let place = Place::new();
    let mut zombie = Run::start(&place.connector);
    zombie.land(10).expect("commit");
    let epoch = zombie.stage(10, 2);

    let mut heir = Run::start(&place.connector);
    let error = zombie.table.commit(&epoch).expect_err("fenced");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(
        error.to_string().contains("fenced by generation 2"),
        "{error}"
    );
    heir.land(7).expect("commit");
    let error = zombie.table.commit(&epoch).expect_err("still fenced");
    assert_eq!(error.kind(), ErrorKind::Refused);

    assert_eq!((zombie.generation, heir.generation), (1, 2));
    assert_eq!(landed(&place.connector), (0..17).collect::<Vec<_>>());
    assert_eq!(letters(&place.connector), Vec::<i64>::new());
}

/// Does what it is told, and loses the answer: either the commit or the word of it.
#[derive(Debug)]
struct LosesAnswers {
    inner: Arc<dyn Pointer>,
    swaps: AtomicUsize,
    /// By the number of the swap: whether it is carried out, where the answer is lost.
    lost: HashMap<usize, bool>,
    /// Another writer's append right after this swap, before the answer is looked up.
    append_after: Option<(usize, IcebergConnector)>,
}

#[async_trait]
impl Pointer for LosesAnswers {
    async fn load(&self, ident: &TableIdent) -> iceberg::Result<iceberg::table::Table> {
        self.inner.load(ident).await
    }

    async fn swap(
        &self,
        base: &iceberg::table::Table,
        change: Change,
    ) -> Result<Swapped, NotSwapped> {
        let number = self.swaps.fetch_add(1, Ordering::SeqCst);
        let answer = match self.lost.get(&number) {
            Some(false) => Err(NotSwapped::Unknown("connection reset before".to_owned())),
            Some(true) => {
                self.inner.swap(base, change).await?;
                Err(NotSwapped::Unknown("connection reset after".to_owned()))
            }
            None => self.inner.swap(base, change).await,
        };
        if let Some((after, other)) = &self.append_after
            && *after == number
        {
            append_by_another(other);
        }
        answer
    }
}

#[test]
fn an_epoch_is_committed_once_when_the_answer_is_lost() {
    let place = Place::new();
    for foreign_append_after in [None, Some(1), Some(2)] {
        for mask in 0..16_usize {
            // Swap 0 is the claim; then two epochs, each with one secondary.
            let lost = (0..4)
                .map(|i| (i, mask & (1 << i) != 0))
                .filter(|(i, _)| (mask + i) % 3 != 0)
                .collect();
            let other = place.connector.clone();
            let connector = place.through(|inner| {
                Arc::new(LosesAnswers {
                    inner,
                    swaps: AtomicUsize::new(0),
                    lost,
                    append_after: foreign_append_after.map(|n| (n, other)),
                })
            });
            let mut run = Run::start(&connector);
            for _ in 0..2 {
                let epoch = run.stage(3, 1);
                run.table.commit(&epoch).expect("commit");
            }
        }
    }
    let all = landed(&place.connector);
    let dead = letters(&place.connector);
    assert_eq!((all.len(), dead.len()), (3 * 16 * 6, 3 * 16 * 2));
    let distinct: BTreeSet<i64> = all.into_iter().chain(dead).collect();
    assert_eq!(distinct, (0..3 * 16 * 8).collect());
    assert_eq!(
        facts(&place.connector).progress["clicks"].account().landed,
        3 * 16 * 6
    );
}

#[test]
fn a_foreign_append_is_rebased_without_loss() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    run.land(10).expect("commit");
    append_by_another(&place.connector);
    run.land(10).expect("rebased");
    change_by_hand(&place.connector, |_| {
        vec![TableUpdate::SetProperties {
            updates: HashMap::from([("theirs".to_owned(), "kept".to_owned())]),
        }]
    });
    run.land(10).expect("rebased");

    assert_eq!(landed(&place.connector), (0..30).collect::<Vec<_>>());
    let facts = facts(&place.connector);
    assert!(
        facts
            .snapshots
            .iter()
            .any(|s| s.summary.get("written-by").is_some_and(|v| v == "another"))
    );
    let table = place
        .connector
        .catalog
        .load(&tables::ident(JOB.table).expect("ident"))
        .expect("load");
    assert_eq!(table.metadata().properties()["theirs"], "kept");
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

#[test]
fn a_pending_file_is_rolled_forward() {
    let place = Place::new();
    let dying = place.through(|inner| Arc::new(RefusesLetters { inner }));
    let mut run = Run::start(&dying);
    let epoch = run.stage(5, 2);
    let committed = run.table.commit(&epoch).expect("the primary goes on");
    assert!(committed.is_behind);
    run.table.settle().expect_err("the secondary is still away");
    assert_eq!(
        (
            landed(&place.connector).len(),
            letters(&place.connector).len()
        ),
        (5, 0)
    );
    assert_eq!(
        place
            .metadata_files(".json")
            .iter()
            .filter(|p| is_pending(p))
            .count(),
        1
    );

    let heir = Run::start(&place.connector);
    assert_eq!(letters(&place.connector), vec![5, 6]);
    // Once more: a crash right after the roll-forward.
    drop(heir);
    let mut heir = Run::start(&place.connector);
    assert_eq!(letters(&place.connector), vec![5, 6], "rolled forward once");
    heir.land(1).expect("commit");
    assert_eq!(
        place
            .metadata_files(".json")
            .iter()
            .filter(|p| is_pending(p))
            .count(),
        0,
        "done, so deleted"
    );
    assert_eq!(landed(&place.connector), vec![0, 1, 2, 3, 4, 7]);
}

fn is_pending(path: &Path) -> bool {
    path.to_string_lossy().contains("-pending-")
}

#[test]
fn history_without_progress_is_refused() {
    let place = Place::new();
    Run::start(&place.connector).land(5).expect("commit");
    change_by_hand(&place.connector, |_| {
        vec![TableUpdate::RemoveProperties {
            removals: vec![Progress::property("clicks")],
        }]
    });
    let error = claim(&place.connector).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(
        error.to_string().contains("strandline.progress.clicks"),
        "{error}"
    );
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

#[test]
fn a_rolled_back_table_is_refused() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    run.land(5).expect("commit");
    run.land(5).expect("commit");
    roll_back_to(&place.connector, 2);
    let running = run.land(5).expect_err("refused while running");
    let starting = claim(&place.connector).expect_err("refused at start");
    append_by_another(&place.connector);
    let later = claim(&place.connector).expect_err("refused after another's append");
    for error in [running, starting, later] {
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains("rolled back"), "{error}");
    }
}

#[test]
fn a_change_of_what_the_state_means_needs_consent() {
    let place = Place::new();
    let first = claim(&place.connector).expect("claim");
    let seed = first.progress().hash_seed;
    let mut settings = JOB.settings();
    settings.lateness.allowed *= 2;
    let error = place
        .connector
        .prepare(&settings, ClaimOptions::default(), &mut |_| Ok(()))
        .expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Refused);
    let consent = ClaimOptions {
        accept_new_fingerprint: true,
    };
    let tables = place
        .connector
        .prepare(&settings, consent, &mut |_| Ok(()))
        .expect("accepted");
    assert_eq!(
        tables.progress().hash_seed,
        seed,
        "the seed stays for the life of the table"
    );
    assert_eq!(tables.progress().fingerprint, settings.fingerprint());
}

#[test]
fn what_the_caller_knows_goes_into_the_claim() {
    let place = Place::new();
    place
        .connector
        .prepare(&JOB.settings(), ClaimOptions::default(), &mut |progress| {
            progress.cluster_id = Some("cluster-1".to_owned());
            Ok(())
        })
        .expect("claim");
    let error = place
        .connector
        .prepare(
            &JOB.settings(),
            ClaimOptions::default(),
            &mut |progress| match progress.cluster_id.as_deref() {
                Some("cluster-2") => Ok(()),
                other => Err(Error::refused(format!("another cluster: {other:?}"))),
            },
        )
        .expect_err("refused");
    assert!(error.to_string().contains("cluster-1"), "{error}");
    assert_eq!(
        facts(&place.connector).progress["clicks"].generation(),
        1,
        "a refused start claims nothing"
    );
}

#[test]
fn an_epoch_with_nothing_commits_nothing() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    let before = facts(&place.connector).metadata_location;
    let nothing = EpochCommit {
        epoch: run.next_epoch,
        watermark: None,
        partitions: BTreeMap::new(),
        files: Vec::new(),
    };
    let committed = run.table.commit(&nothing).expect("commit");
    assert_eq!(committed.snapshot_id, None);
    assert_eq!(facts(&place.connector).metadata_location, before);

    // Consumed, but nothing landed: progress must move.
    let mut epoch = run.stage(0, 0);
    let delta = epoch.partitions.get_mut(&source()).expect("delta");
    delta.next = 4;
    delta.account = Account {
        consumed: 4,
        duplicates: 4,
        ..Account::default()
    };
    let committed = run.table.commit(&epoch).expect("commit");
    assert!(committed.snapshot_id.is_some());
    assert_eq!(
        facts(&place.connector).progress["clicks"]
            .partition(&source())
            .expect("partition")
            .next,
        4
    );
}

#[test]
fn an_epoch_that_does_not_add_up_is_not_committed() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    let mut epoch = run.stage(5, 1);
    epoch.files.remove(0);
    assert_eq!(
        run.table.commit(&epoch).expect_err("rows missing").kind(),
        ErrorKind::Internal
    );
    let mut epoch = run.stage(5, 1);
    epoch.files.remove(1);
    assert_eq!(
        run.table
            .commit(&epoch)
            .expect_err("letters missing")
            .kind(),
        ErrorKind::Internal
    );
    assert_eq!(facts(&place.connector).snapshots.len(), 1, "only the claim");
}

#[test]
fn files_of_aborted_epochs_are_removed_and_committed_ones_stay() {
    let place = Place::new();
    let data = place.folder.path().join("warehouse/bronze/clicks/data");
    let mut run = Run::start(&place.connector);
    run.land(5).expect("commit");
    run.stage(5, 0);
    run.stage(5, 0);
    assert_eq!(files_below(&data, ".parquet").len(), 3);
    drop(run);
    let mut heir = Run::start(&place.connector);
    assert_eq!(files_below(&data, ".parquet").len(), 1);
    heir.land(5).expect("commit");
    assert_eq!(landed(&place.connector), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_table_that_does_not_fit_is_refused_with_the_column() {
    let place = Place::new();
    drop(claim(&place.connector).expect("claim"));
    let mut settings = JOB.settings();
    settings.columns[2].column_type = ColumnType::Long;
    let error = place
        .connector
        .prepare(&settings, ClaimOptions::default(), &mut |_| Ok(()))
        .expect_err("type");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(
        error
            .to_string()
            .contains("column `amount` is double, expected long"),
        "{error}"
    );
    settings.columns[2] = Column::required("new", ColumnType::Long);
    let error = place
        .connector
        .prepare(&settings, ClaimOptions::default(), &mut |_| Ok(()))
        .expect_err("required");
    assert!(error.to_string().contains("`new`"), "{error}");
}

#[test]
fn a_new_optional_column_is_added_before_the_first_file() {
    let place = Place::new();
    Run::start(&place.connector).land(5).expect("commit");
    let mut settings = JOB.settings();
    settings
        .columns
        .push(Column::optional("note", ColumnType::String));
    let tables = place
        .connector
        .prepare(&settings, ClaimOptions::default(), &mut |_| Ok(()))
        .expect("added");
    let schema = open_files(tables.description())
        .expect("files")
        .schema(TableIndex::PRIMARY);
    let note = schema.field_with_name("note").expect("note");
    assert_eq!(note.metadata()["PARQUET:field_id"], "12");
    assert_eq!(
        schema.fields().iter().map(|f| f.name().as_str()).nth(3),
        Some("note"),
        "in the job's order"
    );
    // The job without the column still fits: it leaves it out.
    Run::start(&place.connector).land(5).expect("commit");
    assert_eq!(landed(&place.connector), (0..10).collect::<Vec<_>>());
}

/// The offsets of the rows that are read back, on two threads.
fn read_offsets(description: &TablesDescription, rows: ReadBack) -> Vec<i64> {
    let found = Mutex::new(Vec::new());
    let columns = [
        "event_id",
        "event_time",
        "ingest_watermark",
        "ingest_epoch",
        "kafka_offset",
    ];
    let visitor = || -> Visitor<'_> {
        Box::new(|batch| {
            let schema = batch.schema();
            let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            assert_eq!(names, columns);
            let ids = batch.column(0).as_string::<i32>();
            let offsets = batch.column(4).as_primitive::<Int64Type>();
            for (id, &offset) in ids.iter().zip(offsets.values()) {
                assert_eq!(id, Some(format!("id-{offset}").as_str()));
            }
            found.lock().expect("lock").extend(offsets.values());
            Ok(())
        })
    };
    read_back(description, &columns, rows, vec![visitor(), visitor()]).expect("read");
    let mut found = found.into_inner().expect("lock");
    found.sort_unstable();
    found
}

const ALL_TYPES: [Column; 13] = [
    Column::optional("s", ColumnType::String),
    Column::optional("i", ColumnType::Int),
    Column::optional("l", ColumnType::Long),
    Column::optional("f", ColumnType::Float),
    Column::optional("d", ColumnType::Double),
    Column::optional("b", ColumnType::Boolean),
    Column::optional(
        "n",
        ColumnType::Decimal {
            precision: 38,
            scale: 18,
        },
    ),
    Column::optional("day", ColumnType::Date),
    Column::optional("t", ColumnType::Time),
    Column::optional("ts", ColumnType::Timestamp),
    Column::optional("tz", ColumnType::Timestamptz),
    Column::optional("bytes", ColumnType::Binary),
    Column::optional("headers", ColumnType::BinaryMap),
];

#[test]
fn every_type_has_its_place_in_a_new_table_and_in_one_that_it_is_added_to() {
    for is_added in [false, true] {
        let place = Place::new();
        if is_added {
            Run::start(&place.connector).land(5).expect("commit");
        }
        let mut settings = JOB.settings();
        settings.columns.extend(ALL_TYPES);
        // Twice: the second time the table must be found as it was made.
        for _ in 0..2 {
            let tables = place
                .connector
                .prepare(&settings, ClaimOptions::default(), &mut |_| Ok(()))
                .expect("fits");
            let schema = open_files(tables.description())
                .expect("files")
                .schema(TableIndex::PRIMARY);
            for column in ALL_TYPES {
                let found = schema.field_with_name(column.name).expect(column.name);
                let expected = column.column_type.data_type();
                if column.column_type == ColumnType::BinaryMap {
                    // The same map, but for the ids that the table gave its parts.
                    let none = strandline_operators::arrow_array::new_empty_array(&expected);
                    let fitted = schema::as_of_table(&none, found.data_type()).expect("fits");
                    assert_eq!(fitted.data_type(), found.data_type());
                } else {
                    assert_eq!(found.data_type(), &expected, "{}", column.name);
                }
            }
        }
        if is_added {
            Run::start(&place.connector).land(5).expect("commit");
        }
    }
}

#[test]
fn rows_are_read_back_by_epoch_and_by_expiry() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    for _ in 0..4 {
        run.land(10).expect("commit");
    }
    let tables = claim(&place.connector).expect("claim");
    let json = serde_json::to_string(tables.description()).expect("json");
    let description: TablesDescription = serde_json::from_str(&json).expect("parse");
    assert_eq!(&description, tables.description());
    let read = |rows| read_offsets(&description, rows);
    let second = Epoch::first_of(1).next();
    assert_eq!(read(ReadBack::default()), (0..40).collect::<Vec<_>>());
    assert_eq!(
        read(ReadBack {
            epoch_above: Some(second),
            alive_after: None
        }),
        (20..40).collect::<Vec<_>>()
    );
    let after = Some(EventTime(event_time(34)));
    assert_eq!(
        read(ReadBack {
            epoch_above: None,
            alive_after: after
        }),
        (35..40).collect::<Vec<_>>()
    );
    assert_eq!(
        read(ReadBack {
            epoch_above: Some(second),
            alive_after: after
        }),
        (35..40).collect::<Vec<_>>()
    );
}

#[test]
fn bounds_and_counts_of_a_file_are_in_its_description() {
    let place = Place::new();
    let tables = claim(&place.connector).expect("claim");
    let files = open_files(tables.description()).expect("files");
    let written = write_rows(files.as_ref(), Epoch::first_of(1), 5, 10);
    assert_eq!(written.rows, 10);
    let table = place
        .connector
        .catalog
        .load(&tables::ident(JOB.table).expect("ident"))
        .expect("load");
    let open = OpenTable::new(Arc::clone(&place.connector.catalog), table);
    let files = open.data_files(std::slice::from_ref(&written));
    let file = files.expect("data file").remove(0);
    let schema = open.table().metadata().current_schema();
    let id = |name: &str| schema.field_id_by_name(name).expect("column");
    assert_eq!(file.record_count(), 10);
    assert_eq!(file.null_value_counts()[&id("amount")], 5);
    assert_eq!(file.null_value_counts()[&id("ingest_watermark")], 10);
    assert!(
        !file.lower_bounds().contains_key(&id("ingest_watermark")),
        "only nulls have no bound"
    );
    assert_eq!(
        file.lower_bounds()[&id("kafka_offset")],
        iceberg::spec::Datum::long(5)
    );
    assert_eq!(
        file.upper_bounds()[&id("kafka_offset")],
        iceberg::spec::Datum::long(14)
    );
    assert_eq!(
        file.upper_bounds()[&id("event_time")],
        iceberg::spec::Datum::timestamptz_micros(event_time(14))
    );
    assert_eq!(
        file.lower_bounds()[&id("event_id")],
        iceberg::spec::Datum::string("id-10")
    );
    assert_eq!(file.file_size_in_bytes(), written.bytes);
}

/// Where a described data file lies.
fn data_file_of(description: &str) -> PathBuf {
    let start = description.find("file://").expect("a place");
    let end = description.find(".parquet").expect("a place") + ".parquet".len();
    location::local_path(&description[start..end]).expect("local")
}

#[test]
fn metadata_stays_small_over_a_thousand_commits() {
    const COMMITS: i64 = 1_000;
    let place = Place::new();
    let mut tables = claim(&place.connector).expect("claim");
    tables.primary.set_grace(Duration::ZERO);
    let mut run = Run::of(tables);
    let written = {
        // One data file stands for all: the commits are what is measured, not the Parquet writer.
        let epoch = run.stage(1, 0);
        run.table.commit(&epoch).expect("commit");
        epoch.files
    };
    for number in 0..COMMITS {
        let mut epoch = run.stage(0, 0);
        let delta = epoch.partitions.get_mut(&source()).expect("delta");
        run.next_offset += 1;
        delta.next = run.next_offset;
        delta.account = Account {
            consumed: 1,
            landed: 1,
            ..Account::default()
        };
        epoch.files = written.clone();
        let name = format!("-{number}.parquet");
        let of = &mut epoch.files[0].description;
        let one = data_file_of(of);
        *of = of.replace(".parquet", &name);
        std::fs::hard_link(one, data_file_of(of)).expect("link");
        run.table.commit(&epoch).expect("commit");
    }
    let facts = facts(&place.connector);
    assert_eq!(
        (facts.files, facts.rows),
        (COMMITS as u64 + 1, COMMITS as u64 + 1)
    );
    let metadata = location::local_path(&facts.metadata_location).expect("local");
    let size = std::fs::metadata(&metadata).expect("metadata").len();
    assert!(size < 200_000, "metadata.json has {size} bytes");
    let (versions, avro) = (
        place.metadata_files(".metadata.json").len(),
        place.metadata_files(".avro").len(),
    );
    assert!(versions <= 102, "{versions} versions of the metadata");
    // A list for each snapshot, and the manifests that the oldest of them still refers to.
    assert!(avro <= 450, "{avro} manifests and manifest lists");

    // Nothing that any snapshot refers to is gone, and every file is referred to once.
    let table = place
        .connector
        .catalog
        .load(&tables::ident(JOB.table).expect("ident"))
        .expect("load");
    assert!((100..=120).contains(&table.metadata().snapshots().len()));
    let blocking = &place.connector.catalog.blocking;
    let mut seen = BTreeSet::new();
    for snapshot in table.metadata().snapshots() {
        let list = blocking
            .wait(async { table.manifest_list_reader(snapshot).load().await })
            .expect("runtime");
        for manifest in list.expect("list").entries() {
            let loaded = blocking
                .wait(manifest.load_manifest(table.file_io()))
                .expect("runtime")
                .expect("manifest");
            if Some(snapshot.snapshot_id()) == table.metadata().current_snapshot_id() {
                for entry in loaded.entries() {
                    assert!(
                        seen.insert(entry.file_path().to_owned()),
                        "{} twice",
                        entry.file_path()
                    );
                }
            }
        }
    }
    assert_eq!(seen.len() as i64, COMMITS + 1);
}

/// Answers a conflict where the commit was made: at once, or after the table was read again.
#[derive(Debug)]
struct HidesCommits {
    inner: Arc<dyn Pointer>,
    late: bool,
    swaps: AtomicUsize,
    /// On its way to the catalog.
    held: Mutex<Option<(iceberg::table::Table, Change)>>,
}

#[async_trait]
impl Pointer for HidesCommits {
    async fn load(&self, ident: &TableIdent) -> iceberg::Result<iceberg::table::Table> {
        let table = self.inner.load(ident).await?;
        let held = self.held.lock().expect("lock").take();
        if let Some((base, change)) = held {
            self.inner.swap(&base, change).await.expect("late");
        }
        Ok(table)
    }

    async fn swap(
        &self,
        base: &iceberg::table::Table,
        change: Change,
    ) -> Result<Swapped, NotSwapped> {
        // Late, one in three: the one that then meets the late one, and a third that is left alone.
        if self.late && !self.swaps.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) {
            return self.inner.swap(base, change).await;
        }
        if self.late {
            *self.held.lock().expect("lock") = Some((base.clone(), change));
        } else {
            self.inner.swap(base, change).await?;
        }
        Err(NotSwapped::Conflict(
            "409 of the second delivery".to_owned(),
        ))
    }
}

/// The manifests and manifest lists that the table's snapshots refer to and that are there, and the names
/// of those in its folder that no snapshot refers to.
fn manifests(connector: &IcebergConnector, table: &str) -> (usize, Vec<String>) {
    let table = connector
        .catalog
        .load(&tables::ident(table).expect("ident"))
        .expect("load");
    let referred = orphans::reachable(table.metadata()).expect("every manifest list is there");
    for place in &referred {
        let path = location::local_path(place).expect("local");
        assert!(path.exists(), "{place} is gone");
    }
    let folder = format!("{}/metadata", table.metadata().location());
    let orphans = files_below(&location::local_path(&folder).expect("local"), ".avro")
        .into_iter()
        .map(|path| path.display().to_string())
        .filter(|path| {
            !referred
                .iter()
                .any(|r| location::local_path(r).is_some_and(|r| r.display().to_string() == *path))
        })
        .collect();
    (referred.len(), orphans)
}

#[test]
fn a_conflict_that_hides_our_own_commit_deletes_nothing() {
    for late in [false, true] {
        let place = Place::new();
        let connector = place.through(|inner| {
            Arc::new(HidesCommits {
                inner,
                late,
                swaps: AtomicUsize::new(0),
                held: Mutex::new(None),
            })
        });
        let mut run = Run::start(&connector);
        for _ in 0..3 {
            let epoch = run.stage(4, 1);
            run.table.commit(&epoch).expect("commit");
        }
        for table in [JOB.table, "bronze.clicks_dead_letters"] {
            let (referred, _) = manifests(&place.connector, table);
            assert!(referred >= 6, "{referred} of {table}, late: {late}");
        }
        assert_eq!(landed(&place.connector).len(), 12, "late: {late}");
        assert_eq!(letters(&place.connector), vec![4, 9, 14], "late: {late}");
        Run::start(&place.connector).land(1).expect("the next run");
    }
}

#[test]
fn a_true_conflict_leaves_no_manifests_behind() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    for _ in 0..3 {
        append_by_another(&place.connector);
        run.land(5).expect("rebased");
    }
    let (_, orphans) = manifests(&place.connector, JOB.table);
    assert_eq!(orphans, Vec::<String>::new());
    assert_eq!(landed(&place.connector).len(), 15);
}

fn start_with_table(connector: &IcebergConnector, table: &str) -> Result<Run> {
    let mut settings = JOB.settings();
    settings.table = table.to_owned();
    connector
        .prepare(&settings, ClaimOptions::default(), &mut |_| Ok(()))
        .map(Run::of)
}

/// Commits `epochs` epochs of one row and one letter each.
fn land_letters(run: &mut Run, epochs: usize) {
    for _ in 0..epochs {
        let epoch = run.stage(1, 1);
        run.table.commit(&epoch).expect("commit");
    }
}

#[test]
fn a_dead_letter_table_that_outlives_its_primary_keeps_its_rows() {
    let place = Place::new();
    for _ in 0..2 {
        land_letters(&mut Run::start(&place.connector), 5);
    }
    let catalog = &place.connector.catalog;
    let primary = tables::ident(JOB.table).expect("ident");
    catalog
        .ask("drop", catalog.catalog.drop_table(&primary))
        .expect("drop");

    let mut expected: Vec<i64> = (0..10).map(|n| 2 * n + 1).collect();
    for generation in 3..6 {
        let mut run = Run::start(&place.connector);
        assert_eq!(
            run.generation, generation,
            "the new primary goes on above the generations that the dead-letter table has seen"
        );
        expected.push(run.next_offset + 1);
        expected.sort_unstable();
        land_letters(&mut run, 1);
        // An epoch that is aborted, and whose files go.
        run.stage(1, 1);
        assert_eq!(letters(&place.connector), expected);
    }
    drop(claim(&place.connector).expect("claim"));
    assert_eq!(letters(&place.connector), expected);
    let data = place
        .folder
        .path()
        .join("warehouse/bronze/clicks_dead_letters/data");
    assert_eq!(
        files_below(&data, ".parquet").len(),
        expected.len(),
        "files of aborted epochs are gone, all others are there"
    );
}

#[test]
fn rows_of_another_primary_in_a_dead_letter_table_are_never_removed() {
    let place = Place::new();
    // The same generation, one far behind the other, while both have a dead-letter table of their own.
    let mut settings = JOB.settings();
    settings.table = "bronze.others".to_owned();
    settings.dead_letter_table = Some("bronze.others_dead_letters".to_owned());
    let other = |settings: &JobSettings| {
        let prepared = place
            .connector
            .prepare(settings, ClaimOptions::default(), &mut |_| Ok(()));
        Run::of(prepared.expect("claim"))
    };
    land_letters(&mut other(&settings), 1);
    let mut run = Run::start(&place.connector);
    land_letters(&mut run, 5);
    let in_flight = run.stage(1, 1);
    drop(other(&settings));

    // Now it is given the table of the first, which is still running.
    settings.dead_letter_table = Some("bronze.clicks_dead_letters".to_owned());
    drop(other(&settings));
    run.table.commit(&in_flight).expect("nothing is missing");
    assert_eq!(letters(&place.connector), vec![1, 3, 5, 7, 9, 11]);
    // Epochs of the same number are not taken for each other's.
    let mut other = other(&settings);
    other.next_epoch = Epoch::first_of(other.generation);
    while run.generation < other.generation {
        run = Run::start(&place.connector);
    }
    land_letters(&mut run, 1);
    land_letters(&mut other, 1);
    assert_eq!(letters(&place.connector), vec![1, 3, 3, 5, 7, 9, 11, 13]);
}

#[test]
fn a_dead_letter_table_ahead_of_its_primary_is_refused_before_the_claim() {
    let place = Place::new();
    land_letters(&mut Run::start(&place.connector), 1);
    // A second primary takes the dead-letter table over; then the first comes back.
    for _ in 0..2 {
        let mut run = start_with_table(&place.connector, "bronze.others").expect("claim");
        land_letters(&mut run, 1);
    }
    let error = claim(&place.connector).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Refused);
    for part in [
        "bronze.clicks_dead_letters",
        "belongs to another primary table",
        "bronze.clicks`",
    ] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(
        facts(&place.connector).progress["clicks"].generation(),
        1,
        "a refused start claims nothing"
    );
    // What the message says to do helps.
    let mut settings = JOB.settings();
    settings.dead_letter_table = Some("bronze.new_dead_letters".to_owned());
    let tables = place
        .connector
        .prepare(&settings, ClaimOptions::default(), &mut |_| Ok(()))
        .expect("another table");
    land_letters(&mut Run::of(tables), 1);
    assert_eq!(letters(&place.connector).len(), 3);
}
