//! The columns that a job gives the tables of `record.py`: for the test of the decoder, and for that of the tables.

use strandline_operators::job::IntegerTimestamps;
use strandline_operators::schema::Column;
use strandline_operators::schema::ColumnType::{
    self, Binary, Boolean, Date, Decimal, Double, Float, Int, Long, String as Text, Time,
    Timestamp, Timestamptz,
};

/// Of `full_rows` (`REPLICA IDENTITY FULL`), `keyed_rows` (the default) and `keyless_rows`. `counts`: what integers
/// count in the columns of three digits, where that is not what the job says.
pub const fn columns(counts: Option<IntegerTimestamps>) -> [Column; 41] {
    [
        Column::required("event_id", Text),
        Column::required("event_time", Timestamptz),
        Column::optional("id", Int),
        Column::optional("c_boolean", Boolean),
        Column::optional("c_smallint", Int),
        Column::optional("c_integer", Int),
        Column::optional("c_bigint", Long),
        Column::optional("c_real", Float),
        Column::optional("c_double", Double),
        Column::optional(
            "c_numeric",
            Decimal {
                precision: 18,
                scale: 4,
            },
        ),
        Column::optional(
            "c_numeric_free",
            Decimal {
                precision: 38,
                scale: 20,
            },
        ),
        Column::optional("c_text", Text),
        Column::optional("c_varchar", Text),
        Column::optional("c_char", Text),
        Column::optional("c_bytea", Binary),
        Column::optional("c_uuid", Text),
        Column::optional("c_json", Text),
        Column::optional("c_jsonb", Text),
        Column::optional("c_date", Date),
        Column::optional("c_time", Time),
        three_digits("c_time_3", Time, counts),
        Column::optional("c_timetz", Text),
        Column::optional("c_timestamp", Timestamp),
        three_digits("c_timestamp_3", Timestamp, counts),
        Column::optional("c_timestamptz", Timestamptz),
        Column::optional("c_interval", Long),
        Column::optional("c_integers", Text),
        Column::optional("c_texts", Text),
        Column::optional("c_toast", Text),
        Column::optional("a", Text),
        Column::optional("b", Int),
        Column::optional("__op", Text),
        Column::optional("__table", Text),
        Column::optional("__schema", Text),
        Column::optional("__db", Text),
        Column::optional("__ts_ms", Timestamptz),
        Column::optional("__source_ts_ms", Timestamptz),
        Column::optional("__lsn", Long),
        Column::optional("__deleted", Boolean),
        Column::optional("__before", Text),
        Column::optional("__unavailable", Text),
    ]
}

const fn three_digits(
    name: &'static str,
    column_type: ColumnType,
    counts: Option<IntegerTimestamps>,
) -> Column {
    Column {
        counts,
        ..Column::optional(name, column_type)
    }
}
