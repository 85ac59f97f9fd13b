//! Retention that passes the committed position: the job says what is lost, and goes on only when told to.

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Catalog, RomanNumerals, events, signal};

const DEADLINE: Duration = Duration::from_secs(180);

#[test]
fn records_lost_while_the_job_was_down_stop_it_or_become_gaps() {
    let job = RomanNumerals::new(Catalog::Sql, 1, "on_gap: stop");
    job.topic.produce(events(1000, 1, 1));
    job.run_until_caught_up(&[], DEADLINE);
    job.topic.produce(events(500, 1, 2));
    job.topic.delete_records(0, 1200);

    let args = ["run", "roman-numerals", "--until-caught-up", "--json"];
    let refused = job.run(&args, DEADLINE).expect_exit(4);
    let lost = "offsets 1,000 to 1,199 are lost (200 offsets)";
    assert!(refused.stderr.contains(lost), "{}", refused.stderr);

    job.reconfigure("on_gap: stop", "on_gap: record");
    let printed = job.run_until_caught_up(&[], DEADLINE);
    let counts = |name: &str| printed["account"][name].clone();
    assert_eq!(counts("gaps"), 200, "{printed}");
    assert_eq!(counts("consumed"), 1300, "{printed}");
    let audit = job.expect_audit(DEADLINE);
    let partition = &audit["partitions"][0];
    assert_eq!(
        (&partition["start"], &partition["next"]),
        (&json!(0), &json!(1500)),
        "{audit}"
    );
}

#[test]
fn records_lost_while_the_job_runs_end_it() {
    let job = RomanNumerals::new(Catalog::Sql, 1, "commit: { interval: 100ms }");
    job.topic.produce(events(100, 1, 1));
    let mut running = job.spawn(&["run", "roman-numerals"]);
    job.wait_until_consumed(&mut running, 100, DEADLINE);
    // It does not see how they come and go, but for those that are on their way to it already.
    let pid = running.pid().to_string();
    signal("STOP", &pid);
    job.topic.produce(events(100, 1, 2));
    job.topic.produce(events(100, 1, 3));
    job.topic.delete_records(0, 300);
    signal("CONT", &pid);

    let refused = running.wait(DEADLINE).expect_exit(4);
    let said = "is not on the broker";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
}
