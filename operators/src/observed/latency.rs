//! How old the records of open epochs were when they were routed, until their epoch is durable.
//!
//! A record's latency is known only when its epoch is committed, and to keep every timestamp until then
//! would cost memory. So ages are counted in the buckets of a histogram, relative to the start of a short
//! slot of time; the commit adds the time since then. A sum is never less exact, in per cent, than its parts.

use std::collections::BTreeMap;

use super::histogram::{Histogram, bucket_of, middle_of};
use crate::time::{Epoch, EventTime};

/// A slot of time that shares one start. What its records are off by is far below the latency of a commit.
const SLOT_MICROS: i64 = 5_000;
/// Slots of one epoch, ten seconds of them; later records are counted in the last one.
const SLOTS_MAX: usize = 2_000;

/// Ages by bucket, relative to one moment.
#[derive(Debug)]
struct Slot {
    start: EventTime,
    /// Unordered; records that are read together are of about the same age, so there are few.
    ages: Vec<(u16, u64)>,
}

impl Slot {
    fn add(&mut self, timestamp: i64, count: u64) {
        // A timestamp after the slot's start is off by less than the slot, or its clock is ahead.
        let age = (self.start.0.saturating_sub(timestamp)).max(0) / 1_000;
        let bucket = bucket_of(age as u64) as u16;
        match self.ages.iter_mut().find(|(known, _)| *known == bucket) {
            Some((_, known)) => *known += count,
            None => self.ages.push((bucket, count)),
        }
    }
}

/// The records of one worker that have been routed and are not durable. No timely in sight.
#[derive(Debug, Default)]
pub struct PendingLatency {
    epochs: BTreeMap<Epoch, Vec<Slot>>,
}

impl PendingLatency {
    /// Records with these broker timestamps, in microseconds, land with `epoch`.
    pub fn routed(
        &mut self,
        epoch: Epoch,
        now: EventTime,
        timestamps: impl IntoIterator<Item = i64>,
    ) {
        let slots = self.epochs.entry(epoch).or_default();
        let is_over = slots
            .last()
            .is_none_or(|slot| now.0.abs_diff(slot.start.0) >= SLOT_MICROS as u64);
        if is_over && slots.len() < SLOTS_MAX {
            slots.push(Slot {
                start: now,
                ages: Vec::new(),
            });
        }
        let Some(slot) = slots.last_mut() else {
            return;
        };
        // Neighbours have nearly always the same timestamp: one look for all of them.
        let mut same: Option<(i64, u64)> = None;
        for timestamp in timestamps {
            match &mut same {
                Some((last, count)) if *last == timestamp => *count += 1,
                _ => {
                    if let Some((last, count)) = same.replace((timestamp, 1)) {
                        slot.add(last, count);
                    }
                }
            }
        }
        if let Some((last, count)) = same {
            slot.add(last, count);
        }
    }

    /// Every epoch up to this one is durable since `at`.
    pub fn durable(&mut self, epoch: Epoch, at: EventTime, latency: &Histogram) {
        while let Some(oldest) = self.epochs.first_entry() {
            if *oldest.key() > epoch {
                return;
            }
            for slot in oldest.remove() {
                let since = at.0.saturating_sub(slot.start.0).max(0) as u64 / 1_000;
                for (bucket, count) in slot.ages {
                    latency.add(middle_of(usize::from(bucket)) + since, count);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: EventTime = EventTime(1_800_000_000_000_000);

    proptest! {
        #[test]
        fn latencies_equal_those_of_a_naive_model_within_a_few_per_cent(
            records in prop::collection::vec((0i64..600_000, 0i64..900), 1..200),
            wait_ms in 100i64..5_000,
        ) {
            let mut sorted = records.clone();
            sorted.sort_by_key(|&(_, routed)| routed);
            let mut pending = PendingLatency::default();
            let (latency, mut exact) = (Histogram::default(), Vec::new());
            let durable = NOW.plus((1_000 + wait_ms) * 1_000);
            for (age, routed) in sorted {
                let now = NOW.plus(routed * 1_000);
                let timestamp = now.0 - age * 1_000;
                pending.routed(Epoch(1), now, [timestamp]);
                exact.push((durable.0 - timestamp) as f64 / 1_000.0);
            }
            pending.durable(Epoch(1), durable, &latency);
            let read = latency.read();
            prop_assert_eq!(read.count(), exact.len() as u64);
            exact.sort_by(f64::total_cmp);
            for (q, rank) in [(0.5, exact.len().div_ceil(2)), (1.0, exact.len())] {
                let (found, exact) = (read.quantile(q).expect("some"), exact[rank - 1]);
                // Two buckets, and a slot.
                prop_assert!((found - exact).abs() <= exact * 0.10 + 6.0, "{found} ms, exactly {exact} ms");
            }
        }
    }

    #[test]
    fn only_what_is_durable_is_counted_and_only_once() {
        let (mut pending, latency) = (PendingLatency::default(), Histogram::default());
        pending.routed(Epoch(1), NOW, [NOW.0, NOW.0, NOW.0 - 2_000]);
        pending.routed(Epoch(2), NOW, [NOW.0]);
        pending.durable(Epoch(1), NOW.plus(500_000), &latency);
        assert_eq!(latency.read().count(), 3);
        pending.durable(Epoch(1), NOW.plus(900_000), &latency);
        assert_eq!(latency.read().count(), 3);
        pending.durable(Epoch(2), NOW.plus(900_000), &latency);
        assert_eq!(latency.read().count(), 4);
    }

    #[test]
    fn an_epoch_that_stays_open_takes_bounded_memory() {
        let mut pending = PendingLatency::default();
        for i in 0..10 * SLOTS_MAX as i64 {
            let now = NOW.plus(i * SLOT_MICROS);
            pending.routed(Epoch(1), now, [now.0]);
        }
        assert_eq!(pending.epochs[&Epoch(1)].len(), SLOTS_MAX);
        let latency = Histogram::default();
        pending.durable(Epoch(1), NOW.plus(1_000_000_000), &latency);
        assert_eq!(latency.read().count(), 10 * SLOTS_MAX as u64);
    }
}
