//! A store in memory, for tests and simulations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::io::{IdStore, IdsByBucket, Scanned, StateMarker, StoredId};

#[derive(Debug, Default)]
struct State {
    ids: BTreeMap<u32, BTreeSet<u128>>,
    marker: Option<StateMarker>,
    failure: Option<Error>,
}

/// An [`IdStore`] in memory. Shared by reference: what is left of it after a simulated crash is what a
/// store on disk would hold.
#[derive(Debug, Default)]
pub struct MemoryIdStore(Mutex<State>);

impl MemoryIdStore {
    fn state(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failure.clone().map_or(Ok(state), Err)
    }

    /// Makes every later call fail.
    pub fn fail(&self, error: Error) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .failure = Some(error);
    }

    /// Everything it holds.
    pub fn ids(&self) -> Vec<StoredId> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state
            .ids
            .iter()
            .flat_map(|(&bucket, ids)| ids.iter().map(move |&hash| StoredId { bucket, hash }))
            .collect()
    }
}

impl IdStore for MemoryIdStore {
    fn marker(&self) -> Option<StateMarker> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).marker
    }

    fn contains(&self, keys: &[StoredId], held: &mut Vec<bool>) -> Result<()> {
        let state = self.state()?;
        held.clear();
        held.extend(keys.iter().map(|key| {
            state
                .ids
                .get(&key.bucket)
                .is_some_and(|ids| ids.contains(&key.hash))
        }));
        Ok(())
    }

    fn ingest(&self, ids: &IdsByBucket, marker: Option<StateMarker>) -> Result<()> {
        let mut state = self.state()?;
        for (&bucket, hashes) in ids {
            if !hashes.is_sorted_by(|a, b| a < b) {
                return Err(Error::internal(
                    "ids given to the store are not sorted and distinct",
                ));
            }
            state.ids.entry(bucket).or_default().extend(hashes);
        }
        state.marker = marker.or(state.marker);
        Ok(())
    }

    fn expire_below(&self, bucket: u32) -> Result<()> {
        let mut state = self.state()?;
        state.ids = state.ids.split_off(&bucket);
        Ok(())
    }

    fn buckets(&self) -> Result<Vec<u32>> {
        Ok(self.state()?.ids.keys().copied().collect())
    }

    fn scan(&self, from: StoredId, at_most: usize) -> Result<Scanned> {
        drop(self.state()?);
        let mut left = self.ids().into_iter().filter(|&id| id >= from);
        let mut scanned = Scanned::default();
        for id in left.by_ref().take(at_most.max(1)) {
            scanned.ids.entry(id.bucket).or_default().push(id.hash);
        }
        scanned.next = left.next();
        Ok(scanned)
    }
}
