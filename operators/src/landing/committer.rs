//! The commit point: one epoch, all of its tables, exactly once.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::failpoint::{Failpoint, reached};
use crate::host::Host;
use crate::io::{Committed, Table, TableIndex, WrittenFile};
use crate::landing::attempt::{Around, Patience, Verdict, commit};
use crate::landing::behind::{Debts, SecondariesBehind};
use crate::landing::fence;
use crate::landing::pending::{Owed, Pending, commit_secondary};
use crate::landing::summary;
use crate::landing::table::{Append, PendingFiles, Version, VersionedTable};
use crate::progress::{EpochCommit, Progress};

/// A secondary table of the job.
#[derive(Debug)]
pub struct Secondary<T> {
    /// Its index in the job.
    pub index: TableIndex,
    /// The route that leads there; `None` is the table of dead letters.
    pub route: Option<String>,
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
    debts: Debts,
}

impl<T: VersionedTable> Committer<T> {
    /// Commits to these tables from `progress` on, which has just been claimed. Secondaries that fall behind are
    /// told to `behind`.
    pub fn new(
        host: Arc<dyn Host>,
        primary: T,
        secondaries: Vec<Secondary<T>>,
        pending_files: Box<dyn PendingFiles>,
        progress: Progress,
        behind: SecondariesBehind,
    ) -> Committer<T> {
        Committer {
            host,
            primary,
            secondaries,
            pending_files,
            progress,
            debts: Debts::new(behind),
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
        let patience = Patience::FULL;
        let snapshot = commit(&*self.host, &mut self.primary, around, patience, |table| {
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

impl<T: VersionedTable> Committer<T> {
    /// Adds the rows that the epoch brings to routes' tables.
    fn count_routed(&self, epoch: &EpochCommit, next: &mut Progress) {
        for secondary in &self.secondaries {
            let Some(route) = &secondary.route else {
                continue;
            };
            let files = epoch.files.iter().filter(|f| f.table == secondary.index);
            let rows: u64 = files.map(|f| f.rows).sum();
            if rows > 0 {
                *next.routed.entry(route.clone()).or_default() += rows;
            }
        }
    }

    /// Gives the secondaries what they are owed: those that are due, or all of them and with full patience when
    /// this is the end.
    fn pay(&mut self, is_end: bool) -> Result<()> {
        for (table, owed) in self.debts.due(self.host.now(), is_end) {
            let Some(secondary) = self.secondaries.iter_mut().find(|s| s.name == table) else {
                continue;
            };
            let patience = if is_end {
                Patience::FULL
            } else {
                Patience::BRIEF
            };
            let (host, progress) = (&*self.host, &self.progress);
            let paid = commit_secondary(host, &mut secondary.table, progress, &owed, patience);
            match paid.map_err(|e| e.context(format!("table {table}, epoch {:?}", progress.epoch)))
            {
                Ok(()) => self.debts.paid(&table),
                Err(error) if is_end => return Err(error),
                Err(error) => self.debts.failed(&table, error, self.host.now())?,
            }
        }
        Ok(())
    }
}

impl<T: VersionedTable> Table for Committer<T> {
    fn commit(&mut self, epoch: &EpochCommit) -> Result<Committed> {
        let consumed_nothing = epoch.partitions.values().all(|p| p.start == p.next);
        if consumed_nothing && epoch.files.is_empty() {
            return Ok(Committed {
                snapshot_id: None,
                is_behind: self.catch_up()?,
            });
        }
        let (files, mut pending) = self.sort_files(epoch)?;
        for (table, owed) in self.debts.iter() {
            pending.carry(table, owed);
        }
        let mut next = self.progress.clone();
        next.advance(epoch)?;
        self.count_routed(epoch, &mut next);
        let done = next.pending.take();
        let tables = pending.tables();
        let last = |owed: &Vec<Owed>| owed.last().map(|last| last.epoch);
        next.pending_tables = tables
            .iter()
            .filter_map(|(table, owed)| Some(((*table).to_owned(), last(owed)?)))
            .collect();
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
        for (table, owed) in tables {
            if let Some(new) = owed.into_iter().find(|owed| owed.epoch == epoch.epoch) {
                self.debts.owe(table, new);
            }
        }
        let is_behind = self.catch_up()?;
        reached(&*self.host, Failpoint::Durable)?;
        Ok(Committed {
            snapshot_id,
            is_behind,
        })
    }

    fn catch_up(&mut self) -> Result<bool> {
        self.pay(false)?;
        Ok(self.debts.iter().next().is_some())
    }

    fn settle(&mut self) -> Result<()> {
        self.pay(true)
    }
}
