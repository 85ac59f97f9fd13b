//! A histogram of times in milliseconds, exact to a few per cent whatever their size.
//!
//! Buckets are log-linear: every power of two is split into [`SUB_BUCKETS`] of equal width, so a bucket is
//! at most a sixteenth of its values wide, and its middle at most 3.2 % away from any of them.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Buckets in each power of two.
pub const SUB_BUCKETS: u64 = 16;
/// Powers of two that are told apart above the exact range; the last ends at 2^31 ms, 24 days. Records that
/// are older are counted as if they were that old.
const OCTAVES: u64 = 27;
/// All buckets.
pub const BUCKETS: usize = (SUB_BUCKETS + OCTAVES * SUB_BUCKETS) as usize;

/// The bucket of a time.
pub fn bucket_of(ms: u64) -> usize {
    if ms < SUB_BUCKETS {
        return ms as usize;
    }
    let octave = u64::from(ms.ilog2()) - u64::from(SUB_BUCKETS.ilog2());
    let sub = (ms >> octave) - SUB_BUCKETS;
    ((SUB_BUCKETS + octave * SUB_BUCKETS + sub) as usize).min(BUCKETS - 1)
}

/// The times of a bucket, in milliseconds: from the first to before the second.
pub fn bounds_of(bucket: usize) -> (u64, u64) {
    let bucket = bucket.min(BUCKETS - 1) as u64;
    if bucket < SUB_BUCKETS {
        return (bucket, bucket + 1);
    }
    let (octave, sub) = (bucket / SUB_BUCKETS - 1, bucket % SUB_BUCKETS);
    let from = (SUB_BUCKETS + sub) << octave;
    (from, from + (1 << octave))
}

/// The middle of a bucket, in milliseconds.
pub fn middle_of(bucket: usize) -> u64 {
    let (from, to) = bounds_of(bucket);
    (from + to) / 2
}

/// A histogram that any thread may add to and read.
#[derive(Debug)]
pub struct Histogram {
    counts: Box<[AtomicU64]>,
    sum_ms: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            sum_ms: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Counts `count` times of about `ms`.
    pub fn add(&self, ms: u64, count: u64) {
        self.counts[bucket_of(ms)].fetch_add(count, Ordering::Relaxed);
        self.sum_ms
            .fetch_add(ms.saturating_mul(count), Ordering::Relaxed);
    }

    /// What has been counted so far.
    pub fn read(&self) -> Distribution {
        let counts = self.counts.iter().enumerate();
        Distribution {
            counts: counts
                .map(|(bucket, count)| (bucket as u16, count.load(Ordering::Relaxed)))
                .filter(|&(_, count)| count > 0)
                .collect(),
            sum_ms: self.sum_ms.load(Ordering::Relaxed),
        }
    }
}

/// What a [`Histogram`] held at some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// Buckets that are not empty, ascending, and what they hold.
    pub counts: Vec<(u16, u64)>,
    /// The sum of all times, in milliseconds.
    pub sum_ms: u64,
}

impl Distribution {
    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|&(_, count)| count).sum()
    }

    /// How many are below `ms`, which must be a bound of a bucket to be exact.
    pub fn below(&self, ms: u64) -> u64 {
        let below = self
            .counts
            .iter()
            .filter(|&&(bucket, _)| bounds_of(usize::from(bucket)).1 <= ms);
        below.map(|&(_, count)| count).sum()
    }

    /// The time below which the share `q` (0 to 1) of all lies, in milliseconds; `None` when there are none.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * count as f64;
        let mut before = 0;
        for &(bucket, in_bucket) in &self.counts {
            if (before + in_bucket) as f64 >= rank {
                let (from, to) = bounds_of(usize::from(bucket));
                let share = (rank - before as f64).max(0.0) / in_bucket as f64;
                return Some(from as f64 + (to - from) as f64 * share);
            }
            before += in_bucket;
        }
        self.counts
            .last()
            .map(|&(bucket, _)| bounds_of(usize::from(bucket)).1 as f64)
    }

    /// Adds what another one holds.
    pub fn add(&mut self, other: &Distribution) {
        self.sum_ms += other.sum_ms;
        for &(bucket, count) in &other.counts {
            match self.counts.binary_search_by_key(&bucket, |&(b, _)| b) {
                Ok(at) => self.counts[at].1 += count,
                Err(at) => self.counts.insert(at, (bucket, count)),
            }
        }
    }

    /// What was counted since `before`, an earlier reading of the same histogram.
    pub fn since(&self, before: &Distribution) -> Distribution {
        let earlier = |bucket: u16| {
            let found = before.counts.binary_search_by_key(&bucket, |&(b, _)| b);
            found.map_or(0, |at| before.counts[at].1)
        };
        let counts = self.counts.iter();
        Distribution {
            counts: counts
                .map(|&(bucket, count)| (bucket, count.saturating_sub(earlier(bucket))))
                .filter(|&(_, count)| count > 0)
                .collect(),
            sum_ms: self.sum_ms.saturating_sub(before.sum_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_time_lies_in_its_bucket_and_close_to_its_middle(ms in 0u64..(1 << 31)) {
            let bucket = bucket_of(ms);
            let (from, to) = bounds_of(bucket);
            prop_assert!(from <= ms && ms < to, "{ms} in {from}..{to}");
            let off = middle_of(bucket).abs_diff(ms) as f64;
            prop_assert!(off <= ms as f64 * 0.032 + 0.5, "{ms} is {off} off");
        }

        #[test]
        fn quantiles_are_those_of_the_sorted_times_within_a_bucket(
            mut times in prop::collection::vec(0u64..200_000, 1..300),
            q in 0.0f64..=1.0,
        ) {
            let histogram = Histogram::default();
            times.iter().for_each(|&ms| histogram.add(ms, 1));
            times.sort_unstable();
            let read = histogram.read();
            prop_assert_eq!(read.count(), times.len() as u64);
            prop_assert_eq!(read.sum_ms, times.iter().sum::<u64>());
            let rank = ((q * times.len() as f64).ceil() as usize).clamp(1, times.len());
            let exact = times[rank - 1];
            let (from, to) = bounds_of(bucket_of(exact));
            let found = read.quantile(q).expect("there are some");
            prop_assert!(from as f64 <= found && found <= to as f64, "{found}, exactly {exact}");
        }

        #[test]
        fn a_later_reading_is_the_earlier_one_and_what_came_since(
            first in prop::collection::vec(0u64..10_000, 0..50),
            second in prop::collection::vec(0u64..10_000, 0..50),
        ) {
            let histogram = Histogram::default();
            first.iter().for_each(|&ms| histogram.add(ms, 1));
            let before = histogram.read();
            second.iter().for_each(|&ms| histogram.add(ms, 1));
            let after = histogram.read();
            let since = after.since(&before);
            prop_assert_eq!(since.count(), second.len() as u64);
            let mut sum = before;
            sum.add(&since);
            prop_assert_eq!(sum, after);
        }
    }

    #[test]
    fn buckets_follow_each_other_without_a_hole() {
        for bucket in 1..BUCKETS {
            assert_eq!(bounds_of(bucket - 1).1, bounds_of(bucket).0, "{bucket}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(Distribution::default().quantile(0.5), None);
    }
}
