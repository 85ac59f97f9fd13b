//! The API over the Unix socket in a job's state folder: how another shell asks a running job.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use strandline_operators::{Error, Result};
use tokio::net::{UnixListener, UnixStream};

/// The socket's name in the job's state folder.
pub const NAME: &str = "api.sock";

/// The longest path of a socket (`sun_path` of Linux, less its final zero).
const MAX_PATH: usize = 107;

/// How long an answer may take, unless it is waited for.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// The largest answer that is read; a job of ten thousand partitions has 3 MB.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// The path by which a socket is reached, whatever the length of its real path. The open folder must outlive
/// the use of it.
fn short(path: &Path) -> io::Result<(PathBuf, Option<File>)> {
    if path.as_os_str().len() <= MAX_PATH {
        return Ok((path.to_owned(), None));
    }
    let folder = File::open(path.parent().unwrap_or(Path::new(".")))?;
    let name = path.file_name().unwrap_or_default();
    let through = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    Ok((through, Some(folder)))
}

/// Listens there, for this user only. Whoever calls it holds the job's lock: a socket that is there already was
/// left behind.
pub(super) fn bind(path: &Path) -> Result<UnixListener> {
    let cannot = |e: io::Error| {
        Error::configuration(format!("cannot make the socket `{}`: {e}", path.display()))
            .hint("set `state_dir` to a folder of a local disk that this user may write")
    };
    let (short, _folder) = short(path).map_err(cannot)?;
    remove(&short);
    let listener = UnixListener::bind(&short).map_err(cannot)?;
    std::fs::set_permissions(&short, Permissions::from_mode(0o600)).map_err(cannot)?;
    Ok(listener)
}

/// Removes a socket. One that is not there is gone already.
pub(super) fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

/// Sends a request to the job that listens there, and gives its answer, whose body is still to be read.
///
/// # Errors
/// Nobody listens, or whoever does has just ended.
pub(super) async fn forward(path: &Path, request: Request<Body>) -> io::Result<Response> {
    let (short, _folder) = short(path)?;
    let stream = UnixStream::connect(&short).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    let answer = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    Ok(answer.map(Body::new))
}

/// Asks the job whose state is in `folder`. `None` when it does not run here; otherwise status and body.
///
/// # Errors
/// It runs and does not answer; `Unreachable`.
pub fn ask(folder: &Path, method: Method, path: &str) -> Result<Option<(StatusCode, Bytes)>> {
    ask_within(folder, method, path, TIMEOUT)
}

/// As [`ask`], with a limit of its own.
///
/// # Errors
/// As [`ask`].
pub fn ask_within(
    folder: &Path,
    method: Method,
    path: &str,
    limit: Duration,
) -> Result<Option<(StatusCode, Bytes)>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::internal(format!("cannot ask a running job: {e}")))?;
    let socket = folder.join(NAME);
    let asked = runtime.block_on(async {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .body(Body::empty())
            .map_err(io::Error::other)?;
        let ask = async {
            let answer = forward(&socket, request).await?;
            let status = answer.status();
            let body = http_body_util::Limited::new(answer.into_body(), MAX_ANSWER_BYTES);
            let body = body.collect().await.map_err(io::Error::other)?;
            Ok((status, body.to_bytes()))
        };
        match tokio::time::timeout(limit, ask).await {
            Ok(answer) => answer,
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
        }
    });
    match asked {
        Ok(answer) => Ok(Some(answer)),
        // No socket, or one that was left behind.
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(e) => Err(Error::unreachable(format!(
            "the job does not answer at `{}`: {e}",
            socket.display()
        ))
        .hint("it may just have ended; ask again")),
    }
}
