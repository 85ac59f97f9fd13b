//! A walk through `docs/runbook.md`: each fault of its table is caused for real, and what is said of it is compared
//! with the table.
//!
//! The faults are caused in one file a subject; `table` and `compare` know the runbook.

mod brokers;
mod catalogs;
mod compare;
mod disks;
mod registry;
mod secured_kafka;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod taken;
mod topics;
mod warehouses;
mod watermarks;

use support::{DEADLINE, Running};

/// The files that cause faults, in which every fault of the table must be found.
const WALKS: [&str; 9] = [
    include_str!("brokers.rs"),
    include_str!("catalogs.rs"),
    include_str!("disks.rs"),
    include_str!("registry.rs"),
    include_str!("secured_kafka.rs"),
    include_str!("taken.rs"),
    include_str!("topics.rs"),
    include_str!("warehouses.rs"),
    include_str!("watermarks.rs"),
];

const JOB: &str = "roman-numerals";

#[track_caller]
fn end(running: Running) {
    running.terminate();
    running.wait(DEADLINE).expect_exit(143);
}

/// An address on which nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.local_addr().expect("an address").to_string()
}
