//! The table's columns, and those of the job.

use super::*;

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
    let schema = open_files(tables.description(), &HashMap::new())
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
            let schema = open_files(tables.description(), &HashMap::new())
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
