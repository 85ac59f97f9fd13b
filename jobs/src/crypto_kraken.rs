//! Trades of Kraken as their collector wrote them, byte for byte, into `bronze.crypto_trades_kraken_raw`.
//!
//! Reads `market.crypto.trades.kraken.raw` (Avro with the schema registry's header). Guarantee: every
//! message id lands once, late ones flagged, with its bytes, key and headers as they were on the topic; what
//! cannot land goes to `market.crypto.trades.kraken.raw-dlq` and to the table's dead letters with its
//! cause. State: about 27 bytes for each id of the last 24 hours.
//!
//! Nothing is decoded but the two fields that it peeks at, so a new schema of the collector changes nothing
//! here. What the trades say is in the table of `crypto-trades-typed`.

use strandline_operators::job::{Format, Job};
use strandline_operators::schema::RAW_COLUMNS;

use crate::crypto_binance::TRADE;

/// The job `crypto-kraken`.
pub const CRYPTO_KRAKEN: Job = Job {
    name: "crypto-kraken",
    description: "Trades of Kraken, kept as they came",
    topics: &["market.crypto.trades.kraken.raw"],
    format: Format::Raw,
    peek: Some(TRADE),
    columns: RAW_COLUMNS,
    table: "bronze.crypto_trades_kraken_raw",
    dead_letter_topic: Some("market.crypto.trades.kraken.raw-dlq"),
    dead_letter_table: Some("bronze.crypto_trades_kraken_raw_dead_letters"),
    ..Job::BRONZE
};
