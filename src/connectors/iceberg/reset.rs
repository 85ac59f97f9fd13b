//! Offsets that a person sets: one commit of its own, an empty snapshot with the changed progress.

use std::sync::Arc;

use strandline_operators::account::Account;
use strandline_operators::job::JobSettings;
use strandline_operators::landing::attempt::Verdict;
use strandline_operators::landing::fence::read_progress;
use strandline_operators::landing::summary;
use strandline_operators::landing::table::Append;
use strandline_operators::progress::Progress;
use strandline_operators::{Error, Result};

use super::IcebergConnector;
use super::open_table::OpenTable;
use super::tables;
use super::version::TableVersion;

impl IcebergConnector {
    /// Changes where the job goes on, and records that in its primary table. A generation is claimed with it, so
    /// that a process which still runs the job is refused at its next commit. `change` may be called more than
    /// once, each time with the progress of another version of the table.
    ///
    /// # Errors
    /// Configuration when the job has never run; `Refused` for progress that cannot be gone on with; what
    /// `change` says.
    pub fn reset_offsets(
        &self,
        settings: &JobSettings,
        change: &mut dyn FnMut(&mut Progress) -> Result<()>,
    ) -> Result<Progress> {
        let job = &settings.name;
        let in_job = |e: Error| e.context(format!("job {job}"));
        let never_run = || {
            Error::configuration(format!(
                "there are no offsets to reset: table `{}` holds no progress of this job",
                settings.table
            ))
            .hint("the job has never run; `starting_offsets` says where it begins")
        };
        let ident = tables::ident(&settings.table)?;
        let table = self.catalog.load_if_there(&ident)?.ok_or_else(never_run)?;
        let mut primary = OpenTable::new(Arc::clone(&self.catalog), table);
        let mut done = None;
        let committed = primary.append_once(|table| {
            let version = TableVersion::of(table);
            let mut progress = read_progress(&version, job)?.ok_or_else(never_run)?;
            change(&mut progress)?;
            progress.claim();
            progress.sequence_number = table.metadata().next_sequence_number();
            let mut summary = summary::of(&progress, &Account::default());
            summary.insert(summary::RESET.to_owned(), summary::resets(&progress));
            let append = Append {
                job: job.clone(),
                files: Vec::new(),
                summary,
                properties: [(Progress::property(job), progress.to_json()?)].into(),
            };
            done = Some(progress);
            Ok(Verdict::Append(append))
        });
        committed.map_err(in_job)?;
        done.ok_or_else(|| Error::internal("offsets were reset without progress"))
    }
}
