//! Batches that wait for schemas: in order within a partition, while other partitions go on.

use std::collections::{BTreeMap, VecDeque};

use crate::record::{RawBatch, TopicPartition};

/// Batches that wait, each with the capability `C` that holds the frontier for it.
///
/// It has no bound of its own: every batch carries its credit, and the source reads nothing without.
#[derive(Debug)]
pub(super) struct HeldBack<C> {
    queues: BTreeMap<TopicPartition, VecDeque<(C, RawBatch)>>,
}

impl<C> Default for HeldBack<C> {
    fn default() -> HeldBack<C> {
        HeldBack {
            queues: BTreeMap::new(),
        }
    }
}

impl<C> HeldBack<C> {
    /// Batches that wait.
    pub fn len(&self) -> usize {
        self.queues.values().map(VecDeque::len).sum()
    }

    /// Whether batches of the partition wait, so that later ones must wait behind them.
    pub fn holds(&self, source: &TopicPartition) -> bool {
        !self.queues.is_empty() && self.queues.contains_key(source)
    }

    /// Makes a batch wait behind those of its partition.
    pub fn hold(&mut self, capability: C, raw: RawBatch) {
        let queue = self.queues.entry(raw.source.clone()).or_default();
        queue.push_back((capability, raw));
    }

    /// Takes the first batch of a partition, if there is a partition whose first batch is ready.
    pub fn take_ready(
        &mut self,
        mut is_ready: impl FnMut(&RawBatch) -> bool,
    ) -> Option<(C, RawBatch)> {
        let source = self.queues.iter().find_map(|(source, queue)| {
            let (_, first) = queue.front()?;
            is_ready(first).then(|| source.clone())
        })?;
        let queue = self.queues.get_mut(&source)?;
        let taken = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&source);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::credit::Budget;
    use crate::time::EventTime;

    fn batch(partition: i32, start: i64) -> RawBatch {
        RawBatch {
            source: TopicPartition::new("t", partition),
            start,
            next: start + 1,
            leader_epoch: None,
            received_at: EventTime(0),
            arena: Bytes::new(),
            records: Vec::new(),
            headers: None,
            credit: Budget::new(1).take(0),
        }
    }

    proptest! {
        #[test]
        fn every_batch_comes_out_once_and_in_the_order_of_its_partition(
            partitions in proptest::collection::vec(0i32..4, 0..40),
            ready in proptest::collection::vec(any::<bool>(), 1..200)
        ) {
            let mut held = HeldBack::default();
            for (start, &partition) in partitions.iter().enumerate() {
                held.hold(start, batch(partition, start as i64));
            }
            let mut coin = ready.iter().copied().cycle();
            let mut taken: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
            // Every coin is tossed for every partition, and after that all are ready.
            for round in 0..=ready.len() {
                let last = round == ready.len();
                while let Some((capability, raw)) = held.take_ready(|_| last || coin.next() == Some(true)) {
                    prop_assert_eq!(capability as i64, raw.start);
                    taken.entry(raw.source.partition).or_default().push(raw.start);
                    if !last {
                        break;
                    }
                }
            }
            let all: usize = taken.values().map(Vec::len).sum();
            prop_assert_eq!(all, partitions.len());
            prop_assert!(taken.values().all(|starts| starts.is_sorted()));
            prop_assert!(partitions.iter().all(|&p| !held.holds(&TopicPartition::new("t", p))));
        }
    }
}
