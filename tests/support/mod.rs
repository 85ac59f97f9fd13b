//! What the integration tests share: the real services, topics, runs of the program, the judge.

// Every test file takes its own part of it.
#![allow(dead_code, unused_imports)]

mod admin;
mod catalog_proxy;
mod clients;
mod events;
pub mod faulted;
mod http;
mod judge;
mod load;
mod object_store;
mod own_jobs;
mod processes;
mod refusing;
mod roman_numerals;
mod run;
mod served;
mod stack;
mod terminal;
mod tls;
mod topic;
mod transactions;
mod wait;

pub use admin::BROKER_DEADLINE;
pub use catalog_proxy::{Answered, Applied, CatalogProxy, Fault, Injected};
pub use clients::{client, in_repository, look, promtool, screenshots};
pub use events::{events, every_kind_of_bad_input, later_events};
pub use judge::{judge, judge_in, program};
pub use load::{Steady, load};
pub use object_store::ObjectStore;
pub use own_jobs::{be_own_program, own_program};
pub use processes::{children, go_on, is_alive, stop, thread_seconds};
pub use refusing::refusing_server;
pub use roman_numerals::{Catalog, RomanNumerals};
pub use run::{Finished, Running, signal, spawn};
pub use served::{
    Answer, DEADLINE, address, assert_named_in_time, http, http_over, named, served, status,
    wait_for_status, wait_until_consumed, wait_until_it_reads,
};
pub use stack::{OwnStack, Stack, stack, variable};
pub use terminal::Terminal;
pub use tls::{Tls, behind_tls};
pub use topic::{Message, Topic, create_topic};
pub use transactions::{Transaction, Transactions};
pub use wait::wait_until;

/// A name that no other test has, in any run: `prefix-0123...`.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4().simple())
}
