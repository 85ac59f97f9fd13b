//! Ids sorted by the worker whose share they are in: what is read back is read once for all of them.

use std::ops::Range;

use super::admission::owner_of;
use crate::io::{IdsByBucket, StoredId};

/// One worker's ids, by bucket. Ids that follow one another are mostly of one bucket.
#[derive(Debug, Default)]
struct Own {
    buckets: Vec<(u32, Vec<u128>)>,
    /// The place of the bucket that the last id went to.
    last: usize,
    ids: usize,
}

impl Own {
    #[inline]
    fn push(&mut self, id: StoredId) {
        self.ids += 1;
        if let Some((bucket, hashes)) = self.buckets.get_mut(self.last)
            && *bucket == id.bucket
        {
            hashes.push(id.hash);
            return;
        }
        let known = self.buckets.iter().position(|(b, _)| *b == id.bucket);
        self.last = known.unwrap_or_else(|| {
            self.buckets.push((id.bucket, Vec::new()));
            self.buckets.len() - 1
        });
        self.buckets[self.last].1.push(id.hash);
    }
}

/// Ids of some of the workers. Those of the other workers are passed over.
#[derive(Debug)]
pub struct IdsByShare {
    workers: usize,
    /// The first worker of `own`.
    first: usize,
    own: Vec<Own>,
}

impl IdsByShare {
    /// For these workers, of `workers` altogether.
    pub fn new(of: Range<usize>, workers: usize) -> IdsByShare {
        IdsByShare {
            workers,
            first: of.start,
            own: of.map(|_| Own::default()).collect(),
        }
    }

    /// Adds an id.
    #[inline]
    pub fn push(&mut self, id: StoredId) {
        let owner = owner_of(id.hash, self.workers);
        let place = owner.wrapping_sub(self.first);
        if let Some(own) = self.own.get_mut(place) {
            own.push(id);
        }
    }

    /// Takes the ids of the worker that is the `place`th of these, when there are at least `at_least` of them.
    pub fn take(&mut self, place: usize, at_least: usize) -> Option<IdsByBucket> {
        let own = self.own.get_mut(place)?;
        if own.ids == 0 || own.ids < at_least {
            return None;
        }
        Some(std::mem::take(own).buckets.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_id_goes_to_its_owner_once(
            ids in proptest::collection::vec((1u32..6, any::<u128>()), 0..200),
            workers in 1usize..6,
            at_least in 0usize..20,
        ) {
            let mut shares = IdsByShare::new(0..workers, workers);
            let mut found: Vec<Vec<StoredId>> = vec![Vec::new(); workers];
            let mut take = |shares: &mut IdsByShare, at_least| {
                for (place, found) in found.iter_mut().enumerate() {
                    for (bucket, hashes) in shares.take(place, at_least).into_iter().flatten() {
                        found.extend(hashes.into_iter().map(|hash| StoredId { bucket, hash }));
                    }
                }
            };
            for &(bucket, hash) in &ids {
                shares.push(StoredId { bucket, hash });
                take(&mut shares, at_least);
            }
            take(&mut shares, 0);
            for (worker, mut found) in found.into_iter().enumerate() {
                let own = ids.iter().map(|&(bucket, hash)| StoredId { bucket, hash });
                let mut expected: Vec<_> = own.filter(|id| owner_of(id.hash, workers) == worker).collect();
                expected.sort_unstable();
                found.sort_unstable();
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn ids_of_other_processes_are_passed_over() {
        let mut shares = IdsByShare::new(1..2, 4);
        for top in 0..4u128 {
            shares.push(StoredId {
                bucket: 7,
                hash: top << 126,
            });
        }
        let own = shares.take(0, 1).expect("one");
        assert_eq!(own, IdsByBucket::from([(7, vec![1 << 126])]));
        assert_eq!(shares.take(0, 0), None);
    }
}
