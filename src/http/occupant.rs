//! Who listens at a port of this host, as far as the system tells us.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// `TCP_LISTEN` of Linux, as `/proc/net/tcp` writes it.
const LISTEN: &str = "0A";
/// Characters of a command line that are shown.
const SHOWN_CHARS: usize = 80;

/// The process that keeps us from listening at this address: its id and command line. `None` when the system
/// does not tell, as it does not of another user's processes.
pub(super) fn of(address: SocketAddr) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let listeners = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| inodes(&table, address))
        .map(|inode| format!("socket:[{inode}]"))
        .collect::<Vec<_>>();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let holds = |pid: &u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten();
        let mut targets = files
            .flatten()
            .filter_map(|file| fs::read_link(file.path()).ok());
        targets.any(|target| {
            target
                .to_str()
                .is_some_and(|target| listeners.iter().any(|listener| listener == target))
        })
    };
    let pid = pids.into_iter().find(holds)?;
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let line: String = line.trim().chars().take(SHOWN_CHARS).collect();
    Some(format!("process {pid} (`{line}`)"))
}

/// The inodes of the sockets of a table of `/proc/net` that listen where they keep others from `address`.
fn inodes(table: &str, address: SocketAddr) -> Vec<String> {
    let listener = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = parse(fields.next()?)?;
        let state = fields.nth(1)?;
        let ip = local.ip();
        let overlaps = ip == address.ip() || ip.is_unspecified() || address.ip().is_unspecified();
        let inode = fields.nth(5)?;
        (state == LISTEN && local.port() == address.port() && overlaps).then(|| inode.to_owned())
    };
    table.lines().skip(1).filter_map(listener).collect()
}

/// An address as the kernel writes it: words of 32 bits in the machine's order, a colon, the port.
fn parse(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = ip.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_listener_of_our_own_is_found_by_any_address_that_it_is_in_the_way_of() {
        for at in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(at) else {
                eprintln!("this host has no {at}");
                continue;
            };
            let mut address = listener.local_addr().expect("an address");
            let us = format!("process {} (`", std::process::id());
            let found = of(address).expect("the system tells");
            assert!(found.starts_with(&us), "{found}");
            address.set_ip(Ipv4Addr::UNSPECIFIED.into());
            assert!(of(address).is_some_and(|found| found.starts_with(&us)));
            drop(listener);
            assert_eq!(of(address), None);
        }
    }
}
