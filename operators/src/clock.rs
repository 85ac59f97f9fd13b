//! The clock: decides when an epoch is closed and how far the watermark has come.
//!
//! | | |
//! |---|---|
//! | in | [`Report`]s, one worker's view of its own partitions, on a control dataflow of their own |
//! | out | [`Tick`]s, broadcast to every worker |
//! | exchange | reports to worker 0, ticks to all |
//! | state | the last report of every worker; closed epochs that are not yet durable, at most `MAX_CLOSED_EPOCHS` |
//! | frontier | none: control messages carry no event time |
//! | errors | none: a worker that stops reporting holds the watermark, and the watchdog ends the job |
//! | metrics | `strandline_epoch`, watermark, lag (through [`Observed`](crate::observed::Observed)) |
//!
//! One clock for the whole cluster makes the times in use a chain, so that the frontier has one element
//! and progress tracking costs as much as with a plain number. An idle worker follows the ticks too.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::job::CommitPolicy;
use crate::time::{Epoch, EventTime, IngestTime};
use crate::wake::pace;

/// Epochs that are closed but not yet durable, at most: one being committed, one waiting with its files
/// written. Beyond that the open epoch grows instead.
pub const MAX_CLOSED_EPOCHS: usize = 2;

/// The first epoch after a start is open no longer than this, however long the interval of the job: whoever waits
/// for a job that was gone sees with its first commit, which also confirms the generation, that it is back. A longer
/// one would only add to what is read twice should it fail again; one commit more in a run costs nothing.
pub const FIRST_EPOCH_MAX: Duration = Duration::from_millis(100);

/// What one worker says of its partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The worker.
    pub worker: u32,
    /// The epoch its source reads into.
    pub epoch: Epoch,
    /// What its partitions allow the watermark to be.
    pub watermark: Held,
    /// Bytes of records read into `epoch`.
    pub bytes: u64,
    /// Offsets passed in `epoch`, gaps included; an epoch of gaps only still moves the progress.
    pub offsets: u64,
    /// Records behind the end of its partitions.
    pub lag: u64,
    /// Whether every one of its partitions has reached the end it had when the job started.
    pub caught_up: bool,
    /// Whether its process was asked to drain.
    pub stop: bool,
}

/// What a set of partitions allows the watermark to be. Ordered by how far they let it come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Held {
    /// A partition that is not idle has had no event yet.
    Unknown,
    /// The smallest watermark over partitions that are not idle.
    At(EventTime),
    /// Every partition is idle, or there are none.
    Free,
}

/// What the clock announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tick {
    /// Sources read at this time from now on. Epochs before `time.epoch` are closed.
    Advance(IngestTime),
    /// As `Advance`, and sources read no more: they keep their capability until every epoch before
    /// `time.epoch` is durable, then drop it.
    Drain(IngestTime),
}

impl Tick {
    /// The time announced.
    pub fn time(&self) -> IngestTime {
        match self {
            Tick::Advance(time) | Tick::Drain(time) => *time,
        }
    }
}

/// The clock's state machine. No timely in sight; time is given to it.
#[derive(Debug)]
pub struct Clock {
    policy: CommitPolicy,
    start: Epoch,
    now: IngestTime,
    opened_at: Instant,
    /// Whether the open epoch was empty when it was last looked at.
    was_empty: bool,
    reports: Vec<Option<Report>>,
    closed: VecDeque<(Epoch, Option<EventTime>)>,
    until_caught_up: bool,
    draining: bool,
}

impl Clock {
    /// A clock over `workers` workers that starts at `start`.
    pub fn new(
        policy: CommitPolicy,
        start: IngestTime,
        workers: usize,
        until_caught_up: bool,
        now: Instant,
    ) -> Clock {
        Clock {
            policy,
            start: start.epoch,
            now: start,
            opened_at: now,
            was_empty: false,
            reports: vec![None; workers],
            closed: VecDeque::new(),
            until_caught_up,
            draining: false,
        }
    }

    /// Takes in a worker's report; the last one of a worker counts.
    pub fn report(&mut self, report: Report) {
        let worker = report.worker as usize;
        if let Some(slot) = self.reports.get_mut(worker) {
            *slot = Some(report);
        }
    }

    /// The epoch that is open.
    pub fn epoch(&self) -> Epoch {
        self.now.epoch
    }

    /// The watermark announced; `None` before the first event.
    pub fn watermark(&self) -> Option<EventTime> {
        watermark_of(self.now)
    }

    /// Records behind the ends of all partitions, as last reported.
    pub fn lag(&self) -> u64 {
        self.reports.iter().flatten().map(|r| r.lag).sum()
    }

    /// Whether anything that was read is not durable yet.
    pub fn waits(&self) -> bool {
        !self.closed.is_empty() || self.staged().1 > 0
    }

    /// Bytes and offsets read into the open epoch, as last reported.
    fn staged(&self) -> (u64, u64) {
        let open = self
            .reports
            .iter()
            .flatten()
            .filter(|r| r.epoch == self.now.epoch);
        open.fold((0, 0), |(bytes, offsets), r| {
            (bytes + r.bytes, offsets + r.offsets)
        })
    }

    /// The watermark that the partitions of all workers allow, never behind the one announced.
    fn allowed_watermark(&self) -> u64 {
        let held = self
            .reports
            .iter()
            .map(|r| r.as_ref().map_or(Held::Unknown, |r| r.watermark))
            .min();
        match held {
            Some(Held::At(watermark)) => self.now.watermark.max(watermark.to_coordinate()),
            _ => self.now.watermark,
        }
    }

    /// Whether a process was asked to drain.
    pub fn is_asked_to_stop(&self) -> bool {
        self.reports.iter().flatten().any(|r| r.stop)
    }

    /// Decides what to announce now, if anything. `durable` says whether an epoch is durable.
    pub fn tick(&mut self, now: Instant, durable: impl Fn(Epoch) -> bool) -> Option<Tick> {
        while self
            .closed
            .front()
            .is_some_and(|(epoch, _)| durable(*epoch))
        {
            self.closed.pop_front();
        }
        if self.draining {
            return None;
        }
        let watermark = self.allowed_watermark();
        let (bytes, offsets) = self.staged();
        let everyone_reported = self.reports.iter().all(Option::is_some);
        let caught_up = self.until_caught_up
            && self
                .reports
                .iter()
                .all(|r| r.as_ref().is_some_and(|r| r.caught_up));
        if everyone_reported && (self.is_asked_to_stop() || caught_up) {
            self.draining = true;
            self.close(now, watermark);
            return Some(Tick::Drain(self.now));
        }
        if offsets > 0 && std::mem::take(&mut self.was_empty) {
            // An epoch counts from its first record, so that after a pause the first one waits no longer
            // than one interval, and not shorter either. It was read within the last pace of a source.
            let first = now.checked_sub(pace(self.policy.interval)).unwrap_or(now);
            self.opened_at = self.opened_at.max(first);
        }
        let due =
            now.duration_since(self.opened_at) >= self.interval() || bytes >= self.policy.max_bytes;
        if due && offsets > 0 && self.closed.len() < MAX_CLOSED_EPOCHS {
            self.close(now, watermark);
            return Some(Tick::Advance(self.now));
        }
        if offsets == 0 {
            self.was_empty = true;
            self.opened_at = now;
        }
        None
    }

    fn close(&mut self, now: Instant, watermark: u64) {
        let next = IngestTime {
            epoch: self.now.epoch.next(),
            watermark,
        };
        self.closed.push_back((self.now.epoch, watermark_of(next)));
        self.now = next;
        self.opened_at = now;
        self.was_empty = false;
    }

    /// The watermark with which a closed epoch ended; `None` when the clock has not closed it. Only what
    /// the clock has closed may be committed: a frontier that moved for any other reason is a failure.
    pub fn closed_with(&self, epoch: Epoch) -> Option<Option<EventTime>> {
        self.closed
            .iter()
            .find(|(e, _)| *e == epoch)
            .map(|(_, watermark)| *watermark)
    }

    /// How long from `now` until the open epoch is due by time; `None` when none is closed any more.
    pub fn due_in(&self, now: Instant) -> Option<Duration> {
        let open_for = now.duration_since(self.opened_at);
        (!self.draining).then(|| self.interval().saturating_sub(open_for))
    }

    /// How long the open epoch may be open.
    fn interval(&self) -> Duration {
        match self.now.epoch == self.start {
            true => self.policy.interval.min(FIRST_EPOCH_MAX),
            false => self.policy.interval,
        }
    }
}

/// The watermark coordinate as an event time; 0 stands for none yet.
pub fn watermark_of(time: IngestTime) -> Option<EventTime> {
    (time.watermark > 0).then(|| EventTime::from_coordinate(time.watermark))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Job;
    use proptest::prelude::*;

    const START: IngestTime = IngestTime {
        epoch: Epoch(1 << 32),
        watermark: 0,
    };

    fn report(worker: u32, epoch: Epoch, watermark: Held, offsets: u64) -> Report {
        Report {
            worker,
            epoch,
            watermark,
            bytes: offsets * 100,
            offsets,
            lag: 0,
            caught_up: false,
            stop: false,
        }
    }

    fn clock(workers: usize, start: Instant) -> Clock {
        Clock::new(Job::BRONZE.commit, START, workers, false, start)
    }

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn after_a_pause_an_epoch_lasts_from_its_first_record_however_seldom_the_clock_looks() {
        let start = Instant::now();
        let mut clock = clock(1, start);
        let interval = Job::BRONZE.commit.interval;
        let ms = interval.as_millis() as u64;
        clock.report(report(0, START.epoch, Held::Free, 1));
        let first = clock.tick(start + interval, |_| true).expect("a tick");
        let epoch = first.time().epoch;
        clock.report(report(0, epoch, Held::Free, 0));
        assert_eq!(clock.tick(after(start, 2 * ms), |_| true), None);
        // It looks again when a record was read, nearly an interval later.
        clock.report(report(0, epoch, Held::Free, 5));
        let read = after(start, 3 * ms - 10);
        assert_eq!(clock.tick(read, |_| true), None);
        let due_in = clock.due_in(read).expect("an open epoch");
        assert_eq!(due_in, interval - pace(interval));
        assert_eq!(clock.tick(after(start, 3 * ms), |_| true), None);
        assert!(clock.tick(read + due_in, |_| true).is_some());
    }

    #[test]
    fn an_epoch_without_records_is_not_closed() {
        let start = Instant::now();
        let mut clock = clock(1, start);
        clock.report(report(0, START.epoch, Held::Free, 0));
        assert_eq!(clock.tick(after(start, 5000), |_| false), None);
    }

    #[test]
    fn an_epoch_is_closed_after_the_interval_or_the_bytes() {
        let start = Instant::now();
        let mut clock = clock(1, start);
        clock.report(report(0, START.epoch, Held::Unknown, 10));
        let first = clock.tick(after(start, 100), |_| false).expect("due");
        clock.report(report(0, first.time().epoch, Held::Unknown, 10));
        assert_eq!(clock.tick(after(start, 1099), |_| true), None);
        let tick = clock.tick(after(start, 1100), |_| true).expect("due");
        assert_eq!(tick.time().epoch, START.epoch.next().next());
        clock.report(report(0, tick.time().epoch, Held::Unknown, 10_000_000));
        assert!(clock.tick(after(start, 1101), |_| false).is_some(), "full");
    }

    #[test]
    fn the_first_epoch_after_a_start_is_short() {
        let start = Instant::now();
        let mut clock = clock(1, start);
        clock.report(report(0, START.epoch, Held::Unknown, 0));
        assert_eq!(clock.tick(after(start, 9000), |_| false), None);
        clock.report(report(0, START.epoch, Held::Unknown, 10));
        assert_eq!(clock.due_in(after(start, 9000)), Some(FIRST_EPOCH_MAX));
        for early in [9001, 9099] {
            assert_eq!(clock.tick(after(start, early), |_| false), None);
        }
        assert!(clock.tick(after(start, 9100), |_| false).is_some());
        assert_eq!(
            clock.due_in(after(start, 9100)),
            Some(Job::BRONZE.commit.interval)
        );
    }

    #[test]
    fn a_report_on_an_older_epoch_does_not_close_the_open_one() {
        let start = Instant::now();
        let mut clock = clock(1, start);
        clock.report(report(0, START.epoch, Held::Unknown, 10));
        clock.tick(after(start, 100), |_| false).expect("due");
        assert_eq!(clock.tick(after(start, 9000), |_| false), None);
    }

    #[test]
    fn at_most_a_few_epochs_wait_for_durability() {
        let start = Instant::now();
        let mut clock = clock(1, start);
        for i in 0..MAX_CLOSED_EPOCHS as u64 {
            clock.report(report(0, clock.epoch(), Held::Unknown, 10));
            assert!(
                clock
                    .tick(after(start, 1000 * (i + 1)), |_| false)
                    .is_some()
            );
        }
        clock.report(report(0, clock.epoch(), Held::Unknown, 10));
        assert_eq!(clock.tick(after(start, 60_000), |_| false), None);
        assert!(clock.tick(after(start, 60_001), |_| true).is_some());
    }

    #[test]
    fn a_partition_without_events_holds_the_watermark_and_an_idle_one_does_not() {
        let start = Instant::now();
        let mut clock = clock(2, start);
        clock.report(report(0, START.epoch, Held::At(EventTime(50)), 10));
        clock.report(report(1, START.epoch, Held::Unknown, 0));
        clock.tick(after(start, 1000), |_| true).expect("due");
        assert_eq!(clock.watermark(), None);
        clock.report(report(0, clock.epoch(), Held::At(EventTime(50)), 10));
        clock.report(report(1, clock.epoch(), Held::Free, 0));
        clock.tick(after(start, 2000), |_| true).expect("due");
        assert_eq!(clock.watermark(), Some(EventTime(50)));
    }

    #[test]
    fn a_drain_waits_for_every_worker_and_is_announced_once() {
        let start = Instant::now();
        let mut clock = clock(2, start);
        clock.report(Report {
            stop: true,
            ..report(0, START.epoch, Held::Free, 0)
        });
        assert_eq!(clock.tick(start, |_| false), None);
        clock.report(report(1, START.epoch, Held::Free, 0));
        assert!(matches!(clock.tick(start, |_| false), Some(Tick::Drain(_))));
        assert_eq!(clock.tick(start, |_| false), None);
        assert_eq!(clock.closed_with(START.epoch), Some(None));
        assert_eq!(clock.closed_with(START.epoch.next()), None);
    }

    proptest! {
        #[test]
        fn neither_coordinate_ever_goes_back(
            steps in prop::collection::vec((0u32..3, 0u8..3, -1000i64..1000, 0u64..5, 0u64..3000, any::<bool>()), 1..200)
        ) {
            let start = Instant::now();
            let mut clock = clock(3, start);
            let (mut now, mut last) = (start, START);
            for (worker, held, time, offsets, millis, is_durable) in steps {
                now += Duration::from_millis(millis);
                let held = match held { 0 => Held::Unknown, 1 => Held::At(EventTime(time)), _ => Held::Free };
                clock.report(report(worker, clock.epoch(), held, offsets));
                if let Some(tick) = clock.tick(now, |_| is_durable) {
                    prop_assert!(tick.time().epoch == last.epoch.next() && tick.time().watermark >= last.watermark);
                    last = tick.time();
                }
            }
        }
    }
}
