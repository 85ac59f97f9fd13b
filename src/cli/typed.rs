//! What was typed: the command line as clap reads it. The help text of every command is here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::connectors::kafka::peek::MAX_RECORDS;

/// Most workers of one process; timely's own limit is far above, memory is not.
const MAX_WORKERS: i64 = 256;

/// Most processes of one job. Each holds a connection to every other.
const MAX_PROCESSES: i64 = 1024;

/// Lands Kafka topics in Apache Iceberg tables, exactly once.
#[derive(Debug, Parser)]
#[command(
    name = "strandline",
    version,
    about,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Typed {
    /// The configuration [default: $STRANDLINE_CONFIG, else ./strandline.yaml]
    #[arg(short = 'c', long = "config", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// The command.
    #[command(subcommand)]
    pub command: TypedCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum TypedCommand {
    /// Show it at work: embedded Kafka, generated events, a local table; needs nothing installed
    Demo(TypedDemo),
    /// List the jobs, their tables, and whether they run
    List(TypedJson),
    /// Run a job in the foreground, as one process
    Run(TypedRun),
    /// Run a job as several processes on this host, restarted from the table when they fail
    Launch(TypedLaunch),
    /// Show how a job is, or all of them: state, lag, watermark, last commit, restarts
    Status(TypedStatus),
    /// Show how a job is, live in the terminal
    Top(TypedJob),
    /// Drain a job and commit, wait for its end, and print its account
    Stop(TypedJob),
    /// End a job at once; nothing is lost, it goes on from its table
    Cancel(TypedJob),
    /// Tag every table of a job at one point, from which `run --from-savepoint` goes on; it may run meanwhile
    Savepoint(TypedSavepoint),
    /// Show where a job stands in its topics, or set it on purpose
    Offsets(TypedOffsets),
    /// Find out whether a job can run: Kafka, topic, catalog, warehouse, a sample
    Check(TypedJob),
    /// Print records, decoded; touches no state
    Peek(TypedPeek),
    /// Prove the account of a job against its table and the broker
    Audit(TypedJob),
    /// Draw the dataflow of a job, with the settings in force and where each came from
    Plan(TypedPlan),
    /// Validate the configuration, show what is in force, or print its JSON Schema
    Config(TypedConfig),
    /// Print the completions of a shell
    Completions(TypedCompletions),
}

/// `--json`.
#[derive(Debug, Args)]
pub struct TypedJson {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// A job and `--json`.
#[derive(Debug, Args)]
pub struct TypedJob {
    /// The job
    #[arg(value_name = "JOB")]
    pub job: String,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `status`.
#[derive(Debug, Args)]
pub struct TypedStatus {
    /// The job [default: all of them]
    #[arg(value_name = "JOB")]
    pub job: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `demo`.
#[derive(Debug, Args)]
pub struct TypedDemo {
    /// How many events to generate
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub events: u64,
    /// The generator's seed: the same seed gives the same events
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Keep catalog, warehouse and state here [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Worker threads
    #[arg(short, long, value_name = "W", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MAX_WORKERS))]
    pub workers: u32,
    /// Keep producing until Ctrl-C
    #[arg(long)]
    pub serve: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `run`.
#[derive(Debug, Args)]
pub struct TypedRun {
    /// The job
    #[arg(value_name = "JOB")]
    pub job: String,
    /// Worker threads
    #[arg(short, long, value_name = "W", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MAX_WORKERS))]
    pub workers: u32,
    /// End when every partition has reached the end it had at the start
    #[arg(long)]
    pub until_caught_up: bool,
    /// Go on although key, TTL, lateness or event time of the deduplication have changed
    #[arg(long)]
    pub accept_new_fingerprint: bool,
    /// The savepoint to go on from, at any number of workers.
    #[command(flatten)]
    pub savepoint: TypedFromSavepoint,
    /// Override a setting, as in `--set commit.interval=250ms`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// How many processes there are, of which this is one
    #[arg(short = 'n', long, value_name = "P", requires = "process", value_parser = clap::value_parser!(u32).range(1..=MAX_PROCESSES))]
    pub processes: Option<u32>,
    /// Which of them this is, from 0
    #[arg(short = 'p', long, value_name = "I", requires = "processes")]
    pub process: Option<u32>,
    /// `host:port` of every process, one a line
    #[arg(long, value_name = "F", requires = "processes")]
    pub hostfile: Option<PathBuf>,
    /// Started by `launch`: standard input is its line
    #[arg(long, hide = true)]
    pub supervised: bool,
    /// Print the account as one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `--from-savepoint` and what belongs to it.
#[derive(Debug, Args)]
pub struct TypedFromSavepoint {
    /// Go on from this savepoint: the job's tables are taken back to it, Kafka is read again from there
    #[arg(long, value_name = "N")]
    pub from_savepoint: Option<String>,
    /// The table that has the savepoint, when the job now lands in another, new one: that begins with a
    /// copy of the savepoint's rows
    #[arg(long, value_name = "TABLE", requires = "from_savepoint")]
    pub savepoint_table: Option<String>,
    /// The request to go on from it, which is carried out once
    #[arg(long, hide = true, requires = "from_savepoint")]
    pub savepoint_request: Option<String>,
}

/// `savepoint`.
#[derive(Debug, Args)]
pub struct TypedSavepoint {
    /// The job
    #[arg(value_name = "JOB")]
    pub job: String,
    /// Its name, and that of the tag on every table [default: the time, as 20261121T140501Z]
    #[arg(long, value_name = "N")]
    pub name: Option<String>,
    /// Override a setting, as in `--set table=bronze.other`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `offsets`.
#[derive(Debug, Args)]
pub struct TypedOffsets {
    /// What to do.
    #[command(subcommand)]
    pub action: TypedOffsetsAction,
}

/// `offsets show|reset`.
#[derive(Debug, Subcommand)]
pub enum TypedOffsetsAction {
    /// By partition: begin, end, what is committed in the table, the group, the lag, the last reset
    Show(TypedJob),
    /// Set what is read next, in a commit of its own; the job must not run
    Reset(TypedOffsetsReset),
}

/// `offsets reset`.
#[derive(Debug, Args)]
pub struct TypedOffsetsReset {
    /// The job
    #[arg(value_name = "JOB")]
    pub job: String,
    /// Where to: earliest, latest, group, an offset, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "earliest|latest|group|OFFSET|TIME")]
    pub to: String,
    /// Only this topic or partition; may be repeated [default: all]
    #[arg(long, value_name = "TOPIC[:PARTITION]")]
    pub only: Vec<String>,
    /// Do it; without this it is only shown
    #[arg(long)]
    pub execute: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `launch`.
#[derive(Debug, Args)]
pub struct TypedLaunch {
    /// The job
    #[arg(value_name = "JOB")]
    pub job: String,
    /// Processes
    #[arg(short = 'n', long, value_name = "P", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MAX_PROCESSES))]
    pub processes: u32,
    /// Worker threads of each process
    #[arg(short, long, value_name = "W", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MAX_WORKERS))]
    pub workers: u32,
    /// End when every partition has reached the end it had at the start
    #[arg(long)]
    pub until_caught_up: bool,
    /// Go on although key, TTL, lateness or event time of the deduplication have changed
    #[arg(long)]
    pub accept_new_fingerprint: bool,
    /// The savepoint to go on from, at any number of workers.
    #[command(flatten)]
    pub savepoint: TypedFromSavepoint,
    /// Override a setting, as in `--set commit.interval=250ms`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print the account as one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `peek`.
#[derive(Debug, Args)]
pub struct TypedPeek {
    /// The job whose topics are read and whose columns are decoded
    #[arg(
        value_name = "JOB",
        required_unless_present = "topic",
        conflicts_with = "topic"
    )]
    pub job: Option<String>,
    /// A topic, without a job
    #[arg(long, value_name = "T")]
    pub topic: Option<String>,
    /// How many records, up to 10,000
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=MAX_RECORDS as u64))]
    pub number: u64,
    /// Where to start: earliest, latest, or an offset
    #[arg(
        long,
        value_name = "earliest|latest|OFFSET",
        default_value = "earliest"
    )]
    pub from: String,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `config`.
#[derive(Debug, Args)]
pub struct TypedConfig {
    /// What to do.
    #[command(subcommand)]
    pub action: TypedConfigAction,
}

/// `plan`.
#[derive(Debug, Args)]
pub struct TypedPlan {
    /// The job
    #[arg(value_name = "JOB")]
    pub job: String,
    /// Override a setting, as in `--set table=bronze.other`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `config check` and `config show`.
#[derive(Debug, Args)]
pub struct TypedSettings {
    /// Override a setting, as in `--set jobs.JOB.table=bronze.other`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `config check|show|schema`.
#[derive(Debug, Subcommand)]
pub enum TypedConfigAction {
    /// Validate the configuration, and say every problem of it
    Check(TypedSettings),
    /// Print what is in force and where each setting came from, with secrets masked
    Show(TypedSettings),
    /// Print the JSON Schema of the configuration, for editors
    Schema(TypedJson),
}

/// `completions`.
#[derive(Debug, Args)]
pub struct TypedCompletions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}
