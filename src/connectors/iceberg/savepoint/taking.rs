//! A savepoint being made: a point is looked for at which all tables stand, and they are tagged.
//!
//! The point is an epoch. The primary is at it when its current snapshot and its progress were read from
//! one version of its metadata. A secondary is at it in the last snapshot before any later epoch of the
//! job, once the pending file of the epoch is rolled forward.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iceberg::table::Table;
use strandline_operators::job::{JobSettings, SecondaryTable};
use strandline_operators::landing::attempt::Verdict;
use strandline_operators::landing::fence::read_progress;
use strandline_operators::landing::pending::Mark;
use strandline_operators::landing::summary;
use strandline_operators::landing::table::Append;
use strandline_operators::progress::Progress;
use strandline_operators::time::Epoch;
use strandline_operators::{Error, Result};
use uuid::Uuid;

use super::super::IcebergConnector;
use super::super::catalog::OpenCatalog;
use super::super::open_table::OpenTable;
use super::super::version::TableVersion;
use super::super::{pending, tables};
use super::{Savepoint, TablePoint, VERSION, read, rows, snapshot_of, validate_name};

/// How long a point is looked for while the job commits.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long a running job is given to commit an epoch's secondaries before that is done for it.
const SECONDARY_PATIENCE: Duration = Duration::from_millis(500);

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// A table at a snapshot, of whose rows the job knows so many.
fn point(catalog: &OpenCatalog, table: &Table, snapshot_id: i64, known: u64) -> Result<TablePoint> {
    let rows = rows(catalog, table, snapshot_id)?;
    Ok(TablePoint {
        name: table.identifier().to_string(),
        route: None,
        uuid: table.metadata().uuid().to_string(),
        snapshot_id,
        rows,
        foreign_rows: rows as i64 - known as i64,
    })
}

impl IcebergConnector {
    /// Makes a savepoint of the job as its tables are, whether it runs or not.
    ///
    /// # Errors
    /// Configuration for a name that cannot be, or is in use, and for a job that has not run yet.
    pub fn savepoint(&self, settings: &JobSettings, name: &str) -> Result<Savepoint> {
        validate_name(name)?;
        let taking = Taking {
            catalog: &self.catalog,
            settings,
            name,
            id: Uuid::new_v4().simple().to_string(),
        };
        taking
            .take()
            .map_err(|e| e.context(format!("job {}", settings.name)))
    }
}

/// A savepoint being made.
pub(super) struct Taking<'a> {
    pub(super) catalog: &'a Arc<OpenCatalog>,
    pub(super) settings: &'a JobSettings,
    pub(super) name: &'a str,
    id: String,
}

impl Taking<'_> {
    fn take(&self) -> Result<Savepoint> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(savepoint) = self.attempt()? {
                self.align_tags(&savepoint)?;
                return Ok(savepoint);
            }
            if Instant::now() >= deadline {
                return Err(Error::unreachable(format!(
                    "found no point at which all tables of the job stand still, for {} s",
                    DEADLINE.as_secs()
                ))
                .hint("try again, or stop the job first: a savepoint needs no running job"));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn nothing_yet(&self) -> Error {
        Error::configuration(format!(
            "there is nothing to save: table `{}` holds no progress of this job",
            self.settings.table
        ))
        .hint(format!(
            "run the job first: `strandline run {}`",
            self.settings.name
        ))
    }

    /// One look at the tables; `None` when they have moved meanwhile.
    fn attempt(&self) -> Result<Option<Savepoint>> {
        let (job, name) = (&self.settings.name, &self.settings.table);
        let ident = tables::ident(name)?;
        let primary = self
            .catalog
            .load_if_there(&ident)?
            .ok_or_else(|| self.nothing_yet())?;
        self.require_free(&primary)?;
        let metadata = primary.metadata();
        let progress =
            read_progress(&TableVersion::of(&primary), job)?.ok_or_else(|| self.nothing_yet())?;
        let snapshot_id = metadata
            .current_snapshot_id()
            .ok_or_else(|| self.nothing_yet())?;
        if progress.pending.is_some() && !self.settle(&primary, &progress)? {
            return Ok(None);
        }
        let account = progress.account();
        let mut secondaries = Vec::new();
        for SecondaryTable { name, route, .. } in self.settings.secondary_tables() {
            let Some(secondary) = self.find_secondary(name, &progress)? else {
                return Ok(None);
            };
            let (table, snapshot_id) = secondary;
            let known = progress.rows_of(route);
            let point = point(self.catalog, &table, snapshot_id, known)?;
            secondaries.push(TablePoint {
                route: route.map(str::to_owned),
                ..point
            });
        }
        let savepoint = Savepoint {
            version: VERSION,
            id: self.id.clone(),
            name: self.name.to_owned(),
            created: chrono::Utc::now()
                .format("%Y-%m-%dT%H:%M:%S%.3fZ")
                .to_string(),
            primary: point(self.catalog, &primary, snapshot_id, account.landed)?,
            secondaries,
            progress: Progress {
                // Rolled forward, and deleted by the job's next commit.
                pending: None,
                pending_tables: BTreeMap::new(),
                ..progress
            },
        };
        for secondary in &savepoint.secondaries {
            self.tag_secondary(&savepoint, secondary)?;
        }
        self.tag_primary(&savepoint)?;
        Ok(Some(savepoint))
    }

    /// Refuses a name that is in use in the primary.
    pub(super) fn require_free(&self, primary: &Table) -> Result<()> {
        let other_name = "give it another name: `--name`";
        if let Some(savepoint) = read(primary, &self.settings.name, self.name)? {
            return Err(Error::configuration(format!(
                "the job has a savepoint `{}` already, of {}",
                self.name, savepoint.created
            ))
            .hint(other_name));
        }
        if primary.metadata().snapshot_for_ref(self.name).is_some() {
            return Err(Error::configuration(format!(
                "table `{}` has a branch or tag `{}` already, which is no savepoint of this job",
                primary.identifier(),
                self.name
            ))
            .hint(other_name));
        }
        Ok(())
    }

    /// Waits until the secondaries have what the committed epoch left for them, and sees to it when nobody
    /// does; `false` when the job has gone on meanwhile.
    fn settle(&self, primary: &Table, progress: &Progress) -> Result<bool> {
        let deadline = Instant::now() + SECONDARY_PATIENCE;
        while Instant::now() < deadline {
            let mut lacking = false;
            for (name, epoch) in &progress.pending_tables {
                lacking |= !self.has_epoch(name, *epoch, progress)?;
            }
            // Earlier builds did not say which tables a pending file is for.
            if !lacking && !progress.pending_tables.is_empty() {
                return Ok(true);
            }
            std::thread::sleep(PAUSE);
        }
        match pending::recover(self.catalog, primary, progress) {
            Ok(_) => Ok(true),
            // The job is past this epoch, and its pending file gone.
            Err(error) => {
                let now = self.catalog.load(primary.identifier())?;
                let found = read_progress(&TableVersion::of(&now), &self.settings.name)?;
                match found {
                    Some(found) if found == *progress => Err(error),
                    _ => Ok(false),
                }
            }
        }
    }

    /// Whether a secondary has come to an epoch.
    fn has_epoch(&self, name: &str, epoch: Epoch, progress: &Progress) -> Result<bool> {
        let Some(table) = self.catalog.load_if_there(&tables::ident(name)?)? else {
            return Ok(false);
        };
        let version = TableVersion::of(&table);
        let mark = Mark::read(&version, &progress.job, &progress.table_uuid)?;
        Ok(mark.is_some_and(|mark| mark.epoch >= epoch))
    }

    /// The secondary, and its snapshot of the progress' epoch; `None` when it cannot be told (any more).
    fn find_secondary(&self, name: &str, progress: &Progress) -> Result<Option<(Table, i64)>> {
        let ident = tables::ident(name)?;
        let Some(mut table) = self.catalog.load_if_there(&ident)? else {
            return Err(
                Error::configuration(format!("table `{name}` of the job does not exist"))
                    .hint("run the job once, it creates its tables"),
            );
        };
        if table.metadata().current_snapshot().is_none() {
            table = self.first_snapshot(table, progress)?;
        }
        let snapshot_id = snapshot_of(table.metadata(), &self.settings.name, progress.epoch);
        Ok(snapshot_id.map(|id| (table, id)))
    }

    /// Gives an empty table a snapshot, for there is nothing else that could be tagged.
    fn first_snapshot(&self, table: Table, progress: &Progress) -> Result<Table> {
        let mut open = OpenTable::new(Arc::clone(self.catalog), table);
        open.append_once(|base| {
            if base.metadata().current_snapshot().is_some() {
                return Ok(Verdict::Done);
            }
            Ok(Verdict::Append(Append {
                job: progress.job.clone(),
                files: Vec::new(),
                summary: [(summary::JOB.to_owned(), progress.job.clone())].into(),
                ..Append::default()
            }))
        })?;
        Ok(open.table().clone())
    }
}
