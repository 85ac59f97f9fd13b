//! The host as the dataflow sees it: its clocks, and threads for whatever may wait.
//!
//! It is a port like those in [`io`](crate::io), so that a simulation can put its own clock and its own
//! order of events in the place of the machine's.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::failpoint::{Failpoint, Rule};
use crate::time::EventTime;

/// What is left to do after [`Task::step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It carried something out.
    Worked,
    /// Nothing was waiting.
    Idle,
    /// There will be nothing to do any more.
    Ended,
}

/// Work that may wait for a disk or a network, and so has a thread of its own.
pub trait Task: Send {
    /// Carries out the next order. With `wait` it waits for one, and is never [`Step::Idle`].
    fn step(&mut self, wait: bool) -> Step;
}

/// Clocks and threads.
pub trait Host: std::fmt::Debug + Send + Sync {
    /// Time that never goes back, for intervals.
    fn now(&self) -> Instant;

    /// The time of day. It may jump.
    fn wall_clock(&self) -> EventTime;

    /// Waits. Never called on a timely worker.
    fn sleep(&self, duration: Duration);

    /// Starts a task, which lives until it has ended.
    ///
    /// # Errors
    /// The system gives no thread.
    fn start(&self, name: String, task: Box<dyn Task>) -> Result<()>;

    /// What a test wants to happen at a place; see [`failpoint`](crate::failpoint).
    ///
    /// # Errors
    /// The failure that it wants.
    fn reached(&self, _point: Failpoint) -> Result<()> {
        Ok(())
    }

    /// Whether a rule is in force; see [`failpoint`](crate::failpoint).
    fn in_force(&self, _rule: Rule) -> bool {
        true
    }
}

/// The machine that we run on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine;

impl Host for Machine {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall_clock(&self) -> EventTime {
        EventTime::now()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    fn start(&self, name: String, mut task: Box<dyn Task>) -> Result<()> {
        let body = move || while task.step(true) != Step::Ended {};
        let spawned = std::thread::Builder::new().name(name.clone()).spawn(body);
        spawned.map(drop).map_err(|e| {
            Error::unreachable(format!("cannot start the thread `{name}`: {e}"))
                .hint("raise the limit of threads (ulimit -u)")
        })
    }
}
