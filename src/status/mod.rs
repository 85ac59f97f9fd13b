//! What a running job says of itself.
//!
//! | step | where |
//! |---|---|
//! | the counters of a process, as values, twice a second | `collect`, into [`facts`] |
//! | over the launcher's line, or directly, to the one place where the job is shown | `engine::supervised`, [`board`] |
//! | the processes of a job together, with rates and history | [`board`], into [`job`] |
//! | what holds it, by name | [`diagnosis`] |
//! | into a file, for the time when it does not run | [`last_seen`] |
//!
//! HTTP, the terminal and the log show what is published there. Whoever asks never touches a worker.

pub mod board;
pub mod collect;
pub mod diagnosis;
pub mod facts;
pub(crate) mod history;
pub mod job;
pub mod last_seen;
mod merge;
mod shown;
