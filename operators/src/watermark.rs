//! The watermark of one partition, and the verdict of lateness that follows from it.
//!
//! Decided from the partition's data alone, in offset order: the same records give the same flags on any
//! number of workers and on every replay. The watermark is the largest event time accepted so far less
//! the out-of-orderness; an event accepted moves it, whether it lands, is a duplicate, or is too late.

use crate::job::{LatenessPolicy, TooLate, WatermarkPolicy};
use crate::time::EventTime;

/// The earliest event time accepted. Nothing that Kafka carries happened before 1970; a clock that says
/// so is broken, and its records would each open a table partition of their own.
pub const EARLIEST_EVENT_TIME: EventTime = EventTime(0);

/// The watermark of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionWatermark {
    max_event_time: Option<EventTime>,
    out_of_orderness_micros: i64,
    max_future_skew_micros: i64,
}

/// Why an event time is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implausible {
    /// Before [`EARLIEST_EVENT_TIME`].
    Past,
    /// Further ahead than `max_future_skew` of this limit's origin; carries the latest time accepted.
    Future(EventTime),
}

impl PartitionWatermark {
    /// Starts from the largest event time accepted before, as the table's progress holds it.
    pub fn new(policy: &WatermarkPolicy, max_event_time: Option<EventTime>) -> PartitionWatermark {
        PartitionWatermark {
            max_event_time,
            out_of_orderness_micros: micros(policy.out_of_orderness),
            max_future_skew_micros: micros(policy.max_future_skew),
        }
    }

    /// The watermark now; `None` before the first event.
    pub fn watermark(&self) -> Option<EventTime> {
        self.max_event_time
            .map(|t| t.minus(self.out_of_orderness_micros))
    }

    /// The largest event time accepted.
    pub fn max_event_time(&self) -> Option<EventTime> {
        self.max_event_time
    }

    /// Judges the plausibility of an event time and, if it is accepted, moves the watermark. Returns the
    /// watermark against which the event is late or not: the one before the event.
    ///
    /// An event may be at most `max_future_skew` ahead of the record's timestamp, so that one bad clock
    /// cannot move the watermark. With producers' timestamps (`CreateTime`) both are the producer's word,
    /// so the event is held against our clock at reading too.
    ///
    /// # Errors
    /// [`Implausible`] when the event time is not accepted; the watermark stays.
    pub fn accept(
        &mut self,
        event_time: EventTime,
        record_timestamp: Option<EventTime>,
        received_at: EventTime,
    ) -> Result<Option<EventTime>, Implausible> {
        if event_time < EARLIEST_EVENT_TIME {
            return Err(Implausible::Past);
        }
        let origin = record_timestamp.map_or(received_at, |t| t.min(received_at));
        let latest = origin.plus(self.max_future_skew_micros);
        if event_time > latest {
            return Err(Implausible::Future(latest));
        }
        let before = self.watermark();
        self.max_event_time = self.max_event_time.max(Some(event_time));
        Ok(before)
    }
}

/// What lateness says of an event that is no duplicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lateness {
    /// Not behind the watermark.
    OnTime,
    /// Behind it: lands with `is_late_arrival`.
    Late,
    /// Behind it by more than the allowed lateness, and it does not land.
    TooLate,
}

/// Decides lateness. Pure: the same arguments give the same verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatenessJudge {
    allowed_micros: i64,
    too_late: TooLate,
}

impl LatenessJudge {
    /// A judge of this policy.
    pub fn new(policy: &LatenessPolicy) -> LatenessJudge {
        LatenessJudge {
            allowed_micros: micros(policy.allowed),
            too_late: policy.too_late,
        }
    }

    /// The verdict on an event, against the watermark from before it.
    pub fn judge(&self, event_time: EventTime, watermark: Option<EventTime>) -> Lateness {
        match watermark {
            Some(w)
                if event_time < w.minus(self.allowed_micros) && self.too_late != TooLate::Land =>
            {
                Lateness::TooLate
            }
            Some(w) if event_time < w => Lateness::Late,
            _ => Lateness::OnTime,
        }
    }

    /// What becomes of the too late.
    pub fn too_late(&self) -> TooLate {
        self.too_late
    }
}

fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Job;
    use proptest::prelude::*;

    const MINUTE: i64 = 60_000_000;
    const NOW: EventTime = EventTime(1_800_000_000_000_000);

    fn partition() -> PartitionWatermark {
        PartitionWatermark::new(&Job::BRONZE.watermark, None)
    }

    #[test]
    fn one_bad_clock_cannot_move_the_watermark() {
        let mut partition = partition();
        let event = NOW.plus(61 * MINUTE);
        assert!(matches!(
            partition.accept(event, Some(NOW), NOW),
            Err(Implausible::Future(_))
        ));
        assert!(
            matches!(
                partition.accept(event, Some(event), NOW),
                Err(Implausible::Future(_))
            ),
            "CreateTime lies too"
        );
        assert_eq!(partition.watermark(), None);
        assert_eq!(
            partition.accept(EventTime(-1), Some(NOW), NOW),
            Err(Implausible::Past)
        );
    }

    #[test]
    fn the_first_event_is_never_late() {
        let mut partition = partition();
        assert_eq!(partition.accept(EventTime(0), Some(NOW), NOW), Ok(None));
        let judge = LatenessJudge::new(&Job::BRONZE.lateness);
        assert_eq!(judge.judge(EventTime(0), None), Lateness::OnTime);
    }

    proptest! {
        #[test]
        fn verdicts_equal_those_of_a_naive_model(minutes in prop::collection::vec(-200i64..200, 1..50)) {
            let mut partition = partition();
            let judge = LatenessJudge::new(&Job::BRONZE.lateness);
            let events: Vec<EventTime> = minutes.iter().map(|m| NOW.plus(m * MINUTE - 300 * MINUTE)).collect();
            for (i, &event) in events.iter().enumerate() {
                let naive = events[..i].iter().max().map(|m| m.0 - 5 * MINUTE);
                let watermark = partition.accept(event, Some(NOW), NOW).expect("plausible");
                prop_assert_eq!(watermark.map(|w| w.0), naive);
                let expected = match naive {
                    Some(w) if event.0 < w - 60 * MINUTE => Lateness::TooLate,
                    Some(w) if event.0 < w => Lateness::Late,
                    _ => Lateness::OnTime,
                };
                prop_assert_eq!(judge.judge(event, watermark), expected);
            }
        }
    }
}
