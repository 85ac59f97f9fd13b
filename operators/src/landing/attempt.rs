//! One commit, made exactly once: the loop around reading, deciding and sending.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::failpoint::{Failpoint, reached};
use crate::host::Host;
use crate::landing::table::{Append, Sent, Version, VersionedTable};

/// How long one commit is tried before it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Attempts, at most.
    attempts: u32,
    /// Time for all of them together.
    deadline: Duration,
}

impl Patience {
    /// Of a commit without which nothing goes on.
    pub const FULL: Patience = Patience {
        attempts: 30,
        deadline: Duration::from_secs(60),
    };

    /// Of a commit that can wait, while others wait for it.
    pub const BRIEF: Patience = Patience {
        attempts: 8,
        deadline: Duration::from_secs(3),
    };
}

/// The first pause between attempts; it doubles. A pause also lets compaction, a slow writer, come first.
const PAUSE: Duration = Duration::from_millis(20);

/// The longest pause between attempts.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What the owner of a commit decides for each version of the table it might be made on.
#[derive(Debug)]
pub enum Verdict {
    /// Append this.
    Append(Append),
    /// It is there already.
    Done,
}

/// The failpoints around sending it.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// Before.
    pub send: Failpoint,
    /// After.
    pub sent: Failpoint,
}

/// Pauses that double.
struct Pauses<'a> {
    host: &'a dyn Host,
    next: Duration,
}

impl Pauses<'_> {
    fn pause(&mut self) {
        self.host.sleep(self.next);
        self.next = (self.next * 2).min(PAUSE_MAX);
    }
}

/// An append that the catalog says it did not make.
struct Refused {
    snapshot_id: i64,
    /// The head that it was for.
    head: Option<i64>,
}

/// Commits what `decide` says, exactly once.
///
/// `decide` is asked for every version of the table that the commit might be made on, so its checks (fence,
/// progress, whether it is there already) always hold for the very version that is committed to. Returns
/// the snapshot, `None` when it was there already.
///
/// # Errors
/// What `decide` says; a table that cannot be read or changed within the patience.
pub fn commit<T: VersionedTable>(
    host: &dyn Host,
    table: &mut T,
    around: Around,
    patience: Patience,
    decide: impl FnMut(&T) -> Result<Verdict>,
) -> Result<Option<i64>> {
    let done = attempt(host, table, around, patience, decide);
    table.troubled(None);
    done
}

fn attempt<T: VersionedTable>(
    host: &dyn Host,
    table: &mut T,
    around: Around,
    patience: Patience,
    mut decide: impl FnMut(&T) -> Result<Verdict>,
) -> Result<Option<i64>> {
    let deadline = host.now() + patience.deadline;
    let mut pauses = Pauses { host, next: PAUSE };
    let mut last = String::new();
    let mut refused = None;
    for attempt in 0..patience.attempts {
        if attempt > 0 {
            pauses.pause();
            if let Err(e) = table.reload() {
                if host.now() >= deadline || e.kind() != ErrorKind::Unreachable {
                    return Err(e);
                }
                last = e.message().to_owned();
                table.troubled(Some(&last));
                continue;
            }
            if let Some(Refused { snapshot_id, head }) = refused.take() {
                if table.version().has_snapshot(snapshot_id) {
                    let name = table.version().name();
                    tracing::warn!(table = %name, snapshot_id, "a commit was answered with a conflict, but was made");
                    table.found(snapshot_id);
                    return Ok(Some(snapshot_id));
                }
                // On the same head a request that is still on its way could yet be carried out: then what
                // was written for it stays, and if it is orphaned, the next start removes it.
                if table.version().head() != head {
                    table.discard(snapshot_id);
                }
            }
        }
        let Verdict::Append(append) = decide(table)? else {
            return Ok(None);
        };
        let head = table.version().head();
        reached(host, around.send)?;
        let sent = table.append(&append)?;
        reached(host, around.sent)?;
        match sent {
            Sent::Committed { snapshot_id } => return Ok(Some(snapshot_id)),
            Sent::Conflict { snapshot_id, why } => {
                let name = table.version().name();
                tracing::debug!(table = %name, why, "the table has moved, building the commit again");
                refused = Some(Refused { snapshot_id, head });
                last = why;
                table.troubled(Some(&last));
            }
            Sent::Unknown { snapshot_id, why } => {
                let name = table.version().name();
                tracing::warn!(table = %name, why, "the answer to a commit was lost, looking it up");
                last = why;
                table.troubled(Some(&last));
                let mut pauses = Pauses { host, next: PAUSE };
                // Until the table can be read again nothing is known.
                while let Err(e) = table.reload() {
                    if host.now() >= deadline || e.kind() != ErrorKind::Unreachable {
                        return Err(e);
                    }
                    pauses.pause();
                }
                if table.version().has_snapshot(snapshot_id) {
                    table.found(snapshot_id);
                    return Ok(Some(snapshot_id));
                }
            }
            // Nobody has read the table since, so what was written stays; the next start removes orphans.
            Sent::Failed(error) => return Err(error),
        }
        if host.now() >= deadline {
            break;
        }
    }
    let name = table.version().name();
    Err(
        Error::unreachable(format!("cannot commit to `{name}`: {last}"))
            .hint("see that the catalog is up and that no other writer commits without pause"),
    )
}
