//! Brings batches and their verdicts together again, on the worker that holds the batch.
//!
//! Batches leave in the order they came: what follows adds up the offsets of a partition range by range.

use std::collections::{HashMap, VecDeque};

use timely::dataflow::operators::Capability;

use super::JudgedBatch;
use super::admission::{Verdicts, verdicts_by_row};
use crate::error::{Error, Result};
use crate::record::EventBatch;
use crate::time::IngestTime;

/// A batch that has been sent to be judged.
#[derive(Debug)]
pub(super) struct SentBatch {
    pub(super) number: u64,
    pub(super) events: EventBatch,
    /// How many owners judge it.
    pub(super) owners: usize,
}

struct Waiting {
    capability: Capability<IngestTime>,
    sent: SentBatch,
}

/// See the module's documentation.
pub(super) struct Reunite {
    workers: usize,
    batches: VecDeque<Waiting>,
    verdicts: HashMap<u64, Vec<Verdicts>>,
}

impl Reunite {
    pub(super) fn new(workers: usize) -> Reunite {
        Reunite {
            workers,
            batches: VecDeque::new(),
            verdicts: HashMap::new(),
        }
    }

    pub(super) fn batch(&mut self, capability: Capability<IngestTime>, sent: SentBatch) {
        self.batches.push_back(Waiting { capability, sent });
    }

    pub(super) fn verdicts(&mut self, verdicts: Verdicts) {
        self.verdicts
            .entry(verdicts.batch)
            .or_default()
            .push(verdicts);
    }

    /// The next batch in order, when all verdicts on it are here. After an error nothing more may be taken;
    /// the batch keeps its capability.
    pub(super) fn next(&mut self) -> Option<Result<(Capability<IngestTime>, JudgedBatch)>> {
        let SentBatch {
            number,
            owners,
            events,
        } = &self.batches.front()?.sent;
        let verdicts = self.verdicts.get(number).map_or(&[][..], Vec::as_slice);
        if verdicts.len() < *owners {
            return None;
        }
        let Some(duplicates) = verdicts_by_row(&events.hashes, self.workers, verdicts) else {
            return Some(Err(Error::internal(format!(
                "the verdicts on batch {number} do not fit its rows"
            ))));
        };
        self.verdicts.remove(number);
        let Waiting { capability, sent } = self.batches.pop_front()?;
        Some(Ok((
            capability,
            JudgedBatch {
                events: sent.events,
                duplicates,
            },
        )))
    }
}
