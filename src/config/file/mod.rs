//! What the configuration file says, setting by setting; everything may be absent.
//!
//! The structures carry the JSON Schema for editors, the readers (`sections`, `values`) say what is
//! allowed. A test holds the two together.

pub(crate) mod bounds;
mod sections;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use schemars::JsonSchema;
use strandline_operators::job::{
    Format, IntegerTimestamps, OnGap, PeekAt, QuotedBinaries, QuotedDecimals, SchemaEvolution,
    StartingOffsets, TooLate,
};

use super::origin::{At, Origin};
use super::schema;

/// The words of `catalog.type`.
pub(crate) const CATALOG_TYPES: [(&str, CatalogType); 2] =
    [("sql", CatalogType::Sql), ("rest", CatalogType::Rest)];
pub(crate) const FORMATS: [(&str, Format); 10] = [
    ("auto", Format::Auto),
    ("json", Format::Json),
    ("json_sr", Format::JsonSr),
    ("avro", Format::Avro),
    ("avro_sr", Format::AvroSr),
    ("protobuf_sr", Format::ProtobufSr),
    ("csv", Format::Csv),
    ("raw", Format::Raw),
    ("debezium_json", Format::DebeziumJson),
    ("debezium_json_sr", Format::DebeziumJsonSr),
];
/// The formats that fields can be peeked through.
pub(crate) const PEEK_FORMATS: [(&str, Format); 3] = [
    ("json", Format::Json),
    ("json_sr", Format::JsonSr),
    ("avro_sr", Format::AvroSr),
];
pub(crate) const INTEGER_TIMESTAMPS: [(&str, IntegerTimestamps); 3] = [
    ("millis", IntegerTimestamps::Millis),
    ("micros", IntegerTimestamps::Micros),
    ("nanos", IntegerTimestamps::Nanos),
];
/// Debezium's own words too.
pub(crate) const QUOTED_DECIMALS: [(&str, QuotedDecimals); 5] = [
    ("base64", QuotedDecimals::Base64),
    ("precise", QuotedDecimals::Base64),
    ("digits", QuotedDecimals::Digits),
    ("string", QuotedDecimals::Digits),
    ("double", QuotedDecimals::Double),
];
pub(crate) const QUOTED_BINARIES: [(&str, QuotedBinaries); 4] = [
    ("bytes", QuotedBinaries::Bytes),
    ("base64", QuotedBinaries::Base64),
    ("base64-url-safe", QuotedBinaries::Base64UrlSafe),
    ("hex", QuotedBinaries::Hex),
];
pub(crate) const TOO_LATE: [(&str, TooLate); 3] = [
    ("dead_letter", TooLate::DeadLetter),
    ("land", TooLate::Land),
    ("drop", TooLate::Drop),
];
pub(crate) const SCHEMA_EVOLUTIONS: [(&str, SchemaEvolution); 2] = [
    ("off", SchemaEvolution::Off),
    ("add_columns", SchemaEvolution::AddColumns),
];
pub(crate) const BOOLEANS: [(&str, bool); 2] = [("true", true), ("false", false)];
pub(crate) const ON_GAP: [(&str, OnGap); 2] = [("stop", OnGap::Stop), ("record", OnGap::Record)];

/// The kinds of Iceberg catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogType {
    /// Tables of a SQL database; SQLite is built in.
    Sql,
    /// A server that speaks Iceberg's REST protocol.
    Rest,
}

impl CatalogType {
    /// The name used in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            CatalogType::Sql => "sql",
            CatalogType::Rest => "rest",
        }
    }
}

/// Something that can be turned off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Switch<T> {
    Off,
    On(T),
}

/// Configuration of Strandline.
#[derive(Default, JsonSchema)]
#[schemars(title = "Strandline configuration", deny_unknown_fields, extend("required" = ["kafka", "catalog"]))]
pub(crate) struct ConfigFile {
    /// The Kafka cluster.
    pub kafka: Option<KafkaSection>,
    /// The schema registry.
    pub schema_registry: Option<SchemaRegistrySection>,
    /// The Iceberg catalog.
    pub catalog: Option<CatalogSection>,
    /// Folder of what a job keeps on this host. Default: ./data/state.
    #[schemars(schema_with = "schema::text", default)]
    pub state_dir: Option<At<String>>,
    /// Address of UI, API and metrics, or `off`. Port 0: any free one. Default: 127.0.0.1:8092.
    #[schemars(schema_with = "schema::http", default)]
    pub http: Option<At<Switch<SocketAddr>>>,
    /// What API, metrics and UI ask for as `Authorization: Bearer ...`. Default: nothing.
    #[schemars(schema_with = "schema::text", default)]
    pub http_token: Option<At<String>>,
    /// PEM file of the certificate (and what leads to its authority) that HTTP is served with, behind TLS.
    /// Default: none, and no TLS.
    #[schemars(schema_with = "schema::text", default)]
    pub http_ssl_certificate_location: Option<At<String>>,
    /// PEM file of the private key of that certificate.
    #[schemars(schema_with = "schema::text", default)]
    pub http_ssl_key_location: Option<At<String>>,
    /// How `launch` restarts a job that failed.
    pub restart: Option<RestartSection>,
    /// Overrides of what the jobs' code says, by job.
    pub jobs: BTreeMap<String, JobSection>,
}

/// The Kafka cluster.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields, extend("required" = ["bootstrap_servers"]))]
pub(crate) struct KafkaSection {
    /// Brokers to start from, `host:port`, comma separated.
    #[schemars(schema_with = "schema::text", default)]
    pub bootstrap_servers: Option<At<String>>,
    /// Any librdkafka property, verbatim.
    #[schemars(schema_with = "schema::properties", default)]
    pub properties: BTreeMap<String, At<String>>,
}

/// The schema registry.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields, extend("required" = ["url"]))]
pub(crate) struct SchemaRegistrySection {
    /// Its address.
    #[schemars(schema_with = "schema::text", default)]
    pub url: Option<At<String>>,
    /// User for basic authentication.
    #[schemars(schema_with = "schema::text", default)]
    pub username: Option<At<String>>,
    /// Password for basic authentication.
    #[schemars(schema_with = "schema::text", default)]
    pub password: Option<At<String>>,
    /// Token for bearer authentication.
    #[schemars(schema_with = "schema::text", default)]
    pub bearer_token: Option<At<String>>,
    /// PEM file of certificate authorities that the server's certificate may come from.
    #[schemars(schema_with = "schema::text", default)]
    pub ssl_ca_location: Option<At<String>>,
    /// PEM file of our own certificate, for a server that asks for one.
    #[schemars(schema_with = "schema::text", default)]
    pub ssl_certificate_location: Option<At<String>>,
    /// PEM file of its private key.
    #[schemars(schema_with = "schema::text", default)]
    pub ssl_key_location: Option<At<String>>,
}

/// The Iceberg catalog.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields, extend("required" = ["type", "uri"]))]
pub(crate) struct CatalogSection {
    /// `sql` or `rest`.
    #[schemars(rename = "type", schema_with = "schema::catalog_type", default)]
    pub catalog_type: Option<At<CatalogType>>,
    /// Address of the catalog: `sqlite://PATH` or `http(s)://HOST`.
    #[schemars(schema_with = "schema::text", default)]
    pub uri: Option<At<String>>,
    /// Where tables are kept: a local path, `file://` or `s3://`. A REST catalog may choose by itself.
    #[schemars(schema_with = "schema::text", default)]
    pub warehouse: Option<At<String>>,
    /// Properties of the catalog and its file system, verbatim.
    #[schemars(schema_with = "schema::properties", default)]
    pub properties: BTreeMap<String, At<String>>,
}

/// How `launch` restarts a job that failed.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct RestartSection {
    /// Restarts in a row before giving up. Default: 3.
    #[schemars(schema_with = "schema::attempts", default)]
    pub attempts: Option<At<u32>>,
    /// Wait before a restart. Default: 30s.
    #[schemars(schema_with = "schema::duration", default)]
    pub delay: Option<At<Duration>>,
}

/// What `format` says of a job's topics.
pub(crate) enum Formats {
    /// All have this one.
    One(Format),
    /// Each has its own.
    ByTopic(BTreeMap<String, At<Format>>),
}

/// Overrides of one job.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct JobSection {
    /// The topics it reads.
    #[schemars(schema_with = "schema::topics", default)]
    pub topics: Option<At<Vec<String>>>,
    /// Consumer group whose offsets follow the durable ones. Default: strandline-JOB.
    #[schemars(schema_with = "schema::text", default)]
    pub group_id: Option<At<String>>,
    /// Where reading starts in partitions that the table knows nothing of. Default: earliest.
    #[schemars(schema_with = "schema::starting_offsets", default)]
    pub starting_offsets: Option<At<StartingOffsets>>,
    /// How records are encoded, one word for all topics or a map of each to its own; `auto`: recognised from the first
    /// records.
    #[schemars(schema_with = "schema::format", default)]
    pub format: Option<At<Formats>>,
    /// The schema of `format: avro`, as JSON; `${file:PATH}` reads it from a file.
    #[schemars(schema_with = "schema::text", default)]
    pub avro_schema: Option<At<String>>,
    /// Whether a record of `format: json_sr` that violates its registered JSON Schema is a dead letter. Default: true.
    #[schemars(schema_with = "schema::boolean", default)]
    pub json_fail_invalid_schema: Option<At<bool>>,
    /// Where `format: raw` finds event id and event time.
    pub peek: Option<PeekSection>,
    /// How Debezium was told to write; for its formats.
    pub debezium: Option<DebeziumSection>,
    /// How rows are written; for `format: csv`.
    pub csv: Option<CsvSection>,
    /// The Bronze table, `namespace.table`.
    #[schemars(schema_with = "schema::table", default)]
    pub table: Option<At<String>>,
    /// The tables of the job's routes, by the route's name.
    #[schemars(schema_with = "schema::routes", default)]
    pub routes: BTreeMap<String, At<String>>,
    /// Where records go that cannot land.
    pub dead_letters: Option<DeadLettersSection>,
    /// The column that is the event time.
    #[schemars(schema_with = "schema::text", default)]
    pub event_time: Option<At<String>>,
    /// How the watermark follows the event time.
    pub watermark: Option<WatermarkSection>,
    /// What happens to late records.
    pub lateness: Option<LatenessSection>,
    /// Deduplication, or `off`.
    #[schemars(schema_with = "schema::dedup", default)]
    pub dedup: Option<At<Switch<DedupSection>>>,
    /// When epochs are committed.
    pub commit: Option<CommitSection>,
    /// What becomes of fields that a schema has and the job has no column for: `off` (they are
    /// skipped) or `add_columns` (they become columns of its tables). Default: off.
    #[schemars(schema_with = "schema::schema_evolution", default)]
    pub schema_evolution: Option<At<SchemaEvolution>>,
    /// When Kafka no longer holds what should be read next: `stop` or `record`. Default: stop.
    #[schemars(schema_with = "schema::on_gap", default)]
    pub on_gap: Option<At<OnGap>>,
    /// How often new partitions are looked for, and topics that were created again. Default: 30s.
    #[schemars(schema_with = "schema::duration", default)]
    pub partition_discovery_interval: Option<At<Duration>>,
    /// Memory for records, filters and caches of one process. Default: 1GiB.
    #[schemars(schema_with = "schema::size", default)]
    pub memory: Option<At<u64>>,
    /// A record with a larger value is a dead letter. Default: 8MiB.
    #[schemars(schema_with = "schema::size", default)]
    pub max_record_bytes: Option<At<u64>>,
    /// Where the section stands.
    #[schemars(skip)]
    pub origin: Option<Origin>,
}

/// Where `format: raw` finds event id and event time.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct PeekSection {
    /// How fields are found.
    #[schemars(schema_with = "schema::peek_format", default)]
    pub format: Option<At<Format>>,
    /// `field:NAME`, `header:NAME` or `key`.
    #[schemars(schema_with = "schema::peek_at", default)]
    pub event_id: Option<At<PeekAt<String>>>,
    /// `field:NAME`, `header:NAME` or `timestamp` (the record's own).
    #[schemars(schema_with = "schema::peek_at", default)]
    pub event_time: Option<At<PeekAt<String>>>,
}

/// How Debezium was told to write, where no Connect schema says it.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct DebeziumSection {
    /// What integers count in columns of times and timestamps. Default: micros.
    #[schemars(schema_with = "schema::integer_timestamps", default)]
    pub timestamps: Option<At<IntegerTimestamps>>,
    /// What stands in quotes for a decimal: Debezium's `decimal.handling.mode`, where `precise` is `base64` and
    /// `string` is `digits`. Default: base64.
    #[schemars(schema_with = "schema::quoted_decimals", default)]
    pub decimals: Option<At<QuotedDecimals>>,
    /// What stands in quotes for bytes: Debezium's `binary.handling.mode`. Default: bytes.
    #[schemars(schema_with = "schema::quoted_binaries", default)]
    pub binaries: Option<At<QuotedBinaries>>,
}

/// How rows of CSV are written.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct CsvSection {
    /// The names of a row's cells, in order; those that are no column of the job are skipped. Default: the
    /// job's columns.
    #[schemars(schema_with = "schema::csv_columns", default)]
    pub columns: Option<At<Vec<String>>>,
    /// What stands between two cells, one character. Default: a comma.
    #[schemars(schema_with = "schema::csv_delimiter", default)]
    pub delimiter: Option<At<u8>>,
}

/// Where records go that cannot land.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct DeadLettersSection {
    /// Topic of the records that cannot land, or `off`.
    #[schemars(schema_with = "schema::text", default)]
    pub topic: Option<At<Switch<String>>>,
    /// Table of the records that cannot land, `namespace.table`, or `off`.
    #[schemars(schema_with = "schema::table_or_off", default)]
    pub table: Option<At<Switch<String>>>,
}

/// How the watermark follows the event time.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct WatermarkSection {
    /// The watermark stays this far behind the largest event time.
    #[schemars(schema_with = "schema::duration", default)]
    pub out_of_orderness: Option<At<Duration>>,
    /// A partition at its end for this long no longer holds the watermark back.
    #[schemars(schema_with = "schema::duration", default)]
    pub idle_timeout: Option<At<Duration>>,
    /// An event time further ahead of its record's timestamp is a dead letter.
    #[schemars(schema_with = "schema::duration", default)]
    pub max_future_skew: Option<At<Duration>>,
}

/// What happens to late records.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct LatenessSection {
    /// Behind the watermark by more than this is too late.
    #[schemars(schema_with = "schema::duration", default)]
    pub allowed: Option<At<Duration>>,
    /// What becomes of the too late: `dead_letter`, `land` or `drop`.
    #[schemars(schema_with = "schema::too_late", default)]
    pub too_late: Option<At<TooLate>>,
}

/// Deduplication by key.
#[derive(Clone, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct DedupSection {
    /// The column that is the key.
    #[schemars(schema_with = "schema::text", default)]
    pub key: Option<At<String>>,
    /// How long an id is remembered, in event time.
    #[schemars(schema_with = "schema::duration", default)]
    pub ttl: Option<At<Duration>>,
}

/// When epochs are committed.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct CommitSection {
    /// An epoch is committed after this time. Default: 1s.
    #[schemars(schema_with = "schema::duration", default)]
    pub interval: Option<At<Duration>>,
    /// An epoch is committed after this many bytes of records. Default: 256MiB.
    #[schemars(schema_with = "schema::size", default)]
    pub max_bytes: Option<At<u64>>,
}
