//! Event time, epochs, and the one timestamp of the dataflow.

use std::fmt;

use serde::{Deserialize, Serialize};
use timely::order::PartialOrder;
use timely::progress::PathSummary;
use timely::progress::timestamp::{Refines, Timestamp};

/// Microseconds in a second.
pub const MICROS_PER_SECOND: i64 = 1_000_000;

/// A point in event time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventTime(pub i64);

impl EventTime {
    /// Our own clock's time.
    pub fn now() -> EventTime {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        EventTime(since_1970.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This time less `micros`, saturating.
    pub fn minus(self, micros: i64) -> EventTime {
        EventTime(self.0.saturating_sub(micros))
    }

    /// This time plus `micros`, saturating.
    pub fn plus(self, micros: i64) -> EventTime {
        EventTime(self.0.saturating_add(micros))
    }

    /// As the watermark coordinate of [`IngestTime`]: order-preserving, `i64::MIN` becomes 0.
    pub fn to_coordinate(self) -> u64 {
        (self.0 as u64) ^ (1 << 63)
    }

    /// The inverse of [`EventTime::to_coordinate`].
    pub fn from_coordinate(coordinate: u64) -> EventTime {
        EventTime((coordinate ^ (1 << 63)) as i64)
    }
}

impl fmt::Display for EventTime {
    /// RFC 3339 with microseconds; times outside of chrono's range are printed as microseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match chrono::DateTime::from_timestamp_micros(self.0) {
            Some(time) => write!(f, "{}", time.format("%Y-%m-%dT%H:%M:%S%.6fZ")),
            None => write!(f, "{} us", self.0),
        }
    }
}

/// The commit unit: `generation << 32 | n`. Grows over the whole life of a table, never used twice.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The first epoch of a generation.
    pub fn first_of(generation: u32) -> Epoch {
        Epoch(u64::from(generation) << 32)
    }

    /// The generation, one life of the job, that this epoch belongs to.
    pub fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The position within the generation.
    pub fn number(self) -> u32 {
        self.0 as u32
    }

    /// The epoch after this one. A generation has 2^32 of them: 136 years at one a second.
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.generation(), self.number())
    }
}

/// The timestamp of the dataflow: commit unit and event time, in the product order.
///
/// Both coordinates must be less or equal. A tuple would be lexicographic, and timely's `Product` does
/// not refine `()`. The clock only ever announces times that grow in both coordinates, so the times in
/// use form a chain and the frontier has one element.
///
/// ```
/// use strandline_operators::time::{Epoch, IngestTime};
/// use timely::order::PartialOrder;
/// let a = IngestTime { epoch: Epoch(1), watermark: 9 };
/// let b = IngestTime { epoch: Epoch(2), watermark: 3 };
/// assert!(!a.less_equal(&b) && !b.less_equal(&a));
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct IngestTime {
    /// The commit unit.
    pub epoch: Epoch,
    /// The watermark, as [`EventTime::to_coordinate`] gives it.
    pub watermark: u64,
}

impl IngestTime {
    /// The last time of an epoch: the epoch is closed when no frontier element is less or equal to it.
    pub fn end_of(epoch: Epoch) -> IngestTime {
        IngestTime {
            epoch,
            watermark: u64::MAX,
        }
    }
}

impl PartialOrder for IngestTime {
    fn less_equal(&self, other: &Self) -> bool {
        self.epoch <= other.epoch && self.watermark <= other.watermark
    }
}

/// The only path summary: no operator moves a timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unmoved;

impl PartialOrder for Unmoved {
    fn less_equal(&self, _other: &Self) -> bool {
        true
    }
}

impl PathSummary<IngestTime> for Unmoved {
    fn results_in(&self, source: &IngestTime) -> Option<IngestTime> {
        Some(*source)
    }

    fn followed_by(&self, _other: &Self) -> Option<Self> {
        Some(Unmoved)
    }
}

impl Timestamp for IngestTime {
    type Summary = Unmoved;

    fn minimum() -> Self {
        IngestTime::default()
    }
}

impl Refines<()> for IngestTime {
    fn to_inner(_other: ()) -> Self {
        Self::minimum()
    }

    fn to_outer(self) {}

    fn summarize(_path: Unmoved) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_watermark_coordinate_keeps_the_order_of_event_times(a: i64, b: i64) {
            let (x, y) = (EventTime(a), EventTime(b));
            prop_assert_eq!(x.cmp(&y), x.to_coordinate().cmp(&y.to_coordinate()));
            prop_assert_eq!(EventTime::from_coordinate(x.to_coordinate()), x);
        }

        #[test]
        fn the_partial_order_agrees_with_the_total_order(a: (u64, u64), b: (u64, u64)) {
            let a = IngestTime { epoch: Epoch(a.0), watermark: a.1 };
            let b = IngestTime { epoch: Epoch(b.0), watermark: b.1 };
            if a.less_equal(&b) {
                prop_assert!(a <= b);
            }
        }
    }
}
