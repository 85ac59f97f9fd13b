//! A job's settings, as they are in force after the configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    CommitPolicy, CsvSettings, DebeziumPolicy, DedupPolicy, Derived, Format, LatenessPolicy, OnGap,
    Peek, PeekAt, Route, SchemaEvolution, SecondaryTable, Sink, StartingOffsets, WatermarkPolicy,
};
use crate::io::TableIndex;
use crate::schema::{AddedColumn, Column, RAW_COLUMNS};

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
    /// How records are encoded, but for those of the topics in `formats`.
    pub format: Format,
    /// The topics whose records are encoded otherwise; none, as long as all have one format.
    pub formats: BTreeMap<String, Format>,
    /// The schema of `format: avro`, as JSON.
    pub avro_schema: Option<String>,
    /// Whether a record of `format: json_sr` that violates its registered JSON Schema is a dead letter. The name is that
    /// of Confluent's deserializer.
    pub json_fail_invalid_schema: bool,
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
    /// How the records of a topic are encoded.
    pub fn format_of(&self, topic: &str) -> Format {
        self.formats.get(topic).copied().unwrap_or(self.format)
    }

    /// The formats that its topics have, each once.
    pub fn all_formats(&self) -> Vec<Format> {
        let mut all = vec![self.format];
        for format in self.formats.values() {
            if !all.contains(format) {
                all.push(*format);
            }
        }
        all
    }

    /// The format of every topic.
    pub fn formats_by_topic(&self) -> BTreeMap<String, Format> {
        let with_format = |topic: &String| (topic.clone(), self.format_of(topic));
        self.topics.iter().map(with_format).collect()
    }

    /// Has these formats, by topic. A topic that is not among them keeps the one that it has.
    pub fn set_formats(&mut self, formats: &BTreeMap<String, Format>) {
        let mut by_topic = self.formats_by_topic();
        for (topic, format) in &mut by_topic {
            if let Some(said) = formats.get(topic) {
                *format = *said;
            }
        }
        // What all topics have is said once, whoever said it of each: equal settings are to look equal.
        if let Some(first) = self.topics.first().and_then(|first| by_topic.get(first)) {
            self.format = *first;
        }
        by_topic.retain(|_, format| *format != self.format);
        self.formats = by_topic;
    }

    /// Whether the format of a topic is to be told from its records.
    pub fn leaves_format_open(&self) -> bool {
        self.all_formats().contains(&Format::Auto)
    }

    /// Whether there is a topic of which no record can be decoded without a schema registry.
    pub fn needs_registry(&self) -> bool {
        let mut formats = self.all_formats().into_iter();
        formats.any(|format| self.needs_registry_for(format))
    }

    fn needs_registry_for(&self, format: Format) -> bool {
        match (format, &self.peek) {
            (Format::AvroSr | Format::ProtobufSr, _) => true,
            // The schema says what a field is.
            (Format::JsonSr | Format::DebeziumJsonSr, _) => self.adds_columns(),
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
        let has_header = |format| {
            matches!(
                self.peeked_through(format),
                Format::Auto
                    | Format::JsonSr
                    | Format::AvroSr
                    | Format::ProtobufSr
                    | Format::DebeziumJsonSr
            )
        };
        self.all_formats().into_iter().any(has_header)
    }

    /// The format that fields of a topic's records are found by, and the setting that says it: the format itself, or
    /// that of `peek`.
    pub fn read_as(&self, topic: &str) -> (Format, String) {
        let format = self.format_of(topic);
        let key = match (format, &self.peek) {
            (Format::Raw, Some(_)) => "peek.format".to_owned(),
            _ => self.format_key(topic),
        };
        (self.peeked_through(format), key)
    }

    /// The key, below the job's, that says the format of a topic: its own where there are others that have theirs.
    pub fn format_key(&self, topic: &str) -> String {
        match self.topics.len() {
            0 | 1 => "format".to_owned(),
            _ => format!("format.{topic}"),
        }
    }

    /// The format that fields are found by: that of `peek`, where records are kept as they are.
    fn peeked_through(&self, format: Format) -> Format {
        match (format, &self.peek) {
            (Format::Raw, Some(peek)) => peek.format,
            (format, _) => format,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Job;

    fn settings() -> JobSettings {
        Job {
            topics: &["b", "a", "c"],
            ..Job::BRONZE
        }
        .settings()
    }

    fn by_topic(formats: &[(&str, Format)]) -> BTreeMap<String, Format> {
        let owned = |&(topic, format): &(&str, Format)| (topic.to_owned(), format);
        formats.iter().map(owned).collect()
    }

    #[test]
    fn what_is_said_of_every_topic_alike_is_what_is_said_of_all() {
        let mut said = settings();
        said.set_formats(&by_topic(&[
            ("a", Format::Csv),
            ("b", Format::Csv),
            ("c", Format::Csv),
        ]));
        let whole = JobSettings {
            format: Format::Csv,
            ..settings()
        };
        assert_eq!(said, whole);
    }

    #[test]
    fn a_topic_keeps_its_format_when_another_is_said_of_others() {
        let mut settings = settings();
        settings.set_formats(&by_topic(&[("a", Format::Auto), ("b", Format::AvroSr)]));
        assert!(settings.leaves_format_open());
        settings.set_formats(&by_topic(&[("a", Format::Csv), ("d", Format::Raw)]));
        assert!(!settings.leaves_format_open());
        let expected = [
            ("a", Format::Csv),
            ("b", Format::AvroSr),
            ("c", Format::Json),
        ];
        assert_eq!(settings.formats_by_topic(), by_topic(&expected));
        assert_eq!(
            settings.all_formats(),
            [Format::AvroSr, Format::Csv, Format::Json]
        );
        // One topic with schema ids is enough for a registry to be needed.
        assert!(settings.has_schema_ids() && settings.needs_registry());
        assert_eq!(settings.read_as("c"), (Format::Json, "format.c".to_owned()));
    }
}
