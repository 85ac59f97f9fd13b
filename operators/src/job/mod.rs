//! A job, as its author writes it, and its settings, as they are in force after the configuration.

mod format;
mod policy;
mod row;
mod settings;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::schema::{Column, ColumnType};

pub use format::{
    CsvPolicy, CsvSettings, DebeziumPolicy, Format, IntegerTimestamps, Peek, PeekAt,
    QuotedBinaries, QuotedDecimals,
};
pub use policy::{
    CommitPolicy, DedupPolicy, LatenessPolicy, OnGap, SchemaEvolution, Sink, StartingOffsets,
    TooLate, WatermarkPolicy,
};
pub use row::{Derived, Route, SecondaryTable};
pub use settings::JobSettings;

/// How often a job looks for partitions that were added and for topics created again, when no
/// configuration says otherwise. A look is two small requests of the process.
pub const PARTITION_DISCOVERY_INTERVAL: Duration = Duration::from_secs(30);

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
    /// Whether a record of `format: json_sr` that violates its registered JSON Schema is a dead letter. The name is that
    /// of Confluent's deserializer.
    pub json_fail_invalid_schema: bool,
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
        json_fail_invalid_schema: true,
        schema_evolution: SchemaEvolution::Off,
        peek: None,
        debezium: DebeziumPolicy {
            timestamps: IntegerTimestamps::Micros,
            decimals: QuotedDecimals::Base64,
            binaries: QuotedBinaries::Bytes,
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
            formats: BTreeMap::new(),
            avro_schema: self.avro_schema.map(str::to_owned),
            json_fail_invalid_schema: self.json_fail_invalid_schema,
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
