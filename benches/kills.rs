//! The kill harness on demand: as many faults as asked, the recovery times, or a long look at memory.
//!
//! `cargo xtask bench kills [--kills N] [--seed S] [--only FAULT,..] [--rate R] [--ids N]` and
//! `cargo xtask bench soak [--minutes M] [--rate R]`. Without `--kills` it is the short run of the tests.

#[path = "../tests/harness/mod.rs"]
mod harness;
#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::process::ExitCode;

use harness::Options;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let (what, rest) = match args.split_first() {
        Some((what, rest)) => (what.as_str(), rest),
        None => ("kills", &[][..]),
    };
    let options = match Options::parse(rest) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("error: {problem}");
            return ExitCode::from(2);
        }
    };
    let report = format!("{what}-{}.json", options.seed);
    let report = Path::new(env!("CARGO_TARGET_TMPDIR")).join(report);
    match what {
        "soak" => harness::soak(&options, &report),
        _ => harness::run(options, &report),
    }
    ExitCode::SUCCESS
}
