//! The dataflow of Strandline: pure state machines, each beside the thin timely operator that drives
//! it, and the ports ([`io`]) through which they reach Kafka, RocksDB, Parquet files and Iceberg tables.
//!
//! Nothing in this crate links a connector: no Kafka, no Iceberg, no RocksDB, no async runtime. That is
//! what lets whole-engine simulations run on fakes.

pub mod account;
pub mod background;
pub mod clock;
pub mod commit;
pub mod context;
pub mod control;
pub mod credit;
pub mod dead_letter;
pub mod dead_letters;
pub mod decode;
pub mod dedup;
pub mod error;
pub mod failpoint;
pub mod flow;
pub mod host;
pub mod io;
pub mod job;
pub mod landing;
pub mod numbers;
pub mod observed;
pub mod partitions;
pub mod positions;
pub mod progress;
pub mod record;
pub mod route;
pub mod routes;
pub mod schema;
pub mod source;
pub mod time;
pub mod wake;
pub mod watermark;
pub mod write;

pub use arrow_array;
pub use arrow_buffer;
pub use arrow_schema;
pub use arrow_select;
pub use error::{Error, ErrorKind, Result};
