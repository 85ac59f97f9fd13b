//! `demo`: a job from end to end with nothing installed: an embedded Kafka, a SQLite catalog, a local
//! warehouse, generated events.

use std::cell::{Cell, OnceCell};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use strandline_operators::arrow_array::RecordBatch;
use strandline_operators::context::OnFailure;
use strandline_operators::job::Job;
use strandline_operators::observed::Observed;
use strandline_operators::record::TopicPartition;
use strandline_operators::time::EventTime;
use strandline_operators::{Error, Result};

use crate::cli::Context;
use crate::cli::arguments::DemoArgs;
use crate::cli::output::print;
use crate::commands::operate::{Shown, ToShow, end_process};
use crate::commands::run::print_report;
use crate::connectors::iceberg::{CatalogKind, CatalogSettings, IcebergConnector};
use crate::connectors::kafka::client::KafkaSettings;
use crate::connectors::kafka::embedded::EmbeddedKafka;
use crate::engine::cluster::ClusterShape;
use crate::engine::crash::{self, Situation};
use crate::engine::interrupt::Interrupt;
use crate::engine::run::run as run_process;
use crate::engine::{self, JobRun, file_limit};
use crate::generator::producer::{Throttle, produce};
use crate::generator::{Generator, GeneratorConfig};
use crate::status::facts::Tell;

/// The job that is shown.
const JOB: &str = "roman-numerals";
/// Partitions of its topic.
const PARTITIONS: i32 = 6;
/// Rows printed at the end.
const ROWS: usize = 5;
/// Their columns, as many as a terminal has room for.
const SHOWN: [&str; 6] = [
    "event_time",
    "input_value",
    "roman_numeral",
    "is_late_arrival",
    "kafka_partition",
    "kafka_offset",
];
/// The embedded Kafka keeps 5 MiB or 100,000 records of a partition and then forgets the oldest, so the
/// producer stays this close to what is durable. Hard-coded in librdkafka's mock cluster.
const AHEAD_BYTES: u64 = 4 << 20;
const AHEAD_RECORDS: u64 = 90_000;
/// An epoch is closed early enough that the producer never waits long for it.
const EPOCH_BYTES: u64 = 10 << 20;
const EPOCH_INTERVAL: Duration = Duration::from_millis(250);
/// How often the end of the demo is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Marks a folder as a demo's, to be replaced by the next one.
const MARKER: &str = ".strandline-demo";

/// Runs the command.
///
/// # Errors
/// The program has no job of the demo's name, or the folder cannot be used.
pub fn run(context: &Context, args: &DemoArgs) -> Result<()> {
    file_limit::raise();
    let job = context.job(JOB)?;
    let dir = prepare_dir(args.dir.as_deref())?;
    let topic = job.topics.first().copied().unwrap_or(JOB);
    let kafka = EmbeddedKafka::start(&[
        (topic, PARTITIONS),
        (job.dead_letter_topic.unwrap_or("demo-dlq"), 1),
    ])?;
    let run = demo_run(job, &kafka.settings(), &dir, args.workers);
    let interrupt = Interrupt::install()?;
    let observed = Arc::new(Observed::new());
    let engine = context.draft(None, &[])?.engine;
    let _lock = engine::run::lock(&run)?;
    report_crashes(args, &run, &observed);
    let shown = args
        .serve
        .then(|| {
            let to_show = ToShow {
                jobs: context.jobs(),
                engine: &engine,
                settings: &run.settings,
                kafka: &run.kafka,
                catalog: &run.catalog,
                state_dir: &run.state_dir,
            };
            Shown::begin(&to_show, &interrupt)
        })
        .transpose()?;
    if shown.is_some() {
        interrupt.end_when_cancelled()?;
    }
    let on_failure = shown.as_ref().map_or_else(end_process, Shown::on_failure);
    let board = shown.as_ref().map(|shown| Arc::clone(&shown.board));
    let tell: Tell = Arc::new(move |facts| {
        if let Some(board) = &board {
            board.tell(facts);
        }
    });

    let mut config = GeneratorConfig {
        seed: args.seed,
        events: args.events,
        partitions: PARTITIONS,
        ..GeneratorConfig::default()
    };
    if args.serve {
        // Of today, for someone who looks at freshness and watermark. Without, the same every time.
        config = config.within(FIRST_SPAN_S).until(EventTime::now());
    }
    let produced = Production {
        kafka: kafka.settings(),
        topic: topic.to_owned(),
        config,
        endless: args.serve,
        observed: Arc::clone(&observed),
        stop: interrupt.flag(),
        on_failure: Arc::clone(&on_failure),
    };
    let producer = std::thread::Builder::new()
        .name("produce".to_owned())
        .spawn(move || produced.run())
        .map_err(|e| Error::internal(format!("cannot start the thread that produces: {e}")))?;
    let done = run_process(&run, &interrupt, observed, tell, on_failure);
    if let Some(shown) = &shown {
        shown.end(&done, interrupt.exit_code().unwrap_or(0));
    }
    let report = done?;
    // It ended before the job did: the job drains when everything produced is durable.
    let _ = producer.join();
    let Some(report) = report else { return Ok(()) };
    if !args.json {
        let iceberg = IcebergConnector::open(&run.catalog)?;
        print(&format!(
            "{}\n\neverything is kept in {}\n\n",
            rows(&iceberg.sample(&run.settings.table, ROWS)?)?,
            dir.display()
        ))?;
    }
    print_report(&report, args.json)?;
    context.ended_with(interrupt.exit_code());
    Ok(())
}

/// From now on a crash leaves a report beside the demo's state. A demo takes its settings from its arguments and the
/// job's code, so those of the configuration are not in force.
fn report_crashes(args: &DemoArgs, run: &JobRun, observed: &Arc<Observed>) {
    crash::prepare(Situation {
        folder: run.job_dir(),
        job: run.settings.name.clone(),
        settings: format!("{args:#?}\n{:#?}\n", run.settings),
        observed: Arc::clone(observed),
        afterwards: "a demo begins anew when it is started again",
    });
}

fn demo_run(job: &Job, kafka: &KafkaSettings, dir: &Path, workers: usize) -> JobRun {
    let mut settings = job.settings();
    settings.commit.interval = EPOCH_INTERVAL;
    settings.commit.max_bytes = EPOCH_BYTES;
    let place = |name: &str| dir.join(name).display().to_string();
    JobRun {
        settings,
        kafka: kafka.clone(),
        catalog: CatalogSettings {
            kind: CatalogKind::Sql,
            uri: format!("sqlite://{}", place("catalog.db")),
            warehouse: place("warehouse"),
            properties: Default::default(),
        },
        registry: None,
        state_dir: dir.join("state"),
        shape: ClusterShape::alone(workers),
        until_caught_up: false,
        accept_new_fingerprint: false,
        from_savepoint: None,
    }
}

/// The time that the first events of `--serve` lie in: all that is far from now is gone from the figures soon.
const FIRST_SPAN_S: i64 = 60;

/// Events a second that `--serve` goes on with: enough to see everything move, and a disk lasts for months.
const SERVED_RATE: f64 = 500.0;

/// The events, and the end of the run once they are durable.
struct Production {
    kafka: KafkaSettings,
    topic: String,
    config: GeneratorConfig,
    endless: bool,
    observed: Arc<Observed>,
    stop: Arc<AtomicBool>,
    on_failure: OnFailure,
}

/// Holds a producer to a rate.
struct Pace {
    began: Instant,
    records: Cell<u64>,
}

impl Pace {
    fn new() -> Pace {
        Pace {
            began: Instant::now(),
            records: Cell::new(0),
        }
    }

    /// Returns when the next record is due.
    fn wait(&self) {
        let due = Duration::from_secs_f64(self.records.get() as f64 / SERVED_RATE);
        self.records.set(self.records.get() + 1);
        if let Some(early) = due.checked_sub(self.began.elapsed()) {
            std::thread::sleep(early);
        }
    }
}

impl Production {
    fn run(self) {
        // The first events come as fast as they can be landed; what comes after them is for someone who looks.
        let pace: OnceCell<Pace> = OnceCell::new();
        let keep_going = || {
            if let Some(pace) = pace.get() {
                pace.wait();
            }
            !self.stop.load(Ordering::Relaxed)
        };
        let mut written = 0;
        let mut before = vec![0u64; PARTITIONS as usize];
        let mut config = self.config.clone();
        while keep_going() {
            let durable_before = before.clone();
            let mut durable = |partition: i32| {
                let before = durable_before.get(partition as usize).copied();
                self.durable(partition).saturating_sub(before.unwrap_or(0))
            };
            let throttle = Throttle {
                max_records: AHEAD_RECORDS,
                max_bytes: AHEAD_BYTES,
                durable: &mut durable,
            };
            let mut generator = Generator::new(config.clone());
            match produce(
                &self.kafka,
                &self.topic,
                &mut generator,
                Some(throttle),
                &keep_going,
            ) {
                Ok(produced) => {
                    written += produced.records;
                    for (before, more) in before.iter_mut().zip(&produced.by_partition) {
                        *before += more;
                    }
                }
                Err(error) => return (self.on_failure)(error),
            }
            if !self.endless {
                break;
            }
            pace.get_or_init(Pace::new);
            // The next round is of other events, whose clock is ours.
            config.seed = config.seed.wrapping_add(1);
            config.start = EventTime::now();
            config.step_us = (1e6 / SERVED_RATE) as i64;
        }
        while keep_going() && self.observed.committed_view().account.consumed < written {
            std::thread::sleep(LOOK_INTERVAL);
        }
        self.stop.store(true, Ordering::Relaxed);
    }

    fn durable(&self, partition: i32) -> u64 {
        let view = self.observed.committed_view();
        let next = view
            .positions
            .get(&TopicPartition::new(self.topic.as_str(), partition));
        next.map_or(0, |&next| next.max(0) as u64)
    }
}

/// A fresh folder for the demo: a new temporary one, or the named one, where an earlier demo may have been.
fn prepare_dir(named: Option<&Path>) -> Result<PathBuf> {
    let dir = match named {
        Some(dir) => dir.to_owned(),
        None => {
            std::env::temp_dir().join(format!("strandline-demo-{}", uuid::Uuid::new_v4().simple()))
        }
    };
    let cannot = |e: std::io::Error| {
        Error::configuration(format!("cannot use the folder `{}`: {e}", dir.display()))
            .hint("give another one with `--dir`")
    };
    let occupied = dir.is_dir() && dir.read_dir().map_err(cannot)?.next().is_some();
    if occupied && !dir.join(MARKER).exists() {
        return Err(Error::configuration(format!(
            "the folder `{}` holds something that is no demo",
            dir.display()
        ))
        .hint("give an empty or a new folder with `--dir`"));
    }
    if occupied {
        std::fs::remove_dir_all(&dir).map_err(cannot)?;
    }
    std::fs::create_dir_all(&dir).map_err(cannot)?;
    std::fs::write(
        dir.join(MARKER),
        "the next demo in this folder replaces it\n",
    )
    .map_err(cannot)?;
    dir.canonicalize().map_err(cannot)
}

/// A few rows, for people.
fn rows(batches: &[RecordBatch]) -> Result<String> {
    let shown: Vec<RecordBatch> = batches
        .iter()
        .map(|batch| {
            let places: Vec<usize> = SHOWN
                .iter()
                .filter_map(|name| batch.schema().index_of(name).ok())
                .collect();
            batch.project(&places)
        })
        .collect::<std::result::Result<_, _>>()
        .map_err(|e| Error::internal(format!("cannot print rows: {e}")))?;
    arrow_cast::pretty::pretty_format_batches(&shown)
        .map(|table| table.to_string())
        .map_err(|e| Error::internal(format!("cannot print rows: {e}")))
}
