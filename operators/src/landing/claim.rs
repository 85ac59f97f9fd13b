//! Claiming a generation: one life of the job takes the table over, and every earlier one is fenced.

use crate::account::Account;
use crate::error::{Error, Result};
use crate::failpoint::Failpoint;
use crate::host::Host;
use crate::landing::attempt::{Around, Patience, Verdict, commit};
use crate::landing::fence;
use crate::landing::pending::Marks;
use crate::landing::summary;
use crate::landing::table::{Append, Version, VersionedTable};
use crate::progress::Progress;

/// What the person who starts the job consents to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClaimOptions {
    /// Go on although the meaning of the deduplication state has changed (id field, TTL, lateness).
    pub accept_new_fingerprint: bool,
}

/// Who claims.
#[derive(Clone, Copy, Debug)]
pub struct Claimant<'a> {
    /// The job's name.
    pub job: &'a str,
    /// What the meaning of its deduplication state depends on.
    pub fingerprint: &'a str,
    /// The seed of the id hash if the table is new; random.
    pub new_hash_seed: u64,
    /// What the person who starts it consents to.
    pub options: ClaimOptions,
}

/// Refuses deduplication state that no longer means the same: the progress in `table` was made under another fingerprint.
///
/// # Errors
/// `Refused`.
pub fn check_fingerprint(progress: &Progress, fingerprint: &str, table: &str) -> Result<()> {
    if progress.fingerprint == fingerprint {
        return Ok(());
    }
    Err(Error::refused(format!(
        "job `{}` no longer judges duplicates and lateness as table `{table}` was filled: \
         it was `{}`, it is `{fingerprint}`",
        progress.job, progress.fingerprint
    ))
    .hint(
        "restore the settings, or run once with `--accept-new-fingerprint` if the change is meant",
    ))
}

/// Takes the primary table over. What an earlier generation left pending is still to be rolled forward.
///
/// The claim is an empty snapshot that carries the progress: a commit of properties alone would leave the
/// branch where it is, and what an earlier generation has in flight would still fit. The progress that is
/// returned was read from exactly the version that the claim was made on. `examine` sees it before it is
/// written and may fill in or refuse (cluster id, topic ids); it may be called more than once.
///
/// The secondaries' marks must have been read before: they are held against a version of the primary that is
/// read here, so that a generation that is still committing cannot make a secondary look ahead of it. The
/// secondaries may be older than the primary. Then its generations begin above
/// what they hold, so that no epoch is used twice in any of the job's tables.
///
/// # Errors
/// `Refused` for progress that cannot be gone on with; what `examine` says; an unreachable table.
pub fn claim<T: VersionedTable>(
    host: &dyn Host,
    primary: &mut T,
    marks: &Marks,
    claimant: Claimant<'_>,
    examine: &mut dyn FnMut(&mut Progress) -> Result<()>,
) -> Result<Progress> {
    let Claimant {
        job, fingerprint, ..
    } = claimant;
    let mut claimed = None;
    primary.reload()?;
    let around = Around {
        send: Failpoint::ClaimSend,
        sent: Failpoint::ClaimSent,
    };
    commit(host, primary, around, Patience::FULL, |table| {
        let version = table.version();
        let name = version.name();
        let mut progress = match fence::read_progress(version, job)? {
            Some(progress) => {
                marks.check(&progress, &name)?;
                progress
            }
            None => {
                let uuid = version.uuid();
                let mut progress = Progress::new(job, &uuid, claimant.new_hash_seed, fingerprint);
                progress.generations.extend(marks.last());
                progress
            }
        };
        if !claimant.options.accept_new_fingerprint {
            check_fingerprint(&progress, fingerprint, &name)?;
        }
        fingerprint.clone_into(&mut progress.fingerprint);
        examine(&mut progress)?;
        progress.claim();
        progress.sequence_number = version.next_sequence_number();
        let append = Append {
            job: job.to_owned(),
            files: Vec::new(),
            summary: summary::of(&progress, &Account::default()),
            properties: [(Progress::property(job), progress.to_json()?)].into(),
        };
        claimed = Some(progress);
        Ok(Verdict::Append(append))
    })?;
    let progress = claimed.ok_or_else(|| Error::internal("a claim ended without progress"))?;
    tracing::info!(table = %primary.version().name(), job, generation = progress.generation(), "claimed");
    Ok(progress)
}
