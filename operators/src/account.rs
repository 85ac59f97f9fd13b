//! The account: `consumed = landed + duplicates + dead_letters + dropped`, and by partition
//! `next - start = consumed + gaps`.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// What became of the records consumed. Counts of records; `late` is a part of `landed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Records read from the log.
    pub consumed: u64,
    /// Records that are in a committed snapshot.
    pub landed: u64,
    /// The part of `landed` whose event time was behind its partition's watermark.
    pub late: u64,
    /// Records whose id had landed before.
    pub duplicates: u64,
    /// Records that cannot land, kept with their cause.
    pub dead_letters: u64,
    /// Records too late, where the job says `too_late: drop`; of Debezium's, also those that carry no row by
    /// design: tombstones, heartbeats, transaction markers.
    pub dropped: u64,
    /// Offsets for which Kafka holds no record: transaction markers, aborted or compacted records.
    pub gaps: u64,
}

impl Account {
    /// Whether every record consumed is accounted for, exactly once.
    ///
    /// ```
    /// use strandline_operators::account::Account;
    /// let account = Account { consumed: 3, landed: 2, duplicates: 1, ..Account::default() };
    /// assert!(account.is_balanced());
    /// assert!(!Account { consumed: 4, ..account }.is_balanced());
    /// ```
    pub fn is_balanced(&self) -> bool {
        self.consumed == self.landed + self.duplicates + self.dead_letters + self.dropped
            && self.late <= self.landed
    }
}

impl Account {
    /// What was counted since the account stood at `earlier`; nought where it stands below that.
    #[must_use]
    pub fn since(&self, earlier: &Account) -> Account {
        Account {
            consumed: self.consumed.saturating_sub(earlier.consumed),
            landed: self.landed.saturating_sub(earlier.landed),
            late: self.late.saturating_sub(earlier.late),
            duplicates: self.duplicates.saturating_sub(earlier.duplicates),
            dead_letters: self.dead_letters.saturating_sub(earlier.dead_letters),
            dropped: self.dropped.saturating_sub(earlier.dropped),
            gaps: self.gaps.saturating_sub(earlier.gaps),
        }
    }
}

impl AddAssign for Account {
    fn add_assign(&mut self, other: Self) {
        self.consumed += other.consumed;
        self.landed += other.landed;
        self.late += other.late;
        self.duplicates += other.duplicates;
        self.dead_letters += other.dead_letters;
        self.dropped += other.dropped;
        self.gaps += other.gaps;
    }
}
