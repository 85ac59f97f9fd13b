//! The faults, one by one.

use std::time::Duration;

use super::processes;
use super::run::Run;
use super::schedule::{Fault, Step};
use crate::support::wait_until;

/// How long a process that was stopped stays so; shorter than any timeout that would end its peers.
pub const PAUSE_MS: std::ops::Range<u64> = 100..3000;
/// How long a service stays away, besides the time it takes to start.
pub const AWAY_MS: std::ops::Range<u64> = 0..3000;
/// When a recovery is hit: from before the processes meet until after their first commit.
pub const RECOVERY_MS: std::ops::Range<u64> = 0..1200;
/// How long a zombie may take to notice that the table is no longer its own.
const ZOMBIE_DEADLINE: Duration = Duration::from_secs(180);
/// New processes must be there within this.
const START_DEADLINE: Duration = Duration::from_secs(120);

/// A number in a range, out of a step's draw.
pub fn within(draw: u64, range: std::ops::Range<u64>) -> u64 {
    range.start + (draw >> 8) % (range.end - range.start)
}

impl Run {
    /// Does what a step says, and waits for the job to commit again.
    pub(super) fn inflict(&mut self, step: Step) {
        let Step { fault, draw, .. } = step;
        match fault {
            Fault::KillOne => {
                let mark = self.mark();
                self.kill_one(draw);
                self.recover(fault, mark, true);
            }
            Fault::KillAll => {
                let mark = self.mark();
                for (_, pid) in self.workers() {
                    self.kill(pid);
                }
                self.recover(fault, mark, true);
            }
            Fault::KillAgain => self.kill_again(draw),
            Fault::KillLauncher | Fault::LoseState | Fault::LoseOneState => {
                self.kill_everything(step);
            }
            Fault::LoseStateAlive => {
                let _ = std::fs::remove_dir_all(self.host().join("state"));
                let mark = self.mark();
                self.kill_one(draw);
                self.recover(fault, mark, true);
            }
            Fault::KillBroker => self.kill_service("kafka", "broker", step),
            Fault::KillCatalog => self.kill_service("rest", "catalog", step),
            Fault::Pause => self.pause(draw),
            Fault::Zombie => self.zombie(step, false),
            Fault::ZombieCommitter => self.zombie(step, true),
            Fault::FullState | Fault::FullWarehouse => unreachable!("it has a job of its own"),
        }
    }

    /// The processes of the cluster, all of them: one that is only just being started is waited for.
    fn workers(&mut self) -> Vec<(usize, u32)> {
        let processes = self.cluster.as_ref().map_or(0, |c| c.shape.processes);
        wait_until("the processes of the cluster", START_DEADLINE, || {
            self.tend();
            let workers = self.cluster.as_ref()?.workers();
            (workers.len() == processes).then_some(workers)
        })
    }

    fn kill(&mut self, pid: u32) {
        if processes::signal("KILL", pid) {
            self.tally.killed("process");
        }
    }

    fn kill_one(&mut self, draw: u64) {
        let workers = self.workers();
        self.kill(workers[draw as usize % workers.len()].1);
    }

    /// Once, and again when the next processes are there, at any moment of their recovery.
    fn kill_again(&mut self, draw: u64) {
        let before = self.workers();
        self.kill(before[draw as usize % before.len()].1);
        let next = wait_until("the next processes", START_DEADLINE, || {
            self.tend();
            let workers = self.cluster.as_ref()?.workers();
            let are_new = workers.iter().all(|worker| !before.contains(worker));
            (workers.len() == before.len() && are_new).then_some(workers)
        });
        self.rest(within(draw, RECOVERY_MS));
        let mark = self.mark();
        self.kill(next[(draw >> 1) as usize % next.len()].1);
        self.recover(Fault::KillAgain, mark, true);
    }

    /// The whole cluster at once, launcher and all; what is on its disk may go too.
    fn kill_everything(&mut self, step: Step) {
        let workers = self.workers();
        let cluster = self.cluster.take().expect("a cluster");
        let hit = if cluster.launcher().is_some() {
            "launcher"
        } else {
            "process"
        };
        let mark = self.mark();
        for _ in 0..if hit == "launcher" { 1 } else { workers.len() } {
            self.tally.killed(hit);
        }
        cluster.kill(&mut self.tally);
        let state = self.host().join("state");
        match step.fault {
            Fault::LoseState => std::fs::remove_dir_all(&state).expect("delete the state"),
            Fault::LoseOneState => {
                let of = step.shape.processes * step.shape.workers;
                let worker = format!("roman-numerals/worker-{}", step.draw as usize % of);
                std::fs::remove_dir_all(state.join(worker)).expect("delete a worker's state");
            }
            _ => {}
        }
        self.start_cluster(step.shape);
        self.recover(step.fault, mark, true);
    }

    /// The service dies and comes back on its data; the job may have been restarted meanwhile or not.
    fn kill_service(&mut self, service: &str, name: &'static str, step: Step) {
        self.stack.kill(service);
        self.tally.killed(name);
        self.rest(within(step.draw, AWAY_MS));
        self.stack.start(service);
        let mark = self.mark();
        self.recover(step.fault, mark, false);
    }

    fn pause(&mut self, draw: u64) {
        let workers = self.workers();
        let pid = workers[draw as usize % workers.len()].1;
        processes::signal("STOP", pid);
        std::thread::sleep(Duration::from_millis(within(draw, PAUSE_MS)));
        processes::signal("CONT", pid);
        let mark = self.mark();
        self.recover(Fault::Pause, mark, false);
    }

    /// The cluster is stopped, another host takes over, the old one wakes up and must be refused.
    fn zombie(&mut self, step: Step, committer_alone: bool) {
        self.workers();
        let zombie = self.cluster.take().expect("a cluster");
        let mark = self.mark();
        zombie.freeze(committer_alone);
        if committer_alone {
            self.tally.killed("process");
        }
        self.change_host();
        self.start_cluster(step.shape);
        self.recover(step.fault, mark, true);
        self.rest(within(step.draw, PAUSE_MS));

        let generation = self.reader.generation();
        let ended = zombie.wake_and_wait(ZOMBIE_DEADLINE, &mut self.tally);
        let refused = ended.iter().any(|e| e.status.code() == Some(4));
        if !refused && !committer_alone {
            let statuses: Vec<String> = ended.iter().map(|e| e.status.to_string()).collect();
            self.tally.find(format!(
                "a zombie cluster was not refused, but ended with {}",
                statuses.join(", ")
            ));
        }
        if ended.iter().any(|e| e.status.success()) {
            self.tally
                .find("a zombie ended as if all were well".to_owned());
        }
        let after = self.mark();
        self.wait_for_commit(after, false);
        if self.reader.generation() != generation {
            self.tally.find(format!(
                "a zombie woke up in generation {generation}, and then there was {}",
                self.reader.generation()
            ));
        }
    }
}
