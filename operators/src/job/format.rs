//! How records are encoded, and what a format has to be told.

use serde::{Deserialize, Serialize};

/// How records are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Recognised from the first records, and said aloud.
    Auto,
    /// One JSON object a record.
    Json,
    /// The schema registry's header, then one JSON object.
    JsonSr,
    /// Avro of a schema that the configuration gives.
    Avro,
    /// The schema registry's header, then Avro of the schema it names.
    AvroSr,
    /// The schema registry's header, Confluent's message indexes, then Protobuf of the schema it names.
    ProtobufSr,
    /// One row of CSV a record.
    Csv,
    /// Any bytes, kept as they are; id and event time are peeked.
    Raw,
    /// Changes of a database as Debezium writes them in JSON.
    DebeziumJson,
    /// The schema registry's header, then such a change.
    DebeziumJsonSr,
}

impl Format {
    /// The name used in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Format::Auto => "auto",
            Format::Json => "json",
            Format::JsonSr => "json_sr",
            Format::Avro => "avro",
            Format::AvroSr => "avro_sr",
            Format::ProtobufSr => "protobuf_sr",
            Format::Csv => "csv",
            Format::Raw => "raw",
            Format::DebeziumJson => "debezium_json",
            Format::DebeziumJsonSr => "debezium_json_sr",
        }
    }
}

impl Format {
    /// What a record should be, for a person.
    pub fn expects(self) -> &'static str {
        match self {
            Format::Auto => "a record of a format that can be told",
            Format::Json => "one JSON object",
            Format::JsonSr => "a zero byte, four bytes of schema id, then one JSON object",
            Format::Avro => "Avro of the schema in `avro_schema`, without a header",
            Format::AvroSr => "a zero byte, four bytes of schema id, then Avro",
            Format::ProtobufSr => {
                "a zero byte, four bytes of schema id, message indexes, then Protobuf"
            }
            Format::Csv => "one row of CSV",
            Format::Raw => "any bytes that id and time can be peeked from",
            Format::DebeziumJson => "a change as Debezium writes it in JSON",
            Format::DebeziumJsonSr => {
                "a zero byte, four bytes of schema id, then a change as Debezium writes it in JSON"
            }
        }
    }
}

/// How a raw job finds the event id and the event time of a record that it keeps as bytes. Columns of the
/// job other than those of [`RAW_COLUMNS`](crate::schema::RAW_COLUMNS) are peeked from the fields of their
/// names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peek<S> {
    /// How fields are found: `json`, `json_sr` or `avro_sr`. Not looked at when nothing is a field.
    pub format: Format,
    /// Where the event id is.
    pub event_id: PeekAt<S>,
    /// Where the event time is.
    pub event_time: PeekAt<S>,
}

/// A place in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeekAt<S> {
    /// A field of the value.
    Field(S),
    /// A header. Text; a time is ISO-8601 or digits of epoch milliseconds.
    Header(S),
    /// The key, as text. No event time.
    Key,
    /// The record's own timestamp. No event id.
    Timestamp,
}

impl<S: AsRef<str>> PeekAt<S> {
    /// As the configuration writes it: `field:NAME`, `header:NAME`, `key` or `timestamp`.
    pub fn text(&self) -> String {
        match self {
            PeekAt::Field(name) => format!("field:{}", name.as_ref()),
            PeekAt::Header(name) => format!("header:{}", name.as_ref()),
            PeekAt::Key => "key".to_owned(),
            PeekAt::Timestamp => "timestamp".to_owned(),
        }
    }

    pub(super) fn to_owned(&self) -> PeekAt<String> {
        match self {
            PeekAt::Field(name) => PeekAt::Field(name.as_ref().to_owned()),
            PeekAt::Header(name) => PeekAt::Header(name.as_ref().to_owned()),
            PeekAt::Key => PeekAt::Key,
            PeekAt::Timestamp => PeekAt::Timestamp,
        }
    }
}

impl PeekAt<String> {
    /// Reads what [`PeekAt::text`] writes.
    ///
    /// ```
    /// use strandline_operators::job::PeekAt;
    /// assert_eq!(PeekAt::parse("field:message_id"), Some(PeekAt::Field("message_id".to_owned())));
    /// assert_eq!(PeekAt::parse("message_id"), None);
    /// ```
    pub fn parse(text: &str) -> Option<PeekAt<String>> {
        let named = |prefix| text.strip_prefix(prefix).filter(|name| !name.is_empty());
        match text {
            "key" => Some(PeekAt::Key),
            "timestamp" => Some(PeekAt::Timestamp),
            _ => named("field:")
                .map(|name| PeekAt::Field(name.to_owned()))
                .or_else(|| named("header:").map(|name| PeekAt::Header(name.to_owned()))),
        }
    }
}

impl Peek<String> {
    pub(super) fn text(&self) -> String {
        format!(
            "{},{},{}",
            self.format.name(),
            self.event_id.text(),
            self.event_time.text()
        )
    }
}

/// How rows of `format: csv` are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CsvPolicy {
    /// The names of a row's cells, in order; none means the job's columns. Those that are no column of the job
    /// are skipped.
    pub columns: &'static [&'static str],
    /// What stands between two cells: ASCII, no quote and no line break.
    pub delimiter: u8,
}

/// The same, as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvSettings {
    /// As [`CsvPolicy::columns`].
    pub columns: Vec<String>,
    /// As [`CsvPolicy::delimiter`].
    pub delimiter: u8,
}

/// How Debezium was told to write what JSON cannot say. Looked at where no Connect schema says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DebeziumPolicy {
    /// What integers count in columns of times and timestamps (`time.precision.mode`).
    pub timestamps: IntegerTimestamps,
    /// What stands in quotes for a decimal (`decimal.handling.mode`).
    pub decimals: QuotedDecimals,
    /// What stands in quotes for bytes (`binary.handling.mode`).
    pub binaries: QuotedBinaries,
}

/// What an integer counts that stands for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntegerTimestamps {
    /// Milliseconds: `time.precision.mode` `connect`, and columns of at most 3 digits by default.
    Millis,
    /// Microseconds: PostgreSQL's columns by default.
    Micros,
    /// Nanoseconds: columns of more than 6 digits by default.
    Nanos,
}

impl IntegerTimestamps {
    /// The name used in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            IntegerTimestamps::Millis => "millis",
            IntegerTimestamps::Micros => "micros",
            IntegerTimestamps::Nanos => "nanos",
        }
    }
}

/// What stands in quotes for a decimal. A number without quotes is that number in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotedDecimals {
    /// Base64 of the unscaled integer, of the column's scale: `decimal.handling.mode` `precise`.
    Base64,
    /// The digits: `decimal.handling.mode` `string`.
    Digits,
    /// Nothing, for it is a number: `decimal.handling.mode` `double`.
    Double,
}

impl QuotedDecimals {
    /// The name used in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            QuotedDecimals::Base64 => "base64",
            QuotedDecimals::Digits => "digits",
            QuotedDecimals::Double => "double",
        }
    }
}

/// What stands in quotes for bytes, as `binary.handling.mode` calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuotedBinaries {
    /// Base64, as Connect writes its bytes.
    Bytes,
    /// Base64, as text: where a Connect schema says `string`, a column of bytes takes it.
    Base64,
    /// The same of base64 with `-` and `_`.
    Base64UrlSafe,
    /// The same of hexadecimal digits.
    Hex,
}

impl QuotedBinaries {
    /// The name used in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            QuotedBinaries::Bytes => "bytes",
            QuotedBinaries::Base64 => "base64",
            QuotedBinaries::Base64UrlSafe => "base64-url-safe",
            QuotedBinaries::Hex => "hex",
        }
    }
}
