//! Formats of the schema registry, written by confluent-kafka's serializers in Python, landed from a real
//! broker with a real registry, read back by PyIceberg and compared field by field.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use support::{OwnStack, Stack, program, spawn, wait_until};

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
        let Stack {
            bootstrap_servers, ..
        } = self.stack.description();
        let config = format!(
            "kafka: {{ bootstrap_servers: '{bootstrap_servers}' }}\n\
             schema_registry: {{ url: '{registry_url}' }}\n\
             catalog: {{ type: sql, uri: 'sqlite://./catalog.db', warehouse: ./warehouse }}\n\
             http: off\n\
             jobs: {{ crypto-trades-typed: {{ {settings} }} }}\n"
        );
        fs::write(self.path().join("strandline.yaml"), config).expect("write the configuration");
    }

    /// Writes records, as their producers would; what must land and what must not goes to a file.
    fn produce(&self, what: &str) -> PathBuf {
        let Stack {
            bootstrap_servers,
            registry_url,
            ..
        } = self.stack.description();
        let sent = self.path().join(format!("{what}.sent.json"));
        let output = program("formats.py")
            .args(["produce", what, &bootstrap_servers, &registry_url])
            .arg(&sent)
            .output()
            .expect("run the judge's Python");
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
    ] {
        setting.lands_what_was_sent(job);
    }
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
    // And a topic that is half of it is not guessed at.
    setting.configure_trades(
        &setting.stack.description().registry_url,
        "topics: [typed.mixed], table: bronze.mixed, format: auto, csv: { delimiter: ';', columns: \
         [message_id, event_time, note, symbol, price, quantity, side, is_buyer_maker] }",
    );
    let run = spawn(setting.path(), &["run", "crypto-trades-typed"]);
    let said = run.wait(DEADLINE).expect_exit(2).stderr;
    for part in [
        "`typed.mixed` cannot be told",
        "5 of 10 records are JSON objects",
        "`csv`",
        "`json`",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
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
