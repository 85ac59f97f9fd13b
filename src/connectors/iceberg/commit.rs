//! The commit point: one epoch, all of its tables, exactly once.

use strandline_operators::io::{Committed, Table, TableIndex, WrittenFile};
use strandline_operators::progress::{EpochCommit, Progress};
use strandline_operators::{Error, Result};

use super::fence;
use super::open_table::{OpenTable, Verdict, property};
use super::pending::{self, Pending};
use super::producer::Append;
use super::summary;
use super::tables::{self, TableShape};

/// A secondary table: its index in the job, its shape, and the table once something was committed to it.
#[derive(Debug)]
pub(super) struct Secondary {
    pub(super) index: TableIndex,
    pub(super) shape: TableShape,
    pub(super) table: OpenTable,
}

/// The job's tables, open for commits of one generation. Used from one thread of the whole cluster.
#[derive(Debug)]
pub(super) struct Committer {
    primary: OpenTable,
    primary_shape: TableShape,
    secondaries: Vec<Secondary>,
    /// As the last commit of this generation left it.
    progress: Progress,
}

impl Committer {
    pub(super) fn new(
        primary: OpenTable,
        primary_shape: TableShape,
        secondaries: Vec<Secondary>,
        progress: Progress,
    ) -> Committer {
        Committer {
            primary,
            primary_shape,
            secondaries,
            progress,
        }
    }

    /// The epoch's files by table, and what they must add up to.
    fn sort_files(&self, epoch: &EpochCommit) -> Result<(Vec<WrittenFile>, Pending)> {
        let mut primary = Vec::new();
        let mut pending = Pending::new(&self.progress.job, epoch.epoch);
        for file in &epoch.files {
            if file.table == TableIndex::PRIMARY {
                primary.push(file.clone());
                continue;
            }
            let secondary = self
                .secondaries
                .iter()
                .find(|s| s.index == file.table)
                .ok_or_else(|| {
                    Error::internal(format!(
                        "epoch {} has a file for table {}, which the job lacks",
                        epoch.epoch, file.table.0
                    ))
                })?;
            pending.add(&secondary.shape.name, file.clone());
        }
        let account = epoch.account();
        let rows: u64 = primary.iter().map(|f| f.rows).sum();
        let dead_letters: u64 = epoch
            .files
            .iter()
            .filter(|f| f.table == TableIndex::DEAD_LETTERS)
            .map(|f| f.rows)
            .sum();
        let keeps_dead_letters = self
            .secondaries
            .iter()
            .any(|s| s.index == TableIndex::DEAD_LETTERS);
        // The account is written into the table for ever: it must not say what the files do not.
        if !account.is_balanced()
            || account.landed != rows
            || (keeps_dead_letters && account.dead_letters != dead_letters)
        {
            return Err(Error::internal(format!(
                "epoch {} does not add up: its files have {rows} rows and {dead_letters} dead letters, \
                 its account is {account:?}",
                epoch.epoch
            )));
        }
        Ok((primary, pending))
    }

    fn commit_primary(
        &mut self,
        epoch: &EpochCommit,
        files: &[WrittenFile],
        next: &mut Progress,
    ) -> Result<Option<i64>> {
        let name = self.primary.name();
        let job = self.progress.job.clone();
        let ours = self.progress.generation();
        let before = &self.progress;
        let shape = &self.primary_shape;
        let data_files = self
            .primary
            .data_files(files.iter().map(|f| f.description.as_str()))?;
        let account = epoch.account();
        let snapshot = self.primary.commit(|base| {
            let metadata = base.metadata();
            let found = fence::read_progress(metadata, &name, &job)?.ok_or_else(|| {
                Error::refused(format!("table `{name}` has lost the progress of job `{job}`"))
                    .hint("the table was dropped and made again, or its property was removed; restore it")
            })?;
            fence::check_generation(metadata, &name, &found, ours)?;
            if found.epoch == Some(epoch.epoch) {
                // Our own commit, whose answer was lost.
                *next = found;
                return Ok(Verdict::Done);
            }
            if found != *before {
                return Err(Error::refused(format!(
                    "the progress in table `{name}` is not what generation {ours} left: epoch {:?}, expected {:?}",
                    found.epoch, before.epoch
                ))
                .hint("someone changed the table property by hand; restart the job, it goes on from what is there"));
            }
            // Columns or partitioning changed under us: the files were written for what was there before.
            tables::verify(base, shape)?;
            next.sequence_number = metadata.next_sequence_number();
            Ok(Verdict::Append(Box::new(Append {
                job: job.clone(),
                files: data_files.clone(),
                summary: summary::of(next, &account),
                properties: property(Progress::property(&job), next.to_json()?),
            })))
        })?;
        Ok(snapshot.or_else(|| self.primary.table().metadata().current_snapshot_id()))
    }
}

impl Table for Committer {
    fn commit(&mut self, epoch: &EpochCommit) -> Result<Committed> {
        let consumed_nothing = epoch.partitions.values().all(|p| p.start == p.next);
        if consumed_nothing && epoch.files.is_empty() {
            return Ok(Committed {
                snapshot_id: None,
                metadata_location: self.metadata_location(),
            });
        }
        let (files, pending) = self.sort_files(epoch)?;
        let mut next = self.progress.clone();
        next.advance(epoch)?;
        let done = next.pending.take();
        if !pending.is_empty() {
            next.pending = Some(pending.write(self.primary.table().metadata().location())?);
        }
        let committed = self.commit_primary(epoch, &files, &mut next);
        let snapshot_id = match committed {
            Ok(snapshot_id) => snapshot_id,
            Err(error) => {
                // The pending file stays: after an error nobody knows whether the commit is still to come.
                return Err(error
                    .context(format!("job {}", self.progress.job))
                    .context(format!("epoch {}", epoch.epoch)));
            }
        };
        self.progress = next;
        if let Some(place) = done {
            pending::delete(&place);
        }
        for (name, files) in pending.tables() {
            if let Some(secondary) = self.secondaries.iter_mut().find(|s| s.shape.name == name) {
                pending::commit_secondary(&mut secondary.table, &self.progress, epoch.epoch, files)
                    .map_err(|e| e.context(format!("epoch {}", epoch.epoch)))?;
            }
        }
        Ok(Committed {
            snapshot_id,
            metadata_location: self.metadata_location(),
        })
    }
}

impl Committer {
    fn metadata_location(&self) -> String {
        self.primary
            .table()
            .metadata_location()
            .unwrap_or_default()
            .to_owned()
    }
}
