//! Strandline as a user runs it: `run`, or `launch` with several processes.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::catalog::Watched;
use crate::engine::{Engine, Work, tail};
use crate::options::Options;
use crate::usage::Processes;

/// A drain commits all that it has read.
const DRAIN_DEADLINE: Duration = Duration::from_secs(120);
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// The engine of this repository.
pub struct Strandline {
    servers: String,
    work: Work,
    child: Option<Child>,
    watched: Watched,
}

impl Strandline {
    /// For some work.
    ///
    /// # Errors
    /// No broker.
    pub fn new(options: &Options, work: Work) -> Outcome<Strandline> {
        let watched = match &work.rest {
            Some(catalog) => Watched::rest(catalog, &work.table),
            None => Watched::sql(&work.folder, &work.table),
        };
        Ok(Strandline {
            servers: options.service("kafka", "bootstrap_servers")?.to_owned(),
            work,
            child: None,
            watched,
        })
    }

    fn configuration(&self) -> String {
        let (folder, topic) = (self.work.folder.display(), &self.work.topic);
        let table = &self.work.table;
        let catalog = match &self.work.rest {
            Some(rest) => format!(
                "type: rest, uri: \"{}\", warehouse: \"{}\"",
                rest.uri, rest.warehouse
            ),
            None => format!(
                "type: sql, uri: \"sqlite://{folder}/catalog.db\", warehouse: \"{folder}/warehouse\""
            ),
        };
        let workload = &self.work.workload;
        let registry = workload.registry().map_or_else(String::new, |url| {
            format!("schema_registry: {{ url: \"{url}\" }}\n")
        });
        format!(
            "kafka: {{ bootstrap_servers: \"{}\" }}\n{registry}\
             catalog: {{ {catalog} }}\n\
             state_dir: {folder}/state\nhttp: \"off\"\nrestart: {{ attempts: 1000000, delay: 0s }}\n\
             jobs: {{ {}: {{ topics: [{topic}], table: {table}, dead_letters: {{ topic: {topic}-dlq }}, commit: {{ interval: {}ms }}{} }} }}\n",
            self.servers,
            workload.job(),
            self.work.interval_ms,
            workload.settings(),
        )
    }

    /// The processes of a launcher.
    fn children(launcher: u32) -> Vec<u32> {
        let listed = std::fs::read_to_string(format!("/proc/{launcher}/task/{launcher}/children"));
        let listed = listed.unwrap_or_default();
        listed
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    }
}

impl Engine for Strandline {
    fn prepare(&mut self) -> Outcome {
        std::fs::create_dir_all(self.logs())?;
        std::fs::write(
            self.work.folder.join("strandline.yaml"),
            self.configuration(),
        )?;
        Ok(())
    }

    fn start(&mut self) -> Outcome {
        let (processes, workers) = (
            self.work.processes.to_string(),
            self.work.workers.to_string(),
        );
        let job = self.work.workload.job();
        let mut command = Command::new(env!("CARGO_BIN_EXE_strandline"));
        command
            .arg("-c")
            .arg(self.work.folder.join("strandline.yaml"));
        if self.work.processes > 1 {
            command.args(["launch", job, "-n", &processes, "-w", &workers]);
        } else {
            command.args(["run", job, "-w", &workers]);
        }
        if self.work.is_bounded {
            command.arg("--until-caught-up");
        }
        let log = File::create(self.logs().join("strandline.log"))?;
        let child = command
            .arg("--json")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        Ok(())
    }

    fn processes(&mut self) -> Processes {
        let Some(child) = &self.child else {
            return Processes::default();
        };
        let mut workers = vec![child.id()];
        workers.extend(Strandline::children(child.id()));
        Processes {
            workers,
            coordinators: Vec::new(),
        }
    }

    fn tend(&mut self) -> Outcome {
        if self.is_done()? {
            return Err(format!("Strandline has ended\n{}", tail(&self.logs())).into());
        }
        Ok(())
    }

    fn is_done(&mut self) -> Outcome<bool> {
        let Some(child) = &mut self.child else {
            return Ok(true);
        };
        match child.try_wait()? {
            None => Ok(false),
            Some(status) if status.success() => Ok(true),
            Some(status) => {
                Err(format!("Strandline ended with {status}\n{}", tail(&self.logs())).into())
            }
        }
    }

    fn metadata_file(&mut self) -> Outcome<Option<PathBuf>> {
        self.watched.metadata_file()
    }

    fn kill_one(&mut self, draw: u64) -> Outcome {
        let launcher = self.child.as_ref().map_or(0, Child::id);
        let children = Strandline::children(launcher);
        let at = draw as usize % children.len().max(1);
        let pid = children.get(at).ok_or("no process to kill")?;
        Command::new("kill")
            .args(["-9", &pid.to_string()])
            .status()?;
        Ok(())
    }

    fn stop(&mut self) -> Outcome {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        if child.try_wait()?.is_none() {
            Command::new("kill").arg(child.id().to_string()).status()?;
        }
        let asked = Instant::now();
        while child.try_wait()?.is_none() {
            if asked.elapsed() > DRAIN_DEADLINE {
                child.kill()?;
                return Err(format!("Strandline did not drain\n{}", tail(&self.logs())).into());
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    fn logs(&self) -> PathBuf {
        self.work.folder.join("logs")
    }
}

impl Drop for Strandline {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
