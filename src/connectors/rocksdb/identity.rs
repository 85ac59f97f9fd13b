//! What a store is of, and up to where: the value under its first key.

use serde::{Deserialize, Serialize};
use strandline_operators::io::StateMarker;
use strandline_operators::{Error, Result};

/// The layout of keys and of this record. A store with another one is deleted and rebuilt.
const FORMAT_VERSION: u32 = 1;

/// What a store is an index of. With another identity its ids mean something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreIdentity {
    /// The primary table's UUID.
    pub table_uuid: String,
    /// The job.
    pub job: String,
    /// The column whose values the ids are.
    pub key: String,
    /// The seed of the id hash.
    pub hash_seed: u64,
    /// How long ids are remembered, in milliseconds.
    pub ttl_ms: u64,
    /// How many workers share the ids.
    pub workers: u32,
    /// The worker whose share this is.
    pub worker: u32,
}

/// The record under the first key, JSON so that a person can read it with RocksDB's `ldb`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    format_version: u32,
    pub(super) identity: StoreIdentity,
    pub(super) marker: Option<StateMarker>,
}

impl Header {
    pub(super) fn new(identity: StoreIdentity, marker: Option<StateMarker>) -> Header {
        Header {
            format_version: FORMAT_VERSION,
            identity,
            marker,
        }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| {
            Error::internal(format!(
                "cannot write the header of the deduplication state: {e}"
            ))
        })
    }

    /// `None` when it is not a header of this format.
    pub(super) fn decode(bytes: &[u8]) -> Option<Header> {
        serde_json::from_slice(bytes)
            .ok()
            .filter(|header: &Header| header.format_version == FORMAT_VERSION)
    }
}
