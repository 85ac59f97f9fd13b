//! Apache Flink, a standalone cluster on this machine: one JobManager, one TaskManager, and a spare one where
//! a TaskManager will be killed. Its jobs are in `benches/flink/job`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use crate::Outcome;
use crate::catalog::Watched;
use crate::cluster::{Cluster, Settings, tail};
use crate::engine::{Engine, Work};
use crate::options::Options;
use crate::topic;
use crate::usage::Processes;

/// The opponent.
pub struct Flink {
    servers: String,
    work: Work,
    /// One for each cluster: several read the same topic.
    dead_letters: String,
    cluster: Cluster,
    /// Of a table in a REST catalog.
    watched: Option<Watched>,
}

impl Flink {
    /// For some work.
    ///
    /// # Errors
    /// Flink is not on this machine.
    pub fn new(options: &Options, work: Work) -> Outcome<Flink> {
        let dead_letters = format!("{}-dlq-flink-{:08x}", work.topic, rand::random::<u32>());
        let cluster = Cluster::new(Settings {
            folder: work.folder.clone(),
            slots: options.workers,
            interval_ms: work.interval_ms,
            is_bounded: work.is_bounded,
            will_be_killed: work.will_be_killed,
            added: options.flink_conf.clone(),
        })?;
        let watched = work
            .rest
            .as_ref()
            .map(|rest| Watched::rest(rest, &work.table));
        Ok(Flink {
            watched,
            servers: options.service("kafka", "bootstrap_servers")?.to_owned(),
            work,
            dead_letters,
            cluster,
        })
    }

    fn warehouse(&self) -> PathBuf {
        self.work.folder.join("warehouse")
    }
}

impl Engine for Flink {
    fn prepare(&mut self) -> Outcome {
        std::fs::create_dir_all(self.warehouse())?;
        topic::create(&self.servers, &self.dead_letters, 1)?;
        self.cluster.start()?;
        self.cluster.wait_for_task_managers()
    }

    fn start(&mut self) -> Outcome {
        let mut arguments: Vec<OsString> = Vec::new();
        for (option, value) in [
            ("--bootstrap-servers", &self.servers),
            ("--topic", &self.work.topic),
            ("--dead-letters", &self.dead_letters),
            ("--table", &self.work.table),
        ] {
            arguments.extend([OsString::from(option), OsString::from(value)]);
        }
        arguments.extend(match &self.work.rest {
            Some(rest) => ["--catalog-uri".into(), OsString::from(&rest.uri)],
            None => ["--warehouse".into(), self.warehouse().into()],
        });
        if let Some(registry) = self.work.workload.registry() {
            arguments.extend([OsString::from("--registry"), OsString::from(registry)]);
        }
        if self.work.is_bounded {
            arguments.push("--bounded".into());
        }
        let class = self.work.workload.flink_class();
        self.cluster.submit(class, None, arguments)
    }

    fn processes(&mut self) -> Processes {
        Processes {
            workers: self.cluster.task_manager_pids(),
            coordinators: self.cluster.job_manager_pid().into_iter().collect(),
        }
    }

    fn tend(&mut self) -> Outcome {
        self.cluster.tend()
    }

    fn is_done(&mut self) -> Outcome<bool> {
        match self.cluster.state()?.as_str() {
            "FINISHED" => Ok(true),
            "FAILED" | "CANCELED" => {
                Err(format!("the Flink job has failed\n{}", tail(&self.logs())).into())
            }
            _ => Ok(false),
        }
    }

    fn metadata_file(&mut self) -> Outcome<Option<PathBuf>> {
        if let Some(watched) = &mut self.watched {
            return watched.metadata_file();
        }
        let table = self.work.table.replace('.', "/");
        let folder = self.warehouse().join(table).join("metadata");
        let Ok(hint) = std::fs::read_to_string(folder.join("version-hint.text")) else {
            return Ok(None);
        };
        // The hint may lag behind: the newest file counts, as every reader of such a catalog knows.
        let Ok(mut version) = hint.trim().parse::<u64>() else {
            return Ok(None);
        };
        let file = |version: u64| folder.join(format!("v{version}.metadata.json"));
        while file(version + 1).exists() {
            version += 1;
        }
        Ok(Some(file(version)))
    }

    fn kill_one(&mut self, _draw: u64) -> Outcome {
        // The one that works. A spare must be there, or this measures the start of a JVM.
        self.cluster.wait_for_task_managers()?;
        let registered = self.cluster.registered()?;
        let working = registered.iter().find(|task_manager| task_manager.works);
        let pid = working.ok_or("no TaskManager works")?.pid;
        Command::new("kill")
            .args(["-9", &pid.to_string()])
            .status()?;
        Ok(())
    }

    fn stop(&mut self) -> Outcome {
        self.cluster.stop()
    }

    fn logs(&self) -> PathBuf {
        self.cluster.logs()
    }
}
