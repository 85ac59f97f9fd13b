//! Pending files in the warehouse, beside the primary table's metadata.

use std::sync::Arc;

use iceberg::table::Table;
use strandline_operators::host::Machine;
use strandline_operators::landing::pending::{Marks, Pending, roll_forward};
use strandline_operators::landing::table::PendingFiles;
use strandline_operators::progress::Progress;
use strandline_operators::{Error, Result};
use uuid::Uuid;

use super::catalog::OpenCatalog;
use super::location;
use super::open_table::OpenTable;
use super::tables;

/// How the names of a job's pending files begin.
pub(super) fn own_prefix(job: &str) -> String {
    format!("strandline-{job}-pending-")
}

/// The pending files of the job whose primary table is at a location.
#[derive(Clone, Debug)]
pub(super) struct PendingFolder {
    primary_location: String,
}

impl PendingFolder {
    pub(super) fn of(primary: &Table) -> PendingFolder {
        PendingFolder {
            primary_location: primary.metadata().location().to_owned(),
        }
    }
}

/// Rolls the pending file of a progress forward, outside of a claim.
pub(super) fn recover(
    catalog: &Arc<OpenCatalog>,
    primary: &Table,
    progress: &Progress,
) -> Result<()> {
    let mut open = |name: &str| {
        let table = catalog.load(&tables::ident(name)?)?;
        Ok(OpenTable::new(Arc::clone(catalog), table))
    };
    let files = PendingFolder::of(primary);
    roll_forward(&Machine, &files, &Marks::default(), &mut open, progress).map(drop)
}

impl PendingFiles for PendingFolder {
    fn write(&self, pending: &Pending) -> Result<String> {
        let place = format!(
            "{}/metadata/{}{}-{}.json",
            self.primary_location,
            own_prefix(&pending.job),
            pending.epoch.0,
            Uuid::new_v4().simple()
        );
        let path = location::require_local(&place)?;
        let json = pending.to_json()?;
        std::fs::write(&path, json)
            .and_then(|()| location::sync_file(&path))
            .and_then(|()| path.parent().map_or(Ok(()), location::sync_folder))
            .map_err(|e| {
                Error::unreachable(format!("cannot write the pending file `{place}`: {e}"))
                    .hint("see that the warehouse is there, writable, and not full")
            })?;
        Ok(place)
    }

    fn read(&self, place: &str) -> Result<Option<Pending>> {
        let path = location::require_local(place)?;
        match std::fs::read(&path) {
            Ok(json) => Pending::parse(place, &json).map(Some),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::unreachable(format!(
                "cannot read the pending file `{place}`: {e}"
            ))
            .hint("see that the warehouse is there and readable")),
        }
    }

    fn delete(&self, place: &str) {
        if let Some(path) = location::local_path(place)
            && let Err(e) = std::fs::remove_file(path)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(place, error = %e, "cannot delete a pending file that is done");
        }
    }
}
