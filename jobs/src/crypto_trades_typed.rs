//! Trades of both exchanges in one schema, into `bronze.crypto_trades`.
//!
//! Reads `market.crypto.trades.binance.raw` and `market.crypto.trades.kraken.raw` (Avro with the schema
//! registry's header). Guarantee: every message id lands once, late ones flagged; what cannot land goes to
//! `market.crypto.trades-dlq` and to the table's dead letters with its cause. State: about 27 bytes for each
//! id of the last 24 hours.
//!
//! Prices and quantities are exact: an Avro decimal of any scale, an integer or text of digits lands as the
//! same number, and one that the column cannot hold is a dead letter, never rounded. Times are microseconds.

use strandline_operators::job::{Format, Job};
use strandline_operators::schema::Column;
use strandline_operators::schema::ColumnType::{Boolean, Decimal, String, Timestamptz};

/// What a trade says. 18 digits behind the point are as many as any exchange quotes.
const COLUMNS: &[Column] = &[
    Column::required("event_id", String).aliases(&["message_id"]),
    Column::required("event_time", Timestamptz),
    Column::optional("exchange", String),
    Column::required("symbol", String).aliases(&["pair"]),
    Column::optional("trade_id", String),
    Column::required("price", PRICE),
    Column::required("quantity", PRICE).aliases(&["volume"]),
    Column::optional("side", String),
    Column::optional("is_buyer_maker", Boolean),
];

const PRICE: strandline_operators::schema::ColumnType = Decimal {
    precision: 38,
    scale: 18,
};

/// The job `crypto-trades-typed`.
pub const CRYPTO_TRADES_TYPED: Job = Job {
    name: "crypto-trades-typed",
    description: "Trades of Binance and Kraken in one schema",
    topics: &[
        "market.crypto.trades.binance.raw",
        "market.crypto.trades.kraken.raw",
    ],
    format: Format::AvroSr,
    columns: COLUMNS,
    dedup: Some(strandline_operators::job::DedupPolicy {
        key: "event_id",
        ttl: std::time::Duration::from_secs(24 * 60 * 60),
    }),
    table: "bronze.crypto_trades",
    dead_letter_topic: Some("market.crypto.trades-dlq"),
    dead_letter_table: Some("bronze.crypto_trades_dead_letters"),
    ..Job::BRONZE
};
