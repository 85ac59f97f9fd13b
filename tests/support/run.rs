//! Runs of the program, with a deadline, and with every way to end one.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::unique;
use super::wait::POLL_INTERVAL;

/// Characters of standard error that a failure shows.
const SHOWN_CHARS: usize = 8000;

/// Starts `strandline ARGS` in a folder; its configuration is the folder's `strandline.yaml`.
#[track_caller]
pub fn spawn(folder: &Path, args: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strandline"));
    command.args(args).env_remove("STRANDLINE_CONFIG");
    Running::spawn(command, folder)
}

/// A program that runs. Killed, with its children, when the value is dropped.
pub struct Running {
    line: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// The command line.
    pub line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it logged.
    pub stderr: String,
}

impl Running {
    /// Starts any command in a folder, in a process group of its own.
    #[track_caller]
    pub fn spawn(command: Command, folder: &Path) -> Running {
        Running::start(command, folder, Stdio::null())
    }

    /// The same, with a standard input into which the test writes.
    #[track_caller]
    pub fn spawn_fed(command: Command, folder: &Path) -> (Running, ChildStdin) {
        let mut running = Running::start(command, folder, Stdio::piped());
        let input = running.child.stdin.take().expect("a pipe");
        (running, input)
    }

    #[track_caller]
    fn start(mut command: Command, folder: &Path, stdin: Stdio) -> Running {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line = words
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");
        // Into files, so that a program that prints much never waits for us.
        let output = unique("output");
        let (stdout, stderr) = (
            folder.join(format!("{output}.stdout")),
            folder.join(format!("{output}.stderr")),
        );
        let child = command
            .current_dir(folder)
            .process_group(0)
            .stdin(stdin)
            .stdout(File::create(&stdout).expect("a file for standard output"))
            .stderr(File::create(&stderr).expect("a file for standard error"))
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run `{line}`: {e}"));
        Running {
            line,
            child,
            stdout,
            stderr,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processes that it has started and that it has not heard the end of.
    pub fn children(&self) -> Vec<u32> {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it has logged so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait for a child").is_none()
    }

    /// Asks it to drain and end (SIGTERM).
    #[track_caller]
    pub fn terminate(&self) {
        signal("TERM", &self.pid().to_string());
    }

    /// Kills this process, but not its children (SIGKILL), and returns when it is gone.
    pub fn kill_9(mut self) -> Finished {
        self.child.kill().expect("kill a child");
        let status = self.child.wait().expect("wait for a child");
        self.finished(status)
    }

    /// Waits for its end; at the deadline it is killed and the test fails.
    #[track_caller]
    pub fn wait(mut self, deadline: Duration) -> Finished {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for a child") {
                return self.finished(status);
            }
            if begin.elapsed() > deadline {
                let stderr = self.stderr();
                panic!(
                    "`{}` still ran after {deadline:?}; it logged\n{}",
                    self.line,
                    tail(&stderr)
                );
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn finished(&self, status: ExitStatus) -> Finished {
        Finished {
            line: self.line.clone(),
            status,
            stdout: read(&self.stdout),
            stderr: read(&self.stderr),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal("KILL", &format!("-{}", self.pid()));
            let _ = self.child.wait();
        }
    }
}

impl Finished {
    /// Asserts its exit status.
    #[track_caller]
    pub fn expect_exit(self, code: i32) -> Finished {
        let Finished {
            line,
            status,
            stderr,
            ..
        } = &self;
        assert_eq!(
            status.code(),
            Some(code),
            "`{line}` ended with {status}; it logged\n{}",
            tail(stderr)
        );
        self
    }

    /// What it printed with `--json`: one document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| {
            panic!(
                "`{}` printed no JSON document: {e}\n{}",
                self.line,
                tail(&self.stdout)
            )
        })
    }
}

/// Sends a signal to a process, or with a leading `-` to a process group.
#[track_caller]
pub fn signal(signal: &str, target: &str) {
    // The shell's own `kill`: std has none, and unsafe code for it is not worth it.
    let sent = Command::new("sh")
        .args(["-c", "kill -s \"$0\" -- \"$1\"", signal, target])
        .status();
    assert!(
        sent.is_ok_and(|status| status.success()),
        "cannot send SIG{signal} to {target}"
    );
}

fn read(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn tail(text: &str) -> String {
    let skipped = text.chars().count().saturating_sub(SHOWN_CHARS);
    text.chars().skip(skipped).collect()
}
