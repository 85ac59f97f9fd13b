//! A Kafka that does not let a job in: TLS, SASL, access lists, an address that leads astray.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::compare::{compare_end, compare_finding, compare_start};
use crate::support::{
    Catalog, DEADLINE, OwnStack, RomanNumerals, Stack, load, status, variable, wait_until,
    wait_until_consumed,
};
use crate::table::says;
use crate::{JOB, end};

/// A command that cannot get through to Kafka says so within 10 s; 8 s of it the broker is given. The rest is for a
/// machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(13);

/// For longer than this a job does not speak of what a client complained of only once.
const COMPLAINT_AGE: Duration = Duration::from_secs(35);

/// A job on the secured Kafka, by one of its listeners, with these properties of the client.
fn secured(stack: &OwnStack, listener: &str, properties: &[(&str, &str)]) -> RomanNumerals {
    let at = |key: &str| stack.fact("kafka-secured", key);
    let plain = Stack {
        bootstrap_servers: at("bootstrap_servers"),
        ..stack.description()
    };
    let job = RomanNumerals::on(&plain, Catalog::Sql, 1, "commit: { interval: 200ms }");
    job.reconfigure("http: \"off\"", "http: 127.0.0.1:0");
    let properties: Vec<String> = properties
        .iter()
        .map(|(name, value)| format!("{name}: '{value}'"))
        .collect();
    job.reconfigure(
        &format!("bootstrap_servers: {}", at("bootstrap_servers")),
        &format!(
            "bootstrap_servers: {}\n  properties: {{ {} }}",
            at(listener),
            properties.join(", ")
        ),
    );
    job
}

/// Lets `alice` do something with the topics, or groups, whose name begins so.
fn allow(stack: &OwnStack, resource: &str, prefix: &str) {
    const PROGRAM: &str = "
import sys
from confluent_kafka.admin import *
bootstrap, resource, prefix = sys.argv[1:]
binding = AclBinding(ResourceType[resource], prefix, ResourcePatternType.PREFIXED, 'User:alice', '*',
                     AclOperation.ALL, AclPermissionType.ALLOW)
admin = AdminClient({'bootstrap.servers': bootstrap})
for future in admin.create_acls([binding]).values():
    future.result()
";
    let bootstrap = stack.fact("kafka-secured", "bootstrap_servers");
    let done = Command::new(variable("STRANDLINE_PYTHON"))
        .args(["-c", PROGRAM, &bootstrap, resource, prefix])
        .status();
    assert!(done.expect("run the judge's Python").success());
}

#[test]
fn a_kafka_that_does_not_let_us_in() {
    let stack = OwnStack::up(&["kafka-secured"]);
    // Each takes some seconds, and nothing is to be learned twice.
    let compare = |fault, command, job: &RomanNumerals| {
        compare_end(fault, &job.run(&[command, JOB], DEADLINE));
    };
    let astray = secured(&stack, "astray", &[]);
    compare("advertised_address", "run", &astray);
    let asked = Instant::now();
    compare("advertised_address", "check", &astray);
    let took = asked.elapsed();
    eprintln!("`check` took {took:?}");
    assert!(took < PATIENCE, "`check` took {took:?}");
    compare("plain_to_tls", "check", &secured(&stack, "ssl", &[]));
    let untrusted = [("security.protocol", "SSL")];
    compare("tls_untrusted", "run", &secured(&stack, "ssl", &untrusted));

    let alice = |password| {
        [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "alice"),
            ("sasl.password", password),
        ]
    };
    let wrong = secured(&stack, "sasl", &alice("wrong"));
    compare("sasl_credentials", "check", &wrong);
    let mut other_mechanism = alice("alice-secret");
    other_mechanism[1].1 = "SCRAM-SHA-256";
    let other = secured(&stack, "sasl", &other_mechanism);
    compare("sasl_mechanism", "run", &other);

    let job = secured(&stack, "sasl", &alice("alice-secret"));
    compare_start("topic_not_authorised", &job);
    allow(&stack, "TOPIC", &job.topic.name);
    load(&job, 1, 0, 100, 1);
    let checked = job.run(&["check", JOB], DEADLINE).expect_exit(0);
    let warns =
        "warn  group: cannot look up the offsets of group `…`: the broker does not allow us to";
    assert!(says(&checked.stdout, warns), "{}", checked.stdout);
    let running = job.spawn(&["run", JOB]);
    compare_finding("group_not_authorised", &job, "group_refused");
    wait_until_consumed(&job, 100);
    let told = Instant::now();

    // Over TLS all is well.
    let authority = stack.fact("kafka-secured", "ca");
    let trusted = [
        ("security.protocol", "SSL"),
        ("ssl.ca.location", authority.as_str()),
    ];
    let over_tls = secured(&stack, "ssl", &trusted);
    let checked = over_tls.run(&["check", JOB], DEADLINE).expect_exit(0);
    assert!(
        checked.stdout.contains("ok    broker"),
        "{}",
        checked.stdout
    );

    // The client says once that it may not use the group. It stays so, and is told until it is mended.
    let is_told = |status: &Value| {
        let findings = status["findings"].as_array();
        findings.is_some_and(|all| all.iter().any(|f| f["kind"] == "group_refused"))
    };
    while told.elapsed() < COMPLAINT_AGE {
        let status = status(&job).expect("it runs");
        assert!(is_told(&status), "{status}");
    }
    allow(&stack, "GROUP", "strandline-");
    wait_until("no finding", DEADLINE, || {
        status(&job).filter(|status| !is_told(status))
    });
    end(running);
    let shown = job.run(&["offsets", "show", JOB, "--json"], DEADLINE);
    let offsets = shown.expect_exit(0).json();
    assert_eq!(offsets["offsets"][0]["group"], 100, "{offsets}");
}
