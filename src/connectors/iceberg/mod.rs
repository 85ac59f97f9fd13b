//! Iceberg tables: the commit point of the engine, and what it reads back from them.
//!
//! | | |
//! |---|---|
//! | port `Files` | Parquet data files in the warehouse, on a disk or in an object store, durable when closed: [`open_files`] |
//! | port `Table` | one epoch into all of the job's tables, exactly once: [`JobTables::into_committer`] |
//! | port `TableColumns` | columns that schemas add while the job runs: [`IcebergConnector::columns`] |
//! | start | create or verify tables, claim a generation, roll pending files forward: [`IcebergConnector::prepare`] |
//! | recovery | rows by epoch and by expiry, streamed: [`read_back`] |
//! | savepoints | a tag on every table, and the way back to it: [`IcebergConnector::savepoint`], [`IcebergConnector::restore`] |
//! | for people | what `check`, `audit` and `demo` show: [`IcebergConnector::inspect`] |
//!
//! How a commit stays exactly once is decided in [`strandline_operators::landing`]. Here a change carries
//! requirements that only the version meets that it was made for (`pointer`), what came of it is told apart
//! (`open_table`), and nothing retries below us.
//!
//! One process of the job prepares and commits. The others get a [`TablesDescription`] and write files.

mod blocking;
mod catalog;
mod change;
mod columns;
mod copy;
mod data_file;
mod description;
mod files;
mod inspect;
mod lineage;
mod litter;
mod location;
mod merging;
mod open_table;
mod orphans;
mod pending;
mod pointer;
mod producer;
mod readback;
mod reset;
mod rest;
mod restore;
mod savepoint;
mod sql;
mod store;
mod tables;
#[cfg(test)]
mod tests;
mod version;

use std::sync::Arc;

use strandline_operators::host::{Host, Machine};
use strandline_operators::io::{Table, TableIndex};
use strandline_operators::job::{JobSettings, SecondaryTable};
use strandline_operators::landing::behind::SecondariesBehind;
use strandline_operators::landing::claim::{ClaimOptions, Claimant, claim};
use strandline_operators::landing::committer::{Committer, Secondary};
use strandline_operators::landing::fence::read_progress;
use strandline_operators::landing::pending::{Marks, roll_forward};
use strandline_operators::landing::table::VersionedTable;
use strandline_operators::landing::trouble::CommitTrouble;
use strandline_operators::progress::Progress;
use strandline_operators::schema::{AddedColumn, bronze_schema, dead_letter_schema};
use strandline_operators::{Error, Result};

pub use catalog::{CatalogKind, CatalogSettings};
pub use description::{TableDescription, TablesDescription};
pub use files::{ParquetFiles, open_files};
pub use inspect::{SnapshotFacts, TableFacts, TableView};
pub use readback::{Visitor, read_back};
pub use restore::FromSavepoint;
pub use savepoint::{
    NAME_CHARS_MAX as SAVEPOINT_NAME_CHARS_MAX, Savepoint, TablePoint,
    validate_name as validate_savepoint_name,
};
pub use store::store_trouble;

use blocking::Blocking;
use catalog::OpenCatalog;
use open_table::OpenTable;
use pending::PendingFolder;
use tables::TableShape;

/// An open catalog and warehouse.
#[derive(Clone, Debug)]
pub struct IcebergConnector {
    host: Arc<dyn Host>,
    catalog: Arc<OpenCatalog>,
}

impl IcebergConnector {
    /// Opens the catalog; the file of a SQLite catalog is created when missing.
    ///
    /// # Errors
    /// `Unreachable` within 10 s when the catalog does not answer; it names the URI.
    pub fn open(settings: &CatalogSettings) -> Result<IcebergConnector> {
        Ok(IcebergConnector {
            host: Arc::new(Machine),
            catalog: Arc::new(OpenCatalog::open(settings)?),
        })
    }

    /// The same on another host than this machine.
    #[must_use]
    pub fn on(self, host: Arc<dyn Host>) -> IcebergConnector {
        IcebergConnector { host, ..self }
    }

    /// Creates or verifies the job's tables, claims the next generation, and rolls forward what an earlier
    /// one left pending. Only one process of the job does this.
    ///
    /// `examine` sees the progress before it is written with the claim, may fill in what only the caller
    /// knows (cluster id, topic ids), and may refuse; it may be called more than once.
    ///
    /// # Errors
    /// `Refused` for a table that does not fit the job, that has history without progress, that was rolled
    /// back, or whose deduplication state no longer means the same (unless the options accept it).
    pub fn prepare(
        &self,
        settings: &JobSettings,
        options: ClaimOptions,
        examine: &mut dyn FnMut(&mut Progress) -> Result<()>,
    ) -> Result<JobTables> {
        let in_job = |e: Error| e.context(format!("job {}", settings.name));
        let added = self.added_columns(settings).map_err(in_job)?;
        let mut settings = settings.clone();
        settings.add_columns(&added);
        let settings = &settings;
        let shape = primary_shape(settings);
        let (name, catalog, host) = (&settings.name, &self.catalog, &*self.host);
        let open = |shape: &TableShape| {
            let table = tables::ensure(catalog, shape).map_err(in_job)?;
            Ok(OpenTable::new(Arc::clone(catalog), table))
        };
        let mut primary = open(&shape)?;
        if let Some(progress) = read_progress(primary.version(), name).map_err(in_job)? {
            restore::finish(catalog, &progress).map_err(in_job)?;
        }
        let mut secondaries = Vec::new();
        let mut shapes = Vec::new();
        for secondary in settings.secondary_tables() {
            let shape = secondary_shape(settings, &secondary);
            let SecondaryTable { index, route, name } = secondary;
            secondaries.push(Secondary {
                index,
                route: route.map(str::to_owned),
                name: name.to_owned(),
                table: open(&shape)?,
            });
            shapes.push(shape);
        }
        if read_progress(primary.version(), name)
            .map_err(in_job)?
            .is_none()
        {
            refuse_rows_without_progress(&catalog.blocking, primary.table(), settings)
                .map_err(in_job)?;
        }
        let versions = secondaries.iter().map(|s| s.table.version());
        let marks = Marks::read(versions, name).map_err(in_job)?;
        let claimant = Claimant {
            job: name,
            fingerprint: &settings.fingerprint(),
            new_hash_seed: rand::random(),
            options,
        };
        let progress = claim(host, &mut primary, &marks, claimant, examine).map_err(in_job)?;
        let pending_files = PendingFolder::of(primary.table());
        let mut open_again = |name: &str| {
            let table = catalog.load(&tables::ident(name)?)?;
            Ok(OpenTable::new(Arc::clone(catalog), table))
        };
        roll_forward(host, &pending_files, &marks, &mut open_again, &progress).map_err(in_job)?;
        for secondary in &mut secondaries {
            // A pending file may just have been rolled forward.
            secondary.table.reload().map_err(in_job)?;
        }
        primary.write_for(&shape);
        for (secondary, shape) in secondaries.iter_mut().zip(&shapes) {
            secondary.table.write_for(shape);
        }
        let description = TablesDescription {
            job: settings.name.clone(),
            generation: progress.generation(),
            primary_uuid: progress.table_uuid.clone(),
            tables: std::iter::once((TableIndex::PRIMARY, &primary))
                .chain(secondaries.iter().map(|s| (s.index, &s.table)))
                .zip(std::iter::once(&shape).chain(&shapes))
                .map(|((index, table), shape)| {
                    TableDescription::of(index, shape, table.table(), &catalog.properties)
                })
                .collect(),
            added,
        };
        orphans::remove(
            &description,
            &progress,
            primary.table(),
            secondaries.iter().map(|s| s.table.table()),
        );
        Ok(JobTables {
            host: Arc::clone(&self.host),
            primary,
            secondaries,
            progress,
            description,
        })
    }
}

impl IcebergConnector {
    /// The columns that the job's primary table has and its code does not, if its columns follow its schemas.
    fn added_columns(&self, settings: &JobSettings) -> Result<Vec<AddedColumn>> {
        if !settings.adds_columns() {
            return Ok(Vec::new());
        }
        let table = self
            .catalog
            .load_if_there(&tables::ident(&settings.table)?)?;
        Ok(table.map_or_else(Vec::new, |table| columns::beyond(&table, settings)))
    }
}

/// Refuses a table without progress of the job that already holds rows of its topics: they would land a
/// second time. The job's own snapshots would say so too, but they expire.
fn refuse_rows_without_progress(
    blocking: &Blocking,
    primary: &iceberg::table::Table,
    settings: &JobSettings,
) -> Result<()> {
    let name = primary.identifier().to_string();
    if !readback::holds_rows_of(blocking, primary, &name, &settings.topics)? {
        return Ok(());
    }
    Err(Error::refused(format!(
        "table `{name}` holds rows of topic `{}`, but no progress of job `{}`: they would land again",
        settings.topics.join("`, `"),
        settings.name
    ))
    .hint(format!(
        "restore the property `{}` from the newest metadata file that has it; if the rows are of another \
         job, or the job was renamed, let it write to a new table",
        Progress::property(&settings.name)
    )))
}

/// The column whose day partitions a dead-letter table.
const DEAD_LETTER_DAY: &str = "failed_at";

fn primary_shape(settings: &JobSettings) -> TableShape {
    TableShape {
        name: settings.table.clone(),
        columns: bronze_schema(&settings.columns),
        day_of: settings.event_time.clone(),
    }
}

fn secondary_shape(settings: &JobSettings, secondary: &SecondaryTable<'_>) -> TableShape {
    let name = secondary.name.to_owned();
    match secondary.route {
        Some(_) => TableShape {
            name,
            ..primary_shape(settings)
        },
        None => TableShape {
            name,
            columns: dead_letter_schema(),
            day_of: DEAD_LETTER_DAY.to_owned(),
        },
    }
}

/// The job's tables under a claimed generation.
#[derive(Debug)]
pub struct JobTables {
    host: Arc<dyn Host>,
    primary: OpenTable,
    secondaries: Vec<Secondary<OpenTable>>,
    progress: Progress,
    description: TablesDescription,
}

impl JobTables {
    /// The progress, as it was read from the version that the claim was made on.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The generation that was claimed.
    pub fn generation(&self) -> u32 {
        self.progress.generation()
    }

    /// What the other processes of the job need in order to write files.
    pub fn description(&self) -> &TablesDescription {
        &self.description
    }

    /// The commit point. There is one, so the tables are given up for it.
    /// What keeps a commit of the primary from succeeding is told to `trouble`, which of the other tables cannot follow to `behind`.
    pub fn into_committer(
        mut self,
        trouble: &CommitTrouble,
        behind: &SecondariesBehind,
    ) -> Box<dyn Table> {
        self.primary.tell(trouble);
        let pending_files = PendingFolder::of(self.primary.table());
        Box::new(Committer::new(
            self.host,
            self.primary,
            self.secondaries,
            Box::new(pending_files),
            self.progress,
            behind.clone(),
        ))
    }
}
