//! What partitions themselves show: an open transaction, a clock that is ahead, nothing to read.

use std::collections::BTreeMap;

use super::super::facts::PartitionFacts;
use super::{Diagnosis, Found, Look, STALL_AFTER, Severity};

/// A partition whose events are further ahead of our clock than this has a clock that is wrong.
const AHEAD_MICROS: i64 = 60 * 1_000_000;
/// Partitions that one finding names.
const NAMED: usize = 3;

/// A partition that was at its end although more follows it.
#[derive(Debug)]
pub(super) struct Behind {
    /// The offset to be read next.
    next: Option<i64>,
    /// For how long it was at its end.
    at_end_ms: Option<u64>,
    /// Whether that was taken for an open transaction.
    is_held: bool,
}

impl Diagnosis {
    pub(super) fn partitions(&mut self, look: &Look<'_>, found: &mut Vec<Found>) {
        self.transactions(look, found);
        ahead(look, found);
        nothing_yet(look, found);
    }

    /// Records that follow the end of what can be read. If the worker has not looked there twice they may have just
    /// come.
    fn transactions(&mut self, look: &Look<'_>, found: &mut Vec<Found>) {
        let stall_ms = STALL_AFTER.as_millis() as u64;
        let behind = look
            .partitions
            .iter()
            .filter(|p| p.at_end_ms.is_some_and(|ms| ms >= stall_ms) && p.end > p.next);
        let behind: BTreeMap<_, _> = behind
            .map(|p| ((p.topic.clone(), p.partition), p))
            .collect();
        let held: Vec<&PartitionFacts> = behind
            .iter()
            .filter(|(source, p)| {
                let before = self.behind.get(*source);
                before.is_some_and(|before| {
                    // The same facts again say what they said.
                    before.next == p.next
                        && (before.at_end_ms < p.at_end_ms
                            || before.at_end_ms == p.at_end_ms && before.is_held)
                })
            })
            .map(|(_, p)| *p)
            .collect();
        if !held.is_empty() {
            let records: i64 = held.iter().filter_map(|p| Some(p.end? - p.next?)).sum();
            found.push(Found {
                kind: "open_transaction",
                severity: Severity::Warning,
                message: format!("{records} records of {} cannot be read yet: a producer's transaction is open there, and holds the end back", names(&held)),
                hint: "find the producer with `kafka-transactions.sh find-hanging`; the broker ends a transaction after its producer's `transaction.timeout.ms`".to_owned(),
            });
        }
        let seen = behind.iter().map(|(source, p)| {
            let seen = Behind {
                next: p.next,
                at_end_ms: p.at_end_ms,
                is_held: held.iter().any(|other| std::ptr::eq(*other, *p)),
            };
            (source.clone(), seen)
        });
        self.behind = seen.collect();
    }
}

/// Some of these partitions, and how many more there are.
fn names(of: &[&PartitionFacts]) -> String {
    let named = of.iter().take(NAMED);
    let mut text = named
        .map(|p| format!("{}[{}]", p.topic, p.partition))
        .collect::<Vec<_>>()
        .join(", ");
    if of.len() > NAMED {
        text.push_str(&format!(" and {} more", of.len() - NAMED));
    }
    text
}

fn ahead(look: &Look<'_>, found: &mut Vec<Found>) {
    let ahead: Vec<&PartitionFacts> = look
        .partitions
        .iter()
        .filter(|p| {
            p.watermark
                .is_some_and(|w| w + look.out_of_orderness_micros > look.wall_clock + AHEAD_MICROS)
        })
        .collect();
    if !ahead.is_empty() {
        let by = ahead.iter().filter_map(|p| p.watermark).max().unwrap_or(0)
            + look.out_of_orderness_micros
            - look.wall_clock;
        found.push(Found {
            kind: "partition_ahead",
            severity: Severity::Warning,
            message: format!("events of {} are up to {} s ahead of our clock: what is on time there counts as late", names(&ahead), by / 1_000_000),
            hint: "correct the producer's clock; `watermark.max_future_skew` says how far ahead an event may be".to_owned(),
        });
    }
}

fn nothing_yet(look: &Look<'_>, found: &mut Vec<Found>) {
    let known = look.partitions.iter().filter(|p| p.worker.is_some());
    let has_nothing = look.consumed == 0
        && look.read == 0
        && known.clone().all(|p| {
            p.next.is_some() && p.end.is_some() && p.at_end_ms.is_some() && p.end == p.next
        });
    if has_nothing && known.clone().next().is_some() {
        let at_the_end = known.clone().any(|p| p.end > Some(0));
        found.push(if at_the_end {
            Found {
                kind: "nothing_new",
                severity: Severity::Note,
                message: "no record has come in yet: reading started at the end of the topic".to_owned(),
                hint: if look.is_terminal {
                    "this is what `starting_offsets` says; with `earliest` the next run reads what is there"
                } else {
                    "this is what `starting_offsets` said at the first start; what is there is read after `strandline stop JOB`, `strandline offsets reset JOB --to earliest --execute` and a start"
                }
                .to_owned(),
            }
        } else {
            Found {
                kind: "topic_empty",
                severity: Severity::Note,
                message: "there is nothing to read: every partition is empty".to_owned(),
                hint: "see that the producer writes to this topic of this cluster".to_owned(),
            }
        });
    }
}
