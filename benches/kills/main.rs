//! The kill harness on demand: as many faults as asked, the recovery times, or a long look at memory.
//!
//! `cargo xtask bench kills [--engine strandline|flink] [--kills N] [--seed S] [--only FAULT,..] [--rate R] [--ids N]
//! [--interval-ms MS]` and `cargo xtask bench soak [--minutes M] [--rate R]`. Without `--kills` it is the short run of the
//! tests, or with Flink each of its faults once.

#[path = "../flink/cluster/mod.rs"]
mod cluster;
mod flink;
#[path = "../../tests/harness/mod.rs"]
mod harness;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::process::ExitCode;

use harness::Options;

/// Whose job it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    Strandline,
    Flink,
}

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let what = if args.is_empty() {
        "kills".to_owned()
    } else {
        args.remove(0)
    };
    let (engine, options) = match parse(&what, args) {
        Ok(parsed) => parsed,
        Err(problem) => {
            eprintln!("error: {problem}");
            return ExitCode::from(2);
        }
    };
    let name = match engine {
        Engine::Strandline => what.clone(),
        Engine::Flink => format!("{what}-flink"),
    };
    let report = format!("{name}-{}.json", options.seed);
    let report = Path::new(env!("CARGO_TARGET_TMPDIR")).join(report);
    match (what.as_str(), engine) {
        ("soak", _) => harness::soak(&options, &report),
        (_, Engine::Strandline) => harness::run(options, &report),
        (_, Engine::Flink) => {
            if let Err(problem) = flink::run(options, &report) {
                eprintln!("error: {problem}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn parse(what: &str, mut args: Vec<String>) -> Result<(Engine, Options), String> {
    let engine = match args.iter().position(|arg| arg == "--engine") {
        None => Engine::Strandline,
        Some(at) => {
            let name = args.get(at + 1).map_or("", String::as_str);
            let engine = match name {
                "strandline" => Engine::Strandline,
                "flink" => Engine::Flink,
                _ => {
                    return Err(format!(
                        "there is no engine `{name}`: --engine strandline, flink"
                    ));
                }
            };
            args.drain(at..at + 2);
            engine
        }
    };
    let options = Options::parse(&args)?;
    if engine == Engine::Flink {
        if what == "soak" {
            return Err("`soak` looks at Strandline's memory alone".to_owned());
        }
        flink::check(&options)?;
    }
    Ok((engine, options))
}
