//! Changes of a table that are no commit of an epoch: tags, properties, a return to a savepoint.

use std::time::{Duration, Instant};

use iceberg::TableIdent;
use iceberg::table::Table;
use strandline_operators::{Error, Result};

use super::catalog::OpenCatalog;
use super::pointer::{Change, NotSwapped};

/// How long a change is tried while other writers come first or answers are lost.
const DEADLINE: Duration = Duration::from_secs(60);
/// The first pause between two tries; it doubles.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Makes the change that `decide` says for the table's current version, `None` when it is made already.
/// `decide` is asked again for every version; it must recognise its own change, for an answer may be lost.
pub(super) fn change(
    catalog: &OpenCatalog,
    ident: &TableIdent,
    mut decide: impl FnMut(&Table) -> Result<Option<Change>>,
) -> Result<Table> {
    let deadline = Instant::now() + DEADLINE;
    let mut pause = PAUSE;
    loop {
        let table = catalog.load(ident)?;
        let Some(change) = decide(&table)? else {
            return Ok(table);
        };
        let why = match catalog
            .blocking
            .wait(catalog.pointer.swap(&table, change))?
        {
            Ok(swapped) => return Ok(swapped.table),
            Err(NotSwapped::Conflict(why) | NotSwapped::Unknown(why)) => why,
            Err(NotSwapped::Failed(error)) => return Err(error),
        };
        if Instant::now() >= deadline {
            return Err(
                Error::unreachable(format!("cannot change table `{ident}`: {why}")).hint(
                    "see that the catalog is up and that no other writer commits without pause",
                ),
            );
        }
        tracing::debug!(table = %ident, why, "the table has moved, looking again");
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
