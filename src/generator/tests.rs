use std::collections::{HashMap, HashSet};

use super::text::civil;
use super::*;

fn config() -> GeneratorConfig {
    GeneratorConfig {
        events: 200_000,
        ..GeneratorConfig::default()
    }
}

fn json(record: &GeneratedRecord) -> Option<serde_json::Value> {
    serde_json::from_slice(record.value.as_deref()?).ok()
}

/// Independent of the generator's own writing of dates.
fn micros(event_time: &serde_json::Value) -> i64 {
    match event_time {
        serde_json::Value::Number(ms) => ms.as_i64().expect("milliseconds") * 1000,
        serde_json::Value::String(text) => chrono::DateTime::parse_from_rfc3339(text)
            .expect("a time")
            .timestamp_micros(),
        other => panic!("event time {other}"),
    }
}

#[test]
fn the_same_seed_gives_the_same_records_and_another_seed_others() {
    let small = GeneratorConfig {
        events: 3000,
        ..config()
    };
    let records: Vec<_> = Generator::new(small.clone()).collect();
    assert_eq!(records.len(), 3000);
    assert_eq!(records, Generator::new(small.clone()).collect::<Vec<_>>());
    assert_ne!(
        records,
        Generator::new(GeneratorConfig { seed: 2, ..small }).collect::<Vec<_>>()
    );
}

/// What the job does to the records, as naively as it can be said.
#[test]
fn a_naive_job_over_the_records_ends_with_the_expected_account() {
    let minute = 60 * 1_000_000;
    let mut seen = HashSet::new();
    let mut newest: HashMap<i32, i64> = HashMap::new();
    let mut account = Account::default();
    for record in Generator::new(config()) {
        account.consumed += 1;
        let event = json(&record).filter(|v| {
            v["event_id"].is_string()
                && !v["event_time"].is_null()
                && v["input_value"].as_i64().is_some()
        });
        let malformed = matches!(record.kind, RecordKind::Malformed(_));
        let Some(event) = event.filter(|_| !malformed) else {
            assert!(malformed, "{record:?}");
            account.dead_letters += 1;
            continue;
        };
        let time = micros(&event["event_time"]);
        assert!(
            time <= record.timestamp_ms * 1000 + 999,
            "no event is in the future"
        );
        let watermark = newest
            .get(&record.partition)
            .map_or(i64::MIN / 2, |n| n - 5 * minute);
        let newest = newest.entry(record.partition).or_insert(time);
        *newest = (*newest).max(time);
        if seen.contains(event["event_id"].as_str().expect("id")) {
            account.duplicates += 1;
        } else if time < watermark - 60 * minute {
            account.dead_letters += 1;
        } else {
            seen.insert(event["event_id"].as_str().expect("id").to_owned());
            account.landed += 1;
            account.late += u64::from(time < watermark);
        }
    }
    assert_eq!(account, expected_account(&config()));
    assert!(account.is_balanced());
}

#[test]
fn proportions_and_sizes_are_as_configured() {
    let records: Vec<_> = Generator::new(config()).collect();
    let share = |of: &dyn Fn(&RecordKind) -> bool| {
        records.iter().filter(|r| of(&r.kind)).count() as f64 / records.len() as f64
    };
    let near = |found: f64, wanted: f64| {
        assert!(
            (found / wanted - 1.0).abs() < 0.1,
            "{found} is not {wanted}"
        )
    };
    near(share(&|k| matches!(k, RecordKind::Duplicate { .. })), 0.10);
    near(share(&|k| *k == RecordKind::Late), 0.01);
    near(share(&|k| *k == RecordKind::TooLate), 0.002);
    near(share(&|k| matches!(k, RecordKind::Malformed(_))), 0.001);
    let sizes: Vec<usize> = records
        .iter()
        .filter(|r| r.kind == RecordKind::Ordinary)
        .filter_map(|r| Some(r.value.as_ref()?.len()))
        .collect();
    let mean = sizes.iter().sum::<usize>() / sizes.len();
    assert!((240..=255).contains(&mean), "mean size {mean}");
    let kinds: HashSet<_> = records
        .iter()
        .filter_map(|r| {
            if let RecordKind::Malformed(m) = r.kind {
                Some(m)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(kinds.len(), MALFORMATIONS.len(), "the whole zoo");
    for partition in 0..6 {
        near(
            records.iter().filter(|r| r.partition == partition).count() as f64,
            records.len() as f64 / 6.0,
        );
    }
}

#[test]
fn a_copy_has_the_bytes_key_and_partition_of_its_original() {
    let records: Vec<_> = Generator::new(GeneratorConfig {
        events: 20_000,
        ..config()
    })
    .collect();
    for (index, record) in records.iter().enumerate() {
        if let RecordKind::Duplicate { of } = record.kind {
            let original = &records[of as usize];
            assert!(of < index as u64 && index as u64 - of <= DUPLICATE_WINDOW + 100);
            assert!(matches!(
                original.kind,
                RecordKind::Ordinary | RecordKind::Late
            ));
            assert_eq!(
                (&original.value, &original.key, original.partition),
                (&record.value, &record.key, record.partition)
            );
        }
    }
}

#[test]
fn the_step_shortens_so_that_all_records_lie_within_a_span() {
    let config = GeneratorConfig {
        events: 100_000_000,
        ..config()
    }
    .within(2 * 86_400);
    assert!(config.step_us * 100_000_000 <= 2 * 86_400 * 1_000_000);
    assert_eq!(
        GeneratorConfig {
            events: 10,
            ..config
        }
        .within(1 << 40)
        .step_us,
        config.step_us
    );
}

#[test]
fn dates_are_those_of_the_calendar() {
    for day in (-800_000..4_000_000).step_by(97) {
        let (year, month, date) = civil(day);
        let expected = chrono::DateTime::from_timestamp(day * 86_400, 0)
            .expect("date")
            .date_naive();
        let found = chrono::NaiveDate::from_ymd_opt(year as i32, month as u32, date as u32);
        assert_eq!(found, Some(expected));
    }
}

#[test]
fn numerals_are_roman() {
    assert_eq!(roman(1994), "MCMXCIV");
    assert_eq!(roman(3999), "MMMCMXCIX");
}

#[test]
fn other_values_keep_partition_key_and_kind_and_a_copy_has_its_originals() {
    let config = GeneratorConfig {
        events: 20_000,
        malformed: 0.0,
        ..GeneratorConfig::default()
    };
    let other: Vec<GeneratedRecord> = Generator::new(config.clone())
        .writing(|made, out| {
            made.write_id(out);
            made.write_time(made.event_time, out);
            out.extend_from_slice(&made.random(7).to_be_bytes());
        })
        .collect();
    let usual: Vec<GeneratedRecord> = Generator::new(config).collect();
    let mut copies = 0;
    for (other_one, usual_one) in other.iter().zip(&usual) {
        assert_eq!(
            (other_one.partition, &other_one.key, other_one.kind),
            (usual_one.partition, &usual_one.key, usual_one.kind)
        );
        let value = other_one.value.as_deref().expect("a value");
        assert_eq!(value.len(), 36 + 24 + 8);
        let usual_value = usual_one.value.as_deref().expect("a value");
        assert_eq!(value[..36], usual_value[13..49], "the same id");
        if let RecordKind::Duplicate { of } = other_one.kind {
            assert_eq!(other_one.value, other[of as usize].value);
            copies += 1;
        }
    }
    assert!(copies > 1000, "{copies}");
}
