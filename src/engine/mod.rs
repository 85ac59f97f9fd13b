//! The engine around the dataflow: from settings to a running cluster and its account.
//!
//! `start` decides where a generation begins, `cluster` brings the processes together, `workers` runs the
//! dataflow on the real ports, `watch` and `summary` tell people how it goes, `heartbeat` and `turns` find who hangs,
//! `supervise` starts it all again.

pub mod cluster;
pub mod crash;
pub(crate) mod failpoints;
pub mod file_limit;
pub mod heartbeat;
pub mod interrupt;
pub mod lock;
pub(crate) mod notify;
mod outage;
pub(crate) mod parent;
pub(crate) mod ports;
pub mod recognise;
pub mod report;
pub mod restarts;
pub mod run;
pub(crate) mod shared_facts;
mod silence;
pub(crate) mod sink;
pub mod start;
pub mod state;
mod summary;
pub mod supervise;
pub mod supervised;
mod turns;
pub mod watch;
mod workers;

use std::collections::BTreeMap;
use std::path::PathBuf;

use strandline_operators::job::{Format, JobSettings};
use strandline_operators::schema::AddedColumn;

use crate::connectors::iceberg::{CatalogSettings, FromSavepoint};
use crate::connectors::kafka::client::KafkaSettings;
use crate::connectors::schema_registry::RegistrySettings;
use crate::engine::cluster::ClusterShape;

/// One process of a run of a job: everything that is in force.
#[derive(Clone, Debug)]
pub struct JobRun {
    /// The job.
    pub settings: JobSettings,
    /// Where its topics are.
    pub kafka: KafkaSettings,
    /// Where its tables are.
    pub catalog: CatalogSettings,
    /// Where the schemas of its records are, if anywhere.
    pub registry: Option<RegistrySettings>,
    /// Where it keeps state that can be lost.
    pub state_dir: PathBuf,
    /// The cluster, and this process' place in it.
    pub shape: ClusterShape,
    /// Whether it ends when every partition has reached the end it had at the start.
    pub until_caught_up: bool,
    /// Whether it goes on although the meaning of the deduplication state has changed.
    pub accept_new_fingerprint: bool,
    /// The savepoint that it goes on from.
    pub from_savepoint: Option<FromSavepoint>,
}

impl JobRun {
    /// The same, of records of these formats, by topic, and with columns that the tables have besides those of the
    /// job's code.
    pub fn of_records(&self, formats: &BTreeMap<String, Format>, added: &[AddedColumn]) -> JobRun {
        let mut run = self.clone();
        run.settings.set_formats(formats);
        run.settings.add_columns(added);
        run
    }

    /// The folder of this job's state.
    pub fn job_dir(&self) -> PathBuf {
        self.state_dir.join(&self.settings.name)
    }
}
