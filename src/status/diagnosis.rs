//! Why a job does not do what it should: each cause by its name, with the next step.
//!
//! A decision over what was seen at successive looks; time is given to it. A stall counts after
//! [`STALL_AFTER`], so that with the age of the facts it is named within 10 s.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::facts::{LetterFacts, PartitionFacts};

/// What has not moved for this long is stuck.
pub const STALL_AFTER: Duration = Duration::from_secs(5);
/// A partition whose events are further ahead of our clock than this has a clock that is wrong.
const AHEAD_MICROS: i64 = 60 * 1_000_000;
/// Dead letters are held against the records of this long.
const LETTERS_WINDOW: Duration = Duration::from_secs(60);
/// How often within it counts are kept.
const LETTERS_STEP: Duration = Duration::from_secs(1);
/// More dead letters than this of a hundred records are told of.
const LETTERS_PERCENT: u64 = 1;
/// Partitions that one finding names.
const NAMED: usize = 3;

/// How much it matters.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Records wait, and nothing moves.
    Stalled,
    /// It works, and not as it should.
    Warning,
    /// Worth knowing.
    Note,
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Its name, which does not change: `not_reading`, `commit_slow`, ...
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// What was found, in a sentence.
    pub message: String,
    /// The next step.
    pub hint: String,
    /// For how many seconds.
    pub seconds: u64,
}

/// What is seen at one look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look<'a> {
    /// Whether it should read.
    pub is_running: bool,
    /// Records read since the start.
    pub read: u64,
    /// Records consumed since the table first heard of the topics.
    pub consumed: u64,
    pub partitions: &'a [PartitionFacts],
    /// Why no source reads: `memory` or `commit`, if any does not.
    pub waits: Option<&'static str>,
    /// The epoch under way to the table, and for how long.
    pub committing: Option<(u64, Duration)>,
    pub commit_trouble: Option<&'a str>,
    pub complaint: Option<&'a str>,
    pub has_lost_brokers: bool,
    /// Records decoded since the start, those included that could not be.
    pub decoded: u64,
    /// Dead letters since the start, by kind.
    pub letters: BTreeMap<String, u64>,
    /// The last of each kind.
    pub samples: Vec<&'a LetterFacts>,
    /// Batches that wait for the schema registry.
    pub held_back: u64,
    /// Our clock, in microseconds since 1970.
    pub wall_clock: i64,
    pub out_of_orderness_micros: i64,
    pub idle_timeout: Duration,
    /// Where `kafka.bootstrap_servers` points.
    pub bootstrap_servers: &'a str,
}

/// The partition that held the watermark at the last looks.
#[derive(Debug)]
struct Holder {
    topic: String,
    partition: i32,
    watermark: Option<i64>,
    since: Instant,
    /// The largest watermark of the others then.
    others: Option<i64>,
}

/// What earlier looks have seen.
#[derive(Debug, Default)]
pub(crate) struct Diagnosis {
    read: Option<(u64, Instant)>,
    holder: Option<Holder>,
    /// Records decoded and dead letters by kind, of the last minute, the oldest first.
    counts: VecDeque<(Instant, u64, BTreeMap<String, u64>)>,
    held_back_since: Option<Instant>,
    since: BTreeMap<&'static str, Instant>,
}

struct Found {
    kind: &'static str,
    severity: Severity,
    message: String,
    hint: String,
}

impl Diagnosis {
    /// What is wrong now; the gravest first.
    pub(crate) fn look(&mut self, now: Instant, look: &Look<'_>) -> Vec<Finding> {
        let mut found = Vec::new();
        if look.is_running {
            self.reading(now, look, &mut found);
            self.watermark(now, look, &mut found);
            commits(look, &mut found);
            partitions(look, &mut found);
            self.dead_letters(now, look, &mut found);
            self.held_back(now, look, &mut found);
        } else {
            *self = Diagnosis::default();
        }
        self.since
            .retain(|kind, _| found.iter().any(|f| f.kind == *kind));
        found.sort_by_key(|f| f.severity);
        found
            .into_iter()
            .map(|f| Finding {
                kind: f.kind.to_owned(),
                severity: f.severity,
                message: f.message,
                hint: f.hint,
                seconds: now
                    .duration_since(*self.since.entry(f.kind).or_insert(now))
                    .as_secs(),
            })
            .collect()
    }

    /// More than one in a hundred of the last minute's records cannot land.
    fn dead_letters(&mut self, now: Instant, look: &Look<'_>, found: &mut Vec<Found>) {
        let is_new_run = self
            .counts
            .back()
            .is_some_and(|(_, n, _)| *n > look.decoded);
        if is_new_run || self.counts.is_empty() {
            // A run counts from nothing.
            self.counts.clear();
            self.counts.push_back((now, 0, BTreeMap::new()));
        }
        let Some((before, letters_before)) = self.counts.front().map(|(_, n, by)| (*n, by.clone()))
        else {
            return;
        };
        let newer: BTreeMap<&str, u64> = look
            .letters
            .iter()
            .map(|(kind, count)| {
                let before = letters_before.get(kind).copied().unwrap_or(0);
                (kind.as_str(), count.saturating_sub(before))
            })
            .collect();
        let (letters, decoded) = (newer.values().sum::<u64>(), look.decoded - before);
        if letters * 100 > decoded * LETTERS_PERCENT
            && let Some((&kind, &of_kind)) = newer.iter().max_by_key(|(_, count)| **count)
        {
            let sample = look.samples.iter().filter(|s| s.error_type == kind);
            let sample = sample.max_by_key(|sample| sample.at);
            let (cause, hint) = sample.map_or_else(Default::default, |sample| explain(sample));
            found.push(Found {
                kind: "dead_letters",
                severity: Severity::Warning,
                message: format!(
                    "{letters} of the last {decoded} records are dead letters, {of_kind} of them `{kind}`{cause}"
                ),
                hint,
            });
        }
        let is_due = |(last, ..): &(Instant, _, _)| now.duration_since(*last) >= LETTERS_STEP;
        if self.counts.back().is_none_or(is_due) {
            self.counts
                .push_back((now, look.decoded, look.letters.clone()));
        }
        // What stays at the front is the last that is a minute old.
        while self
            .counts
            .get(1)
            .is_some_and(|(at, ..)| now.duration_since(*at) >= LETTERS_WINDOW)
        {
            self.counts.pop_front();
        }
    }

    fn held_back(&mut self, now: Instant, look: &Look<'_>, found: &mut Vec<Found>) {
        if look.held_back == 0 {
            self.held_back_since = None;
            return;
        }
        let held = now.duration_since(*self.held_back_since.get_or_insert(now));
        if held >= STALL_AFTER {
            found.push(Found {
                kind: "waits_for_schema",
                severity: Severity::Stalled,
                message: format!(
                    "records wait for their schemas: the schema registry has not answered for {} s",
                    held.as_secs()
                ),
                hint: "see that the registry at `schema_registry.url` is up; the log says what it answers; the job goes on by itself, and nothing is lost meanwhile".to_owned(),
            });
        }
    }

    fn reading(&mut self, now: Instant, look: &Look<'_>, found: &mut Vec<Found>) {
        let readable: u64 = look
            .partitions
            .iter()
            .filter(|p| p.at_end_ms.is_none())
            .filter_map(|p| u64::try_from(p.end? - p.next?).ok())
            .sum();
        let reads = self.read.is_some_and(|(read, _)| read != look.read);
        let (_, since) = match self.read {
            Some((read, since)) if read == look.read && readable > 0 => (read, since),
            _ => *self.read.insert((look.read, now)),
        };
        let stuck = now.duration_since(since);
        if look.has_lost_brokers && !reads {
            let why = look.complaint.unwrap_or("it does not say why");
            found.push(Found {
                kind: "brokers_unreachable",
                severity: Severity::Stalled,
                message: format!("no Kafka broker can be reached: {why}"),
                hint: format!("see that the brokers at `{}` are up and can be reached from here, under the addresses that they advertise; the job goes on by itself", look.bootstrap_servers),
            });
        } else if stuck >= STALL_AFTER {
            found.push(match look.waits {
                Some("commit") => Found {
                    kind: "waits_for_commit",
                    severity: Severity::Stalled,
                    message: format!("nothing has been read for {} s: earlier epochs wait for their commit", stuck.as_secs()),
                    hint: "see why commits are slow: catalog, warehouse, another writer at the table".to_owned(),
                },
                Some(_) => Found {
                    kind: "waits_for_memory",
                    severity: Severity::Stalled,
                    message: format!("nothing has been read for {} s: the records in flight fill the memory that they may take", stuck.as_secs()),
                    hint: "see which stage of the dataflow most records wait for; more workers, a faster disk or a larger `memory` help".to_owned(),
                },
                None => Found {
                    kind: "not_reading",
                    severity: Severity::Stalled,
                    message: format!(
                        "nothing has been read for {} s although {readable} records wait: {}",
                        stuck.as_secs(),
                        look.complaint.unwrap_or("the broker reports no error")
                    ),
                    hint: "run `strandline check JOB`: it asks the broker the same questions, one by one".to_owned(),
                },
            });
        }
    }

    fn watermark(&mut self, now: Instant, look: &Look<'_>, found: &mut Vec<Found>) {
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

/// A dead letter as the cause, and the next step.
fn explain(letter: &LetterFacts) -> (String, String) {
    let payload = match letter.payload_bytes {
        0 => String::new(),
        bytes => format!(
            "; its {bytes} bytes begin with {}, as text {}",
            letter.hex, letter.text
        ),
    };
    let cause = format!(
        "; the last one, at offset {} of {}[{}]: {}{payload}",
        letter.offset, letter.topic, letter.partition, letter.message
    );
    let of_format = || {
        let expected = format!("format `{}` expects {}", letter.format, letter.expects);
        match (&letter.seen, &letter.setting) {
            (Some(seen), Some(setting)) => {
                format!("{expected}; it looks like {seen}, for which {setting} would fit")
            }
            (Some(seen), None) => {
                format!(
                    "{expected}; it looks like {seen}: compare the record with the job's columns"
                )
            }
            _ => expected,
        }
    };
    let hint = match letter.error_type.as_str() {
        "too_late" => "`lateness.allowed` says how late an event may be, and `lateness.too_late` what becomes of those that are later".to_owned(),
        "future_event_time" => "correct the producer's clock; `watermark.max_future_skew` says how far ahead an event may be".to_owned(),
        "too_large" => "`max_record_bytes` says how long a record may be".to_owned(),
        "null_value" => "records without a value are tombstones of a compacted topic; the Debezium formats drop them".to_owned(),
        "unknown_schema" => "see that `schema_registry.url` is the registry that the producers use".to_owned(),
        _ => of_format(),
    };
    (cause, hint)
}

/// The partition whose watermark is the smallest of those that are not idle; one without a watermark counts
/// as the smallest. `None` when it is the only one, or all are idle.
pub(crate) fn holder(partitions: &[PartitionFacts]) -> Option<&PartitionFacts> {
    let active = partitions
        .iter()
        .filter(|p| !p.is_idle && p.worker.is_some());
    active.min_by_key(|p| p.watermark)
}

fn commits(look: &Look<'_>, found: &mut Vec<Found>) {
    let Some((epoch, age)) = look.committing.filter(|(_, age)| *age >= STALL_AFTER) else {
        return;
    };
    let (kind, why) = match look.commit_trouble {
        Some(trouble) => ("commit_failing", trouble),
        None => ("commit_slow", "the catalog has not answered yet"),
    };
    found.push(Found {
        kind,
        severity: Severity::Stalled,
        message: format!(
            "the commit of epoch {epoch} has been under way for {} s: {why}",
            age.as_secs()
        ),
        hint: "see that catalog and warehouse are up, writable and fast; nothing is lost meanwhile"
            .to_owned(),
    });
}

fn partitions(look: &Look<'_>, found: &mut Vec<Found>) {
    let names = |of: &[&PartitionFacts]| {
        let named = of.iter().take(NAMED);
        let mut text = named
            .map(|p| format!("{}[{}]", p.topic, p.partition))
            .collect::<Vec<_>>()
            .join(", ");
        if of.len() > NAMED {
            text.push_str(&format!(" and {} more", of.len() - NAMED));
        }
        text
    };
    let stall_ms = STALL_AFTER.as_millis() as u64;
    let held: Vec<&PartitionFacts> = look
        .partitions
        .iter()
        .filter(|p| p.at_end_ms.is_some_and(|ms| ms >= stall_ms) && p.end > p.next)
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
                hint: "this is what `starting_offsets` says; `earliest`, before the first start, reads what is there".to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000_000;

    fn partition(number: i32, next: i64, end: i64) -> PartitionFacts {
        PartitionFacts {
            topic: "t".to_owned(),
            partition: number,
            next: Some(next),
            end: Some(end),
            watermark: Some(NOW - 300_000_000),
            worker: Some(0),
            ..PartitionFacts::default()
        }
    }

    fn look(partitions: &[PartitionFacts]) -> Look<'_> {
        Look {
            is_running: true,
            read: 10,
            consumed: 10,
            partitions,
            wall_clock: NOW,
            out_of_orderness_micros: 300_000_000,
            idle_timeout: Duration::from_secs(30),
            ..Look::default()
        }
    }

    /// Looks twice a second for this long at the same; the kinds found at the end, and the first message.
    fn after(
        seconds: u64,
        mut at: impl FnMut(u64) -> Vec<PartitionFacts>,
        change: impl Fn(&mut Look<'_>),
    ) -> (Vec<String>, String) {
        let (start, mut diagnosis) = (Instant::now(), Diagnosis::default());
        let mut last = Vec::new();
        for half in 0..=seconds * 2 {
            let partitions = at(half / 2);
            let mut look = look(&partitions);
            change(&mut look);
            last = diagnosis.look(start + Duration::from_millis(500) * half as u32, &look);
        }
        let message = last.first().map(|f| f.message.clone()).unwrap_or_default();
        (last.into_iter().map(|f| f.kind).collect(), message)
    }

    #[test]
    fn records_that_wait_unread_are_told_of_with_the_cause() {
        let waiting = |_| vec![partition(0, 10, 25)];
        assert!(after(4, waiting, |_| {}).0.is_empty());
        let (kinds, message) = after(5, waiting, |look| {
            look.complaint = Some("broker 1: timed out")
        });
        assert_eq!(kinds, ["not_reading"]);
        assert_eq!(
            message,
            "nothing has been read for 5 s although 15 records wait: broker 1: timed out"
        );
        assert_eq!(
            after(5, waiting, |look| look.waits = Some("memory")).0,
            ["waits_for_memory"]
        );
        assert_eq!(
            after(5, waiting, |look| look.waits = Some("commit")).0,
            ["waits_for_commit"]
        );
        let lost = |look: &mut Look<'_>| look.has_lost_brokers = true;
        assert_eq!(after(0, waiting, lost).0, ["brokers_unreachable"]);
        assert!(
            after(60, waiting, |look| look.is_running = false)
                .0
                .is_empty(),
            "it has not begun"
        );
        assert!(
            after(60, |_| vec![partition(0, 25, 25)], |_| {})
                .0
                .is_empty(),
            "nothing waits"
        );
    }

    #[test]
    fn the_partition_that_holds_the_watermark_back_is_named() {
        let moving = |seconds: u64, number| PartitionFacts {
            watermark: Some(NOW - 300_000_000 + seconds as i64 * 1_000_000),
            ..partition(number, 10, 10)
        };
        let stuck = |seconds| vec![partition(0, 10, 10), moving(seconds, 1)];
        assert!(after(4, stuck, |_| {}).0.is_empty());
        let (kinds, message) = after(6, stuck, |_| {});
        assert_eq!(kinds, ["watermark_held"]);
        assert!(message.contains("t[0]"), "{message}");
        let silent = |seconds: u64| {
            let end = PartitionFacts {
                watermark: None,
                at_end_ms: Some(seconds * 1000),
                ..partition(0, 0, 0)
            };
            vec![end, moving(seconds, 1)]
        };
        let (_, message) = after(6, silent, |_| {});
        assert!(
            message.contains("at its end for 6 s and counts as idle after 30 s"),
            "{message}"
        );
        let idle = |seconds| {
            vec![
                PartitionFacts {
                    is_idle: true,
                    ..partition(0, 10, 10)
                },
                moving(seconds, 1),
            ]
        };
        assert!(after(60, idle, |_| {}).0.is_empty());
        let all_rest = |_| vec![partition(0, 10, 10), moving(7, 1)];
        assert!(
            after(60, all_rest, |_| {}).0.is_empty(),
            "nobody waits for it"
        );
    }

    #[test]
    fn a_commit_that_takes_long_is_told_of_with_what_it_met() {
        let none = |_| vec![partition(0, 10, 10)];
        let slow = |look: &mut Look<'_>| look.committing = Some((7, Duration::from_secs(5)));
        let (kinds, message) = after(0, none, slow);
        assert_eq!(kinds, ["commit_slow"]);
        assert_eq!(
            message,
            "the commit of epoch 7 has been under way for 5 s: the catalog has not answered yet"
        );
        let (kinds, message) = after(0, none, |look| {
            slow(look);
            look.commit_trouble = Some("connection refused");
        });
        assert_eq!(kinds, ["commit_failing"]);
        assert!(message.ends_with("connection refused"), "{message}");
    }

    #[test]
    fn an_open_transaction_a_wrong_clock_and_an_empty_topic_are_told_apart() {
        let held = |at_end_ms| {
            vec![PartitionFacts {
                at_end_ms,
                ..partition(2, 10, 25)
            }]
        };
        let (kinds, message) = after(0, |_| held(Some(5_000)), |_| {});
        assert_eq!(kinds, ["open_transaction"]);
        assert!(message.starts_with("15 records of t[2]"), "{message}");
        assert!(after(0, |_| held(Some(4_900)), |_| {}).0.is_empty());

        let ahead = |_| {
            vec![PartitionFacts {
                watermark: Some(NOW),
                ..partition(0, 10, 10)
            }]
        };
        assert_eq!(after(0, ahead, |_| {}).0, ["partition_ahead"]);

        let empty = |end| {
            vec![PartitionFacts {
                at_end_ms: Some(0),
                ..partition(0, end, end)
            }]
        };
        let nothing = |look: &mut Look<'_>| (look.read, look.consumed) = (0, 0);
        assert_eq!(after(0, |_| empty(0), nothing).0, ["topic_empty"]);
        assert_eq!(after(0, |_| empty(9), nothing).0, ["nothing_new"]);
        assert!(
            after(0, |_| empty(9), |_| {}).0.is_empty(),
            "it has read before"
        );
    }

    /// Looks once a second; `at` says how many records were decoded, and the dead letters of each kind.
    fn letters(
        seconds: u64,
        at: impl Fn(u64) -> (u64, &'static [(&'static str, u64)]),
        sample: &LetterFacts,
    ) -> Vec<Option<Finding>> {
        let (start, mut diagnosis) = (Instant::now(), Diagnosis::default());
        let partitions = [partition(0, 10, 10)];
        let looks = 0..=seconds;
        let looks = looks.map(|second| {
            let (decoded, letters) = at(second);
            let letters = letters.iter().map(|&(kind, n)| (kind.to_owned(), n));
            let look = Look {
                decoded,
                letters: letters.collect(),
                samples: vec![sample],
                ..look(&partitions)
            };
            let found = diagnosis.look(start + Duration::from_secs(second), &look);
            found.into_iter().find(|f| f.kind == "dead_letters")
        });
        looks.collect()
    }

    fn sample() -> LetterFacts {
        LetterFacts {
            topic: "t".to_owned(),
            offset: 17,
            error_type: "malformed".to_owned(),
            message: "not JSON".to_owned(),
            payload_bytes: 7,
            hex: "00 00 01 86 BA".to_owned(),
            text: "`{}`".to_owned(),
            format: "json".to_owned(),
            expects: "one JSON object".to_owned(),
            seen: Some(
                "JSON objects behind a schema registry header (schema id 100026)".to_owned(),
            ),
            setting: Some("`format: json_sr`".to_owned()),
            ..LetterFacts::default()
        }
    }

    #[test]
    fn more_than_one_dead_letter_in_a_hundred_is_told_of_with_the_setting_that_would_fit() {
        let just = |_| (1000, &[("malformed", 10)][..]);
        assert_eq!(letters(3, just, &sample()), vec![None; 4]);
        let more = |_| (1000, &[("malformed", 8), ("too_late", 3)][..]);
        let found = letters(0, more, &sample()).remove(0).expect("a finding");
        assert_eq!(found.severity, Severity::Warning);
        assert_eq!(
            found.message,
            "11 of the last 1000 records are dead letters, 8 of them `malformed`; the last one, at offset 17 of t[0]: not JSON; its 7 bytes begin with 00 00 01 86 BA, as text `{}`"
        );
        assert_eq!(
            found.hint,
            "format `json` expects one JSON object; it looks like JSON objects behind a schema registry header (schema id 100026), for which `format: json_sr` would fit"
        );
        let late = LetterFacts {
            error_type: "too_late".to_owned(),
            ..sample()
        };
        let found = letters(0, |_| (10, &[("too_late", 3)]), &late).remove(0);
        assert!(
            found
                .expect("a finding")
                .hint
                .contains("`lateness.allowed`")
        );
    }

    #[test]
    fn dead_letters_are_held_against_the_records_of_the_last_minute() {
        // A hundred bad ones at the start, then a thousand good ones a second: they are under 1 % after 10 s.
        let begin = |second| (100 + second * 1000, &[("malformed", 100)][..]);
        let found = letters(12, begin, &sample());
        assert!(found[9].is_some() && found[10].is_none(), "{found:?}");
        // Long good, then bad: the minute counts, not the whole run.
        let late = |second| match second {
            0..200 => (second * 1000, &[][..]),
            _ => (200_000 + (second - 200) * 1000, &[("malformed", 700)][..]),
        };
        let found = letters(300, late, &sample());
        assert!(found[199].is_none() && found[200].is_some(), "{found:?}");
        assert!(found[262].is_none(), "a minute later they are forgotten");
        // A new run counts from nothing again.
        let restarted = |second| match second {
            0..5 => (1_000_000, &[][..]),
            _ => (100, &[("malformed", 2)][..]),
        };
        let found = letters(5, restarted, &sample());
        assert!(found[4].is_none() && found[5].is_some(), "{found:?}");
    }

    #[test]
    fn records_that_wait_for_the_registry_are_told_of() {
        let waiting = |_| vec![partition(0, 10, 10)];
        let held = |look: &mut Look<'_>| look.held_back = 3;
        assert!(after(4, waiting, held).0.is_empty());
        let (kinds, message) = after(5, waiting, held);
        assert_eq!(kinds, ["waits_for_schema"]);
        assert!(message.ends_with("for 5 s"), "{message}");
    }
}
