//! The main job, and two others, on a real broker, by Strandline and, side by side, by a tuned Flink job.
//!
//! `cargo xtask bench drain|raw-avro|debezium|freshness|crypto|recovery|scale [OPTIONS]` runs one scenario, with Strandline
//! alone unless `--engines` says otherwise; `cargo xtask bench flink [OPTIONS]` runs all but `crypto` and `scale` with both. The
//! engines take turns, so that whatever else the machine does falls on both. Prints what was measured in this run, on
//! this machine, and writes it to `benches/report`; nothing is compared with a number in these files. With `--catalog rest` the tables
//! of both are in the stack's REST catalog, else each engine has the lightest catalog of its own on the local disk.
//!
//! | scenario | |
//! |---|---|
//! | `drain` | the main job: a topic of JSON, read to its end |
//! | `raw-avro` | the same with trades in Avro, kept byte for byte, deduplicated by the id in them |
//! | `debezium` | the same with Debezium's changes in JSON, flattened, deduplicated by their position |
//! | `freshness` | from the sending of an event to a snapshot that has it |
//! | `crypto` | the same of the jobs of two exchanges side by side, 10,000 and 500 messages a second, by Strandline alone |
//! | `recovery` | from kill -9 under load to the first new snapshot |
//! | `scale` | drains with more workers, processes, partitions and ids, by Strandline alone |

mod catalog;
mod check;
#[path = "../flink/cluster/mod.rs"]
mod cluster;
mod drain;
mod engine;
mod flink;
mod freshness;
mod machine;
mod options;
mod page;
mod recovery;
mod registry;
mod report;
mod scale;
mod strandline_engine;
mod table;
mod topic;
mod usage;
mod workload;

use options::{Options, Scenario};
use report::Report;

/// What went wrong, for a person.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let options = Options::parse(&args)?;
    let mut report = Report::begin(&options)?;
    for &scenario in &options.scenarios {
        match scenario {
            Scenario::Drain | Scenario::RawAvro | Scenario::Debezium => {
                drain::run(scenario, &options, &mut report)?;
            }
            Scenario::Freshness => freshness::run(&options, &mut report)?,
            Scenario::Crypto => freshness::run_crypto(&options, &mut report)?,
            Scenario::Recovery => recovery::run(&options, &mut report)?,
            Scenario::Scale => scale::run(&options, &mut report)?,
        }
        // After every scenario: a later one that fails takes nothing away.
        report.write()?;
    }
    report.print();
    Ok(())
}
