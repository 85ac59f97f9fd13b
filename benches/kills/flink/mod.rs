//! Flink's job of `benches/flink` under the kill harness: the same events, broker, REST catalog, faults, reader of commits
//! and report. The judge says only whether each event has landed once (`tests/judge/once.py`), as Flink keeps no account.
//!
//! There are two TaskManagers with two slots each: one works, one is spare. Whoever is killed is started again, as a
//! service manager would do it; the JobManager's restart strategy starts the job again.

mod faults;
mod position;
mod upkeep;
mod waits;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Cluster, Outcome, Settings};
use crate::harness::reader::{Reader, Said, number};
use crate::harness::report::{Tally, publish};
use crate::harness::{CATCH_UP_DEADLINE, Fault, Load, Options, PARTITIONS, Schedule, Step, judge};
use crate::support::{OwnStack, Topic, unique};
use position::Position;

/// Slots of a TaskManager, and the job's parallelism.
const SLOTS: u64 = 2;
/// A checkpoint is needed by the faults that end the JobManager too, and must outlive its job.
const ADDED: &str =
    "execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION";
/// JVMs must be up, a catalog must have answered, and the first commit must be there within this.
const START_DEADLINE: Duration = Duration::from_secs(180);

/// The faults that a cluster of Flink has a like of.
const FAULTS: [Fault; 9] = [
    Fault::KillOne,
    Fault::KillAll,
    Fault::KillLauncher,
    Fault::KillAgain,
    Fault::KillBroker,
    Fault::KillCatalog,
    Fault::Pause,
    Fault::Zombie,
    Fault::LoseState,
];

/// Those that it has none of, and why.
const SKIPPED: [(Fault, &str); 5] = [
    (
        Fault::LoseOneState,
        "a restart reads all state back from the checkpoint, whatever is left of it",
    ),
    (
        Fault::LoseStateAlive,
        "a restart reads all state back from the checkpoint, whatever is left of it",
    ),
    (
        Fault::ZombieCommitter,
        "the committer is in the TaskManager that works: it is `zombie`",
    ),
    (
        Fault::FullState,
        "takes a job of its own on a small disk, which is not there for Flink",
    ),
    (
        Fault::FullWarehouse,
        "takes a job of its own on a small disk, which is not there for Flink",
    ),
];

/// A run in progress.
struct Run {
    options: Options,
    stack: OwnStack,
    topic: Topic,
    dead_letters: Topic,
    table: String,
    cluster: Cluster,
    load: Option<Load>,
    reader: Reader,
    position: Position,
    tally: Tally,
}

/// Whether Flink can be driven like that.
///
/// # Errors
/// A fault that it has no like of.
pub fn check(options: &Options) -> Result<(), String> {
    for (fault, why) in SKIPPED {
        if options.only.contains(&fault) {
            return Err(format!("`{}` is not for Flink: {why}", fault.name()));
        }
    }
    Ok(())
}

/// Runs the schedule that the options ask for, has everything judged, prints the report and writes it as JSON to `to`.
///
/// # Errors
/// What this harness could not do. What Flink lost or doubled is in the report, and no error.
pub fn run(options: Options, to: &Path) -> Outcome {
    let schedule = if options.only.is_empty() {
        Schedule::of_one_shape(options.seed, options.faults, &FAULTS)
    } else {
        options.schedule()
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique("kills-flink"));
    eprintln!(
        "kills of Flink's job: seed {}, {} faults; the report will be in {}, Flink's logs are in {}",
        options.seed,
        schedule.steps.len(),
        to.display(),
        folder.join("logs").display()
    );
    let mut run = Run::start(options, folder.clone())?;
    for (at, step) in schedule.steps.into_iter().enumerate() {
        run.tally.say(&format!("fault {at}: {}", step.fault.name()));
        run.step(step)?;
    }
    let is_exact = run.finish(to)?;
    if is_exact {
        std::fs::remove_dir_all(&folder)?;
    } else {
        println!("  Flink's logs stay in {}", folder.join("logs").display());
    }
    Ok(())
}

/// The summaries of the job's snapshots.
fn by_flink(summary: &Value) -> Said {
    let checkpoint = number(summary, "flink.max-committed-checkpoint-id");
    Said {
        generation: checkpoint,
        // Now and then an empty one tells of checkpoints without records.
        has_records: checkpoint > 0 && number(summary, "added-records") > 0,
    }
}

impl Run {
    fn start(options: Options, folder: PathBuf) -> Outcome<Run> {
        let cluster = Cluster::new(Settings {
            folder,
            slots: SLOTS,
            interval_ms: options.interval_ms,
            is_bounded: false,
            will_be_killed: true,
            added: ADDED.to_owned(),
        })?;
        let stack = OwnStack::given();
        let services = stack.description();
        let name = unique("roman-numeral-events");
        let topic = Topic::create(&services.bootstrap_servers, &name, PARTITIONS);
        let letters = format!("{name}-dlq");
        let dead_letters = Topic::create(&services.bootstrap_servers, &letters, 1);
        let table = format!("{}.conversion_events", name.replace('-', "_"));
        let (load, at_once) = Load::of(&options, &topic);
        let mut run = Run {
            position: Position::of(&topic)?,
            reader: Reader::start(&services.rest_uri, &table, by_flink),
            options,
            stack,
            topic,
            dead_letters,
            table,
            cluster,
            load: Some(load),
            tally: Tally::new(),
        };
        if run.options.only.is_empty() {
            for (fault, why) in SKIPPED {
                run.tally.skipped.insert(fault.name(), why.to_owned());
            }
        }
        run.cluster.start()?;
        run.cluster.wait_for_task_managers()?;
        run.submit()?;
        run.preload(at_once)?;
        let mark = run.mark();
        run.produce();
        run.wait_for_commit(mark)?;
        Ok(run)
    }

    /// Submits the job, from its newest complete checkpoint when there is one.
    fn submit(&mut self) -> Outcome {
        let services = self.stack.description();
        let newest = position::newest_checkpoint(&self.cluster.checkpoints())?;
        let checkpoint = newest.as_ref().map(|(_, folder)| folder.as_path());
        let arguments = [
            "--bootstrap-servers",
            &services.bootstrap_servers,
            "--topic",
            &self.topic.name,
            "--dead-letters",
            &self.dead_letters.name,
            "--catalog-uri",
            &services.rest_uri,
            "--table",
            &self.table,
        ];
        self.cluster.submit("BronzeJob", checkpoint, arguments)
    }

    /// Waits for the records that come before the first fault, and for their commit.
    fn preload(&mut self, records: u64) -> Outcome {
        if records == 0 {
            return Ok(());
        }
        self.wait_for("the first records", CATCH_UP_DEADLINE, |run| {
            let delivered = run.load.as_ref().map_or(0, Load::delivered);
            Ok((delivered >= records).then_some(()))
        })?;
        self.tally
            .say(&format!("{records} records are in the topic"));
        self.catch_up()?;
        self.tally.say("and in the table");
        Ok(())
    }

    fn produce(&self) {
        if let Some(load) = &self.load {
            load.go_on(self.options.rate);
        }
    }

    fn step(&mut self, step: Step) -> Outcome {
        self.rest(step.rest_ms)?;
        self.inflict(step)?;
        *self.tally.faults.entry(step.fault.name()).or_default() += 1;
        self.cluster.sweep()?;
        upkeep::expire(&self.stack.description().rest_uri, &self.table);
        Ok(())
    }

    /// Ends the run; says whether nothing was lost or doubled.
    fn finish(mut self, to: &Path) -> Outcome<bool> {
        self.tally.say("the producer stops, the job catches up");
        let produced = self.load.take().map_or(0, Load::finish);
        self.catch_up()?;
        self.cluster.stop()?;
        for folder in [self.cluster.checkpoints(), self.cluster.working_files()] {
            std::fs::remove_dir_all(folder)?;
        }
        self.tally.say("the judge reads");
        let judging = Instant::now();
        let services = self.stack.description();
        let arguments = [
            "once",
            "--rest",
            &services.rest_uri,
            "--table",
            &self.table,
            "--topic",
            &self.topic.name,
            "--bootstrap",
            &services.bootstrap_servers,
            "--dead-letter-topic",
            &self.dead_letters.name,
        ];
        let verdict = judge::verdict(&arguments.map(str::to_owned));
        let mut counted = verdict.report.clone();
        if let Some(counted) = counted.as_object_mut() {
            counted.remove("differences");
        }
        let report = self.tally.json(json!({
            "engine": "flink",
            "versions": std::env::var("STRANDLINE_FLINK_VERSIONS").unwrap_or_default(),
            "seed": self.options.seed,
            "rate": self.options.rate,
            "interval_ms": self.options.interval_ms,
            "produced": produced,
            "commits": self.reader.seen().commits.len(),
            "counted": counted,
            "losses": verdict.losses,
            "duplicates": verdict.duplicates,
            "differences": verdict.report["differences"],
            "judge": verdict.report,
            "judge_seconds": judging.elapsed().as_secs_f64(),
        }));
        publish(&report, to);
        // As with Strandline: the log may hold more than the producer has heard of, and not less.
        if verdict.report["records"].as_u64() < Some(produced) {
            let held = &verdict.report["records"];
            return Err(format!("of {produced} records the log holds {held}").into());
        }
        Ok(verdict.losses + verdict.duplicates == 0)
    }
}
