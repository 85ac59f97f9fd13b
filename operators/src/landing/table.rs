//! The ports of landing: a table with versions, and the files of what is pending.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::io::WrittenFile;
use crate::landing::pending::Pending;

/// What the ancestry of a table's head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lineage {
    /// The snapshot with the sequence number is an ancestor, or the head.
    Descends,
    /// There is no head.
    Empty,
    /// An ancestor is older, and the expected one is not among its descendants.
    Past(i64),
    /// The first snapshot of the history is newer.
    Replaced,
    /// The job itself has committed later.
    Newer(i64),
    /// The history is expired, and nothing tells of it any more.
    Unknown,
    /// What would tell of it cannot be read now, and why.
    Unreadable(String),
}

/// One version of a table, as it was read.
pub trait Version {
    /// The table's name, `namespace.table`.
    fn name(&self) -> String;

    /// The table's UUID. One that was created again under the same name has another.
    fn uuid(&self) -> String;

    /// The snapshot at the head of the main branch.
    fn head(&self) -> Option<i64>;

    /// Whether this version knows the snapshot.
    fn has_snapshot(&self, snapshot_id: i64) -> bool;

    /// The sequence number that the next snapshot will have.
    fn next_sequence_number(&self) -> i64;

    /// Whether the head descends from the snapshot of `job` with the sequence number `expected`.
    fn lineage(&self, job: &str, expected: i64) -> Lineage;

    /// Whether a snapshot that is kept was made by `job`.
    fn has_snapshot_of(&self, job: &str) -> bool;

    /// When `generation` of `job` shows first, in words, for a message.
    fn since(&self, job: &str, generation: u32) -> String;

    /// A property.
    fn property(&self, name: &str) -> Option<&str>;

    /// The properties whose names begin with `prefix`: what follows it, and the value.
    fn properties_with_prefix<'a>(&'a self, prefix: &str) -> Vec<(&'a str, &'a str)>;
}

/// A new snapshot on the main branch, with properties set in the same commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Append {
    /// The job that makes it.
    pub job: String,
    /// The data files that it adds; none for a claim.
    pub files: Vec<WrittenFile>,
    /// What its summary says besides.
    pub summary: BTreeMap<String, String>,
    /// The properties that are set with it.
    pub properties: BTreeMap<String, String>,
}

/// What came of an append.
#[derive(Debug)]
pub enum Sent {
    /// It is in the table; the version in hand is the one after it.
    Committed {
        /// Its snapshot.
        snapshot_id: i64,
    },
    /// The catalog says that the table has moved. Something on the way may have sent the request twice and
    /// handed us the second answer: so only the table says whether it was made.
    Conflict {
        /// The snapshot it would have made.
        snapshot_id: i64,
        /// What the catalog said.
        why: String,
    },
    /// The answer was lost. It may have been made, or be made yet.
    Unknown {
        /// The snapshot it would make.
        snapshot_id: i64,
        /// How it was lost.
        why: String,
    },
    /// It was not made, and sending it again will not help.
    Failed(Error),
}

/// A table open for commits of one owner.
pub trait VersionedTable: Send {
    /// What a version shows.
    type Version: Version;

    /// The version in hand.
    fn version(&self) -> &Self::Version;

    /// Reads the current version.
    ///
    /// # Errors
    /// `Unreachable` when trying again may help.
    fn reload(&mut self) -> Result<()>;

    /// Whether the version in hand refers to any of these data files. Reads all that it refers to.
    ///
    /// # Errors
    /// A table that cannot be read.
    fn refers_to_any(&self, files: &[WrittenFile]) -> Result<bool>;

    /// Sends an append, once, for exactly the version in hand, durably.
    ///
    /// # Errors
    /// What went wrong before anything was sent; `Refused` for a version that the data files do not fit.
    fn append(&mut self, append: &Append) -> Result<Sent>;

    /// An append that was not known to be committed is in the version in hand.
    fn found(&mut self, snapshot_id: i64);

    /// An append was not made and never will be: the version in hand has another head than it was for.
    fn discard(&mut self, snapshot_id: i64);

    /// For people: an attempt at a commit did not succeed and there will be another, or (`None`) it has.
    fn troubled(&self, _why: Option<&str>) {}
}

/// The files that list what secondary tables still lack, beside the primary table.
pub trait PendingFiles: Send {
    /// Writes one, durably, under a name that was never used; returns its place.
    ///
    /// # Errors
    /// A store that cannot be written.
    fn write(&self, pending: &Pending) -> Result<String>;

    /// Reads one; `None` when it is gone.
    ///
    /// # Errors
    /// A store that cannot be read, a file that cannot be understood.
    fn read(&self, place: &str) -> Result<Option<Pending>>;

    /// Deletes one that no progress names any more. A failure only leaves it lying there.
    fn delete(&self, place: &str);
}
