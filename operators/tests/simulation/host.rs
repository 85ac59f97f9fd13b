//! The machine of one life: its clocks, its threads, and what goes wrong at failpoints.

use std::time::{Duration, Instant};

use strandline_operators::failpoint::{Failpoint, Rule};
use strandline_operators::host::{Host, Step, Task};
use strandline_operators::time::EventTime;
use strandline_operators::{Error, Result};

use crate::baton::{Said, Thread, first_turn, give_way, next_turn};
use crate::world::{Mutation, World};

/// Errors at failpoints: one in so many passages.
const FAILPOINT_ODDS: u64 = 4000;

/// The machine of one life.
#[derive(Clone, Debug)]
pub struct SimHost {
    pub world: World,
    pub life: usize,
}

thread_local! {
    /// Whether the thread may end in the middle of something. A worker may not: timely is around it.
    static MAY_GIVE_WAY: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Says that this thread is none of timely's.
pub fn may_give_way() {
    MAY_GIVE_WAY.set(true);
}

impl Host for SimHost {
    fn now(&self) -> Instant {
        self.world.now()
    }

    fn wall_clock(&self) -> EventTime {
        EventTime(self.world.lock().wall_micros)
    }

    fn sleep(&self, duration: Duration) {
        give_way(Said::Sleeps(duration));
    }

    fn start(&self, name: String, mut task: Box<dyn Task>) -> Result<()> {
        let thread = Thread::spawn(name, move || {
            may_give_way();
            if !first_turn() {
                return;
            }
            loop {
                match task.step(false) {
                    Step::Worked => give_way(Said::Worked),
                    Step::Idle => give_way(Said::Idle),
                    Step::Ended => return,
                }
            }
        });
        self.world.lock().newborn.push((self.life, thread));
        Ok(())
    }

    fn reached(&self, point: Failpoint) -> Result<()> {
        if MAY_GIVE_WAY.get() {
            if self.world.below(2) == 0 {
                give_way(Said::Worked);
            }
        } else if self.world.below(6) == 0 {
            // One that is killed here finishes its step: nothing leaves it any more.
            next_turn(Said::Worked);
        }
        let what = || format!("life {}: error at {}", self.life, point.name());
        match self.world.fault(FAILPOINT_ODDS, what) {
            true => Err(Error::unreachable(format!("fault at {}", point.name()))),
            false => Ok(()),
        }
    }

    fn in_force(&self, rule: Rule) -> bool {
        match rule {
            Rule::EpochsInOrder => self.world.lock().mutation != Some(Mutation::DedupOrderRelaxed),
        }
    }
}
