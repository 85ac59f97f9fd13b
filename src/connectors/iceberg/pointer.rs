//! Where a catalog keeps the pointer to a table's current metadata, and how it is moved.
//!
//! This is ours and not the library's transaction: that one reloads the table and applies itself again to
//! whatever it finds, which would put a commit on a version that nobody has checked for a fence, and may
//! reference a data file twice. Here a change names the version it was made for, is sent once, and what
//! came of it is told apart: done, refused because the table has moved, or unknown.

use async_trait::async_trait;
use iceberg::spec::MAIN_BRANCH;
use iceberg::table::Table;
use iceberg::{TableIdent, TableRequirement, TableUpdate};
use strandline_operators::Error;

/// A change of a table's metadata, and what must hold for it to be made.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// What must hold; only these fence, never a read of our own before the commit.
    pub requirements: Vec<TableRequirement>,
    /// What is changed, in this order.
    pub updates: Vec<TableUpdate>,
}

impl Change {
    /// A change of exactly this version of the table: the same table, branch head, columns and partitioning.
    pub(super) fn of(base: &Table, updates: Vec<TableUpdate>) -> Change {
        let metadata = base.metadata();
        let requirements = vec![
            TableRequirement::UuidMatch {
                uuid: metadata.uuid(),
            },
            TableRequirement::RefSnapshotIdMatch {
                r#ref: MAIN_BRANCH.to_owned(),
                snapshot_id: metadata.current_snapshot_id(),
            },
            TableRequirement::CurrentSchemaIdMatch {
                current_schema_id: metadata.current_schema_id(),
            },
            TableRequirement::DefaultSpecIdMatch {
                default_spec_id: metadata.default_partition_spec_id(),
            },
        ];
        Change {
            requirements,
            updates,
        }
    }
}

/// A change that took effect.
#[derive(Debug)]
pub(super) struct Swapped {
    /// The table as it is now.
    pub table: Table,
    /// Metadata files that fell off the table's log and that nothing refers to any more.
    pub superseded: Vec<String>,
}

/// Why a change did not, or may not, take effect.
#[derive(Debug)]
pub(super) enum NotSwapped {
    /// It did not: the table is not, or no longer, what the requirements say.
    Conflict(String),
    /// Nobody can tell: the answer was lost. Read the table again.
    Unknown(String),
    /// It did not, and sending it again will not help.
    Failed(Error),
}

/// The error for a table that the job had open and that the catalog no longer knows.
pub(super) fn gone(ident: &TableIdent) -> Error {
    Error::refused(format!(
        "table `{ident}` is gone: it was dropped or renamed while the job ran"
    ))
    .hint(
        "register its newest metadata file under the same name and start the job again; if the loss is meant, \
         starting it again makes a new table and begins at `starting_offsets`",
    )
}

/// The catalog as a commit needs it.
#[async_trait]
pub(super) trait Pointer: Send + Sync + std::fmt::Debug {
    /// Reads the table's current version.
    async fn load(&self, ident: &TableIdent) -> iceberg::Result<Table>;

    /// Sends the change once, durably, for exactly the version `base`.
    async fn swap(&self, base: &Table, change: Change) -> Result<Swapped, NotSwapped>;
}
