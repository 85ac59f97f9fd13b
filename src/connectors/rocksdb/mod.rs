//! The deduplication state on disk: one RocksDB a worker.
//!
//! It is an index over the table and never the truth. What is not vouched for, or cannot be read, is
//! deleted and read back from the table.

mod error;
mod identity;
mod store;

pub use identity::StoreIdentity;
pub use store::{OpenedStore, RocksIdStore, StoreCache};
