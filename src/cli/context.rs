//! What every command is given: the jobs of the registry and, on demand, the configuration.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};

use strandline_operators::job::{Job, Sink};
use strandline_operators::{Error, Result};

use crate::config::{Config, Draft, Sources, unknown_job};

/// What every command is given.
#[derive(Debug)]
pub struct Context {
    jobs: &'static [Job],
    named_file: Option<PathBuf>,
    status: AtomicU8,
}

impl Context {
    /// A context for the jobs of a registry; `named_file` is the configuration named on the command line.
    pub fn new(jobs: &'static [Job], named_file: Option<PathBuf>) -> Context {
        Context {
            jobs,
            named_file,
            status: AtomicU8::new(0),
        }
    }

    /// The jobs of the registry.
    pub fn jobs(&self) -> &'static [Job] {
        self.jobs
    }

    /// The job of this name.
    ///
    /// # Errors
    /// There is none; the hint has the nearest name.
    pub fn job(&self, name: &str) -> Result<&'static Job> {
        self.jobs
            .iter()
            .find(|j| j.name == name)
            .ok_or_else(|| unknown_job(name, self.jobs.iter().map(|j| j.name)))
    }

    /// The job of this name, which lands in tables.
    ///
    /// # Errors
    /// As [`Context::job`]; or it goes to the terminal.
    pub fn job_with_tables(&self, name: &str) -> Result<&'static Job> {
        let job = self.job(name)?;
        match job.sink {
            Sink::Tables => Ok(job),
            Sink::Terminal => Err(Error::configuration(format!(
                "job `{name}` goes to the terminal, it has no tables"
            ))
            .hint(format!("`strandline run {name}` shows its records"))),
        }
    }

    /// The configuration file in use: what a child process is given with `-c`.
    pub fn config_file(&self) -> Option<PathBuf> {
        Sources::find_file(self.named_file.as_deref())
    }

    /// The configuration in force.
    ///
    /// # Errors
    /// It cannot be read, is wrong, or lacks Kafka or the catalog.
    pub fn config(&self) -> Result<Config> {
        self.draft(None, &[])?.require()
    }

    /// The configuration in force for a job, with the overrides of `--set`.
    ///
    /// # Errors
    /// As [`Context::config`]; or there is no such job.
    pub fn config_for(&self, job: &str, set: &[String]) -> Result<Config> {
        self.job(job)?;
        self.draft(Some(job), set)?.require()
    }

    /// As much of the configuration as there is: may lack the file, Kafka and the catalog.
    ///
    /// # Errors
    /// It cannot be read or is wrong.
    pub fn draft(&self, job: Option<&str>, set: &[String]) -> Result<Draft> {
        let sources = Sources {
            file: self.config_file(),
            set: set.to_vec(),
            job: job.map(str::to_owned),
        };
        Draft::load(&sources, self.jobs)
    }

    /// Says that the command ended well; after a signal, once drained, with this exit status.
    pub fn ended_with(&self, after_signal: Option<u8>) {
        self.status
            .store(after_signal.unwrap_or(0), Ordering::Relaxed);
    }

    /// The exit status of a command that ended well.
    pub(crate) fn status(&self) -> u8 {
        self.status.load(Ordering::Relaxed)
    }
}
