//! A job, as its author writes it, and its settings, as they are in force after the configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::io::TableIndex;
use crate::routes::Row;
use crate::schema::{AddedColumn, Column, ColumnType, RAW_COLUMNS};

/// How often a job looks for partitions that were added and for topics created again, when no
/// configuration says otherwise. A look is two small requests of the process.
pub const PARTITION_DISCOVERY_INTERVAL: Duration = Duration::from_secs(30);

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
/// job other than those of [`RAW_COLUMNS`] are peeked from the fields of their
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

    fn to_owned(&self) -> PeekAt<String> {
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
    fn text(&self) -> String {
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

/// An optional boolean column that is derived from a string column, null where that is null.
#[derive(Clone, Copy)]
pub struct Derived {
    /// The column.
    pub column: &'static str,
    /// The column that it is derived from.
    pub from: &'static str,
    /// How: a pure function, so that a replay derives the same.
    pub derive: fn(&str) -> bool,
}

// By names: the address of a function differs between the processes of a job, which compare their settings.
impl fmt::Debug for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.column, self.from)
    }
}

impl PartialEq for Derived {
    fn eq(&self, other: &Self) -> bool {
        (self.column, self.from) == (other.column, other.from)
    }
}

impl Eq for Derived {}

/// A table besides the primary one that rows go to as well. It has the same columns.
#[derive(Clone, Copy)]
pub struct Route<S> {
    /// Its name in the configuration and in the table's progress: lower case, digits, hyphens.
    pub name: &'static str,
    /// The table, `namespace.table`.
    pub table: S,
    /// Whether a row that lands goes there too: a pure function, so that a replay routes the same.
    pub takes: fn(&Row<'_>) -> bool,
}

// By names, as `Derived`.
impl<S: fmt::Debug> fmt::Debug for Route<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {:?}", self.name, self.table)
    }
}

impl<S: PartialEq> PartialEq for Route<S> {
    fn eq(&self, other: &Self) -> bool {
        (self.name, &self.table) == (other.name, &other.table)
    }
}

impl<S: Eq> Eq for Route<S> {}

/// A table of the job besides the primary one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondaryTable<'a> {
    /// Its place in the job.
    pub index: TableIndex,
    /// The route that leads there; `None` is the table of dead letters.
    pub route: Option<&'static str>,
    /// `namespace.table`.
    pub name: &'a str,
}

/// How Debezium was told to write what JSON cannot say. Looked at where no Connect schema says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DebeziumPolicy {
    /// What integers count in columns of times and timestamps (`time.precision.mode`).
    pub timestamps: IntegerTimestamps,
    /// What stands in quotes for a decimal (`decimal.handling.mode`).
    pub decimals: QuotedDecimals,
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

/// What stands in quotes for a decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotedDecimals {
    /// Base64 of the unscaled integer, of the column's scale: `decimal.handling.mode` `precise`.
    Base64,
    /// The digits: `decimal.handling.mode` `string`.
    Digits,
}

impl QuotedDecimals {
    /// The name used in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            QuotedDecimals::Base64 => "base64",
            QuotedDecimals::Digits => "digits",
        }
    }
}

/// Where reading starts in partitions that the table knows nothing of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartingOffsets {
    /// The oldest record that the broker holds.
    Earliest,
    /// The end at the time of the start.
    Latest,
    /// Where the consumer group stands; earliest where it has no position.
    Group,
    /// The first record with this timestamp or a later one, in milliseconds since 1970.
    Timestamp(i64),
    /// Offsets by topic and partition; earliest for partitions not named.
    Explicit(BTreeMap<String, BTreeMap<i32, i64>>),
}

/// What becomes of a record that is behind the watermark by more than the allowed lateness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TooLate {
    /// It is a dead letter (`too_late`).
    DeadLetter,
    /// It lands, flagged late.
    Land,
    /// It is counted as dropped.
    Drop,
}

impl TooLate {
    /// The name used in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            TooLate::DeadLetter => "dead_letter",
            TooLate::Land => "land",
            TooLate::Drop => "drop",
        }
    }
}

/// Where a job's rows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Into its Iceberg tables, exactly once.
    Tables,
    /// To standard output, one JSON object a record. Nothing remembers them: every run reads from
    /// `starting_offsets`.
    Terminal,
}

/// What becomes of fields that a schema of the registry has and the job has no column for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchemaEvolution {
    /// They are skipped.
    Off,
    /// Each becomes an optional column of the job's tables before a record of that schema lands.
    AddColumns,
}

/// What happens when Kafka no longer holds what should be read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnGap {
    /// The job stops with exit status 4 and says what is lost.
    Stop,
    /// The job goes on and writes the lost range into the account as gaps.
    Record,
}

/// How the watermark of a partition follows its event times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkPolicy {
    /// The watermark stays this far behind the largest event time accepted.
    pub out_of_orderness: Duration,
    /// A partition whose end has been reached for this long no longer holds the watermark back.
    pub idle_timeout: Duration,
    /// An event time further ahead of the record's timestamp than this is a dead letter.
    pub max_future_skew: Duration,
}

/// What happens to late records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatenessPolicy {
    /// Behind the watermark by more than this is too late.
    pub allowed: Duration,
    /// What becomes of the too late.
    pub too_late: TooLate,
}

/// Deduplication by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupPolicy<S> {
    /// The column that is the key.
    pub key: S,
    /// How long an id is remembered, in event time.
    pub ttl: Duration,
}

/// When an epoch is closed and committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitPolicy {
    /// After this time,
    pub interval: Duration,
    /// or after this many bytes of records, whichever comes first.
    pub max_bytes: u64,
}

/// A job, as its author writes it. Every field but `name`, `topics`, `columns` and `table` has a default
/// in [`Job::BRONZE`]; the configuration file may override what is not the job's meaning.
///
/// ```
/// use strandline_operators::job::Job;
/// use strandline_operators::schema::{Column, ColumnType};
/// const CLICKS: Job = Job {
///     name: "clicks",
///     topics: &["clicks"],
///     columns: &[
///         Column::required("event_id", ColumnType::String),
///         Column::required("event_time", ColumnType::Timestamptz),
///         Column::optional("url", ColumnType::String),
///     ],
///     table: "bronze.clicks",
///     ..Job::BRONZE
/// };
/// assert!(CLICKS.validate().is_ok());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// The name, as used on the command line and in the configuration: lower case, digits, hyphens.
    pub name: &'static str,
    /// One sentence for `list`.
    pub description: &'static str,
    /// The topics it reads.
    pub topics: &'static [&'static str],
    /// How their records are encoded.
    pub format: Format,
    /// The schema of `format: avro`, as JSON.
    pub avro_schema: Option<&'static str>,
    /// What becomes of fields that the job has no column for.
    pub schema_evolution: SchemaEvolution,
    /// Where `format: raw` finds event id and event time.
    pub peek: Option<Peek<&'static str>>,
    /// How Debezium was told to write; for its formats.
    pub debezium: DebeziumPolicy,
    /// How rows are written; for `format: csv`.
    pub csv: CsvPolicy,
    /// The columns decoded from a record.
    pub columns: &'static [Column],
    /// Those of the columns that are derived from others instead of decoded.
    pub derived: &'static [Derived],
    /// Where its rows go.
    pub sink: Sink,
    /// The Bronze table it lands in, `namespace.table`; none with [`Sink::Terminal`].
    pub table: &'static str,
    /// The tables that some of its rows go to as well: a row to none, one or several of them.
    pub routes: &'static [Route<&'static str>],
    /// The topic for dead letters; `None` for none.
    pub dead_letter_topic: Option<&'static str>,
    /// The table for dead letters; `None` for none.
    pub dead_letter_table: Option<&'static str>,
    /// The column that is the event time; of type timestamptz.
    pub event_time: &'static str,
    /// How the watermark follows the event time.
    pub watermark: WatermarkPolicy,
    /// What happens to late records.
    pub lateness: LatenessPolicy,
    /// Deduplication; `None` for none.
    pub dedup: Option<DedupPolicy<&'static str>>,
    /// When epochs are committed.
    pub commit: CommitPolicy,
}

/// What a job's definition gets wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("job `{job}`: {problem}")]
pub struct InvalidJob {
    /// The job's name.
    pub job: String,
    /// What is wrong.
    pub problem: String,
}

impl Job {
    /// The defaults of a Bronze job: JSON, watermark 5 minutes, lateness 1 hour, deduplication by
    /// `event_id` for 24 hours, a commit a second.
    pub const BRONZE: Job = Job {
        name: "",
        description: "",
        topics: &[],
        format: Format::Json,
        avro_schema: None,
        schema_evolution: SchemaEvolution::Off,
        peek: None,
        debezium: DebeziumPolicy {
            timestamps: IntegerTimestamps::Micros,
            decimals: QuotedDecimals::Base64,
        },
        csv: CsvPolicy {
            columns: &[],
            delimiter: b',',
        },
        columns: &[],
        derived: &[],
        sink: Sink::Tables,
        table: "",
        routes: &[],
        dead_letter_topic: None,
        dead_letter_table: None,
        event_time: "event_time",
        watermark: WatermarkPolicy {
            out_of_orderness: Duration::from_secs(5 * 60),
            idle_timeout: Duration::from_secs(30),
            max_future_skew: Duration::from_secs(60 * 60),
        },
        lateness: LatenessPolicy {
            allowed: Duration::from_secs(60 * 60),
            too_late: TooLate::DeadLetter,
        },
        dedup: Some(DedupPolicy {
            key: "event_id",
            ttl: Duration::from_secs(24 * 60 * 60),
        }),
        commit: CommitPolicy {
            interval: Duration::from_secs(1),
            max_bytes: 256 << 20,
        },
    };

    /// Checks the definition.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn validate(&self) -> Result<(), InvalidJob> {
        let invalid = |problem: String| {
            Err(InvalidJob {
                job: self.name.to_owned(),
                problem,
            })
        };
        let name_fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || !self.name.chars().all(name_fits) {
            return invalid("its name must be lower-case letters, digits and hyphens".to_owned());
        }
        // A terminal shows what it is asked for.
        if self.topics.is_empty() && self.sink == Sink::Tables {
            return invalid("it reads no topic".to_owned());
        }
        let routes = self.routes.iter();
        let tables: Vec<&str> = (self.sink == Sink::Tables)
            .then_some(self.table)
            .into_iter()
            .chain(self.dead_letter_table)
            .chain(routes.map(|route| route.table))
            .collect();
        if self.sink == Sink::Terminal {
            let table = Some(self.table).filter(|table| !table.is_empty());
            if let Some(table) = table.or(tables.first().copied()) {
                return invalid(format!(
                    "it goes to the terminal, and not to table `{table}`"
                ));
            }
        }
        for (i, name) in tables.iter().enumerate() {
            if name.split('.').count() < 2 || name.split('.').any(str::is_empty) {
                return invalid(format!("its table `{name}` must be `namespace.table`"));
            }
            if tables[..i].contains(name) {
                return invalid(format!("two of its tables are `{name}`"));
            }
        }
        for (i, route) in self.routes.iter().enumerate() {
            if route.name.is_empty() || !route.name.chars().all(name_fits) {
                return invalid(format!(
                    "its route `{}` must be lower-case letters, digits and hyphens",
                    route.name
                ));
            }
            if self.routes[..i].iter().any(|r| r.name == route.name) {
                return invalid(format!("it has the route `{}` twice", route.name));
            }
        }
        for (i, column) in self.columns.iter().enumerate() {
            if self.columns[..i].iter().any(|c| c.name == column.name) {
                return invalid(format!("it has the column `{}` twice", column.name));
            }
            if !column.column_type.is_valid() {
                return invalid(format!(
                    "its column `{}` cannot be a {}",
                    column.name,
                    column.column_type.name()
                ));
            }
            if crate::schema::metadata_fields()
                .iter()
                .any(|f| f.name() == column.name)
            {
                return invalid(format!(
                    "`{}` is a column that every Bronze table has already",
                    column.name
                ));
            }
        }
        let Some(event_time) = self.columns.iter().find(|c| c.name == self.event_time) else {
            return invalid(format!(
                "its event time `{}` is none of its columns",
                self.event_time
            ));
        };
        if event_time.column_type != ColumnType::Timestamptz || !event_time.required {
            return invalid(format!(
                "its event time `{}` must be a required timestamptz",
                self.event_time
            ));
        }
        if let Some(dedup) = &self.dedup {
            match self.columns.iter().find(|c| c.name == dedup.key) {
                Some(key) if key.column_type == ColumnType::String && key.required => {}
                _ => {
                    return invalid(format!(
                        "its deduplication key `{}` must be a required string column",
                        dedup.key
                    ));
                }
            }
        }
        Ok(())
    }

    /// The settings in force when no configuration says otherwise.
    pub fn settings(&self) -> JobSettings {
        JobSettings {
            name: self.name.to_owned(),
            topics: self.topics.iter().map(|&t| t.to_owned()).collect(),
            group_id: format!("strandline-{}", self.name),
            starting_offsets: StartingOffsets::Earliest,
            format: self.format,
            avro_schema: self.avro_schema.map(str::to_owned),
            schema_evolution: self.schema_evolution,
            peek: self.peek.map(|peek| Peek {
                format: peek.format,
                event_id: peek.event_id.to_owned(),
                event_time: peek.event_time.to_owned(),
            }),
            debezium: self.debezium,
            csv: CsvSettings {
                columns: self.csv.columns.iter().map(|&c| c.to_owned()).collect(),
                delimiter: self.csv.delimiter,
            },
            columns: self.columns.to_vec(),
            derived: self.derived.to_vec(),
            sink: self.sink,
            table: self.table.to_owned(),
            routes: self
                .routes
                .iter()
                .map(|route| Route {
                    name: route.name,
                    table: route.table.to_owned(),
                    takes: route.takes,
                })
                .collect(),
            dead_letter_topic: self.dead_letter_topic.map(str::to_owned),
            dead_letter_table: self.dead_letter_table.map(str::to_owned),
            event_time: self.event_time.to_owned(),
            watermark: self.watermark,
            lateness: self.lateness,
            dedup: self.dedup.map(|d| DedupPolicy {
                key: d.key.to_owned(),
                ttl: d.ttl,
            }),
            commit: self.commit,
            on_gap: OnGap::Stop,
            partition_discovery_interval: PARTITION_DISCOVERY_INTERVAL,
            memory: 1 << 30,
            max_record_bytes: 8 << 20,
        }
    }
}

/// A job's settings in force: what its code says, overridden by the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSettings {
    /// The job's name.
    pub name: String,
    /// The topics it reads.
    pub topics: Vec<String>,
    /// The consumer group whose offsets follow the durable ones; for people, not for recovery.
    pub group_id: String,
    /// Where reading starts in partitions that the table knows nothing of.
    pub starting_offsets: StartingOffsets,
    /// How records are encoded.
    pub format: Format,
    /// The schema of `format: avro`, as JSON.
    pub avro_schema: Option<String>,
    /// What becomes of fields that the job has no column for.
    pub schema_evolution: SchemaEvolution,
    /// Where `format: raw` finds event id and event time.
    pub peek: Option<Peek<String>>,
    /// How Debezium was told to write; for its formats.
    pub debezium: DebeziumPolicy,
    /// How rows are written; for `format: csv`.
    pub csv: CsvSettings,
    /// The columns decoded from a record.
    pub columns: Vec<Column>,
    /// Those of the columns that are derived from others instead of decoded.
    pub derived: Vec<Derived>,
    /// Where its rows go.
    pub sink: Sink,
    /// The Bronze table.
    pub table: String,
    /// The tables that some of its rows go to as well.
    pub routes: Vec<Route<String>>,
    /// The topic for dead letters.
    pub dead_letter_topic: Option<String>,
    /// The table for dead letters.
    pub dead_letter_table: Option<String>,
    /// The column that is the event time.
    pub event_time: String,
    /// How the watermark follows the event time.
    pub watermark: WatermarkPolicy,
    /// What happens to late records.
    pub lateness: LatenessPolicy,
    /// Deduplication.
    pub dedup: Option<DedupPolicy<String>>,
    /// When epochs are committed.
    pub commit: CommitPolicy,
    /// What happens when Kafka no longer holds what should be read next.
    pub on_gap: OnGap,
    /// How often new partitions of the topics are looked for, and whether the topics are still the same.
    pub partition_discovery_interval: Duration,
    /// Bytes of memory that the process may use for records, filters and caches.
    pub memory: u64,
    /// A record with a larger value is a dead letter (`too_large`). Bytes.
    pub max_record_bytes: u64,
}

impl JobSettings {
    /// Whether no record can be decoded without a schema registry.
    pub fn needs_registry(&self) -> bool {
        match (self.format, &self.peek) {
            (Format::AvroSr | Format::ProtobufSr, _) => true,
            // The schema says what a field is.
            (Format::JsonSr, _) => self.adds_columns(),
            (Format::Raw, Some(peek)) => {
                peek.format == Format::AvroSr
                    && self
                        .columns
                        .iter()
                        .any(|column| match (column.name, &self.dedup) {
                            (name, _) if name == self.event_time => {
                                matches!(peek.event_time, PeekAt::Field(_))
                            }
                            (name, Some(dedup)) if name == dedup.key => {
                                matches!(peek.event_id, PeekAt::Field(_))
                            }
                            (name, _) => !RAW_COLUMNS.iter().any(|raw| raw.name == name),
                        })
            }
            _ => false,
        }
    }

    /// Whether records have a schema registry's header, so that ids can be looked up; or may have, as long as
    /// the format is not recognised.
    pub fn has_schema_ids(&self) -> bool {
        matches!(
            self.read_as().0,
            Format::Auto
                | Format::JsonSr
                | Format::AvroSr
                | Format::ProtobufSr
                | Format::DebeziumJsonSr
        )
    }

    /// The format that fields are found by, and the setting that says it: the format itself, or that of `peek`.
    pub fn read_as(&self) -> (Format, &'static str) {
        match (self.format, &self.peek) {
            (Format::Raw, Some(peek)) => (peek.format, "peek.format"),
            (format, _) => (format, "format"),
        }
    }

    /// Whether fields without a column become columns.
    pub fn adds_columns(&self) -> bool {
        self.schema_evolution == SchemaEvolution::AddColumns
    }

    /// Has these columns too, behind those that it has. One that it has already is left out.
    pub fn add_columns(&mut self, added: &[AddedColumn]) {
        for added in added {
            if !self.columns.iter().any(|column| column.name == added.name) {
                self.columns.push(added.column());
            }
        }
    }

    /// Whether records must come with their headers.
    pub fn wants_headers(&self) -> bool {
        self.format == Format::Raw
    }

    /// The tables besides the primary one: that of the dead letters if there is one, then the routes'.
    pub fn secondary_tables(&self) -> Vec<SecondaryTable<'_>> {
        let letters = self.dead_letter_table.iter().map(|name| SecondaryTable {
            index: TableIndex::DEAD_LETTERS,
            route: None,
            name,
        });
        let routes = self
            .routes
            .iter()
            .enumerate()
            .map(|(place, route)| SecondaryTable {
                index: TableIndex::of_route(place),
                route: Some(route.name),
                name: &route.table,
            });
        letters.chain(routes).collect()
    }

    /// What the meaning of the deduplication state depends on. A change of it needs a person's consent.
    pub fn fingerprint(&self) -> String {
        let dedup = match &self.dedup {
            Some(d) => format!("key={};ttl_ms={}", d.key, d.ttl.as_millis()),
            None => "off".to_owned(),
        };
        // Only for the jobs that peek: the fingerprints of the others are in their tables already.
        let peek = match &self.peek {
            Some(peek) if self.format == Format::Raw => format!(";peek={}", peek.text()),
            _ => String::new(),
        };
        // Likewise. What a route takes is code, so only its name can tell of a change.
        let routes: Vec<&str> = self.routes.iter().map(|route| route.name).collect();
        let routes = match routes.as_slice() {
            [] => String::new(),
            names => format!(";routes={}", names.join(",")),
        };
        format!(
            "hash=xxh3-128;dedup={dedup}{peek}{routes};event_time={};out_of_orderness_ms={};allowed_ms={};too_late={}",
            self.event_time,
            self.watermark.out_of_orderness.as_millis(),
            self.lateness.allowed.as_millis(),
            self.lateness.too_late.name(),
        )
    }
}
