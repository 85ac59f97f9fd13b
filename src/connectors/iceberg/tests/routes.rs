//! Several secondaries behind one primary: what they get, when one of them is away, and after a crash.

use std::sync::atomic::AtomicBool;

use strandline_operators::job::{JobSettings, Route};

use super::*;

const ODD: &str = "bronze.clicks_odd";
const ALL: &str = "bronze.clicks_all";

/// The index of the table [`ODD`].
fn odd() -> TableIndex {
    TableIndex::of_route(0)
}

/// The index of the table [`ALL`].
fn all() -> TableIndex {
    TableIndex::of_route(1)
}

fn settings() -> JobSettings {
    let mut settings = JOB.settings();
    // What they take is decided before the tables; here files are written as if it had been.
    let route = |name, table: &str| Route {
        name,
        table: table.to_owned(),
        takes: |_row| true,
    };
    settings.routes = vec![route("odd", ODD), route("all", ALL)];
    settings
}

fn start(connector: &IcebergConnector) -> Run {
    let options = ClaimOptions::default();
    Run::of(
        connector
            .prepare(&settings(), options, &mut |_| Ok(()))
            .expect("claim"),
    )
}

/// Stages an epoch of two rows, of which the second is also for [`ODD`] and both for [`ALL`].
fn stage(run: &mut Run) -> EpochCommit {
    let first = run.next_offset;
    let mut epoch = run.stage(2, 0);
    let files = run.files.as_ref();
    epoch.files.push(write_rows_to(
        files,
        odd(),
        epoch.epoch,
        first + 1..first + 2,
    ));
    epoch
        .files
        .push(write_rows_to(files, all(), epoch.epoch, first..first + 2));
    epoch
}

fn odds_below(end: i64) -> Vec<i64> {
    (0..end).filter(|offset| offset % 2 == 1).collect()
}

/// One table cannot be reached as long as this says so; the others can.
#[derive(Debug)]
struct Away {
    inner: Arc<dyn Pointer>,
    table: &'static str,
    is_away: Arc<AtomicBool>,
    /// Whether a commit is made all the same, and only its answer lost.
    is_made: bool,
}

impl Away {
    fn is_away(&self, ident: &TableIdent) -> bool {
        let is_it = self.table.ends_with(&format!(".{}", ident.name()));
        is_it && self.is_away.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Pointer for Away {
    async fn load(&self, ident: &TableIdent) -> iceberg::Result<iceberg::table::Table> {
        if self.is_away(ident) {
            let gone = "the power is gone";
            return Err(iceberg::Error::new(iceberg::ErrorKind::Unexpected, gone));
        }
        self.inner.load(ident).await
    }

    async fn swap(
        &self,
        base: &iceberg::table::Table,
        change: Change,
    ) -> Result<Swapped, NotSwapped> {
        if self.is_away(base.identifier()) {
            if self.is_made {
                self.inner.swap(base, change).await?;
                return Err(NotSwapped::Unknown("the power is gone".to_owned()));
            }
            return Err(NotSwapped::Failed(Error::unreachable("the power is gone")));
        }
        self.inner.swap(base, change).await
    }
}

fn away(place: &Place, table: &'static str, is_made: bool) -> (IcebergConnector, Arc<AtomicBool>) {
    let is_away = Arc::new(AtomicBool::new(false));
    let shared = Arc::clone(&is_away);
    let connector = place.through(|inner| {
        Arc::new(Away {
            inner,
            table,
            is_away: shared,
            is_made,
        })
    });
    (connector, is_away)
}

fn progress(connector: &IcebergConnector) -> Progress {
    facts(connector).progress[JOB.name].clone()
}

#[test]
fn a_table_that_is_away_holds_nobody_up_and_gets_everything_once_when_it_is_back() {
    for is_made in [false, true] {
        let place = Place::new();
        let (connector, is_away) = away(&place, ODD, is_made);
        let mut run = start(&connector);
        is_away.store(true, Ordering::SeqCst);
        for _ in 0..3 {
            let epoch = stage(&mut run);
            assert!(run.table.commit(&epoch).expect("the primary").is_behind);
        }
        assert_eq!(landed(&place.connector), (0..6).collect::<Vec<_>>());
        assert_eq!(offsets(&place.connector, ALL), (0..6).collect::<Vec<_>>());
        let behind = run.behind.facts();
        assert_eq!((behind.len(), behind[0].table.as_str()), (1, ODD));
        assert_eq!((behind[0].epochs, behind[0].files), (3, 3));
        // A lost answer is looked up for longer than the primary waits.
        let why = match is_made {
            false => "the power is gone",
            true => "has not been answered within 1 s",
        };
        assert!(behind[0].why.contains(why), "{behind:?}");

        is_away.store(false, Ordering::SeqCst);
        run.table.settle().expect("it is back");
        assert_eq!(offsets(&place.connector, ODD), odds_below(6));
        assert_eq!(run.behind.facts(), []);
        let epoch = stage(&mut run);
        assert!(!run.table.commit(&epoch).expect("commit").is_behind);
        assert_eq!(offsets(&place.connector, ODD), odds_below(8));
        let progress = progress(&place.connector);
        assert_eq!(progress.rows_of(Some("odd")), 4);
        assert_eq!(progress.rows_of(Some("all")), 8);
    }
}

#[test]
fn a_table_that_is_away_while_nothing_comes_in_is_tried_again() {
    let place = Place::new();
    let (connector, is_away) = away(&place, ODD, false);
    let mut run = start(&connector);
    is_away.store(true, Ordering::SeqCst);
    let epoch = stage(&mut run);
    run.table.commit(&epoch).expect("the primary");
    is_away.store(false, Ordering::SeqCst);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while run.table.catch_up().expect("it is back") {
        assert!(
            std::time::Instant::now() < deadline,
            "waited 30 s for it to be tried"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(offsets(&place.connector, ODD), odds_below(2));
}

#[test]
fn a_start_gives_every_table_what_it_was_owed_for_several_epochs() {
    for is_made in [false, true] {
        let place = Place::new();
        let (connector, is_away) = away(&place, ODD, is_made);
        let mut run = start(&connector);
        is_away.store(true, Ordering::SeqCst);
        for _ in 0..3 {
            let epoch = stage(&mut run);
            run.table.commit(&epoch).expect("the primary");
        }
        // Only letters come after that: the file must still list what the other table is owed.
        let epoch = run.stage(1, 2);
        run.table.commit(&epoch).expect("the primary");
        drop(run);
        connector
            .prepare(&settings(), ClaimOptions::default(), &mut |_| Ok(()))
            .expect_err("it is rolled forward before anything is read");

        let heir = start(&place.connector);
        assert_eq!(offsets(&place.connector, ODD), odds_below(6));
        assert_eq!(letters(&place.connector), [7, 8]);
        drop(heir);
        let mut heir = start(&place.connector);
        assert_eq!(offsets(&place.connector, ODD), odds_below(6), "once");
        heir.land(1).expect("commit");
        assert_eq!(landed(&place.connector), [0, 1, 2, 3, 4, 5, 6, 9]);
        assert_eq!(progress(&place.connector).rows_of(Some("odd")), 3);
    }
}

#[test]
fn a_pending_file_that_is_gone_is_no_matter_when_every_table_has_what_it_lists() {
    let place = Place::new();
    let mut run = start(&place.connector);
    let epoch = stage(&mut run);
    run.table.commit(&epoch).expect("commit");
    // An epoch that not every table has a part of.
    let epoch = run.stage(1, 1);
    run.table.commit(&epoch).expect("commit");
    drop(run);
    for file in place.metadata_files(".json") {
        if is_pending(&file) {
            std::fs::remove_file(file).expect("remove it as an orphan");
        }
    }
    start(&place.connector);
}

#[test]
fn a_savepoint_takes_every_table_and_the_way_back_too() {
    let place = Place::new();
    let mut run = start(&place.connector);
    let epoch = stage(&mut run);
    run.table.commit(&epoch).expect("commit");
    let made = place
        .connector
        .savepoint(&settings(), "s")
        .expect("savepoint");
    let rows: Vec<(&str, u64)> = made
        .secondaries
        .iter()
        .map(|s| (s.name.as_str(), s.rows))
        .collect();
    assert_eq!(
        rows,
        [("bronze.clicks_dead_letters", 0), (ODD, 1), (ALL, 2)]
    );
    let epoch = stage(&mut run);
    run.table.commit(&epoch).expect("commit");
    drop(run);

    // Into new tables, each route's rows into its own.
    let mut new = settings();
    new.table = "bronze.two".to_owned();
    new.dead_letter_table = Some("bronze.two_dead_letters".to_owned());
    new.routes[0].table = "bronze.two_odd".to_owned();
    new.routes[1].table = "bronze.two_all".to_owned();
    let from = |id: &str, table: Option<&str>| FromSavepoint {
        name: "s".to_owned(),
        table: table.map(str::to_owned),
        id: id.to_owned(),
    };
    let options = ClaimOptions::default();
    place
        .connector
        .restore(&new, options, &from("1", Some(JOB.table)), &mut |_| Ok(()))
        .expect("copy");
    assert_eq!(offsets(&place.connector, "bronze.two"), [0, 1]);
    assert_eq!(offsets(&place.connector, "bronze.two_odd"), [1]);
    assert_eq!(offsets(&place.connector, "bronze.two_all"), [0, 1]);

    // And in the old ones.
    place
        .connector
        .restore(&settings(), options, &from("2", None), &mut |_| Ok(()))
        .expect("restore");
    let mut run = start(&place.connector);
    assert_eq!(offsets(&place.connector, ODD), [1]);
    assert_eq!(offsets(&place.connector, ALL), [0, 1]);
    let epoch = stage(&mut run);
    run.table.commit(&epoch).expect("commit");
    assert_eq!(offsets(&place.connector, ODD), odds_below(4));
    assert_eq!(progress(&place.connector).rows_of(Some("odd")), 2);
}
