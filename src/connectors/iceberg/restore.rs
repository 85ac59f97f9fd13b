//! Going on from a savepoint: the tables are taken back to it, under a new generation.
//!
//! The main branch gets an empty snapshot on top of the tagged one, which carries the progress of the
//! savepoint with a generation above every one before. One commit does all of that to the primary; it is
//! the point of no return. What an older generation has in flight was made for another head and does not
//! fit; what it still wants for a secondary is refused by the mark that the secondary gets. Secondaries
//! follow: the progress lists where they are to be, and every start finishes what an earlier one left.
//!
//! It is done once for every start that asks for it: the progress keeps the id of the request.

use std::sync::Arc;
use std::time::Duration;

use iceberg::table::Table;
use strandline_operators::account::Account;
use strandline_operators::job::{JobSettings, SecondaryTable};
use strandline_operators::landing::claim::ClaimOptions;
use strandline_operators::landing::fence::read_progress;
use strandline_operators::landing::pending::Mark;
use strandline_operators::landing::summary;
use strandline_operators::landing::table::Append;
use strandline_operators::progress::{Progress, Restored, RestoredTable};
use strandline_operators::time::Epoch;
use strandline_operators::{Error, Result};

use super::catalog::OpenCatalog;
use super::change::change;
use super::copy;
use super::pointer::Change;
use super::producer::produce_back_on;
use super::savepoint::{self, Savepoint, TablePoint};
use super::version::TableVersion;
use super::{IcebergConnector, catalog, pending, tables};

/// How often rows of others are counted again before they are believed: the job may be committing, and its
/// primary is ahead of its secondaries then.
const COUNTS: u32 = 5;
/// Pause between two counts.
const COUNT_PAUSE: Duration = Duration::from_millis(500);

/// Which savepoint to go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromSavepoint {
    /// Its name.
    pub name: String,
    /// The table that has it; `None` for the job's own.
    pub table: Option<String>,
    /// The request. The same one is carried out once, however often it is made.
    pub id: String,
}

impl FromSavepoint {
    pub(super) fn restored(&self, generation: u32, secondaries: Vec<RestoredTable>) -> Restored {
        Restored {
            savepoint: self.name.clone(),
            id: self.id.clone(),
            generation,
            secondaries,
        }
    }
}

/// What a caller of [`IcebergConnector::prepare`] has to say to progress before it is written.
pub(super) type Examine<'a> = &'a mut dyn FnMut(&mut Progress) -> Result<()>;

impl IcebergConnector {
    /// Takes the job's tables back to a savepoint, or copies the savepoint's rows into the job's new ones.
    /// To be followed by [`IcebergConnector::prepare`]. `examine` is as there, and sees the progress of the
    /// savepoint before anything is done.
    ///
    /// # Errors
    /// Configuration when there is no such savepoint, with the names of those there are; `Refused` when
    /// going back would lose rows of others, or the savepoint is not whole any more.
    pub fn restore(
        &self,
        settings: &JobSettings,
        options: ClaimOptions,
        from: &FromSavepoint,
        examine: Examine<'_>,
    ) -> Result<()> {
        let source_name = from.table.as_ref().unwrap_or(&settings.table);
        let restored = match self.catalog.load_if_there(&tables::ident(source_name)?)? {
            None => Err(no_savepoint(settings, from, source_name, None)),
            Some(source) => match savepoint::read(&source, &settings.name, &from.name)? {
                None => Err(no_savepoint(settings, from, source_name, Some(&source))),
                Some(savepoint) => {
                    check(settings, options, &savepoint, &source)?;
                    if *source_name == settings.table {
                        go_back(&self.catalog, settings, from, &savepoint, examine)
                    } else {
                        copy::copy(&self.catalog, settings, from, &source, &savepoint, examine)
                    }
                }
            },
        };
        restored.map_err(|e| {
            e.context(format!("savepoint {}", from.name))
                .context(format!("job {}", settings.name))
        })
    }
}

fn no_savepoint(
    settings: &JobSettings,
    from: &FromSavepoint,
    table: &str,
    found: Option<&Table>,
) -> Error {
    let job = &settings.name;
    let names = found.map(|table| savepoint::names(table, job));
    let hint = match names.as_deref() {
        None => format!(
            "table `{table}` does not exist; `--savepoint-table` names the table that has the savepoint"
        ),
        Some([]) => format!(
            "table `{table}` has no savepoint of this job; `strandline savepoint {job}` makes one, \
             and `--savepoint-table` names another table that has some"
        ),
        Some(names) => format!("table `{table}` has these: `{}`", names.join("`, `")),
    };
    Error::configuration(format!(
        "there is no savepoint `{}` of job `{job}`",
        from.name
    ))
    .hint(hint)
}

/// What must hold wherever the savepoint's rows go.
fn check(
    settings: &JobSettings,
    options: ClaimOptions,
    savepoint: &Savepoint,
    source: &Table,
) -> Result<()> {
    let fingerprint = settings.fingerprint();
    if savepoint.progress.fingerprint != fingerprint && !options.accept_new_fingerprint {
        return Err(Error::refused(format!(
            "job `{}` no longer judges duplicates and lateness as when the savepoint was made: \
             it was `{}`, it is `{fingerprint}`",
            settings.name, savepoint.progress.fingerprint
        ))
        .hint("restore the settings, or add `--accept-new-fingerprint` if the change is meant"));
    }
    if source.metadata().uuid().to_string() != savepoint.primary.uuid {
        return Err(Error::refused(format!(
            "the savepoint in table `{}` is that of another table, with UUID {}",
            source.identifier(),
            savepoint.primary.uuid
        ))
        .hint("the table was copied with its properties; use the original"));
    }
    require_snapshot(source, &savepoint.primary)
}

/// Refuses when the tagged snapshot is gone.
pub(super) fn require_snapshot(table: &Table, point: &TablePoint) -> Result<()> {
    if table.metadata().snapshot_by_id(point.snapshot_id).is_some() {
        return Ok(());
    }
    Err(Error::refused(format!(
        "table `{}` has lost snapshot {} of the savepoint",
        point.name, point.snapshot_id
    ))
    .hint("its tag was removed and the snapshot expired; use another savepoint"))
}

/// Takes the job's own tables back.
fn go_back(
    catalog: &Arc<OpenCatalog>,
    settings: &JobSettings,
    from: &FromSavepoint,
    savepoint: &Savepoint,
    examine: Examine<'_>,
) -> Result<()> {
    let (job, name) = (&settings.name, &settings.table);
    let read = |table: &Table| -> Result<Progress> {
        read_progress(&TableVersion::of(table), job)?.ok_or_else(|| {
            Error::refused(format!(
                "table `{name}` has lost the progress of job `{job}`"
            ))
            .hint("its property was removed; restore it from an earlier metadata file")
        })
    };
    let ident = tables::ident(name)?;
    let found = read(&catalog.load(&ident)?)?;
    if let Some(restored) = found.restored.filter(|restored| restored.id == from.id) {
        tracing::info!(
            job,
            savepoint = from.name,
            generation = restored.generation,
            "the savepoint was taken up already, going on from where the table is"
        );
        return Ok(());
    }
    require_own_secondaries(catalog, settings, savepoint)?;
    require_no_loss(catalog, settings, savepoint, &read)?;
    let mut generation = 0;
    change(catalog, &ident, |base| {
        let found = read(base)?;
        if found.restored.as_ref().is_some_and(|r| r.id == from.id) {
            return Ok(None);
        }
        require_snapshot(base, &savepoint.primary)?;
        let mut progress = savepoint.progress.clone();
        // May refuse, as it may at any start: before anything is done.
        let mut examined = progress.clone();
        examine(&mut examined)?;
        progress.claimed_by = examined.claimed_by;
        generation = progress.claim_after(found.generation());
        progress.restored = Some(from.restored(generation, targets(savepoint)));
        progress.sequence_number = base.metadata().next_sequence_number();
        let append = Append {
            job: job.clone(),
            files: Vec::new(),
            summary: summary::of(&progress, &Account::default()),
            properties: [(Progress::property(job), progress.to_json()?)].into(),
        };
        back_on(catalog, base, savepoint.primary.snapshot_id, &append).map(Some)
    })?;
    tracing::info!(job, savepoint = from.name, generation, table = %name, "taken back to the savepoint");
    Ok(())
}

fn targets(savepoint: &Savepoint) -> Vec<RestoredTable> {
    let target = |point: &TablePoint| RestoredTable {
        name: point.name.clone(),
        uuid: point.uuid.clone(),
        snapshot_id: point.snapshot_id,
    };
    savepoint.secondaries.iter().map(target).collect()
}

fn back_on(
    catalog: &OpenCatalog,
    base: &Table,
    snapshot_id: i64,
    append: &Append,
) -> Result<Change> {
    let produced = catalog
        .blocking
        .wait(produce_back_on(base, snapshot_id, append))?
        .map_err(|e| {
            Error::unreachable(format!(
                "cannot write the manifests of a commit to `{}`: {}",
                base.identifier(),
                catalog::reason(&e)
            ))
            .hint("see that the warehouse is there, writable, and not full")
        })?;
    Ok(produced.change)
}

/// Refuses when a table of the job is not in the savepoint but has rows of epochs after it, or one that is
/// in it is not what it was.
fn require_own_secondaries(
    catalog: &OpenCatalog,
    settings: &JobSettings,
    savepoint: &Savepoint,
) -> Result<()> {
    for point in &savepoint.secondaries {
        let table = catalog.load_if_there(&tables::ident(&point.name)?)?;
        match table {
            Some(table) if table.metadata().uuid().to_string() == point.uuid => {
                require_snapshot(&table, point)?;
            }
            _ => {
                return Err(Error::refused(format!(
                    "table `{}` is not the one that the savepoint was made of",
                    point.name
                ))
                .hint("it was dropped or made again; go on into new tables: set `table`, `dead_letters.table` and `routes`, and give `--savepoint-table`"));
            }
        }
    }
    for SecondaryTable { name, .. } in settings.secondary_tables() {
        let is_in_it = savepoint.secondaries.iter().any(|point| point.name == name);
        if !is_in_it {
            require_nothing_later(catalog, settings, savepoint, name)?;
        }
    }
    Ok(())
}

/// Refuses a secondary that has rows of epochs after the savepoint.
pub(super) fn require_nothing_later(
    catalog: &OpenCatalog,
    settings: &JobSettings,
    savepoint: &Savepoint,
    name: &str,
) -> Result<()> {
    let Some(table) = catalog.load_if_there(&tables::ident(name)?)? else {
        return Ok(());
    };
    let mark = Mark::read(
        &TableVersion::of(&table),
        &settings.name,
        &savepoint.primary.uuid,
    )?;
    if mark.is_none_or(|mark| mark.epoch <= savepoint.epoch()) {
        return Ok(());
    }
    Err(Error::refused(format!(
        "table `{name}` holds rows of the job that came after the savepoint, and would get them again"
    ))
    .hint("let the job use a new table instead of it: `dead_letters.table`, or its place in `routes`"))
}

/// Refuses when others have added rows since, or deleted some: they would be lost, or come back.
fn require_no_loss(
    catalog: &Arc<OpenCatalog>,
    settings: &JobSettings,
    savepoint: &Savepoint,
    read: &dyn Fn(&Table) -> Result<Progress>,
) -> Result<()> {
    let mut count = 0;
    loop {
        let Err(error) = count_rows(catalog, settings, savepoint, read) else {
            return Ok(());
        };
        count += 1;
        if count >= COUNTS {
            return Err(error);
        }
        std::thread::sleep(COUNT_PAUSE);
    }
}

fn count_rows(
    catalog: &Arc<OpenCatalog>,
    settings: &JobSettings,
    savepoint: &Savepoint,
    read: &dyn Fn(&Table) -> Result<Progress>,
) -> Result<()> {
    let primary = catalog.load(&tables::ident(&settings.table)?)?;
    let progress = read(&primary)?;
    // An earlier return that was not finished has its secondaries elsewhere.
    finish(catalog, &progress)?;
    pending::recover(catalog, &primary, &progress)?;
    let account = progress.account();
    let mut counted = vec![(primary, &savepoint.primary, account.landed)];
    for point in &savepoint.secondaries {
        let table = catalog.load(&tables::ident(&point.name)?)?;
        let known = progress.rows_of(point.route.as_deref());
        counted.push((table, point, known));
    }
    for (table, point, known) in counted {
        let head = table.metadata().current_snapshot_id();
        let rows = head.map_or(Ok(0), |head| savepoint::rows(catalog, &table, head))?;
        let foreign = rows as i64 - known as i64;
        if foreign != point.foreign_rows {
            return Err(Error::refused(format!(
                "table `{}` has {rows} rows, of which the job knows {known}; at the savepoint {} were not its own, \
                 now {foreign} are not: going back would undo what others did since",
                point.name, point.foreign_rows
            ))
            .hint("go on into new tables: set `table`, `dead_letters.table` and `routes`, and give `--savepoint-table`"));
        }
    }
    Ok(())
}

/// Takes the secondaries where the last return to a savepoint wants them, those that are not there yet.
pub(super) fn finish(catalog: &OpenCatalog, progress: &Progress) -> Result<()> {
    let Some(restored) = &progress.restored else {
        return Ok(());
    };
    let job = &progress.job;
    for target in &restored.secondaries {
        let ident = tables::ident(&target.name)?;
        let ours = |table: &Table| table.metadata().uuid().to_string() == target.uuid;
        if !catalog.load_if_there(&ident)?.as_ref().is_some_and(ours) {
            // Dropped since, and with it what came after the savepoint.
            continue;
        }
        let mut moved = false;
        change(catalog, &ident, |base| {
            let mark = Mark::read(&TableVersion::of(base), job, &progress.table_uuid)?;
            if !ours(base) || mark.is_some_and(|mark| mark.generation >= restored.generation) {
                return Ok(None);
            }
            moved = true;
            let epoch = epoch_of(progress, restored);
            let summary = [
                (summary::JOB, job.clone()),
                (summary::GENERATION, restored.generation.to_string()),
                (summary::EPOCH, epoch.0.to_string()),
            ];
            let mark = Mark::new(restored.generation, epoch).to_json()?;
            let append = Append {
                job: job.clone(),
                files: Vec::new(),
                summary: summary
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect(),
                properties: [(Mark::property(job, &progress.table_uuid), mark)].into(),
            };
            back_on(catalog, base, target.snapshot_id, &append).map(Some)
        })?;
        if moved {
            tracing::info!(job, savepoint = restored.savepoint, table = %target.name, "taken back to the savepoint");
        }
    }
    Ok(())
}

/// The last epoch before the return: as long as it is not finished nothing was committed since.
fn epoch_of(progress: &Progress, restored: &Restored) -> Epoch {
    let before = Epoch::first_of(restored.generation).0 - 1;
    let last = Epoch(before);
    progress.epoch.map_or(last, |epoch| epoch.min(last))
}
