//! Any topic, to the terminal: one JSON object a record.
//!
//! ```text
//! strandline run stdout --set topics=[orders] --set starting_offsets=latest
//! ```
//!
//! Reads whatever topics it is told to, of any format. Key, value and headers are shown as the JSON or the text that
//! they are, else as `hex:` and their bytes; a tombstone is shown as the dead letter that it would be. Guarantee: every
//! record is shown at least once. Nothing remembers what was shown: each run begins at `starting_offsets`, with `group`
//! where the last one ended in good order.

use std::time::Duration;

use strandline_operators::job::{
    Format, Job, LatenessPolicy, Peek, PeekAt, Sink, TooLate, WatermarkPolicy,
};
use strandline_operators::schema::Column;
use strandline_operators::schema::ColumnType::{Binary, BinaryMap, Timestamptz};

/// A record as it is. Its time is the broker's.
const COLUMNS: &[Column] = &[
    Column::required("event_time", Timestamptz),
    Column::optional("kafka_key", Binary),
    Column::required("value", Binary),
    Column::required("kafka_headers", BinaryMap),
];

/// The job `stdout`.
pub const STDOUT: Job = Job {
    name: "stdout",
    description: "Any topic, to the terminal",
    sink: Sink::Terminal,
    format: Format::Raw,
    peek: Some(Peek {
        format: Format::Json,
        event_id: PeekAt::Key,
        event_time: PeekAt::Timestamp,
    }),
    columns: COLUMNS,
    // Whatever its time, a record is shown.
    watermark: WatermarkPolicy {
        max_future_skew: Duration::from_secs(100 * 365 * 24 * 60 * 60),
        ..Job::BRONZE.watermark
    },
    lateness: LatenessPolicy {
        too_late: TooLate::Land,
        ..Job::BRONZE.lateness
    },
    dedup: None,
    ..Job::BRONZE
};
