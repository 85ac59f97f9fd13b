//! The cluster: several processes find each other, agree that they run the same thing, and hand their
//! sockets to timely.
//!
//! timely's own handshake trusts any eight bytes, so the sockets are opened here. Process 0 waits for
//! the others, compares what they run with what it runs, and only then claims a generation and tells
//! everyone where this generation starts.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use strandline_operators::{Error, Result};
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::initialize::Hooks;

use super::heartbeat::Heartbeats;

/// How long a process waits for its peers.
const PEER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connected peer may take to say who it is; a stranger's connection costs this at most.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long process 0 may take to prepare tables and positions before the others give up.
const START_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a process may take to load its state: at 3 million ids a second, ten thousand million.
const READY_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// Pause between two attempts to connect; also how long a wait for a message goes on without looking
/// whether it is still wanted.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// The largest message of the handshake: positions of 100,000 partitions fit.
const MAX_MESSAGE_BYTES: u32 = 64 << 20;
/// First bytes of every handshake message; anything else is not one of us.
const MAGIC: &[u8; 8] = b"strand\x00\x01";

/// The shape of the cluster, and this process' place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterShape {
    /// Workers in every process.
    pub workers: usize,
    /// This process.
    pub process: usize,
    /// The address of each process, `host:port`; one entry for a process on its own.
    pub addresses: Vec<String>,
}

impl ClusterShape {
    /// One process on its own.
    pub fn alone(workers: usize) -> ClusterShape {
        ClusterShape {
            workers,
            process: 0,
            addresses: vec![String::new()],
        }
    }

    /// Processes in the cluster.
    pub fn processes(&self) -> usize {
        self.addresses.len()
    }

    /// Workers in the whole cluster.
    pub fn peers(&self) -> usize {
        self.processes() * self.workers
    }
}

/// What a process says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hello {
    process: usize,
    processes: usize,
    workers: usize,
    build: String,
    job: String,
    configuration: String,
    /// The run that process 0 started; unknown in the first greeting.
    run_id: Option<String>,
    /// What the connection is for.
    channel: Channel,
}

/// What a connection between two processes is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Channel {
    /// The handshake, and timely afterwards.
    Dataflow,
    /// To process 0, heartbeats.
    Heartbeats,
}

/// What everyone must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The job's name.
    pub job: String,
    /// A text that is equal if and only if the settings are.
    pub configuration: String,
}

/// Why a handshake did not come to its end.
enum Halt {
    /// A signal asked for it.
    Stopped,
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Halt {
        Halt::Failed(error)
    }
}

/// Looks whether the handshake is still wanted.
fn go_on(stop: &AtomicBool) -> Result<(), Halt> {
    match stop.load(Ordering::Relaxed) {
        true => Err(Halt::Stopped),
        false => Ok(()),
    }
}

/// The sockets of a cluster that has agreed, ready for timely.
pub struct Cluster {
    shape: ClusterShape,
    sockets: Vec<Option<TcpStream>>,
}

impl Cluster {
    /// Finds the peers and agrees with them, with heartbeats from the first moment on. Process 0 calls
    /// `start` once all others are here; what it returns is given to every process. `None` when `stop` was raised before the cluster stood: there is
    /// nothing to drain then. (A process on its own always starts, and drains at once.)
    ///
    /// # Errors
    /// Peers that do not come, or that run another build, job, configuration or cluster shape.
    pub fn form<S: Serialize + DeserializeOwned>(
        shape: &ClusterShape,
        agreement: &Agreement,
        stop: &AtomicBool,
        heartbeats: &mut Heartbeats,
        start: impl FnOnce() -> Result<S>,
    ) -> Result<Option<(Cluster, S)>> {
        match Self::shake_hands(shape, agreement, stop, heartbeats, start) {
            Ok(formed) => Ok(Some(formed)),
            Err(Halt::Stopped) => Ok(None),
            Err(Halt::Failed(error)) => Err(error),
        }
    }

    fn shake_hands<S: Serialize + DeserializeOwned>(
        shape: &ClusterShape,
        agreement: &Agreement,
        stop: &AtomicBool,
        heartbeats: &mut Heartbeats,
        start: impl FnOnce() -> Result<S>,
    ) -> Result<(Cluster, S), Halt> {
        let mut sockets: Vec<Option<TcpStream>> = (0..shape.processes()).map(|_| None).collect();
        if shape.processes() == 1 {
            return Ok((
                Cluster {
                    shape: shape.clone(),
                    sockets,
                },
                start()?,
            ));
        }
        let listener = listen(&shape.addresses[shape.process])?;
        let run_id = uuid::Uuid::new_v4().to_string();
        let start = if shape.process == 0 {
            let peers = Peers {
                sockets: &mut sockets,
                heartbeats: Some(heartbeats),
            };
            accept_peers(&listener, shape, agreement, stop, None, peers)?;
            let start = start()?;
            // The others look at their own flags; who has ended already is not to be sent to.
            go_on(stop)?;
            let message = Started { run_id, start };
            for socket in sockets.iter_mut().flatten() {
                send(socket, &message)?;
            }
            message.start
        } else {
            let mut coordinator = connect(&shape.addresses[0], stop)?;
            send(&mut coordinator, &hello(shape, agreement, None))?;
            let mut line = connect(&shape.addresses[0], stop)?;
            let greeting = Hello {
                channel: Channel::Heartbeats,
                ..hello(shape, agreement, None)
            };
            send(&mut line, &greeting)?;
            heartbeats.exchange(0, line)?;
            let received = receive(&mut coordinator, START_TIMEOUT, stop);
            let Started { run_id, start } = received.map_err(|halt| match halt {
                Halt::Stopped => Halt::Stopped,
                Halt::Failed(error) => Halt::Failed(error.hint(
                    "see the log of process 0: it refused this process, or could not start the job",
                )),
            })?;
            sockets[0] = Some(coordinator);
            for (address, slot) in shape
                .addresses
                .iter()
                .zip(&mut sockets)
                .take(shape.process)
                .skip(1)
            {
                let mut socket = connect(address, stop)?;
                send(&mut socket, &hello(shape, agreement, Some(&run_id)))?;
                *slot = Some(socket);
            }
            let run_id = Some(run_id.as_str());
            let peers = Peers {
                sockets: &mut sockets,
                heartbeats: None,
            };
            accept_peers(&listener, shape, agreement, stop, run_id, peers)?;
            start
        };
        Ok((
            Cluster {
                shape: shape.clone(),
                sockets,
            },
            start,
        ))
    }

    /// Returns when every process has come here: one that read ahead of a peer that still loads its state
    /// would fill its memory and then look like one that hangs.
    ///
    /// # Errors
    /// A peer that has ended, or takes longer than `READY_TIMEOUT`.
    pub fn wait_until_all_are_ready(&mut self) -> Result<()> {
        // A signal is not looked at here: it drains once all run.
        let stop = AtomicBool::new(false);
        let heard = |halt| match halt {
            Halt::Failed(error) => error,
            Halt::Stopped => Error::internal("nobody asked this handshake to stop"),
        };
        let is_coordinator = self.shape.process == 0;
        for socket in self.peers_of_barrier(is_coordinator) {
            if !is_coordinator {
                send(socket, &Ready)?;
            }
            let Ready = receive(socket, READY_TIMEOUT, &stop).map_err(heard)?;
        }
        if is_coordinator {
            for socket in self.sockets.iter_mut().flatten() {
                send(socket, &Ready)?;
            }
        }
        Ok(())
    }

    /// Process 0 hears from all, the others from process 0.
    fn peers_of_barrier(&mut self, is_coordinator: bool) -> impl Iterator<Item = &mut TcpStream> {
        let count = if is_coordinator { usize::MAX } else { 1 };
        self.sockets.iter_mut().take(count).flatten()
    }

    /// timely's allocators over these sockets, and the guard that joins its threads.
    ///
    /// # Errors
    /// A socket that cannot be used any more.
    pub fn allocators(self) -> Result<(Vec<AllocatorBuilder>, Box<dyn std::any::Any + Send>)> {
        let workers = self.shape.workers;
        let hooks = Hooks::default();
        if self.shape.processes() == 1 {
            let config = match workers {
                1 => timely::CommunicationConfig::Thread,
                _ => timely::CommunicationConfig::Process(workers),
            };
            return config
                .try_build()
                .map_err(|e| Error::internal(format!("cannot start the workers: {e}")));
        }
        for socket in self.sockets.iter().flatten() {
            socket
                .set_read_timeout(None)
                .and_then(|()| socket.set_write_timeout(None))
                .and_then(|()| socket.set_nodelay(true))
                .map_err(|e| Error::internal(format!("cannot prepare a socket to a peer: {e}")))?;
        }
        let local =
            ProcessBuilder::new_typed_vector(workers, hooks.refill.clone(), hooks.spill.clone());
        let (builders, guard) = initialize_networking_from_sockets(
            local,
            self.sockets,
            self.shape.process,
            workers,
            hooks,
        )
        .map_err(|e| {
            Error::unreachable(format!(
                "cannot start the network between the processes: {e}"
            ))
        })?;
        Ok((
            builders.into_iter().map(AllocatorBuilder::Tcp).collect(),
            Box::new(guard),
        ))
    }
}

/// What is said once a process has its state, and once all have.
#[derive(Serialize, Deserialize)]
struct Ready;

#[derive(Serialize, Deserialize)]
struct Started<S> {
    run_id: String,
    start: S,
}

fn hello(shape: &ClusterShape, agreement: &Agreement, run_id: Option<&str>) -> Hello {
    Hello {
        process: shape.process,
        processes: shape.processes(),
        workers: shape.workers,
        build: env!("CARGO_PKG_VERSION").to_owned(),
        job: agreement.job.clone(),
        configuration: agreement.configuration.clone(),
        run_id: run_id.map(str::to_owned),
        channel: Channel::Dataflow,
    }
}

fn listen(address: &str) -> Result<TcpListener> {
    TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|e| {
            Error::unreachable(format!(
                "cannot listen on `{address}` for the other processes: {e}"
            ))
            .hint("the address in the host file must be this host's own, and its port free")
        })
}

/// Where the connections of peers go.
struct Peers<'a> {
    /// By process, those for the dataflow.
    sockets: &'a mut [Option<TcpStream>],
    /// In process 0, those for heartbeats.
    heartbeats: Option<&'a mut Heartbeats>,
}

/// Accepts every process above this one.
fn accept_peers(
    listener: &TcpListener,
    shape: &ClusterShape,
    agreement: &Agreement,
    stop: &AtomicBool,
    run_id: Option<&str>,
    mut peers: Peers<'_>,
) -> Result<(), Halt> {
    let deadline = Instant::now() + PEER_TIMEOUT;
    let mut beats = vec![peers.heartbeats.is_none(); shape.processes()];
    loop {
        let missing: Vec<usize> = (shape.process + 1..shape.processes())
            .filter(|&p| peers.sockets[p].is_none() || !beats[p])
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        go_on(stop)?;
        if Instant::now() > deadline {
            return Err(Error::unreachable(format!(
                "process {} of {} did not connect to `{}` within {} s",
                missing[0],
                shape.processes(),
                shape.addresses[shape.process],
                PEER_TIMEOUT.as_secs()
            ))
            .hint("start every process with the same -n and host file, and its own -p")
            .into());
        }
        let Ok((mut socket, from)) = listener.accept() else {
            std::thread::sleep(RETRY_PAUSE);
            continue;
        };
        let greeting = socket
            .set_nonblocking(false)
            .map_err(|e| Halt::Failed(Error::unreachable(e.to_string())))
            .and_then(|()| receive::<Hello>(&mut socket, HELLO_TIMEOUT, stop));
        let theirs = match greeting {
            Ok(theirs) => theirs,
            Err(Halt::Stopped) => return Err(Halt::Stopped),
            Err(Halt::Failed(error)) => {
                tracing::warn!(%from, "a connection that is not one of our processes was closed: {error}");
                continue;
            }
        };
        if theirs.run_id.as_deref() != run_id {
            tracing::warn!(%from, "a process of another run was refused");
            continue;
        }
        let expected = Hello {
            process: theirs.process,
            channel: theirs.channel,
            ..hello(shape, agreement, run_id)
        };
        if theirs != expected {
            return Err(Error::configuration(format!(
                "process {} at {from} does not run what this one runs: {}",
                theirs.process,
                difference(&expected, &theirs)
            ))
            .hint("use the same build, configuration, -n and -w for every process")
            .into());
        }
        let is_above = theirs.process > shape.process;
        match (
            theirs.channel,
            peers.sockets.get_mut(theirs.process),
            beats.get_mut(theirs.process),
        ) {
            (Channel::Dataflow, Some(slot), _) if slot.is_none() && is_above => {
                *slot = Some(socket);
            }
            (Channel::Heartbeats, _, Some(beats)) if !*beats && is_above => {
                *beats = true;
                if let Some(heartbeats) = &mut peers.heartbeats {
                    heartbeats.exchange(theirs.process, socket)?;
                }
            }
            _ => {
                return Err(Error::configuration(format!(
                    "process {} connected from {from}, but it is here already",
                    theirs.process
                ))
                .hint("give every process its own -p")
                .into());
            }
        }
    }
}

fn difference(ours: &Hello, theirs: &Hello) -> String {
    let pairs = [
        ("build", &ours.build, &theirs.build),
        ("job", &ours.job, &theirs.job),
        ("configuration", &ours.configuration, &theirs.configuration),
    ];
    for (name, ours, theirs) in pairs {
        if ours != theirs {
            return format!(
                "{name} differs (`{}`, here `{}`)",
                shorten(theirs),
                shorten(ours)
            );
        }
    }
    format!(
        "{} processes of {} workers, here {} of {}",
        theirs.processes, theirs.workers, ours.processes, ours.workers
    )
}

fn shorten(text: &str) -> String {
    text.chars().take(120).collect()
}

fn connect(address: &str, stop: &AtomicBool) -> Result<TcpStream, Halt> {
    let deadline = Instant::now() + PEER_TIMEOUT;
    loop {
        go_on(stop)?;
        let attempt = address
            .to_socket_addrs()
            .and_then(|mut addresses| {
                addresses
                    .next()
                    .ok_or_else(|| std::io::Error::other("it has no address"))
            })
            .and_then(|address| TcpStream::connect_timeout(&address, HELLO_TIMEOUT));
        match attempt {
            Ok(socket) => return Ok(socket),
            Err(error) if Instant::now() > deadline => {
                return Err(Error::unreachable(format!(
                    "cannot reach the process at `{address}`: {error}"
                ))
                .hint("start every process with the same host file; the first line is process 0")
                .into());
            }
            Err(_) => std::thread::sleep(RETRY_PAUSE),
        }
    }
}

fn send(socket: &mut TcpStream, message: &impl Serialize) -> Result<()> {
    let body = serde_json::to_vec(message)
        .map_err(|e| Error::internal(format!("cannot write a handshake: {e}")))?;
    let length = u32::try_from(body.len())
        .ok()
        .filter(|&length| length <= MAX_MESSAGE_BYTES)
        .ok_or_else(|| {
            Error::internal(format!("a handshake of {} bytes is too long", body.len()))
        })?;
    let mut frame = MAGIC.to_vec();
    frame.extend(length.to_be_bytes());
    frame.extend(body);
    socket
        .set_write_timeout(Some(PEER_TIMEOUT))
        .and_then(|()| socket.write_all(&frame))
        .map_err(|e| Error::unreachable(format!("a peer went away during the handshake: {e}")))
}

/// One message, whole, within `timeout`.
fn receive<M: DeserializeOwned>(
    socket: &mut TcpStream,
    timeout: Duration,
    stop: &AtomicBool,
) -> Result<M, Halt> {
    let deadline = Instant::now() + timeout;
    let mut head = [0u8; 12];
    read_all(socket, &mut head, deadline, stop)?;
    let (magic, length) = head.split_at(8);
    let length = length
        .try_into()
        .map(u32::from_be_bytes)
        .unwrap_or(u32::MAX);
    if magic != MAGIC || length > MAX_MESSAGE_BYTES {
        return Err(Error::unreachable("a connection did not speak the handshake").into());
    }
    let mut body = vec![0u8; length as usize];
    read_all(socket, &mut body, deadline, stop)?;
    serde_json::from_slice(&body)
        .map_err(|e| Error::unreachable(format!("a peer's handshake cannot be read: {e}")).into())
}

/// `read_exact` that looks at `stop`, and at a deadline for all of it.
fn read_all(
    socket: &mut TcpStream,
    buffer: &mut [u8],
    deadline: Instant,
    stop: &AtomicBool,
) -> Result<(), Halt> {
    let lost = |e: std::io::Error| {
        Error::unreachable(format!("a peer went away during the handshake: {e}"))
    };
    socket.set_read_timeout(Some(RETRY_PAUSE)).map_err(lost)?;
    let mut filled = 0;
    while filled < buffer.len() {
        go_on(stop)?;
        match socket.read(&mut buffer[filled..]) {
            Ok(0) => {
                // A peer that was stopped at the same time may be a moment ahead of us.
                go_on(stop)?;
                return Err(lost(ErrorKind::UnexpectedEof.into()).into());
            }
            Ok(read) => filled += read,
            // A read that times out is the one or the other, by platform.
            Err(e)
                if matches!(
                    e.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(e) => return Err(lost(e).into()),
        }
        if filled < buffer.len() && Instant::now() > deadline {
            return Err(Error::unreachable(
                "a peer said nothing for too long during the handshake",
            )
            .into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free_addresses(n: usize) -> Vec<String> {
        let ports = crate::engine::ports::free(n).expect("ports");
        ports.iter().map(|p| format!("127.0.0.1:{p}")).collect()
    }

    /// A run that nobody stops.
    static RUNNING: AtomicBool = AtomicBool::new(false);

    /// How soon a stopped process ends: far below every timeout of the handshake.
    const SOON: Duration = Duration::from_secs(3);

    fn agreement(configuration: &str) -> Agreement {
        Agreement {
            job: "job".to_owned(),
            configuration: configuration.to_owned(),
        }
    }

    fn heartbeats() -> Heartbeats {
        let none = std::sync::Arc::new(|_| {});
        Heartbeats::new("job", none, Default::default(), Default::default())
    }

    /// Forms process `process` of a cluster; says what it heard and how many peers it has.
    fn form_one(addresses: &[String], process: usize, configuration: &str) -> Result<String> {
        let shape = ClusterShape {
            workers: 1,
            process,
            addresses: addresses.to_vec(),
        };
        let start = || Ok(format!("from {process}"));
        let mut beats = heartbeats();
        let formed = Cluster::form(
            &shape,
            &agreement(configuration),
            &RUNNING,
            &mut beats,
            start,
        )?;
        let (mut cluster, start) = formed.expect("nobody stopped it");
        cluster.wait_until_all_are_ready()?;
        let connected = cluster.sockets.iter().flatten().count();
        Ok(format!("{start}, {connected} peers"))
    }

    fn form_all(addresses: &[String], configurations: &[&str]) -> Vec<Result<String>> {
        std::thread::scope(|scope| {
            let handles: Vec<_> = configurations
                .iter()
                .enumerate()
                .map(|(process, configuration)| {
                    scope.spawn(move || form_one(addresses, process, configuration))
                })
                .collect();
            handles
                .into_iter()
                .map(|h| h.join().expect("thread"))
                .collect()
        })
    }

    #[test]
    fn every_process_starts_from_what_process_0_says() {
        for result in form_all(&free_addresses(3), &["c", "c", "c"]) {
            assert_eq!(result.expect("formed"), "from 0, 2 peers");
        }
    }

    #[test]
    fn a_process_with_another_configuration_is_refused() {
        let results = form_all(&free_addresses(2), &["c", "d"]);
        let error = results[0].as_ref().expect_err("refused");
        assert!(error.message().contains("configuration differs"), "{error}");
        assert!(results[1].is_err());
    }

    #[test]
    fn a_stranger_on_the_port_does_no_harm() {
        let addresses = free_addresses(2);
        std::thread::scope(|scope| {
            let coordinator = scope.spawn(|| form_one(&addresses, 0, "c"));
            let mut stranger = connect(&addresses[0], &RUNNING).ok().expect("connect");
            // Whether this and what follows succeed says only how fast the other side hangs up.
            let _ = stranger.write_all(b"GET / HTTP/1.1\r\n\r\n");
            let _ = stranger.read_to_end(&mut Vec::new());
            // Only now, so that the listener was open for the stranger.
            let peer = form_one(&addresses, 1, "c");
            assert_eq!(peer.expect("formed"), "from 0, 1 peers");
            let coordinator = coordinator.join().expect("process 0");
            assert_eq!(coordinator.expect("formed"), "from 0, 1 peers");
        });
    }

    /// Runs process `process` of two until it forms or is stopped; its start ends only when it is stopped.
    fn is_stopped(process: usize, addresses: &[String], stop: &AtomicBool) -> bool {
        let shape = ClusterShape {
            workers: 1,
            process,
            addresses: addresses.to_vec(),
        };
        let start = || {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(RETRY_PAUSE);
            }
            Ok(String::new())
        };
        let formed = Cluster::form(&shape, &agreement("c"), stop, &mut heartbeats(), start);
        formed.expect("no error").is_none()
    }

    /// Runs the given processes of two, raises their flag after a moment, and says how long all took.
    fn stop_all(processes: &[usize], addresses: &[String]) -> Duration {
        let stop = AtomicBool::new(false);
        let since = Instant::now();
        std::thread::scope(|scope| {
            let stop = &stop;
            let handles: Vec<_> = processes
                .iter()
                .map(|&process| scope.spawn(move || is_stopped(process, addresses, stop)))
                .collect();
            std::thread::sleep(4 * RETRY_PAUSE);
            stop.store(true, Ordering::Relaxed);
            for handle in handles {
                assert!(handle.join().expect("process"));
            }
        });
        since.elapsed()
    }

    #[test]
    fn a_process_that_waits_for_its_peers_can_be_stopped() {
        assert!(stop_all(&[0], &free_addresses(2)) < SOON, "nobody connects");
        assert!(stop_all(&[1], &free_addresses(2)) < SOON, "nobody listens");
    }

    #[test]
    fn processes_that_wait_for_the_start_can_be_stopped() {
        assert!(stop_all(&[0, 1], &free_addresses(2)) < SOON);
    }

    #[test]
    fn a_peer_that_connects_and_says_nothing_does_not_keep_a_process_from_stopping() {
        let addresses = free_addresses(2);
        std::thread::scope(|scope| {
            let all = scope.spawn(|| stop_all(&[0], &addresses));
            let silent = connect(&addresses[0], &RUNNING).ok().expect("connect");
            assert!(all.join().expect("process 0") < SOON);
            drop(silent);
        });
    }
}
