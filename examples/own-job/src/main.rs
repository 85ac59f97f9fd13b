//! Orders of a shop, deduplicated by order, into `bronze.orders`.
//!
//! Reads `orders` (JSON). Guarantee: every order lands once, late ones flagged; what cannot land goes to
//! `bronze.orders_dead_letters` with its cause. State: about 27 bytes for each order of the last 7 days.

use std::process::ExitCode;
use std::time::Duration;

use strandline::ColumnType::{Double, Int, String, Timestamptz};
use strandline::{Column, DedupPolicy, Job, WatermarkPolicy};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const ORDERS: Job = Job {
    name: "orders",
    description: "Orders of the shop",
    topics: &["orders"],
    columns: &[
        Column::required("event_id", String),
        Column::required("event_time", Timestamptz),
        Column::required("order_id", String),
        Column::optional("customer", String),
        Column::optional("items", Int),
        Column::optional("amount", Double),
    ],
    table: "bronze.orders",
    dead_letter_table: Some("bronze.orders_dead_letters"),
    // Tills send an hour's orders at once, and repeat them for days.
    watermark: WatermarkPolicy {
        out_of_orderness: Duration::from_secs(2 * 60 * 60),
        ..Job::BRONZE.watermark
    },
    dedup: Some(DedupPolicy {
        key: "order_id",
        ttl: Duration::from_secs(7 * DAY.as_secs()),
    }),
    ..Job::BRONZE
};

fn main() -> ExitCode {
    strandline::main(&[ORDERS])
}
