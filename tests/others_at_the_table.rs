//! Others at the table: whatever another writer or a maintainer does to it, while the job runs or between
//! two runs, the rows are exact, or the job stops with status 4 and says what to do.

mod support;

use std::time::{Duration, Instant};

use serde_json::Value;
use support::{
    Catalog, Finished, Message, RomanNumerals, Running, events, every_kind_of_bad_input, program,
};

const PARTITIONS: i32 = 4;
/// Of any one step; generous, for a machine that does other things too.
const DEADLINE: Duration = Duration::from_secs(240);
/// Events produced at a time.
const CHUNK: usize = 100;
/// Between two such chunks, so that the judge has less to read.
const PACE: Duration = Duration::from_millis(30);
/// More than any test needs.
const EVENTS: usize = 1_000_000;
/// What the rows of others say for `kafka_topic`.
const OTHERS: [&str; 2] = ["--others", "others"];

/// A job, and the events it is fed with.
struct Job {
    job: RomanNumerals,
    events: Box<dyn Iterator<Item = Message>>,
    seed: u64,
    fed: usize,
}

impl Job {
    fn new() -> Job {
        Job::that_commits_every("300ms")
    }

    fn that_commits_every(interval: &str) -> Job {
        let seed = rand::random();
        let settings = format!("commit: {{ interval: {interval} }}");
        Job {
            job: RomanNumerals::new(Catalog::Rest, PARTITIONS, &settings),
            events: Box::new(events(EVENTS, PARTITIONS, seed)),
            seed,
            fed: 0,
        }
    }

    /// A job that has landed some events and is down.
    fn that_has_run() -> Job {
        let mut job = Job::new();
        job.feed(2_000);
        job.job.run_until_caught_up(&[], DEADLINE);
        job
    }

    fn feed(&mut self, events: usize) {
        self.fed += events;
        self.job.topic.produce(self.events.by_ref().take(events));
    }

    /// Produces everything once more: its ids are known, so none of it may land.
    fn feed_all_again(&self) {
        let again = events(EVENTS, PARTITIONS, self.seed);
        self.job.topic.produce(again.take(self.fed));
    }

    fn spawn(&self) -> Running {
        self.job.spawn(&["run", "roman-numerals", "--json"])
    }

    fn python(&self, table: &str, operations: &[&str]) -> Running {
        let mut command = program("others.py");
        command
            .args(self.job.table_for_python(table))
            .args(operations);
        Running::spawn(command, self.job.path())
    }

    /// Others do this to the job's table; returns what came of it.
    #[track_caller]
    fn others(&self, operations: &[&str]) -> Value {
        self.others_at(&self.job.table, operations)
    }

    #[track_caller]
    fn others_at(&self, table: &str, operations: &[&str]) -> Value {
        let finished = self.python(table, operations).wait(DEADLINE);
        finished.expect_exit(0).json()
    }

    /// Runs the job to the end of the topic and has everything judged.
    #[track_caller]
    fn run_and_judge(&self, more: &[&str]) -> Value {
        let printed = self.job.run_until_caught_up(&[], DEADLINE);
        self.judge(&printed, more);
        printed
    }

    #[track_caller]
    fn judge(&self, printed: &Value, more: &[&str]) {
        let file = self.job.path().join("account");
        std::fs::write(&file, printed.to_string()).expect("write the account");
        let file = file.to_string_lossy();
        self.job
            .judge(&[&["--account", &file], &OTHERS[..], more].concat());
    }

    /// Runs the job, which must refuse to start.
    #[track_caller]
    fn refuses_to_start(&self, with: &str) {
        let finished = self
            .job
            .run(&["run", "roman-numerals", "--until-caught-up"], DEADLINE);
        says(&finished.expect_exit(4), with);
        // Whoever asks beforehand hears the same.
        let check = self.job.run(&["check", "roman-numerals"], DEADLINE);
        let found = &check.expect_exit(4).stdout;
        assert!(found.contains(with), "no `{with}` in:\n{found}");
    }

    /// While the job runs and is fed, others do this to one of its tables; it must stop.
    #[track_caller]
    fn stops_when_others(&mut self, table: &str, operation: &str, with: &str) -> Value {
        let mut running = self.spawn();
        let mut wait = self.python(&self.job.table, &["await-commits=3"]);
        self.feed_while(|| wait.is_running());
        wait.wait(DEADLINE).expect_exit(0);
        let done = self.python(table, &[operation]);
        self.feed_while(|| running.is_running());
        let report = done.wait(DEADLINE).expect_exit(0).json();
        says(&running.wait(DEADLINE).expect_exit(4), with);
        report
    }

    #[track_caller]
    fn feed_while(&mut self, mut it_lasts: impl FnMut() -> bool) {
        let started = Instant::now();
        while it_lasts() {
            assert!(started.elapsed() < DEADLINE, "it goes on for {DEADLINE:?}");
            self.feed(CHUNK);
            std::thread::sleep(PACE);
        }
    }

    /// Registers a metadata file as a table that is gone.
    #[track_caller]
    fn register(&self, table: &str, location: &Value) {
        let location = location.as_str().expect("a metadata file");
        self.others_at(table, &[&format!("register={location}")]);
    }
}

/// The message names the cause and the next step.
#[track_caller]
fn says(finished: &Finished, with: &str) {
    let stderr = &finished.stderr;
    assert!(stderr.contains(with), "no `{with}` in:\n{stderr}");
    assert!(stderr.contains("hint:"), "no next step in:\n{stderr}");
}

#[test]
fn a_running_job_goes_on_beside_writers_and_maintenance() {
    // Long enough for PyIceberg to come first in between, on a slow machine too.
    let mut it = Job::that_commits_every("3s");
    it.feed(2_000);
    let mut running = it.spawn();
    let mut others = it.python(
        &it.job.table.clone(),
        &[
            "await-commits=2",
            "append=50",
            "await-commits=1",
            "compact",
            "await-commits=1",
            "merge-manifests",
            "await-commits=1",
            "expire",
            "await-commits=1",
            "add-column=note_of_others",
            "await-commits=1",
            "branch=of_others",
            "await-commits=1",
            "unset-progress",
            "await-commits=1",
            "set-back-progress=1",
            "await-commits=1",
            "orphans=60",
            "compact",
            "expire",
            "await-commits=1",
        ],
    );
    let started = Instant::now();
    while others.is_running() {
        assert!(
            running.is_running(),
            "it ended:\n{}\n{}",
            running.stderr(),
            others.stderr()
        );
        assert!(started.elapsed() < DEADLINE, "{}", others.stderr());
        // A job without input commits nothing, and PyIceberg's slower commits come first.
        if others.stderr().trim_end().ends_with("awaiting") {
            it.feed(CHUNK);
        }
        std::thread::sleep(PACE);
    }
    others.wait(DEADLINE).expect_exit(0);
    running.terminate();
    running.wait(DEADLINE).expect_exit(143);
    it.run_and_judge(&[]);

    // What deduplication needs is in the rows that were rewritten.
    it.job.delete_state();
    it.feed_all_again();
    it.feed(CHUNK);
    it.run_and_judge(&[]);
}

#[test]
fn a_job_that_was_down_goes_on_after_writers_and_maintenance() {
    let mut it = Job::that_has_run();
    // Every epoch of these has dead letters, so the progress names the last one's pending file.
    it.job.topic.produce(every_kind_of_bad_input(PARTITIONS));
    it.job.run_until_caught_up(&[], DEADLINE);
    let maintenance = [
        "append=50",
        "compact",
        "merge-manifests",
        "add-column=note_of_others",
        "branch=of_others",
        "expire",
        "orphans=0",
    ];
    let pending = it.others(&maintenance)["orphans"].to_string();
    assert!(
        pending.contains("-pending-"),
        "the pending file must be among the orphans: {pending}"
    );
    it.feed(CHUNK);
    it.feed_all_again();
    it.run_and_judge(&[]);

    it.others(&["compact", "expire", "orphans=0"]);
    it.job.delete_state();
    it.feed(CHUNK);
    it.feed_all_again();
    it.run_and_judge(&[]);
}

#[test]
fn ids_of_rows_of_others_are_not_known() {
    let mut it = Job::that_has_run();
    let ahead: Vec<Message> = it.events.by_ref().take(20).collect();
    let ids: Vec<String> = (2_000..2_020).map(|i| format!("event-{i:09}")).collect();
    it.others(&[&format!("append-ids={}", ids.join(","))]);
    it.job.delete_state();
    it.job.topic.produce(ahead);
    it.run_and_judge(&[]);
}

#[test]
fn a_row_of_the_jobs_partitions_that_it_never_read_is_found_by_audit() {
    let it = Job::that_has_run();
    it.job.expect_audit(DEADLINE);
    it.others(&[&format!("append-as={}@1000000", it.job.topic.name)]);
    let audit = it.job.run(&["audit", "roman-numerals", "--json"], DEADLINE);
    let audit = audit.expect_exit(1).json();
    let problems = audit["problems"].to_string();
    assert!(
        problems.contains("1 rows have offsets outside of 0.."),
        "{problems}"
    );
}

#[test]
fn rows_that_others_delete_stay_deleted() {
    let mut it = Job::that_has_run();
    let report = it.others(&["delete=100", "delete-positions=50"]);
    let mut places = Vec::new();
    for operation in ["delete", "delete-positions"] {
        let deleted = report[operation].as_array().expect("places");
        assert!(!deleted.is_empty(), "{operation}");
        places.extend(deleted.iter().cloned());
    }
    let file = it.job.path().join("deleted");
    std::fs::write(&file, Value::from(places.clone()).to_string()).expect("write the places");
    let file = file.to_string_lossy().into_owned();
    let deleted = ["--deleted", file.as_str()];

    // With its state the job knows the ids still.
    it.feed_all_again();
    it.feed(CHUNK);
    let printed = it.run_and_judge(&deleted);
    // Without, it reads back what is there, and forgets the ids that are not.
    let landed = |printed: &Value| printed["account"]["landed"].as_u64().expect("a count");
    it.job.delete_state();
    it.feed_all_again();
    let again = it.job.run_until_caught_up(&[], DEADLINE);
    assert_eq!(
        landed(&again) - landed(&printed),
        places.len() as u64,
        "each deleted row lands once more, and nothing else"
    );
}

/// What is done to the primary, what the job says while it runs and when it is started, and what undoes it.
#[track_caller]
fn stops_until_it_is_undone(done: &str, says: &str, undone: &str) {
    let mut it = Job::new();
    let table = it.job.table.clone();
    it.stops_when_others(&table, done, says);
    it.refuses_to_start(says);
    it.job.delete_state();
    it.refuses_to_start(says);
    it.others(&[undone]);
    it.run_and_judge(&[]);
}

#[test]
fn a_column_that_was_renamed_stops_the_job() {
    stops_until_it_is_undone(
        "rename-column=roman_numeral:numeral",
        "its column `roman_numeral` was renamed to `numeral`",
        "rename-column=numeral:roman_numeral",
    );
}

#[test]
fn a_required_column_that_was_renamed_stops_the_job() {
    stops_until_it_is_undone(
        "rename-column=event_id:id",
        "its column `event_id` was renamed to `id`",
        "rename-column=id:event_id",
    );
}

#[test]
fn a_column_that_others_require_stops_the_job() {
    stops_until_it_is_undone(
        "require-column=tenant",
        "it requires column `tenant`, which the job does not write",
        "drop-column=tenant",
    );
}

#[test]
fn another_partitioning_stops_the_job() {
    stops_until_it_is_undone(
        "partition-by=event_type",
        "it is partitioned by",
        "partition-no-more-by=event_type",
    );
}

#[test]
fn a_table_that_was_rolled_back_stops_the_job() {
    stops_until_it_is_undone("roll-back=2", "was rolled back", "roll-forward");
}

#[test]
fn a_roll_back_whose_traces_were_expired_is_refused() {
    let it = Job::that_has_run();
    it.others(&["roll-back=1", "append=1", "expire", "append=1", "expire"]);
    it.refuses_to_start("was rolled back");
    it.job.delete_state();
    it.refuses_to_start("was rolled back");
}

#[test]
fn a_column_that_was_dropped_stops_the_job_and_is_added_anew_at_the_next_start() {
    let mut it = Job::new();
    let table = it.job.table.clone();
    it.stops_when_others(
        &table,
        "drop-column=session_id",
        "its column `session_id` was dropped while the job ran",
    );
    // The column holds nothing but null in these events, so nothing is lost with it.
    let finished = it
        .job
        .run(
            &["run", "roman-numerals", "--until-caught-up", "--json"],
            DEADLINE,
        )
        .expect_exit(0);
    assert!(
        finished.stderr.contains("adding columns anew"),
        "{}",
        finished.stderr
    );
    it.judge(&finished.json(), &[]);
}

#[test]
fn a_required_column_that_was_dropped_stops_the_job_for_good() {
    let mut it = Job::new();
    let table = it.job.table.clone();
    let says = "it lacks column `ingested_at`";
    it.stops_when_others(&table, "drop-column=ingested_at", says);
    it.refuses_to_start(says);
}

#[test]
fn a_table_that_was_dropped_stops_the_job_and_goes_on_once_it_is_registered_again() {
    let mut it = Job::new();
    let table = it.job.table.clone();
    let dropped = it.stops_when_others(&table, "drop", "is gone: it was dropped or renamed");
    it.register(&table, &dropped["drop"]);
    it.run_and_judge(&[]);
}

#[test]
fn a_table_that_was_dropped_while_the_job_was_down_is_begun_anew() {
    let mut it = Job::that_has_run();
    // Both, so that no dead letter of the former table is left.
    it.others(&["drop"]);
    it.others_at(&it.job.dead_letter_table, &["drop"]);
    it.feed(CHUNK);
    it.run_and_judge(&[]);
}

#[test]
fn a_table_that_was_made_again_stops_the_job_and_is_begun_anew() {
    let mut it = Job::new();
    let table = it.job.table.clone();
    it.stops_when_others(&table, "recreate=reversed", "has lost the progress");
    it.others_at(&it.job.dead_letter_table, &["drop"]);
    it.run_and_judge(&[]);
}

#[test]
fn progress_that_was_changed_while_the_job_was_down_stops_it() {
    let mut it = Job::that_has_run();
    it.feed(CHUNK);
    it.job.run_until_caught_up(&[], DEADLINE);
    it.others(&["set-back-progress=1"]);
    it.refuses_to_start("was set back");
    it.others(&["restore-progress", "unset-progress"]);
    it.refuses_to_start("is gone: nothing says where to go on");
    // Also when nothing but the rows is left.
    it.others(&["compact", "expire"]);
    it.job.delete_state();
    it.refuses_to_start("but no progress of job `roman-numerals`");
    it.others(&["restore-progress"]);
    it.feed(CHUNK);
    it.run_and_judge(&[]);
}

#[test]
fn a_dead_letter_table_that_no_longer_fits_stops_the_job() {
    let mut it = Job::new();
    it.feed(CHUNK);
    let table = it.job.dead_letter_table.clone();
    it.stops_when_others(&table, "rename-column=error_message:message", "was renamed");
    it.refuses_to_start("its column `error_message` was renamed to `message`");
    it.others_at(&table, &["rename-column=message:error_message"]);
    it.stops_when_others(&table, "partition-by=error_type", "it is partitioned by");
    it.refuses_to_start("it is partitioned by");
    it.others_at(&table, &["partition-no-more-by=error_type"]);
    it.run_and_judge(&[]);

    // A mark that is gone must not bring the last epoch's dead letters a second time.
    it.others_at(&table, &["unset-mark"]);
    it.feed(CHUNK);
    it.run_and_judge(&[]);
}

#[test]
fn a_dead_letter_table_that_was_dropped_or_made_again_stops_the_job() {
    let mut it = Job::new();
    it.feed(CHUNK);
    let table = it.job.dead_letter_table.clone();
    let dropped = it.stops_when_others(&table, "drop", "is gone: it was dropped or renamed");
    it.register(&table, &dropped["drop"]);
    let again = it.stops_when_others(&table, "recreate=reversed", "it was dropped and made again");
    it.others_at(&table, &["drop"]);
    it.register(&table, &again["recreate"]);
    it.run_and_judge(&[]);
}
