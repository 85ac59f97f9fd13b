//! Formats of the schema registry, written by confluent-kafka's serializers in Python, landed from a real
//! broker with a real registry, read back by PyIceberg and compared field by field.

mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use support::{Message, OwnStack, Running, Stack, create_topic, program, spawn, stack, wait_until};

/// Of a run over a few hundred records; generous, for a machine that does other things too.
const DEADLINE: Duration = Duration::from_secs(180);

/// What a run waits for while the registry is away.
const HELD_BACK: &str = "held back";

struct Setting {
    stack: OwnStack,
    folder: tempfile::TempDir,
}

impl Setting {
    fn new() -> Setting {
        Setting {
            stack: OwnStack::up(&["kafka", "schema-registry"]),
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn configure(&self, registry_url: &str) {
        self.configure_trades(registry_url, "topics: [typed.binance, typed.kraken]");
    }

    /// With these settings of the job `crypto-trades-typed`.
    fn configure_trades(&self, registry_url: &str, settings: &str) {
        self.configure_job(registry_url, "crypto-trades-typed", settings);
    }

    fn configure_job(&self, registry_url: &str, job: &str, settings: &str) {
        let Stack {
            bootstrap_servers, ..
        } = self.stack.description();
        let config = format!(
            "kafka: {{ bootstrap_servers: '{bootstrap_servers}' }}\n\
             schema_registry: {{ url: '{registry_url}' }}\n\
             catalog: {{ type: sql, uri: 'sqlite://./catalog.db', warehouse: ./warehouse }}\n\
             http: off\n\
             jobs: {{ {job}: {{ {settings} }} }}\n"
        );
        fs::write(self.path().join("strandline.yaml"), config).expect("write the configuration");
    }

    /// The program that writes records, as their producers would, and the file for what must become of them.
    fn producer(&self, what: &str) -> (Command, PathBuf) {
        let Stack {
            bootstrap_servers,
            registry_url,
            ..
        } = self.stack.description();
        let sent = self.path().join(format!("{what}.sent.json"));
        let mut command = program("formats.py");
        command
            .args(["produce", what, &bootstrap_servers, &registry_url])
            .arg(&sent);
        (command, sent)
    }

    /// Writes the first records; the others once a line is written into the pipe.
    fn produce_in_two_parts(&self, what: &str) -> (Running, ChildStdin, PathBuf) {
        let (command, sent) = self.producer(what);
        let (mut producer, pipe) = Running::spawn_fed(command, self.path());
        wait_until("the first records to be sent", DEADLINE, || {
            assert!(producer.is_running(), "it ended: {}", producer.stderr());
            producer.stdout().contains("sent").then_some(())
        });
        (producer, pipe, sent)
    }

    /// Writes records; what must land and what must not goes to a file.
    fn produce(&self, what: &str) -> PathBuf {
        let (mut command, sent) = self.producer(what);
        let output = command.output().expect("run the judge's Python");
        assert!(
            output.status.success(),
            "formats.py produce {what}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        sent
    }

    /// Compares the job's tables with what was sent.
    fn judge(&self, what: &str, sent: &Path, printed: &Value) {
        let report = self.path().join(format!("{what}.report.json"));
        fs::write(&report, printed.to_string()).expect("write the report");
        let output = program("formats.py")
            .args(["judge", what])
            .args([sent, &report])
            .output()
            .expect("run the judge's Python");
        assert!(
            output.status.success(),
            "formats.py judge {what}: {}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn lands_what_was_sent(&self, job: &str) {
        self.lands(job, job);
    }

    /// Runs the job over what is sent, and has its tables judged.
    fn lands(&self, what: &str, job: &str) {
        let sent = self.produce(what);
        let run = spawn(self.path(), &["run", job, "--until-caught-up", "--json"]);
        let printed = run.wait(DEADLINE).expect_exit(0).json();
        self.judge(what, &sent, &printed);
    }
}

#[test]
fn each_job_lands_what_confluents_serializers_wrote() {
    let setting = Setting::new();
    setting.configure(&setting.stack.description().registry_url);
    for job in [
        "crypto-binance",
        "crypto-kraken",
        "crypto-trades-typed",
        "business-events",
        "user-events",
        "bid-events",
    ] {
        setting.lands_what_was_sent(job);
    }
    let peek = ["peek", "crypto-trades-typed", "-n", "1", "--json"];
    let shown = spawn(setting.path(), &peek)
        .wait(DEADLINE)
        .expect_exit(0)
        .json();
    let decoded = &shown[0]["decoded"];
    assert!(
        decoded["event_id"].is_string() && decoded["price"].is_string(),
        "{shown}"
    );
}

/// Two messages of one schema, one of them inside of another, with a reference, imports that need none, and a
/// schema that is registered as a file descriptor in base64. That it is Protobuf only the registry knows.
#[test]
fn protobuf_of_confluents_serializer_is_recognised_and_lands() {
    let setting = Setting::new();
    setting.configure_trades(
        &setting.stack.description().registry_url,
        "topics: [typed.protobuf], format: auto",
    );
    setting.lands("protobuf", "crypto-trades-typed");
    let check = spawn(setting.path(), &["check", "crypto-trades-typed"]);
    let shown = check.wait(DEADLINE).expect_exit(0).stdout;
    assert!(
        shown.contains("ok    format: the format of `typed.protobuf` is `protobuf_sr`: "),
        "{shown}"
    );
}

/// What violates its schema, or one that it refers to, is a dead letter, though every field fits its column.
#[test]
fn records_are_held_against_their_registered_json_schema() {
    let setting = Setting::new();
    let Stack { registry_url, .. } = setting.stack.description();
    let settings = "topics: [typed.json], format: json_sr";
    setting.configure_job(&registry_url, "user-events", settings);
    setting.lands("json_schema", "user-events");
}

/// As Python's csv module writes it: delimiters, line breaks and quotes in quotes.
#[test]
fn rows_of_csv_land() {
    let setting = Setting::new();
    setting.configure_trades(
        &setting.stack.description().registry_url,
        "topics: [typed.csv], format: csv, csv: { delimiter: ';', columns: \
         [message_id, event_time, note, symbol, price, quantity, side, is_buyer_maker] }",
    );
    setting.lands("csv", "crypto-trades-typed");
    // And a topic that is half of it is not guessed at, however clear the others are.
    setting.configure_trades(
        &setting.stack.description().registry_url,
        "topics: [typed.csv, typed.mixed], table: bronze.mixed, format: auto, csv: { delimiter: ';', columns: \
         [message_id, event_time, note, symbol, price, quantity, side, is_buyer_maker] }",
    );
    let run = spawn(setting.path(), &["run", "crypto-trades-typed"]);
    let said = run.wait(DEADLINE).expect_exit(2).stderr;
    for part in [
        "`typed.mixed` cannot be told",
        "5 of 10 records are JSON objects",
        "set `jobs.crypto-trades-typed.format.typed.mixed` to one of",
        "`csv`",
        "`json`",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// Avro of one exchange and JSON of the other in one table: recognised from the records, and said by name. What one topic
/// is made of is a dead letter in the other.
#[test]
fn each_topic_of_a_job_may_have_a_format_of_its_own() {
    let setting = Setting::new();
    let Stack { registry_url, .. } = setting.stack.description();
    let configure = |settings: &str| {
        let settings = format!("topics: [typed.avro, typed.rows], {settings}");
        setting.configure_trades(&registry_url, &settings);
    };
    let job = "crypto-trades-typed";
    let sent = setting.produce("two_formats");
    configure("format: { typed.avro: auto, typed.rows: json }");
    let check = spawn(setting.path(), &["check", job]).wait(DEADLINE);
    let shown = check.expect_exit(0).stdout;
    for part in [
        "the format of `typed.avro` is `avro_sr`",
        "records of `typed.avro` decode as avro_sr",
        "records of `typed.rows` decode as json",
        "it looks like JSON objects, for which `format.typed.avro: json` would fit",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("the format of `typed.rows`"), "{shown}");
    let peek = ["peek", job, "-n", "100", "--json"];
    let peeked = spawn(setting.path(), &peek).wait(DEADLINE).expect_exit(0);
    let peeked = peeked.json();
    for topic in ["typed.avro", "typed.rows"] {
        let mut records = peeked.as_array().into_iter().flatten();
        let is_decoded =
            |record: &Value| record["topic"] == topic && record["decoded"]["price"].is_string();
        assert!(records.any(is_decoded), "{topic}: {peeked}");
    }

    configure("format: auto");
    let run = ["run", job, "--until-caught-up", "--json"];
    let told = spawn(setting.path(), &run).wait(DEADLINE).expect_exit(0);
    for part in [
        "the format of `typed.avro` is `avro_sr`",
        "the format of `typed.rows` is `json`",
    ] {
        assert!(told.stderr.contains(part), "{part}: {}", told.stderr);
    }
    setting.judge("two_formats", &sent, &told.json());

    configure(
        "format: { typed.avro: avro_sr, typed.rows: json }, table: bronze.by_name, \
         dead_letters: { table: bronze.by_name_dead_letters }",
    );
    let elsewhere = [&run[..], &["--set", "state_dir=./by_name"]].concat();
    let named = spawn(setting.path(), &elsewhere)
        .wait(DEADLINE)
        .expect_exit(0);
    assert!(!named.stderr.contains("the format of"), "{}", named.stderr);
    setting.judge("two_formats", &sent, &named.json());
}

/// As fastavro writes it without a header: the schema is the job's, out of a file.
#[test]
fn avro_of_a_given_schema_lands() {
    let setting = Setting::new();
    let sent = setting.produce("avro");
    let text = fs::read_to_string(&sent).expect("what was sent");
    let expected: Value = serde_json::from_str(&text).expect("JSON");
    let schema = setting.path().join("trade.avsc");
    let said = expected["avro_schema"].as_str().expect("a schema");
    fs::write(&schema, said).expect("write the schema");
    let job = "crypto-trades-typed";
    setting.configure_trades(
        &setting.stack.description().registry_url,
        &format!(
            "topics: [typed.avro], format: avro, avro_schema: '${{file:{}}}'",
            schema.display()
        ),
    );
    let run = spawn(setting.path(), &["run", job, "--until-caught-up", "--json"]);
    let printed = run.wait(DEADLINE).expect_exit(0).json();
    setting.judge("avro", &sent, &printed);
}

/// Byte for byte, by an id and a time that are peeked from JSON, from headers, from the key and the timestamp.
#[test]
fn records_are_kept_by_whatever_is_peeked_of_them() {
    let mut setting = Setting::new();
    let url = setting.stack.description().registry_url;
    for (what, job, settings) in [
        (
            "peeked_json",
            "crypto-binance",
            "topics: [peeked.json], \
             peek: { format: json, event_id: 'field:id', event_time: 'field:at' }",
        ),
        (
            "peeked_header",
            "crypto-kraken",
            "topics: [peeked.header], \
             peek: { format: json, event_id: 'header:id', event_time: 'header:at' }",
        ),
    ] {
        setting.configure_job(&url, job, settings);
        setting.lands(what, job);
    }
    // In a folder of its own: the first table's ids are others.
    setting.folder = tempfile::tempdir().expect("a temporary folder");
    setting.configure_job(
        &url,
        "crypto-binance",
        "topics: [peeked.key], dead_letters: { topic: peeked.key-dlq }, \
         peek: { format: json, event_id: key, event_time: timestamp }",
    );
    setting.lands("peeked_key", "crypto-binance");
}

/// What the job has committed so far, by its own audit of the table.
fn consumed(folder: &Path, job: &str) -> u64 {
    let audit = spawn(folder, &["audit", job, "--json"]).wait(DEADLINE);
    let audit = serde_json::from_str::<Value>(&audit.stdout).unwrap_or_default();
    audit["account"]["consumed"].as_u64().unwrap_or(0)
}

#[test]
fn an_empty_topic_is_waited_for_when_its_format_is_to_be_told() {
    let bootstrap_servers = stack().bootstrap_servers;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let topic = create_topic("empty", 2);
    let name = topic.name.as_str();
    let config = format!(
        "kafka: {{ bootstrap_servers: '{bootstrap_servers}' }}\n\
         catalog: {{ type: sql, uri: 'sqlite://./catalog.db', warehouse: ./warehouse }}\n\
         http: off\n\
         jobs: {{ user-events: {{ topics: [{name}], format: auto, group_id: {name}, dead_letters: {{ topic: off }} }} }}\n"
    );
    fs::write(folder.join("strandline.yaml"), config).expect("write the configuration");
    let waits = format!("waits for the first records of `{name}`");
    let start = || {
        let run = spawn(folder, &["run", "user-events"]);
        wait_until("the run to say what it waits for", DEADLINE, || {
            run.stderr().contains(&waits).then_some(())
        });
        run
    };
    let interrupted = start();
    interrupted.terminate();
    interrupted.wait(DEADLINE).expect_exit(143);

    let run = start();
    let check = spawn(folder, &["check", "user-events"]).wait(DEADLINE);
    let shown = check.expect_exit(0).stdout;
    assert!(
        shown.contains(&format!("topic `{name}` is empty")),
        "{shown}"
    );
    let millis = |time: SystemTime| {
        time.duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_millis()
    };
    let value = |id| {
        format!(
            r#"{{"event_id":"{id}","event_time":{}}}"#,
            millis(SystemTime::now())
        )
    };
    topic.produce((0..5).map(|id| Message {
        partition: id % 2,
        value: Some(value(id).into_bytes()),
        ..Message::default()
    }));
    wait_until("the records to be committed", DEADLINE, || {
        (consumed(folder, "user-events") == 5).then_some(())
    });
    assert!(
        run.stderr()
            .contains(&format!("the format of `{name}` is `json`"))
    );
    run.terminate();
    run.wait(DEADLINE).expect_exit(143);
}

#[test]
fn while_the_registry_is_away_records_are_held_back_and_none_is_a_dead_letter() {
    let setting = Setting::new();
    let url = setting.stack.description().registry_url;
    setting.configure(&url);
    let sent = setting.produce("crypto-kraken");
    // Paused, not stopped: the registry keeps its schemas in memory.
    let pid = setting.stack.pid("schema-registry");
    support::stop(pid);
    let run = spawn(
        setting.path(),
        &["run", "crypto-kraken", "--until-caught-up", "--json"],
    );
    wait_until(
        "the run to say that records are held back",
        DEADLINE,
        || run.stderr().contains(HELD_BACK).then_some(()),
    );
    support::go_on(pid);
    let printed = run.wait(DEADLINE).expect_exit(0).json();
    setting.judge("crypto-kraken", &sent, &printed);
}

/// What a job says of itself, once it runs.
fn status(folder: &Path, job: &str) -> Option<Value> {
    let finished = spawn(folder, &["status", job, "--json"]).wait(DEADLINE);
    (finished.status.code() == Some(0)).then(|| finished.json())
}

#[test]
fn a_record_of_a_new_schema_waits_when_the_registry_goes_away_under_a_job_that_runs() {
    let job = "crypto-trades-typed";
    let setting = Setting::new();
    setting.configure_trades(
        &setting.stack.description().registry_url,
        "topics: [typed.held_back]",
    );
    let (producer, mut pipe, sent) = setting.produce_in_two_parts("held_back");
    let run = spawn(setting.path(), &["run", job]);
    let wait_until_consumed = |records: u64| {
        wait_until(&format!("{records} records consumed"), DEADLINE, || {
            let status = status(setting.path(), job)?;
            (status["account"]["consumed"] == records).then_some(())
        });
    };
    wait_until_consumed(30);

    let pid = setting.stack.pid("schema-registry");
    support::stop(pid);
    writeln!(pipe, "go on").expect("tell the producer");
    producer.wait(DEADLINE).expect_exit(0);
    let waiting = wait_until("the wait to be named", DEADLINE, || {
        let status = status(setting.path(), job)?;
        let findings = status["findings"].as_array()?;
        let is_named = findings.iter().any(|f| f["kind"] == "waits_for_registry");
        is_named.then_some(status)
    });
    assert_eq!(waiting["account"]["consumed"], 30, "{waiting}");
    assert_eq!(waiting["account"]["dead_letters"], 0, "{waiting}");

    support::go_on(pid);
    wait_until_consumed(60);
    run.terminate();
    run.wait(DEADLINE).expect_exit(143);
    let audit = spawn(setting.path(), &["audit", job, "--json"]);
    let audit = audit.wait(DEADLINE).expect_exit(0).json();
    setting.judge("held_back", &sent, &audit);
}

#[test]
fn a_registry_that_refuses_our_credentials_ends_the_job_before_it_starts() {
    let setting = Setting::new();
    let server = support::refusing_server();
    setting.configure(&server);
    let run = spawn(setting.path(), &["run", "crypto-kraken"]);
    let ended = run.wait(DEADLINE).expect_exit(2);
    assert!(
        ended.stderr.contains("refuses our credentials"),
        "{}",
        ended.stderr
    );
}
