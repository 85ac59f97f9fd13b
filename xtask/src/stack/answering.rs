//! Whether an HTTP server on this machine answers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::Result;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read, at most.
const ANSWER_MAX_BYTES: u64 = 1 << 20;

/// Asks the server whose first port this is, which must answer with one of these codes.
pub fn get(ports: &[u16], path: &str, codes: &[&str]) -> Result {
    let port = *ports
        .first()
        .ok_or_else(|| format!("whoever serves {path} wants a port"))?;
    let status = status(port, path).map_err(|e| format!("GET {path}: {e}"))?;
    match status.split(' ').nth(1) {
        Some(code) if codes.contains(&code) => Ok(()),
        _ => Err(format!("GET {path}: {status}")),
    }
}

/// The first line of the answer.
fn status(port: u16, path: &str) -> std::io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, REQUEST_TIMEOUT)?;
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    stream.set_write_timeout(Some(REQUEST_TIMEOUT))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    )?;
    let mut response = Vec::new();
    stream.take(ANSWER_MAX_BYTES).read_to_end(&mut response)?;
    let text = String::from_utf8_lossy(&response);
    Ok(text.lines().next().unwrap_or("no answer").to_owned())
}
