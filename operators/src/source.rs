//! The source: batches of raw records, read from the log at the clock's pace.
//!
//! | | |
//! |---|---|
//! | in | none; ticks reach it through the worker's context |
//! | out | [`RawBatch`]es, at the time of the last tick |
//! | exchange | none: a partition stays on the worker that reads it |
//! | state | positions; the group offsets of at most a few epochs that are not yet durable |
//! | frontier | one capability, downgraded to every tick; after a drain it is kept until the last epoch is durable |
//! | errors | a fatal state of the log ends the job |
//! | metrics | records and bytes read, time in which it did not read and why, how each partition stands |
//!
//! Flow control: reading stops while the byte budget has no room, and while the open epoch holds more
//! than the clock could close; ticks are followed all the same.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, StreamVec};
use timely::order::PartialOrder;

use crate::clock::{Report, Tick};
use crate::context::Context;
use crate::failpoint::Failpoint;
use crate::io::{Log, Polled};
use crate::observed::WORKER_INTERVAL;
use crate::observed::seen::{PartitionSeen, Waits, WorkerSeen};
use crate::record::{RawBatch, RawRecord, TopicPartition};
use crate::time::{Epoch, IngestTime};
use crate::wake::{Alarm, PACE_BEHIND, pace};

/// Records taken from the log at a time.
pub const BATCH_RECORDS: usize = 4096;

/// A partition of which less waits at the broker is not caught up with in a hurry: it may be what has just come, or no
/// more than the marker of a transaction.
const BEHIND_LEAST: i64 = BATCH_RECORDS as i64;

/// How long the source reads before it lets the operators behind it run.
const READ_SLICE: Duration = Duration::from_millis(4);

/// Reading stops when the open epoch holds this many times what should have closed it.
const OPEN_EPOCH_OVERRUN: u64 = 2;

/// Reads a log.
pub trait Read<'scope> {
    /// Reads the log's partitions, from where each is assigned to start, until the clock drains.
    fn read(self, log: Box<dyn Log>, context: &Context) -> StreamVec<'scope, IngestTime, RawBatch>;
}

impl<'scope> Read<'scope> for Scope<'scope, IngestTime> {
    fn read(self, log: Box<dyn Log>, context: &Context) -> StreamVec<'scope, IngestTime, RawBatch> {
        let mut builder = OperatorBuilder::new("Read".to_owned(), self);
        let (output, stream) = builder.new_output::<Vec<RawBatch>>();
        let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<RawBatch>>>::from(output);
        let info = builder.operator_info();
        let mut alarm = Alarm::of(self, &info.address);
        let wakes_source = self.activator_for(Rc::clone(&info.address));
        let context = Rc::clone(context);
        builder.build(move |mut capabilities| {
            let mut capability = capabilities.pop();
            if let Some(capability) = capability.as_mut() {
                capability.downgrade(&context.start);
            }
            let mut source = Source::new(log, Rc::clone(&context), capability);
            // A tick closes an epoch: what waits for it is not to wait for the next look.
            context.ticks.read_by(wakes_source);
            alarm.ring();
            move |_frontiers| {
                let mut output = output.activate();
                let again = source.step(|capability, batch| output.session(capability).give(batch));
                match again {
                    Again::Now => alarm.ring(),
                    Again::After(wait) => alarm.ring_within(wait),
                    Again::Never => {}
                }
            }
        });
        stream
    }
}

enum Again {
    Now,
    After(Duration),
    Never,
}

/// The source's state between two activations.
struct Source {
    log: Box<dyn Log>,
    context: Context,
    capability: Option<Capability<IngestTime>>,
    draining: bool,
    failed: bool,
    bytes: u64,
    offsets: u64,
    /// Where the partitions stood when an epoch was closed; told to the group once it is durable.
    closed: VecDeque<(Epoch, Vec<(TopicPartition, i64)>)>,
    /// The time between two looks when there is little to read.
    pace: Duration,
    /// The time to the next look, once one has left nothing to read.
    rest: Duration,
    /// The ends of the partitions, and when the log was asked for them.
    ends: (Vec<(TopicPartition, i64)>, Instant),
    /// When the last look left nothing to read.
    emptied_at: Option<Instant>,
    /// Why the last look read nothing, and when that was.
    waits: (Waits, Instant),
    /// When this worker last said how its partitions stand.
    said_at: Option<Instant>,
}

impl Source {
    fn new(
        log: Box<dyn Log>,
        context: Context,
        capability: Option<Capability<IngestTime>>,
    ) -> Source {
        let now = context.host.now();
        let pace = pace(context.settings.commit.interval);
        let ends = (log.end_offsets(), now);
        let mut source = Source {
            log,
            context,
            capability,
            draining: false,
            failed: false,
            bytes: 0,
            offsets: 0,
            closed: VecDeque::new(),
            pace,
            rest: pace,
            ends,
            emptied_at: None,
            waits: (Waits::No, now),
            said_at: None,
        };
        source.follow_assignment();
        source
    }

    /// Takes in partitions that were added since the last look.
    fn follow_assignment(&mut self) {
        let mut partitions = self.context.partitions.borrow_mut();
        let known = partitions.views().len();
        for assigned in &self.log.partitions()[known..] {
            partitions.assign(assigned);
        }
    }

    fn step(&mut self, mut give: impl FnMut(&Capability<IngestTime>, RawBatch)) -> Again {
        if self.failed {
            return Again::Never;
        }
        self.apply_ticks();
        self.tell_group();
        let Some(capability) = self.capability.clone() else {
            return Again::Never;
        };
        if self.draining {
            let last = Epoch(capability.time().epoch.0 - 1);
            if self.context.is_durable(last) {
                self.capability = None;
                return Again::Never;
            }
            return Again::After(self.pace);
        }
        let early = self.emptied_at.map(|at| {
            self.rest
                .saturating_sub(self.context.host.now().duration_since(at))
        });
        if let Some(wait) = early.filter(|wait| !wait.is_zero()) {
            return Again::After(wait);
        }
        let (mut more, mut found) = (false, false);
        let now = self.context.host.now();
        self.count_wait(now);
        let until = now + READ_SLICE;
        while self.context.host.now() < until && self.may_read() {
            let polled = self
                .context
                .reached(Failpoint::Read)
                .and_then(|()| self.log.poll(BATCH_RECORDS, &self.context.budget));
            match polled {
                Ok(Polled::Batch(batch)) => {
                    (more, found) = (true, true);
                    self.follow_assignment();
                    if let Some(batch) = self.take_in(batch) {
                        give(&capability, batch);
                    }
                }
                Ok(Polled::EndOfPartition { source, next }) => {
                    more = true;
                    self.follow_assignment();
                    if let Some(gap) = self.gap_before_end(&source, next) {
                        give(&capability, gap);
                    }
                    self.context
                        .partitions
                        .borrow_mut()
                        .reached_end(&source, self.context.host.now());
                }
                Ok(Polled::Nothing) => {
                    more = false;
                    break;
                }
                Err(error) => {
                    self.failed = true;
                    self.context.fail(error);
                    return Again::Never;
                }
            }
        }
        self.follow_assignment();
        if now.duration_since(self.ends.1) >= self.pace {
            self.ends = (self.log.end_offsets(), now);
        }
        if !more {
            self.rest = self.next_rest(found);
        }
        self.report();
        self.say(now);
        self.emptied_at = (!more).then(|| self.context.host.now());
        if more {
            Again::Now
        } else {
            Again::After(self.rest)
        }
    }

    /// The time to the next look: short while there is more to read, and doubled while none of it comes.
    fn next_rest(&self, found: bool) -> Duration {
        let is_behind = || {
            let partitions = self.context.partitions.borrow();
            partitions.is_behind(&self.ends.0, BEHIND_LEAST)
        };
        match found {
            _ if !self.may_read() || !is_behind() => self.pace,
            true => self.pace.min(PACE_BEHIND),
            false => self.pace.min(self.rest.max(PACE_BEHIND) * 2),
        }
    }

    fn may_read(&self) -> bool {
        self.why_not() == Waits::No
    }

    fn why_not(&self) -> Waits {
        let share = self.context.settings.commit.max_bytes / u64::from(self.context.peers);
        if self.bytes >= share.saturating_mul(OPEN_EPOCH_OVERRUN) {
            Waits::Commit
        } else if !self.context.budget.has_room() {
            Waits::Memory
        } else {
            Waits::No
        }
    }

    /// Counts the time since the last look, if that one had to leave records unread.
    fn count_wait(&mut self, now: Instant) {
        let waits = (self.why_not(), now);
        let (waited, since) = std::mem::replace(&mut self.waits, waits);
        let observed = &self.context.observed;
        let counter = match waited {
            Waits::No => return,
            Waits::Memory => &observed.waited_for_memory_us,
            Waits::Commit => &observed.waited_for_commit_us,
        };
        let micros = now.saturating_duration_since(since).as_micros();
        counter.fetch_add(micros as u64, Ordering::Relaxed);
    }

    /// Says how the partitions stand, now and then.
    fn say(&mut self, now: Instant) {
        let is_early = |said: Instant| now.saturating_duration_since(said) < WORKER_INTERVAL;
        if self.said_at.is_some_and(is_early) {
            return;
        }
        let ends = self.ends.0.iter().map(|(source, end)| (source, *end));
        let ends: HashMap<&TopicPartition, i64> = ends.collect();
        let partitions = self.context.partitions.borrow();
        let reads = self.waits.0 == Waits::No;
        let seen = partitions.views().iter().map(|view| PartitionSeen {
            source: view.source.clone(),
            next: view.next,
            // What was read since the log was asked is no less than the end.
            end: ends.get(&view.source).map(|end| view.next.max(*end)),
            watermark: view.watermark.watermark(),
            // What came since then has not been looked for.
            at_end_for: view.at_end_for(now).filter(|_| reads),
            is_idle: partitions.is_idle(view, now),
        });
        let seen = WorkerSeen {
            waits: self.waits.0,
            partitions: seen.collect(),
        };
        if self.context.observed.worker(self.context.worker, seen) {
            self.said_at = Some(now);
        }
    }

    /// Books a batch, or drops an empty one.
    fn take_in(&mut self, batch: RawBatch) -> Option<RawBatch> {
        let before = self
            .context
            .partitions
            .borrow_mut()
            .read_up_to(&batch.source, batch.next);
        if before != Some(batch.start) || batch.next <= batch.start {
            self.failed = true;
            self.context.fail(crate::Error::internal(format!(
                "the log gave offsets {}..{} of {}, expected from {before:?}",
                batch.start, batch.next, batch.source
            )));
            return None;
        }
        let bytes = batch.arena.len() as u64;
        // Records without a key and a value take memory too, and must bound an epoch.
        self.bytes += bytes + (batch.records.len() * size_of::<RawRecord>()) as u64;
        self.offsets += (batch.next - batch.start) as u64;
        self.context
            .observed
            .records_read
            .fetch_add(batch.records.len() as u64, Ordering::Relaxed);
        self.context
            .observed
            .bytes_read
            .fetch_add(bytes, Ordering::Relaxed);
        Some(batch)
    }

    /// Offsets between the last record and the partition's end hold no record (transaction markers): an
    /// empty batch carries them into the account.
    fn gap_before_end(&mut self, source: &TopicPartition, next: i64) -> Option<RawBatch> {
        let before = self.context.partitions.borrow_mut().view_mut(source)?.next;
        if next <= before {
            return None;
        }
        self.take_in(RawBatch {
            source: source.clone(),
            start: before,
            next,
            leader_epoch: None,
            received_at: self.context.host.wall_clock(),
            arena: Bytes::new(),
            records: Vec::new(),
            headers: None,
            credit: self.context.budget.take(0),
        })
    }

    fn apply_ticks(&mut self) {
        for tick in self.context.ticks.take() {
            let Some(capability) = self.capability.as_mut() else {
                return;
            };
            let time = tick.time();
            if !capability.time().less_equal(&time) {
                self.failed = true;
                self.context.fail(crate::Error::internal(format!(
                    "the clock went back from {:?} to {time:?}",
                    capability.time()
                )));
                return;
            }
            if time.epoch > capability.time().epoch {
                let positions = self.context.partitions.borrow().positions();
                self.closed.push_back((Epoch(time.epoch.0 - 1), positions));
                self.bytes = 0;
                self.offsets = 0;
            }
            capability.downgrade(&time);
            if matches!(tick, Tick::Drain(_)) {
                self.draining = true;
                if let Err(error) = self.context.reached(Failpoint::Drain) {
                    self.failed = true;
                    self.context.fail(error);
                    return;
                }
            }
        }
    }

    /// Tells the consumer group what is durable now. For people and lag tools; recovery never reads it.
    fn tell_group(&mut self) {
        let mut durable = None;
        while self
            .closed
            .front()
            .is_some_and(|(epoch, _)| self.context.is_durable(*epoch))
        {
            durable = self.closed.pop_front();
        }
        let Some((epoch, offsets)) = durable else {
            return;
        };
        // The process that commits knows exactly when; the others hear of it within a look.
        let observed = &self.context.observed;
        let at = observed.committed_at(epoch);
        let at = at.unwrap_or_else(|| self.context.host.wall_clock());
        let mut latency = self.context.latency.borrow_mut();
        latency.durable(epoch, at, &observed.latency);
        drop(latency);
        match self.context.reached(Failpoint::GroupOffsets) {
            Ok(()) => self.log.commit_group_offsets(&offsets),
            Err(error) => {
                self.failed = true;
                self.context.fail(error);
            }
        }
    }

    fn report(&mut self) {
        let Some(capability) = self.capability.as_ref() else {
            return;
        };
        let partitions = self.context.partitions.borrow();
        let report = Report {
            worker: self.context.worker,
            epoch: capability.time().epoch,
            watermark: partitions.held(self.context.host.now()),
            bytes: self.bytes,
            offsets: self.offsets,
            lag: partitions.lag(&self.ends.0),
            caught_up: partitions.caught_up(),
            stop: self.context.stop.load(Ordering::Relaxed),
        };
        drop(partitions);
        self.context.report.put(|slot| *slot = Some(report));
    }
}
