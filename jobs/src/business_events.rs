//! Business events out of a database's outbox table, as Debezium reports them, flattened into
//! `bronze.business_events`, and by the type of the event into four tables more.
//!
//! Reads `raw-business-events` (Debezium's changes in JSON, with the schema registry's header). Guarantee:
//! every event id lands once, late ones flagged; what cannot land goes to `raw-business-events-dlq` and to
//! the table's dead letters with its cause. Tombstones and heartbeats are counted as dropped. State: about
//! 27 bytes for each id of the last 24 hours.
//!
//! A row is the change's `after`, of a delete its `before`. An outbox is only inserted into, so that the row
//! has an id of its own; should one lack it, the position in the database's log stands for it. An update or a
//! delete of it within those 24 hours, as of an outbox that is cleared, has the row's id and is a duplicate.
//!
//! `order.placed` is also in the table of the orders, `payment.captured` in that of the payments, and so on. A refund
//! is about a payment and about an order. What is of no such type is in `bronze.business_events` alone.

use strandline_operators::job::{Format, Job, Route};
use strandline_operators::routes::Row;
use strandline_operators::schema::Column;
use strandline_operators::schema::ColumnType::{Boolean, Long, String, Timestamptz};

/// What a row says, and below what Debezium says of it.
const COLUMNS: &[Column] = &[
    Column::required("event_id", String),
    Column::optional("event_type", String),
    Column::required("event_time", Timestamptz),
    Column::optional("aggregate_type", String),
    Column::optional("aggregate_id", String),
    Column::optional("payload", String),
    Column::optional("__op", String),
    Column::optional("__table", String),
    Column::optional("__schema", String),
    Column::optional("__ts_ms", Timestamptz),
    Column::optional("__source_ts_ms", Timestamptz),
    Column::optional("__lsn", Long),
    Column::optional("__deleted", Boolean),
    Column::optional("__before", String),
    Column::optional("__unavailable", String),
];

/// Where events of which types go besides.
const ROUTES: &[Route<&str>] = &[
    Route {
        name: "orders",
        table: "bronze.business_events_orders",
        takes: |row| is_about(row, "order") || is_refund(row),
    },
    Route {
        name: "payments",
        table: "bronze.business_events_payments",
        takes: |row| is_about(row, "payment"),
    },
    Route {
        name: "shipments",
        table: "bronze.business_events_shipments",
        takes: |row| is_about(row, "shipment"),
    },
    Route {
        name: "customers",
        table: "bronze.business_events_customers",
        takes: |row| is_about(row, "customer"),
    },
];

/// Whether the event's type is `SUBJECT.WHAT_HAPPENED`.
fn is_about(row: &Row<'_>, subject: &str) -> bool {
    let kind = row.text("event_type").unwrap_or_default();
    kind.split_once('.').is_some_and(|(of, _)| of == subject)
}

fn is_refund(row: &Row<'_>) -> bool {
    row.text("event_type") == Some("payment.refunded")
}

/// The job `business-events`.
pub const BUSINESS_EVENTS: Job = Job {
    name: "business-events",
    description: "Business events, by change data capture",
    topics: &["raw-business-events"],
    format: Format::DebeziumJsonSr,
    columns: COLUMNS,
    table: "bronze.business_events",
    routes: ROUTES,
    dead_letter_topic: Some("raw-business-events-dlq"),
    dead_letter_table: Some("bronze.business_events_dead_letters"),
    ..Job::BRONZE
};
