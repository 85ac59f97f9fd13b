//! Messages of the handshake on a socket: a magic number, a length, JSON.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use strandline_operators::{Error, Result};

/// How long a peer may take to read a message.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a wait for a message goes on without looking whether it is still wanted.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// The largest message of the handshake: positions of 100,000 partitions fit.
const MAX_MESSAGE_BYTES: u32 = 64 << 20;
/// First bytes of every handshake message; anything else is not one of us.
const MAGIC: &[u8; 8] = b"strand\x00\x01";

/// Why a handshake did not come to its end.
pub(super) enum Halt {
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
pub(super) fn go_on(stop: &AtomicBool) -> Result<(), Halt> {
    match stop.load(Ordering::Relaxed) {
        true => Err(Halt::Stopped),
        false => Ok(()),
    }
}

/// Sends one message, whole.
pub(super) fn send(socket: &mut TcpStream, message: &impl Serialize) -> Result<()> {
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
        .set_write_timeout(Some(WRITE_TIMEOUT))
        .and_then(|()| socket.write_all(&frame))
        .map_err(|e| Error::unreachable(format!("a peer went away during the handshake: {e}")))
}

/// One message, whole, within `timeout`.
pub(super) fn receive<M: DeserializeOwned>(
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
    socket.set_read_timeout(Some(LOOK_INTERVAL)).map_err(lost)?;
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
