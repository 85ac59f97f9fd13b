//! Epochs, committed exactly once.

use super::*;

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
    // The table beside it says the same of the epoch.
    let letters = JOB.dead_letter_table.expect("a table of dead letters");
    let letters = place.connector.inspect(letters).expect("inspect");
    let letters = &letters.expect("a table").snapshots[0].summary;
    let ours = |summary: &BTreeMap<String, String>| -> Vec<(String, String)> {
        let own = summary
            .iter()
            .filter(|(key, _)| key.starts_with("strandline."));
        own.map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    assert_eq!(ours(letters), ours(&snapshot.summary));
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
