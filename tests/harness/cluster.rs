//! A cluster of the job: under `launch`, or separate processes that we start again ourselves.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::processes::{self, is_alive, wait_for_end};
use super::report::Tally;
use super::schedule::{Mode, Shape};
use crate::support::{Finished, Running, spawn, unique};

/// The job of all of this.
pub const JOB: &str = "roman-numerals";
/// How long a drain may take on a loaded machine.
const DRAIN_DEADLINE: Duration = Duration::from_secs(180);
/// How long a process may go on that has lost a peer: longer than the 60 s for which one that has just started
/// waits for the others.
const SURVIVOR_DEADLINE: Duration = Duration::from_secs(90);
/// How often processes are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Bytes of a log that a failure shows.
const SHOWN_BYTES: usize = 6000;
/// Ports of separate processes: below the kernel's range for outgoing connections, so that only another
/// server could take one between our look and the process' start. It would then be started again on others.
const PORTS: std::ops::Range<u16> = 12_000..20_000;

/// A cluster that runs.
pub struct Cluster {
    /// Its shape.
    pub shape: Shape,
    folder: PathBuf,
    running: Vec<Running>,
}

impl Cluster {
    /// Starts it in a host's folder, which holds the configuration.
    pub fn start(folder: &Path, shape: Shape) -> Cluster {
        let mut cluster = Cluster {
            shape,
            folder: folder.to_owned(),
            running: Vec::new(),
        };
        cluster.start_processes();
        cluster
    }

    fn start_processes(&mut self) {
        let (processes, workers) = (self.shape.processes, self.shape.workers.to_string());
        let count = processes.to_string();
        match self.shape.mode {
            Mode::Launch => {
                let args = ["launch", JOB, "-n", &count, "-w", &workers, "--json"];
                self.running.push(spawn(&self.folder, &args));
            }
            Mode::Separate if processes == 1 => {
                let args = ["run", JOB, "-w", &workers, "--json"];
                self.running.push(spawn(&self.folder, &args));
            }
            Mode::Separate => {
                let hosts = self.folder.join(unique("hosts"));
                std::fs::write(&hosts, free_addresses(processes)).expect("write the host file");
                let hosts = hosts.to_string_lossy();
                for process in 0..processes {
                    let process = process.to_string();
                    let place = ["-n", &count, "-p", &process, "--hostfile", &hosts];
                    let args = [&["run", JOB, "-w", &workers, "--json"], &place[..]].concat();
                    self.running.push(spawn(&self.folder, &args));
                }
            }
        }
    }

    /// The processes that work, by index; without the launcher.
    pub fn workers(&self) -> Vec<(usize, u32)> {
        match self.shape.mode {
            Mode::Launch => self
                .running
                .iter()
                .flat_map(|launcher| processes::children(launcher.pid()))
                .collect(),
            Mode::Separate => {
                let pids = self.running.iter().map(Running::pid).enumerate();
                pids.filter(|&(_, pid)| is_alive(pid)).collect()
            }
        }
    }

    /// The launcher's id.
    pub fn launcher(&self) -> Option<u32> {
        let launcher = self.running.first()?;
        (self.shape.mode == Mode::Launch).then(|| launcher.pid())
    }

    /// Starts again what is ours to start again: everything, when a part of it has ended.
    pub fn tend(&mut self, tally: &mut Tally) {
        if self.running.iter_mut().all(Running::is_running) {
            return;
        }
        self.wait_for_all(SURVIVOR_DEADLINE, "a process whose peer had ended", tally);
        self.collect(tally);
        self.start_processes();
    }

    /// Waits until everything has ended; at the deadline that is a finding, and an end by force.
    fn wait_for_all(&mut self, deadline: Duration, whom: &str, tally: &mut Tally) {
        let began = Instant::now();
        let mut forced = false;
        while self.running.iter_mut().any(Running::is_running) {
            if began.elapsed() > deadline && !forced {
                forced = true;
                tally.find(format!(
                    "{whom} still ran after {deadline:?}, and had logged\n{}",
                    tail(&self.log())
                ));
                self.signal_all("KILL");
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Takes in how everything has ended. Everything must have ended.
    fn collect(&mut self, tally: &mut Tally) -> Vec<Finished> {
        let ended: Vec<Finished> = self
            .running
            .drain(..)
            .map(|running| running.wait(SURVIVOR_DEADLINE))
            .collect();
        for finished in &ended {
            tally.ended(finished);
        }
        ended
    }

    fn signal_all(&self, name: &str) {
        // The processes first: a launcher that runs while they do not would start others.
        for (_, pid) in self.workers() {
            processes::signal(name, pid);
        }
        if let Some(launcher) = self.launcher() {
            processes::signal(name, launcher);
        }
    }

    /// Ends it with -9, the launcher first, and returns when nothing of it is left.
    pub fn kill(mut self, tally: &mut Tally) {
        let workers: Vec<u32> = self.workers().into_iter().map(|(_, pid)| pid).collect();
        if let Some(launcher) = self.launcher() {
            processes::signal("KILL", launcher);
            wait_for_end("the launcher's processes to end with it", &workers);
        } else {
            for &pid in &workers {
                processes::signal("KILL", pid);
            }
            wait_for_end("the killed processes to end", &workers);
        }
        self.collect(tally);
    }

    /// Drains it, as SIGTERM asks for.
    pub fn drain(mut self, tally: &mut Tally) {
        for running in &self.running {
            processes::signal("TERM", running.pid());
        }
        self.wait_for_all(DRAIN_DEADLINE, "a cluster that was to drain", tally);
        for finished in self.collect(tally) {
            if finished.status.code() != Some(143) {
                tally.find(format!(
                    "`{}` was drained and ended with {}",
                    finished.line, finished.status
                ));
            }
        }
    }

    /// SIGSTOP to everything, or only to process 0 with the rest killed.
    pub fn freeze(&self, committer_alone: bool) {
        if !committer_alone {
            // The launcher first: it would take stopped processes for what they are.
            if let Some(launcher) = self.launcher() {
                processes::signal("STOP", launcher);
            }
        }
        for (process, pid) in self.workers() {
            let signal = if committer_alone && process > 0 {
                "KILL"
            } else {
                "STOP"
            };
            processes::signal(signal, pid);
        }
    }

    /// SIGCONT to everything; then waits until it has ended by itself.
    pub fn wake_and_wait(mut self, deadline: Duration, tally: &mut Tally) -> Vec<Finished> {
        self.signal_all("CONT");
        self.wait_for_all(deadline, "a zombie cluster that woke up", tally);
        self.collect(tally)
    }

    /// What its processes have logged since they were started.
    pub fn log(&self) -> String {
        self.running.iter().map(Running::stderr).collect()
    }

    /// The ids of everything, for a look at its memory.
    pub fn all(&self) -> Vec<u32> {
        let workers = self.workers().into_iter().map(|(_, pid)| pid);
        workers.chain(self.launcher()).collect()
    }
}

/// The end of a log.
pub fn tail(log: &str) -> String {
    let skipped = log.len().saturating_sub(SHOWN_BYTES);
    String::from_utf8_lossy(&log.as_bytes()[skipped..]).into_owned()
}

fn free_addresses(count: usize) -> String {
    let mut held = Vec::new();
    let mut text = String::new();
    while held.len() < count {
        let address = format!("127.0.0.1:{}", rand::random_range(PORTS));
        if let Ok(listener) = TcpListener::bind(&address) {
            held.push(listener);
            text.push_str(&address);
            text.push('\n');
        }
    }
    text
}
