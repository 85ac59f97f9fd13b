//! Savepoints, and the way back to them, with crashes at every step.

use std::sync::atomic::AtomicBool;

use strandline_operators::landing::attempt::Verdict;
use strandline_operators::landing::table::Append;

use super::*;
use crate::connectors::iceberg::producer::{EXPIRY_BATCH, SNAPSHOTS_KEPT};

/// Where the letters go.
const LETTERS: &str = "bronze.clicks_dead_letters";

fn from(name: &str, id: &str) -> FromSavepoint {
    FromSavepoint {
        name: name.to_owned(),
        table: None,
        id: id.to_owned(),
    }
}

fn savepoint(connector: &IcebergConnector, name: &str) -> Savepoint {
    connector
        .savepoint(&JOB.settings(), name)
        .expect("savepoint")
}

fn restore(connector: &IcebergConnector, from: &FromSavepoint) -> Result<()> {
    restore_as(connector, &JOB.settings(), from)
}

fn restore_as(
    connector: &IcebergConnector,
    settings: &JobSettings,
    from: &FromSavepoint,
) -> Result<()> {
    connector.restore(settings, ClaimOptions::default(), from, &mut |_| Ok(()))
}

/// Lands an epoch of so many rows and letters.
fn land(run: &mut Run, rows: i64, letters: i64) {
    let epoch = run.stage(rows, letters);
    run.table.commit(&epoch).expect("commit");
}

fn next_offset(connector: &IcebergConnector) -> i64 {
    facts(connector).progress[JOB.name]
        .partition(&source())
        .expect("known")
        .next
}

/// What a reader sees in the snapshot of a tag.
fn tagged(connector: &IcebergConnector, table: &str, tag: &str) -> i64 {
    let catalog = &connector.catalog;
    let table = catalog
        .load(&tables::ident(table).expect("ident"))
        .expect("load");
    let snapshot = table.metadata().snapshot_for_ref(tag).expect("tag");
    snapshot.snapshot_id()
}

#[test]
fn going_back_gives_the_rows_of_the_savepoint_and_fences_who_ran() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    land(&mut run, 3, 2);
    let made = savepoint(&place.connector, "s");
    assert_eq!((made.primary.rows, made.secondaries[0].rows), (3, 2));
    assert_eq!(
        tagged(&place.connector, JOB.table, "s"),
        made.primary.snapshot_id
    );
    assert_eq!(
        tagged(&place.connector, LETTERS, "s"),
        made.secondaries[0].snapshot_id
    );
    land(&mut run, 4, 1);
    let in_flight = run.stage(1, 1);

    restore(&place.connector, &from("s", "1")).expect("restore");
    let error = run.table.commit(&in_flight).expect_err("fenced");
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    let mut heir = Run::start(&place.connector);
    assert_eq!(landed(&place.connector), vec![0, 1, 2]);
    assert_eq!(letters(&place.connector), vec![3, 4]);
    assert_eq!(heir.next_offset, 5);
    assert_eq!(heir.generation, 3, "above the restoring one, which is 2");
    land(&mut heir, 2, 1);
    assert_eq!(landed(&place.connector), vec![0, 1, 2, 5, 6]);
    assert_eq!(letters(&place.connector), vec![3, 4, 7]);
    let progress = &facts(&place.connector).progress[JOB.name];
    let late = Epoch(Epoch::first_of(1).0 + 1);
    assert!(
        !progress.vouches_for(1, late),
        "its ids are of rows that are gone"
    );
    assert!(progress.vouches_for(1, Epoch::first_of(1)));
}

#[test]
fn one_request_goes_back_once_and_another_one_again() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    land(&mut run, 3, 0);
    savepoint(&place.connector, "s");
    for (id, rows) in [("1", 3), ("1", 5), ("2", 3)] {
        restore(&place.connector, &from("s", id)).expect("restore");
        let mut run = Run::start(&place.connector);
        assert_eq!(landed(&place.connector).len(), rows, "request {id}");
        if rows == 3 {
            land(&mut run, 2, 1);
        }
    }
    assert_eq!(letters(&place.connector), vec![5], "those of the last run");
}

/// Fails the swap of one table as long as it is told to.
#[derive(Debug)]
struct Fails {
    inner: Arc<dyn Pointer>,
    table: &'static str,
    applied: bool,
    failing: Arc<AtomicBool>,
}

#[async_trait]
impl Pointer for Fails {
    async fn load(&self, ident: &TableIdent) -> iceberg::Result<iceberg::table::Table> {
        self.inner.load(ident).await
    }

    async fn swap(
        &self,
        base: &iceberg::table::Table,
        change: Change,
    ) -> Result<Swapped, NotSwapped> {
        if base.identifier().to_string() == self.table && self.failing.load(Ordering::SeqCst) {
            if self.applied {
                self.inner.swap(base, change).await?;
            }
            return Err(NotSwapped::Failed(Error::unreachable("the power is gone")));
        }
        self.inner.swap(base, change).await
    }
}

/// A way to the place on which changes of `table` end the process, before or after they took effect.
fn dying(place: &Place, table: &'static str, applied: bool) -> IcebergConnector {
    place.through(|inner| {
        Arc::new(Fails {
            inner,
            table,
            applied,
            failing: Arc::new(AtomicBool::new(true)),
        })
    })
}

#[test]
fn a_return_that_died_at_any_step_is_finished_by_the_next_start() {
    for (table, applied) in [
        (JOB.table, false),
        (JOB.table, true),
        (LETTERS, false),
        (LETTERS, true),
    ] {
        let place = Place::new();
        let mut run = Run::start(&place.connector);
        land(&mut run, 3, 2);
        savepoint(&place.connector, "s");
        land(&mut run, 4, 1);

        let died = dying(&place, table, applied);
        let restored = restore(&died, &from("s", "1"))
            .and_then(|()| died.prepare(&JOB.settings(), ClaimOptions::default(), &mut |_| Ok(())));
        restored.expect_err("the power is gone");
        if table == JOB.table && !applied {
            assert_eq!(landed(&place.connector).len(), 7, "nothing has happened");
            restore(&place.connector, &from("s", "1")).expect("once more");
        }
        // Also without the flag: once the primary is back there is no other way.
        let mut heir = Run::start(&place.connector);
        assert_eq!(
            landed(&place.connector),
            vec![0, 1, 2],
            "{table}, {applied}"
        );
        assert_eq!(letters(&place.connector), vec![3, 4], "{table}, {applied}");
        land(&mut heir, 1, 1);
        assert_eq!(letters(&place.connector), vec![3, 4, 6]);
        drop(heir);
        Run::start(&place.connector);
        assert_eq!(letters(&place.connector), vec![3, 4, 6], "finished once");
    }
}

#[test]
fn a_zombie_cannot_put_its_letters_into_a_table_that_was_taken_back() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    land(&mut run, 3, 2);
    savepoint(&place.connector, "s");
    drop(run);
    // It dies, or is stopped, between its primary and its secondary.
    let mut zombie = Run::start(&dying(&place, LETTERS, false));
    let epoch = zombie.stage(1, 1);
    zombie.table.commit(&epoch).expect("the primary goes on");
    let stale = facts(&place.connector).progress[JOB.name].clone();

    // The return itself does not go through `prepare`, which would delete the pending file.
    restore(&place.connector, &from("s", "1")).expect("restore");
    let progress = facts(&place.connector).progress[JOB.name].clone();
    super::super::restore::finish(&place.connector.catalog, &progress).expect("finish");
    let ident = tables::ident(JOB.table).expect("ident");
    let primary = place.connector.catalog.load(&ident).expect("load");
    let error = super::super::pending::recover(&place.connector.catalog, &primary, &stale)
        .expect_err("an older generation");
    assert!(
        error.message().contains("is fenced by generation"),
        "{error}"
    );
    assert_eq!(letters(&place.connector), vec![3, 4]);
}

#[test]
fn a_savepoint_between_primary_and_secondary_rolls_the_secondary_forward() {
    let place = Place::new();
    let mut run = Run::start(&dying(&place, LETTERS, false));
    let epoch = run.stage(3, 2);
    run.table.commit(&epoch).expect("the primary goes on");
    let made = savepoint(&place.connector, "s");
    assert_eq!(made.secondaries[0].rows, 2);
    assert_eq!(letters(&place.connector), vec![3, 4]);
}

#[test]
fn a_savepoint_takes_a_secondary_as_it_was_at_the_primarys_epoch() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    for _ in 0..4 {
        land(&mut run, 1, 1);
    }
    let table = place
        .connector
        .catalog
        .load(&tables::ident(LETTERS).expect("ident"))
        .expect("load");
    for (number, rows) in [(0, 1), (1, 2), (3, 4), (9, 4)] {
        let epoch = Epoch(Epoch::first_of(1).0 + number);
        let found = super::super::savepoint::snapshot_of(table.metadata(), JOB.name, Some(epoch));
        let found = found.expect("there");
        let counted = super::super::savepoint::rows(&place.connector.catalog, &table, found);
        assert_eq!(counted.expect("rows"), rows, "at epoch {number}");
    }
    let before = super::super::savepoint::snapshot_of(table.metadata(), JOB.name, None);
    assert_eq!(before, None, "the table had no snapshot then");
}

#[test]
fn a_savepoint_outlives_expiry_and_the_removal_of_orphans() {
    let place = Place::new();
    let mut tables = claim(&place.connector).expect("claim");
    tables.primary.set_grace(Duration::ZERO);
    let mut run = Run::of(tables);
    land(&mut run, 2, 1);
    savepoint(&place.connector, "old");
    for _ in 0..(SNAPSHOTS_KEPT + EXPIRY_BATCH + 60) {
        land(&mut run, 1, 0);
    }
    assert!(facts(&place.connector).snapshots.len() <= SNAPSHOTS_KEPT + EXPIRY_BATCH + 1);
    savepoint(&place.connector, "new");
    drop(run);
    Run::start(&place.connector);

    restore(&place.connector, &from("old", "1")).expect("restore");
    let mut run = Run::start(&place.connector);
    assert_eq!(landed(&place.connector), vec![0, 1]);
    assert_eq!(letters(&place.connector), vec![2]);
    land(&mut run, 1, 0);
    drop(run);
    // And the newer one, whose rows no snapshot of the branch has any more.
    Run::start(&place.connector);
    restore(&place.connector, &from("new", "2")).expect("restore");
    Run::start(&place.connector);
    assert_eq!(
        landed(&place.connector).len(),
        2 + SNAPSHOTS_KEPT + EXPIRY_BATCH + 60
    );
}

#[test]
fn a_name_is_given_once_and_what_a_dead_attempt_left_is_taken_over() {
    let place = Place::new();
    let job = JOB.settings();
    let error = place.connector.savepoint(&job, "s").expect_err("no table");
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    let mut run = Run::start(&place.connector);
    land(&mut run, 3, 2);
    let died = dying(&place, JOB.table, false);
    died.savepoint(&job, "s").expect_err("the power is gone");
    land(&mut run, 1, 1);
    let made = savepoint(&place.connector, "s");
    assert_eq!((made.primary.rows, made.secondaries[0].rows), (4, 3));
    assert_eq!(
        tagged(&place.connector, LETTERS, "s"),
        made.secondaries[0].snapshot_id
    );

    let error = place.connector.savepoint(&job, "s").expect_err("in use");
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    assert!(
        error.message().contains("has a savepoint `s` already"),
        "{error}"
    );
    let missing = restore(&place.connector, &from("t", "1")).expect_err("there is none");
    assert_eq!(missing.kind(), ErrorKind::Configuration, "{missing}");
    assert!(missing.to_string().contains("has these: `s`"), "{missing}");
}

#[test]
fn rows_of_others_are_not_undone() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    land(&mut run, 3, 2);
    savepoint(&place.connector, "s");
    land(&mut run, 1, 0);
    // A snapshot of another that adds nothing is nothing to lose.
    append_by_another(&place.connector);
    let another = write_rows(run.files.as_ref(), Epoch::first_of(77), 1000, 5);
    restore(&place.connector, &from("s", "1")).expect("nothing to lose");
    let ident = tables::ident(JOB.table).expect("ident");
    let table = place.connector.catalog.load(&ident).expect("load");
    let mut open = OpenTable::new(Arc::clone(&place.connector.catalog), table);
    open.append_once(|_| {
        Ok(Verdict::Append(Append {
            job: "another".to_owned(),
            files: vec![another.clone()],
            ..Append::default()
        }))
    })
    .expect("append");
    let error = restore(&place.connector, &from("s", "2")).expect_err("five rows of another");
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(error.message().contains("now 5 are not"), "{error}");
    assert_eq!(landed(&place.connector).len(), 8, "nothing was done");
}

fn elsewhere() -> JobSettings {
    let mut settings = JOB.settings();
    settings.table = "bronze.clicks_two".to_owned();
    settings.dead_letter_table = Some("bronze.letters_two".to_owned());
    settings
}

fn from_the_old(id: &str) -> FromSavepoint {
    FromSavepoint {
        table: Some(JOB.table.to_owned()),
        ..from("s", id)
    }
}

fn start_elsewhere(connector: &IcebergConnector) -> Run {
    connector
        .prepare(&elsewhere(), ClaimOptions::default(), &mut |_| Ok(()))
        .map(Run::of)
        .expect("claim")
}

#[test]
fn new_tables_begin_with_the_rows_of_the_savepoint() {
    for died_at in [
        None,
        Some(("bronze.letters_two", true)),
        Some(("bronze.clicks_two", false)),
        Some(("bronze.clicks_two", true)),
    ] {
        let place = Place::new();
        let mut run = Run::start(&place.connector);
        land(&mut run, 3, 2);
        savepoint(&place.connector, "s");
        land(&mut run, 4, 1);

        if let Some((table, applied)) = died_at {
            let died = dying(&place, table, applied);
            restore_as(&died, &elsewhere(), &from_the_old("1")).expect_err("the power is gone");
        }
        restore_as(&place.connector, &elsewhere(), &from_the_old("1")).expect("copy");
        let mut heir = start_elsewhere(&place.connector);
        assert_eq!(heir.next_offset, 5);
        land(&mut heir, 2, 1);
        assert_eq!(
            offsets(&place.connector, "bronze.clicks_two"),
            vec![0, 1, 2, 5, 6],
            "{died_at:?}"
        );
        assert_eq!(
            offsets(&place.connector, "bronze.letters_two"),
            vec![3, 4, 7],
            "{died_at:?}"
        );
        drop(heir);
        // The same request again, as a launcher makes it.
        restore_as(&place.connector, &elsewhere(), &from_the_old("1")).expect("done already");
        start_elsewhere(&place.connector);
        assert_eq!(offsets(&place.connector, "bronze.clicks_two").len(), 5);
        let error = restore_as(&place.connector, &elsewhere(), &from_the_old("2"))
            .expect_err("no new table any more");
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");

        // The old ones go on as if nothing were.
        land(&mut run, 1, 1);
        assert_eq!(landed(&place.connector).len(), 8);
        assert_eq!(letters(&place.connector).len(), 4);
        assert_eq!(next_offset(&place.connector), 12);
    }
}

#[test]
fn a_new_table_with_the_old_letters_is_refused_when_these_went_on() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    land(&mut run, 3, 2);
    savepoint(&place.connector, "s");
    let mut settings = elsewhere();
    settings.dead_letter_table = Some(LETTERS.to_owned());
    land(&mut run, 1, 1);
    let error = restore_as(&place.connector, &settings, &from_the_old("1")).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(
        error.message().contains("came after the savepoint"),
        "{error}"
    );
}

#[test]
fn what_refuses_a_start_refuses_before_anything_is_taken_back() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    land(&mut run, 3, 0);
    savepoint(&place.connector, "s");
    land(&mut run, 4, 0);
    let options = ClaimOptions::default();
    let job = JOB.settings();
    let gone = |_: &mut Progress| Err(Error::refused("offsets 3 to 7 are gone"));
    let error = place
        .connector
        .restore(&job, options, &from("s", "1"), &mut { gone })
        .expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Refused);
    let mut other = job.clone();
    if let Some(dedup) = &mut other.dedup {
        dedup.ttl += Duration::from_secs(60);
    }
    let error = restore_as(&place.connector, &other, &from("s", "1")).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(landed(&place.connector).len(), 7);
    land(&mut run, 1, 0);
}
