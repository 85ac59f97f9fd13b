//! Heartbeats between the processes of a job: one that hangs is found, although its sockets stay open.
//!
//! timely notices a peer whose connection is closed, but not one that is stopped, swapped out or cut off
//! without a word. So every process keeps one more connection to process 0, and both ends say something
//! every second, from the first handshake on and from a thread of their own: a long load of state or a
//! busy worker does not delay it. What a worker does is watched by its own process (`turns`).

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use strandline_operators::context::OnFailure;
use strandline_operators::observed::Observed;
use strandline_operators::{Error, Result};

use super::shared_facts::{Documents, END, SharedFacts};
use super::silence::Silence;

/// Read from a peer at a time.
const READ_BYTES: usize = 16 << 10;
/// How often a process says that it is there.
pub(crate) const BEAT_INTERVAL: Duration = Duration::from_secs(1);
/// Silence after which a process hangs. With the pause between two beats it is found within 10 s; eight
/// beats must be lost before a process that is merely slow is taken for one.
pub(crate) const SILENCE_LIMIT: Duration = Duration::from_secs(8);
/// How long a read waits before the clock is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How long after the end of a connection it is called an outage. Whoever is told of it by timely or the
/// handshake says it better, and at once.
const GONE_PATIENCE: Duration = Duration::from_secs(2);

/// "I am here."
const BEAT: u8 = b'.';
/// "I am here, and batches of mine wait for the schema registry."
const HELD_BACK: u8 = b'h';
/// "I end in order, do not wait for me."
const BYE: u8 = b'!';

/// How many of the peers hold batches back until the schema registry answers: that is why nothing becomes
/// durable, and nobody hangs.
#[derive(Clone, Debug, Default)]
pub struct PeersHeldBack(Arc<AtomicUsize>);

impl PeersHeldBack {
    /// How many.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One peer's part in the count; gives it back when dropped.
struct Counted {
    count: PeersHeldBack,
    is_in: bool,
}

impl Counted {
    fn set(&mut self, is_in: bool) {
        match (self.is_in, is_in) {
            (false, true) => self.count.0.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.count.0.fetch_sub(1, Ordering::Relaxed),
            _ => return,
        };
        self.is_in = is_in;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// The connections of this process by which it and its peers know that they are alive. Says goodbye when
/// dropped.
pub struct Heartbeats {
    job: String,
    on_failure: OnFailure,
    observed: Arc<Observed>,
    peers_held_back: PeersHeldBack,
    facts: SharedFacts,
    ending: Arc<AtomicBool>,
    sockets: Vec<TcpStream>,
}

impl Heartbeats {
    /// None yet. `on_failure` is called, from a thread, for a peer that hangs or is gone. Peers hear what
    /// `observed` says of batches held back, and `peers_held_back` what they say; `facts` go from them to process 0.
    pub(crate) fn new(
        job: &str,
        on_failure: OnFailure,
        observed: Arc<Observed>,
        peers_held_back: PeersHeldBack,
        facts: SharedFacts,
    ) -> Heartbeats {
        Heartbeats {
            job: job.to_owned(),
            on_failure,
            observed,
            peers_held_back,
            facts,
            ending: Arc::default(),
            sockets: Vec::new(),
        }
    }

    /// Exchanges heartbeats with a process from now on. A peer that has never said anything is the
    /// handshake's business.
    ///
    /// # Errors
    /// A socket that cannot be used.
    pub(crate) fn exchange(&mut self, peer: usize, socket: TcpStream) -> Result<()> {
        let cannot = |e: io::Error| {
            Error::unreachable(format!(
                "cannot exchange heartbeats with process {peer}: {e}"
            ))
        };
        socket
            .set_read_timeout(Some(LOOK_INTERVAL))
            .and_then(|()| socket.set_write_timeout(Some(BEAT_INTERVAL)))
            .and_then(|()| socket.set_nodelay(true))
            .map_err(cannot)?;
        self.sockets.push(socket.try_clone().map_err(cannot)?);
        let connection = Connection {
            job: self.job.clone(),
            peer,
            socket,
            ending: Arc::clone(&self.ending),
            observed: Arc::clone(&self.observed),
            facts: self.facts.clone(),
            held_back: Counted {
                count: self.peers_held_back.clone(),
                is_in: false,
            },
        };
        let on_failure = Arc::clone(&self.on_failure);
        std::thread::Builder::new()
            .name(format!("heartbeat-{peer}"))
            .spawn(move || {
                if let Some(error) = connection.run() {
                    on_failure(error);
                }
            })
            .map_err(|e| Error::internal(format!("cannot start a thread for heartbeats: {e}")))?;
        Ok(())
    }
}

impl Drop for Heartbeats {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        for socket in &mut self.sockets {
            // A peer that is gone needs no goodbye.
            // What may just be sent ends with it.
            let _ = socket.write_all(&[END, BYE]);
            let _ = socket.shutdown(Shutdown::Write);
        }
    }
}

struct Connection {
    job: String,
    peer: usize,
    socket: TcpStream,
    ending: Arc<AtomicBool>,
    observed: Arc<Observed>,
    facts: SharedFacts,
    held_back: Counted,
}

impl Connection {
    /// Until one of the two ends in order (`None`), or the peer does not.
    fn run(mut self) -> Option<Error> {
        let mut next_beat = Instant::now();
        let mut silence = Silence::new(next_beat, SILENCE_LIMIT);
        let mut gone: Option<Instant> = None;
        let mut has_spoken = false;
        let mut documents = Documents::default();
        loop {
            if Instant::now() >= next_beat && gone.is_none() {
                next_beat = Instant::now() + BEAT_INTERVAL;
                // A peer that is gone is seen by the read; one that reads nothing is silent too.
                let beat = match self.observed.held_back.load(Ordering::Relaxed) {
                    0 => BEAT,
                    _ => HELD_BACK,
                };
                if let Some(document) = self.facts.document() {
                    let _ = self.socket.write_all(&document);
                }
                // Of a document that could not be sent in time this is the end.
                let _ = self.socket.write_all(&[END, beat]);
            }
            let mut heard = false;
            let mut buffer = [0; READ_BYTES];
            match gone {
                Some(_) => std::thread::sleep(LOOK_INTERVAL),
                None => match self.socket.read(&mut buffer) {
                    Ok(0) => gone = Some(Instant::now()),
                    Ok(length) => {
                        heard = true;
                        let (facts, peer) = (&self.facts, self.peer);
                        let hear = |document: &[u8]| facts.hear(peer, document);
                        let beats = documents.take_out(&buffer[..length], hear);
                        if beats.contains(&BYE) {
                            return None;
                        }
                        if let Some(last) = beats.last() {
                            self.held_back.set(*last == HELD_BACK);
                        }
                    }
                    Err(e)
                        if matches!(
                            e.kind(),
                            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                        ) => {}
                    Err(_) => gone = Some(Instant::now()),
                },
            }
            if self.ending.load(Ordering::Relaxed) {
                return None;
            }
            has_spoken |= heard;
            if gone.is_some_and(|at| at.elapsed() >= GONE_PATIENCE) {
                return Some(self.lost("is gone: it closed its connection without a goodbye"));
            }
            let now = Instant::now();
            if silence.is_too_long(now, heard || !has_spoken) {
                let lasted = silence.lasted();
                let since = chrono::Utc::now() - lasted;
                return Some(self.lost(&format!(
                    "hangs: it has said nothing for {} s, since {}",
                    lasted.as_secs(),
                    since.format("%Y-%m-%dT%H:%M:%SZ")
                )));
            }
        }
    }

    fn lost(&self, how: &str) -> Error {
        Error::unreachable(format!("process {} of the job {how}", self.peer))
            .hint("end what is left of it and start all processes again, they go on from the table")
            .context(format!("job {}", self.job))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::facts::{ProcessFacts, Tell};
    use std::net::TcpListener;
    use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let one = TcpStream::connect(address).expect("connect");
        (one, listener.accept().expect("accept").0)
    }

    fn sharing(socket: TcpStream, facts: SharedFacts) -> (Heartbeats, Receiver<Error>) {
        let (failed, failures) = channel();
        let on_failure: OnFailure = Arc::new(move |error| {
            let _ = failed.send(error);
        });
        let mut heartbeats = Heartbeats::new(
            "job",
            on_failure,
            Arc::default(),
            PeersHeldBack::default(),
            facts,
        );
        heartbeats.exchange(1, socket).expect("exchange");
        (heartbeats, failures)
    }

    fn watching(socket: TcpStream) -> (Heartbeats, Receiver<Error>) {
        sharing(socket, SharedFacts::No)
    }

    #[test]
    fn process_0_hears_the_facts_of_a_peer_and_still_its_beats() {
        let (one, other) = pair();
        let (told, heard) = channel();
        let tell: Tell = Arc::new(move |facts| {
            let _ = told.send(facts);
        });
        let (hears, _tell) = SharedFacts::of(0, false, tell);
        let (first, failures) = sharing(one, hears);
        let (tells, tell) = SharedFacts::of(1, false, Arc::new(|_| {}));
        let (second, _others) = sharing(other, tells);
        for pid in [17, 18] {
            let facts = ProcessFacts {
                process: 1,
                pid,
                complaint: Some("says h.! and\n{ ".to_owned()),
                ..ProcessFacts::default()
            };
            tell(facts.clone());
            let said = heard.recv_timeout(Duration::from_secs(60)).expect("facts");
            assert_eq!(said, facts);
        }
        // Those of another process than the peer are nobody's.
        tell(ProcessFacts::default());
        second.observed.held_back.store(1, Ordering::Relaxed);
        let begin = Instant::now();
        while first.peers_held_back.count() == 0 {
            assert!(begin.elapsed() < Duration::from_secs(60), "no beat");
            std::thread::sleep(LOOK_INTERVAL);
        }
        assert!(heard.try_recv().is_err());
        drop(second);
        assert!(
            failures.recv_timeout(GONE_PATIENCE * 2).is_err(),
            "in order"
        );
        drop(first);
    }

    #[test]
    fn process_0_hears_that_a_peer_waits_for_the_registry_and_that_it_no_longer_does() {
        let (one, other) = pair();
        let (first, _failures) = watching(one);
        let (second, _others) = watching(other);
        let until = |count| {
            let begin = Instant::now();
            while first.peers_held_back.count() != count {
                assert!(begin.elapsed() < Duration::from_secs(60), "not {count}");
                std::thread::sleep(LOOK_INTERVAL);
            }
        };
        second.observed.held_back.store(2, Ordering::Relaxed);
        until(1);
        second.observed.held_back.store(0, Ordering::Relaxed);
        until(0);
        second.observed.held_back.store(1, Ordering::Relaxed);
        until(1);
        assert_eq!(second.peers_held_back.count(), 0, "the other one does not");
        drop(second);
        until(0);
    }

    #[test]
    fn a_peer_that_says_nothing_any_more_is_found_within_ten_seconds() {
        let (ours, mut theirs) = pair();
        let (_heartbeats, failures) = watching(ours);
        theirs.write_all(&[BEAT]).expect("one beat");
        let silent = Instant::now();
        let error = failures
            .recv_timeout(Duration::from_secs(60))
            .expect("found");
        assert!(silent.elapsed() >= SILENCE_LIMIT - LOOK_INTERVAL);
        assert!(
            error.message().starts_with("process 1 of the job hangs"),
            "{error}"
        );
        assert_eq!(error.kind().exit_code(), 3);
    }

    #[test]
    fn two_that_beat_leave_each_other_alone_and_part_in_order() {
        let (one, other) = pair();
        let (first, failures) = watching(one);
        let (second, others) = watching(other);
        let longer = SILENCE_LIMIT + Duration::from_secs(2);
        assert!(matches!(
            failures.recv_timeout(longer),
            Err(RecvTimeoutError::Timeout)
        ));
        drop(first);
        // Its thread ends without a failure, and with it the sender.
        assert!(matches!(
            others.recv_timeout(Duration::from_secs(1)),
            Err(RecvTimeoutError::Timeout)
        ));
        drop(second);
        assert!(others.recv_timeout(Duration::from_secs(60)).is_err());
    }

    #[test]
    fn a_peer_that_is_killed_is_gone() {
        let (ours, theirs) = pair();
        let (_heartbeats, failures) = watching(ours);
        drop(theirs);
        let error = failures
            .recv_timeout(Duration::from_secs(60))
            .expect("found");
        assert!(error.message().contains("is gone"), "{error}");
    }
}
