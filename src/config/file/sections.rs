//! Reads the sections of the file, key by key.

use std::collections::BTreeMap;

use super::bounds::{
    COMMIT_INTERVAL, COMMIT_MAX_BYTES, FROM_ZERO, IDLE_TIMEOUT, MAX_RECORD_BYTES,
    MAX_RESTART_ATTEMPTS, MEMORY, PARTITION_DISCOVERY_INTERVAL, RESTART_DELAY,
};
use super::values::{
    address, csv_delimiter, read_csv_columns, read_dedup, read_format, read_routes,
    read_starting_offsets, read_topics, table, topic,
};
use super::{
    BOOLEANS, CATALOG_TYPES, CatalogSection, CatalogType, CommitSection, ConfigFile, CsvSection,
    DeadLettersSection, DebeziumSection, INTEGER_TIMESTAMPS, JobSection, KafkaSection,
    LatenessSection, ON_GAP, PEEK_FORMATS, PeekSection, QUOTED_BINARIES, QUOTED_DECIMALS,
    RestartSection, SCHEMA_EVOLUTIONS, SchemaRegistrySection, Switch, TOO_LATE, WatermarkSection,
};
use crate::config::read::{Problems, Section};
use crate::config::tree::Node;
use strandline_operators::job::PeekAt;

impl ConfigFile {
    /// Reads the whole file.
    pub fn read(root: &Node, problems: &mut Problems) -> ConfigFile {
        let mut section = Section::of("", root, problems);
        let file = ConfigFile {
            kafka: section
                .section("kafka", problems)
                .map(|s| KafkaSection::read(s, problems)),
            schema_registry: section
                .section("schema_registry", problems)
                .map(|s| SchemaRegistrySection::read(s, problems)),
            catalog: section
                .section("catalog", problems)
                .map(|s| CatalogSection::read(s, problems)),
            state_dir: section.text("state_dir", "a path", problems),
            http: section.scalar(
                "http",
                "an address such as `127.0.0.1:8092` (port 0: any free one), or `off`",
                problems,
                address,
            ),
            http_token: section.text("http_token", "text, best as `${env:NAME}`", problems),
            http_ssl_certificate_location: section.text(HTTP_CERTIFICATE, "a path", problems),
            http_ssl_key_location: section.text(HTTP_KEY, "a path", problems),
            restart: section
                .section("restart", problems)
                .map(|s| RestartSection::read(s, problems)),
            jobs: read_jobs(&mut section, problems),
        };
        section.require_together(
            (
                HTTP_CERTIFICATE,
                file.http_ssl_certificate_location.is_some(),
            ),
            (HTTP_KEY, file.http_ssl_key_location.is_some()),
            problems,
        );
        section.finish(problems);
        file
    }
}

const HTTP_CERTIFICATE: &str = "http_ssl_certificate_location";
const HTTP_KEY: &str = "http_ssl_key_location";

fn read_jobs(root: &mut Section<'_>, problems: &mut Problems) -> BTreeMap<String, JobSection> {
    let Some(section) = root.section("jobs", problems) else {
        return BTreeMap::new();
    };
    let mut jobs = BTreeMap::new();
    for entry in section.entries() {
        let mut job = JobSection::read(
            Section::of(&section.path_of(&entry.key), &entry.node, problems),
            problems,
        );
        job.origin = Some(entry.key_origin.clone());
        jobs.insert(entry.key.clone(), job);
    }
    jobs
}

impl KafkaSection {
    fn read(mut section: Section<'_>, problems: &mut Problems) -> KafkaSection {
        let kafka = KafkaSection {
            bootstrap_servers: section.text(
                "bootstrap_servers",
                "brokers as `host:port`, comma separated",
                problems,
            ),
            properties: section.properties("properties", problems),
        };
        section.finish(problems);
        kafka
    }
}

impl SchemaRegistrySection {
    fn read(mut section: Section<'_>, problems: &mut Problems) -> SchemaRegistrySection {
        let registry = SchemaRegistrySection {
            url: section.text(
                "url",
                "an address such as `http://localhost:8081`",
                problems,
            ),
            username: section.text("username", "text", problems),
            password: section.text("password", "text", problems),
            bearer_token: section.text("bearer_token", "text", problems),
            ssl_ca_location: section.text("ssl_ca_location", "a path", problems),
            ssl_certificate_location: section.text("ssl_certificate_location", "a path", problems),
            ssl_key_location: section.text("ssl_key_location", "a path", problems),
        };
        section.require("url", "add `url: http://localhost:8081`", problems);
        section.require_together(
            ("username", registry.username.is_some()),
            ("password", registry.password.is_some()),
            problems,
        );
        section.require_together(
            (
                "ssl_certificate_location",
                registry.ssl_certificate_location.is_some(),
            ),
            ("ssl_key_location", registry.ssl_key_location.is_some()),
            problems,
        );
        if let (Some(_), Some(token)) = (&registry.username, &registry.bearer_token) {
            problems.reject(
                "schema_registry.bearer_token",
                "set beside `username`",
                &token.origin,
                "left out, or `username` and `password` must be",
            );
        }
        section.finish(problems);
        registry
    }
}

impl CatalogSection {
    fn read(mut section: Section<'_>, problems: &mut Problems) -> CatalogSection {
        let catalog = CatalogSection {
            catalog_type: section.choice("type", &CATALOG_TYPES, problems),
            uri: section.text(
                "uri",
                "an address such as `sqlite://./data/catalog.db` or `http://localhost:8181`",
                problems,
            ),
            warehouse: section.text(
                "warehouse",
                "a local path, `file://...` or `s3://...`",
                problems,
            ),
            properties: section.properties("properties", problems),
        };
        let kind = catalog.catalog_type.as_ref().map(|t| t.value);
        let uri = match kind {
            Some(CatalogType::Rest) => "add `uri: http://localhost:8181`",
            _ => "add `uri: sqlite://./data/catalog.db`",
        };
        section.require("type", "add `type: sql` or `type: rest`", problems);
        section.require("uri", uri, problems);
        if kind == Some(CatalogType::Sql) {
            section.require("warehouse", "add `warehouse: ./data/warehouse`", problems);
        }
        section.finish(problems);
        catalog
    }
}

impl RestartSection {
    fn read(mut section: Section<'_>, problems: &mut Problems) -> RestartSection {
        let restart = RestartSection {
            attempts: section.scalar(
                "attempts",
                &format!("a whole number from 0 to {MAX_RESTART_ATTEMPTS}"),
                problems,
                |text| text.parse().ok().filter(|n| *n <= MAX_RESTART_ATTEMPTS),
            ),
            delay: section.duration("delay", RESTART_DELAY, problems),
        };
        section.finish(problems);
        restart
    }
}

impl JobSection {
    fn read(mut section: Section<'_>, problems: &mut Problems) -> JobSection {
        let job = JobSection {
            topics: read_topics(&mut section, problems),
            group_id: section.text("group_id", "text", problems),
            starting_offsets: read_starting_offsets(&mut section, problems),
            format: read_format(&mut section, problems),
            avro_schema: section.text("avro_schema", "an Avro schema as JSON", problems),
            json_fail_invalid_schema: section.choice(
                "json_fail_invalid_schema",
                &BOOLEANS,
                problems,
            ),
            peek: section
                .section("peek", problems)
                .map(|s| PeekSection::read(s, problems)),
            debezium: section
                .section("debezium", problems)
                .map(|s| DebeziumSection::read(s, problems)),
            csv: section
                .section("csv", problems)
                .map(|s| CsvSection::read(s, problems)),
            table: section.scalar("table", "a table as `namespace.table`", problems, table),
            routes: read_routes(&mut section, problems),
            dead_letters: section
                .section("dead_letters", problems)
                .map(|s| DeadLettersSection::read(s, problems)),
            event_time: section.text("event_time", "the name of a column", problems),
            watermark: section
                .section("watermark", problems)
                .map(|s| WatermarkSection::read(s, problems)),
            lateness: section
                .section("lateness", problems)
                .map(|s| LatenessSection::read(s, problems)),
            dedup: read_dedup(&mut section, problems),
            commit: section
                .section("commit", problems)
                .map(|s| CommitSection::read(s, problems)),
            schema_evolution: section.choice("schema_evolution", &SCHEMA_EVOLUTIONS, problems),
            on_gap: section.choice("on_gap", &ON_GAP, problems),
            partition_discovery_interval: section.duration(
                "partition_discovery_interval",
                PARTITION_DISCOVERY_INTERVAL,
                problems,
            ),
            memory: section.size("memory", MEMORY, problems),
            max_record_bytes: section.size("max_record_bytes", MAX_RECORD_BYTES, problems),
            origin: None,
        };
        section.finish(problems);
        job
    }
}

impl PeekSection {
    fn read(mut section: Section<'_>, problems: &mut Problems) -> PeekSection {
        let id = "`field:NAME`, `header:NAME` or `key`";
        let time = "`field:NAME`, `header:NAME` or `timestamp`";
        let peek = PeekSection {
            format: section.choice("format", &PEEK_FORMATS, problems),
            event_id: section.scalar("event_id", id, problems, |text| {
                PeekAt::parse(text).filter(|at| *at != PeekAt::Timestamp)
            }),
            event_time: section.scalar("event_time", time, problems, |text| {
                PeekAt::parse(text).filter(|at| *at != PeekAt::Key)
            }),
        };
        section.finish(problems);
        peek
    }
}

impl DebeziumSection {
    fn read(mut section: Section<'_>, problems: &mut Problems) -> DebeziumSection {
        let debezium = DebeziumSection {
            timestamps: section.choice("timestamps", &INTEGER_TIMESTAMPS, problems),
            decimals: section.choice("decimals", &QUOTED_DECIMALS, problems),
            binaries: section.choice("binaries", &QUOTED_BINARIES, problems),
        };
        section.finish(problems);
        debezium
    }
}

impl CsvSection {
    fn read(mut section: Section<'_>, problems: &mut Problems) -> CsvSection {
        let csv = CsvSection {
            columns: read_csv_columns(&mut section, problems),
            delimiter: section.scalar(
                "delimiter",
                "one ASCII character that is no quote and no line break, such as `;` or `\\t`",
                problems,
                csv_delimiter,
            ),
        };
        section.finish(problems);
        csv
    }
}

impl DeadLettersSection {
    fn read(mut section: Section<'_>, problems: &mut Problems) -> DeadLettersSection {
        let dead_letters = DeadLettersSection {
            topic: section.scalar(
                "topic",
                "the name of a topic (letters, digits, `.`, `_`, `-`), or `off`",
                problems,
                |t| {
                    if t == "off" {
                        Some(Switch::Off)
                    } else {
                        topic(t).map(Switch::On)
                    }
                },
            ),
            table: section.scalar(
                "table",
                "a table as `namespace.table`, or `off`",
                problems,
                |t| {
                    if t == "off" {
                        Some(Switch::Off)
                    } else {
                        table(t).map(Switch::On)
                    }
                },
            ),
        };
        section.finish(problems);
        dead_letters
    }
}

impl WatermarkSection {
    fn read(mut section: Section<'_>, problems: &mut Problems) -> WatermarkSection {
        let watermark = WatermarkSection {
            out_of_orderness: section.duration("out_of_orderness", FROM_ZERO, problems),
            idle_timeout: section.duration("idle_timeout", IDLE_TIMEOUT, problems),
            max_future_skew: section.duration("max_future_skew", FROM_ZERO, problems),
        };
        section.finish(problems);
        watermark
    }
}

impl LatenessSection {
    fn read(mut section: Section<'_>, problems: &mut Problems) -> LatenessSection {
        let lateness = LatenessSection {
            allowed: section.duration("allowed", FROM_ZERO, problems),
            too_late: section.choice("too_late", &TOO_LATE, problems),
        };
        section.finish(problems);
        lateness
    }
}

impl CommitSection {
    fn read(mut section: Section<'_>, problems: &mut Problems) -> CommitSection {
        let commit = CommitSection {
            interval: section.duration("interval", COMMIT_INTERVAL, problems),
            max_bytes: section.size("max_bytes", COMMIT_MAX_BYTES, problems),
        };
        section.finish(problems);
        commit
    }
}
