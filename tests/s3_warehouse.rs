//! Tables in an object store: what holds for a warehouse on a disk holds there too. Real services: Kafka, the REST
//! catalog on S3 and the SQL catalog, and a gateway that speaks S3. PyIceberg and DuckDB read what landed.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::{
    Catalog, ObjectStore, OwnStack, RomanNumerals, Running, Stack, events, later_events, load,
    program, wait_until,
};

const JOB: &str = "roman-numerals";
const PARTITIONS: i32 = 2;
/// Of any one step; generous, for a machine that does other things too.
const DEADLINE: Duration = Duration::from_secs(180);

/// The stack as a job sees it whose REST catalog keeps its tables in the object store.
fn with_rest(stack: &OwnStack) -> Stack {
    Stack {
        rest_uri: stack.fact("rest-s3", "uri"),
        rest_warehouse: stack.fact("rest-s3", "warehouse"),
        ..stack.description()
    }
}

/// A job on the REST catalog, with these properties.
fn on_rest(stack: &OwnStack, store: &ObjectStore, settings: &str) -> RomanNumerals {
    let mut job = RomanNumerals::on(&with_rest(stack), Catalog::Rest, PARTITIONS, settings);
    let properties = store.properties();
    job.reconfigure(
        "type: rest",
        &format!("type: rest\n  properties: {properties}"),
    );
    job.judges_environment = store.environment();
    job
}

/// A job on an SQL catalog, with the environment's credentials.
fn on_sql(stack: &OwnStack, store: &ObjectStore, warehouse: &str, settings: &str) -> RomanNumerals {
    let mut job = RomanNumerals::on(&stack.description(), Catalog::Sql, PARTITIONS, settings);
    let on_disk = format!("warehouse: {}/warehouse", job.path().display());
    job.reconfigure(&on_disk, &format!("warehouse: {warehouse}"));
    job.environment = store.environment();
    job.judges_environment = store.environment();
    job
}

/// Runs the job until the step is reached and the process ends of it.
#[track_caller]
fn killed_at(job: &mut RomanNumerals, point: &str, action: &str) {
    let failpoint = format!("{point}={action}");
    job.environment
        .push(("STRANDLINE_FAILPOINTS".to_owned(), failpoint));
    let ended = job.spawn(&["run", JOB, "--until-caught-up"]).wait(DEADLINE);
    job.environment.pop();
    let reached = format!("failpoint {point} reached");
    assert!(ended.stderr.contains(&reached), "{}", ended.stderr);
}

/// The data files of the generation that are in the bucket.
fn data_files(store: &ObjectStore, generation: u32) -> usize {
    let of = format!("{JOB}-g{generation}-");
    let files = store.objects("", ".parquet");
    let name = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    files
        .iter()
        .filter(|(path, _)| name(path).starts_with(&of))
        .count()
}

#[test]
fn rows_land_once_through_a_rest_catalog_whatever_dies() {
    let stack = OwnStack::up(&["kafka", "s3", "rest-s3"]);
    let store = ObjectStore::of(&stack);
    let mut job = on_rest(&stack, &store, "commit: { interval: 200ms }");
    // What is configured is stronger than what the environment says.
    job.environment = [
        ("AWS_ACCESS_KEY_ID", "wrong"),
        ("AWS_SECRET_ACCESS_KEY", "wrong"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let check = job.run(&["check", JOB], DEADLINE);
    assert!(
        check.stdout.contains("ok    warehouse"),
        "{}{}",
        check.stdout,
        check.stderr
    );

    // Files that are closed, and that nobody will ever commit.
    job.topic.produce(events(2_000, PARTITIONS, 1));
    killed_at(&mut job, "commit.send", "kill");
    assert!(data_files(&store, 1) > 0, "nothing was left behind");
    // The primary is committed, the table of dead letters is not: the pending file says what it lacks.
    killed_at(&mut job, "secondary.send", "kill");
    assert_eq!(data_files(&store, 1), 0, "what the first run left behind");
    assert_eq!(
        store
            .objects("", ".json")
            .iter()
            .filter(|(path, _)| is_pending(path))
            .count(),
        1
    );

    // On another machine: everything is read back from the table.
    job.delete_state();
    job.topic.produce(later_events(2_000, 2_000, PARTITIONS));
    let mut running = job.spawn(&["run", JOB, "-w", "2"]);
    job.wait_until_consumed(&mut running, 3_000, DEADLINE);
    running.kill_9();
    job.delete_state();
    job.topic.produce(later_events(4_000, 1_000, PARTITIONS));
    let printed = job.run_until_caught_up(&[], DEADLINE);
    assert_eq!(printed["account"]["consumed"], 5_000, "{printed}");
    job.judge_with_account(&printed);
    job.judge_readers();
    job.expect_audit(DEADLINE);

    let args = ["savepoint", JOB, "--name", "s", "--json"];
    let made = job.run(&args, DEADLINE).expect_exit(0).json();
    job.judge_savepoint(&made);
    job.topic.produce(later_events(5_000, 500, PARTITIONS));
    job.run_until_caught_up(&[], DEADLINE);
    let printed = job.run_until_caught_up(&["--from-savepoint", "s"], DEADLINE);
    assert_eq!(printed["run"]["consumed"], 500, "{printed}");
    job.judge_with_account(&printed);

    // Into new tables: the data files are copied within the store.
    let (table, letters) = (job.table.clone(), job.dead_letter_table.clone());
    job.table = format!("{table}_two");
    job.dead_letter_table = format!("{letters}_two");
    job.reconfigure(
        &format!("table: {table}\n"),
        &format!("table: {}\n", job.table),
    );
    job.reconfigure(
        &format!("table: {letters} }}"),
        &format!("table: {} }}", job.dead_letter_table),
    );
    let args = ["--from-savepoint", "s", "--savepoint-table", &table];
    let printed = job.run_until_caught_up(&args, DEADLINE);
    job.judge_with_account(&printed);
    job.judge_readers();
}

fn is_pending(path: &Path) -> bool {
    path.to_string_lossy().contains("-pending-")
}

#[test]
fn large_files_land_through_an_sql_catalog_with_the_environments_credentials() {
    let stack = OwnStack::up(&["kafka", "s3"]);
    let store = ObjectStore::of(&stack);
    let warehouse = format!("s3a://{}/sql", store.bucket);
    let mut job = on_sql(
        &stack,
        &store,
        &warehouse,
        "commit: { interval: 60s, max_bytes: 256MiB }",
    );
    load(&job, PARTITIONS, 0, 500_000, 1);
    // The second epoch has nearly all of it, in files that take several parts.
    killed_at(&mut job, "commit.sent", "kill@2");
    let largest = store
        .objects("sql", ".parquet")
        .into_iter()
        .map(|(_, bytes)| bytes)
        .max();
    assert!(largest > Some(9 << 20), "{largest:?} bytes are one part");
    job.delete_state();
    load(&job, PARTITIONS, 500_000, 1_000, 2);
    let printed = job.run_until_caught_up(&["-w", "2"], DEADLINE);
    assert_eq!(printed["account"]["consumed"], 501_000, "{printed}");
    job.judge_with_account(&printed);
    job.judge_readers();
}

#[test]
fn rows_wait_while_the_store_is_away() {
    let stack = OwnStack::up(&["kafka", "s3"]);
    let store = ObjectStore::of(&stack);
    let warehouse = format!("s3://{}/sql", store.bucket);
    let job = on_sql(&stack, &store, &warehouse, "commit: { interval: 200ms }");
    job.topic.produce(events(1_000, PARTITIONS, 1));
    let mut running = job.spawn(&["run", JOB]);
    job.wait_until_consumed(&mut running, 1_000, DEADLINE);
    stack.kill("s3");
    job.topic.produce(later_events(1_000, 1_000, PARTITIONS));
    wait_until("the job to say that the store is away", DEADLINE, || {
        assert!(running.is_running(), "it ended: {}", running.stderr());
        running
            .stderr()
            .contains("the object store gives no answer")
            .then_some(())
    });
    stack.start("s3");
    job.wait_until_consumed(&mut running, 2_000, DEADLINE);
    running.terminate();
    running.wait(DEADLINE).expect_exit(143);
    let printed = job.run_until_caught_up(&[], DEADLINE);
    assert_eq!(printed["account"]["consumed"], 2_000, "{printed}");
    job.judge(&[]);
}

#[test]
fn each_event_is_once_in_the_tables_of_its_type() {
    let stack = OwnStack::up(&["kafka", "s3", "rest-s3", "schema-registry"]);
    let store = ObjectStore::of(&stack);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let Stack {
        bootstrap_servers,
        rest_uri,
        rest_warehouse,
        registry_url,
    } = with_rest(&stack);
    let config = format!(
        "kafka: {{ bootstrap_servers: '{bootstrap_servers}' }}\n\
         schema_registry: {{ url: '{registry_url}' }}\n\
         catalog: {{ type: rest, uri: '{rest_uri}', warehouse: '{rest_warehouse}', properties: {} }}\n\
         http: off\n",
        store.properties()
    );
    fs::write(folder.join("strandline.yaml"), config).expect("write the configuration");
    let formats = |args: &[&str]| {
        let mut python = program("formats.py");
        python
            .current_dir(folder)
            .args(args)
            .envs(store.environment());
        let output = python.output().expect("run the judge's Python");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "formats.py {args:?}: {said}");
    };
    let job = "business-events";
    formats(&[
        "produce",
        job,
        &bootstrap_servers,
        &registry_url,
        "sent.json",
    ]);

    let run = |failpoint: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strandline"));
        command.args(["run", job, "--until-caught-up", "--json"]);
        command.envs(failpoint.map(|point| ("STRANDLINE_FAILPOINTS", point)));
        Running::spawn(command, folder).wait(DEADLINE)
    };
    let killed = run(Some("secondary.sent=kill@2"));
    assert!(
        killed.stderr.contains("failpoint secondary.sent reached"),
        "{}",
        killed.stderr
    );
    fs::remove_dir_all(folder.join("data/state")).expect("delete the state");
    let printed = run(None).expect_exit(0).json();
    fs::write(folder.join("report.json"), printed.to_string()).expect("write the report");
    formats(&["judge", job, "sent.json", "report.json"]);
}
