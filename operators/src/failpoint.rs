//! Places in an epoch's life where a test may make something go wrong.
//!
//! They are there only with the feature `failpoints`; without it [`reached`] is nothing at all. What happens
//! at a place is up to the [`Host`]: a test of the real binary kills, fails, delays, hangs or panics there, a
//! simulation decides by its seed.

use crate::error::Result;
use crate::host::Host;

macro_rules! failpoints {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A place where a test may make something go wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Failpoint {
            $($(#[$doc])* $variant,)*
        }

        impl Failpoint {
            /// All of them, in the order of an epoch's life.
            pub const ALL: &[Failpoint] = &[$(Failpoint::$variant,)*];

            /// Its name, as a test writes it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Failpoint::$variant => $name,)*
                }
            }
        }
    };
}

failpoints! {
    /// A generation's claim is about to be sent.
    ClaimSend = "claim.send",
    /// The answer to a claim is here.
    ClaimSent = "claim.sent",
    /// A pending file is about to be rolled forward.
    RollForward = "pending.roll-forward",
    /// Ids are about to be read back from the table.
    Rebuild = "state.rebuild",
    /// The log is about to be asked for records.
    Read = "read",
    /// A batch is about to be decoded.
    Decode = "decode",
    /// Columns that a schema adds are about to be added to the tables.
    ColumnsAdd = "columns.add",
    /// The primary table has them, and nobody else yet.
    ColumnsAdded = "columns.added",
    /// Hashes are about to be sent to their owners.
    Exchange = "dedup.exchange",
    /// Hashes are about to be judged, and remembered in their epoch's overlay.
    Verdict = "dedup.verdict",
    /// The store is about to be asked.
    LookUp = "dedup.look-up",
    /// A durable epoch's ids are about to leave the overlay for the recent tier.
    Overlay = "dedup.overlay",
    /// A data file is about to be opened.
    FileOpen = "file.open",
    /// Rows are about to be written into a data file.
    FileWrite = "file.write",
    /// A data file is about to be closed.
    FileClose = "file.close",
    /// A data file is closed and durable.
    FileClosed = "file.closed",
    /// Dead letters are about to be given to the topic.
    LettersSend = "letters.send",
    /// The dead-letter topic is about to be flushed.
    LettersFlush = "letters.flush",
    /// The pending file is about to be written.
    PendingWrite = "pending.write",
    /// The primary table's commit is about to be sent.
    CommitSend = "commit.send",
    /// The answer to the primary table's commit is here.
    CommitSent = "commit.sent",
    /// The pending file of the epoch before is about to be deleted.
    PendingDelete = "pending.delete",
    /// A secondary table's commit is about to be sent.
    SecondarySend = "secondary.send",
    /// The answer to a secondary table's commit is here.
    SecondarySent = "secondary.sent",
    /// Everything of an epoch is committed, nothing has followed it yet.
    Durable = "durable",
    /// Ids and marker are about to be written to the store.
    StateWrite = "state.write",
    /// Ids and marker are in the store.
    StateWritten = "state.written",
    /// The group is about to be told its offsets.
    GroupOffsets = "group-offsets",
    /// The source has been told to drain.
    Drain = "drain",
}

/// Says that `point` is reached. Costs nothing without the feature `failpoints`.
///
/// # Errors
/// What a test wants to go wrong here.
#[inline]
pub fn reached(host: &dyn Host, point: Failpoint) -> Result<()> {
    if cfg!(feature = "failpoints") {
        host.reached(point)
    } else {
        Ok(())
    }
}

/// A rule of the engine that a test may take away, to see that its absence is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Owners judge epochs in order.
    EpochsInOrder,
}

/// Whether a rule is in force: always, without the feature `failpoints`.
#[inline]
pub fn in_force(host: &dyn Host, rule: Rule) -> bool {
    !cfg!(feature = "failpoints") || host.in_force(rule)
}
