//! `schema_evolution: add_columns` on real services: what later schemas add, be they the registry's or such as come with the
//! record, becomes columns, while the job is killed at every step of it, on one process and on two, and PyIceberg reads what was sent.

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use strandline::{Column, ColumnType, Format, Job};
use strandline_operators::job::{Route, SchemaEvolution};
use support::{
    OwnStack, Running, Stack, Topic, be_own_program, own_program, program, unique, wait_until,
};

const DEADLINE: Duration = Duration::from_secs(180);

const PARTITIONS: i32 = 4;

const TEST: &str = "what_a_schema_adds_becomes_columns_whatever_step_is_killed";

const EVOLVING: Job = Job {
    name: "evolving",
    topics: &["evolving"],
    format: Format::AvroSr,
    schema_evolution: SchemaEvolution::AddColumns,
    columns: &[
        Column::required("event_id", ColumnType::String),
        Column::required("event_time", ColumnType::Timestamptz),
        Column::optional("kind", ColumnType::String),
    ],
    table: "bronze.evolving",
    routes: &[Route {
        name: "big",
        table: "bronze.evolving_big",
        takes: |row| row.text("kind") == Some("big"),
    }],
    dead_letter_table: Some("bronze.evolving_dead_letters"),
    ..Job::BRONZE
};

fn judge(folder: &Path, args: &[&str]) {
    let output = program("evolution.py")
        .current_dir(folder)
        .args(args)
        .output()
        .expect("run the judge's Python");
    assert!(
        output.status.success(),
        "evolution.py {args:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs the job until the step was reached and the process ended of it.
fn killed_at(folder: &Path, point: &str) {
    let mut command = own_program(TEST, &["run", "evolving", "-w", "2", "--until-caught-up"]);
    command.env("STRANDLINE_FAILPOINTS", format!("{point}=kill"));
    let mut running = Running::spawn(command, folder);
    wait_until(&format!("the kill at {point}"), DEADLINE, || {
        (!running.is_running()).then_some(())
    });
    let ended = running.wait(DEADLINE);
    let reached = format!("failpoint {point} reached");
    assert!(ended.stderr.contains(&reached), "{}", ended.stderr);
}

/// Runs the job as two processes until it has caught up; what the first prints.
fn run_two_processes(folder: &Path) -> serde_json::Value {
    let [a, b, c]: [u8; 3] = rand::random();
    let address = format!("127.{a}.{b}.{}", c.clamp(1, 254));
    fs::write(
        folder.join("hosts"),
        format!("{address}:2101\n{address}:2102\n"),
    )
    .expect("write the hosts");
    let process = |index: &str| {
        let args = [
            "run",
            "evolving",
            "-w",
            "1",
            "-n",
            "2",
            "-p",
            index,
            "--hostfile",
            "hosts",
            "--until-caught-up",
            "--json",
        ];
        Running::spawn(own_program(TEST, &args), folder)
    };
    let [first, second] = ["0", "1"].map(process);
    let printed = first.wait(DEADLINE).expect_exit(0).own_json();
    second.wait(DEADLINE).expect_exit(0);
    printed
}

fn evolves(stack: &Stack, format: &str) {
    let Stack {
        bootstrap_servers,
        registry_url,
        ..
    } = stack;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let topic = Topic::create(bootstrap_servers, &unique("evolving"), PARTITIONS).name;
    let config = format!(
        "kafka: {{ bootstrap_servers: '{bootstrap_servers}' }}\n\
         schema_registry: {{ url: '{registry_url}' }}\n\
         catalog: {{ type: sql, uri: 'sqlite://./catalog.db', warehouse: ./warehouse }}\n\
         http: off\n\
         jobs: {{ evolving: {{ topics: [{topic}], format: {format}, commit: {{ interval: 100ms }} }} }}\n"
    );
    fs::write(folder.join("strandline.yaml"), config).expect("write the configuration");
    let produce = |versions: &str| {
        let to = [
            bootstrap_servers.as_str(),
            registry_url,
            &topic,
            "sent.json",
        ];
        judge(folder, &[&["produce", format, versions][..], &to].concat());
    };

    produce("1");
    let args = ["run", "evolving", "-w", "2", "--until-caught-up", "--json"];
    let run = Running::spawn(own_program(TEST, &args), folder);
    run.wait(DEADLINE).expect_exit(0);

    produce("1,2");
    for point in ["columns.add", "columns.added", "file.closed", "commit.sent"] {
        killed_at(folder, point);
    }
    // Some of them meet the columns in the table, others add the next.
    produce("2,1,3");
    let printed = run_two_processes(folder);
    fs::write(folder.join("report.json"), printed.to_string()).expect("write the report");
    judge(folder, &["judge", "sent.json", "report.json"]);
}

#[test]
fn what_a_schema_adds_becomes_columns_whatever_step_is_killed() {
    be_own_program(&[EVOLVING]);
    let stack = OwnStack::up(&["kafka", "schema-registry"]);
    for format in [
        "avro_sr",
        "json_sr",
        "protobuf_sr",
        "debezium_json",
        "debezium_json_sr",
    ] {
        evolves(&stack.description(), format);
    }
}
