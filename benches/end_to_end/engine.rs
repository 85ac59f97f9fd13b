//! What the scenarios ask of an engine.

use std::path::PathBuf;

use crate::Outcome;
use crate::catalog::RestCatalog;
pub use crate::cluster::tail;
use crate::flink::Flink;
use crate::options::{EngineKind, Options};
use crate::strandline_engine::Strandline;
use crate::usage::Processes;
use crate::workload::Workload;

/// The work: a topic into a table in a folder of its own.
#[derive(Clone, Debug)]
pub struct Work {
    /// The job, and what its records are.
    pub workload: Workload,
    /// The topic read; dead letters go to one with `-dlq` behind its name.
    pub topic: String,
    /// The table, `NAMESPACE.NAME`.
    pub table: String,
    /// Where the tables are, if not in a catalog of the engine's own kind in the folder.
    pub rest: Option<RestCatalog>,
    /// Tables, state, logs.
    pub folder: PathBuf,
    /// Between commits, in milliseconds.
    pub interval_ms: u64,
    /// Whether the job ends at the end that the topic has now.
    pub is_bounded: bool,
    /// Processes of Strandline.
    pub processes: u64,
    /// Workers of each of them.
    pub workers: u64,
    /// Whether the engine must be ready for the death of a process.
    pub will_be_killed: bool,
}

/// An engine that does the work.
pub trait Engine {
    /// Brings up what has to run before a job can be given to it.
    fn prepare(&mut self) -> Outcome;
    /// Starts the job.
    fn start(&mut self) -> Outcome;
    /// Its processes now.
    fn processes(&mut self) -> Processes;
    /// Starts again what is ours to start again.
    fn tend(&mut self) -> Outcome;
    /// Whether a bounded job is done.
    fn is_done(&mut self) -> Outcome<bool>;
    /// The table's current metadata file; `None` before there is one.
    fn metadata_file(&mut self) -> Outcome<Option<PathBuf>>;
    /// kill -9 of a process that works.
    fn kill_one(&mut self, draw: u64) -> Outcome;
    /// Ends everything.
    fn stop(&mut self) -> Outcome;
    /// Where it logs.
    fn logs(&self) -> PathBuf;
}

/// A restart takes no longer, whatever it has to rebuild: 200 million ids at a million a second, and as much again.
pub const REBUILD_DEADLINE: std::time::Duration = std::time::Duration::from_secs(400);

/// The name of an engine in reports.
pub fn name(kind: EngineKind) -> &'static str {
    match kind {
        EngineKind::Strandline => "strandline",
        EngineKind::Flink => "flink",
    }
}

/// An engine for some work.
///
/// # Errors
/// Something is missing on this machine.
pub fn of(kind: EngineKind, options: &Options, work: Work) -> Outcome<Box<dyn Engine>> {
    std::fs::create_dir_all(&work.folder)?;
    Ok(match kind {
        EngineKind::Strandline => Box::new(Strandline::new(options, work)?),
        EngineKind::Flink => Box::new(Flink::new(options, work)?),
    })
}
