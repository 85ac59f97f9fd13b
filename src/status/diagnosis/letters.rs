//! Dead letters: more of them than a few, with a sample and the setting that would fit it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::facts::LetterFacts;
use super::{Diagnosis, Found, Look, Severity};

/// Dead letters are held against the records of this long.
const LETTERS_WINDOW: Duration = Duration::from_secs(60);
/// How often within it counts are kept.
const LETTERS_STEP: Duration = Duration::from_secs(1);
/// More dead letters than this of a hundred records are told of.
const LETTERS_PERCENT: u64 = 1;

impl Diagnosis {
    /// More than one in a hundred of the last minute's records cannot land.
    pub(super) fn dead_letters(&mut self, now: Instant, look: &Look<'_>, found: &mut Vec<Found>) {
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
