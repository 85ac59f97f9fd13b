//! What is left of a job that does not run: how it stood when it was last seen, and how it ended.
//!
//! A file in the folder of its state, written now and then and at the end. Nothing depends on it: where the job goes on
//! is in its table.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use strandline_operators::account::Account;

use super::job::{CommitStatus, End, JobStatus};
use crate::engine::crash;

/// The file's name.
const NAME: &str = "last-seen.json";
/// How often it is written while the job runs.
pub(crate) const KEEP_INTERVAL: Duration = Duration::from_secs(5);
/// How long the end of a job waits for it: a disk that hangs must not keep a process that has failed.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many may wait to be written. Where there are more, the disk hangs.
const WAITING: usize = 16;

/// A job, as it was last seen. Times are RFC 3339, in UTC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LastSeen {
    /// Since when it ran, restarts included.
    pub started_at: String,
    /// When it was seen.
    pub at: String,
    /// The generation that it had claimed in its table.
    pub generation: Option<u32>,
    /// The account of the job, as its table held it.
    pub account: Account,
    /// Its last commit, of this run or of one before.
    pub commit: Option<CommitStatus>,
    /// How it ended; `null` of one that ended without a word.
    pub ending: Option<Ending>,
}

/// How a job ended that said so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Its exit status.
    pub exit_status: u8,
    /// Why it failed; `null` when it ended well.
    pub error: Option<String>,
    /// Whether it was told to end at once.
    pub cancelled: bool,
}

impl LastSeen {
    /// A job as it is shown, and how it ended if it has.
    pub(crate) fn of(status: &JobStatus, end: Option<&End>, is_cancelled: bool) -> LastSeen {
        let ending = match end {
            Some(end) => Some(Ending {
                exit_status: end.exit_status,
                error: end.error.clone(),
                cancelled: is_cancelled,
            }),
            // It ends before it could say so.
            None => is_cancelled.then(|| Ending {
                cancelled: true,
                ..Ending::default()
            }),
        };
        LastSeen {
            started_at: status.started_at.clone(),
            at: status.at.clone(),
            generation: status.generation,
            account: status.account,
            commit: status.commits.last.first().cloned(),
            ending,
        }
    }

    /// Of the job whose state is in `folder`. `None` when nothing is known, or nothing that this release understands.
    pub fn read(folder: &Path) -> Option<LastSeen> {
        let text = std::fs::read(folder.join(NAME)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// The report of the crash with which it ended, if it did. A job that goes on after a crash is seen again after it.
    pub fn crash_report(&self, folder: &Path) -> Option<PathBuf> {
        let seen = SystemTime::from(chrono::DateTime::parse_from_rfc3339(&self.at).ok()?);
        let (newest, written) = crash::newest(folder)?;
        // A disk that is slow may have taken one of the two a little later.
        let is_last = written + KEEP_INTERVAL >= seen;
        (self.ending.is_none() && is_last).then_some(newest)
    }

    /// Beside, then renamed: who reads finds all of it.
    fn write(&self, folder: &Path) -> io::Result<()> {
        let beside = folder.join(format!("{NAME}.new"));
        // For whoever may ask the job itself: the socket beside it has the same mode.
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(beside, folder.join(NAME))
    }
}

/// Writes on a thread of its own, as a disk may hang.
#[derive(Debug)]
pub(crate) struct Keeper(SyncSender<(LastSeen, SyncSender<()>)>);

impl Keeper {
    /// Begins to write into a folder, when there is something to be written.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn start(folder: PathBuf) -> io::Result<Keeper> {
        let (sender, orders) = sync_channel::<(LastSeen, SyncSender<()>)>(WAITING);
        std::thread::Builder::new()
            .name("last-seen".to_owned())
            .spawn(move || {
                let before = LastSeen::read(&folder).and_then(|seen| seen.commit);
                for (mut seen, done) in orders {
                    seen.commit = seen.commit.or_else(|| before.clone());
                    if let Err(e) = seen.write(&folder) {
                        tracing::debug!("cannot write {NAME} in `{}`: {e}", folder.display());
                    }
                    // Few wait for it.
                    let _ = done.try_send(());
                }
            })?;
        Ok(Keeper(sender))
    }

    /// Has this written, unless the disk hangs.
    pub(crate) fn keep(&self, seen: LastSeen) -> Kept {
        let (done, kept) = sync_channel(1);
        Kept(self.0.try_send((seen, done)).ok().map(|()| kept))
    }
}

/// What is being written.
pub(crate) struct Kept(Option<Receiver<()>>);

impl Kept {
    /// Waits until it is written, for a moment at most.
    pub(crate) fn wait(self) {
        if let Some(kept) = self.0 {
            // Either way the job ends now.
            let _ = kept.recv_timeout(PATIENCE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::job::Commits;

    fn status(epoch: Option<u64>) -> JobStatus {
        let commit = |epoch| CommitStatus {
            epoch,
            ..CommitStatus::default()
        };
        JobStatus {
            started_at: "2000-01-01T00:00:00.000000Z".to_owned(),
            at: "2000-01-01T00:00:00.000000Z".to_owned(),
            commits: Commits {
                last: epoch.map(commit).into_iter().collect(),
                ..Commits::default()
            },
            ..JobStatus::default()
        }
    }

    #[test]
    fn what_was_kept_last_is_what_is_read_and_a_commit_outlives_its_run() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(LastSeen::read(folder.path()), None);
        let keep = |seen: LastSeen| {
            let keeper = Keeper::start(folder.path().to_owned()).expect("a thread");
            keeper.keep(seen).wait();
            LastSeen::read(folder.path()).expect("kept")
        };
        let seen = LastSeen::of(&status(Some(7)), None, false);
        assert_eq!(keep(seen.clone()), seen);
        let next = keep(LastSeen::of(&status(None), None, false));
        assert_eq!(next.commit.map(|commit| commit.epoch), Some(7));
    }

    #[test]
    fn a_job_that_is_cancelled_has_ended_before_it_can_say_so() {
        assert_eq!(LastSeen::of(&status(None), None, false).ending, None);
        let cancelled = LastSeen::of(&status(None), None, true).ending;
        assert!(cancelled.is_some_and(|ending| ending.cancelled));
        let end = End {
            error: Some("fenced".to_owned()),
            exit_status: 4,
            report: None,
        };
        let failed = LastSeen::of(&status(None), Some(&end), false);
        let ending = failed.ending.expect("it ended");
        assert_eq!((ending.exit_status, ending.cancelled), (4, false));
        assert_eq!(ending.error.as_deref(), Some("fenced"));
    }

    #[test]
    fn a_report_of_a_crash_is_that_of_the_run_that_ended_without_a_word() {
        let folder = tempfile::tempdir().expect("a folder");
        let seen = LastSeen::of(&status(None), None, false);
        assert_eq!(seen.crash_report(folder.path()), None);
        let report = folder.path().join("crash-20000101T000001.000Z.txt");
        std::fs::write(&report, "").expect("write");
        assert_eq!(seen.crash_report(folder.path()), Some(report));
        let later = LastSeen {
            at: "9999-01-01T00:00:00Z".to_owned(),
            ..seen.clone()
        };
        assert_eq!(later.crash_report(folder.path()), None);
        let ended = LastSeen {
            ending: Some(Ending::default()),
            ..seen
        };
        assert_eq!(ended.crash_report(folder.path()), None);
    }
}
