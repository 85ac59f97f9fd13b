//! Kafka, through librdkafka: the log that the source reads, what a job must know of topics and offsets
//! before it reads, the dead-letter topic, and an embedded broker for the demo.
//!
//! | module | |
//! |---|---|
//! | [`client`] | settings, the properties that are ours to set, librdkafka's logs and errors |
//! | [`fetching`] | what a reading client holds, and how long a broker may collect records for it |
//! | [`metadata`] | cluster, topics, offsets, before anything is read |
//! | [`discovery`] | what changes about the topics while a job runs: partitions added, topics created again |
//! | [`identity`] | the port `Topics`: whether the topics are still the same, before each commit |
//! | [`log`] | the port `Log`: one consumer a worker, a queue a partition, thousands of messages at a time |
//! | [`dead_letters`] | the port `DeadLetterTopic` |
//! | [`embedded`] | a broker inside this process, for the demo and the tests |
//! | [`peek`] | a few records of a topic, touching no state |
//!
//! Unsafe code is in `batch` (messages out of a partition's queue, leader epochs), `commits` (answers to commits of group
//! offsets) and `describe` (topic ids) only: rdkafka 0.39 offers none of them.

#[allow(unsafe_code)]
mod batch;
pub mod client;
#[allow(unsafe_code)]
pub mod commits;
pub mod dead_letters;
#[allow(unsafe_code)]
mod describe;
pub mod discovery;
pub mod embedded;
pub mod fetching;
pub mod identity;
pub mod log;
pub mod metadata;
pub mod peek;
