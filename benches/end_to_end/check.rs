//! Are the rows right? DuckDB says, which neither engine knows of.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::Outcome;
use crate::workload::Workload;

/// What a table must hold.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Rows, each with an id of its own.
    pub rows: u64,
    /// What the values of all rows add up to, where that is known.
    pub contents: Option<String>,
    /// What another engine's table of the same records gave.
    pub fingerprint: Option<String>,
}

/// What DuckDB found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Rows.
    pub rows: u64,
    /// Different ids: as many as rows, unless some have landed twice.
    pub ids: u64,
    /// Of them flagged late. Not the same in both engines: Flink's watermark depends on how its tasks run.
    pub late: u64,
    /// Of ids and where each came from: two tables with the same one hold the same first records.
    pub fingerprint: String,
    /// What the values of all rows add up to, where that is compared.
    pub contents: Option<String>,
}

/// Has a table checked.
///
/// # Errors
/// It cannot be read, or is not as expected.
pub fn table(metadata_file: &Path, workload: &Workload, expected: Expected) -> Outcome<Checked> {
    let found = count(metadata_file, workload)?;
    if found.rows != expected.rows || found.ids != found.rows {
        return Err(format!(
            "{} rows with {} ids of their own were expected: {found:?}",
            expected.rows, expected.rows
        )
        .into());
    }
    if expected.contents.is_some() && expected.contents != found.contents {
        return Err(format!(
            "the rows are not what was sent, whose values add up to {:?}: {found:?}",
            expected.contents
        )
        .into());
    }
    if expected.fingerprint.is_some_and(|f| f != found.fingerprint) {
        return Err(format!("the engines did not land the same records: {found:?}").into());
    }
    Ok(found)
}

/// Has a table counted, whatever it holds.
///
/// # Errors
/// It cannot be read.
pub fn count(metadata_file: &Path, workload: &Workload) -> Outcome<Checked> {
    let python = std::env::var("STRANDLINE_PYTHON")
        .map_err(|_| "STRANDLINE_PYTHON is not set: run through `cargo xtask bench`")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/end_to_end/check.py");
    let output = Command::new(python)
        .arg(script)
        .arg(workload.judged_as())
        .arg(metadata_file)
        .output()?;
    if !output.status.success() {
        let problem = String::from_utf8_lossy(&output.stderr);
        return Err(format!("DuckDB cannot read {}: {problem}", metadata_file.display()).into());
    }
    let found: Value = serde_json::from_slice(&output.stdout)?;
    let number = |key: &str| found[key].as_u64().ok_or(format!("no `{key}` in {found}"));
    Ok(Checked {
        rows: number("rows")?,
        ids: number("ids")?,
        late: number("late")?,
        fingerprint: found["fingerprint"].as_str().unwrap_or_default().to_owned(),
        contents: found["contents"].as_str().map(str::to_owned),
    })
}
