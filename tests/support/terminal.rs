//! A program in a terminal of its own, on which a test looks, and whose keys it presses.

use std::io::Write;
use std::process::ChildStdin;
use std::time::Duration;

use super::run::signal;
use super::{Finished, RomanNumerals, Running, client, wait_until};

/// Where a picture begins, and what ends each of its lines and the whole of it.
const HOME: &str = "\x1b[H";
const END_OF_LINE: &str = "\x1b[K";
const END_OF_SCREEN: &str = "\x1b[J";

/// A terminal. Its program is told that it is gone when the value is dropped.
pub struct Terminal {
    running: Running,
    keys: ChildStdin,
}

impl Terminal {
    /// Runs `strandline ARGS`, beside a job, in a terminal of this size.
    #[track_caller]
    pub fn open(job: &RomanNumerals, (rows, columns): (usize, usize), args: &[&str]) -> Terminal {
        let mut command = client("terminal.py");
        command
            .args([rows.to_string(), columns.to_string()])
            .arg(env!("CARGO_BIN_EXE_strandline"))
            .args(args)
            .env_remove("STRANDLINE_CONFIG");
        let (running, keys) = Running::spawn_fed(command, job.path());
        Terminal { running, keys }
    }

    /// The last whole picture, line by line; `None` before the first.
    pub fn picture(&self) -> Option<Vec<String>> {
        let shown = self.running.stdout();
        let (shown, _) = shown.rsplit_once(END_OF_SCREEN)?;
        let (_, picture) = shown.rsplit_once(HOME)?;
        // The terminal adds a return of its own to that of the program.
        let lines = picture.lines().map(|line| line.trim_end_matches('\r'));
        Some(lines.map(|line| line.replace(END_OF_LINE, "")).collect())
    }

    /// Waits for a picture of which this holds.
    #[track_caller]
    pub fn wait_for(
        &mut self,
        what: &str,
        deadline: Duration,
        is: impl Fn(&[String]) -> bool,
    ) -> Vec<String> {
        wait_until(what, deadline, || {
            assert!(
                self.running.is_running(),
                "it ended: {}{}",
                self.running.stdout(),
                self.running.stderr()
            );
            self.picture().filter(|picture| is(picture))
        })
    }

    /// Presses keys.
    #[track_caller]
    pub fn press(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).expect("the terminal is open");
        self.keys.flush().expect("the terminal is open");
    }

    /// Sends a signal to the program in the terminal.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let programs = self.running.children();
        assert_eq!(programs.len(), 1, "one program runs in a terminal");
        signal(name, &programs[0].to_string());
    }

    /// Waits for the end of the program. Its standard output is all that the terminal was told to show.
    #[track_caller]
    pub fn wait(self, deadline: Duration) -> Finished {
        self.running.wait(deadline)
    }
}
