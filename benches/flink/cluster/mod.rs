//! A standalone cluster of Apache Flink on this machine, as every benchmark that drives Flink has it: a JobManager, TaskManagers
//! and one job. Which job, and what befalls its processes, is up to who includes this file.

// Every program that uses it takes its own part of it.
#![allow(dead_code)]

mod configuration;
mod ports;

use std::error::Error;
use std::ffi::OsStr;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub use configuration::Settings;
use ports::listens_on;

/// Twice what it takes on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(120);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// What the folders of TaskManagers' working files are called, before their number.
const WORKING_FOLDER: &str = "taskmanager-";

/// What went wrong, for a person.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A TaskManager of ours that the JobManager knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its process.
    pub pid: u32,
    /// Whether it works: some of its slots are taken.
    pub works: bool,
}

/// A process of a TaskManager.
struct TaskManager {
    number: usize,
    child: Child,
}

/// The cluster. Killed when the value is dropped.
pub struct Cluster {
    settings: Settings,
    home: PathBuf,
    job_jar: PathBuf,
    rest_port: u16,
    job_manager: Option<Child>,
    task_managers: Vec<TaskManager>,
    /// Processes started so far, which numbers their logs.
    started: usize,
    job: Option<String>,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Cluster {
    /// One that does not run yet.
    ///
    /// # Errors
    /// Flink is not on this machine.
    pub fn new(settings: Settings) -> Outcome<Cluster> {
        let given = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .ok_or_else(|| format!("{name} is not set: run through `cargo xtask bench`"))
        };
        Ok(Cluster {
            settings,
            home: given("STRANDLINE_FLINK_HOME")?,
            job_jar: given("STRANDLINE_FLINK_JOB")?,
            rest_port: 0,
            job_manager: None,
            task_managers: Vec::new(),
            started: 0,
            job: None,
            client: reqwest::Client::builder()
                .timeout(REQUEST_TIMEOUT)
                .build()?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
        })
    }

    fn conf(&self) -> PathBuf {
        self.settings.folder.join("conf")
    }

    /// Where its processes log.
    pub fn logs(&self) -> PathBuf {
        self.settings.logs()
    }

    /// Where checkpoints are.
    pub fn checkpoints(&self) -> PathBuf {
        self.settings.checkpoints()
    }

    /// Where its processes have their working files.
    pub fn working_files(&self) -> PathBuf {
        self.settings.working_files()
    }

    /// Starts the JobManager and all TaskManagers, none of which may run. They are not waited for.
    ///
    /// # Errors
    /// A process or a file that cannot be made.
    pub fn start(&mut self) -> Outcome {
        for folder in [self.conf(), self.logs(), self.working_files()] {
            std::fs::create_dir_all(folder)?;
        }
        // Held together, so that they differ.
        let (rpc, rest) = (
            TcpListener::bind("127.0.0.1:0")?,
            TcpListener::bind("127.0.0.1:0")?,
        );
        self.rest_port = rest.local_addr()?.port();
        let rpc_port = rpc.local_addr()?.port();
        drop((rpc, rest));
        let shipped = std::fs::read_to_string(self.home.join("conf/config.yaml"))?;
        let own = self
            .settings
            .configuration(&shipped, rpc_port, self.rest_port)?;
        std::fs::write(self.conf().join("config.yaml"), own)?;
        for file in ["log4j-console.properties", "log4j-cli.properties"] {
            std::fs::copy(self.home.join("conf").join(file), self.conf().join(file))?;
        }
        let number = self.next_number();
        self.job_manager = Some(self.spawn("jobmanager", number, &[])?);
        self.tend()
    }

    fn next_number(&mut self) -> usize {
        self.started += 1;
        self.started
    }

    fn spawn(&self, what: &str, number: usize, arguments: &[String]) -> Outcome<Child> {
        let log = File::create(self.logs().join(format!("{what}-{number}.out")))?;
        // A cluster must not outlive whoever measures it; the scripts become the JVM they start.
        Ok(Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(self.home.join("bin").join(format!("{what}.sh")))
            .arg("start-foreground")
            .args(arguments)
            .env("FLINK_CONF_DIR", self.conf())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?)
    }

    /// Starts TaskManagers again that have ended.
    ///
    /// # Errors
    /// A process that cannot be started.
    pub fn tend(&mut self) -> Outcome {
        self.living()?;
        while self.task_managers.len() < self.settings.task_managers() {
            let number = self.next_number();
            // A folder of its own, so that it can be deleted when its process is dead.
            let folder = self
                .working_files()
                .join(format!("{WORKING_FOLDER}{number}"));
            // Flink makes what is in it, not the folder.
            std::fs::create_dir_all(&folder)?;
            let own = ["-D".to_owned(), format!("io.tmp.dirs={}", folder.display())];
            let child = self.spawn("taskmanager", number, &own)?;
            self.task_managers.push(TaskManager { number, child });
        }
        Ok(())
    }

    /// How many TaskManagers have not ended.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn living(&mut self) -> Outcome<usize> {
        let mut living = Vec::new();
        for mut task_manager in self.task_managers.drain(..) {
            if task_manager.child.try_wait()?.is_none() {
                living.push(task_manager);
            }
        }
        self.task_managers = living;
        Ok(self.task_managers.len())
    }

    /// Whether the JobManager runs.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn has_job_manager(&mut self) -> Outcome<bool> {
        match &mut self.job_manager {
            Some(child) => Ok(child.try_wait()?.is_none()),
            None => Ok(false),
        }
    }

    /// Deletes the working files of TaskManagers that have ended, which nobody would read any more.
    ///
    /// # Errors
    /// A folder that cannot be deleted.
    pub fn sweep(&mut self) -> Outcome {
        self.living()?;
        if !self.working_files().is_dir() {
            return Ok(());
        }
        let is_alive = |number: usize| self.task_managers.iter().any(|t| t.number == number);
        for entry in std::fs::read_dir(self.working_files())? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let number = name.strip_prefix(WORKING_FOLDER).map(str::parse::<usize>);
            if let Some(Ok(number)) = number
                && !is_alive(number)
            {
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// The processes of the TaskManagers.
    pub fn task_manager_pids(&self) -> Vec<u32> {
        self.task_managers.iter().map(|t| t.child.id()).collect()
    }

    /// The process of the JobManager.
    pub fn job_manager_pid(&self) -> Option<u32> {
        self.job_manager.as_ref().map(Child::id)
    }

    fn get(&self, path: &str) -> Outcome<Value> {
        let url = format!("http://localhost:{}{path}", self.rest_port);
        self.runtime.block_on(async {
            let answer = self.client.get(url).send().await?;
            Ok(answer.error_for_status()?.json().await?)
        })
    }

    fn wait_for(&self, what: &str, condition: impl Fn() -> bool) -> Outcome {
        let began = Instant::now();
        while !condition() {
            if began.elapsed() > START_DEADLINE {
                return Err(
                    format!("no {what} after {START_DEADLINE:?}\n{}", tail(&self.logs())).into(),
                );
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    fn known(&self) -> Outcome<Vec<Value>> {
        let answer = self.get("/taskmanagers")?;
        Ok(answer["taskmanagers"]
            .as_array()
            .cloned()
            .unwrap_or_default())
    }

    /// Waits until the JobManager takes jobs.
    ///
    /// # Errors
    /// It does not.
    pub fn wait_for_job_manager(&self) -> Outcome {
        // Its two parts answer for themselves.
        self.wait_for("JobManager", || {
            self.known().is_ok() && self.get("/jobs").is_ok()
        })
    }

    /// Waits until all TaskManagers offer their slots.
    ///
    /// # Errors
    /// They do not.
    pub fn wait_for_task_managers(&self) -> Outcome {
        self.wait_for("TaskManagers", || {
            self.known().unwrap_or_default().len() >= self.settings.task_managers()
        })
    }

    /// The TaskManagers of ours that live and that the JobManager knows.
    ///
    /// # Errors
    /// The JobManager does not answer.
    pub fn registered(&self) -> Outcome<Vec<Registered>> {
        let known = self.known()?;
        // Told apart by the port on which each takes other TaskManagers' data; nobody listens on that of a dead one.
        let registered = known.iter().filter_map(|known| {
            let port = u16::try_from(known["dataPort"].as_u64()?).ok()?;
            let mut pids = self.task_managers.iter().map(|t| t.child.id());
            let pid = pids.find(|&pid| listens_on(pid, port))?;
            let works = known["freeSlots"].as_u64() < known["slotsNumber"].as_u64();
            Some(Registered { pid, works })
        });
        Ok(registered.collect())
    }

    /// Submits a job, from a checkpoint if there is one to go on from.
    ///
    /// # Errors
    /// Flink does not take it.
    pub fn submit(
        &mut self,
        class: &str,
        checkpoint: Option<&Path>,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Outcome {
        let mut command = Command::new(self.home.join("bin/flink"));
        command
            .env("FLINK_CONF_DIR", self.conf())
            .args(["run", "-d"]);
        if let Some(checkpoint) = checkpoint {
            // Claimed, as whoever restarts a job from its own checkpoint does: the first one then need not copy all of it.
            command.args(["--claimMode", "claim", "-s"]).arg(checkpoint);
        }
        let output = command
            .args(["-c", class])
            .arg(&self.job_jar)
            .args(arguments)
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        // "Job has been submitted with JobID 0123..."
        self.job = said
            .lines()
            .find_map(|line| line.rsplit_once("JobID "))
            .map(|(_, id)| id.trim().to_owned());
        if self.job.is_none() {
            let problem = String::from_utf8_lossy(&output.stderr);
            return Err(format!("Flink did not take the job: {said}{problem}").into());
        }
        Ok(())
    }

    /// The job's state, as `RUNNING`.
    ///
    /// # Errors
    /// No job was submitted, or the JobManager does not answer.
    pub fn state(&self) -> Outcome<String> {
        let job = self.job.as_deref().ok_or("no job")?;
        let answer = self.get(&format!("/jobs/{job}"))?;
        Ok(answer["state"].as_str().unwrap_or_default().to_owned())
    }

    /// Cancels the job, and ends all processes.
    ///
    /// # Errors
    /// A process that does not end.
    pub fn stop(&mut self) -> Outcome {
        if let Some(job) = &self.job {
            let url = format!("http://localhost:{}/jobs/{job}", self.rest_port);
            // A job that is done is none to be cancelled.
            let _ = self
                .runtime
                .block_on(async { self.client.patch(url).send().await });
        }
        self.kill()
    }

    /// Ends all processes with -9, the JobManager first, and returns when they are gone.
    ///
    /// # Errors
    /// A process that does not end.
    pub fn kill(&mut self) -> Outcome {
        let task_managers = self.task_managers.drain(..).map(|t| t.child);
        let mut children: Vec<Child> = self.job_manager.take().into_iter().collect();
        children.extend(task_managers);
        // All at once: the JobManager must not see TaskManagers die, nor they it.
        for child in &mut children {
            child.kill()?;
        }
        for child in &mut children {
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// The last lines of the files of a folder that were written last, for a failure.
pub fn tail(folder: &Path) -> String {
    const SHOWN_FILES: usize = 6;
    const SHOWN_BYTES: usize = 4000;
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    files.sort();
    let mut text = String::new();
    for (_, file) in files.iter().rev().take(SHOWN_FILES) {
        let Ok(log) = std::fs::read_to_string(file) else {
            continue;
        };
        let from = log.len().saturating_sub(SHOWN_BYTES);
        let from = (from..log.len()).find(|&at| log.is_char_boundary(at));
        text.push_str(&format!(
            "--- {}\n{}\n",
            file.display(),
            &log[from.unwrap_or(0)..]
        ));
    }
    text
}
