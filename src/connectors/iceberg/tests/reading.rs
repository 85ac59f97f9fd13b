//! Rows that are read back, and what their files say of them.

use super::*;

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
    read_back(
        description,
        &HashMap::new(),
        &columns,
        rows,
        vec![visitor(), visitor()],
    )
    .expect("read");
    let mut found = found.into_inner().expect("lock");
    found.sort_unstable();
    found
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
    let files = open_files(tables.description(), &HashMap::new()).expect("files");
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
