use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use super::*;
use crate::account::Account;
use crate::host::Task;
use crate::progress::PartitionDelta;
use crate::record::TopicPartition;
use crate::time::{Epoch, EventTime};

/// A clock that only sleeping moves, and what was seen while it slept.
#[derive(Debug)]
struct Clock {
    began: Instant,
    /// For how long the machine stands still in each sleep besides.
    still: Duration,
    slept_ms: AtomicU64,
    observed: Arc<Observed>,
    was_awaited: Mutex<Vec<bool>>,
}

impl Host for Clock {
    fn now(&self) -> Instant {
        self.began + Duration::from_millis(self.slept_ms.load(Ordering::Relaxed))
    }

    fn wall_clock(&self) -> EventTime {
        EventTime(0)
    }

    fn sleep(&self, duration: Duration) {
        let ms = (duration + self.still).as_millis() as u64;
        self.slept_ms.fetch_add(ms, Ordering::Relaxed);
        let awaited = self.observed.awaits_kafka.load(Ordering::Relaxed);
        self.was_awaited.lock().expect("lock").push(awaited);
    }

    fn start(&self, _name: String, _task: Box<dyn Task>) -> Result<()> {
        Err(Error::internal("no threads here"))
    }
}

type Answer = Result<BTreeMap<String, Option<String>>>;

/// Gives its answers in turn, the last one for ever; notes what it was asked.
struct Answers {
    answers: VecDeque<Answer>,
    asked: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Topics for Answers {
    fn ids(&mut self, names: &[&str]) -> Answer {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        self.asked.lock().expect("lock").push(names);
        match self.answers.len() {
            1 => self.answers[0].clone(),
            _ => self.answers.pop_front().expect("an answer"),
        }
    }
}

struct Commits(Arc<AtomicU64>);

impl Table for Commits {
    fn commit(&mut self, _epoch: &EpochCommit) -> Result<Committed> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Committed {
            snapshot_id: Some(1),
            is_behind: false,
        })
    }

    fn catch_up(&mut self) -> Result<bool> {
        Ok(false)
    }

    fn settle(&mut self) -> Result<()> {
        Ok(())
    }
}

/// What became of one commit.
struct Outcome {
    result: Result<Committed>,
    commits: u64,
    asked: Vec<Vec<String>>,
    slept: Duration,
    was_awaited: Vec<bool>,
    is_awaited: bool,
    trouble: Option<String>,
}

fn commit(topics: &[&str], answers: Vec<Answer>) -> Outcome {
    commit_while(topics, answers, false, Duration::ZERO)
}

/// Commits an epoch with records of these topics. The table was filled from `a`, `b` and `untold`, whose id nobody
/// has told.
fn commit_while(
    topics: &[&str],
    answers: Vec<Answer>,
    is_stopped: bool,
    still: Duration,
) -> Outcome {
    let mut progress = Progress::new("job", "uuid", 1, "fingerprint");
    for (name, id) in [("a", Some("1")), ("b", Some("2")), ("untold", None)] {
        let topic = progress.topics.entry(name.to_owned()).or_default();
        topic.topic_id = id.map(str::to_owned);
    }
    let observed = Arc::new(Observed::new());
    observed.stops.store(is_stopped, Ordering::Relaxed);
    let clock = Arc::new(Clock {
        began: Instant::now(),
        still,
        slept_ms: AtomicU64::new(0),
        observed: Arc::clone(&observed),
        was_awaited: Mutex::default(),
    });
    let (asked, commits) = (Arc::default(), Arc::default());
    let answers = Answers {
        answers: answers.into(),
        asked: Arc::clone(&asked),
    };
    let trouble = CommitTrouble::default();
    let mut table = Confirmed::new(
        Arc::clone(&clock) as Arc<dyn Host>,
        Box::new(answers),
        &progress,
        Arc::clone(&observed),
        trouble.clone(),
        Box::new(Commits(Arc::clone(&commits))),
    );
    let delta = |next| PartitionDelta {
        start: 5,
        next,
        leader_epoch: None,
        max_event_time: None,
        account: Account::default(),
    };
    let mut partitions: BTreeMap<TopicPartition, PartitionDelta> = topics
        .iter()
        .flat_map(|&topic| [0, 1].map(|partition| TopicPartition::new(topic, partition)))
        .map(|source| (source, delta(7)))
        .collect();
    // A range without an offset: nothing was read of it.
    partitions
        .entry(TopicPartition::new("b", 9))
        .or_insert_with(|| delta(5));
    let result = table.commit(&EpochCommit {
        epoch: Epoch::first_of(1),
        watermark: None,
        partitions,
        files: Vec::new(),
    });
    Outcome {
        result,
        commits: commits.load(Ordering::Relaxed),
        asked: asked.lock().expect("lock").clone(),
        slept: clock.now() - clock.began,
        was_awaited: clock.was_awaited.lock().expect("lock").clone(),
        is_awaited: observed.awaits_kafka.load(Ordering::Relaxed),
        trouble: trouble.last(),
    }
}

fn ids(of: &[(&str, &str)]) -> Answer {
    let owned = |(name, id): &(&str, &str)| ((*name).to_owned(), Some((*id).to_owned()));
    Ok(of.iter().map(owned).collect())
}

fn nobody_answers() -> Answer {
    Err(Error::unreachable("nobody answers"))
}

#[test]
fn an_epoch_of_the_right_topics_is_committed_after_one_question() {
    let outcome = commit(&["a", "b"], vec![ids(&[("a", "1"), ("b", "2")])]);
    assert!(outcome.result.is_ok());
    assert_eq!(outcome.commits, 1);
    assert_eq!(outcome.asked, [["a", "b"]]);
    assert_eq!(outcome.slept, Duration::ZERO);
}

#[test]
fn an_epoch_of_a_topic_that_was_created_again_is_refused_and_not_committed() {
    let outcome = commit(&["a", "b"], vec![ids(&[("a", "1"), ("b", "3")])]);
    let error = outcome.result.expect_err("another topic");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(
        error
            .to_string()
            .contains("topic `b` was deleted and created again"),
        "{error}"
    );
    assert_eq!(outcome.commits, 0);
}

#[test]
fn only_topics_that_were_read_and_whose_ids_are_known_are_asked_for() {
    let outcome = commit(&["a", "untold"], vec![ids(&[("a", "1")])]);
    assert_eq!(
        (outcome.commits, outcome.asked),
        (1, vec![vec!["a".to_owned()]])
    );

    let outcome = commit(&["untold"], vec![nobody_answers()]);
    assert_eq!((outcome.commits, outcome.asked.len()), (1, 0));
}

#[test]
fn while_nobody_answers_the_commit_waits_and_says_so() {
    let mut answers: Vec<Answer> = (0..200).map(|_| nobody_answers()).collect();
    answers.push(ids(&[("a", "1")]));
    let outcome = commit(&["a"], answers);
    assert!(outcome.result.is_ok());
    assert_eq!(outcome.commits, 1);
    assert!(
        outcome.slept > Duration::from_secs(300),
        "{:?}",
        outcome.slept
    );
    assert_eq!(outcome.was_awaited, vec![true; 200]);
    assert!(!outcome.is_awaited);
    assert_eq!(outcome.trouble, None);
}

#[test]
fn what_waiting_does_not_mend_ends_the_commit() {
    let denied = || Err(Error::configuration("not allowed"));
    let outcome = commit(&["a"], vec![nobody_answers(), denied()]);
    let error = outcome.result.expect_err("not allowed");
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert_eq!((outcome.commits, outcome.is_awaited), (0, false));
}

#[test]
fn a_topic_that_is_just_being_created_again_is_waited_for_and_refused() {
    let outcome = commit(&["a"], vec![ids(&[]), ids(&[]), ids(&[("a", "4")])]);
    let error = outcome.result.expect_err("another topic");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(outcome.commits, 0);
}

#[test]
fn what_was_read_of_a_topic_that_is_gone_lands() {
    let outcome = commit(&["a"], vec![nobody_answers(), ids(&[])]);
    assert!(outcome.result.is_ok());
    assert_eq!(outcome.commits, 1);
    assert!(outcome.slept >= GONE_GRACE, "{:?}", outcome.slept);
}

#[test]
fn a_cluster_that_tells_no_ids_any_more_holds_nothing_up() {
    let no_id = Ok([("a".to_owned(), None)].into());
    let outcome = commit(&["a"], vec![no_id]);
    assert!(outcome.result.is_ok());
    assert_eq!((outcome.commits, outcome.slept), (1, Duration::ZERO));
}

#[test]
fn a_job_that_is_asked_to_end_does_not_wait_for_long() {
    let outcome = commit_while(&["a"], vec![nobody_answers()], true, Duration::ZERO);
    let error = outcome.result.expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert_eq!((outcome.commits, outcome.is_awaited), (0, false));
    assert!(outcome.slept >= STOP_PATIENCE, "{:?}", outcome.slept);
    assert!(outcome.slept < 2 * STOP_PATIENCE, "{:?}", outcome.slept);
}

#[test]
fn a_job_that_is_asked_to_end_lands_what_it_read_of_a_topic_that_is_gone() {
    let outcome = commit_while(
        &["a"],
        vec![nobody_answers(), ids(&[])],
        true,
        Duration::ZERO,
    );
    assert!(outcome.result.is_ok());
    assert_eq!(outcome.commits, 1);
}

#[test]
fn time_in_which_nobody_asked_makes_no_topic_gone() {
    let unknown = || ids(&[]);
    let answers = vec![unknown(), unknown(), unknown(), ids(&[("a", "4")])];
    let outcome = commit_while(&["a"], answers, false, Duration::from_secs(360));
    let error = outcome.result.expect_err("another topic");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(outcome.commits, 0);
}
