use std::io::{Read as _, Write as _};
use std::sync::atomic::Ordering;

use super::*;
use crate::engine::shared_facts::SharedFacts;

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
    Heartbeats::new(
        "job",
        none,
        Default::default(),
        Default::default(),
        SharedFacts::No,
    )
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
