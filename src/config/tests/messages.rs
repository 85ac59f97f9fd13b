//! What is said of a configuration that is wrong.

use super::*;

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
        "format=[json]",
        "format=",
        "format={}",
        "format={orders: xml}",
        "format={orders: [json]}",
        "format={order: json}",
        "peek={event_id: timestamp}",
        "peek={event_time: key}",
        "peek={event_id: message_id}",
        "peek={format: avro}",
        "debezium={timestamps: seconds}",
        "debezium={decimals: exact}",
        "debezium={binaries: utf8}",
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
