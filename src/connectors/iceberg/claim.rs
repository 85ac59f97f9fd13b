//! Claiming a generation: one life of the job takes the table over, and every earlier one is fenced.

use std::sync::Arc;

use strandline_operators::account::Account;
use strandline_operators::progress::Progress;
use strandline_operators::{Error, Result};

use super::catalog::OpenCatalog;
use super::commit::Secondary;
use super::fence;
use super::open_table::{OpenTable, Verdict, property};
use super::pending::{self, Marks};
use super::producer::Append;
use super::summary;

/// What the person who starts the job consents to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClaimOptions {
    /// Go on although the meaning of the deduplication state has changed (id field, TTL, lateness).
    pub accept_new_fingerprint: bool,
}

/// Takes the primary table over and rolls forward what an earlier generation left pending.
///
/// The claim is an empty snapshot that carries the progress: a commit of properties alone would leave the
/// branch where it is, and what an earlier generation has in flight would still fit. The progress that is
/// returned was read from exactly the version that the claim was made on. `examine` sees it before it is
/// written and may fill in or refuse (cluster id, topic ids); it may be called more than once.
///
/// The secondaries may be older than the primary. Then its generations begin above what they hold, so that
/// no epoch is used twice in any of the job's tables.
pub(super) fn claim(
    catalog: &Arc<OpenCatalog>,
    primary: &mut OpenTable,
    secondaries: &[Secondary],
    job: &str,
    fingerprint: &str,
    options: ClaimOptions,
    examine: &mut dyn FnMut(&mut Progress) -> Result<()>,
) -> Result<Progress> {
    let name = primary.name();
    let marks = Marks::read(secondaries.iter().map(|s| s.table.table()), job)?;
    let mut claimed = None;
    primary.commit(|base| {
        let metadata = base.metadata();
        let mut progress = match fence::read_progress(metadata, &name, job)? {
            Some(progress) => {
                marks.check(&progress, &name)?;
                progress
            }
            None => {
                let uuid = metadata.uuid().to_string();
                let mut progress = Progress::new(job, &uuid, rand::random(), fingerprint);
                progress.generations.extend(marks.last());
                progress
            }
        };
        if progress.fingerprint != fingerprint {
            if !options.accept_new_fingerprint {
                return Err(Error::refused(format!(
                    "job `{job}` no longer judges duplicates and lateness as table `{name}` was filled: \
                     it was `{}`, it is `{fingerprint}`",
                    progress.fingerprint
                ))
                .hint("restore the settings, or run once with `--accept-new-fingerprint` if the change is meant"));
            }
            fingerprint.clone_into(&mut progress.fingerprint);
        }
        examine(&mut progress)?;
        progress.claim();
        progress.sequence_number = metadata.next_sequence_number();
        let append = Append {
            job: job.to_owned(),
            files: Vec::new(),
            summary: summary::of(&progress, &Account::default()),
            properties: property(Progress::property(job), progress.to_json()?),
        };
        claimed = Some(progress);
        Ok(Verdict::Append(Box::new(append)))
    })?;
    let progress = claimed.ok_or_else(|| Error::internal("a claim ended without progress"))?;
    tracing::info!(table = %name, job, generation = progress.generation(), "claimed");
    let rolled = pending::recover(catalog, &progress, secondaries)?;
    if !rolled.is_empty() {
        tracing::info!(job, tables = ?rolled, epoch = ?progress.epoch, "rolled pending files forward");
    }
    Ok(progress)
}
