//! Apache Flink, a standalone cluster on this machine: one JobManager, one TaskManager, and a spare one where
//! a TaskManager will be killed. Its jobs are in `benches/flink/job`.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Outcome;
use crate::engine::{Engine, Work, tail};
use crate::options::Options;
use crate::topic;
use crate::usage::Processes;

/// Twice what it takes on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(120);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The opponent.
pub struct Flink {
    servers: String,
    work: Work,
    /// One for each cluster: several read the same topic.
    dead_letters: String,
    slots: u64,
    /// What a run adds to the configuration.
    added: String,
    home: PathBuf,
    job_jar: PathBuf,
    rest_port: u16,
    job_manager: Option<Child>,
    task_managers: Vec<Child>,
    started_task_managers: usize,
    job: Option<String>,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Flink {
    /// For some work.
    ///
    /// # Errors
    /// Flink is not on this machine.
    pub fn new(options: &Options, work: Work) -> Outcome<Flink> {
        let given = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .ok_or_else(|| format!("{name} is not set: run through `cargo xtask bench`"))
        };
        let dead_letters = format!("{}-dlq-flink-{:08x}", work.topic, rand::random::<u32>());
        Ok(Flink {
            dead_letters,
            servers: options.service("kafka", "bootstrap_servers")?.to_owned(),
            work,
            slots: options.workers,
            added: options.flink_conf.clone(),
            home: given("STRANDLINE_FLINK_HOME")?,
            job_jar: given("STRANDLINE_FLINK_JOB")?,
            rest_port: 0,
            job_manager: None,
            task_managers: Vec::new(),
            started_task_managers: 0,
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
        self.work.folder.join("conf")
    }

    fn warehouse(&self) -> PathBuf {
        self.work.folder.join("warehouse")
    }

    /// Everything that was found to help, and nothing that was found to hurt; see `benches/flink/README.md`.
    fn configuration(&self, rpc_port: u16) -> Outcome<String> {
        let shipped = std::fs::read_to_string(self.home.join("conf/config.yaml"))?;
        // Java 17 needs what the distribution opens; it stands on the one line of `all:`.
        let opens = shipped
            .lines()
            .find_map(|line| line.trim().strip_prefix("all: "))
            .ok_or("no env.java.opts.all in Flink's own configuration")?;
        let folder = self.work.folder.display();
        let own = format!(
            "\
jobmanager.rpc.address: localhost
jobmanager.rpc.port: {rpc_port}
jobmanager.bind-host: localhost
jobmanager.memory.process.size: 1g
rest.address: localhost
rest.bind-address: localhost
rest.port: {}
taskmanager.bind-host: localhost
taskmanager.host: localhost
taskmanager.memory.process.size: 8g
taskmanager.memory.managed.size: 3g
taskmanager.numberOfTaskSlots: {slots}
parallelism.default: {slots}
io.tmp.dirs: {folder}/tmp
env.java.opts.all: {opens} -XX:+UseParallelGC
env.log.dir: {folder}/logs
pipeline.object-reuse: true
execution.buffer-timeout.interval: {buffer_timeout_ms} ms
execution.checkpointing.interval: {interval_ms} ms
execution.checkpointing.incremental: true
execution.checkpointing.dir: file://{folder}/checkpoints
state.backend.type: rocksdb
state.backend.rocksdb.predefined-options: SPINNING_DISK_OPTIMIZED_HIGH_MEM
state.backend.rocksdb.use-bloom-filter: true
state.backend.rocksdb.memory.partitioned-index-filters: false
state.backend.rocksdb.compaction.style: UNIVERSAL
state.backend.rocksdb.compression.per.level: NO_COMPRESSION
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 1000000
restart-strategy.fixed-delay.delay: 200 ms
heartbeat.interval: {heartbeat_ms}
heartbeat.timeout: {heartbeat_timeout_ms}
",
            self.rest_port,
            slots = self.slots,
            interval_ms = self.work.interval_ms,
            // What is to be fresh must not wait in a buffer.
            buffer_timeout_ms = if self.work.is_bounded { 100 } else { 10 },
            heartbeat_ms = if self.work.will_be_killed { 500 } else { 1000 },
            heartbeat_timeout_ms = if self.work.will_be_killed { 2500 } else { 6000 },
        );
        Ok(joined(&own, &self.added))
    }

    fn spawn(&self, script: &str, log: &str) -> Outcome<Child> {
        let log = File::create(self.logs().join(log))?;
        // A cluster must not outlive whoever measures it; the scripts become the JVM they start.
        Ok(Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(self.home.join("bin").join(script))
            .arg("start-foreground")
            .env("FLINK_CONF_DIR", self.conf())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?)
    }

    fn spawn_task_manager(&mut self) -> Outcome {
        self.started_task_managers += 1;
        let log = format!("taskmanager-{}.out", self.started_task_managers);
        let child = self.spawn("taskmanager.sh", &log)?;
        self.task_managers.push(child);
        Ok(())
    }

    /// TaskManagers that there should be.
    fn wanted(&self) -> usize {
        if self.work.will_be_killed { 2 } else { 1 }
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

    fn task_managers(&self) -> Outcome<Vec<Value>> {
        let answer = self.get("/taskmanagers")?;
        Ok(answer["taskmanagers"]
            .as_array()
            .cloned()
            .unwrap_or_default())
    }

    /// Waits until so many TaskManagers offer all their slots.
    fn wait_for_task_managers(&self, count: usize) -> Outcome {
        self.wait_for("TaskManagers", || {
            let registered = self.task_managers().unwrap_or_default();
            registered.len() >= count
        })
    }

    fn state(&self) -> Outcome<String> {
        let job = self.job.as_deref().ok_or("no job")?;
        let answer = self.get(&format!("/jobs/{job}"))?;
        Ok(answer["state"].as_str().unwrap_or_default().to_owned())
    }
}

impl Engine for Flink {
    fn prepare(&mut self) -> Outcome {
        for folder in [self.conf(), self.logs(), self.warehouse()] {
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
        std::fs::write(
            self.conf().join("config.yaml"),
            self.configuration(rpc_port)?,
        )?;
        for file in ["log4j-console.properties", "log4j-cli.properties"] {
            std::fs::copy(self.home.join("conf").join(file), self.conf().join(file))?;
        }
        topic::create(&self.servers, &self.dead_letters, 1)?;
        self.job_manager = Some(self.spawn("jobmanager.sh", "jobmanager.out")?);
        for _ in 0..self.wanted() {
            self.spawn_task_manager()?;
        }
        self.wait_for_task_managers(self.wanted())
    }

    fn start(&mut self) -> Outcome {
        let mut command = Command::new(self.home.join("bin/flink"));
        command
            .env("FLINK_CONF_DIR", self.conf())
            .args(["run", "-d", "-c", self.work.workload.flink_class()])
            .arg(&self.job_jar)
            .args(["--bootstrap-servers", &self.servers])
            .args(["--topic", &self.work.topic])
            .args(["--dead-letters", &self.dead_letters])
            .arg("--warehouse")
            .arg(self.warehouse());
        if let Some(registry) = self.work.workload.registry() {
            command.args(["--registry", registry]);
        }
        if self.work.is_bounded {
            command.arg("--bounded");
        }
        let output = command.output()?;
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

    fn processes(&mut self) -> Processes {
        Processes {
            workers: self.task_managers.iter().map(Child::id).collect(),
            coordinators: self.job_manager.iter().map(Child::id).collect(),
        }
    }

    fn tend(&mut self) -> Outcome {
        let mut living = Vec::new();
        for mut child in self.task_managers.drain(..) {
            if child.try_wait()?.is_none() {
                living.push(child);
            }
        }
        self.task_managers = living;
        while self.task_managers.len() < self.wanted() {
            self.spawn_task_manager()?;
        }
        Ok(())
    }

    fn is_done(&mut self) -> Outcome<bool> {
        match self.state()?.as_str() {
            "FINISHED" => Ok(true),
            "FAILED" | "CANCELED" => {
                Err(format!("the Flink job has failed\n{}", tail(&self.logs())).into())
            }
            _ => Ok(false),
        }
    }

    fn metadata_file(&mut self) -> Outcome<Option<PathBuf>> {
        let table = self.work.workload.table().replace('.', "/");
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
        // The one that works: its slots are taken. A spare must be there, or this measures the start of a JVM.
        self.wait_for_task_managers(self.wanted())?;
        let busy: Vec<u16> = self
            .task_managers()?
            .iter()
            .filter(|t| t["freeSlots"].as_u64() < t["slotsNumber"].as_u64())
            .filter_map(|t| t["dataPort"].as_u64())
            .filter_map(|port| u16::try_from(port).ok())
            .collect();
        for child in &self.task_managers {
            if listens_on(child.id(), &busy) {
                Command::new("kill")
                    .args(["-9", &child.id().to_string()])
                    .status()?;
                return Ok(());
            }
        }
        Err("no TaskManager works".into())
    }

    fn stop(&mut self) -> Outcome {
        if let Some(job) = &self.job {
            let url = format!("http://localhost:{}/jobs/{job}", self.rest_port);
            // A job that is done is none to be cancelled.
            let _ = self
                .runtime
                .block_on(async { self.client.patch(url).send().await });
        }
        for mut child in self.task_managers.drain(..).chain(self.job_manager.take()) {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    fn logs(&self) -> PathBuf {
        self.work.folder.join("logs")
    }
}

impl Drop for Flink {
    fn drop(&mut self) {
        for mut child in self.task_managers.drain(..).chain(self.job_manager.take()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A configuration with another's lines in place of its own of the same key: Flink refuses a key that stands twice.
fn joined(own: &str, added: &str) -> String {
    let key = |line: &str| line.split_once(": ").map(|(key, _)| key.to_owned());
    let replaced: Vec<_> = added.lines().map(key).collect();
    let kept = own.lines().filter(|line| !replaced.contains(&key(line)));
    let mut lines: Vec<&str> = kept.chain(added.lines()).collect();
    lines.push("");
    lines.join("\n")
}

/// Whether a process listens on one of the ports: its sockets' inodes are among those of /proc/net/tcp.
fn listens_on(pid: u32, ports: &[u16]) -> bool {
    const LISTEN: &str = "0A";
    let mut inodes = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        let target = target.to_string_lossy();
        if let Some(inode) = target.strip_prefix("socket:[") {
            inodes.push(inode.trim_end_matches(']').to_owned());
        }
    }
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|file| {
        let table = std::fs::read_to_string(file).unwrap_or_default();
        table.lines().skip(1).any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(&state), Some(inode)) =
                (fields.get(1), fields.get(3), fields.get(9))
            else {
                return false;
            };
            let port = local.rsplit(':').next().unwrap_or_default();
            let port = u16::from_str_radix(port, 16).unwrap_or(0);
            state == LISTEN && ports.contains(&port) && inodes.iter().any(|i| i == inode)
        })
    })
}
