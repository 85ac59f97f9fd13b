//! Simulation of the whole engine over fakes of its ports: dataflow, deduplication, commit protocol, claim
//! and recovery, on one to three workers, in lives that are killed, halved, stopped and woken up after
//! their successors took over, with a catalog and a store of files that lose answers, stores that are slow, and a
//! topic that is written in transactions, loses its oldest records, and is another one for a time.
//!
//! Everything that happens is decided by a seed, so a failing one replays exactly:
//!
//! ```text
//! STRANDLINE_SIMULATION_SEED=4711 cargo test --release -p strandline-operators \
//!     --features failpoints --test simulation -- --nocapture one_seed
//! ```
//!
//! `STRANDLINE_SIMULATION_SEEDS=10000` sets how many seeds `every_guarantee_holds_whatever_fails` runs.

mod baton;
mod broker;
#[path = "../fakes/mod.rs"]
mod fakes;
mod host;
mod life;
mod log;
mod reading;
mod schedule;
mod stores;
mod tables;
mod topic;
mod verdict;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use schedule::{Outcome, Summary, run};
use world::{Mishaps, Mutation};

/// Seeds in an ordinary run of the tests: some seconds.
const SEEDS: u64 = 400;

/// Seeds among which each mutation must be found: most are in the first ten, a marker that is written early in one
/// of a hundred and seventy.
const MUTATION_SEEDS: u64 = 1500;

/// Lines of a failing seed's trace that are printed.
const TRACE_LINES: usize = 60;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

fn describe(seed: u64, outcome: &Outcome) -> String {
    let from = outcome.trace.len().saturating_sub(TRACE_LINES);
    format!(
        "seed {seed}: {}\n{}",
        outcome.result.as_ref().expect_err("a failure"),
        outcome.trace[from..].join("\n")
    )
}

#[test]
fn every_guarantee_holds_whatever_fails() {
    let seeds = number("STRANDLINE_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let totals: Vec<Summary> = std::thread::scope(|scope| {
        let next = &next;
        let handles: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(move || {
                    let mut total = Summary::default();
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds {
                            return total;
                        }
                        let outcome = run(seed, None);
                        let Ok(summary) = outcome.result else {
                            panic!("{}", describe(seed, &outcome));
                        };
                        total += summary;
                    }
                })
            })
            .collect();
        handles
            .into_iter()
            .map(|h| h.join().unwrap_or_else(|e| std::panic::resume_unwind(e)))
            .collect()
    });
    let mut total = Summary::default();
    totals.into_iter().for_each(|part| total += part);
    println!("{seeds} seeds: {total}");
    let Mishaps {
        lost,
        refusals,
        of_stores,
        slow_calls,
    } = total.mishaps;
    assert!(
        total.lives > 2 * seeds
            && total.zombies > seeds / 10
            && total.routed > 10 * seeds
            && lost > seeds
            && refusals > seeds / 10
            && of_stores > seeds / 10
            && slow_calls > seeds,
        "too little went wrong"
    );
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [3, 7, 12, 29] {
        let (first, second) = (run(seed, None), run(seed, None));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.result, second.result, "seed {seed}");
    }
}

#[test]
fn one_seed() {
    let Some(seed) = number("STRANDLINE_SIMULATION_SEED") else {
        // Without one it stands for the others.
        assert!(run(0, None).result.is_ok());
        return;
    };
    let outcome = run(seed, None);
    println!("{}", outcome.trace.join("\n"));
    if outcome.result.is_err() {
        panic!("{}", describe(seed, &outcome));
    }
}

/// Some seed must fail, and say so in these words.
fn assert_is_found(mutation: Mutation, words: &[&str]) {
    let found = (0..MUTATION_SEEDS).find_map(|seed| run(seed, Some(mutation)).result.err());
    let found = found.unwrap_or_else(|| panic!("{mutation:?} goes unnoticed"));
    assert!(
        words.iter().any(|w| found.contains(w)),
        "{mutation:?}: {found}"
    );
}

#[test]
fn a_fence_that_is_off_is_found() {
    assert_is_found(Mutation::FenceOff, &["landed twice", "rows, expected"]);
}

#[test]
fn a_pending_file_that_is_ignored_is_found() {
    assert_is_found(
        Mutation::PendingIgnored,
        &["dead letters", "rows, expected"],
    );
}

#[test]
fn a_relaxed_order_of_deduplication_is_found() {
    assert_is_found(Mutation::DedupOrderRelaxed, &["lacks x-", "landed twice"]);
}

#[test]
fn a_marker_that_is_written_early_is_found() {
    assert_is_found(Mutation::MarkerEarly, &["landed twice"]);
}

#[test]
fn dead_letters_that_are_not_waited_for_are_found() {
    assert_is_found(Mutation::LettersNotFlushed, &["dead-letter topic"]);
}

#[test]
fn a_store_that_is_not_asked_whether_a_file_is_there_is_found() {
    assert_is_found(
        Mutation::StoreNotAsked,
        &["which is not stored", "rows, expected", "dead letters"],
    );
}

#[test]
fn look_ups_that_are_given_up_when_they_are_slow_are_found() {
    assert_is_found(Mutation::SlowLookupsGivenUp, &["landed twice"]);
}

#[test]
fn a_loss_that_is_not_in_the_account_is_found() {
    assert_is_found(Mutation::LossNotCounted, &["the table is at"]);
}

#[test]
fn another_topic_that_is_not_noticed_is_found() {
    assert_is_found(
        Mutation::TopicIdIgnored,
        &["landed from another topic", "went on, but OtherTopic"],
    );
}

#[test]
fn a_commit_before_which_nobody_asks_for_the_topic_is_found() {
    assert_is_found(Mutation::CommitNotConfirmed, &["landed from another topic"]);
}

#[test]
fn records_of_transactions_that_are_not_committed_are_found() {
    assert_is_found(Mutation::UncommittedRead, &["expected None"]);
}
