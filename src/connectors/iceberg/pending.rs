//! Pending files: the data files of the secondary tables, listed where the primary's commit finds them.
//!
//! A job has one commit point, the primary table's. The path of the pending file is in the progress that
//! goes into that commit; the secondaries follow, each idempotently by epoch. Whoever claims the table
//! after a crash in between rolls the file forward before anything else.

use std::collections::BTreeMap;
use std::sync::Arc;

use iceberg::table::Table;
use serde::{Deserialize, Serialize};
use strandline_operators::io::WrittenFile;
use strandline_operators::progress::{GenerationRecord, Progress};
use strandline_operators::time::Epoch;
use strandline_operators::{Error, Result};
use uuid::Uuid;

use super::catalog::OpenCatalog;
use super::commit::Secondary;
use super::location;
use super::open_table::{OpenTable, Verdict, property};
use super::producer::Append;
use super::summary;
use super::tables;

/// The version of pending files and marks that this build writes.
const VERSION: u32 = 1;

/// What a secondary table says of the job under one primary table, in the property
/// `strandline.secondary.<job>.<uuid of the primary>`. Another primary has a mark of its own, because it
/// counts generations of its own: neither fences the other, nor takes its epochs for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    version: u32,
    /// The generation that committed last.
    generation: u32,
    /// The epoch whose files are in the table, with all before it.
    epoch: Epoch,
}

fn mark_property(job: &str, primary_uuid: &str) -> String {
    format!("strandline.secondary.{job}.{primary_uuid}")
}

fn parse_mark(table: &str, property: &str, json: &str) -> Result<Mark> {
    serde_json::from_str(json).map_err(|e| {
        Error::refused(format!("cannot read `{property}` of table `{table}`: {e}"))
            .hint("the property was changed by hand; restore it from an earlier metadata file")
    })
}

/// What the secondary tables say of the job before a claim, under whichever primary.
pub(super) struct Marks(Vec<MarkOf>);

struct MarkOf {
    table: String,
    primary_uuid: String,
    mark: Mark,
}

impl Marks {
    pub(super) fn read<'a>(
        secondaries: impl Iterator<Item = &'a Table>,
        job: &str,
    ) -> Result<Marks> {
        let prefix = mark_property(job, "");
        let mut marks = Vec::new();
        for secondary in secondaries {
            let table = secondary.identifier().to_string();
            for (property, json) in secondary.metadata().properties() {
                // A job whose name goes on after ours with a dot leaves no UUID here.
                if let Some(primary_uuid) = property
                    .strip_prefix(&prefix)
                    .filter(|rest| Uuid::parse_str(rest).is_ok())
                {
                    marks.push(MarkOf {
                        mark: parse_mark(&table, property, json)?,
                        table: table.clone(),
                        primary_uuid: primary_uuid.to_owned(),
                    });
                }
            }
        }
        Ok(Marks(marks))
    }

    /// Where the generations of a new primary go on.
    pub(super) fn last(&self) -> Option<GenerationRecord> {
        Some(GenerationRecord {
            generation: self.0.iter().map(|m| m.mark.generation).max()?,
            last_epoch: self.0.iter().map(|m| m.mark.epoch).max()?,
        })
    }

    /// Refuses a secondary table that is ahead of the primary: its epochs would be used twice.
    ///
    /// A pending file cannot be the cause: it is of an epoch that the progress has.
    pub(super) fn check(&self, progress: &Progress, primary: &str) -> Result<()> {
        let last_epoch = progress.generations.last().map(|g| g.last_epoch);
        let ahead = |m: &&MarkOf| {
            m.mark.generation > progress.generation() || Some(m.mark.epoch) > last_epoch
        };
        let Some(MarkOf {
            table,
            primary_uuid,
            mark,
        }) = self.0.iter().find(ahead)
        else {
            return Ok(());
        };
        let at = format!(
            "it is at epoch {} of generation {}, `{primary}` at generation {}",
            mark.epoch,
            mark.generation,
            progress.generation()
        );
        if *primary_uuid == progress.table_uuid {
            return Err(Error::refused(format!(
                "table `{table}` is ahead of the primary table `{primary}` of job `{}`: {at}",
                progress.job
            ))
            .hint("the primary was restored from an older copy; restore its newest version, or let the job write to new tables"));
        }
        Err(Error::refused(format!(
            "the dead-letter table `{table}` belongs to another primary table of job `{}`, with UUID {primary_uuid}, \
             not to `{primary}`: {at}",
            progress.job
        ))
        .hint("set `dead_letters.table` to another table, or `table` to the primary that this one belongs to"))
    }
}

/// How the names of a job's pending files begin.
pub(super) fn own_prefix(job: &str) -> String {
    format!("strandline-{job}-pending-")
}

/// The data files of one epoch's secondaries, by the table's name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pending {
    version: u32,
    job: String,
    pub(super) epoch: Epoch,
    tables: BTreeMap<String, Vec<WrittenFile>>,
}

impl Pending {
    pub(super) fn new(job: &str, epoch: Epoch) -> Pending {
        Pending {
            version: VERSION,
            job: job.to_owned(),
            epoch,
            tables: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, table: &str, file: WrittenFile) {
        self.tables.entry(table.to_owned()).or_default().push(file);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    pub(super) fn tables(&self) -> impl Iterator<Item = (&str, &[WrittenFile])> {
        self.tables
            .iter()
            .map(|(name, files)| (name.as_str(), files.as_slice()))
    }

    /// Writes the file, durably, below the primary table's metadata; returns its location.
    pub(super) fn write(&self, primary_location: &str) -> Result<String> {
        let place = format!(
            "{primary_location}/metadata/{}{}-{}.json",
            own_prefix(&self.job),
            self.epoch.0,
            Uuid::new_v4().simple()
        );
        let path = location::require_local(&place)?;
        let json = serde_json::to_vec(self)
            .map_err(|e| Error::internal(format!("cannot write a pending file: {e}")))?;
        std::fs::write(&path, json)
            .and_then(|()| location::sync_file(&path))
            .and_then(|()| path.parent().map_or(Ok(()), location::sync_folder))
            .map_err(|e| {
                Error::unreachable(format!("cannot write the pending file `{place}`: {e}"))
                    .hint("see that the warehouse is there, writable, and not full")
            })?;
        Ok(place)
    }

    fn read(place: &str) -> Result<Pending> {
        let path = location::require_local(place)?;
        let json = std::fs::read(&path).map_err(|e| {
            let message = format!("cannot read the pending file `{place}`: {e}");
            let error = match e.kind() {
                std::io::ErrorKind::NotFound => Error::refused(message),
                _ => Error::unreachable(message),
            };
            error.hint("it lists data files of an epoch that is committed, and that the job's other tables still lack: restore it")
        })?;
        let pending: Pending = serde_json::from_slice(&json).map_err(|e| {
            Error::refused(format!("cannot understand the pending file `{place}`: {e}"))
        })?;
        if pending.version > VERSION {
            return Err(Error::refused(format!(
                "the pending file `{place}` has version {}, this build reads up to {VERSION}",
                pending.version
            ))
            .hint("run the newer build that wrote it"));
        }
        Ok(pending)
    }
}

/// Deletes a pending file that the table's progress no longer names.
pub(super) fn delete(place: &str) {
    if let Some(path) = location::local_path(place)
        && let Err(e) = std::fs::remove_file(path)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(place, error = %e, "cannot delete a pending file that is done");
    }
}

/// Commits one epoch's files to a secondary table, unless they are there already.
pub(super) fn commit_secondary(
    table: &mut OpenTable,
    progress: &Progress,
    epoch: Epoch,
    files: &[WrittenFile],
) -> Result<()> {
    let name = table.name();
    let job = &progress.job;
    let generation = progress.generation();
    let property_name = mark_property(job, &progress.table_uuid);
    let data_files = table.data_files(files.iter().map(|f| f.description.as_str()))?;
    // Someone may have removed the mark; the files themselves then say whether they are there.
    if !table
        .table()
        .metadata()
        .properties()
        .contains_key(&property_name)
        && table.refers_to_any(&data_files)?
    {
        return Ok(());
    }
    table.commit(|base| {
        let found = base.metadata().properties().get(&property_name);
        if let Some(json) = found {
            let mark = parse_mark(&name, &property_name, json)?;
            if mark.epoch == epoch {
                return Ok(Verdict::Done);
            }
            if mark.generation > generation || mark.epoch > epoch {
                return Err(Error::refused(format!(
                    "cannot commit epoch {epoch} to `{name}`: generation {generation} of job `{job}` is fenced by \
                     generation {}, which is at epoch {} there",
                    mark.generation, mark.epoch
                ))
                .hint("another process runs this job now; stop one of the two"));
            }
        }
        let mark = Mark { version: VERSION, generation, epoch };
        let json = serde_json::to_string(&mark).map_err(|e| Error::internal(format!("cannot write a mark: {e}")))?;
        let summary = [
            (summary::JOB, job.clone()),
            (summary::GENERATION, generation.to_string()),
            ("strandline.epoch", epoch.0.to_string()),
        ];
        Ok(Verdict::Append(Box::new(Append {
            job: job.clone(),
            files: data_files.clone(),
            summary: summary.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            properties: property(property_name.clone(), json),
        })))
    })?;
    Ok(())
}

/// Whether every one of the job's other tables says that it has the epoch: then its pending file is not
/// needed any more, and whoever removed it as an orphan has done no harm.
fn is_rolled_forward(progress: &Progress, secondaries: &[Secondary]) -> Result<bool> {
    let property = mark_property(&progress.job, &progress.table_uuid);
    for secondary in secondaries {
        let properties = secondary.table.table().metadata().properties();
        let mark = properties
            .get(&property)
            .map(|json| parse_mark(&secondary.shape.name, &property, json))
            .transpose()?;
        if mark.map(|mark| mark.epoch) != progress.epoch {
            return Ok(false);
        }
    }
    Ok(!secondaries.is_empty())
}

/// Rolls the pending file of the committed progress forward. The tables are found by the names in it, so
/// that it works after the job's settings have changed. Returns the names of the tables it committed to.
pub(super) fn recover(
    catalog: &Arc<OpenCatalog>,
    progress: &Progress,
    secondaries: &[Secondary],
) -> Result<Vec<String>> {
    let Some(place) = &progress.pending else {
        return Ok(Vec::new());
    };
    let pending = match Pending::read(place) {
        Ok(pending) => pending,
        Err(_)
            if location::first_missing(std::iter::once(place.as_str())).is_some()
                && is_rolled_forward(progress, secondaries)? =>
        {
            tracing::warn!(job = %progress.job, place, "a pending file is gone that was rolled forward already");
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    if pending.job != progress.job || Some(pending.epoch) != progress.epoch {
        return Err(Error::refused(format!(
            "the pending file `{place}` is of epoch {} of job `{}`, expected epoch {:?} of `{}`",
            pending.epoch, pending.job, progress.epoch, progress.job
        ))
        .hint("the table's progress or the file was changed by hand; restore both"));
    }
    let mut names = Vec::new();
    for (name, files) in pending.tables() {
        let mut table = OpenTable::new(Arc::clone(catalog), catalog.load(&tables::ident(name)?)?);
        commit_secondary(&mut table, progress, pending.epoch, files)?;
        names.push(name.to_owned());
    }
    Ok(names)
}
