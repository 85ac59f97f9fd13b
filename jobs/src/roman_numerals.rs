//! Conversions asked of the Roman numeral service, deduplicated, into `bronze.conversion_events`.
//!
//! Reads `roman-numeral-events` (JSON). Guarantee: every event id lands once, late ones flagged; what
//! cannot land goes to `roman-numeral-events-dlq` and to `bronze.conversion_events_dead_letters` with its
//! cause. State: about 27 bytes for each id of the last 24 hours.
//!
//! Like every Bronze job ([`Job::BRONZE`]) it takes event times up to 5 minutes out of order, lands what
//! is up to an hour later than that with `is_late_arrival`, remembers an id for 24 hours, and commits once
//! a second.

use strandline_operators::job::Job;
use strandline_operators::schema::Column;
use strandline_operators::schema::ColumnType::{Double, Int, String, Timestamptz};

/// What an event says. `event_time` is ISO-8601 text or epoch milliseconds.
const COLUMNS: &[Column] = &[
    Column::required("event_id", String),
    Column::optional("event_type", String),
    Column::required("event_time", Timestamptz),
    Column::optional("user_id", String),
    Column::optional("session_id", String),
    Column::optional("input_value", Int),
    Column::optional("roman_numeral", String),
    Column::optional("response_time_ms", Double),
    Column::optional("source", String),
];

/// The job `roman-numerals`.
pub const ROMAN_NUMERALS: Job = Job {
    name: "roman-numerals",
    description: "Conversions asked of the Roman numeral service",
    topics: &["roman-numeral-events"],
    columns: COLUMNS,
    table: "bronze.conversion_events",
    dead_letter_topic: Some("roman-numeral-events-dlq"),
    dead_letter_table: Some("bronze.conversion_events_dead_letters"),
    ..Job::BRONZE
};
