//! Columns that are added while the job runs.

use std::ops::Range;

use strandline_operators::io::TableColumns;
use strandline_operators::job::{Format, JobSettings, Route, SchemaEvolution};
use strandline_operators::schema::{AddedColumn, MAX_TABLE_COLUMNS};

use super::*;

const ROUTED: &str = "bronze.clicks_routed";

fn settings() -> JobSettings {
    let mut settings = JobSettings {
        format: Format::AvroSr,
        schema_evolution: SchemaEvolution::AddColumns,
        ..JOB.settings()
    };
    settings.routes = vec![Route {
        name: "routed",
        table: ROUTED.to_owned(),
        takes: |_row| true,
    }];
    settings
}

fn column(name: &str, column_type: ColumnType) -> AddedColumn {
    AddedColumn {
        name: name.to_owned(),
        column_type,
    }
}

fn note() -> AddedColumn {
    column("note", ColumnType::String)
}

/// A life of the job, what adds columns in it, and those that there were already.
struct Life {
    run: Run,
    files: Arc<ParquetFiles>,
    columns: Arc<dyn TableColumns>,
    added: Vec<AddedColumn>,
}

fn start(connector: &IcebergConnector) -> Result<Life> {
    let mut settings = settings();
    let tables = connector.prepare(&settings, ClaimOptions::default(), &mut |_| Ok(()))?;
    let (files, added) = (
        open_files(tables.description(), &HashMap::new())?,
        &tables.description().added,
    );
    settings.add_columns(added);
    let columns = connector.columns(&settings, tables.generation(), Arc::clone(&files));
    let added = added.clone();
    let mut run = Run::of(tables);
    run.files = files.clone();
    Ok(Life {
        run,
        files,
        columns,
        added,
    })
}

impl Life {
    /// Commits rows of the next offsets to both tables; those whose note is `None` with a file that has no such column.
    fn land(&mut self, rows: i64, note: Option<&str>) -> Result<()> {
        let first = self.run.next_offset;
        let mut epoch = self.run.stage(0, 0);
        self.run.next_offset += rows;
        for delta in epoch.partitions.values_mut() {
            delta.next += rows;
            delta.account.consumed += rows as u64;
            delta.account.landed += rows as u64;
        }
        for table in [TableIndex::PRIMARY, TableIndex::of_route(0)] {
            epoch.files.push(write_noted(
                &self.files,
                table,
                epoch.epoch,
                first..first + rows,
                note,
            ));
        }
        self.run.table.commit(&epoch).map(drop)
    }
}

fn write_noted(
    files: &ParquetFiles,
    table: TableIndex,
    epoch: Epoch,
    rows: Range<i64>,
    note: Option<&str>,
) -> WrittenFile {
    let schema = files.schema(table);
    let columns: Vec<(_, ArrayRef)> = schema
        .fields()
        .iter()
        .filter(|field| note.is_some() || field.name() != "note")
        .map(|field| {
            let offsets = || rows.clone();
            let values: ArrayRef = match field.name().as_str() {
                "event_id" => texts(offsets().map(|o| format!("id-{o}"))),
                "kafka_topic" => texts(offsets().map(|_| "clicks".to_owned())),
                "note" => texts(offsets().map(|_| note.unwrap_or_default().to_owned())),
                "amount" => Arc::new(
                    strandline_operators::arrow_array::Float64Array::from_iter_values(
                        offsets().map(|o| o as f64),
                    ),
                ),
                "is_late_arrival" => {
                    Arc::new(BooleanArray::from_iter(offsets().map(|_| Some(false))))
                }
                "kafka_partition" => Arc::new(Int32Array::from_iter_values(offsets().map(|_| 0))),
                "kafka_offset" => Arc::new(Int64Array::from_iter_values(offsets())),
                "ingest_epoch" => Arc::new(Int64Array::from_iter_values(
                    offsets().map(|_| epoch.0 as i64),
                )),
                _ => times(offsets().map(event_time)),
            };
            (Arc::clone(field), values)
        })
        .collect();
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let batch = RecordBatch::try_new(
        Arc::new(strandline_operators::arrow_schema::Schema::new(fields)),
        arrays,
    );
    let batch = batch.expect("batch");
    let key = FileKey {
        table,
        day: DAY,
        epoch,
        worker: 0,
    };
    let mut writer = files.open(key, batch.schema_ref()).expect("open");
    writer.write(&batch).expect("write");
    writer.close().expect("close")
}

/// The notes in a table, by offset.
fn notes(connector: &IcebergConnector, table: &str) -> BTreeMap<i64, Option<String>> {
    let mut found = BTreeMap::new();
    connector
        .view(table)
        .expect("view")
        .expect("a table")
        .scan(Some(&["kafka_offset", "note"]), &mut |batch| {
            let offsets = batch.column(0).as_primitive::<Int64Type>();
            let notes = batch.column(1).as_string::<i32>();
            for (offset, note) in offsets.values().iter().zip(notes) {
                assert_eq!(
                    found.insert(*offset, note.map(str::to_owned)),
                    None,
                    "twice"
                );
            }
            Ok(())
        })
        .expect("scan");
    found
}

#[test]
fn a_column_that_is_added_while_the_job_runs_is_null_before_and_filled_after() {
    let place = Place::new();
    let mut life = start(&place.connector).expect("start");
    assert_eq!(life.added, []);
    life.land(2, None).expect("before");
    assert_eq!(life.columns.add(&[note()]).expect("added"), [note()]);
    // The committer still has the version of before in hand.
    life.land(2, Some("first")).expect("after");
    // Another worker has not heard of it.
    life.land(2, None).expect("a file without the column");
    assert_eq!(
        life.columns.add(&[note()]).expect("there"),
        [note()],
        "again"
    );
    drop(life);
    let mut heir = start(&place.connector).expect("start again");
    assert_eq!(heir.added, [note()]);
    heir.land(1, Some("second")).expect("commit");
    let text = |note: &str| Some(note.to_owned());
    let expected = [
        None,
        None,
        text("first"),
        text("first"),
        None,
        None,
        text("second"),
    ];
    for table in [JOB.table, ROUTED] {
        let found: Vec<_> = notes(&place.connector, table).into_values().collect();
        assert_eq!(found, expected, "{table}");
    }
}

#[test]
fn a_generation_that_is_fenced_adds_no_column() {
    let place = Place::new();
    let zombie = start(&place.connector).expect("start");
    let heir = start(&place.connector).expect("claim");
    let error = zombie.columns.add(&[note()]).expect_err("fenced");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(
        error.to_string().contains("is fenced by generation 2"),
        "{error}"
    );
    drop(heir);
    assert_eq!(start(&place.connector).expect("start").added, []);
}

#[test]
fn a_column_that_is_there_with_another_type_is_taken_as_it_is() {
    let place = Place::new();
    let life = start(&place.connector).expect("start");
    life.columns.add(&[note()]).expect("added");
    let other = column("note", ColumnType::Long);
    assert_eq!(life.columns.add(&[other]).expect("there"), [note()]);
    // Most readers could not tell it from the other.
    let other = column("NOTE", ColumnType::String);
    assert_eq!(life.columns.add(&[other]).expect("left out"), []);
}

#[test]
fn a_column_of_a_route_that_is_another_is_refused() {
    let place = Place::new();
    let life = start(&place.connector).expect("start");
    let catalog = &place.connector.catalog;
    change::change(catalog, &tables::ident(ROUTED).expect("ident"), |table| {
        let shape = tables::TableShape {
            name: ROUTED.to_owned(),
            columns: bronze_schema(&settings().columns),
            day_of: "event_time".to_owned(),
        };
        tables::addition(table, &shape, &[column("note", ColumnType::Long)])
    })
    .expect("by hand");
    let error = life.columns.add(&[note()]).expect_err("refused");
    assert!(
        error.to_string().contains("has another column `note`"),
        "{error}"
    );
}

#[test]
fn a_table_gets_no_more_columns_than_readers_take() {
    let place = Place::new();
    let life = start(&place.connector).expect("start");
    let many = |n: usize| -> Vec<AddedColumn> {
        (0..n)
            .map(|i| column(&format!("c{i}"), ColumnType::Long))
            .collect()
    };
    let error = life
        .columns
        .add(&many(MAX_TABLE_COLUMNS))
        .expect_err("too many");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(life.columns.add(&many(3)).expect("some").len(), 3);
}

#[test]
fn a_commit_is_refused_when_an_added_column_was_dropped() {
    let place = Place::new();
    let mut life = start(&place.connector).expect("start");
    life.columns.add(&[note()]).expect("added");
    life.land(1, Some("kept")).expect("commit");
    change_by_hand(&place.connector, |_table| {
        // Back to the first schema.
        vec![TableUpdate::SetCurrentSchema { schema_id: 0 }]
    });
    let error = life.land(1, Some("hidden")).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(
        error.to_string().contains("was dropped while the job ran"),
        "{error}"
    );
}
