//! Credits: how many bytes of records may be between the source and the written files.
//!
//! timely's queues are unbounded, so the bound is kept here: the source takes a credit for every batch
//! and reads on only while the budget has room; the credit travels with the batch and is given back when
//! the batch is dropped, wherever that happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes in flight of one process, against a limit.
#[derive(Clone, Debug)]
pub struct Budget {
    in_flight: Arc<AtomicU64>,
    limit: u64,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Budget {
        Budget {
            in_flight: Arc::default(),
            limit,
        }
    }

    /// Whether there is room for more. A batch taken when there is may overshoot by its own size.
    pub fn has_room(&self) -> bool {
        self.in_flight() < self.limit
    }

    /// Bytes in flight now.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Takes a credit for `bytes`, given back when the credit is dropped.
    pub fn take(&self, bytes: u64) -> Credit {
        self.in_flight.fetch_add(bytes, Ordering::Relaxed);
        Credit {
            in_flight: Arc::clone(&self.in_flight),
            bytes,
        }
    }
}

/// A share of a [`Budget`], given back on drop.
#[derive(Debug)]
pub struct Credit {
    in_flight: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Credit {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_credit_gives_its_bytes_back() {
        let budget = Budget::new(10);
        let credit = budget.take(12);
        assert!(!budget.has_room());
        drop(credit);
        assert!(budget.has_room());
        assert_eq!(budget.in_flight(), 0);
    }
}
