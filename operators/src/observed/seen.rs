//! What workers and the committer say of themselves, as values that others may keep.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::account::Account;
use crate::decode::recognise::{self, Look};
use crate::job::{Format, JobSettings};
use crate::record::{DeadLetter, ErrorType, TopicPartition};
use crate::time::{Epoch, EventTime};

/// Why a source does not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Waits {
    /// It reads, or has read everything there is.
    #[default]
    No,
    /// The records in flight fill the memory that they may take.
    Memory,
    /// The open epoch holds more than should have closed it: earlier epochs wait for their commit.
    Commit,
}

/// One partition, as its worker saw it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionSeen {
    /// The partition.
    pub source: TopicPartition,
    /// The offset to be read next.
    pub next: i64,
    /// Its end, transactions that are still open included; `None` when nothing was heard of it yet.
    pub end: Option<i64>,
    /// Its own watermark; `None` before the first event.
    pub watermark: Option<EventTime>,
    /// How long it has been read up to what can be read; `None` when there is more.
    pub at_end_for: Option<Duration>,
    /// Whether it no longer holds the watermark back.
    pub is_idle: bool,
}

/// One worker, as it last said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerSeen {
    /// Why it does not read, at the last look.
    pub waits: Waits,
    /// The partitions that it reads.
    pub partitions: Vec<PartitionSeen>,
}

/// A commit that took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitSeen {
    /// Its epoch.
    pub epoch: Epoch,
    /// When it was durable, by the committer's clock.
    pub at: EventTime,
    /// From the moment at which it was handed to the committer.
    pub took: Duration,
    /// What became of its records.
    pub account: Account,
    /// Data files, of all tables.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The primary table's snapshot.
    pub snapshot_id: Option<i64>,
    /// The watermark that it carries.
    pub watermark: Option<EventTime>,
}

/// Samples kept of each kind of dead letter.
const SAMPLES_OF_A_KIND: usize = 4;
/// The longest payload that a sample keeps, in bytes.
pub const SAMPLE_BYTES: usize = 512;
/// The longest payload whose format is told.
const LOOKED_AT_BYTES: usize = 1 << 20;

/// A dead letter, as people are shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterSample {
    /// Where it comes from.
    pub source: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// Why it cannot land.
    pub error_type: ErrorType,
    /// What was found.
    pub message: String,
    /// When that was found.
    pub failed_at: EventTime,
    /// The beginning of its payload; `None` when it was null.
    pub payload: Option<Vec<u8>>,
    /// The length of the whole payload.
    pub payload_bytes: usize,
    /// What the payload looks like; `None` when it is null, empty or very long.
    pub look: Option<Look>,
    /// The format that it should have had.
    pub format: Format,
    /// The setting that would fit what it looks like, when that is another format.
    pub setting: Option<String>,
}

/// The last dead letters of each kind, and how many there were. Bounded, whatever the input does.
#[derive(Clone, Debug, Default)]
pub struct LettersSeen {
    kinds: BTreeMap<&'static str, (u64, Vec<LetterSample>)>,
}

impl LettersSeen {
    /// Counts letters of a job with these settings, and keeps the last of each kind.
    pub fn add(&mut self, letters: &[DeadLetter], settings: &JobSettings) {
        let mut kept: BTreeMap<&'static str, usize> = BTreeMap::new();
        // From the end, so that of many only those are copied that stay.
        for letter in letters.iter().rev() {
            let kind = letter.error_type.name();
            let (count, samples) = self.kinds.entry(kind).or_default();
            *count += 1;
            let kept = kept.entry(kind).or_default();
            if *kept == SAMPLES_OF_A_KIND {
                continue;
            }
            *kept += 1;
            samples.push(LetterSample::of(letter, settings));
        }
        for (kind, kept) in kept {
            if let Some((_, samples)) = self.kinds.get_mut(kind) {
                // They came newest first.
                let new = samples.len() - kept;
                samples[new..].reverse();
                let too_many = samples.len().saturating_sub(SAMPLES_OF_A_KIND);
                samples.drain(..too_many);
            }
        }
    }

    /// How many there were, by kind.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.kinds.iter().map(|(&kind, &(count, _))| (kind, count))
    }

    /// The last of each kind, the oldest first.
    pub fn samples(&self) -> impl Iterator<Item = &LetterSample> {
        self.kinds.values().flat_map(|(_, samples)| samples)
    }
}

impl LetterSample {
    fn of(letter: &DeadLetter, settings: &JobSettings) -> LetterSample {
        let payload = letter.payload.as_deref();
        let to_be_told = payload.filter(|bytes| (1..=LOOKED_AT_BYTES).contains(&bytes.len()));
        let look = to_be_told.map(|bytes| recognise::look(bytes, settings));
        let (format, key) = settings.read_as(&letter.source.topic);
        let other = look.as_ref().filter(|look| !look.formats.contains(&format));
        let setting = other.and_then(|look| look.setting(&key));
        let mut message = letter.message.clone();
        message.truncate(message.floor_char_boundary(SAMPLE_BYTES));
        LetterSample {
            source: letter.source.clone(),
            offset: letter.offset,
            error_type: letter.error_type,
            message,
            failed_at: letter.failed_at,
            payload: payload.map(|bytes| bytes[..bytes.len().min(SAMPLE_BYTES)].to_vec()),
            payload_bytes: payload.map_or(0, <[u8]>::len),
            look,
            format,
            setting,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::job::{Job, Peek, PeekAt};

    use super::*;

    fn letter(offset: i64, error_type: ErrorType, bytes: usize) -> DeadLetter {
        DeadLetter {
            source: TopicPartition::new("t", 0),
            offset,
            timestamp: None,
            key: None,
            payload: Some(vec![b'x'; bytes]),
            error_type,
            message: "é".repeat(bytes),
            failed_at: EventTime(offset),
        }
    }

    #[test]
    fn a_sample_says_what_it_looks_like_and_the_setting_that_would_fit() {
        let sample = |payload: &[u8], settings: &JobSettings| {
            let mut letter = letter(0, ErrorType::Malformed, 1);
            letter.payload = Some(payload.to_vec());
            LetterSample::of(&letter, settings)
        };
        let mut settings = Job::BRONZE.settings();
        let found = sample(b"\0\x00\x01\x86\xba{}", &settings);
        assert_eq!(found.setting.as_deref(), Some("`format: json_sr`"));
        let seen = found.look.expect("a look").seen;
        assert!(seen.contains("schema id 100026"), "{seen}");
        // What has the format that it should have has another fault.
        assert_eq!(sample(b"{\"a\":1}", &settings).setting, None);
        assert_eq!(sample(b"{\"a\":", &settings).setting, None);
        assert_eq!(sample(b"", &settings).look, None);
        settings.format = Format::Raw;
        settings.peek = Some(Peek {
            format: Format::AvroSr,
            event_id: PeekAt::Key,
            event_time: PeekAt::Timestamp,
        });
        let found = sample(b"{}", &settings);
        assert_eq!(found.setting.as_deref(), Some("`peek.format: json`"));
    }

    #[test]
    fn a_sample_is_held_against_the_format_of_its_own_topic() {
        let mut settings = Job {
            topics: &["other", "t"],
            ..Job::BRONZE
        }
        .settings();
        settings.set_formats(&[("t".to_owned(), Format::Csv)].into());
        let mut letter = letter(0, ErrorType::Malformed, 1);
        letter.payload = Some(b"{}".to_vec());
        let found = LetterSample::of(&letter, &settings);
        assert_eq!(found.format, Format::Csv);
        assert_eq!(found.setting.as_deref(), Some("`format.t: json`"));
    }

    #[test]
    fn the_last_of_each_kind_are_kept_and_all_are_counted() {
        let mut seen = LettersSeen::default();
        let settings = crate::job::Job::BRONZE.settings();
        seen.add(&[letter(0, ErrorType::Malformed, 1)], &settings);
        let flood: Vec<_> = (1..1000)
            .map(|i| letter(i, ErrorType::TooLate, 100_000))
            .collect();
        seen.add(&flood, &settings);
        seen.add(&[letter(1000, ErrorType::TooLate, 3)], &settings);
        let counts: Vec<_> = seen.counts().collect();
        assert_eq!(counts, [("malformed", 1), ("too_late", 1000)]);
        let offsets: Vec<_> = seen.samples().map(|s| s.offset).collect();
        assert_eq!(offsets, [0, 997, 998, 999, 1000]);
        for sample in seen.samples() {
            assert!(sample.payload.as_ref().map_or(0, Vec::len) <= SAMPLE_BYTES);
            assert!(sample.message.len() <= SAMPLE_BYTES);
        }
        assert_eq!(
            seen.samples().nth(3).map(|s| s.payload_bytes),
            Some(100_000)
        );
    }
}
