//! The threads that ask and feed a worker's store, so that the worker itself never waits for a disk.
//!
//! Two a worker: one looks up, one ingests and expires. An id stays in memory until its ingestion is
//! confirmed, so look-ups need not wait for ingestions. Neither thread touches a capability: they answer by
//! channel and wake the operator. A failure is told once, and then nothing more comes from them: whoever
//! waits for an answer keeps holding its capabilities.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use timely::scheduling::SyncActivator;

use super::filter::SLABS;
use super::judge::Question;
use super::lookup::Lookup;
use super::tiers::Flush;
use crate::error::{Error, Result};
use crate::io::{IdStore, IdsByBucket, StateMarker};

/// Sets of questions on their way to a store.
pub(super) const MAX_LOOKUPS_IN_FLIGHT: usize = 8;

/// Orders to the upkeep thread on their way: a flush and a few expiries.
const MAX_UPKEEP_IN_FLIGHT: usize = 4;

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
}

pub(super) enum Reply {
    /// For each question, whether its id is known.
    Answers(Vec<Question>, Vec<bool>),
    /// The store holds these ids now.
    Ingested(IdsByBucket),
    /// A thread has let go of the store.
    Ended,
    /// A thread failed, and has said so.
    Failed,
}

/// The operator's end.
pub(super) struct StoreThreads {
    /// `None` once closed.
    orders: Option<(Sender<Questions>, Sender<Upkeep>)>,
    replies: Receiver<Reply>,
    running: usize,
}

/// A thread's end: its last word is said even when it panics.
struct Replies {
    sender: Sender<Reply>,
    wake: SyncActivator,
    on_failure: OnFailure,
    last_word_said: bool,
}

impl Replies {
    fn send(&self, reply: Reply) {
        // Without a receiver or a worker there is no one left to tell: the dataflow was dropped.
        let _ = self.sender.send(reply);
        let _ = self.wake.activate();
    }

    fn end(mut self, result: Result<()>) {
        self.last_word_said = true;
        match result {
            Ok(()) => self.send(Reply::Ended),
            Err(error) => {
                (self.on_failure)(error.context("deduplication state"));
                self.send(Reply::Failed);
            }
        }
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        if !self.last_word_said {
            (self.on_failure)(Error::internal(
                "a thread of the deduplication state panicked",
            ));
            self.send(Reply::Failed);
        }
    }
}

impl StoreThreads {
    /// Starts the threads of a worker. `wake` activates the operator.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(
        store: Arc<dyn IdStore>,
        worker: usize,
        generation: u32,
        wake: SyncActivator,
        on_failure: OnFailure,
    ) -> Result<StoreThreads> {
        let (question_sender, questions) = bounded::<Questions>(MAX_LOOKUPS_IN_FLIGHT);
        let (upkeep_sender, upkeep) = bounded::<Upkeep>(MAX_UPKEEP_IN_FLIGHT);
        // Room for every reply that can be under way: no thread ever waits for the worker.
        let (sender, replies) = bounded(2 * (MAX_LOOKUPS_IN_FLIGHT + MAX_UPKEEP_IN_FLIGHT) + 4);
        let ends = || Replies {
            sender: sender.clone(),
            wake: wake.clone(),
            on_failure: Arc::clone(&on_failure),
            last_word_said: false,
        };
        let (lookup_end, upkeep_end, lookup_store) = (ends(), ends(), Arc::clone(&store));
        spawn(format!("dedup-look-up-{worker}"), move || {
            let result = look_up(&*lookup_store, &questions, &lookup_end);
            drop(lookup_store);
            lookup_end.end(result);
        })?;
        spawn(format!("dedup-upkeep-{worker}"), move || {
            let result = keep_up(&*store, generation, &upkeep, &upkeep_end);
            drop(store);
            upkeep_end.end(result);
        })?;
        Ok(StoreThreads {
            orders: Some((question_sender, upkeep_sender)),
            replies,
            running: 2,
        })
    }

    /// Asks; gives the questions back when the thread is busy.
    #[allow(
        clippy::result_large_err,
        reason = "the questions come back to be asked again: no error, and no copy"
    )]
    pub(super) fn ask(&self, questions: Questions) -> Result<(), Questions> {
        match &self.orders {
            Some((sender, _)) => sender.try_send(questions).map_err(|e| e.into_inner()),
            None => Err(questions),
        }
    }

    /// Orders; gives the order back when the thread is busy.
    pub(super) fn order(&self, upkeep: Upkeep) -> Result<(), Upkeep> {
        match &self.orders {
            Some((_, sender)) => sender.try_send(upkeep).map_err(|e| e.into_inner()),
            None => Err(upkeep),
        }
    }

    pub(super) fn reply(&mut self) -> Option<Reply> {
        let reply = self.replies.try_recv().ok()?;
        self.running -= usize::from(matches!(reply, Reply::Ended));
        Some(reply)
    }

    /// Lets the threads finish what was ordered and end.
    pub(super) fn close(&mut self) {
        self.orders = None;
    }

    /// Whether both threads have let go of the store.
    pub(super) fn have_ended(&self) -> bool {
        self.running == 0
    }
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> Result<()> {
    let spawned = std::thread::Builder::new().name(name.clone()).spawn(body);
    spawned.map(drop).map_err(|e| {
        Error::unreachable(format!("cannot start the thread `{name}`: {e}"))
            .hint("raise the limit of threads (ulimit -u)")
    })
}

fn look_up(store: &dyn IdStore, questions: &Receiver<Questions>, replies: &Replies) -> Result<()> {
    let mut lookup = Lookup::default();
    for Questions {
        questions,
        slab_buckets,
    } in questions
    {
        let known = lookup.answer(store, &questions, &slab_buckets)?;
        replies.send(Reply::Answers(questions, known));
    }
    Ok(())
}

fn keep_up(
    store: &dyn IdStore,
    generation: u32,
    orders: &Receiver<Upkeep>,
    replies: &Replies,
) -> Result<()> {
    for order in orders {
        match order {
            Upkeep::Ingest(mut flush) => {
                flush.sort();
                let Flush { ids, epoch } = flush;
                store.ingest(&ids, Some(StateMarker { generation, epoch }))?;
                replies.send(Reply::Ingested(ids));
            }
            Upkeep::ExpireBelow(bucket) => store.expire_below(bucket)?,
        }
    }
    Ok(())
}
