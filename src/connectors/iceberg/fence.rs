//! What a table says of a job, and when to go no further: every read of progress passes here.

use iceberg::spec::TableMetadata;
use strandline_operators::progress::Progress;
use strandline_operators::{Error, Result};

use super::lineage::{Lineage, lineage};
use super::summary;

/// The job's progress, `None` when the job has never run against this table.
///
/// # Errors
/// Refuses a table with history of the job but no progress, with progress of another table, or one that
/// was rolled back behind its progress: each would lose or double records without a word.
pub(super) fn read_progress(
    metadata: &TableMetadata,
    table: &str,
    job: &str,
) -> Result<Option<Progress>> {
    let property = Progress::property(job);
    let Some(json) = metadata.properties().get(&property) else {
        if metadata
            .snapshots()
            .any(|snapshot| summary::is_of(snapshot, job))
        {
            return Err(Error::refused(format!(
                "table `{table}` has snapshots of job `{job}`, but its property `{property}` is gone: \
                 nothing says where to go on"
            ))
            .hint("restore the property from the newest metadata file that has it, or let the job write to a new table"));
        }
        return Ok(None);
    };
    let progress = Progress::parse(json).map_err(|e| e.context(format!("table {table}")))?;
    let uuid = metadata.uuid().to_string();
    if progress.table_uuid != uuid {
        return Err(Error::refused(format!(
            "the progress in table `{table}` is that of another table: it names {}, this one is {uuid}",
            progress.table_uuid
        ))
        .hint("the table was copied with its properties; remove the property, or use the original"));
    }
    check_lineage(metadata, table, &progress)?;
    Ok(Some(progress))
}

/// Refuses a table whose current snapshot does not descend from the one that the progress came with.
fn check_lineage(metadata: &TableMetadata, table: &str, progress: &Progress) -> Result<()> {
    let expected = progress.sequence_number;
    let rolled_back = |found: String| {
        Err(Error::refused(format!(
            "table `{table}` was rolled back: its progress came with sequence number {expected}, {found}"
        ))
        .hint(
            "records before the committed offsets would be missing; roll the table forward again \
             (set the main branch to the snapshot with that sequence number), or use a new table",
        ))
    };
    match lineage(metadata, &progress.job, expected) {
        Lineage::Descends => Ok(()),
        Lineage::Empty => rolled_back("but it has no current snapshot".to_owned()),
        Lineage::Past(number) => rolled_back(format!(
            "but its current snapshot descends from sequence number {number} past it"
        )),
        Lineage::Replaced => rolled_back("but its history begins after it".to_owned()),
        Lineage::Newer(number) => Err(Error::refused(format!(
            "the progress of job `{}` in table `{table}` was set back: it came with sequence number \
             {expected}, but the job has committed number {number} since",
            progress.job
        ))
        .hint(
            "with it, records would land twice: restore the property from the newest metadata file that \
             the job wrote",
        )),
        Lineage::Unknown => {
            // Normal for a table with other busy writers and a job that was down for long.
            tracing::warn!(table, expected, "the table's history is expired so far that nothing tells whether it was rolled back; `strandline audit` does");
            Ok(())
        }
    }
}

/// Refuses to go on when another generation is in force than `ours`.
pub(super) fn check_generation(
    metadata: &TableMetadata,
    table: &str,
    found: &Progress,
    ours: u32,
) -> Result<()> {
    let generation = found.generation();
    if generation == ours {
        return Ok(());
    }
    Err(Error::refused(format!(
        "cannot commit to `{table}`: generation {ours} of job `{}` is fenced by generation {generation} since {}",
        found.job,
        summary::since(metadata, &found.job, generation)
    ))
    .hint("another process runs this job now; stop one of the two"))
}
