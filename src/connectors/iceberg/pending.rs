//! Pending files in the warehouse, beside the primary table's metadata.

use std::sync::Arc;

use iceberg::table::Table;
use strandline_operators::Result;
use strandline_operators::host::Machine;
use strandline_operators::landing::pending::{Marks, Pending, roll_forward};
use strandline_operators::landing::table::PendingFiles;
use strandline_operators::progress::Progress;
use uuid::Uuid;

use super::catalog::OpenCatalog;
use super::open_table::OpenTable;
use super::store::{Patience, Store};
use super::tables;

/// How the names of a job's pending files begin.
pub(super) fn own_prefix(job: &str) -> String {
    format!("strandline-{job}-pending-")
}

/// The pending files of the job whose primary table is at a location.
#[derive(Clone, Debug)]
pub(super) struct PendingFolder {
    primary_location: String,
    store: Store,
}

impl PendingFolder {
    pub(super) fn of(primary: &Table) -> PendingFolder {
        PendingFolder {
            primary_location: primary.metadata().location().to_owned(),
            store: Store::of(primary.file_io()),
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
        let json = pending.to_json()?;
        let written = self.store.write(&place, json, Patience::Full);
        written.map_err(|fault| {
            fault.explain(
                format!("cannot write the pending file `{place}`"),
                "see that the warehouse is there, writable, and not full",
            )
        })?;
        Ok(place)
    }

    fn read(&self, place: &str) -> Result<Option<Pending>> {
        let read = self.store.read(place, Patience::Full);
        let json = read.map_err(|fault| {
            fault.explain(
                format!("cannot read the pending file `{place}`"),
                "see that the warehouse is there and readable",
            )
        })?;
        json.map(|json| Pending::parse(place, &json)).transpose()
    }

    fn delete(&self, place: &str) {
        if let Err(fault) = self.store.delete(place) {
            tracing::warn!(place, error = %fault, "cannot delete a pending file that is done");
        }
    }
}
