//! The types that the model does not have.

use arrow_array::types::{Date32Type, Decimal128Type, Float32Type, Time64MicrosecondType};

use super::*;

/// A type, what fits it with how Arrow prints it, and what does not fit.
type Case<'a> = (ColumnType, &'a [(&'a str, &'a str)], &'a [&'a str]);

/// The types that the model does not have.
#[test]
fn the_seldom_types_take_what_fits_and_refuse_the_rest() {
    let decimal = ColumnType::Decimal {
        precision: 10,
        scale: 2,
    };
    let cases: [Case<'_>; 6] = [
        (
            decimal,
            &[
                ("1.5", "150"),
                ("\"-0.05\"", "-5"),
                ("12e1", "12000"),
                ("0", "0"),
            ],
            &["1.005", "123456789", "\"JwA=\"", "true", "\"\"", "{}"],
        ),
        (
            ColumnType::Float,
            &[("1.5", "1.5"), ("-3", "-3.0")],
            &["1e39", "\"1\""],
        ),
        (
            ColumnType::Date,
            &[("\"1970-01-02\"", "1970-01-02"), ("20000", "2024-10-04")],
            &["\"1970-02-30\"", "1.5", "99999999999"],
        ),
        (
            ColumnType::Time,
            &[("\"00:00:01\"", "00:00:01"), ("1000", "00:00:01")],
            &["86400000", "-1", "\"24:00:00\""],
        ),
        (
            ColumnType::Timestamp,
            &[
                ("\"1970-01-01T00:00:01\"", "1970-01-01T00:00:01"),
                ("1000", "1970-01-01T00:00:01"),
            ],
            &["\"1970-01-01\"", "1.5"],
        ),
        (
            ColumnType::Binary,
            &[("\"/wA=\"", "[255, 0]"), ("\"\"", "[]")],
            &["\"/w\"", "\"*\"", "7"],
        ),
    ];
    for (column_type, fits, misfits) in cases {
        let columns = [
            Column::required("event_time", ColumnType::Timestamptz),
            Column::optional("v", column_type),
        ];
        let mut decoder = JsonDecoder::new(&columns, None, 0, 1 << 20).expect("decoder");
        let record = |value: &str| Some(format!("{{\"event_time\":1,\"v\":{value}}}"));
        let values = fits.iter().map(|(value, _)| record(value));
        let decoded = decoder.decode(&raw_batch(&values.collect::<Vec<_>>()));
        assert_eq!(decoded.failures, [], "{}", column_type.name());
        let array = decoded.columns.column(1);
        for (row, (value, expected)) in fits.iter().enumerate() {
            let found = match column_type {
                ColumnType::Decimal { .. } => array
                    .as_primitive::<Decimal128Type>()
                    .value(row)
                    .to_string(),
                ColumnType::Float => {
                    format!("{:?}", array.as_primitive::<Float32Type>().value(row))
                }
                ColumnType::Date => {
                    let date = array.as_primitive::<Date32Type>().value_as_date(row);
                    date.expect("a date").to_string()
                }
                ColumnType::Time => {
                    let time = array
                        .as_primitive::<Time64MicrosecondType>()
                        .value_as_time(row);
                    time.expect("a time").to_string()
                }
                ColumnType::Binary => format!("{:?}", array.as_binary::<i32>().value(row)),
                _ => {
                    let time = array.as_primitive::<TimestampMicrosecondType>();
                    let time = time.value_as_datetime(row).expect("a time");
                    time.format("%Y-%m-%dT%H:%M:%S").to_string()
                }
            };
            assert_eq!(&found, expected, "{value} as {}", column_type.name());
        }
        let values: Vec<Option<String>> = misfits.iter().map(|value| record(value)).collect();
        let decoded = decoder.decode(&raw_batch(&values));
        assert_eq!(
            decoded.failures.len(),
            misfits.len(),
            "{}",
            column_type.name()
        );
        for failure in &decoded.failures {
            assert_eq!(
                failure.error_type,
                ErrorType::SchemaMismatch,
                "{}",
                failure.message
            );
        }
    }
}
