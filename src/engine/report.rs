//! The account of a run, as a command that ends a run prints it last.

use std::io::{self, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strandline_operators::account::Account;
use strandline_operators::numbers::grouped;

/// One table of the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableReport {
    /// `namespace.table`.
    pub name: String,
    /// Where its metadata stands.
    pub metadata_location: String,
    /// Rows in its current snapshot.
    pub rows: u64,
}

/// What a run did (INTERFACES section 5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The job.
    pub job: String,
    /// The account of the job since it first read each partition: it adds up with the table's rows.
    pub account: Account,
    /// The part of it that this run did.
    pub run: Account,
    /// The job's tables.
    pub tables: Vec<TableReport>,
    /// How long this run took, start-up included.
    pub seconds: f64,
    /// Records consumed by this run in a second of it.
    pub events_per_second: f64,
}

impl RunReport {
    /// A report of a run of `elapsed`.
    pub fn new(
        job: &str,
        account: Account,
        run: Account,
        tables: Vec<TableReport>,
        elapsed: Duration,
    ) -> RunReport {
        let seconds = elapsed.as_secs_f64();
        let events_per_second = if seconds > 0.0 {
            run.consumed as f64 / seconds
        } else {
            0.0
        };
        RunReport {
            job: job.to_owned(),
            account,
            run,
            tables,
            seconds,
            events_per_second,
        }
    }

    /// Prints it on `out`, as one JSON document or for people.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn print(&self, out: &mut dyn Write, json: bool) -> io::Result<()> {
        if json {
            serde_json::to_writer(&mut *out, self)?;
            return writeln!(out);
        }
        let account = &self.account;
        let lines = [
            ("consumed", account.consumed, String::new()),
            (
                "landed",
                account.landed,
                format!("of them late {}", grouped(account.late)),
            ),
            ("duplicates", account.duplicates, String::new()),
            ("dead letters", account.dead_letters, String::new()),
            ("dropped", account.dropped, String::new()),
            ("gaps", account.gaps, "offsets without a record".to_owned()),
        ];
        writeln!(out, "{}", self.job)?;
        for (name, count, remark) in lines {
            writeln!(
                out,
                "{}",
                format!("  {name:<14}{:>14}   {remark}", grouped(count)).trim_end()
            )?;
        }
        let sign = if account.is_balanced() { "=" } else { "IS NOT" };
        writeln!(
            out,
            "  consumed {sign} landed + duplicates + dead letters + dropped"
        )?;
        for table in &self.tables {
            writeln!(
                out,
                "  table {}: {} rows, {}",
                table.name,
                grouped(table.rows),
                table.metadata_location
            )?;
        }
        let rate = grouped(self.events_per_second as u64);
        writeln!(
            out,
            "  this run: {} records in {:.1} s, {rate} events/s",
            grouped(self.run.consumed),
            self.seconds
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_that_does_not_add_up_says_so() {
        let account = Account {
            consumed: 1_234_567,
            landed: 1_234_566,
            ..Account::default()
        };
        let report = RunReport::new("job", account, account, Vec::new(), Duration::from_secs(2));
        let mut out = Vec::new();
        report.print(&mut out, false).expect("print");
        let text = String::from_utf8(out).expect("text");
        assert!(
            text.contains("1,234,567") && text.contains("consumed IS NOT landed"),
            "{text}"
        );
    }
}
