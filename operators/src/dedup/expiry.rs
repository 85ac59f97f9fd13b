//! How long an id is remembered, and whether it is at all.
//!
//! Ids expire by the hour of event time, a bucket at a time: an id's bucket is the hour in which
//! max(event time, partition watermark when judged) + TTL lies, and a bucket is dropped when the committed
//! watermark has passed its end. So an id is remembered for the TTL and at most an hour longer.

use std::time::Duration;

use crate::job::TooLate;
use crate::time::{EventTime, MICROS_PER_SECOND};

const MICROS_PER_HOUR: i64 = 3600 * MICROS_PER_SECOND;

/// The first bucket that may hold ids: bucket 0 of a store holds its identity and marker.
pub const FIRST_BUCKET: u32 = 1;

/// What decides about remembering an id; part of the job's fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long an id is remembered, in event time.
    pub ttl: Duration,
    /// Behind the watermark by more than this is too late.
    pub allowed_lateness: Duration,
    /// What becomes of the too late: only if they land are their ids remembered.
    pub too_late: TooLate,
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// The hour since 1970 of a time, at least [`FIRST_BUCKET`].
fn hour(time: EventTime) -> u32 {
    // i64 microseconds end in hour 2,562,047,788, so the cast loses nothing.
    (time.0 / MICROS_PER_HOUR).max(i64::from(FIRST_BUCKET)) as u32
}

/// The first bucket that has not expired at this committed watermark.
pub fn first_live_bucket(watermark: EventTime) -> u32 {
    hour(watermark)
}

impl Retention {
    /// The bucket of an id: the hour in which it expires.
    pub fn bucket(&self, event_time: EventTime, watermark: Option<EventTime>) -> u32 {
        hour(
            event_time
                .max(watermark.unwrap_or(event_time))
                .plus(micros(self.ttl)),
        )
    }

    /// Whether a record is behind its partition's watermark by more than the allowed lateness.
    pub fn is_too_late(&self, event_time: EventTime, watermark: Option<EventTime>) -> bool {
        watermark.is_some_and(|w| event_time < w.minus(micros(self.allowed_lateness)))
    }

    /// Whether the id of a record is remembered, should it be new: it is when the record lands.
    pub fn remembers(&self, event_time: EventTime, watermark: Option<EventTime>) -> bool {
        self.too_late == TooLate::Land || !self.is_too_late(event_time, watermark)
    }

    /// The TTL in hours, rounded up, at least 1.
    pub fn ttl_hours(&self) -> u32 {
        let hours = self.ttl.as_secs().div_ceil(3600) + u64::from(self.ttl.subsec_nanos() > 0);
        u32::try_from(hours).unwrap_or(u32::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn retention(ttl_hours: u64, too_late: TooLate) -> Retention {
        Retention {
            ttl: Duration::from_secs(ttl_hours * 3600),
            allowed_lateness: Duration::from_secs(3600),
            too_late,
        }
    }

    #[test]
    fn only_ids_of_records_that_land_are_remembered() {
        let watermark = Some(EventTime(10 * MICROS_PER_HOUR));
        let on_the_line = EventTime(9 * MICROS_PER_HOUR);
        let dead_letters = retention(24, TooLate::DeadLetter);
        assert!(dead_letters.remembers(on_the_line, watermark));
        assert!(!dead_letters.remembers(on_the_line.minus(1), watermark));
        assert!(
            dead_letters.remembers(on_the_line.minus(1), None),
            "nothing is late before the first event"
        );
        assert!(retention(24, TooLate::Land).remembers(on_the_line.minus(1), watermark));
    }

    proptest! {
        #[test]
        fn an_id_outlives_its_ttl_by_at_most_an_hour(
            event_time in -MICROS_PER_HOUR..4_000_000_000_000_000i64,
            behind in proptest::option::of(0..100 * MICROS_PER_HOUR),
            ttl_hours in 1u64..100,
        ) {
            let watermark = behind.map(|b| EventTime(event_time - b));
            let bucket = retention(ttl_hours, TooLate::Drop).bucket(EventTime(event_time), watermark);
            let expiry = event_time + ttl_hours as i64 * MICROS_PER_HOUR;
            prop_assert!(first_live_bucket(EventTime(expiry - 1)) <= bucket, "dropped too early");
            prop_assert!(first_live_bucket(EventTime(expiry + MICROS_PER_HOUR)) > bucket, "kept too long");
        }

        #[test]
        fn no_time_has_bucket_zero(event_time: i64, watermark: Option<i64>, ttl_secs: u64) {
            let retention = Retention { ttl: Duration::from_secs(ttl_secs), ..retention(1, TooLate::Drop) };
            prop_assert!(retention.bucket(EventTime(event_time), watermark.map(EventTime)) >= FIRST_BUCKET);
            prop_assert!(first_live_bucket(EventTime(event_time)) >= FIRST_BUCKET);
        }
    }
}
