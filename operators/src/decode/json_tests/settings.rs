//! Decoders of other settings and columns.

use super::super::decoder;
use super::*;
use crate::job::Job;

#[test]
fn without_deduplication_an_id_is_a_column_like_any_other() {
    let columns = [
        Column::optional("event_id", ColumnType::String),
        Column::required("at", ColumnType::Timestamptz),
    ];
    let mut decoder = JsonDecoder::new(&columns, None, 1, 1000).expect("decoder");
    let values = [
        Some(r#"{"at":1,"event_id":""}"#),
        Some(r#"{"at":1}"#),
        Some(r#"{"at":1,"event_id":null}"#),
    ];
    let decoded = decoder.decode(&raw_batch(&values));
    assert_eq!(decoded.rows, [0, 1, 2]);
    assert_eq!(decoded.columns.column(0).null_count(), 2);
}

#[test]
fn a_decoder_is_made_from_settings_that_fit_together() {
    let job = Job {
        name: "t",
        topics: &["t"],
        columns: COLUMNS,
        table: "bronze.t",
        ..Job::BRONZE
    };
    let mut made = decoder(&job.settings(), false).expect("decoder");
    assert_eq!(
        made.decode(&raw_batch(&[Some(with_field("", ""))])).rows,
        [0]
    );
    let mut settings = job.settings();
    settings.event_time = "evnt_time".to_owned();
    let error = decoder(&settings, false).err().expect("an unknown column");
    assert_eq!(error.kind(), crate::ErrorKind::Configuration);
    assert!(
        error.to_string().contains("`evnt_time` is no column"),
        "{error}"
    );
    settings.event_time = "count".to_owned();
    let error = decoder(&settings, false)
        .err()
        .expect("a column of another type");
    assert!(
        error
            .message()
            .contains("`count` is a int; it must be a timestamptz"),
        "{error}"
    );
    assert!(
        JsonDecoder::new(&[COLUMNS[1], COLUMNS[1]], None, 0, 1).is_err(),
        "a column twice"
    );
}

#[test]
fn an_empty_batch_has_no_rows_and_the_right_columns() {
    let decoded = test_decoder().decode(&raw_batch::<&[u8]>(&[]));
    assert_eq!(decoded.columns.num_rows(), 0);
    assert_eq!(decoded.columns.schema(), decoded_schema(COLUMNS));
}
