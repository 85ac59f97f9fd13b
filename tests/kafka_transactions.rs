//! Producers' transactions: what is aborted or not yet committed does not land, and the account knows its
//! offsets, and those of the markers, as gaps.

mod support;

use std::time::Duration;

use support::{Catalog, RomanNumerals, Transaction, Transactions, events};

const PARTITIONS: i32 = 2;
const DEADLINE: Duration = Duration::from_secs(180);

#[test]
fn only_committed_transactions_land_and_all_other_offsets_are_gaps() {
    let job = RomanNumerals::new(Catalog::Sql, PARTITIONS, "commit: { interval: 100ms }");
    let mut events = events(1000, PARTITIONS, rand::random());
    let mut next = |count| events.by_ref().take(count).collect::<Vec<_>>();
    let producer = Transactions::to(&job.topic);
    producer.write(next(200), Transaction::Committed);
    producer.write(next(100), Transaction::Aborted);
    job.topic.produce(next(50));
    producer.write(next(300), Transaction::Committed);
    producer.write(next(100), Transaction::Aborted);
    // Behind it nothing can be read, although it is in the log.
    producer.write(next(50), Transaction::Open);
    job.topic.produce(next(100));

    let printed = job.run_until_caught_up(&["-w", "2"], DEADLINE);
    let report = job.judge_with_account(&printed);
    assert_eq!(report["consumed"], 550, "{report}");
    // Two aborted transactions, and in both partitions the markers of four that ended.
    assert_eq!(printed["account"]["gaps"], 200 + 8, "{printed}");

    producer.commit();
    let printed = job.run_until_caught_up(&[], DEADLINE);
    let report = job.judge_with_account(&printed);
    assert_eq!(report["consumed"], 700, "{report}");
    assert_eq!(printed["account"]["gaps"], 200 + 10, "{printed}");
}

#[test]
fn transactions_that_end_while_the_job_runs_are_read_in_their_turn() {
    let job = RomanNumerals::new(Catalog::Sql, PARTITIONS, "commit: { interval: 100ms }");
    let mut running = job.spawn(&["run", "roman-numerals", "-w", "2", "--json"]);
    let producer = Transactions::to(&job.topic);
    let other = Transactions::to(&job.topic);
    let mut events = events(2000, PARTITIONS, rand::random());
    let mut committed = 0;
    for round in 0..10 {
        let mut next = |count| events.by_ref().take(count).collect::<Vec<_>>();
        // Two transactions at a time, the one that began first ends last.
        producer.write(next(50), Transaction::Open);
        let (end, counts) = match round % 2 {
            0 => (Transaction::Aborted, 0),
            _ => (Transaction::Committed, 50),
        };
        other.write(next(50), end);
        producer.commit();
        committed += 50 + counts;
        if round % 3 == 0 {
            job.wait_until_consumed(&mut running, committed, DEADLINE);
        }
    }
    job.wait_until_consumed(&mut running, committed, DEADLINE);
    running.terminate();
    let printed = running.wait(DEADLINE).expect_exit(143).json();

    let report = job.judge(&[]);
    assert_eq!(report["consumed"], committed, "{report}");
    assert_eq!(printed["account"]["consumed"], committed, "{printed}");
    job.expect_audit(DEADLINE);
}
