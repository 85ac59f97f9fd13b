//! The listeners, and what a connection may cost.

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use strandline_operators::{Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::guard::Entrance;
use super::routes::{Actions, Shared, router};
use super::{occupant, socket, tls};
use crate::config::{HttpTls, Secret};
use crate::status::board::Board;

/// Connections by TCP at a time. One costs some 20 KiB; more are closed at once.
const MAX_CONNECTIONS: usize = 256;
/// Connections by the socket in the state folder, which a flood over TCP does not take away.
const MAX_SOCKET_CONNECTIONS: usize = 64;
/// How long a client may take for the handshake of TLS, and for the headers of a request, and how long it may
/// keep a connection idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Header lines of a request.
const MAX_HEADERS: usize = 64;
/// Bytes that hyper buffers of a connection: headers must fit in them. Its least is 8 KiB.
const MAX_BUFFER_BYTES: usize = 64 << 10;
/// The longest that a connection lives, whatever it does: a reader that stands still is given up.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// Pause after the system refused a connection (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long those who wait for the end of the job may take to hear of it.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where to listen.
#[derive(Clone, Debug)]
pub struct Listen {
    /// The address of `http`; `None` for off.
    pub address: Option<SocketAddr>,
    /// Whether a person said so. A default that is in use gives way to any free port.
    pub is_configured: bool,
    /// `http_token`.
    pub token: Option<Secret>,
    /// Certificate and key, for TLS.
    pub tls: Option<HttpTls>,
    /// The socket in the job's state folder.
    pub socket: Option<PathBuf>,
}

/// Serves until it is dropped.
pub struct Server {
    board: Arc<Board>,
    waiting: Arc<AtomicUsize>,
    socket: Option<PathBuf>,
    end: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts to serve what the board shows, and says where.
    ///
    /// # Errors
    /// `Unreachable` when a configured address is in use; configuration when it cannot be had at all, the
    /// certificate cannot be used, or the socket cannot be made.
    pub fn start(board: &Arc<Board>, listen: &Listen, actions: Actions) -> Result<Server> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::internal(format!("cannot start the HTTP server: {e}")))?;
        let entered = runtime.enter();
        let tcp = listen
            .address
            .map(|address| bind(address, listen))
            .transpose()?;
        let tls = listen.tls.as_ref().map(tls::server_config).transpose()?;
        let unix = listen.socket.as_deref().map(socket::bind).transpose()?;
        let waiting = Arc::new(AtomicUsize::new(0));
        let shared = Arc::new(Shared {
            board: Arc::clone(board),
            actions,
            waiting: Arc::clone(&waiting),
        });
        let mut serving: Vec<Serving> = Vec::new();
        if let Some(listener) = tcp {
            let address = listener
                .local_addr()
                .map_err(|e| Error::internal(format!("cannot tell the address of HTTP: {e}")))?;
            let scheme = if tls.is_some() { "https" } else { "http" };
            let url = format!("{scheme}://{address}");
            board.served_at(url.clone());
            tracing::info!(job = board.job(), url, "UI, API and metrics at {url}/");
            let entrance = Entrance::Tcp {
                address,
                token: listen.token.clone(),
            };
            let tls = tls.map(TlsAcceptor::from);
            serving.push(Serving::Tcp(listener, tls, router(&shared, entrance)));
        }
        if let Some(listener) = unix {
            serving.push(Serving::Unix(listener, router(&shared, Entrance::Socket)));
        }
        drop(entered);
        let (end, ended) = watch::channel(());
        let thread = std::thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    for serving in serving {
                        tokio::spawn(serving.run());
                    }
                    let mut ended = ended;
                    // An error says that the server was dropped.
                    let _ = ended.changed().await;
                });
                runtime.shutdown_background();
            })
            .map_err(|e| Error::internal(format!("cannot start the HTTP thread: {e}")))?;
        Ok(Server {
            board: Arc::clone(board),
            waiting,
            socket: listen.socket.clone(),
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// Lets those who wait for the end of the job hear how it ended.
    pub fn farewell(&self, error: Option<&Error>, exit_status: u8) {
        self.board.ended(error, exit_status);
        let deadline = Instant::now() + FAREWELL;
        while self.waiting.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(socket) = &self.socket {
            socket::remove(socket);
        }
    }
}

fn bind(address: SocketAddr, listen: &Listen) -> Result<TcpListener> {
    let open = |address: SocketAddr| -> io::Result<TcpListener> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    match open(address) {
        Ok(listener) => Ok(listener),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse && !listen.is_configured => {
            tracing::info!("port {} is in use, taking a free one", address.port());
            open(SocketAddr::new(address.ip(), 0)).map_err(|e| cannot_listen(address, &e))
        }
        Err(e) => Err(cannot_listen(address, &e)),
    }
}

fn cannot_listen(address: SocketAddr, e: &io::Error) -> Error {
    let what = format!("cannot serve HTTP at `{address}`");
    match e.kind() {
        // Whoever has it may end.
        io::ErrorKind::AddrInUse => {
            let who = occupant::of(address).unwrap_or_else(|| "another process".to_owned());
            Error::new(
                ErrorKind::Unreachable,
                format!("{what}: {who} listens there"),
            )
            .hint("end it, or set `http` to another port, to port 0 for any free one, or to `off`")
        }
        _ => Error::new(ErrorKind::Configuration, format!("{what}: {e}"))
            .hint("set `http` to an address of this host, such as `127.0.0.1:8092`, or to `off`"),
    }
}

enum Serving {
    Tcp(TcpListener, Option<TlsAcceptor>, Router),
    Unix(UnixListener, Router),
}

impl Serving {
    async fn run(self) {
        let room = Arc::new(Semaphore::new(match self {
            Serving::Tcp(..) => MAX_CONNECTIONS,
            Serving::Unix(..) => MAX_SOCKET_CONNECTIONS,
        }));
        loop {
            let accepted = match &self {
                Serving::Tcp(listener, tls, router) => {
                    listener.accept().await.map(|(stream, _)| {
                        // Small answers should not wait for an acknowledgement; without it they only do.
                        let _ = stream.set_nodelay(true);
                        match tls {
                            None => serve(ready(Ok(stream)), router, &room),
                            Some(tls) => serve(tls.accept(stream), router, &room),
                        }
                    })
                }
                Serving::Unix(listener, router) => listener
                    .accept()
                    .await
                    .map(|(stream, _)| serve(ready(Ok(stream)), router, &room)),
            };
            if accepted.is_err() {
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves a connection on a task of its own, once it is made; closes it when there are too many.
fn serve<S>(
    made: impl Future<Output = io::Result<S>> + Send + 'static,
    router: &Router,
    room: &Arc<Semaphore>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(permit) = Arc::clone(room).try_acquire_owned() else {
        return;
    };
    let service = TowerToHyperService::new(router.clone());
    tokio::spawn(async move {
        // What goes wrong with a connection is its client's business.
        if let Ok(Ok(stream)) = tokio::time::timeout(HEADER_TIMEOUT, made).await {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_headers(MAX_HEADERS)
                .max_buf_size(MAX_BUFFER_BYTES)
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(MAX_LIFETIME, connection).await;
        }
        drop(permit);
    });
}
