//! Routing on real services: `business-events` into its five tables through a REST catalog, killed between the
//! commit of the primary and those of the others, read back by PyIceberg.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::{OwnStack, Running, Stack, program, spawn, wait_until};

const DEADLINE: Duration = Duration::from_secs(180);

const JOB: &str = "business-events";

fn python(folder: &Path, args: &[&str]) {
    let output = program("formats.py")
        .current_dir(folder)
        .args(args)
        .output();
    let output = output.expect("run the judge's Python");
    assert!(
        output.status.success(),
        "formats.py {args:?}: {}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs the job until the step was reached and the process ended of it.
fn killed_at(folder: &Path, point: &str, action: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strandline"));
    command
        .args(["run", JOB, "-w", "2", "--until-caught-up"])
        .env("STRANDLINE_FAILPOINTS", format!("{point}={action}"));
    let mut running = Running::spawn(command, folder);
    wait_until(&format!("the kill at {point}"), DEADLINE, || {
        (!running.is_running()).then_some(())
    });
    let ended = running.wait(DEADLINE);
    let reached = format!("failpoint {point} reached");
    assert!(ended.stderr.contains(&reached), "{}", ended.stderr);
}

#[test]
fn each_event_is_once_in_the_tables_of_its_type_whatever_dies_between_the_commits() {
    let stack = OwnStack::up(&["kafka", "rest", "schema-registry"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Stack {
        bootstrap_servers,
        rest_uri,
        rest_warehouse,
        registry_url,
    } = stack.description();
    let config = format!(
        "kafka: {{ bootstrap_servers: '{bootstrap_servers}' }}\n\
         schema_registry: {{ url: '{registry_url}' }}\n\
         catalog: {{ type: rest, uri: '{rest_uri}', warehouse: '{rest_warehouse}' }}\n\
         http: off\n"
    );
    fs::write(folder.path().join("strandline.yaml"), config).expect("write the configuration");
    python(
        folder.path(),
        &[
            "produce",
            JOB,
            &bootstrap_servers,
            &registry_url,
            "sent.json",
        ],
    );

    // All of the records are one epoch: the first life commits the primary and none of the others, the second
    // rolls one of them forward, the third two.
    for (point, action) in [
        ("secondary.send", "kill"),
        ("secondary.sent", "kill"),
        ("secondary.sent", "kill@2"),
    ] {
        killed_at(folder.path(), point, action);
    }
    let run = spawn(folder.path(), &["run", JOB, "--until-caught-up", "--json"]);
    let printed = run.wait(DEADLINE).expect_exit(0).json();
    fs::write(folder.path().join("report.json"), printed.to_string()).expect("write the report");
    python(folder.path(), &["judge", JOB, "sent.json", "report.json"]);

    let audit = spawn(folder.path(), &["audit", JOB, "--json"]);
    let audit = audit.wait(DEADLINE).expect_exit(0).json();
    let names: Vec<&str> = audit["tables"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|table: &Value| table["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "bronze.business_events",
            "bronze.business_events_dead_letters",
            "bronze.business_events_orders",
            "bronze.business_events_payments",
            "bronze.business_events_shipments",
            "bronze.business_events_customers",
        ]
    );
}
