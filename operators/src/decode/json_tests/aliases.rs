//! Columns that go by other names.

use proptest::prelude::*;

use super::super::testing::{Cell, row};
use super::*;

const COLUMNS: &[Column] = &[
    Column::required("event_id", ColumnType::String).aliases(&["id"]),
    Column::required("event_time", ColumnType::Timestamptz),
    Column::optional("name", ColumnType::String).aliases(&["title", "label"]),
    Column::optional("total", ColumnType::Long),
];

fn aliased_decoder() -> JsonDecoder {
    JsonDecoder::new(COLUMNS, Some(0), 1, 1000).expect("a decoder")
}

/// Each record's row, or what it fails with.
fn fates(decoder: &mut JsonDecoder, records: &[String]) -> Vec<Result<Vec<Cell>, ErrorType>> {
    let values: Vec<Option<&String>> = records.iter().map(Some).collect();
    let decoded = decoder.decode(&raw_batch(&values));
    let fate = |record: usize| match decoded.rows.iter().position(|&r| r as usize == record) {
        Some(place) => Ok(row(&decoded, COLUMNS, place)),
        None => {
            let mut failures = decoded.failures.iter();
            let failure = failures.find(|failure| failure.record as usize == record);
            Err(failure.expect("a row or a failure").error_type)
        }
    };
    (0..records.len()).map(fate).collect()
}

/// A record with an id and a time, and these members.
fn record(members: &str) -> String {
    format!(r#"{{"event_id":"a","event_time":1{members}}}"#)
}

/// What the column `name` has of a record, or what the record fails with.
fn name(record: String) -> Result<Cell, ErrorType> {
    let mut fates = fates(&mut aliased_decoder(), &[record]);
    fates.remove(0).map(|mut row| row.remove(2))
}

fn text(text: &str) -> Result<Cell, ErrorType> {
    Ok(Cell::Text(text.to_owned()))
}

#[test]
fn a_field_is_a_columns_by_any_of_its_names() {
    for alias in ["name", "title", "label", r"t\u0069tle"] {
        let found = name(record(&format!(r#","{alias}":"n""#)));
        assert_eq!(found, text("n"), "{alias}");
    }
    let by_alias = r#"{"id":"a","event_time":1,"title":"n"}"#;
    assert_eq!(name(by_alias.to_owned()), text("n"));
}

#[test]
fn of_several_names_in_a_record_the_columns_own_counts_else_the_first_alias() {
    for (members, expected) in [
        (r#","name":"n","title":"t""#, text("n")),
        (r#","title":"t","label":"l","name":"n""#, text("n")),
        (r#","label":"l","title":"t""#, text("t")),
        (r#","name":null,"title":"t""#, Ok(Cell::Null)),
        // What is passed over need not fit, but must be JSON.
        (r#","title":7,"name":"n""#, text("n")),
        (r#","title":07,"name":"n""#, Err(ErrorType::Malformed)),
        (r#","title":"t","name":7"#, Err(ErrorType::SchemaMismatch)),
        (r#","title":"t","title":"t""#, Err(ErrorType::Malformed)),
        (
            r#","title":"t","name":"n","title":"t""#,
            Err(ErrorType::Malformed),
        ),
    ] {
        assert_eq!(name(record(members)), expected, "{members}");
    }
}

#[test]
fn records_are_decoded_as_predicted_by_whichever_names_they_have() {
    for members in [
        r#","name":"n""#,
        r#","title":"t""#,
        r#","title":"t","name":"n""#,
    ] {
        let records = vec![record(members); 10];
        let mut decoder = aliased_decoder();
        assert!(fates(&mut decoder, &records).iter().all(Result::is_ok));
        assert_eq!(decoder.rows.predicted, 9, "{members}");
    }
}

fn some_record() -> impl Strategy<Value = String> {
    let member = prop_oneof![
        3 => Just(r#","name":"n""#), 1 => Just(r#","name":null"#), 3 => Just(r#","title":"t""#),
        1 => Just(r#","title":7"#), 2 => Just(r#","label":"l""#), 2 => Just(r#","total":5"#),
        1 => Just(r#","other":[]"#),
    ];
    proptest::collection::vec(member, 0..4).prop_map(|members| record(&members.concat()))
}

proptest! {
    #[test]
    fn a_record_after_others_is_decoded_as_if_it_were_the_first(
        records in proptest::collection::vec(some_record(), 1..12)
    ) {
        let together = fates(&mut aliased_decoder(), &records);
        for (record, fate) in records.iter().zip(together) {
            let alone = fates(&mut aliased_decoder(), std::slice::from_ref(record));
            prop_assert_eq!(&fate, &alone[0], "{}", record);
        }
    }
}

#[test]
fn an_alias_that_is_another_columns_name_is_that_columns() {
    let columns = [
        COLUMNS[0],
        COLUMNS[1],
        Column::optional("name", ColumnType::String).aliases(&["total"]),
        COLUMNS[3],
    ];
    let mut decoder = JsonDecoder::new(&columns, Some(0), 1, 1000).expect("a decoder");
    let decoded = decoder.decode(&raw_batch(&[Some(record(r#","total":5"#))]));
    let row = row(&decoded, &columns, 0);
    assert_eq!(row[2..], [Cell::Null, Cell::Integer(5)]);
}

#[test]
fn an_alias_that_cannot_be_is_an_error() {
    let refused = |aliases: &'static [&'static str]| {
        let city = Column::optional("city", ColumnType::String).aliases(aliases);
        let columns = [COLUMNS, &[city]].concat();
        let error = JsonDecoder::new(&columns, Some(0), 1, 1000).expect_err("an alias of no field");
        assert_eq!(error.kind(), crate::ErrorKind::Configuration);
        error.to_string()
    };
    let within = refused(&["town", "user.address.city"]);
    for part in ["`city`", "`user.address.city`", "`avro_sr`"] {
        assert!(within.contains(part), "{within}");
    }
    let shared = refused(&["title"]);
    for part in ["`title`", "`name`", "`city`"] {
        assert!(shared.contains(part), "{shared}");
    }
}
