//! Landing: how an epoch gets into the job's tables exactly once, whatever fails in between.
//!
//! Pure protocol over two ports ([`table`]): a table that can be read, and changed for exactly the version
//! that was read; and small files for what secondary tables still lack. The connector knows how; what is
//! decided, in which order, and what a lost answer means, is decided here, and simulated.
//!
//! - A commit is made for one version of a table, on which fence and progress were checked, and only that
//!   version accepts it ([`attempt`]). Nothing retries below.
//! - A conflict or a lost answer leads back to reading the table, never to sending blindly.
//! - Progress is a property in the same commit as the data ([`committer`]), and every claim of a generation
//!   moves the branch, so that whatever an older generation has in flight no longer fits ([`claim`]).
//! - What secondary tables still lack is listed in a file whose path is in the progress ([`pending`]).
//! - Before a commit Kafka is asked whether the epoch's topics are still the same ([`confirmed`]).
//! - A secondary that cannot be reached gets what it lacks later; the primary goes on ([`behind`]). Each is committed to
//!   on a thread of its own, so that one that hangs holds nobody up.

pub mod attempt;
pub mod behind;
pub mod claim;
pub mod committer;
pub mod confirmed;
pub mod fence;
mod payer;
pub mod pending;
pub mod summary;
pub mod table;
pub mod trouble;
