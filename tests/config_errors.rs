//! The command line as a user meets it: exit statuses, where messages go, and what is JSON.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

const GOOD: &str = "\
kafka:
  bootstrap_servers: localhost:9092
  properties: { sasl.password: '${env:TEST_PASSWORD}' }
catalog: { type: sql, uri: 'sqlite://catalog.db', warehouse: ./warehouse }
jobs:
  roman-numerals: { commit: { interval: 250ms } }
";

/// Runs the binary in `dir`, with nothing of our own environment that it reads.
fn strandline(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_strandline"))
        .args(arguments)
        .current_dir(dir)
        .env_remove("STRANDLINE_CONFIG")
        .env_remove("RUST_LOG")
        .env("TEST_PASSWORD", "hunter2")
        .output()
        .unwrap()
}

fn folder_with(yaml: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("strandline.yaml"), yaml).unwrap();
    dir
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_wrong_configuration_ends_every_command_that_reads_it_with_status_2() {
    let dir = folder_with("kafka:\n  bootstrap_server: localhost:9092\n");
    for command in [
        &["config", "check"][..],
        &["config", "show"],
        &["list"],
        &["plan", "roman-numerals"],
    ] {
        let output = strandline(dir.path(), command);
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        assert_eq!(
            stdout(&output),
            "",
            "{command:?}: nothing but facts on stdout"
        );
        assert_eq!(
            stderr(&output),
            "error: unknown key `bootstrap_server` under `kafka`\n  hint: did you mean `bootstrap_servers`?\n  \
             (strandline.yaml:2:3)\n",
            "{command:?}"
        );
    }
}

#[test]
fn a_missing_configuration_says_which_lines_to_add() {
    let dir = tempfile::tempdir().unwrap();
    let output = strandline(dir.path(), &["config", "check"]);
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(
        message.contains("`kafka.bootstrap_servers` is missing")
            && message.contains("bootstrap_servers: localhost:9092"),
        "{message}"
    );
    let output = strandline(dir.path(), &["-c", "nowhere.yaml", "list"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("cannot read the configuration `nowhere.yaml`"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn usage_errors_end_with_status_2_and_help_with_0() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [
        &["fly"][..],
        &["run"],
        &["run", "roman-numerals", "-w", "0"],
        &["run", "roman-numerals", "-n", "2", "-p", "2"],
        &["plan", "roman"],
        &[],
    ] {
        let output = strandline(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert_ne!(stderr(&output), "", "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["run", "--help"], &["--version"]] {
        let output = strandline(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_ne!(stdout(&output), "", "{arguments:?}");
    }
    let message = stderr(&strandline(dir.path(), &["plan", "roman-numeral"]));
    assert_eq!(
        message,
        "error: there is no job `roman-numeral`\n  hint: did you mean `roman-numerals`?\n"
    );
}

#[test]
fn config_show_says_what_is_in_force_and_whence_and_hides_secrets() {
    let dir = folder_with(GOOD);
    let shown = json(&strandline(dir.path(), &["config", "show", "--json"]));
    assert_eq!(
        shown["config"]["kafka"]["bootstrap_servers"],
        "localhost:9092"
    );
    assert_eq!(
        shown["config"]["jobs"]["roman-numerals"]["commit"]["interval"],
        "250ms"
    );
    assert_eq!(
        shown["config"]["jobs"]["roman-numerals"]["table"],
        "bronze.conversion_events"
    );
    assert_eq!(
        shown["origins"]["jobs.roman-numerals.commit.interval"],
        "strandline.yaml:6"
    );
    assert_eq!(shown["origins"]["jobs.roman-numerals.table"], "job");
    assert_eq!(shown["origins"]["state_dir"], "default");
    assert_eq!(
        shown["origins"]["kafka.properties.sasl.password"],
        "strandline.yaml:3, env:TEST_PASSWORD"
    );
    assert!(!shown.to_string().contains("hunter2"));
    let text = stdout(&strandline(dir.path(), &["config", "show"]));
    assert!(
        text.contains("sasl.password: \"********\"") && !text.contains("hunter2"),
        "{text}"
    );
}

#[test]
fn the_configuration_is_found_by_flag_then_variable_then_name() {
    let dir = folder_with(GOOD);
    std::fs::write(dir.path().join("b.yaml"), GOOD.replace("localhost", "b")).unwrap();
    std::fs::write(dir.path().join("c.yaml"), GOOD.replace("localhost", "c")).unwrap();
    let servers = |arguments: &[&str], variable: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strandline"));
        command
            .args(arguments)
            .args(["config", "show", "--json"])
            .current_dir(dir.path())
            .env("TEST_PASSWORD", "x");
        match variable {
            Some(file) => command.env("STRANDLINE_CONFIG", file),
            None => command.env_remove("STRANDLINE_CONFIG"),
        };
        json(&command.output().unwrap())["config"]["kafka"]["bootstrap_servers"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(servers(&[], None), "localhost:9092");
    assert_eq!(servers(&[], Some("b.yaml")), "b:9092");
    assert_eq!(servers(&["-c", "c.yaml"], Some("b.yaml")), "c:9092");
}

#[test]
fn a_format_that_is_left_to_the_records_is_no_problem_of_the_configuration() {
    let format = |said: &str| {
        let more = format!("{{ format: {said}, commit: {{ interval: 250ms }} }}");
        let dir = folder_with(&GOOD.replace("{ commit: { interval: 250ms } }", &more));
        strandline(dir.path(), &["config", "check"])
    };
    for said in ["auto", "{ roman-numeral-events: auto }"] {
        let output = format(said);
        assert!(output.status.success(), "{said}: {}", stderr(&output));
    }
    // And what a run refuses whatever the records are is one.
    assert_eq!(format("avro").status.code(), Some(2));
}

#[test]
fn config_schema_is_a_json_schema_that_knows_the_jobs() {
    let dir = tempfile::tempdir().unwrap();
    let schema = json(&strandline(dir.path(), &["config", "schema"]));
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["properties"]["jobs"]["properties"]["roman-numerals"].is_object());
}

#[test]
fn list_shows_the_jobs_and_whether_they_run() {
    let dir = folder_with(GOOD);
    let roman = |output: Output| json(&output)["jobs"][0].clone();
    let listed = roman(strandline(dir.path(), &["list", "--json"]));
    assert_eq!(listed["name"], "roman-numerals");
    assert_eq!(listed["topics"][0], "roman-numeral-events");
    assert_eq!(listed["table"], "bronze.conversion_events");
    assert_eq!(listed["running"], false);

    let state = dir.path().join("data/state/roman-numerals");
    std::fs::create_dir_all(&state).unwrap();
    let lock = std::fs::File::create(state.join("lock")).unwrap();
    lock.try_lock().unwrap();
    assert_eq!(
        roman(strandline(dir.path(), &["list", "--json"]))["running"],
        true
    );
    drop(lock);
    assert_eq!(
        roman(strandline(dir.path(), &["list", "--json"]))["running"],
        false
    );
}

#[test]
fn plan_needs_no_configuration_and_draws_every_operator() {
    let dir = tempfile::tempdir().unwrap();
    let text = stdout(&strandline(dir.path(), &["plan", "roman-numerals"]));
    for part in [
        "[clock] on worker 0",
        "[source]",
        "[decode]",
        "exchange by hash(event_id)",
        "[deduplicate]",
        "[route]",
        "[write Parquet]",
        "[commit]",
        "[dead letters]",
        "bronze.conversion_events",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let plan = json(&strandline(
        dir.path(),
        &["plan", "roman-numerals", "--json"],
    ));
    assert_eq!(plan["tables"][0]["name"], "bronze.conversion_events");
}

#[test]
fn completions_are_printed_for_the_common_shells() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = strandline(dir.path(), &["completions", shell]);
        assert!(
            output.status.success() && stdout(&output).contains("until-caught-up"),
            "{shell}"
        );
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_strandline"))
        .args(["config", "schema"])
        .current_dir(dir.path())
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), stderr(&output).as_str()),
        (Some(0), "")
    );
}

#[test]
fn plan_and_config_take_the_overrides_that_run_takes() {
    let dir = folder_with(GOOD);
    let set = ["--set", "table=bronze.other"];
    let plan = strandline(
        dir.path(),
        &[&["plan", "roman-numerals", "--json"], &set[..]].concat(),
    );
    assert_eq!(json(&plan)["tables"][0]["name"], "bronze.other");
    let set = ["--set", "jobs.roman-numerals.table=bronze.other"];
    let shown = strandline(
        dir.path(),
        &[&["config", "show", "--json"], &set[..]].concat(),
    );
    assert_eq!(
        json(&shown)["config"]["jobs"]["roman-numerals"]["table"],
        "bronze.other"
    );
    let refused = strandline(
        dir.path(),
        &[
            "config",
            "check",
            "--set",
            "jobs.roman-numerals.table=other",
        ],
    );
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("--set jobs.roman-numerals.table"));
}

#[test]
fn config_check_refuses_what_run_would_refuse() {
    let good = folder_with(GOOD);
    let checked = json(&strandline(good.path(), &["config", "check", "--json"]));
    let others: Vec<&str> = checked["cannot_run"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|other| other["job"].as_str())
        .collect();
    assert!(
        others.contains(&"crypto-binance"),
        "it needs a registry: {others:?}"
    );
    for (from, to, said) in [
        (
            "sasl.password: '${env:TEST_PASSWORD}'",
            "no.such.property: 1",
            "no.such.property",
        ),
        (
            "sasl.password: '${env:TEST_PASSWORD}'",
            "enable.auto.commit: 'true'",
            "`kafka.properties.enable.auto.commit` cannot be `true`",
        ),
        (
            "'sqlite://catalog.db'",
            "'mysql://db'",
            "only SQLite is built in",
        ),
        (
            "./warehouse",
            "gs://bucket/warehouse",
            "only local files and `s3://`",
        ),
        (
            "roman-numerals: {",
            "roman-numerals: { format: avro_sr,",
            "format `avro_sr` needs a schema registry",
        ),
        (
            "jobs:\n  roman-numerals: {",
            "schema_registry: { url: 'http://r', ssl_ca_location: nowhere.pem }\njobs:\n  roman-numerals: { format: json_sr,",
            "cannot read `nowhere.pem` of `schema_registry.ssl_ca_location`",
        ),
        (
            "jobs:\n",
            "http_ssl_certificate_location: nowhere.pem\nhttp_ssl_key_location: nowhere.key\njobs:\n",
            "cannot read `nowhere.pem` of `http_ssl_certificate_location`",
        ),
    ] {
        assert!(GOOD.contains(from));
        let dir = folder_with(&GOOD.replace(from, to));
        for command in [&["config", "check"][..], &["run", "roman-numerals"]] {
            let output = strandline(dir.path(), command);
            assert_eq!(output.status.code(), Some(2), "{command:?}, {to}");
            assert!(
                stderr(&output).contains(said),
                "{command:?}: {}",
                stderr(&output)
            );
        }
    }
}
