//! Records are committed, and none of them has landed: all of them are duplicates, dead letters or dropped.

use std::time::{Duration, Instant};

use strandline_operators::account::Account;
use strandline_operators::numbers::grouped;

use super::{Diagnosis, Found, Look, Severity};

/// That no record lands is told of after this long. What a producer sends twice is over sooner.
const NOTHING_LANDS_AFTER: Duration = Duration::from_secs(10);
/// Fewer records than this are no reason: a few duplicates in a quiet topic are normal.
const RECORDS_LEAST: u64 = 100;
/// The records of this long are looked at,
const WINDOW: Duration = Duration::from_secs(60);
/// or of so many commit intervals: those of a job may be longer than a minute.
const WINDOW_INTERVALS: u32 = 3;
/// Accounts that are kept, at most. With two looks a second they last for [`WINDOW`].
const ACCOUNTS_KEPT: usize = 128;

impl Diagnosis {
    /// Of the records that were committed lately none has landed.
    pub(super) fn unlanded(&mut self, now: Instant, look: &Look<'_>, found: &mut Vec<Found>) {
        let account = look.account;
        // What lands ends it, and a run counts from nothing.
        let is_over = |(_, last): &(Instant, Account)| {
            last.landed != account.landed || last.consumed > account.consumed
        };
        if self.accounts.back().is_some_and(is_over) {
            self.accounts.clear();
        }
        let is_more = |(_, last): &(Instant, Account)| last.consumed != account.consumed;
        if self.accounts.back().is_none_or(is_more) {
            self.accounts.push_back((now, account));
        }
        let window = WINDOW.max(look.commit_interval.saturating_mul(WINDOW_INTERVALS));
        let is_old = |(at, _): &(Instant, Account)| now.duration_since(*at) > window;
        while self.accounts.len() > ACCOUNTS_KEPT || self.accounts.get(1).is_some_and(is_old) {
            self.accounts.pop_front();
        }
        // The first is what the others are held against; with the second its records begin.
        let (Some(&(_, before)), Some(&(began, _)), Some(&(grew, _))) = (
            self.accounts.front(),
            self.accounts.get(1),
            self.accounts.back(),
        ) else {
            return;
        };
        let records = account.consumed - before.consumed;
        if grew.duration_since(began) < NOTHING_LANDS_AFTER || records < RECORDS_LEAST {
            return;
        }
        let duplicates = account.duplicates.saturating_sub(before.duplicates);
        let letters = account.dead_letters.saturating_sub(before.dead_letters);
        let dropped = account.dropped.saturating_sub(before.dropped);
        let became = [
            (duplicates, "duplicates"),
            (letters, "dead letters"),
            (dropped, "dropped"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", grouped(count)))
        .collect::<Vec<_>>()
        .join(", ");
        let hint = match look.dedup_key {
            Some(key) if duplicates >= letters.max(dropped) => format!(
                "`dedup.key` is `{key}`: see that it is different in different events; Debezium's changes of one row share its columns, and get ids of their own with a key for which the row has no value; what is read again after `offsets reset`, or sent again, is a duplicate by right"
            ),
            _ if letters >= dropped => {
                "see what `dead_letters` says of them: it has the last one, and the setting that would fit".to_owned()
            }
            _ => "with `lateness.too_late: drop` what is behind the watermark by more than `lateness.allowed` is dropped; the Debezium formats drop what carries no row: tombstones, heartbeats and transaction markers".to_owned(),
        };
        found.push(Found {
            kind: "nothing_lands",
            severity: Severity::Warning,
            message: format!(
                "of the last {} records that were committed none has landed: {became}",
                grouped(records)
            ),
            hint,
        });
    }
}
