//! A walk through `docs/runbook.md`: each fault of its table is caused for real, and what is said of it is compared
//! with the table.

mod support;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::{Value, json};
use support::{
    Answered, Applied, Catalog, CatalogProxy, DEADLINE, Fault, Finished, Message, ObjectStore,
    OwnStack, RomanNumerals, Running, Stack, Transaction, Transactions, events, in_repository,
    load, refusing_server, served, stack, status, variable, wait_until, wait_until_consumed,
};

const JOB: &str = "roman-numerals";

/// A command that cannot get through to Kafka says so within 10 s; 8 s of it the broker is given. The rest is for a
/// machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(13);

/// A stall is named within this time.
const NAMED_WITHIN: Duration = Duration::from_secs(10);

/// For longer than this a job does not speak of what a client complained of only once.
const COMPLAINT_AGE: Duration = Duration::from_secs(35);

/// A row of the table.
struct Row {
    fault: String,
    exit: String,
    message: String,
}

/// The rows of the runbook's table of faults.
fn rows() -> Vec<Row> {
    let text = fs::read_to_string(in_repository("docs/runbook.md")).expect("the runbook");
    let (_, part) = text.split_once("\n## Faults").expect("a part on faults");
    let part = part.split("\n## ").next().unwrap_or_default();
    let rows = part.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, fault, exit, message, next, _] = cells.as_slice() else {
            panic!("not four cells: {line}");
        };
        assert!(!next.is_empty(), "{fault} has no next step");
        Row {
            fault: fault.trim_matches('`').to_owned(),
            exit: (*exit).to_owned(),
            message: (*message).to_owned(),
        }
    })
    .collect()
}

/// Whether a text contains a message, in which `…` stands for anything within a line.
fn says(text: &str, message: &str) -> bool {
    let parts: Vec<&str> = message.split('…').map(str::trim).collect();
    text.lines().any(|line| {
        let mut rest = line;
        parts.iter().all(|part| match rest.split_once(part) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    })
}

/// Compares what was said of a fault with the runbook; `exit` is `-` of a job that goes on.
#[track_caller]
fn compare(fault: &str, exit: &str, said: &str) {
    let rows = rows();
    let row = rows.iter().find(|row| row.fault == fault);
    let row = row.unwrap_or_else(|| panic!("the runbook has no `{fault}`"));
    eprintln!("{fault}: {said}");
    assert!(
        says(said, &row.message),
        "{fault}: the runbook has\n{}\nand what is said is\n{said}",
        row.message
    );
    assert_eq!(exit, row.exit, "{fault}: {said}");
}

/// Compares how a command ended.
#[track_caller]
fn compare_end(fault: &str, finished: &Finished) {
    let exit = finished
        .status
        .code()
        .map_or_else(String::new, |c| c.to_string());
    let said = format!("{}{}", finished.stdout, finished.stderr);
    compare(fault, &exit, &said);
    assert!(said.contains("hint: "), "{fault} has no next step: {said}");
}

/// Waits until the running job names a finding, and compares that.
#[track_caller]
fn compare_finding(fault: &str, job: &RomanNumerals, kind: &str) -> Value {
    let found = wait_until(kind, DEADLINE, || {
        let status = status(job)?;
        let findings = status["findings"].as_array()?;
        findings.iter().find(|f| f["kind"] == kind).cloned()
    });
    let said = found["message"].as_str().unwrap_or_default();
    assert_ne!(found["hint"], "", "{fault} has no next step");
    compare(fault, "-", said);
    found
}

#[track_caller]
fn end(running: Running) {
    running.terminate();
    running.wait(DEADLINE).expect_exit(143);
}

/// Runs `check` and `run`, which must say the same.
#[track_caller]
fn compare_start(fault: &str, job: &RomanNumerals) {
    for command in ["check", "run"] {
        compare_end(fault, &job.run(&[command, JOB], DEADLINE));
    }
}

/// An address on which nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.local_addr().expect("an address").to_string()
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock after 1970").as_millis() as i64
}

/// An event at a time; its record has the same.
fn event(partition: i32, id: &str, at_ms: i64) -> Message {
    let value = json!({ "event_id": id, "event_time": at_ms, "input_value": 7 });
    Message {
        partition,
        value: Some(value.to_string().into_bytes()),
        timestamp_ms: Some(at_ms),
        ..Message::default()
    }
}

#[test]
fn every_fault_of_the_table_is_caused_here() {
    let here = include_str!("runbook.rs");
    let rows = rows();
    assert!(rows.len() >= 25, "{} rows", rows.len());
    for row in rows {
        assert!(
            here.contains(&format!("\"{}\"", row.fault)),
            "nothing causes `{}`",
            row.fault
        );
    }
}

#[test]
fn a_message_of_the_table_is_compared_word_by_word() {
    assert!(says("error: topic `a` has\n", "topic `…` has"));
    assert!(!says("topic `a` had", "topic `…` has"));
    assert!(!says("topic\n`a` has", "topic `…` has"), "within a line");
}

#[test]
fn topics_and_offsets() {
    let job = served(1);
    job.reconfigure(
        &format!("topics: [{}]", job.topic.name),
        "topics: [no-such-topic]",
    );
    compare_start("topic_missing", &job);

    let job = served(1);
    let running = job.spawn(&["run", JOB]);
    compare_finding("topic_empty", &job, "topic_empty");
    end(running);

    let job = served(1);
    load(&job, 1, 0, 100, 1);
    job.reconfigure("commit:", "starting_offsets: latest\n    commit:");
    let running = job.spawn(&["run", JOB]);
    compare_finding("at_the_end", &job, "nothing_new");
    end(running);
}

#[test]
fn wrong_format() {
    let job = served(1);
    let with_header = |i: u8| Message {
        value: Some([&[0, 0, 0, 0, 7, i][..], b"avro"].concat()),
        ..Message::default()
    };
    job.topic.produce((0..20).map(with_header));
    compare_end("wrong_format", &job.run(&["check", JOB], DEADLINE));
}

#[test]
fn watermarks_and_clocks() {
    let job = served(2);
    let now = now_ms();
    job.topic.produce([
        event(0, "first", now - 60_000),
        event(1, "other", now - 60_000),
    ]);
    let running = job.spawn(&["run", JOB]);
    wait_until_consumed(&job, 2);
    // The other partition goes on alone.
    let mut seconds = 0;
    wait_until("a watermark that is held", DEADLINE, || {
        seconds += 1;
        let at = now - 50_000 + 10 * seconds;
        job.topic
            .produce([event(1, &format!("next-{seconds}"), at)]);
        let findings = status(&job)?["findings"].clone();
        let held = findings
            .as_array()?
            .iter()
            .any(|f| f["kind"] == "watermark_held");
        held.then_some(())
    });
    compare_finding("idle_partition", &job, "watermark_held");
    job.topic.produce([event(1, "tomorrow", now + 30 * 60_000)]);
    compare_finding("partition_ahead", &job, "partition_ahead");
    end(running);
}

#[test]
fn open_transaction() {
    let job = served(1);
    load(&job, 1, 0, 100, 1);
    let running = job.spawn(&["run", JOB]);
    wait_until_consumed(&job, 100);
    let transactions = Transactions::to(&job.topic);
    transactions.write(events(50, 1, 2), Transaction::Open);
    compare_finding("open_transaction", &job, "open_transaction");
    transactions.commit();
    wait_until_consumed(&job, 150);
    end(running);
}

#[test]
fn another_consumer_holds_the_group() {
    let job = served(1);
    load(&job, 1, 0, 100, 1);
    let group = support::unique("taken");
    job.reconfigure("commit:", &format!("group_id: {group}\n    commit:"));
    let other: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &job.topic.bootstrap_servers)
        .set("group.id", &group)
        .set("client.id", "somebody-else")
        .create()
        .expect("a Kafka consumer");
    other.subscribe(&[&job.topic.name]).expect("subscribe");
    wait_until("the other one to be a member", DEADLINE, || {
        other.poll(Duration::from_millis(100));
        let assigned = other.assignment().expect("an assignment");
        (assigned.count() > 0).then_some(())
    });
    compare_end("group_taken", &job.run(&["check", JOB], DEADLINE));
    let running = job.spawn(&["run", JOB]);
    compare_finding("group_refused", &job, "group_refused");
    end(running);
}

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

/// A record of a schema that only a registry knows.
fn with_schema(partition: i32) -> Message {
    Message {
        partition,
        value: Some([&[0, 0, 0, 0, 7][..], b"{}"].concat()),
        ..Message::default()
    }
}

#[test]
fn a_registry_that_does_not_answer_is_named_whichever_process_waits_for_it() {
    let job = served(2);
    job.reconfigure("commit:", "format: json_sr\n    commit:");
    job.configure(&format!(
        "schema_registry: {{ url: 'http://{}' }}",
        nobody()
    ));
    // The partition that process 1 reads: in process 0 nothing waits.
    job.topic.produce([with_schema(1)]);
    let launcher = job.spawn(&["launch", JOB, "-n", "2"]);
    let found = compare_finding("registry_unreachable", &job, "waits_for_registry");
    assert_eq!(found["severity"], "stalled");
    let status = status(&job).expect("it runs");
    let process = |n: usize| status["partitions"][n]["worker"].as_u64();
    assert_eq!((process(0), process(1)), (Some(0), Some(1)));
    drop(launcher);

    let job = served(1);
    job.reconfigure("commit:", "format: json_sr\n    commit:");
    job.configure(&format!(
        "schema_registry: {{ url: '{}' }}",
        refusing_server()
    ));
    compare_end("registry_credentials", &job.run(&["run", JOB], DEADLINE));
}

/// A job whose catalog is a REST server, behind a proxy.
fn behind_proxy() -> (CatalogProxy, RomanNumerals) {
    let stack = stack();
    let proxy = CatalogProxy::before(&stack.rest_uri);
    let through = Stack {
        rest_uri: proxy.uri(),
        ..stack
    };
    let job = RomanNumerals::on(&through, Catalog::Rest, 1, "commit: { interval: 50ms }");
    job.reconfigure("http: \"off\"", "http: 127.0.0.1:0");
    (proxy, job)
}

#[test]
fn catalogs_that_do_not_answer() {
    let job = RomanNumerals::new(Catalog::Rest, 1, "");
    job.reconfigure(&stack().rest_uri, &format!("http://{}", nobody()));
    compare_start("catalog_unreachable", &job);

    let job = RomanNumerals::new(Catalog::Rest, 1, "");
    job.reconfigure(&stack().rest_uri, &refusing_server());
    compare_start("catalog_credentials", &job);

    for (fault, kind, answered) in [
        ("catalog_slow", "commit_slow", Answered::Stalled),
        ("catalog_failing", "commit_failing", Answered::Status(503)),
    ] {
        let (proxy, job) = behind_proxy();
        load(&job, 1, 0, 100, 1);
        let running = job.spawn(&["run", JOB]);
        wait_until_consumed(&job, 100);
        let applied = Applied::Never;
        let faults = vec![Fault { applied, answered }; 1_000];
        proxy.inject(faults, 1);
        let caused = Instant::now();
        load(&job, 1, 100, 100, 2);
        compare_finding(fault, &job, kind);
        let took = caused.elapsed();
        eprintln!("{fault} was named after {took:?}");
        assert!(took < NAMED_WITHIN, "{fault} was named after {took:?}");
        drop(running);
    }
}

#[test]
fn warehouses_that_cannot_be_written() {
    for (fault, place) in [
        ("warehouse_scheme", "gs://bucket/warehouse"),
        // Not even root may write there.
        ("warehouse_denied", "/sys/strandline-warehouse"),
    ] {
        let job = served(1);
        let warehouse = format!("{}/warehouse", job.path().display());
        job.reconfigure(
            &format!("warehouse: {warehouse}"),
            &format!("warehouse: {place}"),
        );
        compare_start(fault, &job);
    }
}

#[test]
fn object_stores() {
    let own = OwnStack::up(&["s3"]);
    let store = ObjectStore::of(&own);
    let bucket = &store.bucket;
    let with = |warehouse: &str, properties: &str| {
        let job = served(1);
        load(&job, 1, 0, 100, 1);
        job.reconfigure(
            &format!("warehouse: {}/warehouse", job.path().display()),
            &format!("warehouse: s3://{warehouse}\n  properties: {properties}"),
        );
        job
    };
    let properties = store.properties();
    compare_start("s3_bucket", &with("no-such-bucket/w", &properties));
    let wrong = properties.replace("not-a-secret", "wrong");
    assert_ne!(wrong, properties);
    compare_start("s3_credentials", &with(&format!("{bucket}/w"), &wrong));
    let none = format!("{{ s3.endpoint: '{}' }}", store.endpoint);
    compare_start("s3_no_credentials", &with(&format!("{bucket}/w"), &none));
    let region = properties.replace("us-east-1", "eu-west-1");
    assert_ne!(region, properties);
    compare_start("s3_region", &with(&format!("{bucket}/w"), &region));
    let nowhere = properties.replace(&store.endpoint, &format!("http://{}", nobody()));
    compare_start("s3_unreachable", &with(&format!("{bucket}/w"), &nowhere));

    // While it runs: rows wait, and the job says for what.
    let job = with(&format!("{bucket}/w"), &properties);
    let running = job.spawn(&["run", JOB]);
    wait_until_consumed(&job, 100);
    own.stop("s3");
    let caused = Instant::now();
    load(&job, 1, 100, 100, 2);
    compare_finding("s3_away", &job, "store_slow");
    let took = caused.elapsed();
    assert!(took < NAMED_WITHIN, "it was named after {took:?}");
    own.start("s3");
    wait_until_consumed(&job, 200);
    end(running);
}

/// Runs a command of the job with a folder of its own file system, full but for `free_kib`.
#[track_caller]
fn run_on_full_disk(job: &RomanNumerals, folder: &str, read_only: bool, command: &str) -> Finished {
    const SCRIPT: &str = "
set -e
mkdir -p \"$1\"
mount -t tmpfs -o size=1m tmpfs \"$1\"
if [ \"$2\" = true ]; then mount -o remount,ro \"$1\"
else head -c 2m /dev/zero > \"$1/all-that-fits\" 2>/dev/null || true; fi
exec \"$3\" \"$4\" roman-numerals
";
    let mut run = Command::new("unshare");
    run.args(["--mount", "--map-root-user", "sh", "-c", SCRIPT, "sh"])
        .arg(job.path().join(folder))
        .args([
            read_only.to_string().as_str(),
            env!("CARGO_BIN_EXE_strandline"),
            command,
        ])
        .env_remove("STRANDLINE_CONFIG");
    Running::spawn(run, job.path()).wait(DEADLINE)
}

#[test]
fn disks_that_are_full_or_read_only() {
    let possible = Command::new("unshare")
        .args([
            "--mount",
            "--map-root-user",
            "mount",
            "-t",
            "tmpfs",
            "tmpfs",
            "/mnt",
        ])
        .status();
    assert!(
        possible.is_ok_and(|status| status.success()),
        "this test needs the right to mount (a user namespace of its own)"
    );
    for (fault, folder, read_only) in [
        ("warehouse_full", "warehouse", false),
        ("warehouse_read_only", "warehouse", true),
        ("state_full", "state", false),
        ("state_read_only", "state", true),
    ] {
        let job = served(1);
        load(&job, 1, 0, 100, 1);
        for command in ["check", "run"] {
            compare_end(fault, &run_on_full_disk(&job, folder, read_only, command));
        }
    }
}

#[test]
fn a_job_that_runs_already() {
    let job = served(1);
    load(&job, 1, 0, 100, 1);
    let running = job.spawn(&["run", JOB]);
    wait_until_consumed(&job, 100);
    compare_end("state_in_use", &job.run(&["run", JOB], DEADLINE));

    // From elsewhere, with a state of its own, the second one takes over.
    let text = fs::read_to_string(job.path().join("strandline.yaml")).expect("read");
    let elsewhere = text.replace("/state\n", "/elsewhere\n");
    fs::write(job.path().join("elsewhere.yaml"), elsewhere).expect("write");
    let second = job.spawn(&["-c", "elsewhere.yaml", "run", JOB]);
    let mut running = Some(running);
    let mut loaded = 100;
    let fenced = wait_until("the first one to be fenced", DEADLINE, || {
        load(&job, 1, loaded, 100, loaded + 1);
        loaded += 100;
        let ended = running
            .as_mut()
            .is_some_and(|running| !running.is_running());
        ended.then(|| running.take()).flatten()
    });
    compare_end("fenced", &fenced.wait(DEADLINE));
    end(second);
}

#[test]
fn a_port_in_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let job = served(1);
    job.reconfigure("http: 127.0.0.1:0", &format!("http: {address}"));
    compare_end("port_in_use", &job.run(&["run", JOB], DEADLINE));
}
