//! What a table says of a job, and when to go no further: every read of progress passes here.

use crate::error::{Error, Result};
use crate::landing::table::{Lineage, Version};
use crate::progress::Progress;

/// The job's progress, `None` when the job has never run against this table.
///
/// # Errors
/// Refuses a table with history of the job but no progress, with progress of another table, or one that
/// was rolled back behind its progress: each would lose or double records without a word.
pub fn read_progress(version: &impl Version, job: &str) -> Result<Option<Progress>> {
    let table = version.name();
    let property = Progress::property(job);
    let Some(json) = version.property(&property) else {
        if version.has_snapshot_of(job) {
            return Err(Error::refused(format!(
                "table `{table}` has snapshots of job `{job}`, but its property `{property}` is gone: \
                 nothing says where to go on"
            ))
            .hint("restore the property from the newest metadata file that has it, or let the job write to a new table"));
        }
        return Ok(None);
    };
    let progress = Progress::parse(json).map_err(|e| e.context(format!("table {table}")))?;
    let uuid = version.uuid();
    if progress.table_uuid != uuid {
        return Err(Error::refused(format!(
            "the progress in table `{table}` is that of another table: it names {}, this one is {uuid}",
            progress.table_uuid
        ))
        .hint("the table was copied with its properties; remove the property, or use the original"));
    }
    check_lineage(version, &progress)?;
    Ok(Some(progress))
}

/// Refuses a table whose current snapshot does not descend from the one that the progress came with.
fn check_lineage(version: &impl Version, progress: &Progress) -> Result<()> {
    let expected = progress.sequence_number;
    let rolled_back = |found: String| {
        Err(Error::refused(format!(
            "table `{}` was rolled back: its progress came with sequence number {expected}, {found}",
            version.name()
        ))
        .hint(
            "records before the committed offsets would be missing; roll the table forward again \
             (set the main branch to the snapshot with that sequence number), or use a new table",
        ))
    };
    match version.lineage(&progress.job, expected) {
        Lineage::Descends => Ok(()),
        Lineage::Empty => rolled_back("but it has no current snapshot".to_owned()),
        Lineage::Past(number) => rolled_back(format!(
            "but its current snapshot descends from sequence number {number} past it"
        )),
        Lineage::Replaced => rolled_back("but its history begins after it".to_owned()),
        Lineage::Newer(number) => Err(Error::refused(format!(
            "the progress of job `{}` in table `{}` was set back: it came with sequence number \
             {expected}, but the job has committed number {number} since",
            progress.job,
            version.name()
        ))
        .hint(
            "with it, records would land twice: restore the property from the newest metadata file that \
             the job wrote",
        )),
        Lineage::Unreadable(why) => Err(Error::unreachable(format!(
            "cannot tell whether table `{}` was rolled back: cannot read {why}",
            version.name()
        ))
        .hint("see that the warehouse is there and readable")),
        Lineage::Unknown => {
            // Normal for a table with other busy writers and a job that was down for long.
            let table = version.name();
            tracing::warn!(table, expected, "the table's history is expired so far that nothing tells whether it was rolled back; `strandline audit` does");
            Ok(())
        }
    }
}

/// Refuses to go on when another generation is in force than `ours`.
pub fn check_generation(version: &impl Version, found: &Progress, ours: u32) -> Result<()> {
    let generation = found.generation();
    if generation == ours {
        return Ok(());
    }
    let by = found.claimed_by.as_ref();
    Err(Error::refused(format!(
        "cannot commit to `{}`: generation {ours} of job `{}` is fenced by generation {generation}{} since {}",
        version.name(),
        found.job,
        by.map_or_else(String::new, |by| format!(" ({by})")),
        by.map_or_else(
            || version.since(&found.job, generation),
            |by| by.since.clone()
        )
    ))
    .hint("another process runs this job now; stop one of the two"))
}
