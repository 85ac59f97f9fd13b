//! A log that lost its end, as after an unclean election: the offsets behind are given to other records, so
//! the job does not go on.

mod support;

use std::time::Duration;

use support::{Catalog, OwnStack, RomanNumerals, events};

const DEADLINE: Duration = Duration::from_secs(180);

#[test]
fn a_log_that_lost_what_landed_is_refused_also_when_it_has_grown_again() {
    let stack = OwnStack::up(&["kafka"]);
    let job = RomanNumerals::on(&stack.description(), Catalog::Sql, 1, "on_gap: record");
    job.topic.produce(events(500, 1, 1));
    job.run_until_caught_up(&[], DEADLINE);
    stack.stop("kafka");
    stack.lose_log(&job.topic.name, 0);
    stack.start("kafka");

    let args = ["run", "roman-numerals", "--until-caught-up", "--json"];
    let refused = job.run(&args, DEADLINE).expect_exit(4);
    let said = "ends at offset 0, but the next one to read is 500";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);

    // Offset 500 is there again, but what stands before it is not what landed.
    job.topic.produce(events(800, 1, 2));
    let refused = job.run(&args, DEADLINE).expect_exit(4);
    let said = "was truncated below offset 500";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
    let audit = job.audit(DEADLINE).expect("an account");
    assert_eq!(audit["account"]["consumed"], 500, "{audit}");
}
