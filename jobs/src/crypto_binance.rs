//! Trades of Binance as their collector wrote them, byte for byte, into `bronze.crypto_trades_binance_raw`.
//!
//! Reads `market.crypto.trades.binance.raw` (Avro with the schema registry's header). Guarantee: every
//! message id lands once, late ones flagged, with its bytes, key and headers as they were on the topic; what
//! cannot land goes to `market.crypto.trades.binance.raw-dlq` and to the table's dead letters with its
//! cause. State: about 27 bytes for each id of the last 24 hours.
//!
//! Nothing is decoded but the two fields that it peeks at, so a new schema of the collector changes nothing
//! here. What the trades say is in the table of `crypto-trades-typed`.

use strandline_operators::job::{Format, Job, Peek, PeekAt};
use strandline_operators::schema::RAW_COLUMNS;

/// Where the id and the time of a trade are, in the Avro of both collectors.
pub(crate) const TRADE: Peek<&str> = Peek {
    format: Format::AvroSr,
    event_id: PeekAt::Field("message_id"),
    event_time: PeekAt::Field("event_time"),
};

/// The job `crypto-binance`.
pub const CRYPTO_BINANCE: Job = Job {
    name: "crypto-binance",
    description: "Trades of Binance, kept as they came",
    topics: &["market.crypto.trades.binance.raw"],
    format: Format::Raw,
    peek: Some(TRADE),
    columns: RAW_COLUMNS,
    table: "bronze.crypto_trades_binance_raw",
    dead_letter_topic: Some("market.crypto.trades.binance.raw-dlq"),
    dead_letter_table: Some("bronze.crypto_trades_binance_raw_dead_letters"),
    ..Job::BRONZE
};
