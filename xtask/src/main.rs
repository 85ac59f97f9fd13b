//! Strandline's chores. `cargo xtask` lists them.

mod bench;
mod cargo;
mod ci;
mod clients;
mod command;
mod demo;
mod flink;
mod instructions;
mod jars;
mod machine;
mod places;
mod python;
mod stack;
mod test;

use std::process::ExitCode;

/// What could not be done, what was found, the next step: ready to print.
type Result<T = ()> = std::result::Result<T, String>;

const USAGE: &str = "\
usage: cargo xtask CHORE

  demo [ARGS]       build, and run `strandline demo ARGS`
  test [ARGS]       start the real services, run every test, stop the services;
                    ARGS go to `cargo test`, and then only its tests run
  bench drain|freshness|recovery|scale [ARGS]
                    measure the main job on a real broker
  bench raw-avro|debezium [ARGS]
                    a drain of Avro that is kept, or of Debezium's changes that are flattened
  bench flink [ARGS]
                    all but scale side by side with tuned Flink jobs; a report in benches/report
  bench read-back [ARGS]
                    read the deduplication state back from a table
  bench instructions [--record]
                    instructions a record of each stage, against what is recorded
  bench kills|soak [ARGS]
                    kill the main job a thousand times, or Flink's (kills --engine flink);
                    look at its memory
  bench watched [--minutes M]
                    two browsers and a scraper look at the main job for an hour: does anything grow?
  stack up|down|status|start|stop|kill
                    Kafka and an Iceberg REST catalog to work against (`cargo xtask stack` for more)
  ci                what must hold before a change lands: format, clippy, docs, tests

demo and test install what the machine lacks (with apt-get, where they may).";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let done = match args.first().map(String::as_str) {
        Some("demo") => demo::run(rest),
        Some("test") => test::run(rest),
        Some("bench") => bench::run(rest),
        Some("stack") => stack::run(rest),
        Some("ci") => ci::run(),
        Some("help" | "-h" | "--help") => {
            println!("{USAGE}");
            Ok(())
        }
        None => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
        Some(unknown) => {
            eprintln!("error: there is no chore `{unknown}`\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
