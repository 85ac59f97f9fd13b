//! Iceberg tables: the commit point of the engine, and what it reads back from them.
//!
//! | | |
//! |---|---|
//! | port `Files` | Parquet data files in the local warehouse, durable when closed: [`open_files`] |
//! | port `Table` | one epoch into all of the job's tables, exactly once: [`JobTables::into_committer`] |
//! | start | create or verify tables, claim a generation, roll pending files forward: [`IcebergConnector::prepare`] |
//! | recovery | rows by epoch and by expiry, streamed: [`read_back`] |
//! | for people | what `check`, `audit` and `demo` show: [`IcebergConnector::inspect`] |
//!
//! How a commit stays exactly once:
//! - A commit is made for one version of a table, on which fence and progress were checked, and carries
//!   requirements that only this version meets (`pointer`). Nothing retries below us.
//! - A conflict or a lost answer leads back to reading the table, never to sending blindly (`open_table`).
//! - Progress is a property in the same commit as the data (`commit`), and every claim of a generation
//!   moves the branch, so that whatever an older generation has in flight no longer fits (`claim`).
//! - What secondary tables still lack is listed in a file whose path is in the progress (`pending`).
//!
//! One process of the job prepares and commits. The others get a [`TablesDescription`] and write files.

mod blocking;
mod catalog;
mod claim;
mod commit;
mod data_file;
mod description;
mod fence;
mod files;
mod inspect;
mod lineage;
mod litter;
mod location;
mod open_table;
mod orphans;
mod pending;
mod pointer;
mod producer;
mod readback;
mod rest;
mod sql;
mod summary;
mod tables;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use strandline_operators::arrow_schema::SchemaRef;
use strandline_operators::io::{Table, TableIndex};
use strandline_operators::job::JobSettings;
use strandline_operators::progress::Progress;
use strandline_operators::schema::{bronze_schema, dead_letter_schema};
use strandline_operators::{Error, Result};

pub use catalog::{CatalogKind, CatalogSettings};
pub use claim::ClaimOptions;
pub use description::{TableDescription, TablesDescription};
pub use files::open_files;
pub use inspect::{SnapshotFacts, TableFacts};
pub use readback::{ReadBack, read_back};

use catalog::OpenCatalog;
use commit::{Committer, Secondary};
use open_table::OpenTable;
use tables::TableShape;

/// An open catalog and warehouse.
#[derive(Clone, Debug)]
pub struct IcebergConnector {
    catalog: Arc<OpenCatalog>,
}

impl IcebergConnector {
    /// Opens the catalog; the file of a SQLite catalog is created when missing.
    ///
    /// # Errors
    /// `Unreachable` within 10 s when the catalog does not answer; it names the URI.
    pub fn open(settings: &CatalogSettings) -> Result<IcebergConnector> {
        Ok(IcebergConnector {
            catalog: Arc::new(OpenCatalog::open(settings)?),
        })
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
        let shape = TableShape {
            name: settings.table.clone(),
            columns: bronze_schema(&settings.columns),
            day_of: settings.event_time.clone(),
        };
        let mut primary = OpenTable::new(
            Arc::clone(&self.catalog),
            tables::ensure(&self.catalog, &shape).map_err(in_job)?,
        );
        let mut secondaries = Vec::new();
        if let Some(name) = &settings.dead_letter_table {
            let shape = dead_letter_shape(name, dead_letter_schema());
            let table = OpenTable::new(
                Arc::clone(&self.catalog),
                tables::ensure(&self.catalog, &shape).map_err(in_job)?,
            );
            secondaries.push(Secondary {
                index: TableIndex::DEAD_LETTERS,
                shape,
                table,
            });
        }
        self.refuse_rows_without_progress(&primary, settings)
            .map_err(in_job)?;
        let progress = claim::claim(
            &self.catalog,
            &mut primary,
            &secondaries,
            &settings.name,
            &settings.fingerprint(),
            options,
            examine,
        )
        .map_err(in_job)?;
        for secondary in &mut secondaries {
            // A pending file may just have been rolled forward.
            secondary.table.reload().map_err(in_job)?;
            secondary.table.write_for(&secondary.shape);
        }
        primary.write_for(&shape);
        let description = TablesDescription {
            job: settings.name.clone(),
            generation: progress.generation(),
            primary_uuid: progress.table_uuid.clone(),
            tables: std::iter::once((TableIndex::PRIMARY, &shape, &primary))
                .chain(secondaries.iter().map(|s| (s.index, &s.shape, &s.table)))
                .map(|(index, shape, table)| TableDescription::of(index, shape, table.table()))
                .collect(),
        };
        orphans::remove(
            &description,
            &progress,
            primary.table(),
            secondaries.iter().map(|s| s.table.table()),
        );
        Ok(JobTables {
            shape,
            primary,
            secondaries,
            progress,
            description,
        })
    }
}

impl IcebergConnector {
    /// Refuses a table without progress of the job that already holds rows of its topics: they would land a
    /// second time. The job's own snapshots would say so too, but they expire.
    fn refuse_rows_without_progress(
        &self,
        primary: &OpenTable,
        settings: &JobSettings,
    ) -> Result<()> {
        let table = primary.table();
        let name = primary.name();
        if fence::read_progress(table.metadata(), &name, &settings.name)?.is_some()
            || !readback::holds_rows_of(&self.catalog.blocking, table, &name, &settings.topics)?
        {
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
}

fn dead_letter_shape(name: &str, columns: SchemaRef) -> TableShape {
    TableShape {
        name: name.to_owned(),
        columns,
        day_of: "failed_at".to_owned(),
    }
}

/// The job's tables under a claimed generation.
#[derive(Debug)]
pub struct JobTables {
    shape: TableShape,
    primary: OpenTable,
    secondaries: Vec<Secondary>,
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
    pub fn into_committer(self) -> Box<dyn Table> {
        Box::new(Committer::new(
            self.primary,
            self.shape,
            self.secondaries,
            self.progress,
        ))
    }
}
