//! What workers exchange: admissions, asking whether ids are known, and the verdicts on them.
//!
//! Only hashes, buckets and flags travel, in columns; rows are not numbered, because sender and owner see
//! them in the same order. Payloads stay on the worker that read them.

use serde::{Deserialize, Serialize};

use super::expiry::Retention;
use crate::record::EventBatch;

/// The worker that owns a hash: an even split of the hashes by their top bits. Part of what a state store
/// is identified by.
#[inline]
pub fn owner_of(hash: u128, workers: usize) -> usize {
    (((hash >> 64) * workers as u128) >> 64) as usize
}

/// The ids of one batch that belong to one owner, in the order of the batch's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admissions {
    /// The worker that judges them.
    pub owner: u32,
    /// The worker that sent them.
    pub origin: u32,
    /// The batch, as its origin numbers them.
    pub batch: u64,
    /// The hash of each id.
    pub hashes: Vec<u128>,
    /// The bucket of each id.
    pub buckets: Vec<u32>,
    /// Whether each id is remembered, should it be new.
    pub remember: Vec<bool>,
}

/// The owner's verdicts on [`Admissions`], in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// The worker that judged.
    pub owner: u32,
    /// The worker that sent the admissions.
    pub origin: u32,
    /// The batch, as its origin numbers them.
    pub batch: u64,
    /// For each admission, whether its id is known.
    pub duplicates: Vec<bool>,
}

/// Splits a batch's ids by owner. Owners with no id of the batch are left out.
pub fn admissions_of(
    events: &EventBatch,
    retention: &Retention,
    origin: u32,
    workers: usize,
    batch: u64,
) -> Vec<Admissions> {
    let rows = events.hashes.len();
    let share = if workers == 1 {
        rows
    } else {
        rows / workers + rows / (4 * workers) + 8
    };
    let mut by_owner: Vec<Admissions> = (0..workers as u32)
        .map(|owner| Admissions {
            owner,
            origin,
            batch,
            ..Admissions::default()
        })
        .collect();
    let times = events.event_times.iter().zip(&events.watermarks);
    for (&hash, (&event_time, &watermark)) in events.hashes.iter().zip(times) {
        let admissions = &mut by_owner[owner_of(hash, workers)];
        if admissions.hashes.is_empty() {
            admissions.hashes.reserve(share);
            admissions.buckets.reserve(share);
            admissions.remember.reserve(share);
        }
        admissions.hashes.push(hash);
        admissions
            .buckets
            .push(retention.bucket(event_time, watermark));
        admissions
            .remember
            .push(retention.remembers(event_time, watermark));
    }
    by_owner.retain(|admissions| !admissions.hashes.is_empty());
    by_owner
}

/// Puts the verdicts of all owners back into the order of the batch's rows. `None` when they do not fit
/// the batch: a defect, never to be guessed over.
pub fn verdicts_by_row(
    hashes: &[u128],
    workers: usize,
    verdicts: &[Verdicts],
) -> Option<Vec<bool>> {
    let mut by_owner: Vec<std::slice::Iter<'_, bool>> = vec![[].iter(); workers];
    for v in verdicts {
        *by_owner.get_mut(v.owner as usize)? = v.duplicates.iter();
    }
    let rows: Option<Vec<bool>> = hashes
        .iter()
        .map(|&hash| by_owner[owner_of(hash, workers)].next().copied())
        .collect();
    let all_used = by_owner.iter().all(|rest| rest.len() == 0);
    rows.filter(|_| all_used)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::testing::{event_batch, random_hash, retention};
    use proptest::prelude::*;

    #[test]
    fn owners_get_even_shares_and_one_worker_owns_everything() {
        let mut shares = [0; 3];
        (0..30_000).for_each(|i| shares[owner_of(random_hash(i), 3)] += 1);
        assert!(
            shares.iter().all(|&n| (9_500..10_500).contains(&n)),
            "{shares:?}"
        );
        assert_eq!(owner_of(u128::MAX, 1), 0);
        assert_eq!(owner_of(u128::MAX, 3), 2);
    }

    proptest! {
        #[test]
        fn verdicts_come_back_in_the_order_of_the_rows(seeds: Vec<u64>, workers in 1usize..6) {
            let hashes: Vec<u128> = seeds.iter().map(|&s| random_hash(s)).collect();
            let events = event_batch(hashes.iter().map(|&h| (h, 0, None)));
            let verdict = |hash: u128| hash & 1 == 1;
            let verdicts: Vec<Verdicts> = admissions_of(&events, &retention(), 0, workers, 7)
                .into_iter()
                .rev()
                .map(|a| Verdicts {
                    owner: a.owner,
                    origin: a.origin,
                    batch: a.batch,
                    duplicates: a.hashes.iter().map(|&h| verdict(h)).collect(),
                })
                .collect();
            let expected: Vec<bool> = hashes.iter().map(|&h| verdict(h)).collect();
            prop_assert_eq!(verdicts_by_row(&hashes, workers, &verdicts), Some(expected));
            if !hashes.is_empty() {
                prop_assert_eq!(verdicts_by_row(&hashes[1..], workers, &verdicts), None);
            }
        }
    }
}
