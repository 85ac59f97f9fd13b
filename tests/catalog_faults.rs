//! A catalog that loses answers, applies commits late, answers nonsense, stalls and goes away: the rows are
//! exact, whatever it does.

mod support;

use std::time::{Duration, Instant};

use support::faulted::{DEADLINE, Faulted};
use support::{Answered, Applied, Fault, Finished, Running, signal, status, wait_until};

/// How many commits each fault hits.
const HITS: usize = 3;
/// The table that is the commit point, without its namespace.
const PRIMARY: &str = "conversion_events";

/// The table of dead letters, without its namespace.
const LETTERS: &str = "conversion_events_dead_letters";
/// What a secondary may cost the primary in all, with room for a machine that does other things too: it is waited for
/// 1 s, and a client gives up after 30 s.
const HELD_UP: Duration = Duration::from_secs(15);

/// Each fault hits `HITS` commits of a running job, its claim among them.
#[track_caller]
fn survives(mut it: Faulted, faults: &[Fault]) {
    let all = faults.len() * HITS;
    it.feed();
    it.proxy
        .inject(faults.iter().flat_map(|fault| [*fault; HITS]), 2);
    let mut running = it.spawn();
    it.feed_until("all faults", &mut running, |proxy| proxy.left() == 0);
    it.drain_and_judge(running);

    let injected = it.proxy.injected();
    assert_eq!(injected.len(), all);
    for fault in faults {
        let hit: Vec<_> = injected.iter().filter(|i| i.fault == *fault).collect();
        assert_eq!(hit.len(), HITS, "{fault:?}");
        for hit in hit {
            // On a slow machine a request that is given up may come in after the next one.
            let reached = hit.upstream.is_some_and(|s| [200, 409].contains(&s));
            assert_eq!(reached, fault.applied != Applied::Never, "{hit:?}");
        }
    }
    let made = injected.iter().any(|i| i.upstream == Some(200));
    assert_eq!(made, faults.iter().any(|f| f.applied != Applied::Never));
    for table in [PRIMARY, "conversion_events_dead_letters"] {
        assert!(
            injected.iter().any(|i| i.table == table),
            "no fault hit `{table}`"
        );
    }
}

fn all_of(applied: Applied, answers: &[Answered]) -> Vec<Fault> {
    let fault = |&answered| Fault { applied, answered };
    answers.iter().map(fault).collect()
}

const STATUSES: [Answered; 7] = [
    Answered::Dropped,
    Answered::Status(409),
    Answered::Status(429),
    Answered::Status(500),
    Answered::Status(502),
    Answered::Status(503),
    Answered::Status(504),
];

const GARBAGE: [Answered; 5] = [
    Answered::Html,
    Answered::OtherJson,
    Answered::HalfADocument,
    Answered::DroppedMidBody,
    Answered::WrongLength,
];

#[test]
fn a_commit_that_was_made_but_answered_otherwise_is_found() {
    survives(Faulted::new(), &all_of(Applied::Now, &STATUSES));
}

#[test]
fn a_commit_that_was_not_made_is_made_again() {
    survives(Faulted::new(), &all_of(Applied::Never, &STATUSES));
}

#[test]
fn a_commit_that_is_made_after_it_was_looked_for_is_not_doubled() {
    survives(Faulted::new(), &all_of(Applied::AfterLookUp, &STATUSES));
}

#[test]
fn an_answer_that_makes_no_sense_is_no_answer() {
    let mut faults = all_of(Applied::Now, &GARBAGE);
    faults.extend(all_of(Applied::Never, &GARBAGE));
    survives(Faulted::new(), &faults);
}

#[test]
fn a_catalog_that_stalls_or_refuses_connections_is_waited_for() {
    let mut faults = all_of(Applied::Now, &[Answered::Stalled, Answered::Refused]);
    faults.extend(all_of(
        Applied::Never,
        &[Answered::Stalled, Answered::Refused],
    ));
    survives(Faulted::impatient(), &faults);
}

#[test]
fn a_mixture_of_faults_neither_loses_nor_doubles_a_row() {
    const FAULTS: usize = 60;
    const PERCENT: u32 = 30;
    let mut it = Faulted::impatient();
    it.feed();
    let mut running = it.spawn();
    // A start is not tried again by the process itself: whoever started it does.
    it.feed_until("the first commits", &mut running, |proxy| {
        proxy.made(PRIMARY) > 2
    });
    it.proxy.inject_from_seed(rand::random(), PERCENT);
    it.feed_until("the faults", &mut running, |proxy| {
        proxy.injected().len() >= FAULTS
    });
    it.drain_and_judge(running);
}

#[test]
fn a_catalog_that_is_gone_for_good_ends_the_run_with_its_name() {
    let mut it = Faulted::new();
    it.feed();
    let mut running = it.spawn();
    it.feed_until("the first commits", &mut running, |proxy| {
        proxy.made(PRIMARY) > 1
    });
    it.proxy.go_away();
    it.feed();
    let Finished { stderr, .. } = running.wait(DEADLINE).expect_exit(3);
    let (_, last) = stderr.rsplit_once("\nerror: ").expect("what it ended with");
    assert!(
        last.contains(&it.proxy.uri()),
        "the catalog's name: {stderr}"
    );
    assert!(last.contains("hint: "), "the next step: {stderr}");
}

/// Runs a job until it waits for the answer to a commit of an epoch, which the proxy holds back.
#[track_caller]
fn with_a_commit_held_back() -> (Faulted, Running) {
    // Its client waits for half a minute: nothing is tried again before the test has gone on.
    let mut it = Faulted::new();
    it.feed();
    let mut running = it.spawn();
    it.feed_until("the first commits", &mut running, |proxy| {
        proxy.made(PRIMARY) > 1
    });
    it.proxy.hold_next(PRIMARY);
    it.feed_until("a commit held back", &mut running, |proxy| {
        proxy.held() == 1
    });
    (it, running)
}

#[test]
fn a_zombies_commit_that_arrives_late_is_refused() {
    let (mut it, zombie) = with_a_commit_held_back();
    let pid = zombie.pid().to_string();
    signal("STOP", &pid);
    let before = it.proxy.made(PRIMARY);
    let state = it.job.path().join("state-of-the-successor");
    let state = format!("state_dir={}", state.display());
    let mut successor = it
        .job
        .spawn(&["run", "roman-numerals", "--json", "--set", &state]);
    it.feed_until("the successor's commits", &mut successor, |proxy| {
        proxy.made(PRIMARY) > before + 2
    });

    assert_eq!(it.proxy.release(), [409], "the table refuses it");
    signal("CONT", &pid);
    let Finished { stderr, .. } = zombie.wait(DEADLINE).expect_exit(4);
    assert!(stderr.contains("is fenced by generation"), "{stderr}");
    it.drain_and_judge(successor);
}

#[test]
fn a_commit_of_the_dead_that_arrives_after_the_next_claim_is_refused() {
    let (mut it, running) = with_a_commit_held_back();
    running.kill_9();
    it.job.run_until_caught_up(&[], DEADLINE);

    assert_eq!(it.proxy.release(), [409]);
    it.judge();
}

#[test]
fn a_commit_of_the_dead_that_arrives_before_the_next_claim_counts() {
    let (mut it, running) = with_a_commit_held_back();
    running.kill_9();

    assert_eq!(it.proxy.release(), [200]);
    it.judge();
}

#[test]
fn a_dead_letter_table_whose_catalog_hangs_does_not_hold_the_primary_up() {
    let mut it = Faulted::new();
    let mut running = it.spawn();
    it.feed_until("dead letters", &mut running, |proxy| {
        proxy.made(LETTERS) > 0
    });
    it.proxy.hold_next(LETTERS);
    it.feed_until("a commit that hangs", &mut running, |proxy| {
        proxy.held() == 1
    });
    let hangs = Instant::now();
    let (primary, letters) = (it.proxy.made(PRIMARY), it.proxy.made(LETTERS));
    it.feed_until("further commits", &mut running, |proxy| {
        proxy.made(PRIMARY) >= primary + 5
    });
    let took = hangs.elapsed();
    eprintln!("5 commits of the primary in {took:?} beside one that hangs");
    assert!(took < HELD_UP, "{took:?}");
    assert_eq!(it.proxy.made(LETTERS), letters, "it still hangs");
    let found = wait_until("the table to be named", DEADLINE, || {
        let status = status(&it.job)?;
        let findings = status["findings"].as_array()?;
        findings
            .iter()
            .find(|f| f["kind"] == "table_behind")
            .cloned()
    });
    let said = found["message"].as_str().unwrap_or_default();
    assert!(said.contains(LETTERS), "{said}");

    // It is made after all, and its answer is lost: what was owed meanwhile follows in one commit.
    assert_eq!(it.proxy.release(), [200]);
    it.feed_until("the table to follow", &mut running, |proxy| {
        proxy.made(LETTERS) > letters + 1
    });
    wait_until("no table to be behind", DEADLINE, || {
        let status = status(&it.job)?;
        let findings = status["findings"].as_array()?;
        let behind = findings.iter().any(|f| f["kind"] == "table_behind");
        (!behind).then_some(())
    });
    it.drain_and_judge(running);
}
