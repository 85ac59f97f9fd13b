//! How a run goes, in a line: one that changes on a terminal, else one in the log now and then.
//!
//! The log is told of the first commit as soon as it is made, then every [`LOG_INTERVAL`], and at the end once more
//! of what it has not heard of. Each line says how many commits were made since the one before.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use strandline_operators::account::Account;
use strandline_operators::numbers::grouped;
use strandline_operators::observed::{CommittedView, Observed};

/// How often a terminal is told.
const TERMINAL_INTERVAL: Duration = Duration::from_millis(500);
/// How often the log is told.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// A rate is told over this long at least.
const SHORTEST: Duration = Duration::from_millis(50);

/// What has been said of a run, and when.
pub(super) struct Summary {
    job: String,
    is_terminal: bool,
    at: Instant,
    /// What was committed by then.
    account: Account,
    /// Records read by then.
    read: u64,
    /// Commits made by then.
    commits: u64,
}

impl Summary {
    /// Of a run of which nothing has been said yet; goes to standard error.
    pub(super) fn new(job: &str, now: Instant) -> Summary {
        Summary {
            job: job.to_owned(),
            is_terminal: io::stderr().is_terminal(),
            at: now,
            account: Account::default(),
            read: 0,
            commits: 0,
        }
    }

    /// Says how the run goes, when it is time to.
    pub(super) fn look(&mut self, now: Instant, observed: &Observed, view: &CommittedView) {
        let interval = if self.is_terminal {
            TERMINAL_INTERVAL
        } else {
            LOG_INTERVAL
        };
        let is_first = self.account.consumed == 0 && view.account.consumed > 0;
        if is_first || now.duration_since(self.at) >= interval {
            self.say(now, observed, view);
        }
    }

    /// Says what is left to be said.
    pub(super) fn end(mut self, now: Instant, observed: &Observed) {
        let view = observed.committed_view();
        if self.is_terminal {
            // Nobody reads a terminal that is gone.
            let _ = write!(io::stderr(), "\r\x1b[K");
        } else if view.account != self.account {
            self.say(now, observed, &view);
        }
    }

    fn say(&mut self, now: Instant, observed: &Observed, view: &CommittedView) {
        let job = &self.job;
        // After the account was read: a commit is counted first.
        let commits = observed.commits.load(Ordering::Relaxed);
        let read = observed.records_read.load(Ordering::Relaxed);
        let lag = observed.lag.load(Ordering::Relaxed);
        let seconds = now.duration_since(self.at).max(SHORTEST).as_secs_f64();
        let rate = ((read - self.read) as f64 / seconds) as u64;
        let account = view.account;
        let watermark = observed
            .watermark()
            .map_or_else(|| "none".to_owned(), |w| w.to_string());
        if self.is_terminal {
            let _ = write!(
                io::stderr(),
                "\r\x1b[K{job}: {} events/s, {} consumed, {} landed, lag {}, watermark {watermark}",
                grouped(rate),
                grouped(account.consumed),
                grouped(account.landed),
                grouped(lag)
            );
        } else {
            let epoch = view
                .epoch
                .map_or_else(|| "none".to_owned(), |e| e.to_string());
            tracing::info!(
                job,
                commits = commits - self.commits,
                events_per_second = rate,
                consumed = account.consumed,
                landed = account.landed,
                duplicates = account.duplicates,
                dead_letters = account.dead_letters,
                dropped = account.dropped,
                lag,
                watermark,
                epoch,
                "commit summary"
            );
        }
        self.at = now;
        self.account = account;
        self.read = read;
        self.commits = commits;
    }
}
