//! Free ports.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use crate::Result;

/// Below the kernel's range for outgoing connections (32768 and up), so that none of those takes a port
/// while its service restarts.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// Ports that nothing listens on now.
pub fn free(count: usize) -> Result<Vec<u16>> {
    let mut listeners = Vec::new();
    let mut ports = Vec::new();
    let span = RANGE.end - RANGE.start;
    // Different stacks start looking at different places.
    let first = (RandomState::new().hash_one(std::process::id()) % u64::from(span)) as u16;
    for step in 0..span {
        if listeners.len() == count {
            break;
        }
        let port = RANGE.start + (first + step) % span;
        // The wildcard address, because the REST server listens on it.
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
            ports.push(port);
            listeners.push(listener);
        }
    }
    if ports.len() == count {
        Ok(ports)
    } else {
        Err(format!("no free port in {RANGE:?}"))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn free_ports_are_distinct_and_can_be_listened_on() {
        let ports = super::free(5).unwrap();
        let listeners: Vec<_> = ports
            .iter()
            .map(|&port| std::net::TcpListener::bind(("127.0.0.1", port)))
            .collect();
        assert_eq!(listeners.len(), 5);
        assert!(listeners.iter().all(Result::is_ok));
    }
}
