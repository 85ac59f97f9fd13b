//! What commits leave behind: manifests and metadata.

use super::*;
use crate::connectors::iceberg::store::Store;

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
    // A list for each snapshot, and the manifests that the oldest of them still refers to, of which as many again were
    // written while they were merged.
    assert!(avro <= 600, "{avro} manifests and manifest lists");

    // Nothing that any snapshot refers to is gone, and every file is referred to once.
    let table = place
        .connector
        .catalog
        .load(&tables::ident(JOB.table).expect("ident"))
        .expect("load");
    assert!((100..=120).contains(&table.metadata().snapshots().len()));
    let blocking = &place.connector.catalog.blocking;
    let mut seen = BTreeSet::new();
    let mut manifests = 0;
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
                manifests += 1;
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
    assert!(manifests <= 200, "{manifests} manifests");
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
    let referred = orphans::reachable(&Store::of(table.file_io()), table.metadata())
        .expect("every manifest list is there");
    let referred: Vec<PathBuf> = referred
        .into_iter()
        .map(|place| match place {
            location::Place::Local(path) => path,
            other => panic!("{other:?} is not local"),
        })
        .collect();
    for path in &referred {
        assert!(path.exists(), "{} is gone", path.display());
    }
    let folder = format!("{}/metadata", table.metadata().location());
    let orphans = files_below(&location::local_path(&folder).expect("local"), ".avro")
        .into_iter()
        .filter(|path| !referred.contains(path))
        .map(|path| path.display().to_string())
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
