//! What does not get into the tables: a store that does not answer, a commit that takes long, a secondary that is
//! behind.

use strandline_operators::landing::behind::FILES_MAX;

use super::super::job::JobState;
use super::{Found, Look, STALL_AFTER, Severity};

/// All of these. None of them needs a source that reads.
pub(super) fn landing(look: &Look<'_>, found: &mut Vec<Found>) {
    store(look, found);
    commits(look, found);
    tables(look, found);
}

fn store(look: &Look<'_>, found: &mut Vec<Found>) {
    let Some(trouble) = look.store_trouble else {
        return;
    };
    let what = match look.state {
        JobState::Starting => "the start cannot go on",
        _ => "rows cannot be written",
    };
    found.push(Found {
        kind: "store_slow",
        severity: Severity::Stalled,
        message: format!("{what}: {trouble}"),
        hint: "see that it is up and can be reached from here; the job goes on by itself, and nothing is lost"
            .to_owned(),
    });
}

fn commits(look: &Look<'_>, found: &mut Vec<Found>) {
    let Some((epoch, age)) = look.committing.filter(|(_, age)| *age >= STALL_AFTER) else {
        return;
    };
    let (kind, why) = match look.commit_trouble {
        Some(trouble) if look.awaits_kafka => ("waits_for_kafka", trouble),
        Some(trouble) => ("commit_failing", trouble),
        // It waits for the store, which is told of by itself.
        None if look.store_trouble.is_some() => return,
        None => ("commit_slow", "the catalog has not answered yet"),
    };
    found.push(Found {
        kind,
        severity: Severity::Stalled,
        message: format!(
            "the commit of epoch {epoch} has been under way for {} s: {why}",
            age.as_secs()
        ),
        hint: match (look.awaits_kafka, look.state) {
            (true, JobState::Draining) => "see that Kafka is up and can be reached from here; if it is not, the job ends, and its next start reads again what is not committed",
            (true, _) => "see that Kafka is up and can be reached from here; the job goes on by itself, and nothing is lost",
            (false, _) => "see that catalog and warehouse are up, writable and fast; nothing is lost meanwhile",
        }
        .to_owned(),
    });
}

fn tables(look: &Look<'_>, found: &mut Vec<Found>) {
    let Some(first) = look.tables_behind.first() else {
        return;
    };
    let files: usize = look.tables_behind.iter().map(|table| table.files).sum();
    let others = match look.tables_behind.len() - 1 {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    found.push(Found {
        kind: "table_behind",
        severity: Severity::Warning,
        message: format!(
            "table {}{others} lacks {} epochs that the primary has: {}",
            first.table, first.epochs, first.why
        ),
        hint: format!(
            "see that the table can be committed to; nothing is lost, {files} data files wait, and at {FILES_MAX} the job stops"
        ),
    });
}
