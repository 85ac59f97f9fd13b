//! The line between `launch` and a process that it started: heartbeats, and the process' last words.
//!
//! It is the process' standard input, one end of a pair of sockets. A process that hangs with nobody to
//! notice (it is the only one, or all of them do) is found by its silence; what a process says before it
//! ends badly becomes the cause in the launcher's log; and its end tells the process that the launcher is
//! gone, should the system have forgotten to (`parent`).

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use strandline_operators::{Error, Result};

use super::heartbeat::{BEAT_INTERVAL, SILENCE_LIMIT};
use super::parent::exit_now;
use super::silence::Silence;
use crate::status::facts::ProcessFacts;

/// How long a process may take from its start to its first heartbeat: it reads the configuration.
const FIRST_BEAT_LIMIT: Duration = Duration::from_secs(60);
/// The longest last words that are kept.
const LAST_WORDS_BYTES: usize = 8 * 1024;

/// "I am here", and the end of any line.
const BEAT: u8 = b'\n';
/// How a line begins that holds [`ProcessFacts`] and not last words.
const FACTS: u8 = 1;

/// The process' end, once it has one.
static LINE: OnceLock<Mutex<UnixStream>> = OnceLock::new();

/// Begins to send heartbeats to the launcher that started this process.
///
/// # Errors
/// Standard input is not the launcher's line.
pub fn answer() -> Result<()> {
    let cannot = |e: io::Error| {
        Error::configuration(format!("cannot talk to the launcher of this process: {e}"))
            .hint("`--supervised` is for `launch`; leave it out")
    };
    let open = || -> io::Result<(UnixStream, UnixStream)> {
        let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        stream.set_write_timeout(Some(BEAT_INTERVAL))?;
        stream.set_read_timeout(Some(BEAT_INTERVAL))?;
        Ok((stream.try_clone()?, stream))
    };
    let (writes, reads) = open().map_err(cannot)?;
    if LINE.set(Mutex::new(writes)).is_err() {
        return Ok(());
    }
    send(&[BEAT]);
    std::thread::Builder::new()
        .name("heartbeat".to_owned())
        .spawn(move || beat(reads))
        .map_err(|e| Error::internal(format!("cannot start a thread for heartbeats: {e}")))?;
    Ok(())
}

/// Tells the launcher, if there is one, why this process ends.
pub fn last_words(error: &Error) {
    let line = error.message().replace('\n', " ");
    let end = line.floor_char_boundary(LAST_WORDS_BYTES);
    // On a line of its own, whatever was cut off before it.
    send(format!("\n{}\n", &line[..end]).as_bytes());
}

/// Whether there is a launcher, which shows the job.
pub fn has_launcher() -> bool {
    LINE.get().is_some()
}

/// Tells the launcher, if there is one, what this process knows.
pub fn tell(facts: &ProcessFacts) {
    let mut line = vec![FACTS];
    // Facts are plain data; what cannot be written is missed by people only.
    if serde_json::to_writer(&mut line, facts).is_ok() {
        line.push(BEAT);
        send(&line);
    }
}

fn send(bytes: &[u8]) {
    if let Some(line) = LINE.get() {
        let mut line = line.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // A launcher that is gone is seen by the thread that reads.
        let _ = line.write_all(bytes);
    }
}

fn beat(mut line: UnixStream) {
    let mut next_beat = Instant::now();
    loop {
        if Instant::now() >= next_beat {
            next_beat = Instant::now() + BEAT_INTERVAL;
            send(&[BEAT]);
        }
        match line.read(&mut [0; 8]) {
            Ok(0) => {
                crate::cli::output::print_error(
                    &Error::unreachable("the launcher of this process is gone")
                        .hint("launch the job again, it goes on from the table"),
                );
                exit_now(strandline_operators::ErrorKind::Unreachable.exit_code());
            }
            Ok(_) => {}
            Err(e)
                if matches!(
                    e.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            // Nothing more can be learned from it.
            Err(_) => return,
        }
    }
}

/// The launcher's end.
pub(super) struct Line {
    stream: UnixStream,
    unread: Vec<u8>,
    last_words: Option<String>,
    facts: Option<ProcessFacts>,
    silence: Silence,
    has_spoken: bool,
    hangs: bool,
}

impl Line {
    /// A line, and what the process is given as its standard input.
    pub(super) fn open() -> io::Result<(Line, Stdio)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let line = Line {
            stream: ours,
            unread: Vec::new(),
            last_words: None,
            facts: None,
            silence: Silence::new(Instant::now(), FIRST_BEAT_LIMIT),
            has_spoken: false,
            hangs: false,
        };
        Ok((line, Stdio::from(std::os::fd::OwnedFd::from(theirs))))
    }

    /// Hears what there is to hear; whether the process has just been found to hang.
    pub(super) fn listen(&mut self, now: Instant) -> bool {
        let heard = self.read();
        if heard && !self.has_spoken {
            self.has_spoken = true;
            self.silence.set_limit(SILENCE_LIMIT);
        }
        let hangs = self.silence.is_too_long(now, heard);
        let found = hangs && !self.hangs;
        self.hangs |= hangs;
        found
    }

    /// Why the process ended, in its own words or, if it was silent, in ours.
    pub(super) fn cause(&mut self) -> Option<String> {
        self.read();
        if self.hangs {
            return Some(format!(
                "it hung: it had said nothing for {} s, and was killed",
                self.silence.lasted().as_secs()
            ));
        }
        self.last_words.clone()
    }

    /// What the process has said of itself since this was last asked.
    pub(super) fn facts(&mut self) -> Option<ProcessFacts> {
        self.facts.take()
    }

    fn read(&mut self) -> bool {
        let mut heard = false;
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = self.stream.read(&mut buffer) {
            heard = true;
            self.unread.extend_from_slice(&buffer[..length]);
        }
        while let Some(end) = self.unread.iter().position(|&byte| byte == BEAT) {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            if let Some(facts) = line.strip_prefix(&[FACTS]) {
                // One that was cut off is replaced by the next.
                self.facts = serde_json::from_slice(facts).ok().or(self.facts.take());
                continue;
            }
            let line = String::from_utf8_lossy(&line[..end]).into_owned();
            if !line.is_empty() {
                self.last_words = Some(line);
            }
        }
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_told_apart_from_heartbeats() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        ours.set_nonblocking(true).expect("set");
        let start = Instant::now();
        let mut line = Line {
            stream: ours,
            unread: Vec::new(),
            last_words: None,
            facts: None,
            silence: Silence::new(start, FIRST_BEAT_LIMIT),
            has_spoken: false,
            hangs: false,
        };
        assert!(!line.listen(start));
        theirs.write_all(b"\n\n").expect("beats");
        assert!(!line.listen(start));
        assert_eq!(line.cause(), None);
        theirs.write_all(b"cannot reach").expect("half");
        assert_eq!(line.cause(), None, "it has not finished");
        theirs.write_all(b" Kafka\n\n").expect("the rest");
        assert_eq!(line.cause().as_deref(), Some("cannot reach Kafka"));
        let facts = ProcessFacts {
            process: 3,
            ..ProcessFacts::default()
        };
        let text = serde_json::to_string(&facts).expect("json");
        theirs
            .write_all(format!("\x01{text}\n\x01{{\"cut\n").as_bytes())
            .expect("facts");
        assert!(!line.listen(start));
        assert_eq!(line.facts(), Some(facts));
        assert_eq!(line.facts(), None, "told once");
        assert_eq!(line.cause().as_deref(), Some("cannot reach Kafka"));
        drop(theirs);
        let found = (1..=40)
            .map(|i| line.listen(start + Duration::from_millis(250) * i))
            .filter(|&found| found)
            .count();
        assert_eq!(found, 1, "found once");
        let cause = line.cause().unwrap_or_default();
        assert!(cause.starts_with("it hung"), "{cause}");
    }
}
