//! What one worker knows of the partitions it reads: positions, watermarks, idleness.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::clock::Held;
use crate::io::AssignedPartition;
use crate::job::WatermarkPolicy;
use crate::record::TopicPartition;
use crate::watermark::PartitionWatermark;

/// One partition, as its worker sees it.
#[derive(Debug)]
pub struct PartitionView {
    /// The partition.
    pub source: TopicPartition,
    /// The offset to be read next.
    pub next: i64,
    /// Its watermark.
    pub watermark: PartitionWatermark,
    end_at_start: i64,
    at_end_since: Option<Instant>,
    end_seen: bool,
    /// The offset to be decoded next.
    decoded: i64,
}

impl PartitionView {
    /// How long it has been read up to its end; `None` when there is more to read.
    pub fn at_end_for(&self, now: Instant) -> Option<Duration> {
        self.at_end_since
            .map(|since| now.saturating_duration_since(since))
    }
}

/// The partitions of one worker.
#[derive(Debug)]
pub struct WorkerPartitions {
    views: Vec<PartitionView>,
    places: HashMap<TopicPartition, usize>,
    policy: WatermarkPolicy,
}

impl WorkerPartitions {
    /// No partitions yet.
    pub fn new(policy: WatermarkPolicy) -> WorkerPartitions {
        WorkerPartitions {
            views: Vec::new(),
            places: HashMap::new(),
            policy,
        }
    }

    /// Adds a partition that this worker reads from now on.
    pub fn assign(&mut self, assigned: &AssignedPartition) {
        self.places
            .insert(assigned.source.clone(), self.views.len());
        self.views.push(PartitionView {
            source: assigned.source.clone(),
            next: assigned.start,
            watermark: PartitionWatermark::new(&self.policy, assigned.max_event_time),
            end_at_start: assigned.end_at_start,
            at_end_since: None,
            end_seen: assigned.start >= assigned.end_at_start,
            decoded: assigned.start,
        });
    }

    /// The partitions, in the order of their assignment.
    pub fn views(&self) -> &[PartitionView] {
        &self.views
    }

    /// The partition `source`, if it is this worker's.
    pub fn view_mut(&mut self, source: &TopicPartition) -> Option<&mut PartitionView> {
        self.places.get(source).map(|&place| &mut self.views[place])
    }

    /// Offsets before `next` have been read; returns the offset that was next before.
    pub fn read_up_to(&mut self, source: &TopicPartition, next: i64) -> Option<i64> {
        let view = self.view_mut(source)?;
        let before = view.next;
        view.next = next.max(before);
        if next > before {
            view.at_end_since = None;
        }
        view.end_seen |= view.next >= view.end_at_start;
        Some(before)
    }

    /// Offsets before `next` have been decoded: their event times are in the partition's watermark.
    pub fn decoded_up_to(&mut self, source: &TopicPartition, next: i64) {
        if let Some(view) = self.view_mut(source) {
            view.decoded = view.decoded.max(next);
        }
    }

    /// The partition's end has been reached, for now.
    pub fn reached_end(&mut self, source: &TopicPartition, now: Instant) {
        if let Some(view) = self.view_mut(source) {
            view.end_seen = true;
            view.at_end_since.get_or_insert(now);
        }
    }

    /// What these partitions allow the watermark to be.
    pub fn held(&self, now: Instant) -> Held {
        self.views
            .iter()
            .filter(|v| !self.is_idle(v, now))
            .map(|v| v.watermark.watermark().map_or(Held::Unknown, Held::At))
            .min()
            .unwrap_or(Held::Free)
    }

    /// Whether a partition has been at its end for so long that it no longer holds the watermark. Never while
    /// records of it wait to be decoded, be it for a schema.
    pub fn is_idle(&self, view: &PartitionView, now: Instant) -> bool {
        let rests = |rest| rest >= self.policy.idle_timeout;
        view.decoded >= view.next && view.at_end_for(now).is_some_and(rests)
    }

    /// Whether every partition has reached the end it had when the job started.
    pub fn caught_up(&self) -> bool {
        self.views.iter().all(|v| v.end_seen)
    }

    /// Whether much can be read now of a partition: at least `least` offsets before its end or that at the start. What
    /// lies between its position and its end once that has been reached cannot be read yet: transactions are open there.
    pub fn is_behind(&self, ends: &[(TopicPartition, i64)], least: i64) -> bool {
        let ends: HashMap<&TopicPartition, i64> = ends.iter().map(|(s, end)| (s, *end)).collect();
        self.views.iter().any(|view| {
            let end = ends.get(&view.source).copied().unwrap_or_default();
            view.at_end_since.is_none() && end.max(view.end_at_start) - view.next >= least
        })
    }

    /// Offsets between the positions and these ends.
    pub fn lag(&self, ends: &[(TopicPartition, i64)]) -> u64 {
        let behind = |(source, end): &(TopicPartition, i64)| {
            let view = self.places.get(source).map(|&place| &self.views[place])?;
            u64::try_from(end - view.next).ok()
        };
        ends.iter().filter_map(behind).sum()
    }

    /// The next offset of every partition.
    pub fn positions(&self) -> Vec<(TopicPartition, i64)> {
        self.views
            .iter()
            .map(|v| (v.source.clone(), v.next))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Job;
    use crate::time::EventTime;

    const NOW: EventTime = EventTime(1_800_000_000_000_000);

    fn partitions(ends: &[i64]) -> WorkerPartitions {
        let mut partitions = WorkerPartitions::new(Job::BRONZE.watermark);
        for (i, &end_at_start) in ends.iter().enumerate() {
            let source = TopicPartition::new("t", i as i32);
            partitions.assign(&AssignedPartition {
                source,
                start: 0,
                end_at_start,
                max_event_time: None,
            });
        }
        partitions
    }

    #[test]
    fn an_idle_partition_does_not_hold_the_watermark() {
        let start = Instant::now();
        let mut partitions = partitions(&[10, 10]);
        let (first, second) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        let view = partitions.view_mut(&first).expect("assigned");
        view.watermark
            .accept(NOW, Some(NOW), NOW)
            .expect("plausible");
        assert_eq!(partitions.held(start), Held::Unknown);
        partitions.reached_end(&second, start);
        assert_eq!(
            partitions.held(start + Duration::from_secs(29)),
            Held::Unknown
        );
        let at = Held::At(NOW.minus(300_000_000));
        assert_eq!(partitions.held(start + Duration::from_secs(30)), at);
        partitions.reached_end(&first, start);
        assert_eq!(partitions.held(start + Duration::from_secs(30)), Held::Free);
        partitions.read_up_to(&second, 1);
        assert_eq!(
            partitions.held(start + Duration::from_secs(30)),
            Held::Unknown,
            "it is back"
        );
    }

    #[test]
    fn a_partition_is_not_idle_while_records_of_it_wait_for_their_schema() {
        let start = Instant::now();
        let later = start + Duration::from_secs(3600);
        let mut partitions = partitions(&[10]);
        let source = TopicPartition::new("t", 0);
        partitions.read_up_to(&source, 10);
        partitions.reached_end(&source, start);
        assert_eq!(partitions.held(later), Held::Unknown);
        partitions.decoded_up_to(&source, 9);
        assert_eq!(partitions.held(later), Held::Unknown);
        partitions.decoded_up_to(&source, 10);
        assert_eq!(partitions.held(later), Held::Free);
    }

    #[test]
    fn it_is_behind_where_more_can_be_read_now() {
        let mut partitions = partitions(&[2]);
        let source = TopicPartition::new("t", 0);
        let ends = |end| [(source.clone(), end)];
        assert!(
            partitions.is_behind(&[], 2),
            "the end at the start is ahead"
        );
        assert!(!partitions.is_behind(&[], 3), "not by much");
        partitions.read_up_to(&source, 2);
        assert!(!partitions.is_behind(&[], 1));
        assert!(!partitions.is_behind(&ends(2), 1));
        assert!(partitions.is_behind(&ends(5), 3));
        assert!(!partitions.is_behind(&ends(5), 4), "a marker is not much");
        partitions.reached_end(&source, Instant::now());
        assert!(!partitions.is_behind(&ends(5), 1), "a transaction is open");
        partitions.read_up_to(&source, 3);
        assert!(partitions.is_behind(&ends(5), 1), "it has ended");
    }

    #[test]
    fn caught_up_means_every_partition_reached_the_end_it_had_at_the_start() {
        let mut partitions = partitions(&[0, 2, 5]);
        let now = Instant::now();
        assert!(!partitions.caught_up());
        assert_eq!(
            partitions.read_up_to(&TopicPartition::new("t", 1), 2),
            Some(0)
        );
        assert!(!partitions.caught_up());
        partitions.reached_end(&TopicPartition::new("t", 2), now);
        assert!(partitions.caught_up());
    }
}
