//! Freshness and rates over time, for charts: a point every [`POINT_INTERVAL`], [`POINTS`] of them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strandline_operators::observed::histogram::Distribution;

use super::job::Freshness;

/// Time between two points.
pub(crate) const POINT_INTERVAL: Duration = Duration::from_secs(2);
/// Points kept: half an hour.
const POINTS: usize = 900;
/// Points that a summary of the last minute covers.
const MINUTE: usize = 30;

/// One point of the charts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// Seconds since 1970.
    pub t: f64,
    /// Records read in a second.
    pub read: f64,
    /// Rows landed in a second.
    pub landed: f64,
    /// Records behind the ends.
    pub lag: u64,
    /// Median latency of the rows that became durable since the last point, in milliseconds.
    pub p50_ms: Option<f64>,
    /// The 99th percentile.
    pub p99_ms: Option<f64>,
}

#[derive(Debug, Default)]
pub(crate) struct History {
    points: VecDeque<Point>,
    /// Latencies up to each of the last points.
    minute: VecDeque<Distribution>,
    last: Option<Instant>,
}

impl History {
    /// Takes a point, if it is time. Gives the last point, be it new or not: who sees only some of the
    /// publications misses none of the points, as long as it looks once in a [`POINT_INTERVAL`].
    pub(crate) fn look(
        &mut self,
        now: Instant,
        latency: &Distribution,
        point: Point,
    ) -> Option<Point> {
        let is_early = |last: Instant| now.duration_since(last) < POINT_INTERVAL;
        if self.last.is_some_and(is_early) {
            return self.points.back().copied();
        }
        self.last = Some(now);
        let before = self.minute.back().cloned().unwrap_or_default();
        let since = latency.since(&before);
        let point = Point {
            p50_ms: since.quantile(0.5),
            p99_ms: since.quantile(0.99),
            ..point
        };
        push(&mut self.points, point, POINTS);
        push(&mut self.minute, latency.clone(), MINUTE + 1);
        Some(point)
    }

    /// The last minute.
    pub(crate) fn freshness(&self, latency: &Distribution) -> Freshness {
        let before = match self.minute.front() {
            Some(oldest) if self.minute.len() > MINUTE => oldest.clone(),
            _ => Distribution::default(),
        };
        let minute = latency.since(&before);
        Freshness {
            p50_ms: minute.quantile(0.5),
            p99_ms: minute.quantile(0.99),
            rows: minute.count(),
        }
    }

    /// All points, the oldest first.
    pub(crate) fn points(&self) -> Vec<Point> {
        self.points.iter().copied().collect()
    }
}

fn push<T>(queue: &mut VecDeque<T>, value: T, room: usize) {
    if queue.len() == room {
        queue.pop_front();
    }
    queue.push_back(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_forgets_what_is_older_than_a_minute() {
        let (start, mut history) = (Instant::now(), History::default());
        let mut latency = Distribution {
            counts: vec![(200, 1)],
            sum_ms: 1,
        };
        for i in 0..POINTS as u32 + 40 {
            let point = |t: u32| Point {
                t: f64::from(t),
                ..Point::default()
            };
            history.look(start + POINT_INTERVAL * i, &latency, point(2 * i));
            let at = start + POINT_INTERVAL * i + Duration::from_secs(1);
            let shown = history.look(at, &latency, point(2 * i + 1));
            let shown = shown.map(|point| point.t);
            assert_eq!(shown, Some(f64::from(2 * i)), "a look that is early");
        }
        assert_eq!(history.points().len(), POINTS);
        assert_eq!(history.freshness(&latency).rows, 0);
        latency.add(&Distribution {
            counts: vec![(10, 5)],
            sum_ms: 50,
        });
        let freshness = history.freshness(&latency);
        assert_eq!(freshness.rows, 5);
        assert!(
            freshness
                .p99_ms
                .is_some_and(|ms| (10.0..=11.0).contains(&ms))
        );
    }
}
