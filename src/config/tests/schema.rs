//! The JSON Schema, the reader and `--set` know the same keys.

use super::*;

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
    let set = [
        "peek.format=json",
        "peek.event_id=field:id",
        "peek.event_time=timestamp",
        "debezium.decimals=digits",
    ];
    let orders = orders_with(&set);
    assert_eq!(
        orders.peek.map(|peek| peek.event_id),
        Some(PeekAt::Field("id".to_owned()))
    );
    assert_eq!(orders.debezium.decimals, QuotedDecimals::Digits);
    // Debezium's words mean the same.
    for (word, decimals) in [
        ("precise", QuotedDecimals::Base64),
        ("string", QuotedDecimals::Digits),
        ("double", QuotedDecimals::Double),
    ] {
        let orders = orders_with(&[&format!("debezium.decimals={word}")]);
        assert_eq!(orders.debezium.decimals, decimals, "{word}");
    }
}

#[test]
fn nothing_in_the_schema_may_be_null_and_nothing_else_may_be_added() {
    let text = json_schema_for(&["orders"]).to_string();
    assert!(!text.contains("null"), "{text}");
    assert!(json_schema_for(&["orders"])["additionalProperties"] == false);
    assert!(json_schema_for(&["orders"])["properties"]["jobs"]["additionalProperties"] == false);
}
