//! The processes that a launcher has started, and what befalls them.

use std::fs;

use super::run::{Running, signal};

/// The processes that a launcher has started, oldest first: process 0 is the first.
pub fn children(launcher: &Running) -> Vec<u32> {
    let pid = launcher.pid();
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    text.unwrap_or_default()
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Whether a process is there and not a zombie.
pub fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}

/// Seconds that threads of a process have run on a processor, those of the names that `counts`. To the nanosecond:
/// the ticks of `stat` miss whoever runs for a moment at a time.
pub fn thread_seconds(pid: u32, counts: impl Fn(&str) -> bool) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
    let seconds = threads.flatten().filter_map(|thread| {
        // A thread may end meanwhile.
        let name = fs::read_to_string(thread.path().join("comm")).ok()?;
        let ran = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let nanoseconds: f64 = ran.split_whitespace().next()?.parse().ok()?;
        counts(name.trim()).then_some(nanoseconds / 1e9)
    });
    seconds.sum()
}

/// Stops a process (SIGSTOP): its sockets stay open, and it says nothing any more.
#[track_caller]
pub fn stop(pid: u32) {
    signal("STOP", &pid.to_string());
}

/// Lets a stopped process go on (SIGCONT).
#[track_caller]
pub fn go_on(pid: u32) {
    signal("CONT", &pid.to_string());
}
