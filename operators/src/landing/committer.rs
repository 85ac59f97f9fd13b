//! The commit point: one epoch, all of its tables, exactly once.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::failpoint::{Failpoint, reached};
use crate::host::Host;
use crate::io::{Committed, Table, TableIndex, WrittenFile};
use crate::landing::attempt::{Around, Verdict, commit};
use crate::landing::fence;
use crate::landing::pending::{Pending, commit_secondary};
use crate::landing::summary;
use crate::landing::table::{Append, PendingFiles, Version, VersionedTable};
use crate::progress::{EpochCommit, Progress};

/// A secondary table of the job.
#[derive(Debug)]
pub struct Secondary<T> {
    /// Its index in the job.
    pub index: TableIndex,
    /// Its name, `namespace.table`.
    pub name: String,
    /// The table.
    pub table: T,
}

/// The job's tables, open for commits of one generation. Used from one thread of the whole cluster.
pub struct Committer<T> {
    host: Arc<dyn Host>,
    primary: T,
    secondaries: Vec<Secondary<T>>,
    pending_files: Box<dyn PendingFiles>,
    /// As the last commit of this generation left it.
    progress: Progress,
}

impl<T: VersionedTable> Committer<T> {
    /// Commits to these tables from `progress` on, which has just been claimed.
    pub fn new(
        host: Arc<dyn Host>,
        primary: T,
        secondaries: Vec<Secondary<T>>,
        pending_files: Box<dyn PendingFiles>,
        progress: Progress,
    ) -> Committer<T> {
        Committer {
            host,
            primary,
            secondaries,
            pending_files,
            progress,
        }
    }

    /// The primary table.
    pub fn primary(&self) -> &T {
        &self.primary
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
            pending.add(&secondary.name, file.clone());
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
        let before = &self.progress;
        let job = &before.job;
        let ours = before.generation();
        let account = epoch.account();
        let around = Around {
            send: Failpoint::CommitSend,
            sent: Failpoint::CommitSent,
        };
        let snapshot = commit(&*self.host, &mut self.primary, around, |table| {
            let version = table.version();
            let name = version.name();
            let found = fence::read_progress(version, job)?.ok_or_else(|| {
                Error::refused(format!(
                    "table `{name}` has lost the progress of job `{job}`"
                ))
                .hint(
                    "the table was dropped and made again, or its property was removed; restore it",
                )
            })?;
            fence::check_generation(version, &found, ours)?;
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
            next.sequence_number = version.next_sequence_number();
            Ok(Verdict::Append(Append {
                job: job.clone(),
                files: files.to_vec(),
                summary: summary::of(next, &account),
                properties: [(Progress::property(job), next.to_json()?)].into(),
            }))
        })?;
        Ok(snapshot.or_else(|| self.primary.version().head()))
    }
}

impl<T: VersionedTable> Table for Committer<T> {
    fn commit(&mut self, epoch: &EpochCommit) -> Result<Committed> {
        let consumed_nothing = epoch.partitions.values().all(|p| p.start == p.next);
        if consumed_nothing && epoch.files.is_empty() {
            return Ok(Committed { snapshot_id: None });
        }
        let (files, pending) = self.sort_files(epoch)?;
        let mut next = self.progress.clone();
        next.advance(epoch)?;
        let done = next.pending.take();
        if !pending.is_empty() {
            reached(&*self.host, Failpoint::PendingWrite)?;
            next.pending = Some(self.pending_files.write(&pending)?);
        }
        let snapshot_id = self
            .commit_primary(epoch, &files, &mut next)
            // The pending file stays: after an error nobody knows whether the commit is still to come.
            .map_err(|e| {
                e.context(format!("job {}", self.progress.job))
                    .context(format!("epoch {}", epoch.epoch))
            })?;
        self.progress = next;
        if let Some(place) = done {
            reached(&*self.host, Failpoint::PendingDelete)?;
            self.pending_files.delete(&place);
        }
        for (name, files) in pending.tables() {
            if let Some(secondary) = self.secondaries.iter_mut().find(|s| s.name == name) {
                commit_secondary(
                    &*self.host,
                    &mut secondary.table,
                    &self.progress,
                    epoch.epoch,
                    files,
                )
                .map_err(|e| e.context(format!("epoch {}", epoch.epoch)))?;
            }
        }
        reached(&*self.host, Failpoint::Durable)?;
        Ok(Committed { snapshot_id })
    }
}
