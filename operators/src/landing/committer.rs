//! The commit point: one epoch, all of its tables, exactly once.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::failpoint::{Failpoint, reached};
use crate::host::Host;
use crate::io::{Committed, Table, TableIndex, WrittenFile};
use crate::landing::attempt::{Around, Patience, Verdict, commit};
use crate::landing::behind::{Debts, SecondariesBehind};
use crate::landing::fence;
use crate::landing::payer::Payer;
use crate::landing::pending::{Owed, Pending};
use crate::landing::summary;
use crate::landing::table::{Append, PendingFiles, Version, VersionedTable};
use crate::progress::{EpochCommit, Progress};

/// How long the primary waits, after a commit of its own, for the secondaries that follow it: many times what they take.
/// A table that takes longer is behind, and from then on waited for by nobody.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(1);

/// The first pause between two looks whether secondaries have followed; it doubles.
const LOOK_PAUSE: Duration = Duration::from_millis(1);

/// The longest pause between two looks.
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(20);

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

/// A secondary that follows: its table is here until there is a commit for it.
struct Following<T> {
    index: TableIndex,
    route: Option<String>,
    name: String,
    table: Option<T>,
    payer: Option<Payer>,
}

impl<T: VersionedTable + 'static> Following<T> {
    /// The thread that commits to it.
    fn payer(&mut self, host: &Arc<dyn Host>, progress: &Progress) -> Result<&mut Payer> {
        if let Some(table) = self.table.take() {
            self.payer = Some(Payer::start(host, &self.name, table, progress.clone())?);
        }
        self.payer
            .as_mut()
            .ok_or_else(|| Error::internal(format!("table `{}` has no thread", self.name)))
    }
}

/// Which secondaries are waited for, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// None.
    No,
    /// Those that are not behind, at most [`FOLLOW_TIMEOUT`].
    Briefly,
    /// All that are under way, whatever comes of them.
    ForAnswers,
    /// All of them, until they have followed: this is the end.
    ToTheEnd,
}

/// The job's tables, open for commits of one generation. Used from one thread of the whole cluster.
pub struct Committer<T> {
    host: Arc<dyn Host>,
    primary: T,
    secondaries: Vec<Following<T>>,
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
        let follow = |secondary: Secondary<T>| Following {
            index: secondary.index,
            route: secondary.route,
            name: secondary.name,
            table: Some(secondary.table),
            payer: None,
        };
        Committer {
            host,
            primary,
            secondaries: secondaries.into_iter().map(follow).collect(),
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
}

impl<T: VersionedTable + 'static> Committer<T> {
    /// Gives the secondaries what they are owed: those that are due, or all of them and with full patience when
    /// this is the end.
    fn pay(&mut self, is_end: bool) -> Result<()> {
        self.follow(if is_end { Wait::ForAnswers } else { Wait::No })?;
        let patience = if is_end {
            Patience::FULL
        } else {
            Patience::BRIEF
        };
        for (table, owed) in self.debts.due(self.host.now(), is_end) {
            let Some(secondary) = self.secondaries.iter_mut().find(|s| s.name == table) else {
                continue;
            };
            let payer = secondary.payer(&self.host, &self.progress)?;
            if !payer.is_busy() {
                payer.order(owed, patience);
            }
        }
        self.follow(if is_end {
            Wait::ToTheEnd
        } else {
            Wait::Briefly
        })
    }

    /// Hears what came of the secondaries' commits, and waits for some of them.
    fn follow(&mut self, wait: Wait) -> Result<()> {
        let until = self.host.now() + FOLLOW_TIMEOUT;
        let mut pause = LOOK_PAUSE;
        loop {
            self.hear(wait == Wait::ToTheEnd)?;
            let is_busy = |s: &&Following<T>| s.payer.as_ref().is_some_and(Payer::is_busy);
            let busy = self.secondaries.iter().filter(is_busy);
            let waited_for: Vec<&str> = match wait {
                Wait::No => Vec::new(),
                Wait::Briefly => busy
                    .map(|s| s.name.as_str())
                    .filter(|name| !self.debts.is_behind(name))
                    .collect(),
                Wait::ForAnswers | Wait::ToTheEnd => busy.map(|s| s.name.as_str()).collect(),
            };
            if waited_for.is_empty() {
                return Ok(());
            }
            if wait == Wait::Briefly && self.host.now() >= until {
                for table in waited_for {
                    self.debts.late(table, FOLLOW_TIMEOUT);
                }
                return Ok(());
            }
            self.host.sleep(pause);
            pause = (pause * 2).min(LOOK_PAUSE_MAX);
        }
    }

    /// Hears what came of the secondaries' commits so far. At the end there is no later try.
    fn hear(&mut self, is_end: bool) -> Result<()> {
        for secondary in &mut self.secondaries {
            let Some(paid) = secondary.payer.as_mut().and_then(Payer::answer) else {
                continue;
            };
            let table = &secondary.name;
            match paid
                .result
                .map_err(|e| e.context(format!("table {table}, epoch {}", paid.upto)))
            {
                Ok(()) => self.debts.paid(table, paid.upto),
                Err(error) if is_end => return Err(error),
                Err(error) => self.debts.failed(table, error, self.host.now())?,
            }
        }
        Ok(())
    }
}

impl<T: VersionedTable + 'static> Table for Committer<T> {
    fn commit(&mut self, epoch: &EpochCommit) -> Result<Committed> {
        let consumed_nothing = epoch.partitions.values().all(|p| p.start == p.next);
        if consumed_nothing && epoch.files.is_empty() {
            return Ok(Committed {
                snapshot_id: None,
                is_behind: self.catch_up()?,
            });
        }
        let (files, mut pending) = self.sort_files(epoch)?;
        self.follow(Wait::No)?;
        for (table, owed) in self.debts.iter() {
            pending.carry(table, owed);
        }
        let mut next = self.progress.clone();
        next.advance(epoch)?;
        self.count_routed(epoch, &mut next);
        pending.describe(summary::of(&next, &epoch.account()));
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
