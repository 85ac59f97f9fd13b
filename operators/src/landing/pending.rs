//! Pending files: the data files of the secondary tables, listed where the primary's commit finds them.
//!
//! A job has one commit point, the primary table's. The path of the pending file is in the progress that
//! goes into that commit; the secondaries follow, each idempotently by epoch. Whoever claims the table
//! after a crash in between rolls the file forward before anything else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::failpoint::{Failpoint, reached};
use crate::host::Host;
use crate::io::WrittenFile;
use crate::landing::attempt::{Around, Patience, Verdict, commit};
use crate::landing::summary;
use crate::landing::table::{Append, PendingFiles, Version, VersionedTable};
use crate::progress::{GenerationRecord, Progress};
use crate::time::Epoch;

/// The version of marks that this build writes, and of pending files that list one epoch.
const VERSION: u32 = 1;

/// The version of pending files that list earlier epochs too, for tables that are behind.
const VERSION_BEHIND: u32 = 2;

/// What a secondary table says of the job under one primary table, in the property
/// `strandline.secondary.<job>.<uuid of the primary>`. Another primary has a mark of its own, because it
/// counts generations of its own: neither fences the other, nor takes its epochs for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    version: u32,
    /// The generation that committed last.
    pub generation: u32,
    /// The epoch whose files are in the table, with all before it.
    pub epoch: Epoch,
}

impl Mark {
    /// The mark of a generation that has come to an epoch.
    pub fn new(generation: u32, epoch: Epoch) -> Mark {
        Mark {
            version: VERSION,
            generation,
            epoch,
        }
    }

    /// The property that carries it.
    pub fn property(job: &str, primary_uuid: &str) -> String {
        format!("strandline.secondary.{job}.{primary_uuid}")
    }

    /// What the table says, if anything.
    ///
    /// # Errors
    /// A mark that cannot be understood.
    pub fn read(version: &impl Version, job: &str, primary_uuid: &str) -> Result<Option<Mark>> {
        let property = Mark::property(job, primary_uuid);
        let json = version.property(&property);
        json.map(|json| Mark::parse(&version.name(), &property, json))
            .transpose()
    }

    /// The property's text.
    ///
    /// # Errors
    /// None that data can cause.
    pub fn to_json(self) -> Result<String> {
        serde_json::to_string(&self)
            .map_err(|e| Error::internal(format!("cannot write a mark: {e}")))
    }

    fn parse(table: &str, property: &str, json: &str) -> Result<Mark> {
        serde_json::from_str(json).map_err(|e| {
            Error::refused(format!("cannot read `{property}` of table `{table}`: {e}"))
                .hint("the property was changed by hand; restore it from an earlier metadata file")
        })
    }
}

/// What the secondary tables say of the job before a claim, under whichever primary.
#[derive(Debug, Default)]
pub struct Marks(Vec<MarkOf>);

#[derive(Debug)]
struct MarkOf {
    table: String,
    primary_uuid: String,
    mark: Mark,
}

impl Marks {
    /// Reads them from the secondaries' versions.
    ///
    /// # Errors
    /// A mark that cannot be understood.
    pub fn read<'a, V: Version + 'a>(
        secondaries: impl Iterator<Item = &'a V>,
        job: &str,
    ) -> Result<Marks> {
        let prefix = Mark::property(job, "");
        let mut marks = Vec::new();
        for secondary in secondaries {
            let table = secondary.name();
            for (primary_uuid, json) in secondary.properties_with_prefix(&prefix) {
                // A job whose name goes on after ours with a dot leaves no UUID here.
                if is_uuid(primary_uuid) {
                    let property = Mark::property(job, primary_uuid);
                    marks.push(MarkOf {
                        mark: Mark::parse(&table, &property, json)?,
                        table: table.clone(),
                        primary_uuid: primary_uuid.to_owned(),
                    });
                }
            }
        }
        Ok(Marks(marks))
    }

    /// Whether every secondary has what the progress' epoch left for it.
    fn are_at(&self, progress: &Progress) -> bool {
        let own = || {
            self.0
                .iter()
                .filter(|m| m.primary_uuid == progress.table_uuid)
        };
        if progress.pending_tables.is_empty() {
            return own().next().is_some() && own().all(|m| Some(m.mark.epoch) == progress.epoch);
        }
        let is_at = |(table, epoch): (&String, &Epoch)| {
            own().any(|m| m.table == *table && m.mark.epoch == *epoch)
        };
        progress.pending_tables.iter().all(is_at)
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
            "table `{table}` belongs to another primary table of job `{}`, with UUID {primary_uuid}, \
             not to `{primary}`: {at}",
            progress.job
        ))
        .hint("let the job use another table (`dead_letters.table`, `routes`), or set `table` to the primary that this one belongs to"))
    }
}

/// Whether a text has the form of a UUID, `8-4-4-4-12` hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12])
        && text
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// The data files of one epoch for one secondary table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// The epoch.
    pub epoch: Epoch,
    /// The files.
    pub files: Vec<WrittenFile>,
    /// What the primary table's snapshot of the epoch says; empty when an older build wrote it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub summary: BTreeMap<String, String>,
}

/// The data files of the secondaries, by the table's name: those of one epoch, and for tables that are
/// behind those of earlier ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    version: u32,
    /// The job.
    pub job: String,
    /// The epoch.
    pub epoch: Epoch,
    tables: BTreeMap<String, Vec<WrittenFile>>,
    /// What the primary table's snapshot of the epoch says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    summary: BTreeMap<String, String>,
    /// What tables have not got of earlier epochs, the oldest first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    behind: BTreeMap<String, Vec<Owed>>,
}

impl Pending {
    /// Nothing pending yet for `epoch`.
    pub fn new(job: &str, epoch: Epoch) -> Pending {
        Pending {
            version: VERSION,
            job: job.to_owned(),
            epoch,
            tables: BTreeMap::new(),
            summary: BTreeMap::new(),
            behind: BTreeMap::new(),
        }
    }

    /// Takes in what the primary table's snapshot of the epoch will say.
    pub(super) fn describe(&mut self, summary: BTreeMap<String, String>) {
        self.summary = summary;
    }

    /// Takes in what a table has not got of earlier epochs.
    pub(super) fn carry(&mut self, table: &str, owed: &[Owed]) {
        self.version = VERSION_BEHIND;
        let mut owed = owed.to_vec();
        // Of all but the last only the counts are of use, and there may be thousands.
        if let Some((_, earlier)) = owed.split_last_mut() {
            for owed in earlier {
                summary::keep_counts(&mut owed.summary);
            }
        }
        self.behind.insert(table.to_owned(), owed);
    }

    pub(super) fn add(&mut self, table: &str, file: WrittenFile) {
        self.tables.entry(table.to_owned()).or_default().push(file);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.behind.is_empty()
    }

    /// What each table has not got, the oldest epoch first; never nothing.
    pub(super) fn tables(&self) -> BTreeMap<&str, Vec<Owed>> {
        let mut tables: BTreeMap<&str, Vec<Owed>> = BTreeMap::new();
        for (name, owed) in &self.behind {
            tables.entry(name).or_default().extend_from_slice(owed);
        }
        for (name, files) in &self.tables {
            tables.entry(name).or_default().push(Owed {
                epoch: self.epoch,
                files: files.clone(),
                summary: self.summary.clone(),
            });
        }
        tables.retain(|_, owed| !owed.is_empty());
        tables
    }

    /// The file's text.
    ///
    /// # Errors
    /// None that data can cause.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|e| Error::internal(format!("cannot write a pending file: {e}")))
    }

    /// Reads the text of the file at `place`.
    ///
    /// # Errors
    /// `Refused` when it cannot be understood, or a newer build wrote it.
    pub fn parse(place: &str, json: &[u8]) -> Result<Pending> {
        let pending: Pending = serde_json::from_slice(json).map_err(|e| {
            Error::refused(format!("cannot understand the pending file `{place}`: {e}"))
        })?;
        if pending.version > VERSION_BEHIND {
            return Err(Error::refused(format!(
                "the pending file `{place}` has version {}, this build reads up to {VERSION_BEHIND}",
                pending.version
            ))
            .hint("run the newer build that wrote it"));
        }
        Ok(pending)
    }
}

/// Commits to a secondary table what it has not got yet of `owed`, in one commit; the oldest epoch first,
/// and at least one.
///
/// # Errors
/// `Refused` when a newer generation, or a later epoch, holds the table.
pub fn commit_secondary<T: VersionedTable>(
    host: &dyn Host,
    table: &mut T,
    progress: &Progress,
    owed: &[Owed],
    patience: Patience,
) -> Result<()> {
    let Some(epoch) = owed.last().map(|last| last.epoch) else {
        return Ok(());
    };
    let job = &progress.job;
    let generation = progress.generation();
    let property = Mark::property(job, &progress.table_uuid);
    let around = Around {
        send: Failpoint::SecondarySend,
        sent: Failpoint::SecondarySent,
    };
    commit(host, table, around, patience, |table| {
        let version = table.version();
        let mark = Mark::read(version, job, &progress.table_uuid)?;
        if let Some(mark) = mark {
            let name = version.name();
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
        let (mut files, mut summaries) = (Vec::new(), Vec::new());
        for owed in owed {
            let is_there = match mark {
                Some(mark) => owed.epoch <= mark.epoch,
                // Someone has removed the mark; the files themselves say whether they are there.
                None => table.refers_to_any(&owed.files)?,
            };
            if !is_there {
                files.extend_from_slice(&owed.files);
                summaries.push(&owed.summary);
            }
        }
        if files.is_empty() {
            return Ok(Verdict::Done);
        }
        let json = Mark::new(generation, epoch).to_json()?;
        let mut summary = summary::together(summaries.into_iter());
        let own = [
            (summary::JOB, job.clone()),
            (summary::GENERATION, generation.to_string()),
            (summary::EPOCH, epoch.0.to_string()),
        ];
        summary.extend(own.map(|(key, value)| (key.to_owned(), value)));
        Ok(Verdict::Append(Append {
            job: job.clone(),
            files,
            summary,
            properties: [(property.clone(), json)].into(),
        }))
    })?;
    Ok(())
}

/// Rolls the pending file of the committed progress forward. `marks` are what the secondaries said before;
/// `open` opens a table by the name that stands
/// in the file, so that it works after the job's settings have changed. Returns the names of the tables.
///
/// # Errors
/// `Refused` when the file is gone, or is not that of the progress.
pub fn roll_forward<T: VersionedTable>(
    host: &dyn Host,
    files: &dyn PendingFiles,
    marks: &Marks,
    open: &mut dyn FnMut(&str) -> Result<T>,
    progress: &Progress,
) -> Result<Vec<String>> {
    let Some(place) = &progress.pending else {
        return Ok(Vec::new());
    };
    reached(host, Failpoint::RollForward)?;
    let Some(pending) = files.read(place)? else {
        if marks.are_at(progress) {
            // Whoever removed it as an orphan has done no harm.
            tracing::warn!(job = %progress.job, place, "a pending file is gone that was rolled forward already");
            return Ok(Vec::new());
        }
        return Err(Error::refused(format!("the pending file `{place}` is gone")).hint(
            "it lists data files of an epoch that is committed, and that the job's other tables still lack: \
             restore it",
        ));
    };
    if pending.job != progress.job || Some(pending.epoch) != progress.epoch {
        return Err(Error::refused(format!(
            "the pending file `{place}` is of epoch {} of job `{}`, expected epoch {:?} of `{}`",
            pending.epoch, pending.job, progress.epoch, progress.job
        ))
        .hint("the table's progress or the file was changed by hand; restore both"));
    }
    let mut names = Vec::new();
    for (name, owed) in pending.tables() {
        commit_secondary(host, &mut open(name)?, progress, &owed, Patience::FULL)?;
        names.push(name.to_owned());
    }
    if !names.is_empty() {
        tracing::info!(job = %progress.job, tables = ?names, epoch = ?progress.epoch, "pending files are committed");
    }
    Ok(names)
}
