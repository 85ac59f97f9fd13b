//! Drives the [`Judge`] of one worker: admissions in, verdicts out, epochs in order.
//!
//! Admissions wait, by epoch, until the input frontier has passed the epoch before; otherwise a copy in a
//! later epoch could make an earlier one a duplicate, and then be aborted. What waits, and what has a
//! question open, holds the capability it came with.
//!
//! The durable frontier is a probe, which wakes no one. While an epoch is open the operator comes back by
//! a timer of its own and looks; under load it runs all the time anyway.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::Capability;
use timely::progress::frontier::MutableAntichain;
use timely::scheduling::Activator;

use super::admission::{Admissions, Verdicts};
use super::expiry::{FIRST_BUCKET, first_live_bucket};
use super::judge::{Judge, Question};
use super::metrics::DedupMetrics;
use super::store_threads::{Questions, Reply, StoreThreads, Upkeep};
use super::tiers::Flush;
use crate::error::Error;
use crate::failpoint::{Failpoint, Rule, in_force, reached};
use crate::host::Host;
use crate::io::StoredId;
use crate::time::{Epoch, EventTime, IngestTime};

/// How often the durable frontier is looked at while an epoch is open.
const DURABLE_POLL: Duration = Duration::from_millis(100);

/// How often the age of the recent tier is looked at.
const AGE_POLL: Duration = Duration::from_secs(1);

/// Ids judged in one activation, so that other operators of the worker get their turn: some 25 ms.
const IDS_AT_ONCE: usize = 1 << 18;

/// Ids moved out of memory in one activation: some 5 ms.
const RETIRE_AT_ONCE: usize = 1 << 16;

/// Questions sent together while judging goes on; fewer are sent at the end of an activation.
const QUESTIONS_AT_ONCE: usize = 4096;

/// Verdicts of which some are still open.
struct OpenVerdicts {
    capability: Capability<IngestTime>,
    verdicts: Verdicts,
    open: usize,
}

/// Questions that were asked before a refill of the filters begins, should no epoch have become durable by
/// then: with a few buckets each they cost about as much as a refill of some million ids.
const REFILL_AFTER_QUESTIONS: usize = 1 << 16;

/// Where the answer to a question belongs.
#[derive(Clone, Copy)]
struct Place {
    ticket: u64,
    row: u32,
}

/// See the module's documentation.
pub(super) struct Owner {
    host: Arc<dyn Host>,
    judge: Judge,
    threads: StoreThreads,
    activator: Activator,
    metrics: Arc<DedupMetrics>,
    durable: ProbeHandle<IngestTime>,
    /// Set once the probe has shown a frontier: one that was never attached has none and is no drain.
    durable_seen: bool,
    waiting: BTreeMap<Epoch, VecDeque<(Capability<IngestTime>, Admissions)>>,
    /// The first and the last epoch begun.
    first_begun: Option<Epoch>,
    begun: Option<Epoch>,
    open: HashMap<u64, OpenVerdicts>,
    next_ticket: u64,
    questions: Vec<Question>,
    places: Vec<Place>,
    /// The places of the questions that were sent, oldest first.
    asked: VecDeque<Vec<Place>>,
    /// From the moment a flush is taken until it is ingested: one at a time.
    is_flushing: bool,
    /// A flush and an expiry that the upkeep thread had no room for yet.
    flush: Option<Flush>,
    expire_below: Option<u32>,
    /// From the moment a piece of a refill is ordered until it is there: one at a time.
    is_refilling: bool,
    /// Whether a refill may begin: the first epoch after a restart comes before it.
    may_refill: bool,
    questions_asked: usize,
    timer: Option<Instant>,
    entries: u64,
    failed: bool,
}

impl Owner {
    pub(super) fn new(
        host: Arc<dyn Host>,
        judge: Judge,
        threads: StoreThreads,
        activator: Activator,
        metrics: Arc<DedupMetrics>,
        durable: ProbeHandle<IngestTime>,
    ) -> Owner {
        Owner {
            host,
            judge,
            threads,
            activator,
            metrics,
            durable,
            durable_seen: false,
            waiting: BTreeMap::new(),
            first_begun: None,
            begun: None,
            open: HashMap::new(),
            next_ticket: 0,
            questions: Vec::new(),
            places: Vec::new(),
            asked: VecDeque::new(),
            is_flushing: false,
            flush: None,
            expire_below: None,
            is_refilling: false,
            may_refill: false,
            questions_asked: 0,
            timer: None,
            entries: 0,
            failed: false,
        }
    }

    /// Takes admissions in.
    pub(super) fn admit(&mut self, capability: Capability<IngestTime>, admissions: Admissions) {
        self.waiting
            .entry(capability.time().epoch)
            .or_default()
            .push_back((capability, admissions));
    }

    /// Whether the owner has failed: it then holds what it holds, and does nothing.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// One activation. `give` sends verdicts. Returns whether everything is done, so that the operator may
    /// end.
    pub(super) fn work(
        &mut self,
        input: &MutableAntichain<IngestTime>,
        mut give: impl FnMut(&Capability<IngestTime>, Verdicts),
    ) -> bool {
        let now = self.host.now();
        self.take_replies(&mut give);
        if self.failed {
            return false;
        }
        self.follow_durable(now);
        self.judge_ready(input, &mut give);
        if self.failed {
            return false;
        }
        self.ask();
        if self.judge.retire(RETIRE_AT_ONCE) {
            self.activator.activate();
        }
        let is_drained = input.is_empty()
            && self.waiting.is_empty()
            && self.open.is_empty()
            && self.judge.open_epochs() == 0;
        self.keep_up(now, is_drained);
        self.metrics.add_answers(self.judge.take_answers());
        self.metrics
            .move_entries(&mut self.entries, self.judge.entries());
        if is_drained
            && !self.is_flushing
            && self.judge.recent_ids() == 0
            && self.expire_below.is_none()
        {
            self.threads.close();
        }
        self.set_timer(now);
        self.threads.have_ended()
    }

    fn fail(&mut self, error: Error) {
        self.failed = true;
        self.threads.tell(error);
    }

    fn take_replies(&mut self, give: &mut impl FnMut(&Capability<IngestTime>, Verdicts)) {
        while let Some(reply) = self.threads.reply() {
            match reply {
                Reply::Answers(questions, known) => {
                    let places = self.asked.pop_front().unwrap_or_default();
                    for ((question, known), place) in questions.iter().zip(known).zip(places) {
                        self.answer(question, known, place, give);
                    }
                }
                Reply::Ingested(ids) => {
                    self.is_flushing = false;
                    self.judge.ingested(ids);
                }
                Reply::Scanned(scanned) => {
                    self.is_refilling = false;
                    self.judge.refilled(&scanned);
                    if scanned.next.is_none() {
                        let ids = self.judge.entries();
                        tracing::info!(ids, "deduplication filters are complete");
                    }
                }
                Reply::Failed => self.failed = true,
            }
        }
    }

    fn answer(
        &mut self,
        question: &Question,
        known: bool,
        place: Place,
        give: &mut impl FnMut(&Capability<IngestTime>, Verdicts),
    ) {
        let Some(open) = self.open.get_mut(&place.ticket) else {
            return;
        };
        self.judge
            .answer(open.capability.time().epoch, question, known);
        if let Some(verdict) = open.verdicts.duplicates.get_mut(place.row as usize) {
            *verdict = known;
        }
        open.open -= 1;
        if open.open == 0
            && let Some(closed) = self.open.remove(&place.ticket)
        {
            give(&closed.capability, closed.verdicts);
        }
    }

    /// Promotes what is durable and expires what the committed watermark has passed.
    fn follow_durable(&mut self, now: Instant) {
        let frontier = self.durable.with_frontier(|frontier| {
            let epoch = frontier.iter().map(|time| time.epoch).min()?;
            let watermark = frontier.iter().map(|time| time.watermark).min()?;
            Some((epoch, watermark))
        });
        match frontier {
            Some((first_undurable, watermark)) => {
                self.durable_seen = true;
                self.may_refill |= self.first_begun.is_some_and(|e| e < first_undurable);
                if self.judge.open_epochs() > 0
                    && let Err(error) = reached(&*self.host, Failpoint::Overlay)
                {
                    self.fail(error);
                    return;
                }
                self.judge.commit(|epoch| epoch < first_undurable, now);
                // The largest coordinate is the end of event time, not a watermark.
                if watermark != u64::MAX {
                    let live_from = first_live_bucket(EventTime::from_coordinate(watermark));
                    if live_from > FIRST_BUCKET && self.judge.expire_below(live_from) {
                        self.expire_below = Some(live_from);
                    }
                }
            }
            None if self.durable_seen => self.judge.commit(|_| true, now),
            None => {}
        }
    }

    fn judge_ready(
        &mut self,
        input: &MutableAntichain<IngestTime>,
        give: &mut impl FnMut(&Capability<IngestTime>, Verdicts),
    ) {
        let mut left = IDS_AT_ONCE;
        while let Some(mut waiting) = self.waiting.first_entry() {
            let epoch = *waiting.key();
            let is_ready = !in_force(&*self.host, Rule::EpochsInOrder)
                || epoch
                    .0
                    .checked_sub(1)
                    .is_none_or(|before| !input.less_equal(&IngestTime::end_of(Epoch(before))));
            let may_begin = self.begun == Some(epoch) || self.judge.has_room();
            if !is_ready || !may_begin {
                return;
            }
            let Some((capability, admissions)) = waiting.get_mut().pop_front() else {
                waiting.remove();
                continue;
            };
            self.begun = Some(epoch);
            self.first_begun.get_or_insert(epoch);
            if let Err(error) = reached(&*self.host, Failpoint::Verdict) {
                self.fail(error);
                return;
            }
            left = left.saturating_sub(admissions.hashes.len());
            self.judge_one(capability, admissions, give);
            if self.questions.len() >= QUESTIONS_AT_ONCE {
                self.ask();
                if !self.questions.is_empty() {
                    // The look-ups are behind. Their next reply activates the operator.
                    return;
                }
            }
            if left == 0 {
                self.activator.activate();
                return;
            }
        }
    }

    fn judge_one(
        &mut self,
        capability: Capability<IngestTime>,
        admissions: Admissions,
        give: &mut impl FnMut(&Capability<IngestTime>, Verdicts),
    ) {
        let Admissions {
            owner,
            origin,
            batch,
            hashes,
            buckets,
            remember,
        } = admissions;
        let mut verdicts = Verdicts {
            owner,
            origin,
            batch,
            duplicates: Vec::new(),
        };
        let mut questions = Vec::new();
        let epoch = capability.time().epoch;
        self.judge.judge(
            epoch,
            &hashes,
            &buckets,
            &remember,
            &mut verdicts.duplicates,
            &mut questions,
        );
        if questions.is_empty() {
            give(&capability, verdicts);
            return;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.open.insert(
            ticket,
            OpenVerdicts {
                capability,
                verdicts,
                open: questions.len(),
            },
        );
        self.places
            .extend(questions.iter().map(|&(row, _)| Place { ticket, row }));
        self.questions
            .extend(questions.iter().map(|(_, question)| question));
    }

    /// Sends the questions gathered so far, if the look-up thread has room for them.
    fn ask(&mut self) {
        if self.questions.is_empty() {
            return;
        }
        let questions = std::mem::take(&mut self.questions);
        let asked = questions.len();
        let slab_buckets = self.judge.slab_buckets();
        match self.threads.ask(Questions {
            questions,
            slab_buckets,
        }) {
            Ok(()) => {
                self.asked.push_back(std::mem::take(&mut self.places));
                self.questions_asked += asked;
                self.may_refill |= self.questions_asked >= REFILL_AFTER_QUESTIONS;
            }
            Err(returned) => self.questions = returned.questions,
        }
    }

    /// Orders expiry, flush, and the next piece of a refill.
    fn keep_up(&mut self, now: Instant, is_drained: bool) {
        if let Some(bucket) = self.expire_below
            && self.threads.order(Upkeep::ExpireBelow(bucket)).is_ok()
        {
            self.expire_below = None;
        }
        if let Some(from) = self.refill_due() {
            self.is_refilling = self.threads.order(Upkeep::Refill(from)).is_ok();
        }
        if !self.is_flushing {
            self.flush = self.judge.flush(now, is_drained);
            self.is_flushing = self.flush.is_some();
        }
        if let Some(flush) = self.flush.take()
            && let Err(Upkeep::Ingest(returned)) = self.threads.order(Upkeep::Ingest(flush))
        {
            self.flush = Some(returned);
        }
    }

    /// Where a refill goes on, when nothing of it is under way.
    fn refill_due(&self) -> Option<StoredId> {
        let is_due = self.may_refill && !self.is_refilling;
        is_due.then(|| self.judge.refill_from()).flatten()
    }

    /// Makes sure that the operator comes back when something is to be looked at that wakes no one.
    fn set_timer(&mut self, now: Instant) {
        let delay = if self.judge.open_epochs() > 0
            || self.expire_below.is_some()
            || self.flush.is_some()
            || self.refill_due().is_some()
        {
            DURABLE_POLL
        } else if self.judge.recent_ids() > 0 {
            AGE_POLL
        } else {
            return;
        };
        // Timers cannot be taken back: one earlier than what is asked for will do.
        if self.timer.is_none_or(|at| at <= now || at > now + delay) {
            self.activator.activate_after(delay);
            self.timer = Some(now + delay);
        }
    }
}
