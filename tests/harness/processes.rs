//! Processes by their ids, as Linux tells of them.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::wait_until;

/// How long the kernel may take to end a killed process on a loaded machine.
const KILL_DEADLINE: Duration = Duration::from_secs(60);

/// Sends a signal; `false` when the process is gone.
pub fn signal(name: &str, pid: u32) -> bool {
    let sent = Command::new("sh")
        .args(["-c", "kill -s \"$0\" -- \"$1\"", name, &pid.to_string()])
        .stderr(Stdio::null())
        .status();
    sent.expect("run kill").success()
}

/// Whether a process is there and not a zombie.
pub fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}

/// Waits until all of them have ended.
pub fn wait_for_end(what: &str, pids: &[u32]) {
    wait_until(what, KILL_DEADLINE, || {
        (!pids.iter().any(|&pid| is_alive(pid))).then_some(())
    });
}

/// The processes that a launcher has started and that still run: index in the cluster, and id.
pub fn children(launcher: u32) -> Vec<(usize, u32)> {
    let text = fs::read_to_string(format!("/proc/{launcher}/task/{launcher}/children"));
    let mut found: Vec<(usize, u32)> = text
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .filter(|&pid| is_alive(pid))
        .filter_map(|pid| Some((index_of(pid)?, pid)))
        .collect();
    found.sort_unstable();
    found
}

/// The index after `-p`; 0 without one. `None` before the process has become the program.
fn index_of(pid: u32) -> Option<usize> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<&[u8]> = line.split(|&byte| byte == 0).collect();
    if !words.iter().any(|&word| word == b"run") {
        return None;
    }
    let Some(at) = words.iter().position(|&word| word == b"-p") else {
        return Some(0);
    };
    std::str::from_utf8(words.get(at + 1)?).ok()?.parse().ok()
}

/// Resident memory in bytes; 0 when the process is gone.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib << 10)
}
