//! Seeded events of the Roman numeral service, for the demo, the tests and the benchmarks.
//!
//! Record `i` is a function of (configuration, `i`) alone: the same seed gives the same bytes, on any
//! machine, and a duplicate is made by making its original again. No memory, and about a million records a
//! second on one core (no serialiser: the JSON is written by hand).
//!
//! The stream has, in the proportions of [`GeneratorConfig`]: duplicates (same key and partition as the
//! original, at most [`DUPLICATE_WINDOW`] records behind it), records out of order, late ones (behind the
//! watermark, within the allowed lateness), too late ones, and a zoo of malformed ones. What was meant is
//! told by [`RecordKind`]; with the settings of the job `roman-numerals` it is also what comes out, so
//! [`expected_account`] can be compared with a run's account.

pub mod producer;
mod record;
mod text;

use strandline_operators::account::Account;
use strandline_operators::time::EventTime;

pub use record::{GeneratedRecord, MALFORMATIONS, Malformation, RecordKind};
use text::{DayPrefix, replace_number, roman, write_decimal, write_hex, write_user};

/// A duplicate is at most this many records behind its original: 82 s of simulated time, far within the
/// 24 hours for which ids are remembered.
pub const DUPLICATE_WINDOW: u64 = 4096;

/// Only ordinary records come before this many a partition, so that every partition has a watermark when
/// the first late one comes.
const WARM_UP: u64 = 64;

const MICROS_PER_MILLI: i64 = 1000;
const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;

/// Different users, hence keys.
const USERS: u64 = 50_000;

/// The largest number that Roman numerals write.
const MAX_ROMAN: u64 = 3999;

/// What to generate. Proportions are of all records.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratorConfig {
    /// The same seed gives the same records.
    pub seed: u64,
    /// Records in all, duplicates and malformed ones included.
    pub events: u64,
    /// Partitions of the topic.
    pub partitions: i32,
    /// Proportion of duplicates.
    pub duplicates: f64,
    /// Proportion of records up to a minute out of order; not late.
    pub out_of_order: f64,
    /// Proportion of records behind the watermark, but within the allowed lateness of an hour.
    pub late: f64,
    /// Proportion of records behind the watermark by more than that.
    pub too_late: f64,
    /// Proportion of malformed records.
    pub malformed: f64,
    /// Proportion of event times written as epoch milliseconds instead of ISO-8601.
    pub epoch_millis: f64,
    /// The simulated clock's time at record 0. In the past, so that no record is in the future; but a
    /// broker deletes by the records' timestamps (7 days by default), so for a real one use
    /// [`GeneratorConfig::until`], or a topic with `retention.ms=-1`.
    pub start: EventTime,
    /// The simulated clock's step from record to record, in microseconds.
    pub step_us: i64,
}

impl Default for GeneratorConfig {
    fn default() -> GeneratorConfig {
        GeneratorConfig {
            seed: 1,
            events: 1_000_000,
            partitions: 6,
            duplicates: 0.10,
            out_of_order: 0.10,
            late: 0.01,
            too_late: 0.002,
            malformed: 0.001,
            epoch_millis: 0.2,
            // 2025-06-01T20:00:00Z: a million events then span five and a half hours and a midnight.
            start: EventTime(1_748_808_000 * MICROS_PER_SECOND),
            step_us: 20 * MICROS_PER_MILLI,
        }
    }
}

impl GeneratorConfig {
    /// Shortens the step so that all records lie within `max_span_s` seconds.
    #[must_use]
    pub fn within(mut self, max_span_s: i64) -> GeneratorConfig {
        let longest = max_span_s.saturating_mul(MICROS_PER_SECOND) / self.events.max(1) as i64;
        self.step_us = self.step_us.min(longest.max(1));
        self
    }
}

impl GeneratorConfig {
    /// Moves the simulated clock so that it ends at `end`.
    #[must_use]
    pub fn until(mut self, end: EventTime) -> GeneratorConfig {
        let span = i64::try_from(self.events)
            .unwrap_or(i64::MAX)
            .saturating_mul(self.step_us);
        self.start = end.minus(span);
        self
    }
}

/// Writes the value of a well-formed event in another form than the default, JSON of the Roman numeral service.
/// What it writes must follow from the event alone, so that a copy is made by writing its original again.
pub type WriteValue = fn(&mut Made<'_>, &mut Vec<u8>);

/// An event that is to be written.
pub struct Made<'a> {
    /// The record's number; of a copy its original's.
    pub index: u64,
    /// When it happened; whole milliseconds.
    pub event_time: EventTime,
    generator: &'a mut Generator,
}

impl Made<'_> {
    /// A number that depends on seed, event and `which`.
    pub fn random(&self, which: u64) -> u64 {
        mix(self.generator.draw(self.index, Use::Other) ^ which)
    }

    /// Writes the event's id, a UUID.
    pub fn write_id(&self, out: &mut Vec<u8>) {
        self.generator.write_event_id(self.index, out);
    }

    /// Writes a time as ISO-8601 with milliseconds, UTC.
    pub fn write_time(&mut self, time: EventTime, out: &mut Vec<u8>) {
        self.generator
            .day
            .write(time.0.div_euclid(MICROS_PER_MILLI), out);
    }
}

/// The account that a run over a fresh generator's records must end with, under the settings of the job
/// `roman-numerals`.
pub fn expected_account(config: &GeneratorConfig) -> Account {
    let generator = Generator::new(config.clone());
    let mut account = Account::default();
    for index in 0..config.events {
        account.consumed += 1;
        match generator.kind(index) {
            RecordKind::Ordinary => account.landed += 1,
            RecordKind::Late => {
                account.landed += 1;
                account.late += 1;
            }
            RecordKind::Duplicate { .. } => account.duplicates += 1,
            RecordKind::TooLate | RecordKind::Malformed(_) => account.dead_letters += 1,
        }
    }
    account
}

/// An iterator over the records; see the module's documentation.
#[derive(Clone, Debug)]
pub struct Generator {
    config: GeneratorConfig,
    next: u64,
    warm_up: u64,
    thresholds: Thresholds,
    numerals: Vec<String>,
    day: DayPrefix,
    write_value: Option<WriteValue>,
}

/// Cumulative proportions, as fractions of 2^64.
#[derive(Clone, Debug)]
struct Thresholds {
    duplicate: u64,
    late: u64,
    too_late: u64,
    malformed: u64,
    out_of_order: u64,
    epoch_millis: u64,
}

impl Generator {
    /// A generator at record 0.
    pub fn new(config: GeneratorConfig) -> Generator {
        let fraction = |p: f64| (p.clamp(0.0, 1.0) * u64::MAX as f64) as u64;
        let thresholds = Thresholds {
            duplicate: fraction(config.duplicates),
            late: fraction(config.duplicates + config.late),
            too_late: fraction(config.duplicates + config.late + config.too_late),
            malformed: fraction(
                config.duplicates + config.late + config.too_late + config.malformed,
            ),
            out_of_order: fraction(config.out_of_order),
            epoch_millis: fraction(config.epoch_millis),
        };
        let numerals = (0..=MAX_ROMAN).map(roman).collect();
        let warm_up = WARM_UP * config.partitions.max(1) as u64;
        Generator {
            config,
            next: 0,
            warm_up,
            thresholds,
            numerals,
            day: DayPrefix::default(),
            write_value: None,
        }
    }

    /// The same records with other values; malformed ones stay what they are.
    #[must_use]
    pub fn writing(mut self, write_value: WriteValue) -> Generator {
        self.write_value = Some(write_value);
        self
    }

    /// What record `index` is.
    pub fn kind(&self, index: u64) -> RecordKind {
        if index < self.warm_up {
            return RecordKind::Ordinary;
        }
        let draw = self.draw(index, Use::Kind);
        let t = &self.thresholds;
        if draw < t.duplicate {
            // The originals are 9 of 10; a few steps back find one, and the warm-up is all originals.
            let back = 1 + self.draw(index, Use::Original) % DUPLICATE_WINDOW;
            let mut of = index.saturating_sub(back);
            while !self.is_original(of) {
                of -= 1;
            }
            RecordKind::Duplicate { of }
        } else if draw < t.late {
            RecordKind::Late
        } else if draw < t.too_late {
            RecordKind::TooLate
        } else if draw < t.malformed {
            let which = self.draw(index, Use::Malformation) % MALFORMATIONS.len() as u64;
            RecordKind::Malformed(MALFORMATIONS[which as usize])
        } else {
            RecordKind::Ordinary
        }
    }

    /// Ordinary or late: has an id that lands, and may have copies.
    fn is_original(&self, index: u64) -> bool {
        if index < self.warm_up {
            return true;
        }
        let draw = self.draw(index, Use::Kind);
        let t = &self.thresholds;
        (draw >= t.duplicate && draw < t.late) || draw >= t.malformed
    }

    /// Writes the next record over `record`, whose buffers are used again; `false` at the end.
    pub fn fill(&mut self, record: &mut GeneratedRecord) -> bool {
        if self.next >= self.config.events {
            return false;
        }
        let index = self.next;
        self.next += 1;
        let kind = self.kind(index);
        record.kind = kind;
        record.timestamp_ms = self.clock(index).div_euclid(MICROS_PER_MILLI);
        // A copy is its original, made again.
        let (event, kind) = match kind {
            RecordKind::Duplicate { of } => (of, self.kind(of)),
            kind => (index, kind),
        };
        let user = self.draw(event, Use::User) % USERS;
        record.partition =
            (mix(self.config.seed ^ user) % self.config.partitions.max(1) as u64) as i32;
        let key = record.key.get_or_insert_with(|| Vec::with_capacity(16));
        key.clear();
        write_user(key, user);
        let mut value = record
            .value
            .take()
            .unwrap_or_else(|| Vec::with_capacity(320));
        value.clear();
        match kind {
            RecordKind::Malformed(malformation) => {
                record.value = self.write_malformed(event, user, malformation, value);
            }
            kind => {
                let event_time = self.event_time(event, kind);
                match self.write_value {
                    None => self.write_event(event, user, event_time, &mut value),
                    Some(write_value) => {
                        let mut made = Made {
                            index: event,
                            event_time: EventTime(
                                event_time - event_time.rem_euclid(MICROS_PER_MILLI),
                            ),
                            generator: self,
                        };
                        write_value(&mut made, &mut value);
                    }
                }
                record.value = Some(value);
            }
        }
        true
    }

    /// The simulated clock at a record, in microseconds since 1970.
    fn clock(&self, index: u64) -> i64 {
        let elapsed = i64::try_from(index)
            .unwrap_or(i64::MAX)
            .saturating_mul(self.config.step_us);
        self.config.start.0.saturating_add(elapsed)
    }

    fn event_time(&self, index: u64, kind: RecordKind) -> i64 {
        let draw = self.draw(index, Use::Delay);
        let within = |from: i64, to: i64| from + (draw % (to - from) as u64) as i64;
        // Watermark = newest event - 5 min; newest is within seconds of the clock. Allowed lateness 1 h.
        let delay = match kind {
            RecordKind::Late => within(6 * MICROS_PER_MINUTE, 60 * MICROS_PER_MINUTE),
            RecordKind::TooLate => within(120 * MICROS_PER_MINUTE, 600 * MICROS_PER_MINUTE),
            _ if self.draw(index, Use::Order) < self.thresholds.out_of_order => {
                within(0, MICROS_PER_MINUTE)
            }
            _ => within(0, 200 * MICROS_PER_MILLI),
        };
        self.clock(index).saturating_sub(delay)
    }

    fn write_event(&mut self, index: u64, user: u64, event_time: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"event_id\":\"");
        self.write_event_id(index, out);
        out.extend_from_slice(b"\",\"event_type\":\"conversion\",\"event_time\":");
        self.write_event_time(index, event_time, out);
        self.write_rest(index, user, out);
    }

    fn write_event_time(&mut self, index: u64, event_time: i64, out: &mut Vec<u8>) {
        let ms = event_time.div_euclid(MICROS_PER_MILLI);
        if self.draw(index, Use::Format) < self.thresholds.epoch_millis {
            write_decimal(out, ms as u64);
        } else {
            out.push(b'"');
            self.day.write(ms, out);
            out.push(b'"');
        }
    }

    /// Everything behind the event time.
    fn write_rest(&self, index: u64, user: u64, out: &mut Vec<u8>) {
        let number = 1 + self.draw(index, Use::Number) % MAX_ROMAN;
        out.extend_from_slice(b",\"user_id\":\"");
        write_user(out, user);
        out.extend_from_slice(b"\",\"session_id\":\"");
        write_hex(out, self.draw(index, Use::Session), 12);
        out.extend_from_slice(b"\",\"input_value\":");
        write_decimal(out, number);
        out.extend_from_slice(b",\"roman_numeral\":\"");
        out.extend_from_slice(self.numerals[number as usize].as_bytes());
        out.extend_from_slice(b"\",\"response_time_ms\":");
        let milliseconds = self.draw(index, Use::ResponseTime);
        // Most are fast, few are slow.
        write_decimal(
            out,
            1 + milliseconds % 40
                + if milliseconds.is_multiple_of(50) {
                    milliseconds % 2000
                } else {
                    0
                },
        );
        out.extend_from_slice(b",\"source\":\"");
        const SOURCES: [&str; 4] = ["web", "ios", "android", "api"];
        out.extend_from_slice(SOURCES[(self.draw(index, Use::Source) % 4) as usize].as_bytes());
        out.extend_from_slice(b"\"}");
    }

    /// A UUID, version 4 in form; 122 bits that depend on seed and index.
    fn write_event_id(&self, index: u64, out: &mut Vec<u8>) {
        let (high, low) = (self.draw(index, Use::IdHigh), self.draw(index, Use::IdLow));
        write_hex(out, high >> 32, 8);
        out.push(b'-');
        write_hex(out, high >> 16, 4);
        out.extend_from_slice(b"-4");
        write_hex(out, high, 3);
        out.push(b'-');
        write_hex(out, (low >> 48 & 0x3fff) | 0x8000, 4);
        out.push(b'-');
        write_hex(out, low, 12);
    }

    fn write_malformed(
        &mut self,
        index: u64,
        user: u64,
        malformation: Malformation,
        mut out: Vec<u8>,
    ) -> Option<Vec<u8>> {
        let time = self.clock(index);
        match malformation {
            Malformation::NullValue => return None,
            Malformation::Empty => {}
            Malformation::Truncated => {
                self.write_event(index, user, time, &mut out);
                let keep = 1 + (self.draw(index, Use::Delay) % (out.len() as u64 - 1)) as usize;
                out.truncate(keep);
            }
            Malformation::InvalidUtf8 => {
                self.write_event(index, user, time, &mut out);
                // Inside of the id's text.
                out[15] = 0xff;
            }
            Malformation::NotAnObject => out.extend_from_slice(b"[\"event_id\",1994]"),
            Malformation::DeepNesting => {
                out.extend_from_slice(b"{\"event_id\":");
                out.resize(out.len() + 5000, b'[');
                out.resize(out.len() + 5000, b']');
                out.push(b'}');
            }
            Malformation::WrongType | Malformation::NumberOutOfRange => {
                self.write_event(index, user, time, &mut out);
                let wrong: &[u8] = match malformation {
                    Malformation::WrongType => b"\"many\"",
                    _ => b"123456789012345678901234567890",
                };
                replace_number(&mut out, b"\"input_value\":", wrong);
            }
            Malformation::NoEventId | Malformation::NullEventId => {
                out.push(b'{');
                if malformation == Malformation::NullEventId {
                    out.extend_from_slice(b"\"event_id\":null,");
                }
                out.extend_from_slice(b"\"event_type\":\"conversion\",\"event_time\":");
                self.write_event_time(index, time, &mut out);
                self.write_rest(index, user, &mut out);
            }
            Malformation::DuplicateKey => {
                out.extend_from_slice(b"{\"event_id\":\"first\",\"event_id\":\"");
                self.write_event_id(index, &mut out);
                out.extend_from_slice(b"\",\"event_type\":\"conversion\",\"event_time\":");
                self.write_event_time(index, time, &mut out);
                self.write_rest(index, user, &mut out);
            }
            Malformation::NoEventTime
            | Malformation::BadEventTime
            | Malformation::Year9999
            | Malformation::Year1 => {
                out.extend_from_slice(b"{\"event_id\":\"");
                self.write_event_id(index, &mut out);
                out.extend_from_slice(b"\",\"event_type\":\"conversion\"");
                let event_time: &[u8] = match malformation {
                    Malformation::BadEventTime => b",\"event_time\":\"the ides of March\"",
                    Malformation::Year9999 => b",\"event_time\":\"9999-12-31T23:59:59.999Z\"",
                    Malformation::Year1 => b",\"event_time\":\"0001-01-01T00:00:00.000Z\"",
                    _ => b"",
                };
                out.extend_from_slice(event_time);
                self.write_rest(index, user, &mut out);
            }
        }
        Some(out)
    }

    /// A number that depends on seed, record and what it is for.
    fn draw(&self, index: u64, purpose: Use) -> u64 {
        // The seed is mixed before the rest comes in: else neighbouring seeds would share their records.
        mix(mix(
            mix(self.config.seed) ^ (index.wrapping_mul(16).wrapping_add(purpose as u64))
        ))
    }
}

impl Iterator for Generator {
    type Item = GeneratedRecord;

    fn next(&mut self) -> Option<GeneratedRecord> {
        let mut record = GeneratedRecord::empty();
        self.fill(&mut record).then_some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let rest = usize::try_from(self.config.events - self.next).unwrap_or(usize::MAX);
        (rest, Some(rest))
    }
}

/// What a random number is for; at most 16.
#[derive(Clone, Copy)]
enum Use {
    Kind,
    Original,
    Malformation,
    User,
    Delay,
    Order,
    Format,
    Number,
    Session,
    ResponseTime,
    Source,
    IdHigh,
    IdLow,
    Other,
}

/// The finaliser of splitmix64 (Steele, Lea, Flood 2014): every bit depends on every bit.
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
