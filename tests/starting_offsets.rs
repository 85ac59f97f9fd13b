//! Where reading starts is decided once, not at every start.

mod support;

use std::time::Duration;

use support::{Catalog, RomanNumerals, events};

const DEADLINE: Duration = Duration::from_secs(120);

#[test]
fn latest_is_the_end_at_the_first_start_and_nothing_after_it_is_skipped() {
    let job = RomanNumerals::new(Catalog::Sql, 3, "starting_offsets: latest");
    job.topic.produce(events(300, 3, 1));
    let first = job.run_until_caught_up(&[], DEADLINE);
    assert_eq!(first["account"]["consumed"], 0, "{first}");

    // Written while the job is down: after the first start, so it must land.
    job.topic.produce(events(200, 3, 2));
    let second = job.run_until_caught_up(&[], DEADLINE);
    assert_eq!(second["account"]["consumed"], 200, "{second}");
}
