//! Bids of the ad exchange, into `bronze.bid_events`.
//!
//! Reads `bid-events` (JSON). Guarantee: every event id lands once, late ones flagged; what cannot land goes
//! to `bid-events-dlq` and to the table's dead letters with its cause. State: about 27 bytes for each id of
//! the last 24 hours.

use strandline_operators::job::Job;
use strandline_operators::schema::Column;
use strandline_operators::schema::ColumnType::{Boolean, Decimal, Int, String, Timestamptz};

/// What a bid says. Prices are thousandths of a currency unit at best, so six digits behind the point are
/// enough, and they are exact.
const COLUMNS: &[Column] = &[
    Column::required("event_id", String),
    Column::required("event_time", Timestamptz),
    Column::optional("auction_id", String),
    Column::optional("bidder_id", String),
    Column::optional("campaign_id", String),
    Column::optional(
        "bid_price",
        Decimal {
            precision: 18,
            scale: 6,
        },
    ),
    Column::optional("currency", String),
    Column::optional("won", Boolean),
    Column::optional("response_time_ms", Int),
];

/// The job `bid-events`.
pub const BID_EVENTS: Job = Job {
    name: "bid-events",
    description: "Bids of the ad exchange",
    topics: &["bid-events"],
    columns: COLUMNS,
    table: "bronze.bid_events",
    dead_letter_topic: Some("bid-events-dlq"),
    dead_letter_table: Some("bronze.bid_events_dead_letters"),
    ..Job::BRONZE
};
