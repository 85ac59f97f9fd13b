//! The dead-letter table behind its primary.

use super::*;

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
