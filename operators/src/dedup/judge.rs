//! The judge of one worker's share of the ids: says of each id whether it is known.
//!
//! Epochs are judged in order, each id of an epoch once, in the order of arrival. An id that is not in
//! memory and not denied by the filters is a [`Question`] to the store; until it is answered the id is held
//! as if it were new. A further copy is a duplicate either way: of the first copy when that turns out new,
//! of what the store holds when not. A copy that is not to be remembered holds nothing.
//!
//! An id seen again refreshes nothing: the expiry of the first landing holds.

use std::collections::BTreeMap;
use std::time::Instant;

use super::filter::{Filters, SLABS};
use super::tiers::{Flush, Tiers};
use crate::io::{IdsByBucket, Scanned, StoredId};
use crate::time::Epoch;

/// An id that only the store can decide about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The id and the bucket that it would have, which is asked first.
    pub id: StoredId,
    /// The slabs of the filters that may hold it: bit `i` is slab `i`.
    pub slabs: u8,
    /// Whether it is remembered, should it be new.
    pub remember: bool,
}

/// How many ids were answered by what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// By the ids in memory: duplicates.
    pub memory: u64,
    /// By the filters: new.
    pub filter: u64,
    /// By the store, either way.
    pub store: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Judge {
    tiers: Tiers,
    filters: Filters,
    /// How many ids the store holds, by bucket.
    stored: BTreeMap<u32, u64>,
    stored_ids: u64,
    /// Where the filters are to be refilled from what the store held before the start; `None`: they are.
    refill_from: Option<StoredId>,
    /// The first bucket that has not expired.
    live_from: u32,
    ttl_hours: u32,
    answers: Answers,
    /// Working space of `judge`: rows that memory does not know, their hashes, and their slabs.
    unknown: Vec<u32>,
    unknown_hashes: Vec<u128>,
    slabs: Vec<u8>,
}

impl Judge {
    /// A judge over an empty store.
    pub fn new(filter_memory_bytes: u64, ttl_hours: u32) -> Judge {
        Judge {
            tiers: Tiers::default(),
            filters: Filters::new(filter_memory_bytes, ttl_hours),
            stored: BTreeMap::new(),
            stored_ids: 0,
            refill_from: None,
            live_from: super::expiry::FIRST_BUCKET,
            ttl_hours,
            answers: Answers::default(),
            unknown: Vec::new(),
            unknown_hashes: Vec::new(),
            slabs: Vec::new(),
        }
    }

    /// Writes the recent tier out when it holds `ids`, instead of
    /// [`RECENT_IDS`](super::tiers::RECENT_IDS).
    #[must_use]
    pub fn flush_at(mut self, ids: usize) -> Judge {
        self.tiers.flush_at(ids);
        self
    }

    /// Adds ids that the store holds.
    pub(super) fn add_stored(&mut self, bucket: u32, hashes: &[u128]) {
        self.filters.insert(bucket, hashes);
        *self.stored.entry(bucket).or_default() += hashes.len() as u64;
        self.stored_ids += hashes.len() as u64;
    }

    /// Says that the store holds these buckets, ascending, from before. Until their ids came in by
    /// [`Judge::refilled`], the store is asked about every id that may be in one of them.
    pub(super) fn refill(&mut self, buckets: Vec<u32>) {
        let live = buckets.into_iter().filter(|&b| b >= self.live_from);
        let live: Vec<u32> = live.collect();
        self.refill_from = live.first().map(|&bucket| StoredId { bucket, hash: 0 });
        self.filters.rebuild(live);
    }

    /// The first id of the store that the filters lack; `None` when they have all.
    pub fn refill_from(&self) -> Option<StoredId> {
        self.refill_from
    }

    /// Takes in what the store holds from [`Judge::refill_from`] on.
    pub fn refilled(&mut self, scanned: &Scanned) {
        for (&bucket, hashes) in scanned.ids.range(self.live_from..) {
            self.add_stored(bucket, hashes);
        }
        self.refill_from = scanned.next;
        self.filters.rebuilt_below(scanned.next.map(|id| id.bucket));
    }

    /// Whether another epoch may be begun: memory is bounded. It may again after an epoch became durable
    /// or a flush was ingested.
    pub fn has_room(&self) -> bool {
        self.tiers.has_room()
    }

    /// Judges ids of an epoch, which must not be older than the last one judged. `duplicates` gets one
    /// verdict an id; those of the ids in `questions` (place and question) are open and `false` for now.
    ///
    /// # Panics
    /// When the three columns differ in length.
    pub fn judge(
        &mut self,
        epoch: Epoch,
        hashes: &[u128],
        buckets: &[u32],
        remember: &[bool],
        duplicates: &mut Vec<bool>,
        questions: &mut Vec<(u32, Question)>,
    ) {
        assert!(
            hashes.len() == buckets.len() && hashes.len() == remember.len(),
            "columns of one length"
        );
        self.tiers.begin(epoch);
        duplicates.clear();
        duplicates.resize(hashes.len(), false);
        self.unknown.clear();
        self.unknown_hashes.clear();
        for (row, (&hash, &remember)) in hashes.iter().zip(remember).enumerate() {
            let is_new = if remember {
                self.tiers.hold(hash)
            } else {
                !self.tiers.holds(hash)
            };
            if is_new {
                self.unknown.push(row as u32);
                self.unknown_hashes.push(hash);
            } else {
                duplicates[row] = true;
            }
        }
        self.answers.memory += (hashes.len() - self.unknown.len()) as u64;

        self.filters.probe(&self.unknown_hashes, &mut self.slabs);
        // An id from a partition far behind the watermark would expire at birth; it lives for the TTL
        // from the committed watermark on instead.
        let first_bucket = self.live_from.saturating_add(self.ttl_hours);
        for ((&row, &hash), &slabs) in self
            .unknown
            .iter()
            .zip(&self.unknown_hashes)
            .zip(&self.slabs)
        {
            let bucket = buckets[row as usize].max(first_bucket);
            let remember = remember[row as usize];
            if slabs != 0 {
                questions.push((
                    row,
                    Question {
                        id: StoredId { bucket, hash },
                        slabs,
                        remember,
                    },
                ));
                continue;
            }
            self.answers.filter += 1;
            if remember {
                self.tiers.record(epoch, bucket, hash);
            }
        }
    }

    /// The buckets that the slabs of a [`Question`] stand for.
    pub fn slab_buckets(&self) -> [Vec<u32>; SLABS] {
        self.filters.buckets()
    }

    /// Takes the store's answer to a question of an epoch.
    pub fn answer(&mut self, epoch: Epoch, question: &Question, is_known: bool) {
        self.answers.store += 1;
        if !question.remember {
            return;
        }
        if is_known {
            self.tiers.release(question.id.hash);
        } else {
            self.tiers
                .record(epoch, question.id.bucket, question.id.hash);
        }
    }

    /// Says which epochs are durable. No question of theirs may be open.
    pub fn commit(&mut self, is_durable: impl Fn(Epoch) -> bool, now: Instant) {
        self.tiers.promote(is_durable, now);
    }

    /// Says which buckets have expired. Returns whether that is news, and the store should hear of it.
    pub fn expire_below(&mut self, bucket: u32) -> bool {
        if bucket <= self.live_from {
            return false;
        }
        self.live_from = bucket;
        self.filters.expire_below(bucket);
        let live = self.stored.split_off(&bucket);
        self.stored_ids -= self.stored.values().sum::<u64>();
        self.stored = live;
        true
    }

    /// Takes the recent tier to be written, when it is due or `now_please`. Its ids stay known; give them
    /// back with [`Judge::ingested`]. One flush at a time. None is due while the filters are refilled: that
    /// takes seconds, and would count what is written now a second time.
    pub fn flush(&mut self, now: Instant, now_please: bool) -> Option<Flush> {
        let is_due = self.refill_from.is_none() && self.tiers.is_flush_due(now);
        if now_please || is_due {
            self.tiers.take_recent(self.live_from)
        } else {
            None
        }
    }

    /// Takes the ids of a flush back, now that the store holds them.
    pub fn ingested(&mut self, ids: IdsByBucket) {
        self.tiers.retire(ids);
    }

    /// Moves up to `at_most` ids that the store holds out of memory. Returns whether there are more.
    pub fn retire(&mut self, at_most: usize) -> bool {
        let Judge {
            tiers,
            filters,
            stored,
            stored_ids,
            live_from,
            ..
        } = self;
        tiers.retire_some(at_most, |bucket, hashes| {
            if bucket >= *live_from {
                filters.insert(bucket, hashes);
                *stored.entry(bucket).or_default() += hashes.len() as u64;
                *stored_ids += hashes.len() as u64;
            }
        })
    }

    /// Whether [`Judge::retire`] has work.
    pub fn is_retiring(&self) -> bool {
        self.tiers.is_retiring()
    }

    /// Epochs that were begun and are not durable.
    pub fn open_epochs(&self) -> usize {
        self.tiers.open_epochs()
    }

    /// Ids of durable epochs that are in memory only.
    pub fn recent_ids(&self) -> usize {
        self.tiers.recent_ids()
    }

    /// Ids known altogether.
    pub fn entries(&self) -> u64 {
        self.tiers.ids() as u64 + self.stored_ids
    }

    /// Answers since the last call.
    pub fn take_answers(&mut self) -> Answers {
        std::mem::take(&mut self.answers)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap, VecDeque};

    use proptest::prelude::*;

    use super::*;
    use crate::dedup::lookup::Lookup;
    use crate::dedup::memory_store::MemoryIdStore;
    use crate::dedup::recover::{recover, sort};
    use crate::dedup::testing::random_hash;
    use crate::io::{IdStore, StateMarker};

    const TTL_HOURS: u32 = 8;

    /// What may happen next.
    #[derive(Clone, Debug)]
    enum Step {
        /// Ids are judged: (which, remember).
        Judge(Vec<(u8, bool)>),
        /// The store answers the oldest questions.
        Answer,
        /// The epoch ends; the next one begins.
        NextEpoch,
        /// The oldest open epoch becomes durable.
        Commit,
        Flush,
        Ingested,
        Retire(usize),
        /// After a crash, so many ids of the store come back to the filters.
        Refill(usize),
        /// The committed watermark moves on by hours.
        Hours(u32),
        /// The job is killed and starts again.
        Crash,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => proptest::collection::vec((0u8..60, proptest::bool::weighted(0.8)), 0..12).prop_map(Step::Judge),
            4 => Just(Step::Answer),
            2 => Just(Step::NextEpoch),
            3 => Just(Step::Commit),
            2 => Just(Step::Flush),
            2 => Just(Step::Ingested),
            2 => (1usize..20).prop_map(Step::Retire),
            2 => (1usize..20).prop_map(Step::Refill),
            1 => (1u32..6).prop_map(Step::Hours),
            1 => Just(Step::Crash),
        ]
    }

    /// The judge and what surrounds it, and beside it a naive model: a map from id to the epoch and bucket
    /// it landed in.
    struct World {
        judge: Judge,
        store: MemoryIdStore,
        epoch: Epoch,
        durable: Epoch,
        hour: u32,
        /// Questions on their way, with the verdict that the model expects.
        asked: VecDeque<(Epoch, Question, bool)>,
        being_written: Option<Flush>,
        model: HashMap<u128, (Epoch, u32)>,
    }

    impl World {
        fn new() -> World {
            World {
                judge: Judge::new(1 << 12, TTL_HOURS),
                store: MemoryIdStore::default(),
                epoch: Epoch::first_of(1),
                durable: Epoch(Epoch::first_of(1).0 - 1),
                hour: 100,
                asked: VecDeque::new(),
                being_written: None,
                model: HashMap::new(),
            }
        }

        /// Ids whose hour has passed may be known or not: memory lets go of them when it gets round to it.
        /// Such an id is judged alone, and the model follows the verdict.
        fn judge(&mut self, ids: &[(u8, bool)]) -> Result<(), TestCaseError> {
            for &(id, remember) in ids {
                let hash = random_hash(id.into());
                let is_expired =
                    |world: &World| world.model.get(&hash).is_some_and(|at| at.1 < world.hour);
                if is_expired(self) {
                    self.answer(usize::MAX)?;
                    if !self.judge_some(&[(id, remember)])?[0] {
                        self.model.remove(&hash);
                        if remember {
                            self.model.insert(
                                hash,
                                (self.epoch, self.hour + TTL_HOURS + u32::from(id % 3)),
                            );
                        }
                    }
                }
            }
            self.judge_some(ids).map(drop)
        }

        fn judge_some(&mut self, ids: &[(u8, bool)]) -> Result<Vec<bool>, TestCaseError> {
            let hashes: Vec<u128> = ids.iter().map(|&(id, _)| random_hash(id.into())).collect();
            let buckets: Vec<u32> = ids
                .iter()
                .map(|&(id, _)| self.hour + TTL_HOURS + u32::from(id % 3))
                .collect();
            let remember: Vec<bool> = ids.iter().map(|&(_, remember)| remember).collect();
            let (mut duplicates, mut questions) = (Vec::new(), Vec::new());
            self.judge.judge(
                self.epoch,
                &hashes,
                &buckets,
                &remember,
                &mut duplicates,
                &mut questions,
            );
            let mut open = questions.iter().peekable();
            for row in 0..ids.len() {
                let before = self.model.get(&hashes[row]).copied();
                let is_expired = before.is_some_and(|(_, bucket)| bucket < self.hour);
                let expected = before.is_some();
                if remember[row] {
                    self.model
                        .entry(hashes[row])
                        .or_insert((self.epoch, buckets[row]));
                }
                match open.next_if(|(place, _)| *place as usize == row) {
                    // The filters only lead to live buckets.
                    Some((_, question)) => {
                        self.asked
                            .push_back((self.epoch, *question, expected && !is_expired));
                        duplicates[row] = expected && !is_expired;
                    }
                    None if is_expired => {}
                    None => prop_assert_eq!(duplicates[row], expected, "row {} of {:?}", row, ids),
                }
            }
            Ok(duplicates)
        }

        fn answer(&mut self, at_most: usize) -> Result<(), TestCaseError> {
            let slab_buckets = self.judge.slab_buckets();
            for (epoch, question, expected) in self.asked.drain(..at_most.min(self.asked.len())) {
                let known = Lookup::default()
                    .answer(&self.store, &[question], &slab_buckets)
                    .expect("look-up");
                prop_assert_eq!(known[0], expected, "the store's answer to {:?}", question);
                self.judge.answer(epoch, &question, known[0]);
            }
            Ok(())
        }

        fn ingest(&mut self) {
            if let Some(mut flush) = self.being_written.take() {
                sort(&mut flush.ids);
                self.store
                    .ingest(
                        &flush.ids,
                        Some(StateMarker {
                            generation: 1,
                            epoch: flush.epoch,
                        }),
                    )
                    .expect("ingest");
                self.judge.ingested(flush.ids);
            }
        }

        fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
            match step {
                Step::Judge(ids) => self.judge(ids)?,
                Step::Answer => self.answer(3)?,
                Step::NextEpoch if self.judge.has_room() => self.epoch = self.epoch.next(),
                Step::Commit => {
                    let next = self.durable.next();
                    // An epoch is complete only when all its verdicts are out.
                    if next < self.epoch && self.asked.iter().all(|(epoch, ..)| *epoch > next) {
                        self.durable = next;
                        self.judge.commit(|epoch| epoch <= next, Instant::now());
                    }
                }
                Step::Flush if self.being_written.is_none() => {
                    self.being_written = self.judge.flush(Instant::now(), true);
                }
                Step::Ingested => self.ingest(),
                Step::Retire(at_most) => {
                    self.judge.retire(*at_most);
                }
                Step::Refill(at_most) => {
                    if let Some(from) = self.judge.refill_from() {
                        let scanned = self.store.scan(from, *at_most).expect("scan");
                        self.judge.refilled(&scanned);
                    }
                }
                Step::Hours(hours) => {
                    self.answer(usize::MAX)?;
                    // One thread takes orders in turn, so an expiry never overtakes an ingestion.
                    self.ingest();
                    self.hour += hours;
                    let hour = self.hour;
                    if self.judge.expire_below(hour) {
                        self.store.expire_below(hour).expect("expire");
                    }
                }
                Step::Crash => {
                    let marker = self.store.marker();
                    let above = |epoch: Epoch| marker.is_none_or(|m| epoch > m.epoch);
                    self.model.retain(|_, (epoch, _)| *epoch <= self.durable);
                    let in_store: BTreeSet<u128> =
                        self.store.ids().iter().map(|id| id.hash).collect();
                    let landed: BTreeSet<u128> = self.model.keys().copied().collect();
                    prop_assert!(
                        in_store.is_subset(&landed),
                        "an epoch that was aborted left ids behind"
                    );
                    let mut table = IdsByBucket::new();
                    for (&hash, &(epoch, bucket)) in &self.model {
                        if above(epoch) {
                            table.entry(bucket).or_default().push(hash);
                        }
                    }
                    let up_to = Some(StateMarker {
                        generation: 1,
                        epoch: self.durable,
                    });
                    self.judge = recover(
                        &self.store,
                        0,
                        1 << 12,
                        TTL_HOURS,
                        Some(self.hour),
                        [Ok(table)],
                        up_to,
                    )
                    .expect("recover");
                    self.asked.clear();
                    self.being_written = None;
                    self.epoch = self.durable.next();
                }
                Step::NextEpoch | Step::Flush => {}
            }
            Ok(())
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn verdicts_are_those_of_a_map(steps in proptest::collection::vec(step(), 1..120)) {
            let mut world = World::new();
            for step in &steps {
                world.take(step)?;
            }
            world.answer(usize::MAX)?;
        }
    }
}
