//! Secondary tables that are behind the primary: what they are owed, and when they are tried again.
//!
//! A secondary that cannot be reached, or does not answer, holds nobody up. Its files stay in the pending file, which is
//! carried from commit to commit, and a later commit of the secondary takes in all that it is owed. Two things end
//! this: a restart, which rolls the pending file forward before it reads anything, and [`FILES_MAX`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::landing::pending::Owed;
use crate::time::Epoch;

/// Data files that all secondaries together may be owed before the job ends. Each costs about 2 KB of the pending
/// file, which is written anew with every commit; with a commit a second and two workers this is ten minutes.
pub const FILES_MAX: usize = 1_200;

/// The first pause before a secondary is tried again; it doubles.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What is told of a secondary that is behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BehindFacts {
    /// `namespace.table`.
    pub table: String,
    /// Epochs that it lacks.
    pub epochs: usize,
    /// Data files that it lacks.
    pub files: usize,
    /// Why it could not be committed to the last time.
    pub why: String,
}

/// The secondaries that are behind: told by the committer, read by whoever watches. Shared by clones.
#[derive(Clone, Debug, Default)]
pub struct SecondariesBehind(Arc<Mutex<Vec<BehindFacts>>>);

impl SecondariesBehind {
    fn tell(&self, facts: Vec<BehindFacts>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = facts;
    }

    /// Those that are behind now, by name.
    pub fn facts(&self) -> Vec<BehindFacts> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What one secondary is owed.
#[derive(Debug)]
struct Debt {
    owed: Vec<Owed>,
    /// The last failure, and when to try again; `None` before the first try.
    failed: Option<(Error, Instant)>,
    /// Why it is behind without a failure: its commit takes long.
    late: Option<String>,
    pause: Duration,
}

impl Debt {
    fn is_behind(&self) -> bool {
        self.failed.is_some() || self.late.is_some()
    }
}

/// What all secondaries are owed, by their names. No table in sight.
#[derive(Debug)]
pub(super) struct Debts {
    debts: BTreeMap<String, Debt>,
    behind: SecondariesBehind,
}

impl Debts {
    pub fn new(behind: SecondariesBehind) -> Debts {
        Debts {
            debts: BTreeMap::new(),
            behind,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Owed])> {
        let debts = self.debts.iter();
        debts.map(|(table, debt)| (table.as_str(), debt.owed.as_slice()))
    }

    /// A table is owed an epoch's files.
    pub fn owe(&mut self, table: &str, owed: Owed) {
        let debt = self.debts.entry(table.to_owned()).or_insert_with(|| Debt {
            owed: Vec::new(),
            failed: None,
            late: None,
            pause: PAUSE,
        });
        debt.owed.push(owed);
        if debt.is_behind() {
            self.tell();
        }
    }

    /// The tables to be tried at `now`, with what they are owed; all of them with `at_once`.
    pub fn due(&self, now: Instant, at_once: bool) -> Vec<(String, Vec<Owed>)> {
        let is_due = |debt: &Debt| {
            at_once
                || debt
                    .failed
                    .as_ref()
                    .is_none_or(|(_, retry_at)| *retry_at <= now)
        };
        self.debts
            .iter()
            .filter(|(_, debt)| is_due(debt))
            .map(|(table, debt)| (table.clone(), debt.owed.clone()))
            .collect()
    }

    /// Whether a table is behind: its last commit has failed, or is late.
    pub fn is_behind(&self, table: &str) -> bool {
        self.debts.get(table).is_some_and(Debt::is_behind)
    }

    /// A table has got everything up to this epoch. What it is owed besides is due at once.
    pub fn paid(&mut self, table: &str, upto: Epoch) {
        let Some(debt) = self.debts.get_mut(table) else {
            return;
        };
        let before = debt.owed.len();
        debt.owed.retain(|owed| owed.epoch > upto);
        if debt.is_behind() {
            tracing::info!(
                table,
                epochs = before - debt.owed.len(),
                left = debt.owed.len(),
                "the table catches up with the primary"
            );
        }
        (debt.failed, debt.late, debt.pause) = (None, None, PAUSE);
        if debt.owed.is_empty() {
            self.debts.remove(table);
        }
        self.tell();
    }

    /// The commit to a table has taken this long, and still does.
    pub fn late(&mut self, table: &str, by: Duration) {
        let Some(debt) = self.debts.get_mut(table) else {
            return;
        };
        let why = format!(
            "its commit has not been answered within {} s",
            by.as_secs_f64()
        );
        tracing::warn!(
            table,
            epochs = debt.owed.len(),
            "the table is behind the primary, which goes on without it: {why}"
        );
        debt.late = Some(why);
        self.tell();
    }

    /// A table could not be committed to at `now`.
    ///
    /// # Errors
    /// The failure itself, when it is one that waiting does not mend, or when too much is owed.
    pub fn failed(&mut self, table: &str, error: Error, now: Instant) -> Result<()> {
        let files = self.files();
        let Some(debt) = self.debts.get_mut(table) else {
            return Err(error);
        };
        if error.kind() != ErrorKind::Unreachable {
            return Err(error);
        }
        if files > FILES_MAX {
            return Err(error.context(format!(
                "`{table}` and other tables are behind the primary by {files} data files, at most {FILES_MAX} are waited for"
            )));
        }
        let retry_ms = debt.pause.as_millis() as u64;
        tracing::warn!(
            table,
            epochs = debt.owed.len(),
            retry_ms,
            "the table is behind the primary, which goes on without it: {}",
            error.message()
        );
        debt.failed = Some((error, now + debt.pause));
        debt.pause = (debt.pause * 2).min(PAUSE_MAX);
        self.tell();
        Ok(())
    }

    fn files(&self) -> usize {
        let owed = self.debts.values().flat_map(|debt| &debt.owed);
        owed.map(|owed| owed.files.len()).sum()
    }

    fn tell(&self) {
        let behind = self.debts.iter().filter_map(|(table, debt)| {
            let failure = debt.failed.as_ref().map(|(error, _)| error.message());
            let why = failure.or(debt.late.as_deref())?.to_owned();
            Some(BehindFacts {
                table: table.clone(),
                epochs: debt.owed.len(),
                files: debt.owed.iter().map(|owed| owed.files.len()).sum(),
                why,
            })
        });
        self.behind.tell(behind.collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{TableIndex, WrittenFile};

    fn owed(epoch: u64, files: usize) -> Owed {
        let file = WrittenFile {
            table: TableIndex::of_route(0),
            description: String::new(),
            rows: 1,
            bytes: 1,
        };
        Owed {
            epoch: Epoch(epoch),
            files: vec![file; files],
            summary: BTreeMap::new(),
        }
    }

    fn away() -> Error {
        Error::unreachable("the catalog is away")
    }

    #[test]
    fn a_table_that_fails_is_tried_again_after_pauses_that_double_and_then_gets_everything() {
        let behind = SecondariesBehind::default();
        let mut debts = Debts::new(behind.clone());
        let mut now = Instant::now();
        debts.owe("a", owed(1, 2));
        assert_eq!(debts.due(now, false).len(), 1, "tried at once");
        let mut pauses = Vec::new();
        for epoch in 2..9 {
            debts.failed("a", away(), now).expect("waited for");
            assert!(debts.due(now, false).is_empty());
            assert_eq!(debts.due(now, true).len(), 1, "at the end");
            debts.owe("a", owed(epoch, 1));
            let failed_at = now;
            while debts.due(now, false).is_empty() {
                now += Duration::from_millis(500);
            }
            pauses.push(now.duration_since(failed_at).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        let told = behind.facts();
        assert_eq!(told[0].table, "a");
        assert_eq!(told[0].why, "the catalog is away");
        assert_eq!(
            debts.due(now, false)[0].1.len(),
            8,
            "all epochs, in one commit"
        );
        debts.paid("a", Epoch(8));
        assert_eq!((behind.facts(), debts.iter().count()), (Vec::new(), 0));
    }

    #[test]
    fn a_table_that_is_late_is_behind_until_it_has_followed_and_is_then_owed_only_what_came_meanwhile()
     {
        let behind = SecondariesBehind::default();
        let mut debts = Debts::new(behind.clone());
        let now = Instant::now();
        debts.owe("a", owed(1, 1));
        assert!(!debts.is_behind("a"));
        debts.late("a", Duration::from_secs(1));
        debts.owe("a", owed(2, 1));
        debts.owe("a", owed(3, 1));
        assert!(debts.is_behind("a"));
        let told = behind.facts();
        assert_eq!((told.len(), told[0].epochs), (1, 3));
        assert!(told[0].why.contains("within 1 s"), "{told:?}");
        debts.paid("a", Epoch(1));
        assert!(!debts.is_behind("a") && behind.facts().is_empty());
        let due = debts.due(now, false);
        assert_eq!(due, [("a".to_owned(), vec![owed(2, 1), owed(3, 1)])]);
        debts.paid("a", Epoch(3));
        assert_eq!(debts.iter().count(), 0);
    }

    #[test]
    fn what_waiting_does_not_mend_or_is_too_much_ends_the_job() {
        let mut debts = Debts::new(SecondariesBehind::default());
        let now = Instant::now();
        debts.owe("a", owed(1, 1));
        let refused = debts.failed("a", Error::refused("another table"), now);
        assert_eq!(refused.expect_err("ends").kind(), ErrorKind::Refused);
        debts.owe("b", owed(2, FILES_MAX - 1));
        debts.failed("a", away(), now).expect("as many as may be");
        debts.owe("b", owed(3, 1));
        let error = debts.failed("a", away(), now).expect_err("too many");
        assert!(error.to_string().contains("1201 data files"), "{error}");
    }
}
