//! `docs/configuration.md` and `config show` know every key.

use std::collections::BTreeSet;

use serde_json::Value;
use strandline_operators::job::Route;

use super::*;

/// A key, and what the schema says of it.
type Row = (String, String);

/// Every key that a person may set, in the form of the reference: sections only where they are a value too.
fn rows_of(schema: &Value, section: &Value, path: &str, rows: &mut Vec<Row>) {
    for (key, value) in section["properties"].as_object().into_iter().flatten() {
        let path = match key.as_str() {
            "orders" if path == "jobs" => "jobs.JOB".to_owned(),
            _ if path.is_empty() => key.clone(),
            _ => format!("{path}.{key}"),
        };
        let forms: Vec<&Value> = match value["anyOf"].as_array() {
            Some(forms) => forms.iter().collect(),
            None => vec![value],
        };
        let reference = |form: &&Value| form["$ref"].as_str().map(str::to_owned);
        let below = forms.iter().find_map(reference);
        let is_value = below.is_none() || forms.len() > 1;
        if is_value && path != "jobs" {
            let said = value["description"].as_str().unwrap_or_default();
            rows.push((path.clone(), said.replace('\n', " ")));
        }
        match below {
            Some(name) => {
                let section = schema.pointer(name.trim_start_matches('#'));
                rows_of(schema, section.expect("a definition"), &path, rows);
            }
            None if path == "jobs" => rows_of(schema, value, &path, rows),
            None => {}
        }
    }
}

fn rows() -> Vec<Row> {
    let schema = json_schema_for(&["orders"]);
    let mut rows = Vec::new();
    rows_of(&schema, &schema, "", &mut rows);
    rows
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let reference = include_str!("../../../docs/configuration.md");
    let there: BTreeSet<&str> = reference
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let lines: Vec<String> = rows()
        .iter()
        .map(|(key, said)| {
            assert!(!said.is_empty(), "`{key}` has no description");
            format!("| `{key}` | {} |", said.replace('|', "\\|"))
        })
        .collect();
    let expected: BTreeSet<&str> = lines.iter().map(String::as_str).collect();
    assert!(expected.len() > 50, "{expected:?}");
    let missing: Vec<_> = expected.difference(&there).collect();
    let unknown: Vec<_> = there.difference(&expected).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "docs/configuration.md lacks\n{missing:#?}\nand has besides\n{unknown:#?}"
    );
}

/// Says every key between two of them, but not a token beside a password.
const EVERY_KEY: [&str; 2] = [
    "\
kafka: { bootstrap_servers: localhost:9092, properties: { client.id: x } }
schema_registry:
  url: http://localhost:8081
  username: u
  password: p
  ssl_ca_location: ca.pem
  ssl_certificate_location: c.pem
  ssl_key_location: k.pem
catalog: { type: sql, uri: 'sqlite://catalog.db', warehouse: ./warehouse, properties: { a: b } }
state_dir: ./state
http: off
http_token: t
http_ssl_certificate_location: c.pem
http_ssl_key_location: k.pem
restart: { attempts: 5, delay: 1s }
jobs:
  orders:
    topics: [a]
    group_id: g
    starting_offsets: latest
    format: csv
    avro_schema: '\"string\"'
    json_fail_invalid_schema: false
    peek: { format: json, event_id: key, event_time: timestamp }
    debezium: { timestamps: millis, decimals: digits, binaries: hex }
    csv: { columns: [event_id], delimiter: ';' }
    table: bronze.a
    routes: { paid: bronze.b }
    dead_letters: { topic: off, table: off }
    event_time: event_time
    watermark: { out_of_orderness: 1m, idle_timeout: 10s, max_future_skew: 2h }
    lateness: { allowed: 3h, too_late: land }
    dedup: { key: event_id, ttl: 48h }
    commit: { interval: 250ms, max_bytes: 64MiB }
    on_gap: record
    partition_discovery_interval: 5s
    memory: 2GiB
    max_record_bytes: 1MiB
",
    "\
schema_registry: { url: 'http://localhost:8081', bearer_token: t }
jobs: { orders: { dedup: off, format: json_sr, schema_evolution: add_columns } }
",
];

#[test]
fn config_show_has_every_key_that_the_file_says() {
    const ROUTED: Job = Job {
        routes: &[Route {
            name: "paid",
            table: "bronze.paid",
            takes: |_row| true,
        }],
        ..ORDERS
    };
    let mut shown = BTreeSet::new();
    for yaml in EVERY_KEY {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.yaml");
        std::fs::write(&file, yaml).expect("write");
        let sources = Sources {
            file: Some(file),
            ..Sources::default()
        };
        let draft = Draft::load_in(&sources, &[ROUTED], &environment).expect("loads");
        let settings = draft.engine.settings.iter();
        let said = settings.filter(|setting| setting.origin.is_said());
        shown.extend(said.map(|setting| setting.key().replace("jobs.orders", "jobs.JOB")));
    }
    for (key, _) in rows() {
        let inside = format!("{key}.");
        assert!(
            shown
                .iter()
                .any(|shown| *shown == key || shown.starts_with(&inside)),
            "`{key}` is said, and not shown: {shown:#?}"
        );
    }
}
