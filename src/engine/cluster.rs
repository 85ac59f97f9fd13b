//! The cluster: several processes find each other, agree that they run the same thing, and hand their
//! sockets to timely.
//!
//! timely's own handshake trusts any eight bytes, so the sockets are opened here. Process 0 waits for
//! the others, compares what they run with what it runs, and only then claims a generation and tells
//! everyone where this generation starts.

use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use strandline_operators::{Error, Result};
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::initialize::Hooks;

use self::wire::{Halt, go_on, receive, send};
use super::heartbeat::Heartbeats;

mod wire;

/// How long a process waits for its peers.
const PEER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connected peer may take to say who it is; a stranger's connection costs this at most.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long process 0 may take to prepare tables and positions before the others give up.
const START_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a process may take to load its state: at 3 million ids a second, ten thousand million.
const READY_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// Pause between two attempts to connect.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
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

#[cfg(test)]
mod tests;
