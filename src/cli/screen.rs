//! A terminal in which one picture follows another, until a key or a signal ends that; then it is as it was before.
//!
//! Safety: `tcgetattr`, `tcsetattr` and `ioctl(TIOCGWINSZ)` take the number of a descriptor, of which they say
//! themselves that it is no terminal, and a pointer to a value on our stack of the type that they fill in or read.
//! Both types are plain numbers, for which zeros are a value.
#![allow(unsafe_code)]

use std::io::{self, IsTerminal, Read, Write};
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use strandline_operators::{Error, Result};

/// How often signals and keys are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// The same for a terminal that waits for a key, in tenths of a second.
const LOOK_TENTHS: libc::cc_t = 1;
/// The alternate screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// The cursor, and the screen that was there before.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the corner: the next picture is drawn over the last, and does not flicker.
const HOME: &str = "\x1b[H";
/// The rest of the line, and of the screen, is empty.
const END_OF_LINE: &str = "\x1b[K";
const END_OF_SCREEN: &str = "\x1b[J";

/// What is put back, while a screen is open; in it, the settings of the terminal that keys are read from.
static BEFORE: Mutex<Option<Option<libc::termios>>> = Mutex::new(None);

/// The terminal, until the value is dropped.
#[derive(Debug)]
pub struct Screen {
    /// The signal that has come; 0 before.
    signal: Arc<AtomicUsize>,
    has_keys: bool,
}

/// Why pictures end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// `q`, or Ctrl-C: somebody has seen enough.
    Asked,
    /// Another signal, by its number.
    Signal(usize),
}

impl Leave {
    /// The exit status of a command that ends for this; `None` for 0.
    pub fn exit_status(self) -> Option<u8> {
        match self {
            Leave::Asked => None,
            Leave::Signal(number) => u8::try_from(128 + number).ok(),
        }
    }
}

impl Screen {
    /// Takes the terminal of standard output; `None` when it is none. Keys are those of standard input.
    ///
    /// # Errors
    /// The system refuses a handler of signals.
    pub fn open() -> Result<Option<Screen>> {
        if !io::stdout().is_terminal() {
            return Ok(None);
        }
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register_usize(number, Arc::clone(&signal), number as usize)
                .map_err(|e| Error::internal(format!("cannot handle signal {number}: {e}")))?;
        }
        let before = io::stdin().is_terminal().then(hear_keys).flatten();
        *open_screen() = Some(before);
        let screen = Screen {
            signal,
            has_keys: before.is_some(),
        };
        write(ENTER)?;
        Ok(Some(screen))
    }

    /// Shows a picture, as much of it as fits, and a last line below it.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn show(&self, picture: &str, last_line: &str) -> Result<()> {
        let (rows, columns) = size();
        write(&frame(picture, last_line, rows, columns))
    }

    /// Waits for the next picture's time, or for what ends them.
    pub fn wait(&self, time: Duration) -> Option<Leave> {
        let until = Instant::now() + time;
        let mut keys = [0; 64];
        loop {
            match self.signal.load(Ordering::Relaxed) {
                0 => {}
                number if number == SIGINT as usize => return Some(Leave::Asked),
                number => return Some(Leave::Signal(number)),
            }
            // A terminal with keys waits itself, until there is one or its time is over.
            let pressed = match self.has_keys {
                true => io::stdin().lock().read(&mut keys).ok(),
                false => None,
            };
            match pressed {
                Some(n) if keys[..n].iter().any(|key| matches!(key, b'q' | b'Q')) => {
                    return Some(Leave::Asked);
                }
                Some(_) => {}
                None => std::thread::sleep(LOOK_INTERVAL),
            }
            if Instant::now() >= until {
                return None;
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// Gives the terminal back, if a screen is open: for whoever ends the process without unwinding, too.
pub fn leave() {
    if let Some(before) = open_screen().take() {
        // A terminal that is gone needs nothing back.
        let _ = write(LEAVE);
        if let Some(settings) = before {
            set(&settings);
        }
    }
}

fn open_screen() -> std::sync::MutexGuard<'static, Option<Option<libc::termios>>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| Error::unreachable(format!("cannot write to the terminal: {e}")))
}

/// A picture, over the one before: at most `rows` lines of less than `columns` characters, as none may wrap.
fn frame(picture: &str, last_line: &str, rows: usize, columns: usize) -> String {
    let room = rows.saturating_sub(1);
    let hidden = picture.lines().count().saturating_sub(room);
    let more = match hidden {
        0 => String::new(),
        1 => " (one more line does not fit)".to_owned(),
        more => format!(" ({more} more lines do not fit)"),
    };
    let last_line = format!("{last_line}{more}");
    let mut text = HOME.to_owned();
    for line in picture.lines().take(room) {
        text.extend(line.chars().take(columns.saturating_sub(1)));
        text.push_str(END_OF_LINE);
        text.push_str("\r\n");
    }
    text.extend(last_line.chars().take(columns.saturating_sub(1)));
    text.push_str(END_OF_LINE);
    text.push_str(END_OF_SCREEN);
    text
}

/// Rows and columns of the terminal; room for everything where it does not tell.
fn size() -> (usize, usize) {
    // SAFETY: see the module's documentation.
    let (told, size) = unsafe {
        let mut size: libc::winsize = mem::zeroed();
        let told = libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size);
        (told, size)
    };
    let of = |told_of: libc::c_ushort| match told_of {
        0 => usize::MAX,
        n => usize::from(n),
    };
    match told {
        0 => (of(size.ws_row), of(size.ws_col)),
        _ => (usize::MAX, usize::MAX),
    }
}

/// Has each key heard at once and not shown, and returns the settings before. `None` when that cannot be had.
fn hear_keys() -> Option<libc::termios> {
    // SAFETY: see the module's documentation.
    let (told, before) = unsafe {
        let mut before: libc::termios = mem::zeroed();
        let told = libc::tcgetattr(libc::STDIN_FILENO, &raw mut before);
        (told, before)
    };
    if told != 0 {
        return None;
    }
    let mut settings = before;
    // Ctrl-C stays a signal.
    settings.c_lflag &= !(libc::ICANON | libc::ECHO);
    settings.c_cc[libc::VMIN] = 0;
    settings.c_cc[libc::VTIME] = LOOK_TENTHS;
    // Whoever is stopped would leave the terminal like this: Ctrl-Z and Ctrl-\ are keys like others.
    settings.c_cc[libc::VSUSP] = libc::_POSIX_VDISABLE;
    settings.c_cc[libc::VQUIT] = libc::_POSIX_VDISABLE;
    set(&settings);
    Some(before)
}

/// A terminal that does not take the settings keeps those that it has.
fn set(settings: &libc::termios) {
    // SAFETY: see the module's documentation.
    unsafe {
        libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, settings);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a frame, without what moves the cursor.
    fn lines(frame: &str) -> Vec<String> {
        let text = frame.replace(HOME, "").replace(END_OF_SCREEN, "");
        let text = text.replace(END_OF_LINE, "");
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_picture_that_does_not_fit_says_so() {
        let whole = frame("a\nb\n", "end", usize::MAX, usize::MAX);
        assert_eq!(lines(&whole), ["a", "b", "end"]);
        let exact = frame("a\nb\n", "end", 3, 80);
        assert_eq!(lines(&exact), ["a", "b", "end"]);
        let cut = frame("abcdef\nb\nc\n", "end", 2, 5);
        assert_eq!(lines(&cut), ["abcd", "end "]);
        let cut = frame("abcdef\nb\nc\n", "end", 2, 80);
        assert_eq!(lines(&cut), ["abcdef", "end (2 more lines do not fit)"]);
        let none = frame("a\n", "end", 0, 0);
        assert_eq!(lines(&none), [""; 0]);
    }

    #[test]
    fn only_a_person_who_has_seen_enough_ends_it_with_0() {
        assert_eq!(Leave::Asked.exit_status(), None);
        let terminated = Leave::Signal(SIGTERM as usize);
        assert_eq!(terminated.exit_status(), Some(143));
    }
}
