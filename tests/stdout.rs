//! `stdout`: the records of any topic on standard output, and nothing else there.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Message, Running, create_topic, spawn, stack};

const DEADLINE: Duration = Duration::from_secs(120);

fn message(partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) -> Message {
    Message {
        partition,
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        headers: vec![
            ("trace".to_owned(), Some(b"t-1".to_vec())),
            ("none".to_owned(), None),
        ],
        ..Message::default()
    }
}

fn configure(folder: &Path) {
    let config = format!(
        "kafka: {{ bootstrap_servers: '{}' }}\n\
         catalog: {{ type: sql, uri: 'sqlite://./catalog.db', warehouse: ./warehouse }}\n\
         http: off\n",
        stack().bootstrap_servers
    );
    fs::write(folder.join("strandline.yaml"), config).expect("write the configuration");
}

#[test]
fn every_record_of_a_topic_is_one_object_on_standard_output() {
    let topic = create_topic("shown", 2);
    topic.produce([
        message(0, Some(b"k"), Some(br#"{"a": 1}"#)),
        message(0, None, Some(b"text")),
        message(0, Some(b"\xff"), Some(b"\x00\x00\x00\x00\x07bin")),
        message(0, Some(b"k"), None),
        message(1, None, Some(br#"{"a": 2}"#)),
    ]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    configure(folder.path());
    let topics = format!("topics=[{}]", topic.name);
    let shown = |more: &[&str]| -> Vec<Value> {
        let mut args = vec![
            "run",
            "stdout",
            "--until-caught-up",
            "-w",
            "2",
            "--set",
            &topics,
        ];
        args.extend(more);
        let ended = spawn(folder.path(), &args).wait(DEADLINE).expect_exit(0);
        let lines = ended
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect(line));
        let mut lines: Vec<Value> = lines.collect();
        lines.sort_by_key(|line| {
            (
                line["kafka_partition"].as_i64(),
                line["kafka_offset"].as_i64(),
            )
        });
        for line in &mut lines {
            let of_record = line.as_object_mut().expect("an object");
            assert!(of_record.remove("kafka_timestamp").is_some());
            assert_eq!(of_record.remove("kafka_topic"), Some(json!(topic.name)));
        }
        lines
    };
    let all = shown(&[]);
    let headers = json!({"trace": "t-1", "none": null});
    let row = |partition, offset, value: Value| json!({"kafka_partition": partition, "kafka_offset": offset, "kafka_headers": headers, "value": value});
    let with_key = |mut row: Value, key: &str| {
        row["kafka_key"] = json!(key);
        row
    };
    let mut expected = vec![
        with_key(row(0, 0, json!({"a": 1})), "k"),
        row(0, 1, json!("text")),
        with_key(row(0, 2, json!("hex:000000000762696e")), "hex:ff"),
        row(1, 0, json!({"a": 2})),
    ];
    let tombstone = all.iter().find(|line| line.get("error_type").is_some());
    let tombstone = tombstone.expect("a tombstone cannot land").clone();
    assert_eq!(tombstone["error_type"], "null_value");
    assert_eq!(tombstone["kafka_offset"], 3);
    expected.insert(3, tombstone);
    assert_eq!(all, expected);

    // The group is where the run ended; what comes later is new.
    topic.produce([message(1, None, Some(b"later"))]);
    let group = ["--set", "starting_offsets=group"];
    assert_eq!(shown(&group), [row(1, 1, json!("later"))]);
    assert_eq!(
        shown(&["--set", "starting_offsets=latest"]),
        [] as [Value; 0]
    );
    assert!(
        !folder.path().join("catalog.db").exists(),
        "no catalog is opened"
    );
}

#[test]
fn who_reads_only_the_first_records_ends_the_run_without_a_word() {
    let topic = create_topic("cut", 1);
    // Many times what a pipe holds.
    let text = "x".repeat(1_000);
    topic.produce((0..2_000).map(|_| message(0, None, Some(text.as_bytes()))));
    let folder = tempfile::tempdir().expect("a temporary folder");
    configure(folder.path());
    let mut shell = Command::new("sh");
    shell
        .args([
            "-c",
            "{ \"$0\" run stdout --set \"$1\"; echo $? > status; } | head -n 3",
        ])
        .arg(env!("CARGO_BIN_EXE_strandline"))
        .arg(format!("topics=[{}]", topic.name))
        .env_remove("STRANDLINE_CONFIG");
    let ended = Running::spawn(shell, folder.path()).wait(DEADLINE);
    assert_eq!(ended.stdout.lines().count(), 3);
    let status = fs::read_to_string(folder.path().join("status")).expect("its exit status");
    assert_eq!(status, "0\n", "{}", ended.stderr);
    assert!(!ended.stderr.contains("error"), "{}", ended.stderr);

    // What nobody saw does not count as shown: the group is at most past what the pipe held, 64 KiB.
    let topics = format!("topics=[{}]", topic.name);
    let again = [
        "run",
        "stdout",
        "--until-caught-up",
        "--set",
        &topics,
        "--set",
        "starting_offsets=group",
    ];
    let ended = spawn(folder.path(), &again).wait(DEADLINE).expect_exit(0);
    let left = ended.stdout.lines().count();
    assert!(left > 1_800, "{left} records are left to be shown");
}
