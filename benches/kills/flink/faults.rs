//! The faults, as they befall a cluster of Flink.

use std::time::Duration;

use super::{Outcome, Run, START_DEADLINE};
use crate::harness::{AWAY_MS, Fault, PAUSE_MS, RECOVERY_MS, Step, processes, within};

/// TaskManagers that must be there before a fault: one that works, and the spare.
const TASK_MANAGERS: usize = 2;

impl Run {
    /// Does what a step says, and waits for the job to commit again.
    pub(super) fn inflict(&mut self, step: Step) -> Outcome {
        let Step { fault, draw, .. } = step;
        let working = self.working()?;
        let chosen = working[draw as usize % working.len()];
        self.look()?;
        match fault {
            Fault::KillOne => {
                let mark = self.mark();
                self.kill(chosen);
                self.recover(fault, mark)
            }
            Fault::KillAll => {
                let mark = self.mark();
                for pid in self.cluster.task_manager_pids() {
                    self.kill(pid);
                }
                self.recover(fault, mark)
            }
            Fault::KillAgain => self.kill_again(&working, chosen, draw),
            Fault::KillLauncher | Fault::LoseState => self.kill_everything(fault),
            Fault::KillBroker => self.kill_service("kafka", "broker", step),
            Fault::KillCatalog => self.kill_service("rest", "catalog", step),
            Fault::Pause => {
                processes::signal("STOP", chosen);
                std::thread::sleep(Duration::from_millis(within(draw, PAUSE_MS)));
                processes::signal("CONT", chosen);
                let mark = self.mark();
                self.recover(fault, mark)
            }
            Fault::Zombie => self.zombie(chosen, draw),
            Fault::ZombieCommitter
            | Fault::LoseOneState
            | Fault::LoseStateAlive
            | Fault::FullState
            | Fault::FullWarehouse => Err(format!("`{}` is not for Flink", fault.name()).into()),
        }
    }

    /// The TaskManagers that work, once the spare is there too: one that is only just being started is waited for.
    fn working(&mut self) -> Outcome<Vec<u32>> {
        let what = "a TaskManager that works and a spare one";
        self.wait_for(what, START_DEADLINE, |run| {
            run.cluster.tend()?;
            // A JobManager that is busy with a restart may not answer.
            let registered = run.cluster.registered().unwrap_or_default();
            let working = registered.iter().filter(|t| t.works);
            let working: Vec<u32> = working.map(|t| t.pid).collect();
            let are_there = registered.len() >= TASK_MANAGERS && !working.is_empty();
            Ok(are_there.then_some(working))
        })
    }

    fn kill(&mut self, pid: u32) {
        if processes::signal("KILL", pid) {
            self.tally.killed("TaskManager");
        }
    }

    /// Once, and again when the next one works, at any moment of its recovery.
    fn kill_again(&mut self, before: &[u32], chosen: u32, draw: u64) -> Outcome {
        self.kill(chosen);
        let next = self.wait_for("the next TaskManager to work", START_DEADLINE, |run| {
            run.cluster.tend()?;
            let registered = run.cluster.registered().unwrap_or_default();
            let mut next = registered.iter().filter(|t| t.works);
            Ok(next.find(|t| !before.contains(&t.pid)).map(|t| t.pid))
        })?;
        self.rest(within(draw, RECOVERY_MS))?;
        let mark = self.mark();
        self.kill(next);
        self.recover(Fault::KillAgain, mark)
    }

    /// JobManager and TaskManagers at once; what TaskManagers had on the disk may go too. The job goes on from its newest
    /// complete checkpoint.
    fn kill_everything(&mut self, fault: Fault) -> Outcome {
        let task_managers = self.cluster.task_manager_pids().len();
        let mark = self.mark();
        self.cluster.kill()?;
        self.tally.killed("JobManager");
        for _ in 0..task_managers {
            self.tally.killed("TaskManager");
        }
        if fault == Fault::LoseState {
            std::fs::remove_dir_all(self.cluster.working_files())?;
        }
        self.cluster.start()?;
        // TaskManagers may come while the job is submitted.
        self.cluster.wait_for_job_manager()?;
        self.submit()?;
        self.recover(fault, mark)
    }

    /// The service dies and comes back on its data; the job may have been restarted meanwhile or not.
    fn kill_service(&mut self, service: &str, name: &'static str, step: Step) -> Outcome {
        self.stack.kill(service);
        self.tally.killed(name);
        self.rest(within(step.draw, AWAY_MS))?;
        self.stack.start(service);
        let mark = self.mark();
        self.recover(step.fault, mark)
    }

    /// The TaskManager that works is stopped, and wakes up when the job commits from the other one.
    fn zombie(&mut self, zombie: u32, draw: u64) -> Outcome {
        let mark = self.mark();
        processes::signal("STOP", zombie);
        self.recover(Fault::Zombie, mark)?;
        self.rest(within(draw, PAUSE_MS))?;
        self.look()?;
        processes::signal("CONT", zombie);
        let after = self.mark();
        self.wait_for_commit(after)?;
        Ok(())
    }
}
