//! Threads of which one runs at a time: whichever the scheduler gives the turn to.
//!
//! So everything that happens in a simulation happens in an order that the seed decides, although timely's
//! workers need threads of their own.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

/// What a thread says when it gives its turn back.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Worked,
    /// It found nothing to do.
    Idle,
    /// It wants no turn before so much time has passed.
    Sleeps(Duration),
    Ended,
    /// A defect.
    Panicked(String),
}

enum Go {
    Run,
    Die,
}

struct Turn {
    go: Receiver<Go>,
    said: Sender<Said>,
}

thread_local! {
    static TURN: RefCell<Option<Turn>> = const { RefCell::new(None) };
    /// Set once the thread is to end.
    static IS_KILLED: Cell<bool> = const { Cell::new(false) };
}

/// What a thread unwinds with that was killed in the middle of something.
struct Killed;

/// A thread, as the scheduler holds it.
pub struct Thread {
    pub name: String,
    go: Sender<Go>,
    said: Receiver<Said>,
    handle: Option<JoinHandle<()>>,
}

/// Waits for the first turn; false when the thread is to end without one.
pub fn first_turn() -> bool {
    TURN.with_borrow(|turn| {
        let turn = turn.as_ref().expect("a thread of the simulation");
        matches!(turn.go.recv(), Ok(Go::Run))
    })
}

/// Gives the turn back and waits for the next one; false when the thread is to end.
pub fn next_turn(said: Said) -> bool {
    if IS_KILLED.get() {
        return false;
    }
    TURN.with_borrow(|turn| {
        let turn = turn.as_ref().expect("a thread of the simulation");
        let goes_on = turn.said.send(said).is_ok() && matches!(turn.go.recv(), Ok(Go::Run));
        IS_KILLED.set(!goes_on);
        goes_on
    })
}

/// As [`next_turn`], from the middle of something: a killed thread never comes back from here.
pub fn give_way(said: Said) {
    if !next_turn(said) {
        resume_unwind(Box::new(Killed));
    }
}

/// A place among those who take turns.
pub struct Seat(Turn);

impl Seat {
    /// Runs a body that begins with [`first_turn`] on this very thread.
    pub fn run(self, body: impl FnOnce()) {
        let last_word = self.0.said.clone();
        TURN.set(Some(self.0));
        let word = match catch_unwind(AssertUnwindSafe(body)) {
            Ok(()) => Said::Ended,
            Err(payload) if payload.is::<Killed>() => Said::Ended,
            Err(payload) => Said::Panicked(
                payload
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()))
                    .unwrap_or_default(),
            ),
        };
        let _ = last_word.try_send(word);
    }
}

impl Thread {
    /// A thread whose body begins with [`first_turn`].
    pub fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> Thread {
        let (mut thread, seat) = Thread::seat(name);
        thread.handle = Some(std::thread::spawn(move || seat.run(body)));
        thread
    }

    /// For a thread that somebody else starts, to run in the seat.
    pub fn seat(name: String) -> (Thread, Seat) {
        let (go, turns) = bounded(1);
        let (say, said) = bounded(1);
        let thread = Thread {
            name,
            go,
            said,
            handle: None,
        };
        let seat = Seat(Turn {
            go: turns,
            said: say,
        });
        (thread, seat)
    }

    /// Lets it run until it gives the turn back.
    pub fn turn(&mut self) -> Said {
        if self.go.send(Go::Run).is_err() {
            return Said::Ended;
        }
        self.said.recv().unwrap_or(Said::Ended)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if self.go.try_send(Go::Die).is_ok() {
            // Until it has let go of everything: what it lets go of, others notice.
            while let Ok(word) = self.said.recv() {
                if matches!(word, Said::Ended | Said::Panicked(_)) {
                    break;
                }
            }
        }
        if let Some(handle) = self.handle.take() {
            let _ = handle.join();
        }
    }
}
