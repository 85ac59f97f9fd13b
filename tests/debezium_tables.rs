//! What Debezium really wrote, produced to a real broker as it was recorded, landed, read back by PyIceberg and held
//! against what PostgreSQL itself says of the rows.
//!
//! `tests/debezium/record.py` recorded it; `operators/tests/debezium.rs` holds the decoder alone against more ways to
//! configure the connector.

#[path = "debezium/columns.rs"]
mod columns;
mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use columns::columns;
use serde_json::Value;
use strandline::{Column, Format, Job};
use strandline_operators::job::IntegerTimestamps;
use support::{OwnStack, Running, Stack, be_own_program, own_program, program};

/// Of a run over a few hundred records; generous, for a machine that does other things too.
const DEADLINE: Duration = Duration::from_secs(180);

const TEST: &str = "what_debezium_wrote_is_in_the_tables_as_postgresql_has_it";

const COLUMNS: &[Column] = &columns(None);

const COLUMNS_IN_MILLIS: &[Column] = &columns(Some(IntegerTimestamps::Millis));

/// Where Connect's schema says what integers count.
const CHANGES: Job = Job {
    name: "changes",
    topics: &["changes"],
    format: Format::DebeziumJson,
    columns: COLUMNS,
    table: "bronze.changes",
    dead_letter_table: Some("bronze.changes_dead_letters"),
    ..Job::BRONZE
};

/// Where nothing but the job says it.
const CHANGES_WITHOUT_SCHEMA: Job = Job {
    name: "changes-without-schema",
    columns: COLUMNS_IN_MILLIS,
    ..CHANGES
};

/// Recorded with this configuration of the connector, decoded by this job in this format.
const RUNS: [(&str, &Job, Format); 5] = [
    ("schemas", &CHANGES, Format::DebeziumJson),
    ("schemas", &CHANGES, Format::DebeziumJsonSr),
    ("plain", &CHANGES_WITHOUT_SCHEMA, Format::DebeziumJson),
    ("plain", &CHANGES_WITHOUT_SCHEMA, Format::DebeziumJsonSr),
    ("unwrapped", &CHANGES_WITHOUT_SCHEMA, Format::DebeziumJson),
];

fn judge(folder: &Path, args: &[&str]) -> String {
    let output = program("debezium.py")
        .current_dir(folder)
        .args(args)
        .output();
    let output = output.expect("run the judge's Python");
    assert!(
        output.status.success(),
        "debezium.py {args:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a job until it has caught up; what it prints.
fn run(folder: &Path, job: &str) -> Value {
    let args = ["run", job, "-w", "2", "--until-caught-up", "--json"];
    let running = Running::spawn(own_program(TEST, &args), folder);
    running.wait(DEADLINE).expect_exit(0).own_json()
}

#[test]
fn what_debezium_wrote_is_in_the_tables_as_postgresql_has_it() {
    be_own_program(&[CHANGES, CHANGES_WITHOUT_SCHEMA]);
    let stack = OwnStack::up(&["kafka", "schema-registry"]);
    let Stack {
        bootstrap_servers,
        registry_url,
        ..
    } = stack.description();
    for (variant, job, format) in RUNS {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (job, format) = (job.name, format.name());
        let topics = judge(
            folder.path(),
            &[
                "produce",
                variant,
                format,
                &bootstrap_servers,
                &registry_url,
            ],
        );
        // It was recorded long ago, or in the future: times are compared, and judged by nobody.
        let config = format!(
            "kafka: {{ bootstrap_servers: '{bootstrap_servers}' }}\n\
             schema_registry: {{ url: '{registry_url}' }}\n\
             catalog: {{ type: sql, uri: 'sqlite://./catalog.db', warehouse: ./warehouse }}\n\
             http: off\n\
             jobs: {{ {job}: {{ topics: [{topics}], format: {format}, group_id: {variant}-{format}, \
             watermark: {{ max_future_skew: 3650d }} }} }}\n"
        );
        fs::write(folder.path().join("strandline.yaml"), config).expect("write the configuration");
        let printed = run(folder.path(), job);
        fs::write(folder.path().join("report.json"), printed.to_string())
            .expect("write the report");
        judge(folder.path(), &["judge", variant, format, "report.json"]);
    }
}
