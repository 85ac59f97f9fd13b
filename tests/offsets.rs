//! `offsets show` and `offsets reset` on real services, and what Kafka's own tool says of the group.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::{
    Catalog, Message, RomanNumerals, Running, events, stack, status, variable, wait_for_status,
    wait_until,
};

const DEADLINE: Duration = Duration::from_secs(180);
const PARTITIONS: i32 = 3;
const JOB: &str = "roman-numerals";

/// What `offsets show` says, by partition.
fn show(job: &RomanNumerals) -> BTreeMap<i64, Value> {
    let shown = job.run(&["offsets", "show", JOB, "--json"], DEADLINE);
    let shown = shown.expect_exit(0).json();
    assert_eq!(shown["group_id"], "strandline-roman-numerals");
    let offsets = shown["offsets"].as_array().expect("a list").clone();
    let by_partition = |of: Value| (of["partition"].as_i64().expect("a number"), of);
    offsets.into_iter().map(by_partition).collect()
}

fn sum(of: &BTreeMap<i64, Value>, what: &str) -> i64 {
    of.values().map(|of| of[what].as_i64().expect(what)).sum()
}

/// Committed offset and lag by partition, as `kafka-consumer-groups --describe` prints them.
fn kafka_says(job: &RomanNumerals) -> BTreeMap<i64, (i64, i64)> {
    let text = fs::read_to_string(variable("STRANDLINE_STACK")).expect("the stack's description");
    let described: Value = serde_json::from_str(&text).expect("JSON");
    let lib = described["kafka"]["lib"].as_str().expect("Kafka's jars");
    let output = Command::new("java")
        .args([
            "-Xmx128m",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            &format!("{lib}/*"),
        ])
        .arg("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand")
        .args(["--bootstrap-server", &stack().bootstrap_servers])
        .args(["--describe", "--group", "strandline-roman-numerals"])
        .output()
        .expect("run Kafka's tool");
    let text = String::from_utf8_lossy(&output.stdout);
    // GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG ...
    let lines = text
        .lines()
        .map(str::split_whitespace)
        .map(Iterator::collect::<Vec<_>>);
    let of_topic = lines.filter(|words| words.get(1) == Some(&job.topic.name.as_str()));
    let number = |text: &str| {
        text.parse()
            .unwrap_or_else(|_| panic!("`{text}` is no number"))
    };
    of_topic
        .map(|words| (number(words[2]), (number(words[3]), number(words[5]))))
        .collect()
}

/// Asserts that the group says what the table says, to us and to Kafka's tool.
fn assert_group_agrees(job: &RomanNumerals) -> BTreeMap<i64, Value> {
    let shown = show(job);
    let kafka = kafka_says(job);
    assert_eq!(kafka.len(), PARTITIONS as usize, "{kafka:?}");
    for (partition, of) in &shown {
        let committed = of["committed"].as_i64().expect("committed");
        assert_eq!(of["group"].as_i64(), Some(committed), "{of}");
        let lag = of["lag"].as_i64().expect("lag");
        assert_eq!(lag, of["end"].as_i64().expect("end") - committed);
        assert_eq!(kafka[partition], (committed, lag), "{of}");
    }
    shown
}

/// Committed offset and lag by partition, as `status` has them once it knows them all.
fn status_says(status: &Value) -> Option<BTreeMap<i64, (i64, i64)>> {
    let by_partition = |of: &Value| {
        let number = |key: &str| of[key].as_i64();
        Some((number("partition")?, (number("committed")?, number("lag")?)))
    };
    let partitions = status["partitions"].as_array()?;
    partitions.iter().map(by_partition).collect()
}

/// Offsets that one of those has, over all partitions.
fn committed(says: &BTreeMap<i64, (i64, i64)>) -> i64 {
    says.values().map(|(committed, _)| committed).sum()
}

/// Has Kafka's tool asked while the job runs, until it says what `status` says and that is enough. The group may come
/// later than the table, but never before it: whoever trusts the group would miss what is not in the table yet.
fn wait_until_kafka_agrees(
    job: &RomanNumerals,
    running: &mut Running,
    enough: impl Fn(i64) -> bool,
) -> i64 {
    wait_until("Kafka's tool to say what `status` says", DEADLINE, || {
        assert!(running.is_running(), "it ended: {}", running.stderr());
        let kafka = kafka_says(job);
        // Looked at after the group was: by then the table can only have gone on.
        let table = show(job);
        for (partition, (group, _)) in &kafka {
            let of = &table[partition];
            assert!(Some(*group) <= of["committed"].as_i64(), "{group}: {of}");
        }
        let status = status_says(&status(job)?)?;
        let sum = committed(&status);
        (kafka == status && enough(sum)).then_some(sum)
    })
}

/// The summaries of the table's snapshots, the newest last.
fn summaries(audit: &Value) -> Vec<Value> {
    let location = audit["tables"][0]["metadata_location"]
        .as_str()
        .expect("a location");
    let path = location.trim_start_matches("file:");
    let metadata = fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    let snapshots = metadata["snapshots"].as_array().expect("snapshots").clone();
    snapshots
        .into_iter()
        .map(|mut of| of["summary"].take())
        .collect()
}

#[test]
fn offsets_are_shown_and_reset_on_purpose_and_the_group_follows() {
    let job = RomanNumerals::new(Catalog::Rest, PARTITIONS, "commit: { interval: 200ms }");
    let mut records = events(700, PARTITIONS, 17);
    let mut produce = |count: usize| {
        let records: Vec<Message> = records.by_ref().take(count).collect();
        job.topic.produce(records);
    };
    produce(500);
    let none = show(&job);
    assert!(
        none.values()
            .all(|of| of["committed"].is_null() && of["lag"].is_null()),
        "{none:?}"
    );
    let early = job.run(
        &["offsets", "reset", JOB, "--to", "earliest", "--execute"],
        DEADLINE,
    );
    assert!(early.stderr.contains("has never run"), "{}", early.stderr);
    early.expect_exit(2);

    let first = job.run_until_caught_up(&["-w", "2"], DEADLINE);
    let shown = assert_group_agrees(&job);
    assert_eq!((sum(&shown, "committed"), sum(&shown, "lag")), (500, 0));
    produce(50);
    assert_eq!(sum(&assert_group_agrees(&job), "lag"), 50);

    // Kafka's tool sees a job that runs as well, and never more of it than what has landed.
    let mut running = job.spawn(&["run", JOB]);
    job.wait_until_consumed(&mut running, 550, DEADLINE);
    produce(30);
    wait_until_kafka_agrees(&job, &mut running, |committed| committed == 580);
    running.terminate();
    running.wait(DEADLINE).expect_exit(143);
    produce(10);
    // Of this one only the first epoch is short: what it reads later stays uncommitted until it ends.
    let mut running = job.spawn(&["run", JOB, "--set", "commit.interval=10m"]);
    wait_for_status(&job, "its first commit", |status| status["ready"] == true);
    produce(10);
    wait_for_status(&job, "600 offsets to be read", |status| {
        let partitions = status["partitions"].as_array().expect("a list");
        let next = partitions.iter().filter_map(|of| of["next"].as_i64());
        next.sum::<i64>() == 600
    });
    let landed = wait_until_kafka_agrees(&job, &mut running, |_| true);
    assert!((580..600).contains(&landed), "{landed} of 600 have landed");
    running.terminate();
    running.wait(DEADLINE).expect_exit(143);
    assert_eq!(sum(&assert_group_agrees(&job), "lag"), 0);

    // Refused while it runs, with who it is.
    let mut running = job.spawn(&["run", JOB]);
    job.wait_until_consumed(&mut running, 600, DEADLINE);
    let refused = job.run(
        &["offsets", "reset", JOB, "--to", "0", "--execute"],
        DEADLINE,
    );
    let holder = format!("`run roman-numerals`, pid {} on ", running.pid());
    assert!(refused.stderr.contains(&holder), "{}", refused.stderr);
    refused.expect_exit(3);
    running.terminate();
    running.wait(DEADLINE).expect_exit(143);
    assert_eq!(sum(&assert_group_agrees(&job), "lag"), 0);

    // Without --execute it is only told.
    let told = job.run(
        &["offsets", "reset", JOB, "--to", "earliest", "--json"],
        DEADLINE,
    );
    let told = told.expect_exit(0).json();
    assert_eq!(told["executed"], false);
    assert_eq!(
        told["changes"].as_array().map(Vec::len),
        Some(PARTITIONS as usize)
    );
    assert_eq!(sum(&show(&job), "committed"), 600);

    let before = job.expect_audit(DEADLINE);
    let reset = job.run(
        &["offsets", "reset", JOB, "--to", "earliest", "--execute"],
        DEADLINE,
    );
    let reset = reset.expect_exit(0);
    assert!(
        reset.stdout.contains("600 offsets are read again"),
        "{}",
        reset.stdout
    );
    let shown = assert_group_agrees(&job);
    assert_eq!((sum(&shown, "committed"), sum(&shown, "lag")), (0, 600));
    let audit = job.expect_audit(DEADLINE);
    assert_eq!(
        audit["account"], before["account"],
        "nothing was read by it"
    );
    let recorded = summaries(&audit);
    let recorded = recorded
        .iter()
        .filter_map(|s| s["strandline.offsets-reset"].as_str());
    let recorded: Vec<Value> = recorded
        .map(|s| serde_json::from_str(s).expect("JSON"))
        .collect();
    assert_eq!(recorded.len(), 1, "a commit of its own");
    let of_topic = &recorded[0][&job.topic.name];
    for (partition, of) in &shown {
        let from = &of["reset"]["from"];
        assert_eq!(
            of_topic[partition.to_string()],
            serde_json::json!([from, 0])
        );
    }

    // Read again: every row is a duplicate, and the start says why it begins there.
    let run = job
        .run(&["run", JOB, "--until-caught-up", "--json"], DEADLINE)
        .expect_exit(0);
    let explained = run.stderr.matches("from 0, reset from").count();
    assert_eq!(explained, PARTITIONS as usize, "{}", run.stderr);
    let again = run.json();
    assert_eq!(again["run"]["consumed"], 600);
    assert_eq!(again["run"]["landed"], 0, "{again}");
    assert_eq!(again["account"]["landed"], before["account"]["landed"]);
    assert!(first["account"]["landed"].as_u64() > Some(300), "{first}");
    job.expect_audit(DEADLINE);

    // Ahead, in one partition: what is passed over never lands, and later starts still say so.
    produce(100);
    let only = format!("{}:0", job.topic.name);
    let args = [
        "offsets",
        "reset",
        JOB,
        "--to",
        "latest",
        "--only",
        &only,
        "--execute",
    ];
    job.run(&args, DEADLINE).expect_exit(0);
    let shown = assert_group_agrees(&job);
    assert_eq!(shown[&0]["lag"], 0, "{shown:?}");
    let waiting = sum(&shown, "lag");
    let ahead = job.run_until_caught_up(&[], DEADLINE);
    assert_eq!(ahead["run"]["consumed"].as_i64(), Some(waiting));
    produce(1);
    let later = job
        .run(&["run", JOB, "--until-caught-up"], DEADLINE)
        .expect_exit(0);
    assert!(
        later.stderr.contains("committed by generation"),
        "{}",
        later.stderr
    );
    assert!(later.stderr.contains("; reset from"), "{}", later.stderr);
    job.expect_audit(DEADLINE);
    assert_eq!(sum(&assert_group_agrees(&job), "lag"), 0);
}

#[test]
fn a_process_that_still_runs_the_job_elsewhere_is_refused_after_a_reset() {
    let job = RomanNumerals::new(Catalog::Rest, PARTITIONS, "commit: { interval: 200ms }");
    job.topic.produce(events(200, PARTITIONS, 5));
    let state = format!("state_dir={}", job.path().join("elsewhere").display());
    let mut elsewhere = job.spawn(&["run", JOB, "--set", &state]);
    job.wait_until_consumed(&mut elsewhere, 200, DEADLINE);
    job.run(
        &["offsets", "reset", JOB, "--to", "earliest", "--execute"],
        DEADLINE,
    )
    .expect_exit(0);
    job.topic.produce(events(50, PARTITIONS, 6));
    wait_until("it notices at its next commit", DEADLINE, || {
        (!elsewhere.is_running()).then_some(())
    });
    let ended = elsewhere.wait(DEADLINE).expect_exit(4);
    assert!(
        ended.stderr.contains("is fenced by generation"),
        "{}",
        ended.stderr
    );
    let run = job.run_until_caught_up(&[], DEADLINE);
    assert_eq!(run["run"]["consumed"], 250);
    job.expect_audit(DEADLINE);
}
