//! What a configuration means, and every message about one that is wrong.

use super::*;
use std::io::Write as _;
use strandline_operators::job::{
    Format, IntegerTimestamps, OnGap, Peek, PeekAt, QuotedDecimals, StartingOffsets, TooLate,
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
    debezium: { timestamps: millis, decimals: digits }
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
        (job.debezium.timestamps, job.debezium.decimals),
        (IntegerTimestamps::Millis, QuotedDecimals::Digits)
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

#[test]
fn an_unknown_key_shows_where_it_is_and_the_nearest_one() {
    assert_eq!(
        error_of("kafka:\n  bootstrap_server: a\n"),
        "unknown key `bootstrap_server` under `kafka`\n  hint: did you mean `bootstrap_servers`?\n  (a.yaml:2:3)"
    );
    assert_eq!(
        error_of("jobs:\n  orders:\n    commit: { intervall: 1s }\n"),
        "unknown key `intervall` under `jobs.orders.commit`\n  hint: did you mean `interval`?\n  (a.yaml:3:15)"
    );
    assert_eq!(
        error_of("colour: red\n"),
        "unknown key `colour`\n  hint: the keys here: `kafka`, `schema_registry`, `catalog`, `state_dir`, `http`, \
         `http_token`, `http_ssl_certificate_location`, `http_ssl_key_location`, `restart`, `jobs`\n  (a.yaml:1:1)"
    );
    assert_eq!(
        error_of("jobs:\n  order: {}\n"),
        "there is no job `order`\n  hint: did you mean `orders`?\n  (a.yaml:2:3)"
    );
}

#[test]
fn a_bad_value_shows_its_key_where_it_is_what_was_found_and_what_is_allowed() {
    assert_eq!(
        error_of("jobs:\n  orders:\n    commit:\n      interval: 5 minutes\n"),
        "`jobs.orders.commit.interval` cannot be `5 minutes`\n  hint: it must be a duration such as `250ms`, `30s`, \
         `5m`, `24h` or `1h30m`, from 10ms to 1h\n  (a.yaml:4:17)"
    );
    assert_eq!(
        error_of("jobs: { orders: { lateness: { too_late: dead-letter } } }\n"),
        "`jobs.orders.lateness.too_late` cannot be `dead-letter`\n  hint: it must be one of `dead_letter`, `land`, \
         `drop`\n  (a.yaml:1:41)"
    );
    assert_eq!(
        error_of("http: 8092\n"),
        "`http` cannot be `8092`\n  hint: it must be an address such as `127.0.0.1:8092` (port 0: any free one), or \
         `off`\n  (a.yaml:1:7)"
    );
    assert_eq!(
        error_of("state_dir:\n"),
        "`state_dir` cannot be nothing\n  hint: it must be a path\n  (a.yaml:1:10)"
    );
    assert_eq!(
        error_of("jobs: { orders: { dedup: { key: paid_at } } }\n"),
        "`jobs.orders.dedup.key` cannot be `paid_at`\n  hint: it must be a required string column of the job: \
         `event_id`, `order_id`\n  (a.yaml:1:33)"
    );
    assert_eq!(
        error_of("jobs: { orders: { topics: [orders-dlq] } }\n"),
        "`jobs.orders.dead_letters.topic` cannot be `orders-dlq`\n  hint: it must be another than the topics the job \
         reads: `orders-dlq`\n  (a.yaml:1:27)"
    );
    assert_eq!(
        error_of("catalog: { type: sql, uri: 'sqlite://x' }\n"),
        "`catalog.warehouse` is missing\n  hint: add `warehouse: ./data/warehouse`\n  (a.yaml:1:10)"
    );
}

#[test]
fn every_setting_refuses_what_is_out_of_bounds_or_of_another_kind() {
    for set in [
        "commit.interval=0s",
        "commit.interval=9ms",
        "commit.interval=2h",
        "commit.max_bytes=1KiB",
        "commit.max_bytes=64MB",
        "memory=1MiB",
        "memory=2TiB",
        "max_record_bytes=1",
        "max_record_bytes=512MiB",
        "memory=64MiB",
        "watermark.idle_timeout=0",
        "watermark.out_of_orderness=-5m",
        "watermark.max_future_skew=99999d",
        "dedup.ttl=0s",
        "dedup=on",
        "dedup=[]",
        "dedup.key=nothing",
        "event_time=paid_at",
        "event_time=order_id",
        "table=orders",
        "table=bronze.",
        "dead_letters.table=bronze.orders",
        "dead_letters.topic=orders",
        "topics=[]",
        "topics=[a, a]",
        "topics=[a b]",
        "topics=",
        "group_id=''",
        "format=xml",
        "peek={event_id: timestamp}",
        "peek={event_time: key}",
        "peek={event_id: message_id}",
        "peek={format: avro}",
        "debezium={timestamps: seconds}",
        "debezium={decimals: precise}",
        "on_gap=ignore",
        "partition_discovery_interval=0s",
        "partition_discovery_interval=2d",
        "restart.attempts=-1",
        "restart.attempts=many",
        "restart.delay=2h",
        "http=localhost",
        "http_ssl_key_location=server.key",
        "http_ssl_certificate_location=server.pem",
        "kafka.bootstrap_servers=''",
        "catalog={type: hive}",
        "schema_registry={username: u}",
        "schema_registry={url: 'http://r', username: u}",
        "schema_registry={url: 'http://r', password: p}",
        "schema_registry={url: 'http://r', username: u, password: p, bearer_token: t}",
        "schema_registry={url: 'http://r', ssl_key_location: k.pem}",
        "kafka=[]",
        "kafka.properties={a: {b: c}}",
        "jobs=orders",
    ] {
        let error = if set == "memory=64MiB" {
            // The default of `max_record_bytes` fits; a larger one does not.
            load_with(
                "jobs: { orders: { max_record_bytes: 32MiB } }",
                &[set],
                Some("orders"),
            )
            .err()
        } else {
            load_with("", &[set], Some("orders")).err()
        };
        let error = error.unwrap_or_else(|| panic!("no error in --set {set}"));
        assert!(
            error.contains("--set") || error.contains("a.yaml:1"),
            "{set}: {error}"
        );
    }
}

#[test]
fn all_problems_are_said_at_once_in_the_order_of_the_file() {
    let error = error_of("http: no\nkafka: { x: 1 }\nrestart: { attempts: x }\n");
    let places: Vec<&str> = error.lines().filter(|l| l.starts_with("  (")).collect();
    assert_eq!(
        places,
        ["  (a.yaml:1:7)", "  (a.yaml:2:10)", "  (a.yaml:3:22)"]
    );
    assert_eq!(error.matches("\nerror: ").count(), 2, "{error}");
}

#[test]
fn missing_kafka_and_catalog_show_the_lines_to_add() {
    let error = load("http: off\n")
        .expect("loads")
        .require()
        .expect_err("incomplete");
    assert_eq!(error.kind().exit_code(), 2);
    let text = error.to_string();
    assert!(text.starts_with(
        "`kafka.bootstrap_servers` is missing\n  hint: add these lines:\n          kafka:\n            bootstrap_servers: localhost:9092\n  (in "
    ), "{text}");
    assert!(text.contains("error: `catalog` is missing\n  hint: add these lines:\n          catalog:\n            type: sql\n"), "{text}");
}

#[test]
fn what_is_not_yaml_shows_where() {
    for (yaml, place) in [
        ("kafka: [a\n", "a.yaml:"),
        ("a: 1\na: 2\n", "(a.yaml:2:1)"),
        ("--- {}\n--- {}\n", "(a.yaml:2:"),
        ("kafka: !secret x\n", "(a.yaml:1:"),
        ("{ [a]: b }\n", "(a.yaml:1:3)"),
        ("kafka: *nowhere\n", "(a.yaml:1:8)"),
    ] {
        let error = error_of(yaml);
        assert!(error.contains(place), "{yaml}: {error}");
    }
    assert_eq!(
        error_of("http: off\nhttp: off\n"),
        "the key `http` stands twice, first at a.yaml:1:1\n  (a.yaml:2:1)"
    );
}

#[test]
fn aliases_cannot_blow_the_configuration_up() {
    let mut yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..9 {
        let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
        yaml.push_str(&format!("a{i}: &a{i} [{aliases}]\n"));
    }
    assert!(error_of(&yaml).contains("has more than 100000 values"));
    let deep = "[".repeat(200) + &"]".repeat(200);
    assert!(error_of(&format!("kafka: {deep}\n")).contains("nested deeper than 32 levels"));
}

#[test]
fn a_variable_that_is_missing_names_itself_and_its_place() {
    assert_eq!(
        error_of("kafka:\n  properties:\n    sasl.password: ${env:NOT_THERE}\n"),
        "the environment has no variable `NOT_THERE`\n  hint: export NOT_THERE=...\n  (a.yaml:3:20)"
    );
    let draft =
        load("jobs: { orders: { commit: { interval: '${env:INTERVAL}' } } }").expect("loads");
    assert_eq!(
        draft
            .engine
            .job("orders")
            .expect("is there")
            .commit
            .interval,
        Duration::from_secs(2)
    );
    assert!(origin_of(&draft, "jobs.orders.commit.interval").ends_with("a.yaml:1, env:INTERVAL"));
}

#[test]
fn a_message_never_shows_what_came_out_of_a_variable() {
    let error = error_of("http: ${env:PASSWORD}\n");
    assert!(
        !error.contains("hunter2") && error.contains("a.yaml:1:7, ${env:PASSWORD}"),
        "{error}"
    );
}

#[test]
fn set_wins_over_the_file_and_says_so() {
    let yaml = "jobs: { orders: { commit: { interval: 5s, max_bytes: 1MiB }, dedup: off } }";
    let set = [
        "commit.interval=250ms",
        "jobs.roman-numerals.memory=2GiB",
        "dedup.ttl=1h",
        "kafka.properties.client.id=x",
    ];
    let draft = load_with(yaml, &set, Some("orders")).expect("loads");
    let orders = draft.engine.job("orders").expect("is there");
    assert_eq!(
        (orders.commit.interval, orders.commit.max_bytes),
        (Duration::from_millis(250), 1 << 20)
    );
    assert_eq!(
        orders
            .dedup
            .as_ref()
            .map(|d| (d.key.as_str(), d.ttl.as_secs())),
        Some(("event_id", 3600))
    );
    assert_eq!(
        draft.engine.job("roman-numerals").expect("is there").memory,
        2 << 30
    );
    assert_eq!(origin_of(&draft, "jobs.orders.commit.interval"), "--set");
    assert_eq!(
        origin_of(&draft, "jobs.orders.commit.max_bytes"),
        "a.yaml:1"
    );
    assert_eq!(origin_of(&draft, "jobs.orders.table"), "job");
    assert_eq!(origin_of(&draft, "jobs.orders.on_gap"), "default");
    assert_eq!(origin_of(&draft, "kafka.properties.client.id"), "--set");
}

#[test]
fn set_is_checked_like_the_file() {
    assert_eq!(
        error_of_set("commit.intervall=1s"),
        "unknown key `intervall` under `jobs.orders.commit`\n  hint: did you mean `interval`?\n  (--set commit.intervall)"
    );
    assert_eq!(
        error_of_set("comit.interval=1s"),
        "unknown key `comit` in `--set comit.interval`\n  hint: did you mean `commit`?"
    );
    assert_eq!(
        error_of_set("commit.interval"),
        "`--set commit.interval` has no `=`\n  hint: write `--set commit.interval=250ms`"
    );
    assert_eq!(
        load_with("", &["commit.interval=1s"], None).expect_err("no job"),
        "`--set commit.interval` does not say which job\n  hint: write `--set jobs.orders.commit.interval=...`"
    );
    assert_eq!(
        error_of_set("jobs.order.memory=2GiB"),
        "there is no job `order`\n  hint: did you mean `orders`?\n  (--set jobs.order.memory)"
    );
}

#[test]
fn secrets_are_masked_wherever_settings_are_shown() {
    let yaml = "\
kafka:
  bootstrap_servers: localhost:9092
  properties: { sasl.password: '${env:PASSWORD}', ssl.key.password: hunter2, sasl.username: me }
schema_registry: { url: 'http://u:hunter2@localhost:8081', username: me, password: hunter2 }
catalog:
  type: rest
  uri: http://localhost:8181
  properties: { token: hunter2, s3.secret-access-key: hunter2, credential: hunter2, region: eu }
";
    let draft = load(yaml).expect("loads");
    for shown in [
        draft.to_yaml(),
        draft.to_json().to_string(),
        format!("{draft:?}"),
    ] {
        assert!(
            shown.contains(MASK) && !shown.contains("hunter2"),
            "{shown}"
        );
    }
    assert_eq!(
        draft.kafka.expect("is there").properties["sasl.password"],
        "hunter2"
    );
}

#[test]
fn what_is_shown_reads_back_as_the_same_settings() {
    let yaml = format!(
        "{KAFKA_AND_CATALOG}http: off\njobs: {{ orders: {{ dedup: off, topics: [a, b], starting_offsets: {{ explicit: {{ a: {{ 0: 17 }} }} }} }} }}\n"
    );
    let draft = load(&yaml).expect("loads");
    let again = load(&draft.to_yaml()).expect("reads back");
    assert_eq!(again.engine.jobs, draft.engine.jobs);
    assert_eq!(again.engine.http, draft.engine.http);
    assert_eq!(
        again.catalog.expect("is there").uri,
        draft.catalog.expect("is there").uri
    );
}

/// Every key of the schema, with the path down to it and the schema of its value.
fn keys_of(schema: &serde_json::Value, at: &serde_json::Value, path: &str, keys: &mut Vec<String>) {
    let at = match at["$ref"].as_str() {
        Some(reference) => schema
            .pointer(reference.trim_start_matches('#'))
            .expect("a definition"),
        None => at,
    };
    for branch in at["anyOf"].as_array().into_iter().flatten() {
        keys_of(schema, branch, path, keys);
    }
    for (key, value) in at["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        keys_of(schema, value, &path, keys);
        keys.push(path);
    }
}

#[test]
fn the_schema_has_the_keys_that_are_read_and_no_others() {
    let schema = json_schema_for(&["orders"]);
    let mut in_schema = Vec::new();
    keys_of(&schema, &schema, "", &mut in_schema);
    // Every key of the schema is read: wherever it stands, it is not unknown.
    for key in &in_schema {
        let error = load_with("", &[&format!("{key}={{ }}")], Some("orders"))
            .err()
            .unwrap_or_default();
        assert!(!error.contains("unknown key"), "{key}: {error}");
    }
    // And the reader knows no other: its own list of keys, out of the message, is in the schema.
    let sections = [
        "",
        "kafka",
        "schema_registry",
        "catalog",
        "restart",
        "jobs.orders",
        "jobs.orders.peek",
        "jobs.orders.csv",
        "jobs.orders.debezium",
        "jobs.orders.dead_letters",
        "jobs.orders.watermark",
        "jobs.orders.lateness",
        "jobs.orders.dedup",
        "jobs.orders.commit",
    ];
    let mut read = Vec::new();
    for section in sections {
        let prefix = if section.is_empty() {
            String::new()
        } else {
            format!("{section}.")
        };
        let nested = section
            .split('.')
            .filter(|s| !s.is_empty())
            .rev()
            .fold("{ zzzzzzzzzz: 1 }".to_owned(), |inner, s| {
                format!("{{ {s}: {inner} }}")
            });
        let error = error_of(&nested);
        let line = error
            .lines()
            .find(|l| l.contains("the keys here: "))
            .unwrap_or_else(|| panic!("{section}: {error}"));
        read.extend(
            line.split('`')
                .skip(1)
                .step_by(2)
                .map(|key| format!("{prefix}{key}")),
        );
    }
    let deeper =
        |key: &&String| key.as_str() != "jobs.orders" && !key.contains("starting_offsets.");
    in_schema.sort();
    read.sort();
    assert_eq!(
        in_schema.iter().filter(deeper).collect::<Vec<_>>(),
        read.iter().collect::<Vec<_>>()
    );
}

#[test]
fn every_key_of_a_job_can_be_set_without_its_path() {
    let schema = json_schema_for(&["orders"]);
    let mut keys = Vec::new();
    keys_of(&schema, &schema, "", &mut keys);
    let of_job: Vec<&str> = keys
        .iter()
        .filter_map(|key| key.strip_prefix("jobs.orders."))
        .collect();
    assert!(of_job.len() > 30, "{of_job:?}");
    for key in of_job {
        let error = load_with("", &[&format!("{key}={{ }}")], Some("orders"))
            .err()
            .unwrap_or_default();
        assert!(!error.contains("unknown key"), "{key}: {error}");
        // And where no job is meant, the refusal says how to mean one.
        let refused = load_with("", &[&format!("{key}=1")], None).err();
        assert_eq!(
            refused,
            Some(format!(
                "`--set {key}` does not say which job\n  hint: write `--set jobs.orders.{key}=...`"
            ))
        );
    }
    let set = ["peek.event_id=field:id", "debezium.decimals=digits"];
    let orders = orders_with(&set);
    assert_eq!(
        orders.peek.map(|peek| peek.event_id),
        Some(PeekAt::Field("id".to_owned()))
    );
    assert_eq!(orders.debezium.decimals, QuotedDecimals::Digits);
}

#[test]
fn nothing_in_the_schema_may_be_null_and_nothing_else_may_be_added() {
    let text = json_schema_for(&["orders"]).to_string();
    assert!(!text.contains("null"), "{text}");
    assert!(json_schema_for(&["orders"])["additionalProperties"] == false);
    assert!(json_schema_for(&["orders"])["properties"]["jobs"]["additionalProperties"] == false);
}
