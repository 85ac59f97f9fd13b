//! The threads that ask and feed a worker's store, so that the worker itself never waits for a disk.
//!
//! Two a worker: one looks up, one ingests and expires. An id stays in memory until its ingestion is
//! confirmed, so look-ups need not wait for ingestions.

use std::sync::Arc;

use timely::scheduling::SyncActivator;

use super::filter::SLABS;
use super::judge::Question;
use super::lookup::Lookup;
use super::tiers::Flush;
use crate::background::Background;
use crate::error::{Error, Result};
use crate::failpoint::{Failpoint, reached};
use crate::host::Host;
use crate::io::{IdStore, IdsByBucket, Scanned, StateMarker, StoredId};

/// Sets of questions on their way to a store.
const MAX_LOOKUPS_IN_FLIGHT: usize = 8;

/// Orders to the upkeep thread on their way: a flush, a piece of a refill and a few expiries.
const MAX_UPKEEP_IN_FLIGHT: usize = 4;

/// Ids of one piece of a refill of the filters: 2 MB, and some milliseconds of the worker's time.
const REFILL_IDS: usize = 1 << 17;

/// Where failures are told.
pub type OnFailure = Arc<dyn Fn(Error) + Send + Sync>;

/// Questions that are asked together, answered in the order they were sent.
pub(super) struct Questions {
    pub(super) questions: Vec<Question>,
    /// The buckets of each slab when they were asked.
    pub(super) slab_buckets: [Vec<u32>; SLABS],
}

pub(super) enum Upkeep {
    Ingest(Flush),
    ExpireBelow(u32),
    /// Read on from here, for the filters.
    Refill(StoredId),
}

/// What becomes of an [`Upkeep`].
enum Kept {
    Ingested(IdsByBucket),
    Scanned(Scanned),
}

/// For each question, whether its id is known.
type Answers = (Vec<Question>, Vec<bool>);

pub(super) enum Reply {
    /// For each question, whether its id is known.
    Answers(Vec<Question>, Vec<bool>),
    /// The store holds these ids now.
    Ingested(IdsByBucket),
    /// A piece for the filters.
    Scanned(Scanned),
    /// A thread failed, and it has been told.
    Failed,
}

/// The operator's end.
pub(super) struct StoreThreads {
    lookups: Background<Questions, Answers>,
    upkeep: Background<Upkeep, Kept>,
    on_failure: OnFailure,
}

impl StoreThreads {
    /// Starts the threads of a worker. `wake` activates the operator.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(
        host: &Arc<dyn Host>,
        store: Arc<dyn IdStore>,
        worker: usize,
        generation: u32,
        wake: SyncActivator,
        on_failure: OnFailure,
    ) -> Result<StoreThreads> {
        let mut lookup = Lookup::default();
        let asked = Arc::clone(&store);
        let failing = Arc::clone(host);
        let lookups = Background::start(
            &**host,
            format!("dedup-look-up-{worker}"),
            Some(MAX_LOOKUPS_IN_FLIGHT),
            wake.clone(),
            move |asking: Questions| {
                let Questions {
                    questions,
                    slab_buckets,
                } = asking;
                reached(&*failing, Failpoint::LookUp)?;
                let known = lookup.answer(&*asked, &questions, &slab_buckets)?;
                Ok(Some((questions, known)))
            },
        )?;
        let failing = Arc::clone(host);
        let upkeep = Background::start(
            &**host,
            format!("dedup-upkeep-{worker}"),
            Some(MAX_UPKEEP_IN_FLIGHT),
            wake,
            move |order| match order {
                Upkeep::Ingest(mut flush) => {
                    flush.sort();
                    let Flush { ids, epoch } = flush;
                    reached(&*failing, Failpoint::StateWrite)?;
                    store.ingest(&ids, Some(StateMarker { generation, epoch }))?;
                    reached(&*failing, Failpoint::StateWritten)?;
                    Ok(Some(Kept::Ingested(ids)))
                }
                Upkeep::ExpireBelow(bucket) => store.expire_below(bucket).map(|()| None),
                Upkeep::Refill(from) => store
                    .scan(from, REFILL_IDS)
                    .map(|scanned| Some(Kept::Scanned(scanned))),
            },
        )?;
        Ok(StoreThreads {
            lookups,
            upkeep,
            on_failure,
        })
    }

    /// Asks; gives the questions back when the thread is busy.
    #[allow(
        clippy::result_large_err,
        reason = "the questions come back to be asked again: no error, and no copy"
    )]
    pub(super) fn ask(&self, questions: Questions) -> Result<(), Questions> {
        self.lookups.order(questions)
    }

    /// Orders; gives the order back when the thread is busy.
    pub(super) fn order(&self, upkeep: Upkeep) -> Result<(), Upkeep> {
        self.upkeep.order(upkeep)
    }

    pub(super) fn reply(&mut self) -> Option<Reply> {
        if let Some(answer) = self.lookups.answer() {
            return Some(self.told(answer, |(questions, known)| {
                Reply::Answers(questions, known)
            }));
        }
        let answer = self.upkeep.answer()?;
        Some(self.told(answer, |kept| match kept {
            Kept::Ingested(ids) => Reply::Ingested(ids),
            Kept::Scanned(scanned) => Reply::Scanned(scanned),
        }))
    }

    fn told<T>(&self, answer: Result<T>, reply: impl FnOnce(T) -> Reply) -> Reply {
        match answer {
            Ok(answer) => reply(answer),
            Err(error) => {
                self.tell(error);
                Reply::Failed
            }
        }
    }

    /// Tells of a failure.
    pub(super) fn tell(&self, error: Error) {
        (self.on_failure)(error.context("deduplication state"));
    }

    /// Lets the threads finish what was ordered and end.
    pub(super) fn close(&mut self) {
        self.lookups.close();
        self.upkeep.close();
    }

    /// Whether both threads have let go of the store.
    pub(super) fn have_ended(&self) -> bool {
        self.lookups.has_ended() && self.upkeep.has_ended()
    }
}
