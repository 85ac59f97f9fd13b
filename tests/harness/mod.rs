//! The kill harness: a real broker, a real catalog, a producer that never rests, and faults in an order
//! that a seed decides. `tests/kills.rs` runs it for minutes, `cargo xtask bench kills` for as long as asked.
//!
//! The schedule replays from its seed; the timing of a run does not.

// Every program that uses it takes its own part of it.
#![allow(dead_code, unused_imports)]

mod cluster;
mod disk;
mod faults;
pub mod judge;
mod load;
mod options;
mod phases;
pub mod processes;
pub mod reader;
pub mod report;
mod run;
mod schedule;
mod soak;

pub use faults::{AWAY_MS, PAUSE_MS, RECOVERY_MS, within};
pub use load::{Load, PARTITIONS};
pub use options::Options;
pub use run::{CATCH_UP_DEADLINE, RECOVERY_DEADLINE, run};
pub use schedule::{Fault, Schedule, Step};
pub use soak::soak;
