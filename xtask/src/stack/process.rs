//! A service's process, as its folder remembers it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Result;
use crate::command::run;
use crate::places;

/// How long a service may take to end in good order; a broker hands over its partitions first.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// How long the kernel may take to end a killed process.
const KILL_DEADLINE: Duration = Duration::from_secs(10);
/// How often a condition is looked at.
pub const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A process that was started for a service, perhaps long ago. It leads a process group of its own.
#[derive(Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// When it started, in this boot: the same id with another start is another process.
    pub started: String,
    /// The ports that the service was given.
    pub ports: Vec<u16>,
}

impl Process {
    /// The process of `pid`, which is alive.
    pub fn started(pid: u32, ports: &[u16]) -> Result<Process> {
        let started = start_of(pid).ok_or_else(|| format!("process {pid} ended at once"))?;
        Ok(Process {
            pid,
            started,
            ports: ports.to_vec(),
        })
    }

    /// The process that the service's folder remembers.
    pub fn of(folder: &Path) -> Option<Process> {
        Process::parse(&fs::read_to_string(folder.join("process")).ok()?)
    }

    /// Writes it into the service's folder.
    pub fn remember(&self, folder: &Path) -> Result {
        places::write_file(&folder.join("process"), &self.format())
    }

    fn format(&self) -> String {
        let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
        format!("{}\n{}\n{}\n", self.pid, self.started, ports.join(" "))
    }

    fn parse(text: &str) -> Option<Process> {
        let mut lines = text.lines();
        let pid = lines.next()?.parse().ok()?;
        let started = lines.next()?.to_owned();
        let ports = lines
            .next()?
            .split(' ')
            .map(|port| port.parse().ok())
            .collect::<Option<_>>()?;
        Some(Process {
            pid,
            started,
            ports,
        })
    }

    /// Whether it still runs: it, and not a later process that got its id.
    pub fn is_alive(&self) -> bool {
        start_of(self.pid).is_some_and(|started| started == self.started)
    }

    /// Ends it in good order, or by force when that takes too long.
    pub fn stop(&self) -> Result {
        self.signal("TERM")?;
        if self.has_ended_within(STOP_DEADLINE) {
            Ok(())
        } else {
            self.kill()
        }
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&self) -> Result {
        self.signal("KILL")?;
        if self.has_ended_within(KILL_DEADLINE) {
            return Ok(());
        }
        Err(format!(
            "process {} still runs {} s after SIGKILL",
            self.pid,
            KILL_DEADLINE.as_secs()
        ))
    }

    fn signal(&self, signal: &str) -> Result {
        if !self.is_alive() {
            return Ok(());
        }
        // The shell's own `kill`, because a small Debian has no other. The group: a JVM may have children.
        let sent = run(Command::new("sh").args([
            "-c",
            "kill -s \"$0\" -- \"-$1\"",
            signal,
            &self.pid.to_string(),
        ]));
        if self.is_alive() { sent } else { Ok(()) }
    }

    fn has_ended_within(&self, deadline: Duration) -> bool {
        let begin = Instant::now();
        while self.is_alive() {
            if begin.elapsed() > deadline {
                return false;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        true
    }
}

/// When the process started: the boot, and the clock ticks since. `None` when it is gone or a zombie.
fn start_of(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Some(format!("{} {}", boot.trim(), start_ticks(&stat)?))
}

/// The 22nd field of `/proc/PID/stat`. The second, the program's name, may hold spaces and parentheses.
fn start_ticks(stat: &str) -> Option<&str> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        None
    } else {
        fields.nth(18)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_found_whatever_the_name_of_the_program() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 4242 99 100";
        assert_eq!(start_ticks(stat), Some("4242"));
        assert_eq!(start_ticks(&stat.replace(" S ", " Z ")), None);
    }

    #[test]
    fn a_process_is_told_from_a_later_one_of_the_same_id() {
        let this = Process::started(std::process::id(), &[1, 2]).unwrap();
        assert!(this.is_alive());
        let earlier = Process {
            started: format!("{}0", this.started),
            ..this
        };
        assert!(!earlier.is_alive());
    }

    #[test]
    fn what_is_remembered_is_what_was_known() {
        let process = Process {
            pid: 7,
            started: "boot 42".to_owned(),
            ports: vec![9092, 9093],
        };
        assert_eq!(Process::parse(&process.format()), Some(process));
        assert_eq!(Process::parse("7\n"), None);
    }
}
