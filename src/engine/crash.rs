//! What a crash leaves behind: a file with the release, the settings in force, how far the job was, and where in
//! the code it happened.

use std::backtrace::Backtrace;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use strandline_operators::observed::Observed;

/// Reports kept in a job's folder; the oldest goes when there are more.
const REPORTS_KEPT: usize = 10;
/// How the name of a report begins.
const PREFIX: &str = "crash-";

/// What a report is made of.
#[derive(Debug)]
pub struct Situation {
    /// Where reports go.
    pub folder: PathBuf,
    /// The job's name.
    pub job: String,
    /// The settings in force, as lines, secrets masked.
    pub settings: String,
    /// How far the job is.
    pub observed: Arc<Observed>,
    /// What happens when the same command is started again, for a person.
    pub afterwards: &'static str,
}

/// A report that was written.
#[derive(Debug)]
pub struct Report {
    /// Where it is.
    pub path: PathBuf,
    /// As [`Situation::afterwards`] says.
    pub afterwards: &'static str,
}

static SITUATION: OnceLock<Situation> = OnceLock::new();

/// From now on a crash of this process leaves a report.
pub fn prepare(situation: Situation) {
    // A process runs one job; a second one in a test keeps the first's.
    let _ = SITUATION.set(situation);
}

/// Writes a report, says where it is, and returns that. Nothing that fails here hides what it reports.
pub fn report(cause: &str) -> Option<Report> {
    let situation = SITUATION.get()?;
    let backtrace = Backtrace::force_capture().to_string();
    let now = chrono::Utc::now().format("%Y%m%dT%H%M%S%.3fZ");
    let path = situation.folder.join(format!("{PREFIX}{now}.txt"));
    let written = std::fs::write(&path, text(situation, cause, &backtrace));
    match &written {
        Ok(()) => tracing::error!(
            job = situation.job,
            "a report of the crash is at {}",
            path.display()
        ),
        Err(e) => tracing::error!(job = situation.job, "cannot write {}: {e}", path.display()),
    }
    prune(&situation.folder);
    written.is_ok().then_some(Report {
        path,
        afterwards: situation.afterwards,
    })
}

fn text(situation: &Situation, cause: &str, backtrace: &str) -> String {
    let mut text = String::new();
    // A String takes everything.
    let _ = writeln!(
        text,
        "strandline {}\njob {}\n\n{cause}\n",
        env!("CARGO_PKG_VERSION"),
        situation.job
    );
    let view = situation.observed.committed_view();
    let epoch = view
        .epoch
        .map_or_else(|| "none".to_owned(), |e| e.to_string());
    let _ = writeln!(
        text,
        "last committed epoch of this run: {epoch}\naccount of this run: {:?}",
        view.account
    );
    for commit in situation.observed.last_commits().iter().rev().take(5) {
        let _ = writeln!(
            text,
            "  epoch {} at {}, {} ms, snapshot {:?}",
            commit.epoch,
            commit.at,
            commit.took.as_millis(),
            commit.snapshot_id
        );
    }
    let _ = writeln!(
        text,
        "\nsettings in force\n{}\nbacktrace\n{backtrace}",
        situation.settings
    );
    text
}

/// The newest report in a folder, and when it was written.
pub fn newest(folder: &Path) -> Option<(PathBuf, SystemTime)> {
    let path = reports(folder).pop()?;
    let written = path.metadata().and_then(|of| of.modified()).ok()?;
    Some((path, written))
}

/// The reports in a folder, the oldest first.
fn reports(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let is_report = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(PREFIX))
    };
    let mut reports: Vec<PathBuf> = entries
        .flatten()
        .map(|e| e.path())
        .filter(is_report)
        .collect();
    // Their names begin with the time.
    reports.sort();
    reports
}

fn prune(folder: &Path) {
    let reports = reports(folder);
    let too_many = reports.len().saturating_sub(REPORTS_KEPT);
    for report in &reports[..too_many] {
        let _ = std::fs::remove_file(report);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_a_person_needs_and_old_ones_go() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let observed = Arc::new(Observed::new());
        prepare(Situation {
            folder: folder.path().to_owned(),
            job: "clicks".to_owned(),
            settings: "kafka.properties.sasl.password: ********\n".to_owned(),
            observed,
            afterwards: "it goes on",
        });
        for i in 0..REPORTS_KEPT + 3 {
            std::fs::write(folder.path().join(format!("crash-2000{i:02}.txt")), "").expect("write");
        }
        let written = report("a thread panicked: on purpose").expect("a report");
        let mut reports: Vec<PathBuf> = std::fs::read_dir(folder.path())
            .expect("read")
            .flatten()
            .map(|e| e.path())
            .collect();
        reports.sort();
        assert_eq!(reports.len(), REPORTS_KEPT);
        assert_eq!(Some(&written.path), reports.last());
        assert_eq!(written.afterwards, "it goes on");
        let newest = std::fs::read_to_string(reports.last().expect("one")).expect("read");
        for said in [
            "on purpose",
            "job clicks",
            "sasl.password: ********",
            "last committed epoch",
            "crash::tests",
        ] {
            assert!(newest.contains(said), "no `{said}` in {newest}");
        }
    }
}
