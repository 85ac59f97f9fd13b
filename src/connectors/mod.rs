//! The ports of the dataflow, on the real things.

pub mod iceberg;
pub(crate) mod json_row;
pub mod kafka;
pub mod rocksdb;
pub mod schema_registry;
pub mod terminal;
