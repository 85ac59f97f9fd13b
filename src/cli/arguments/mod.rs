//! What each command is asked to do; `checked` makes it of the typed arguments.

mod checked;

use std::path::PathBuf;

use clap_complete::Shell;

use crate::connectors::iceberg::FromSavepoint;

/// A command and its arguments.
#[derive(Debug)]
pub enum Command {
    /// `demo`
    Demo(DemoArgs),
    /// `list`
    List(ListArgs),
    /// `run`
    Run(RunArgs),
    /// `launch`
    Launch(LaunchArgs),
    /// `status`
    Status(StatusArgs),
    /// `top`
    Top(StopArgs),
    /// `stop`
    Stop(StopArgs),
    /// `cancel`
    Cancel(StopArgs),
    /// `savepoint`
    Savepoint(SavepointArgs),
    /// `offsets`
    Offsets(OffsetsArgs),
    /// `check`
    Check(CheckArgs),
    /// `peek`
    Peek(PeekArgs),
    /// `audit`
    Audit(AuditArgs),
    /// `plan`
    Plan(PlanArgs),
    /// `config`
    Config(ConfigArgs),
    /// `completions`
    Completions(CompletionsArgs),
}

/// What `demo` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoArgs {
    /// Events to generate.
    pub events: u64,
    /// The generator's seed.
    pub seed: u64,
    /// Where catalog, warehouse and state are kept; `None` for a temporary folder.
    pub dir: Option<PathBuf>,
    /// Worker threads, at least 1.
    pub workers: usize,
    /// Whether to keep producing, with the UI up.
    pub serve: bool,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `list` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListArgs {
    /// Whether to print JSON.
    pub json: bool,
}

/// What `run` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunArgs {
    /// The job's name, as typed.
    pub job: String,
    /// Worker threads of this process, at least 1.
    pub workers: usize,
    /// Whether to end when every partition has reached the end it had at the start.
    pub until_caught_up: bool,
    /// Whether a change of what the deduplication state means is accepted.
    pub accept_new_fingerprint: bool,
    /// The savepoint to go on from.
    pub from_savepoint: Option<FromSavepoint>,
    /// Overrides, `KEY=VALUE`.
    pub set: Vec<String>,
    /// Which process this is.
    pub cluster: Cluster,
    /// Whether `launch` has started it.
    pub supervised: bool,
    /// Whether to print JSON.
    pub json: bool,
}

/// Which process of how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Processes there are, at least 1.
    pub processes: usize,
    /// This one, below `processes`.
    pub process: usize,
    /// `host:port` of every process, one a line.
    pub hostfile: Option<PathBuf>,
}

/// What `launch` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchArgs {
    /// The job's name, as typed.
    pub job: String,
    /// Processes, at least 1.
    pub processes: usize,
    /// Worker threads of each process, at least 1.
    pub workers: usize,
    /// Whether to end when every partition has reached the end it had at the start.
    pub until_caught_up: bool,
    /// Whether a change of what the deduplication state means is accepted.
    pub accept_new_fingerprint: bool,
    /// The savepoint to go on from.
    pub from_savepoint: Option<FromSavepoint>,
    /// Overrides, `KEY=VALUE`.
    pub set: Vec<String>,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `status` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusArgs {
    /// The job's name, as typed; `None` for all jobs.
    pub job: Option<String>,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `stop`, `cancel` and `top` are asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopArgs {
    /// The job's name, as typed.
    pub job: String,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `savepoint` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavepointArgs {
    /// The job's name, as typed.
    pub job: String,
    /// The savepoint's name; `None` for the time.
    pub name: Option<String>,
    /// Overrides, `KEY=VALUE`.
    pub set: Vec<String>,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `offsets` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetsArgs {
    /// The job's name, as typed.
    pub job: String,
    /// The reset; `None` to show.
    pub reset: Option<ResetArgs>,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `offsets reset` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetArgs {
    /// Where to.
    pub to: ResetTo,
    /// Only these topics, or partitions of them; all when there are none.
    pub only: Vec<(String, Option<i32>)>,
    /// Whether to do it.
    pub execute: bool,
}

/// Where offsets are set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetTo {
    /// The oldest record that the broker holds.
    Earliest,
    /// The end.
    Latest,
    /// Where the consumer group stands.
    Group,
    /// This offset.
    Offset(i64),
    /// The first record with this timestamp or a later one, in milliseconds since 1970.
    Timestamp(i64),
}

/// What `check` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckArgs {
    /// The job's name, as typed.
    pub job: String,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `peek` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeekArgs {
    /// What is read.
    pub source: PeekSource,
    /// How many records.
    pub number: u64,
    /// Where to start.
    pub from: PeekFrom,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `peek` reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeekSource {
    /// The topics of a job, decoded into its columns.
    Job(String),
    /// A topic.
    Topic(String),
}

/// Where `peek` starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeekFrom {
    /// With the oldest record.
    Earliest,
    /// With the last `number` records.
    Latest,
    /// At this offset of every partition.
    Offset(i64),
}

/// What `audit` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditArgs {
    /// The job's name, as typed.
    pub job: String,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `plan` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanArgs {
    /// The job's name, as typed.
    pub job: String,
    /// Overrides, `KEY=VALUE`.
    pub set: Vec<String>,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `config` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigArgs {
    /// What to do.
    pub action: ConfigAction,
    /// Overrides, `KEY=VALUE`.
    pub set: Vec<String>,
    /// Whether to print JSON.
    pub json: bool,
}

/// The parts of `config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigAction {
    /// Validate.
    Check,
    /// Print what is in force.
    Show,
    /// Print the JSON Schema.
    Schema,
}

/// What `completions` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletionsArgs {
    /// The shell.
    pub shell: Shell,
}

#[cfg(test)]
mod tests;
