//! Waiting: for a time of work, for a condition, for the first commit after a fault, for the end of the topic.

use std::time::{Duration, Instant, SystemTime};

use super::{Outcome, Run, START_DEADLINE, position};
use crate::cluster::tail;
use crate::harness::report::Recovery;
use crate::harness::{CATCH_UP_DEADLINE, Fault, RECOVERY_DEADLINE};

/// A commit that is seen within this after a fault was under way before: it is no recovery. Commits through the REST
/// catalog were seen up to half a second after the death of who sent them; to find a TaskManager dead takes the JobManager longer
/// than a second (heartbeats come every 500 ms).
const UNDER_WAY: Duration = Duration::from_millis(1000);
/// For so long, a TaskManager that died is not started again while the spare takes over: a JVM that starts would take
/// processor time from the recovery, on a machine as small as those that this is measured on.
const SPARE_PATIENCE: Duration = Duration::from_secs(30);
/// How often a commit is looked for: as exact as the reader is.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How often the JobManager or the broker is asked.
const ASK_INTERVAL: Duration = Duration::from_millis(50);

/// The moment of a fault.
#[derive(Clone, Copy)]
pub struct Mark {
    since: Instant,
    at: SystemTime,
    /// The newest checkpoint that was committed.
    checkpoint: u64,
}

impl Run {
    /// Lets the job work.
    pub(super) fn rest(&mut self, ms: u64) -> Outcome {
        let until = Instant::now() + Duration::from_millis(ms);
        while Instant::now() < until {
            self.cluster.tend()?;
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    /// Waits until a condition gives something.
    pub(super) fn wait_for<T>(
        &mut self,
        what: &str,
        deadline: Duration,
        mut condition: impl FnMut(&mut Run) -> Outcome<Option<T>>,
    ) -> Outcome<T> {
        let began = Instant::now();
        loop {
            if let Some(found) = condition(self)? {
                return Ok(found);
            }
            if began.elapsed() > deadline {
                let what = format!("waited {deadline:?} for {what}");
                return Err(self.failure(&what).into());
            }
            self.expect_job_manager()?;
            std::thread::sleep(ASK_INTERVAL);
        }
    }

    /// Nobody but this harness ends the JobManager.
    fn expect_job_manager(&mut self) -> Outcome {
        if self.cluster.has_job_manager()? {
            return Ok(());
        }
        Err(self.failure("the JobManager has ended").into())
    }

    /// Has the reader look, so that it knows of every commit before now.
    pub(super) fn look(&mut self) -> Outcome {
        self.reader.hurry(true);
        let now = Instant::now();
        self.wait_for("an answer of the catalog", START_DEADLINE, |run| {
            Ok(run.reader.knows_of(now).then_some(()))
        })
    }

    /// Now.
    pub(super) fn mark(&self) -> Mark {
        self.reader.hurry(true);
        Mark {
            since: Instant::now(),
            at: SystemTime::now(),
            checkpoint: self.reader.generation(),
        }
    }

    /// Waits for the first commit of a checkpoint after the mark.
    pub(super) fn wait_for_commit(&mut self, mark: Mark) -> Outcome<Duration> {
        let from = mark.since + UNDER_WAY;
        loop {
            if let Some(commit) = self.reader.commit_after(from, mark.checkpoint) {
                self.reader.hurry(false);
                return Ok(commit.seen - mark.since);
            }
            let waited = mark.since.elapsed();
            if waited > RECOVERY_DEADLINE {
                let what = format!("no commit within {RECOVERY_DEADLINE:?}");
                return Err(self.failure(&what).into());
            }
            self.expect_job_manager()?;
            if self.cluster.living()? == 0 || waited > SPARE_PATIENCE {
                self.cluster.tend()?;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Waits for the first commit after a fault, and notes how long it took.
    pub(super) fn recover(&mut self, fault: Fault, mark: Mark) -> Outcome {
        let took = self.wait_for_commit(mark)?;
        self.tally
            .say(&format!("a commit after {:.2} s", took.as_secs_f64()));
        self.tally.recoveries.push(Recovery {
            fault,
            at: mark.at,
            committed_at: mark.at + took,
            took,
        });
        Ok(())
    }

    /// Waits until everything that is in the topic has been committed; nothing more may come.
    pub(super) fn catch_up(&mut self) -> Outcome {
        self.wait_for("the job to read to the end", CATCH_UP_DEADLINE, |run| {
            run.cluster.tend()?;
            Ok(run.position.is_at_end()?.then_some(()))
        })?;
        // That much was told to Kafka, so it is in a complete checkpoint, and in all newer ones.
        let newest = position::newest_checkpoint(&self.cluster.checkpoints())?;
        let (checkpoint, _) = newest.ok_or("there is no checkpoint")?;
        // Without records there is a commit for every tenth checkpoint.
        self.wait_for("the commit of the end", CATCH_UP_DEADLINE, |run| {
            run.cluster.tend()?;
            Ok((run.reader.generation() >= checkpoint).then_some(()))
        })
    }

    /// What went wrong, with what Flink says about it.
    fn failure(&self, what: &str) -> String {
        let state = self.cluster.state();
        format!(
            "{what} (seed {}); the job is {}; Flink has logged in {}\n{}",
            self.options.seed,
            state.unwrap_or_else(|_| "nobody knows how".to_owned()),
            self.cluster.logs().display(),
            tail(&self.cluster.logs())
        )
    }
}
