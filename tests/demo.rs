//! The demo: its account, and its table read by PyIceberg, against what the generator meant.

mod support;

use std::fmt::Write as _;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};
use strandline::generator::{Generator, GeneratorConfig, expected_account};

const DEADLINE: Duration = Duration::from_secs(180);
const EVENTS: u64 = 120_000;
const SEED: u64 = 7;

/// The generator's records as the judge reads them, with the offsets that an empty topic gives them.
fn records(config: &GeneratorConfig) -> String {
    let mut next = vec![0i64; config.partitions as usize];
    let mut lines = String::new();
    let encode = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    for record in Generator::new(config.clone()) {
        let offset = &mut next[record.partition as usize];
        let line = json!({
            "topic": "roman-numeral-events",
            "partition": record.partition,
            "offset": *offset,
            "timestamp_ms": record.timestamp_ms,
            "key": record.key.as_deref().map(encode),
            "value": record.value.as_deref().map(encode),
        });
        *offset += 1;
        writeln!(lines, "{line}").expect("write to a string");
    }
    lines
}

#[test]
fn the_demo_lands_exactly_what_its_generator_meant() {
    let folder = tempfile::tempdir().expect("a folder");
    let (demo, seed) = (folder.path().join("demo"), SEED.to_string());
    let demo_dir = demo.display().to_string();
    let events = EVENTS.to_string();
    let args = [
        "demo", "--events", &events, "--seed", &seed, "--dir", &demo_dir, "-w", "2", "--json",
    ];
    let printed = support::spawn(folder.path(), &args)
        .wait(DEADLINE)
        .expect_exit(0)
        .json();

    let config = GeneratorConfig {
        seed: SEED,
        events: EVENTS,
        ..GeneratorConfig::default()
    };
    let expected = serde_json::to_value(expected_account(&config)).expect("json");
    assert_eq!(printed["account"], expected);
    assert_eq!(printed["tables"][0]["rows"], expected["landed"]);

    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("write");
        path.display().to_string()
    };
    let report: Value = support::judge(&[
        "events".to_owned(),
        "--records".to_owned(),
        file("records", records(&config)),
        "--catalog-uri".to_owned(),
        format!("sqlite://{demo_dir}/catalog.db"),
        "--table".to_owned(),
        "bronze.conversion_events".to_owned(),
        "--dead-letters".to_owned(),
        "bronze.conversion_events_dead_letters".to_owned(),
        "--account".to_owned(),
        file("account", printed.to_string()),
    ]);
    assert!(report["landed"].as_u64() > Some(0), "{report}");
}

#[test]
fn the_demo_that_is_served_shows_events_of_today() {
    let folder = tempfile::tempdir().expect("a folder");
    let demo_dir = folder.path().join("demo").display().to_string();
    let args = ["demo", "--events", "5000", "--dir", &demo_dir, "--serve"];
    let running = support::spawn(folder.path(), &args);
    let address = support::wait_until("its address", DEADLINE, || {
        let log = running.stderr();
        let (_, after) = log.split_once("metrics at http://")?;
        Some(after.split('/').next()?.to_owned())
    });
    let path = "GET /api/v1/jobs/roman-numerals";
    let status = support::wait_until("more than the first events", DEADLINE, || {
        let status = support::http(&address, path, "").json();
        (status["account"]["consumed"].as_u64()? > 6_000).then_some(status)
    });
    // The first ones lie in the last minute, and a watermark five minutes behind its event.
    let behind = status["watermark"]["lag_seconds"]
        .as_f64()
        .expect("a watermark");
    assert!(
        (290.0..600.0).contains(&behind),
        "{behind} s behind the clock"
    );
    let freshness = status["freshness"]["p99_ms"].as_f64().expect("a freshness");
    assert!(freshness < 180_000.0, "{freshness} ms");
    let ahead = status["findings"].to_string().contains("partition_ahead");
    assert!(!ahead, "{}", status["findings"]);
    running.terminate();
    running.wait(DEADLINE).expect_exit(143);
}
