//! `cargo xtask bench instructions`: instructions a record of each stage, counted by Valgrind and compared with
//! those recorded in `benches/instructions.txt`. They do not depend on what else the machine does, so a
//! regression of a few per cent is seen in CI.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::cargo::{announce_build, cargo};
use crate::command::{output_of, say};
use crate::{Result, machine, places};

/// The stages of `benches/instructions.rs`.
const STAGES: [&str; 4] = ["decode", "hash", "verdict", "parquet"];
/// Each stage is run with both: what they differ by is the stage alone.
const REPEATS: [u64; 2] = [1, 3];
/// More than this above what is recorded is a regression; as much below wants to be recorded.
const TOLERANCE_PERCENT: f64 = 5.0;
/// Where the counts are recorded.
const RECORDED: &str = "benches/instructions.txt";

/// Counts and compares; with `--record`, records instead of comparing.
pub fn run(args: &[String]) -> Result {
    let record = match args {
        [] => false,
        [option] if option == "--record" => true,
        _ => return Err("`bench instructions` takes nothing but `--record`".to_owned()),
    };
    machine::provide(&[machine::TO_BUILD, machine::TO_COUNT_INSTRUCTIONS])?;
    let binary = build()?;
    let counts = STAGES
        .iter()
        .map(|&stage| Ok((stage, count(&binary, stage)?)))
        .collect::<Result<Vec<_>>>()?;
    let file = places::repository()?.join(RECORDED);
    if record {
        let lines: String = counts
            .iter()
            .map(|(stage, count)| format!("{stage} {count:.0}\n"))
            .collect();
        return places::write_file(&file, &format!("{HEADER}{lines}"));
    }
    let recorded =
        fs::read_to_string(&file).map_err(|e| format!("cannot read `{}`: {e}", file.display()))?;
    let mut worse = Vec::new();
    for (stage, count) in counts {
        let before = recorded_of(&recorded, stage)?;
        let percent = (count / before - 1.0) * 100.0;
        say(format!(
            "{stage}: {count:.0} instructions a record, {percent:+.1} % of the {before:.0} recorded"
        ));
        if percent > TOLERANCE_PERCENT {
            worse.push(format!("{stage} {percent:+.1} %"));
        } else if percent < -TOLERANCE_PERCENT {
            say(format!(
                "{stage} has become cheaper: `cargo xtask bench instructions --record` keeps it so"
            ));
        }
    }
    if worse.is_empty() {
        return Ok(());
    }
    Err(format!(
        "more instructions a record than recorded: {}\n  hint: if that is worth it, say why in the commit and run `cargo xtask bench instructions --record`",
        worse.join(", ")
    ))
}

const HEADER: &str = "\
# Instructions a record, by stage; `cargo xtask bench instructions --record` writes this file.
";

fn recorded_of(recorded: &str, stage: &str) -> Result<f64> {
    let line = recorded.lines().find_map(|line| {
        let (name, count) = line.split_once(' ')?;
        (name == stage).then(|| count.parse().ok())?
    });
    line.ok_or_else(|| format!("{RECORDED} has no count of `{stage}`\n  hint: `cargo xtask bench instructions --record`"))
}

/// Builds the program and finds it. With the features of the tests, so that CI builds the engine once; what is
/// counted has no failpoints in it.
fn build() -> Result<PathBuf> {
    announce_build()?;
    let built = output_of(cargo()?.args([
        "bench",
        "--profile",
        "release",
        "--workspace",
        "--features",
        "strandline/failpoints",
        "--bench",
        "instructions",
        "--no-run",
        "--message-format",
        "json",
    ]))?;
    // One JSON document a line; the program's own is the one that names the target and an executable.
    built
        .lines()
        .filter(|line| line.contains("\"name\":\"instructions\""))
        .find_map(|line| {
            let (_, rest) = line.split_once("\"executable\":\"")?;
            Some(PathBuf::from(rest.split_once('"')?.0))
        })
        .ok_or_else(|| "cargo did not tell where it built `instructions`".to_owned())
}

/// Instructions a record of one stage.
fn count(binary: &PathBuf, stage: &str) -> Result<f64> {
    let mut totals = [0u64; 2];
    let mut records = 0;
    for (total, repeats) in totals.iter_mut().zip(REPEATS) {
        let repeats = repeats.to_string();
        let log = std::env::temp_dir().join(format!("strandline-callgrind-{}", std::process::id()));
        let printed = output_of(
            Command::new("valgrind")
                .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
                .arg(format!("--log-file={}", log.display()))
                .arg(binary)
                .args([stage, &repeats]),
        )?;
        let said = fs::read_to_string(&log).map_err(|e| format!("Valgrind said nothing: {e}"))?;
        let _ = fs::remove_file(&log);
        let collected = said
            .lines()
            .find_map(|line| line.rsplit_once("Collected : "))
            .and_then(|(_, number)| number.trim().parse().ok());
        *total = collected.ok_or_else(|| format!("Valgrind counted nothing:\n{said}"))?;
        records = printed
            .trim()
            .parse()
            .map_err(|e| format!("`instructions {stage}` printed `{printed}`: {e}"))?;
    }
    let per_repeat = (totals[1] - totals[0]) as f64 / (REPEATS[1] - REPEATS[0]) as f64;
    Ok(per_repeat / f64::from(std::cmp::max(records, 1u32)))
}
