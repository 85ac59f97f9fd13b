//! The ids that are in memory: of open epochs, of committed ones not yet written to the store, and of
//! those just written.
//!
//! One table answers for all of them, so that an unknown id costs one miss. Beside it stand plain columns
//! of hashes by epoch and bucket, which say what becomes of an id; they move from tier to tier whole.
//!
//! ```text
//! open epochs --durable--> recent --flush--> being written --ingested--> retiring --> (filters, store)
//! ```

use std::collections::VecDeque;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

use hashbrown::HashSet;

use crate::io::IdsByBucket;
use crate::time::Epoch;

/// Ids in the recent tier that make it worth a file: with files of 200,000 ids instead of a million,
/// writing and compaction cost twice as much.
pub const RECENT_IDS: usize = 1 << 20;

/// The recent tier is written after this time even when it is small. It bounds what a kill costs in
/// reading back.
pub const RECENT_AGE: Duration = Duration::from_secs(5 * 60);

/// Ids in memory above which no further epoch is begun. A table of 4 million slots holds them: 71 MB.
pub const MAX_IDS_IN_MEMORY: usize = 3_500_000;

/// Epochs in memory above which no further epoch is begun.
pub const MAX_OPEN_EPOCHS: usize = 16;

/// The hash of an id is random already; its low half is the table's hash.
#[derive(Default)]
struct LowHalf(u64);

impl Hasher for LowHalf {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}

#[derive(Debug)]
struct OpenEpoch {
    epoch: Epoch,
    ids: IdsByBucket,
}

/// The tiers in memory. See the module's documentation.
#[derive(Debug)]
pub(super) struct Tiers {
    /// Ids in the recent tier that make it worth a file.
    flush_at: usize,
    /// Every id in memory, and those whose look-up is under way.
    held: HashSet<u128, BuildHasherDefault<LowHalf>>,
    /// By ascending epoch.
    open: VecDeque<OpenEpoch>,
    recent: IdsByBucket,
    recent_ids: usize,
    /// When the oldest id of the recent tier came there.
    recent_since: Option<Instant>,
    /// The last epoch that the recent tier holds ids of.
    recent_epoch: Option<Epoch>,
    retiring: Vec<(u32, Vec<u128>)>,
}

/// Ids on their way to the store.
#[derive(Debug, PartialEq, Eq)]
pub struct Flush {
    /// The ids, by bucket, in no order.
    pub ids: IdsByBucket,
    /// With them, the store has all ids up to this epoch.
    pub epoch: Epoch,
}

impl Flush {
    /// Sorts the ids of each bucket, as [`IdStore::ingest`](crate::io::IdStore::ingest) wants them.
    pub fn sort(&mut self) {
        super::recover::sort(&mut self.ids);
    }
}

impl Default for Tiers {
    fn default() -> Self {
        Tiers {
            flush_at: RECENT_IDS,
            held: HashSet::default(),
            open: VecDeque::new(),
            recent: IdsByBucket::new(),
            recent_ids: 0,
            recent_since: None,
            recent_epoch: None,
            retiring: Vec::new(),
        }
    }
}

impl Tiers {
    pub(super) fn flush_at(&mut self, ids: usize) {
        self.flush_at = ids;
    }

    /// Takes the hash in, or says that it is there already.
    #[inline]
    pub(super) fn hold(&mut self, hash: u128) -> bool {
        self.held.insert(hash)
    }

    #[inline]
    pub(super) fn holds(&self, hash: u128) -> bool {
        self.held.contains(&hash)
    }

    /// Forgets a hash that was only held for the time of its look-up.
    pub(super) fn release(&mut self, hash: u128) {
        self.held.remove(&hash);
    }

    /// Says when an epoch is first judged, in order.
    pub(super) fn begin(&mut self, epoch: Epoch) {
        if self.open.back().is_none_or(|last| last.epoch < epoch) {
            self.open.push_back(OpenEpoch {
                epoch,
                ids: IdsByBucket::new(),
            });
        }
    }

    /// Records a held hash as a new id of an epoch that was begun and is not durable.
    #[inline]
    pub(super) fn record(&mut self, epoch: Epoch, bucket: u32, hash: u128) {
        // Nearly always the last one.
        if let Some(open) = self.open.iter_mut().rev().find(|open| open.epoch == epoch) {
            open.ids.entry(bucket).or_default().push(hash);
        }
    }

    /// Whether an epoch may be begun.
    pub(super) fn has_room(&self) -> bool {
        self.open.len() < MAX_OPEN_EPOCHS && self.held.len() < MAX_IDS_IN_MEMORY
    }

    pub(super) fn open_epochs(&self) -> usize {
        self.open.len()
    }

    pub(super) fn ids(&self) -> usize {
        self.held.len()
    }

    /// Moves the ids of durable epochs to the recent tier.
    pub(super) fn promote(&mut self, is_durable: impl Fn(Epoch) -> bool, now: Instant) {
        while let Some(open) = self.open.pop_front_if(|open| is_durable(open.epoch)) {
            for (bucket, mut hashes) in open.ids {
                self.recent_ids += hashes.len();
                // Only an epoch with an id of ours surely had rows, so only such an epoch was surely
                // committed and may stand in a marker.
                self.recent_epoch = Some(open.epoch);
                self.recent_since.get_or_insert(now);
                self.recent
                    .entry(bucket)
                    .and_modify(|all| all.append(&mut hashes))
                    .or_insert(hashes);
            }
        }
    }

    pub(super) fn recent_ids(&self) -> usize {
        self.recent_ids
    }

    /// Whether the recent tier should be written.
    pub(super) fn is_flush_due(&self, now: Instant) -> bool {
        self.recent_ids >= self.flush_at
            || self
                .recent_since
                .is_some_and(|since| now.saturating_duration_since(since) >= RECENT_AGE)
    }

    /// Takes the recent tier to be written; its ids stay held. Buckets below `live_from` have expired
    /// and are not worth writing.
    pub(super) fn take_recent(&mut self, live_from: u32) -> Option<Flush> {
        let live = self.recent.split_off(&live_from);
        self.retiring.extend(std::mem::take(&mut self.recent));
        self.recent_ids = 0;
        self.recent_since = None;
        let epoch = self.recent_epoch.take()?;
        (!live.is_empty()).then_some(Flush { ids: live, epoch })
    }

    /// Takes back the ids of a flush that the store now holds.
    pub(super) fn retire(&mut self, ids: IdsByBucket) {
        self.retiring.extend(ids);
    }

    /// Hands up to `at_most` retiring ids of one bucket to `keep`, and then forgets them. Returns whether
    /// there are more.
    pub(super) fn retire_some(&mut self, at_most: usize, keep: impl FnOnce(u32, &[u128])) -> bool {
        let Some((bucket, hashes)) = self.retiring.last_mut() else {
            return false;
        };
        let from = hashes.len().saturating_sub(at_most);
        keep(*bucket, &hashes[from..]);
        for hash in hashes.drain(from..) {
            self.held.remove(&hash);
        }
        if from == 0 {
            self.retiring.pop();
        }
        !self.retiring.is_empty()
    }

    pub(super) fn is_retiring(&self) -> bool {
        !self.retiring.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::testing::random_hash;

    fn with_durable(epoch: u64, buckets: &[u32]) -> Tiers {
        let mut tiers = Tiers::default();
        tiers.begin(Epoch(epoch));
        for &bucket in buckets {
            assert!(tiers.hold(random_hash(bucket.into())));
            tiers.record(Epoch(epoch), bucket, random_hash(bucket.into()));
        }
        tiers.promote(|_| true, Instant::now());
        tiers
    }

    #[test]
    fn the_recent_tier_is_written_when_it_is_old() {
        let tiers = with_durable(1, &[5]);
        let since = tiers.recent_since.expect("since");
        assert!(!tiers.is_flush_due(since + RECENT_AGE - Duration::from_millis(1)));
        assert!(tiers.is_flush_due(since + RECENT_AGE));
    }

    #[test]
    fn expired_ids_are_forgotten_and_not_written() {
        let mut tiers = with_durable(1, &[5, 9]);
        let flush = tiers.take_recent(6).expect("flush");
        assert_eq!(
            flush,
            Flush {
                ids: IdsByBucket::from([(9, vec![random_hash(9)])]),
                epoch: Epoch(1)
            }
        );
        assert!(!tiers.retire_some(10, |bucket, _| assert_eq!(bucket, 5)));
        assert!(!tiers.holds(random_hash(5)) && tiers.holds(random_hash(9)));
    }

    #[test]
    fn an_epoch_without_ids_of_ours_is_no_marker() {
        let mut tiers = with_durable(1, &[5]);
        tiers.begin(Epoch(2));
        tiers.promote(|_| true, Instant::now());
        assert_eq!(tiers.take_recent(1).map(|f| f.epoch), Some(Epoch(1)));
        assert_eq!(tiers.open_epochs(), 0);
    }

    #[test]
    fn no_epoch_is_begun_beyond_the_bound() {
        let mut tiers = Tiers::default();
        (0..MAX_OPEN_EPOCHS as u64).for_each(|e| tiers.begin(Epoch(e)));
        assert!(!tiers.has_room());
        tiers.promote(|e| e == Epoch(0), Instant::now());
        assert!(tiers.has_room());
    }
}
