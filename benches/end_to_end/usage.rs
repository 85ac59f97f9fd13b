//! What processes use: CPU time and resident memory, as Linux tells in /proc.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often processes are looked at: what one that ends used in between is missed.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(20);
/// Clock ticks in a second, as Linux counts CPU time in /proc (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;
const PAGE_BYTES: u64 = 4096;

/// What was used between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// By the main processes (all of Strandline's, or Flink's TaskManagers).
    pub cpu_seconds: f64,
    /// By the others (Flink's JobManager).
    pub coordinator_cpu_seconds: f64,
    /// By the whole machine, less the broker and this program.
    pub machine_cpu_seconds: f64,
    /// Largest sum over all processes at one moment.
    pub peak_rss_bytes: u64,
}

/// The processes of an engine.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    /// Those that do the work.
    pub workers: Vec<u32>,
    /// Those that only coordinate.
    pub coordinators: Vec<u32>,
}

/// Watches processes from its start on.
pub struct Watch {
    processes: Arc<Mutex<Processes>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Used>,
}

impl Watch {
    /// Starts to watch; what the processes used before does not count. `broker` is left out of the machine's.
    pub fn start(processes: Processes, broker: u32) -> Watch {
        let processes = Arc::new(Mutex::new(processes));
        let stop = Arc::new(AtomicBool::new(false));
        let (watched, stopped) = (Arc::clone(&processes), Arc::clone(&stop));
        let begun = Samples::take(&watched, broker);
        let thread = std::thread::spawn(move || {
            let mut samples = begun;
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(SAMPLE_INTERVAL);
                samples.look(&watched);
            }
            samples.used(broker)
        });
        Watch {
            processes,
            stop,
            thread,
        }
    }

    /// From now on these are the processes, for instance after a restart. A new one counts from its beginning.
    pub fn set(&self, processes: Processes) {
        if let Ok(mut watched) = self.processes.lock() {
            *watched = processes;
        }
    }

    /// Ends the watch.
    pub fn stop(self) -> Used {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// CPU seconds of each process: at the first look and at the last.
struct Samples {
    first: BTreeMap<u32, f64>,
    last: BTreeMap<u32, (f64, bool)>,
    peak_rss_bytes: u64,
    machine: f64,
    broker: f64,
    own: f64,
}

impl Samples {
    fn take(processes: &Mutex<Processes>, broker: u32) -> Samples {
        let mut samples = Samples {
            first: BTreeMap::new(),
            last: BTreeMap::new(),
            peak_rss_bytes: 0,
            machine: machine_seconds(),
            broker: cpu_seconds(broker).unwrap_or(0.0),
            own: cpu_seconds(std::process::id()).unwrap_or(0.0),
        };
        samples.look(processes);
        samples.first = samples
            .last
            .iter()
            .map(|(&pid, &(s, _))| (pid, s))
            .collect();
        samples
    }

    fn look(&mut self, processes: &Mutex<Processes>) {
        let Ok(processes) = processes.lock().map(|p| p.clone()) else {
            return;
        };
        let workers = processes.workers.iter().map(|&pid| (pid, true));
        let coordinators = processes.coordinators.iter().map(|&pid| (pid, false));
        let mut rss = 0;
        for (pid, works) in workers.chain(coordinators) {
            if let Some(seconds) = cpu_seconds(pid) {
                self.last.insert(pid, (seconds, works));
            }
            rss += resident_bytes(pid);
        }
        self.peak_rss_bytes = self.peak_rss_bytes.max(rss);
    }

    fn used(self, broker: u32) -> Used {
        let sum = |of_workers: bool| -> f64 {
            let of = self
                .last
                .iter()
                .filter(|(_, (_, works))| *works == of_workers);
            of.map(|(pid, (seconds, _))| seconds - self.first.get(pid).copied().unwrap_or(0.0))
                .sum()
        };
        let elsewhere = |pid, before| cpu_seconds(pid).map_or(0.0, |now| now - before);
        Used {
            cpu_seconds: sum(true),
            coordinator_cpu_seconds: sum(false),
            machine_cpu_seconds: machine_seconds()
                - self.machine
                - elsewhere(broker, self.broker)
                - elsewhere(std::process::id(), self.own),
            peak_rss_bytes: self.peak_rss_bytes,
        }
    }
}

/// CPU seconds and resident bytes of processes, up to now; of those that live.
pub fn used_so_far(processes: &Processes) -> (f64, u64) {
    let all = processes.workers.iter().chain(&processes.coordinators);
    all.fold((0.0, 0), |(seconds, bytes), &pid| {
        (
            seconds + cpu_seconds(pid).unwrap_or(0.0),
            bytes + resident_bytes(pid),
        )
    })
}

/// User and system time of a process that lives.
fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name in parentheses: state is field 3, utime and stime are 14 and 15.
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

fn resident_bytes(pid: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|p| p.parse().ok());
    pages.unwrap_or(0u64) * PAGE_BYTES
}

/// All CPU time of the machine that was not idle.
fn machine_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let Some(line) = stat.lines().next() else {
        return 0.0;
    };
    let ticks: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|t| t.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; stolen time is nobody's here.
    let busy = [0, 1, 2, 5, 6].into_iter().filter_map(|at| ticks.get(at));
    busy.sum::<f64>() / TICKS_PER_SECOND
}
