//! Supervision: the processes of a job on this host, started together and, when one of them fails, ended
//! together and started again from the table.
//!
//! The unit of failure is the cluster: a process that lost a peer cannot tell a slow one from a dead one,
//! and the table, not the survivors, knows where to go on.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use strandline_operators::{Error, ErrorKind, Result};

use super::restarts::{Next, RestartPolicy, Restarts};
use super::supervised::Line;
use crate::engine::interrupt::Interrupt;
use crate::status::board::Board;

/// How often the processes are looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long the others may go on after the first has ended well. A drain ends all within moments.
const STRAGGLER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the others are watched after the first bad end. Processes that lost a peer say so at once;
/// the one that knows why may take a moment longer.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The signal that `terminate` sends.
const SIGTERM: i32 = 15;

/// What to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Arguments before and including `run JOB`, and those after it that every process gets.
    pub arguments: Vec<String>,
    /// Processes.
    pub processes: usize,
    /// When to start again.
    pub restart: RestartPolicy,
    /// The job's name, for messages.
    pub job: String,
}

/// How a cluster ended.
enum Ended {
    /// All processes ended well, or were drained by a signal with this exit status.
    Well(Option<u8>),
    /// One failed; of several, the one that says most.
    Failed {
        process: usize,
        status: ExitStatus,
        /// In its own words, when it had any.
        cause: Option<String>,
    },
}

/// Runs the cluster until it ends well, or has failed too often; what its processes say is shown on `board`.
/// Returns the exit status that a signal
/// asks for, if one ended it.
///
/// # Errors
/// The failure of the last attempt, or at once one that another attempt cannot help.
pub fn supervise(launch: &Launch, interrupt: &Interrupt, board: &Board) -> Result<Option<u8>> {
    let mut restarts = Restarts::new(launch.restart);
    loop {
        let started = Instant::now();
        let (process, status, cause) = match run_cluster(launch, interrupt, board)? {
            Ended::Well(code) => return Ok(code),
            Ended::Failed {
                process,
                status,
                cause,
            } => (process, status, cause),
        };
        let kind = kind_of(status);
        let mut failure = format!(
            "process {process} of job {} failed ({})",
            launch.job,
            describe(status)
        );
        if let Some(cause) = cause {
            failure.push_str(": ");
            failure.push_str(&cause);
        }
        let (restart, of, delay) = match restarts.after(kind, started.elapsed()) {
            Next::Again { restart, of, delay } if !interrupt.is_raised() => (restart, of, delay),
            Next::GiveUp { restarts } if !interrupt.is_raised() => {
                return Err(Error::new(kind, format!("{failure}; gave up after {restarts} restarts"))
                    .hint("its own message is above; `restart.attempts` and `restart.delay` say how often and when it is tried"));
            }
            _ => return Err(Error::new(kind, failure).hint("its own message is above")),
        };
        board.restarting(&failure, started.elapsed());
        let at = (chrono::Utc::now() + delay).format("%Y-%m-%dT%H:%M:%SZ");
        tracing::warn!(
            job = launch.job,
            restart,
            of,
            "{failure}; trying again from the table at {at}, in {} s: restart {restart} of {of}",
            delay.as_secs_f64()
        );
        let until = Instant::now() + delay;
        while Instant::now() < until {
            if interrupt.is_raised() || interrupt.is_cancelled() {
                return Ok(interrupt.exit_code());
            }
            std::thread::sleep(POLL_INTERVAL.min(until.saturating_duration_since(Instant::now())));
        }
    }
}

/// The processes of one attempt; whatever happens, none outlives this value.
struct Processes {
    children: Vec<Child>,
    lines: Vec<Line>,
    hostfile: PathBuf,
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Already ended children refuse the signal; that is what we want of them anyway.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_file(&self.hostfile);
    }
}

fn run_cluster(launch: &Launch, interrupt: &Interrupt, board: &Board) -> Result<Ended> {
    let hostfile = write_hostfile(launch.processes)?;
    let mut processes = Processes {
        children: Vec::new(),
        lines: Vec::new(),
        hostfile,
    };
    for process in 0..launch.processes {
        let (child, line) = start(launch, process, &processes.hostfile)
            .map_err(|e| Error::internal(format!("cannot start process {process}: {e}")))?;
        processes.children.push(child);
        processes.lines.push(line);
    }
    let mut told = false;
    let mut first_end: Option<Instant> = None;
    // The processes that have ended, in the order in which that was found.
    let mut ended: Vec<(usize, ExitStatus)> = Vec::new();
    let mut first_bad: Option<Instant> = None;
    loop {
        if interrupt.is_cancelled() {
            // They are killed when they are dropped.
            return Ok(Ended::Well(None));
        }
        if interrupt.is_raised() && !told {
            told = true;
            for (process, child) in processes.children.iter().enumerate() {
                if ended.iter().all(|&(known, _)| known != process) {
                    terminate(child);
                }
            }
        }
        let Processes {
            children, lines, ..
        } = &mut processes;
        for (process, (child, line)) in children.iter_mut().zip(lines).enumerate() {
            if ended.iter().any(|&(known, _)| known == process) {
                continue;
            }
            if line.listen(Instant::now()) {
                tracing::warn!(process, job = launch.job, "a process hangs, it is killed");
                // SIGKILL ends a stopped process too. One that has ended meanwhile refuses it.
                let _ = child.kill();
            }
            let status = child
                .try_wait()
                .map_err(|e| Error::internal(format!("cannot watch process {process}: {e}")))?;
            if status.is_some() {
                // What it said last.
                line.listen(Instant::now());
            }
            if let Some(facts) = line.facts() {
                board.tell(facts);
            }
            let Some(status) = status else { continue };
            ended.push((process, status));
            first_end.get_or_insert_with(Instant::now);
            if status.code() != Some(0) && !(told && has_drained(status)) {
                first_bad.get_or_insert_with(Instant::now);
            }
        }
        let all = ended.len() == launch.processes;
        if all || first_bad.is_some_and(|at| at.elapsed() >= LAST_WORDS) {
            if let Some((process, status)) = failure(&ended, told) {
                return Ok(Ended::Failed {
                    process,
                    status,
                    cause: processes.lines[process].cause(),
                });
            }
            // One that was gone before it could drain: the dataflow was never there, or is no more.
            if all || ended.iter().any(|&(_, status)| !has_drained(status)) {
                return Ok(Ended::Well(if told { interrupt.exit_code() } else { None }));
            }
        }
        if first_end.is_some_and(|at| at.elapsed() > STRAGGLER_TIMEOUT) {
            if told {
                // One that has drained left only when all was durable.
                return Ok(Ended::Well(interrupt.exit_code()));
            }
            return Err(Error::internal(
                "a process goes on although another one has ended",
            ));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// A host file with a free port of this host for every process. The ports are free now; a process that
/// finds its own taken ends with an error and the cluster is started again on others.
fn write_hostfile(processes: usize) -> Result<PathBuf> {
    let fail = |e: io::Error| {
        Error::internal(format!(
            "cannot find free ports for {processes} processes: {e}"
        ))
    };
    let ports = super::ports::free(processes).map_err(fail)?;
    let lines: String = ports.iter().map(|p| format!("127.0.0.1:{p}\n")).collect();
    let path = std::env::temp_dir().join(format!("strandline-hosts-{}", uuid::Uuid::new_v4()));
    std::fs::write(&path, lines).map_err(fail)?;
    Ok(path)
}

fn start(launch: &Launch, process: usize, hostfile: &Path) -> io::Result<(Child, Line)> {
    let (line, stdin) = Line::open()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(&launch.arguments);
    if launch.processes > 1 {
        command
            .arg("-n")
            .arg(launch.processes.to_string())
            .arg("-p")
            .arg(process.to_string());
        command.arg("--hostfile").arg(hostfile);
    }
    // Its own group, so that a Ctrl-C at the terminal reaches it once, through us.
    command.process_group(0);
    crate::engine::parent::die_with_parent(&mut command);
    Ok((command.stdin(stdin).spawn()?, line))
}

fn terminate(child: &Child) {
    crate::engine::parent::terminate(child.id());
}

/// Whether a process ended in order: all done, or with the status that follows a signal.
fn has_drained(status: ExitStatus) -> bool {
    matches!(status.code(), Some(0 | 130 | 143))
}

/// Whether a signal ended a process, in order or before it had a handler.
fn is_by_signal(status: ExitStatus) -> bool {
    matches!(status.code(), Some(130 | 143)) || status.signal() == Some(SIGTERM)
}

/// Which of the processes that have ended says best why the cluster failed, if it did; `ended` is in the
/// order of their ends, `told` says whether we asked them to end.
///
/// A process that lost a peer knows less than the peer, so "unreachable" comes last. It is no failure at
/// all when we told them to end and the peer did so before the dataflow stood.
fn failure(ended: &[(usize, ExitStatus)], told: bool) -> Option<(usize, ExitStatus)> {
    let signalled = told && ended.iter().any(|&(_, status)| is_by_signal(status));
    let telling = |status: ExitStatus| match kind_of(status) {
        ErrorKind::Refused => 0,
        ErrorKind::Configuration => 1,
        ErrorKind::Internal => 2,
        ErrorKind::Unreachable => 3,
    };
    ended
        .iter()
        .copied()
        .filter(|&(_, status)| status.code() != Some(0) && !(told && is_by_signal(status)))
        .filter(|&(_, status)| !(signalled && kind_of(status) == ErrorKind::Unreachable))
        .min_by_key(|&(_, status)| telling(status))
}

fn kind_of(status: ExitStatus) -> ErrorKind {
    match status.code() {
        Some(2) => ErrorKind::Configuration,
        Some(3) => ErrorKind::Unreachable,
        Some(4) => ErrorKind::Refused,
        _ => ErrorKind::Internal,
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "unknown status".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    fn signal(number: i32) -> ExitStatus {
        ExitStatus::from_raw(number)
    }

    /// The process that failed, of processes that ended in this order, numbered by it.
    fn failed(statuses: &[ExitStatus], told: bool) -> Option<usize> {
        let ended: Vec<_> = statuses.iter().copied().enumerate().collect();
        failure(&ended, told).map(|(process, _)| process)
    }

    #[test]
    fn the_process_that_knows_the_cause_is_believed_not_the_first_that_lost_it() {
        let (lost, internal, configuration, refused) = (exit(3), exit(1), exit(2), exit(4));
        assert_eq!(failed(&[lost, refused], false), Some(1));
        assert_eq!(failed(&[lost, lost, signal(9)], false), Some(2));
        assert_eq!(failed(&[lost, internal, configuration], false), Some(2));
        assert_eq!(
            failed(&[internal, configuration, refused, lost], false),
            Some(2)
        );
        assert_eq!(failed(&[lost, exit(0), lost], false), Some(0));
        assert_eq!(failed(&[internal, signal(11)], false), Some(0));
    }

    #[test]
    fn who_ends_because_we_said_so_has_not_failed() {
        for told in [exit(0), exit(130), exit(143), signal(15)] {
            assert_eq!(failed(&[told, exit(143)], true), None);
        }
        // Lost a peer that was told to end before the dataflow stood.
        assert_eq!(failed(&[signal(15), exit(3)], true), None);
        assert_eq!(failed(&[exit(3), exit(143)], true), None);
    }

    #[test]
    fn a_failure_while_draining_is_one() {
        assert_eq!(failed(&[exit(143), exit(1)], true), Some(1));
        assert_eq!(failed(&[signal(15), exit(4)], true), Some(1));
        assert_eq!(failed(&[exit(3), exit(3)], true), Some(0));
        assert_eq!(failed(&[exit(3), exit(0)], true), Some(0));
        assert_eq!(failed(&[signal(9), exit(143)], true), Some(0));
    }

    #[test]
    fn a_signal_from_somebody_else_is_a_failure() {
        for status in [exit(143), exit(130), signal(15)] {
            assert_eq!(failed(&[exit(0), status], false), Some(1));
        }
    }
}
