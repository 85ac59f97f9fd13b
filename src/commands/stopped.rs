//! What is said of a job that does not run here: how it ended, what it committed last, and the next step.

use std::path::Path;

use serde_json::{Value, json};
use strandline_operators::Error;
use strandline_operators::numbers::grouped;
use strandline_operators::time::Epoch;

use crate::config::Draft;
use crate::http::socket;
use crate::status::last_seen::LastSeen;

/// For people, as the error of whoever asks for it.
pub(super) fn not_running(draft: &Draft, job: &str) -> Error {
    let folder = draft.engine.job_dir(job);
    let last = LastSeen::read(&folder);
    let ended = last.as_ref().map_or_else(
        || "nothing is known here of an earlier run".to_owned(),
        |last| how_it_ended(last, &folder),
    );
    let mut error = Error::unreachable(format!("the job {job} does not run on this host: {ended}"))
        .hint(format!(
            "`strandline run {job}` starts it, and it goes on from its table; `strandline list` shows what runs here"
        ));
    if let Some(last) = &last {
        error = error.context(last_commit(last));
    }
    error.context(format!(
        "nobody listens at {}",
        folder.join(socket::NAME).display()
    ))
}

/// For programs, in the place of a status.
pub(super) fn document(draft: &Draft, job: &str) -> Value {
    let folder = draft.engine.job_dir(job);
    let last = LastSeen::read(&folder);
    let crash_report = last.as_ref().and_then(|last| last.crash_report(&folder));
    json!({ "job": job, "state": "stopped", "last_seen": last, "crash_report": crash_report })
}

/// When it committed last, as far as that is known here.
pub(super) fn committed_at(draft: &Draft, job: &str) -> Option<String> {
    let last = LastSeen::read(&draft.engine.job_dir(job))?;
    last.commit.map(|commit| commit.at)
}

fn how_it_ended(last: &LastSeen, folder: &Path) -> String {
    let at = &last.at;
    let Some(ending) = &last.ending else {
        return match last.crash_report(folder) {
            Some(report) => format!(
                "it crashed after {at}, and left a report at {}",
                report.display()
            ),
            None => format!(
                "it was last seen at {at}, and did not say how it ended: it was killed, was told to end twice, lost another process of the job, or the machine went down"
            ),
        };
    };
    match (&ending.error, ending.exit_status) {
        (Some(error), status) => {
            let first = error.lines().next().unwrap_or_default();
            format!("it failed at {at} with exit status {status}: {first}")
        }
        (None, _) if ending.cancelled => format!("it was cancelled at {at}"),
        (None, 0) => format!("it ended in good order at {at}"),
        (None, status) if last.generation.is_none() => {
            format!(
                "it was told to end by a signal at {at}, before it had begun to read (exit status {status})"
            )
        }
        (None, status) => {
            format!(
                "it was told to end by a signal, and had drained at {at} (exit status {status})"
            )
        }
    }
}

fn last_commit(last: &LastSeen) -> String {
    match &last.commit {
        Some(commit) => format!(
            "its last commit is that of epoch {} at {}, with {} rows",
            Epoch(commit.epoch),
            commit.at,
            grouped(commit.rows)
        ),
        None => "no commit of it is known here".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::job::CommitStatus;
    use crate::status::last_seen::Ending;

    #[test]
    fn each_way_to_end_is_told_by_its_own_words() {
        let folder = tempfile::tempdir().expect("a folder");
        let ended_in = |generation, exit_status, error: Option<&str>, cancelled| {
            let ending = Ending {
                exit_status,
                error: error.map(str::to_owned),
                cancelled,
            };
            let last = LastSeen {
                at: "noon".to_owned(),
                generation,
                ending: Some(ending),
                ..LastSeen::default()
            };
            how_it_ended(&last, folder.path())
        };
        let ended =
            |exit_status, error, cancelled| ended_in(Some(1), exit_status, error, cancelled);
        assert_eq!(ended(0, None, false), "it ended in good order at noon");
        assert_eq!(ended(0, None, true), "it was cancelled at noon");
        assert!(ended(143, None, false).contains("by a signal, and had drained at noon"));
        assert_eq!(
            ended_in(None, 143, None, false),
            "it was told to end by a signal at noon, before it had begun to read (exit status 143)"
        );
        assert_eq!(
            ended(4, Some("fenced\n  hint: stop one"), false),
            "it failed at noon with exit status 4: fenced"
        );
        let killed = LastSeen {
            at: "noon".to_owned(),
            ..LastSeen::default()
        };
        let said = how_it_ended(&killed, folder.path());
        assert!(said.starts_with("it was last seen at noon"), "{said}");
    }

    #[test]
    fn the_last_commit_is_told_if_it_is_known() {
        let commit = CommitStatus {
            epoch: (3 << 32) | 17,
            at: "noon".to_owned(),
            rows: 1_200,
            ..CommitStatus::default()
        };
        let mut last = LastSeen {
            commit: Some(commit),
            ..LastSeen::default()
        };
        assert_eq!(
            last_commit(&last),
            "its last commit is that of epoch 3.17 at noon, with 1,200 rows"
        );
        last.commit = None;
        assert_eq!(last_commit(&last), "no commit of it is known here");
    }
}
