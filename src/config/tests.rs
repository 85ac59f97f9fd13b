//! What a configuration means.

mod formats;
mod messages;
mod reference;
mod schema;
mod set;
mod shown;

use super::*;
use std::io::Write as _;
use strandline_operators::job::{
    DebeziumPolicy, Format, IntegerTimestamps, OnGap, Peek, PeekAt, QuotedBinaries, QuotedDecimals,
    StartingOffsets, TooLate,
};
use strandline_operators::schema::{Column, ColumnType};

const ORDERS: Job = Job {
    name: "orders",
    topics: &["orders"],
    columns: &[
        Column::required("event_id", ColumnType::String),
        Column::required("order_id", ColumnType::String),
        Column::required("event_time", ColumnType::Timestamptz),
        Column::optional("paid_at", ColumnType::Timestamptz),
    ],
    table: "bronze.orders",
    dead_letter_topic: Some("orders-dlq"),
    dead_letter_table: Some("bronze.orders_dead_letters"),
    ..Job::BRONZE
};

const JOBS: &[Job] = &[
    ORDERS,
    Job {
        name: "roman-numerals",
        topics: &["roman"],
        table: "bronze.roman",
        ..ORDERS
    },
];

const KAFKA_AND_CATALOG: &str = "\
kafka: { bootstrap_servers: localhost:9092 }
catalog: { type: sql, uri: 'sqlite://catalog.db', warehouse: ./warehouse }
";

fn environment(name: &str) -> Option<String> {
    match name {
        "PASSWORD" => Some("hunter2".to_owned()),
        "INTERVAL" => Some("2s".to_owned()),
        _ => None,
    }
}

/// Loads `yaml` as the file `a.yaml`; its folder is cut out of the messages.
fn load_with(yaml: &str, set: &[&str], job: Option<&str>) -> Result<Draft, String> {
    let dir = tempfile::tempdir().expect("temporary folder");
    let file = dir.path().join("a.yaml");
    std::fs::File::create(&file)
        .and_then(|mut f| f.write_all(yaml.as_bytes()))
        .expect("write");
    let set = set.iter().map(|&s| s.to_owned()).collect();
    let sources = Sources {
        file: Some(file),
        set,
        job: job.map(str::to_owned),
    };
    let cut = format!("{}/", dir.path().display());
    Draft::load_in(&sources, JOBS, &environment)
        .map_err(|error| error.to_string().replace(&cut, ""))
}

fn load(yaml: &str) -> Result<Draft, String> {
    load_with(yaml, &[], None)
}

fn error_of(yaml: &str) -> String {
    load(yaml)
        .err()
        .unwrap_or_else(|| panic!("no error in:\n{yaml}"))
}

fn error_of_set(set: &str) -> String {
    load_with("", &[set], Some("orders"))
        .err()
        .unwrap_or_else(|| panic!("no error in --set {set}"))
}

fn orders_with(set: &[&str]) -> JobSettings {
    let draft = load_with("", set, Some("orders")).expect("loads");
    draft.engine.job("orders").expect("is there").clone()
}

fn origin_of(draft: &Draft, key: &str) -> String {
    let setting = draft.engine.settings.iter().find(|s| s.key() == key);
    let origin = setting
        .unwrap_or_else(|| panic!("no setting {key}"))
        .origin
        .to_string();
    origin.rsplit('/').next().unwrap_or_default().to_owned()
}

#[test]
fn what_the_file_does_not_say_is_what_the_job_says() {
    let config = load(KAFKA_AND_CATALOG)
        .expect("loads")
        .require()
        .expect("complete");
    assert_eq!(config.job("orders").expect("is there"), &ORDERS.settings());
    assert_eq!(config.kafka.bootstrap_servers, "localhost:9092");
    assert_eq!(config.catalog.catalog_type, CatalogType::Sql);
    assert_eq!(config.engine.state_dir, Path::new("./data/state"));
    assert_eq!(
        config.engine.http,
        Some("127.0.0.1:8092".parse().expect("address"))
    );
    assert_eq!(
        config.engine.restart,
        Restart {
            attempts: 3,
            delay: Duration::from_secs(30)
        }
    );
    assert!(config.schema_registry.is_none());
}

#[test]
fn the_file_of_the_documentation_is_read_as_it_says() {
    let yaml = "\
kafka:
  bootstrap_servers: localhost:9092
  properties: {}
schema_registry:
  url: http://localhost:8081
  username: u
  password: ${env:PASSWORD}
  ssl_ca_location: ca.pem
catalog:
  type: sql
  uri: sqlite://./data/catalog.db
  warehouse: ./data/warehouse
  properties: {}
state_dir: ./state
http: off
http_ssl_certificate_location: ./server.pem
http_ssl_key_location: ./server.key
restart: { attempts: 5, delay: 1s }
jobs:
  orders:
    topics: [a, b]
    group_id: g
    starting_offsets: latest
    format: raw
    peek: { format: avro_sr, event_id: 'field:message_id', event_time: 'header:at' }
    debezium: { timestamps: millis, decimals: digits, binaries: base64-url-safe }
    table: bronze.other
    dead_letters: { topic: off, table: bronze.letters }
    event_time: event_time
    watermark: { out_of_orderness: 1m, idle_timeout: 10s, max_future_skew: 2h }
    lateness: { allowed: 3h, too_late: land }
    dedup: { key: order_id, ttl: 48h }
    commit: { interval: 250ms, max_bytes: 64MiB }
    csv: { columns: [id, at], delimiter: '|' }
    on_gap: record
    partition_discovery_interval: 5s
    memory: 2GiB
    max_record_bytes: 1MiB
";
    let config = load(yaml).expect("loads").require().expect("complete");
    let job = config.job("orders").expect("is there");
    assert_eq!(
        config
            .schema_registry
            .as_ref()
            .and_then(|r| r.password.as_ref())
            .map(Secret::reveal),
        Some("hunter2")
    );
    assert_eq!(config.engine.http, None);
    assert_eq!(
        config.engine.http_tls,
        Some(HttpTls {
            certificate: "./server.pem".into(),
            key: "./server.key".into(),
        })
    );
    assert_eq!(config.engine.job_dir("orders"), Path::new("./state/orders"));
    assert_eq!(job.topics, ["a", "b"]);
    assert_eq!(job.format, Format::Raw);
    assert_eq!(
        job.peek,
        Some(Peek {
            format: Format::AvroSr,
            event_id: PeekAt::Field("message_id".to_owned()),
            event_time: PeekAt::Header("at".to_owned()),
        })
    );
    assert_eq!(
        (job.csv.columns.as_slice(), job.csv.delimiter),
        (["id".to_owned(), "at".to_owned()].as_slice(), b'|')
    );
    assert_eq!(
        job.debezium,
        DebeziumPolicy {
            timestamps: IntegerTimestamps::Millis,
            decimals: QuotedDecimals::Digits,
            binaries: QuotedBinaries::Base64UrlSafe,
        }
    );
    assert_eq!(
        (job.group_id.as_str(), job.table.as_str()),
        ("g", "bronze.other")
    );
    assert_eq!(job.starting_offsets, StartingOffsets::Latest);
    assert_eq!(
        (
            job.dead_letter_topic.as_deref(),
            job.dead_letter_table.as_deref()
        ),
        (None, Some("bronze.letters"))
    );
    assert_eq!(job.watermark.max_future_skew, Duration::from_secs(7200));
    assert_eq!(
        (job.lateness.allowed, job.lateness.too_late),
        (Duration::from_secs(10_800), TooLate::Land)
    );
    let dedup = job.dedup.as_ref().expect("on");
    assert_eq!(
        (dedup.key.as_str(), dedup.ttl),
        ("order_id", Duration::from_secs(172_800))
    );
    assert_eq!(
        (job.commit.interval, job.commit.max_bytes),
        (Duration::from_millis(250), 64 << 20)
    );
    assert_eq!(
        (job.on_gap, job.memory, job.max_record_bytes),
        (OnGap::Record, 2 << 30, 1 << 20)
    );
    assert_eq!(job.partition_discovery_interval, Duration::from_secs(5));
}

#[test]
fn starting_offsets_take_every_form() {
    let of = |value: &str| orders_with(&[&format!("starting_offsets={value}")]).starting_offsets;
    assert_eq!(of("group"), StartingOffsets::Group);
    assert_eq!(
        of("{timestamp: 1700000000000}"),
        StartingOffsets::Timestamp(1_700_000_000_000)
    );
    assert_eq!(
        of("{timestamp: 2023-11-14T22:13:20Z}"),
        StartingOffsets::Timestamp(1_700_000_000_000)
    );
    let explicit = BTreeMap::from([("orders".to_owned(), BTreeMap::from([(0, 17), (1, 4)]))]);
    assert_eq!(
        of("{explicit: {orders: {0: 17, 1: 4}}}"),
        StartingOffsets::Explicit(explicit)
    );
    for bad in [
        "first",
        "{}",
        "{timestamp: yesterday}",
        "{timestamp: 1, explicit: {orders: {0: 1}}}",
        "{explicit: {orders: {0: -1}}}",
        "{explicit: {other: {0: 1}}}",
        "[earliest]",
    ] {
        error_of_set(&format!("starting_offsets={bad}"));
    }
}
