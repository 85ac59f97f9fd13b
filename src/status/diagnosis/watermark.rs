//! One partition holds the watermark back while others advance.

use std::time::Instant;

use super::super::facts::PartitionFacts;
use super::{Diagnosis, Found, Look, STALL_AFTER, Severity};

/// The partition that held the watermark at the last looks.
#[derive(Debug)]
pub(super) struct Holder {
    topic: String,
    partition: i32,
    watermark: Option<i64>,
    since: Instant,
    /// The largest watermark of the others then.
    others: Option<i64>,
}

impl Diagnosis {
    pub(super) fn watermark(&mut self, now: Instant, look: &Look<'_>, found: &mut Vec<Found>) {
        let Some(holder) = holder(look.partitions) else {
            self.holder = None;
            return;
        };
        let others = look
            .partitions
            .iter()
            .filter(|p| (&p.topic, p.partition) != (&holder.topic, holder.partition))
            .filter_map(|p| p.watermark)
            .max();
        let is_same = |known: &&Holder| {
            (&known.topic, known.partition, known.watermark)
                == (&holder.topic, holder.partition, holder.watermark)
        };
        let known = match self.holder.as_ref().filter(is_same) {
            Some(known) => known,
            None => self.holder.insert(Holder {
                topic: holder.topic.clone(),
                partition: holder.partition,
                watermark: holder.watermark,
                since: now,
                others,
            }),
        };
        let held = now.duration_since(known.since);
        if held < STALL_AFTER || others <= known.others {
            return;
        }
        let name = format!("{}[{}]", holder.topic, holder.partition);
        let why = match (holder.at_end_ms, holder.watermark) {
            (Some(ms), _) => format!(
                "it has been at its end for {} s and counts as idle after {} s",
                ms / 1_000,
                look.idle_timeout.as_secs()
            ),
            (None, None) => "it has had no event that was accepted yet".to_owned(),
            (None, Some(_)) => "its events do not advance, or nothing is read from it".to_owned(),
        };
        found.push(Found {
            kind: "watermark_held",
            severity: Severity::Warning,
            message: format!(
                "partition {name} has held the watermark back for {} s: {why}",
                held.as_secs()
            ),
            hint: format!("see what writes to {name}; `watermark.idle_timeout` says when a silent partition no longer counts"),
        });
    }
}

/// The partition whose watermark is the smallest of those that are not idle; one without a watermark counts
/// as the smallest. `None` when it is the only one, or all are idle.
pub(crate) fn holder(partitions: &[PartitionFacts]) -> Option<&PartitionFacts> {
    let active = partitions
        .iter()
        .filter(|p| !p.is_idle && p.worker.is_some());
    active.min_by_key(|p| p.watermark)
}
