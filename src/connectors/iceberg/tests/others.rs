//! What others remove or change under the job, where it takes the inside of the connector to show it.

use super::*;

/// Others change a table of the job.
fn change_table(
    connector: &IcebergConnector,
    table: &str,
    updates: impl FnOnce(&iceberg::table::Table) -> Vec<TableUpdate>,
) {
    let catalog = &connector.catalog;
    let table = catalog
        .load(&tables::ident(table).expect("ident"))
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

fn letters_table() -> &'static str {
    JOB.dead_letter_table.expect("the job has one")
}

fn pending_files(place: &Place) -> Vec<PathBuf> {
    let mut files = place.metadata_files(".json");
    files.retain(|path| is_pending(path));
    files
}

#[test]
fn a_data_file_that_was_removed_before_its_commit_is_missed() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    run.land(5).expect("commit");
    let epoch = run.stage(5, 0);
    let data = place.folder.path().join("warehouse/bronze/clicks/data");
    let newest = files_below(&data, ".parquet")
        .into_iter()
        .max_by_key(|path| path.metadata().expect("a file").modified().expect("a time"))
        .expect("a data file");
    std::fs::remove_file(&newest).expect("remove it as an orphan");

    let error = run.table.commit(&epoch).expect_err("it is missed");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "worth a restart");
    assert!(error.to_string().contains("was removed before"), "{error}");
    drop(run);
    let mut heir = Run::start(&place.connector);
    heir.land(5).expect("the rows are written anew");
    assert_eq!(landed(&place.connector), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_pending_file_that_is_gone_is_missed_only_while_it_is_needed() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    let epoch = run.stage(5, 2);
    run.table.commit(&epoch).expect("commit");
    drop(run);
    for file in pending_files(&place) {
        std::fs::remove_file(file).expect("remove it as an orphan");
    }
    let mut run = Run::start(&place.connector);
    assert_eq!(letters(&place.connector), [5, 6]);
    run.land(1).expect("commit");
    drop(run);

    let dying = place.through(|inner| Arc::new(RefusesLetters { inner }));
    let mut run = Run::start(&dying);
    let epoch = run.stage(5, 2);
    run.table.commit(&epoch).expect("the primary goes on");
    for file in pending_files(&place) {
        std::fs::remove_file(file).expect("remove it while it is needed");
    }
    let error = claim(&place.connector).expect_err("dead letters would be lost");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("pending file"), "{error}");
}

#[test]
fn a_mark_that_was_removed_doubles_no_dead_letters() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    let epoch = run.stage(5, 2);
    run.table.commit(&epoch).expect("commit");
    drop(run);
    change_table(&place.connector, letters_table(), |table| {
        let properties = table.metadata().properties().keys();
        let marks = properties.filter(|name| name.starts_with("strandline.secondary."));
        vec![TableUpdate::RemoveProperties {
            removals: marks.cloned().collect(),
        }]
    });
    let mut run = Run::start(&place.connector);
    assert_eq!(letters(&place.connector), [5, 6]);
    let epoch = run.stage(0, 1);
    run.table.commit(&epoch).expect("commit");
    assert_eq!(letters(&place.connector), [5, 6, 7]);
}

#[test]
fn progress_that_was_set_back_is_refused() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    run.land(5).expect("commit");
    let property = Progress::property("clicks");
    let catalog = &place.connector.catalog;
    let then = catalog
        .load(&tables::ident(JOB.table).expect("ident"))
        .expect("load");
    run.land(5).expect("commit");
    drop(run);
    change_by_hand(&place.connector, |_| {
        let value = then.metadata().properties()[&property].clone();
        vec![TableUpdate::SetProperties {
            updates: HashMap::from([(property.clone(), value)]),
        }]
    });
    let error = claim(&place.connector).expect_err("the last epoch would land twice");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("was set back"), "{error}");
}

#[test]
fn rows_without_progress_are_refused_once_the_history_is_gone() {
    let place = Place::new();
    Run::start(&place.connector).land(5).expect("commit");
    append_by_another(&place.connector);
    change_by_hand(&place.connector, |table| {
        let metadata = table.metadata();
        let current = metadata.current_snapshot_id();
        let others = metadata.snapshots().map(|s| s.snapshot_id());
        vec![
            TableUpdate::RemoveProperties {
                removals: vec![Progress::property("clicks")],
            },
            TableUpdate::RemoveSnapshots {
                snapshot_ids: others.filter(|id| Some(*id) != current).collect(),
            },
        ]
    });
    let error = claim(&place.connector).expect_err("the rows would land again");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("holds rows of topic"), "{error}");
}

/// Expires every snapshot but the current one.
fn expire_all(connector: &IcebergConnector) {
    change_by_hand(connector, |table| {
        let metadata = table.metadata();
        let current = metadata.current_snapshot_id();
        let ids = metadata.snapshots().map(|s| s.snapshot_id());
        vec![TableUpdate::RemoveSnapshots {
            snapshot_ids: ids.filter(|id| Some(*id) != current).collect(),
        }]
    });
}

/// A table that was rolled back and written to since. Only its log of metadata files still shows it.
fn rolled_back() -> Place {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    run.land(5).expect("commit");
    run.land(5).expect("commit");
    drop(run);
    roll_back_to(&place.connector, 2);
    append_by_another(&place.connector);
    expire_all(&place.connector);
    append_by_another(&place.connector);
    expire_all(&place.connector);
    place
}

#[test]
fn a_roll_back_is_found_in_the_log_of_metadata_files() {
    let place = rolled_back();

    let error = claim(&place.connector).expect_err("rows would be missing");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("was rolled back"), "{error}");
}

#[test]
fn a_log_that_cannot_be_read_is_no_log_that_is_gone() {
    let place = rolled_back();
    // It has what tells of the roll-back, but cannot be read, as when its store is away.
    let files = place.metadata_files(".metadata.json");
    let kept = files.iter().map(|file| std::fs::read(file).expect("read"));
    let kept: Vec<Vec<u8>> = kept.collect();
    let current = location::local_path(&facts(&place.connector).metadata_location).expect("local");
    for file in files.iter().filter(|file| **file != current) {
        std::fs::remove_file(file).expect("remove");
        std::fs::create_dir(file).expect("a folder in its place");
    }
    let error = claim(&place.connector).expect_err("nobody can tell");
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("cannot tell whether"), "{error}");

    for (file, text) in files.iter().zip(kept).filter(|(file, _)| **file != current) {
        std::fs::remove_dir(file).expect("the folder");
        std::fs::write(file, text).expect("write");
    }
    let error = claim(&place.connector).expect_err("rows would be missing");
    assert!(error.to_string().contains("was rolled back"), "{error}");
}

#[test]
fn others_and_expiry_are_no_roll_back() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    run.land(5).expect("commit");
    for _ in 0..3 {
        append_by_another(&place.connector);
        expire_all(&place.connector);
    }
    run.land(5).expect("it goes on");
    for _ in 0..3 {
        append_by_another(&place.connector);
        expire_all(&place.connector);
    }
    let mut heir = Run::start(&place.connector);
    heir.land(5).expect("it goes on");
    assert_eq!(landed(&place.connector), (0..15).collect::<Vec<_>>());
}

#[test]
fn a_location_in_another_spelling_costs_no_file() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    for _ in 0..3 {
        let epoch = run.stage(5, 1);
        run.table.commit(&epoch).expect("commit");
    }
    drop(run);
    let metadata = ["avro", "json"].map(|ending| place.metadata_files(ending));
    let past_grace = std::time::SystemTime::now() - 2 * Duration::from_millis(litter::GRACE_MS);
    for path in metadata.iter().flatten() {
        let file = std::fs::File::options().write(true).open(path);
        file.and_then(|file| file.set_modified(past_grace))
            .expect("make it old");
    }
    change_table(&place.connector, JOB.table, |table| {
        let location = table.metadata().location().replace("file:///", "file:/");
        assert_ne!(location, table.metadata().location());
        vec![TableUpdate::SetLocation { location }]
    });
    let mut run = Run::start(&place.connector);
    run.land(5).expect("commit");
    for path in metadata.iter().flatten().filter(|path| !is_pending(path)) {
        assert!(path.exists(), "{} is gone", path.display());
    }
    assert_eq!(landed(&place.connector).len(), 20);
    assert_eq!(letters(&place.connector).len(), 3);
}
