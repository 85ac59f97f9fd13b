//! Free ports of this host, to be listened on a moment later by another process.

use std::io;
use std::net::TcpListener;

/// Where ports are looked for: below the range from which Linux takes the local ports of outgoing
/// connections (32768 to 60999, `ip_local_port_range`), so that no connection made in between gets one.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// How many ports are tried for each that is wanted.
const TRIES_FOR_EACH: usize = 100;

/// `n` different ports that nobody listens on now, chosen at random so that two callers seldom meet.
///
/// # Errors
/// No free port among those tried.
pub fn free(n: usize) -> io::Result<Vec<u16>> {
    let mut held: Vec<(u16, TcpListener)> = Vec::with_capacity(n);
    for _ in 0..n * TRIES_FOR_EACH {
        if held.len() == n {
            break;
        }
        let port = rand::random_range(PORTS);
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            held.push((port, listener));
        }
    }
    if held.len() < n {
        let message = format!("no free port among {TRIES_FOR_EACH} tried in {PORTS:?}");
        return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
    }
    Ok(held.into_iter().map(|(port, _)| port).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_different_and_can_be_listened_on() {
        let mut ports = free(20).expect("ports");
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
        TcpListener::bind(("127.0.0.1", ports[0])).expect("bind");
    }
}
