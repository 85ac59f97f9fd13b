//! The shipped job `business-events` over what Debezium really wrote of outbox tables: produced to the job's own topic
//! of a real broker as it was recorded, landed, read back by PyIceberg and held against what PostgreSQL itself says of
//! the rows.
//!
//! `tests/debezium/record_outbox.py` recorded it; `tests/judge/outbox.py` says what must become of each record.

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use support::{OwnStack, Stack, program, spawn};

/// Of a run over some ninety records; generous, for a machine that does other things too.
const DEADLINE: Duration = Duration::from_secs(180);

const JOB: &str = "business-events";

fn python(folder: &Path, args: &[&str]) {
    let output = program("outbox.py").current_dir(folder).args(args).output();
    let output = output.expect("run the judge's Python");
    assert!(
        output.status.success(),
        "outbox.py {args:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs the job over the records of one connector, and has its tables, its dead letters and its account judged.
fn lands_as_postgresql_has_it(variant: &str) {
    let stack = OwnStack::up(&["kafka", "schema-registry"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Stack {
        bootstrap_servers,
        registry_url,
        ..
    } = stack.description();
    // It was recorded long ago, or in the future, which alone must not make dead letters.
    let config = format!(
        "kafka: {{ bootstrap_servers: '{bootstrap_servers}' }}\n\
         schema_registry: {{ url: '{registry_url}' }}\n\
         catalog: {{ type: sql, uri: 'sqlite://./catalog.db', warehouse: ./warehouse }}\n\
         http: off\n\
         jobs: {{ {JOB}: {{ watermark: {{ max_future_skew: 3650d }} }} }}\n"
    );
    fs::write(folder.path().join("strandline.yaml"), config).expect("write the configuration");
    let produce = [
        "produce",
        variant,
        &bootstrap_servers,
        &registry_url,
        "sent.json",
    ];
    python(folder.path(), &produce);
    let args = ["run", JOB, "-w", "2", "--until-caught-up", "--json"];
    let run = spawn(folder.path(), &args);
    let printed = run.wait(DEADLINE).expect_exit(0).json();
    fs::write(folder.path().join("report.json"), printed.to_string()).expect("write the report");
    python(folder.path(), &["judge", "sent.json", "report.json"]);
}

/// With Connect's schemas, from the snapshot on: the first that is heard of a row is the row.
#[test]
fn an_outbox_read_from_its_snapshot_on_is_in_the_tables_as_postgresql_has_it() {
    lands_as_postgresql_has_it("outbox");
}

/// Without schemas and without a snapshot: of the rows that were there before, an update or a delete is the first that is
/// heard.
#[test]
fn an_outbox_of_which_only_changes_are_read_is_in_the_tables_as_postgresql_has_it() {
    lands_as_postgresql_has_it("outbox_plain");
}
