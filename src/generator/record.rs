//! A record, and what it was made to be.

/// What a record was made to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// Lands.
    Ordinary,
    /// Lands, flagged late.
    Late,
    /// A copy of the ordinary or late record with this number.
    Duplicate {
        /// The original's number.
        of: u64,
    },
    /// Behind the watermark by more than the allowed lateness: a dead letter.
    TooLate,
    /// Cannot land: a dead letter.
    Malformed(Malformation),
}

/// What is wrong with a malformed record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformation {
    /// The JSON ends too early.
    Truncated,
    /// `input_value` is text.
    WrongType,
    /// `input_value` does not fit any integer.
    NumberOutOfRange,
    /// There is no `event_id`.
    NoEventId,
    /// `event_id` is null.
    NullEventId,
    /// There is no `event_time`.
    NoEventTime,
    /// `event_time` is no time.
    BadEventTime,
    /// The value is null.
    NullValue,
    /// Zero bytes.
    Empty,
    /// Bytes that are no UTF-8.
    InvalidUtf8,
    /// A field that occurs twice.
    DuplicateKey,
    /// An array nested thousands deep.
    DeepNesting,
    /// An array, not an object.
    NotAnObject,
    /// An event time in the year 9999.
    Year9999,
    /// An event time in the year 1.
    Year1,
}

/// Every [`Malformation`].
pub const MALFORMATIONS: [Malformation; 15] = [
    Malformation::Truncated,
    Malformation::WrongType,
    Malformation::NumberOutOfRange,
    Malformation::NoEventId,
    Malformation::NullEventId,
    Malformation::NoEventTime,
    Malformation::BadEventTime,
    Malformation::NullValue,
    Malformation::Empty,
    Malformation::InvalidUtf8,
    Malformation::DuplicateKey,
    Malformation::DeepNesting,
    Malformation::NotAnObject,
    Malformation::Year9999,
    Malformation::Year1,
];

/// A record for a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedRecord {
    /// The partition it belongs to.
    pub partition: i32,
    /// The key: the user.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// Its create time: the simulated clock's, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// What it was made to be.
    pub kind: RecordKind,
}

impl GeneratedRecord {
    /// An empty record, for [`Generator::fill`](super::Generator::fill).
    pub fn empty() -> GeneratedRecord {
        GeneratedRecord {
            partition: 0,
            key: None,
            value: None,
            timestamp_ms: 0,
            kind: RecordKind::Ordinary,
        }
    }
}
