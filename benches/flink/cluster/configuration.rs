//! A cluster's configuration.

use std::path::PathBuf;

use super::Outcome;

/// What a cluster is for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Configuration, logs, checkpoints and working files.
    pub folder: PathBuf,
    /// Slots of a TaskManager, and the job's parallelism.
    pub slots: u64,
    /// Between checkpoints, and so between commits, in milliseconds.
    pub interval_ms: u64,
    /// Whether the job ends at the end that its topic has now.
    pub is_bounded: bool,
    /// Whether processes will be killed: there is a spare TaskManager then, and a death is noticed sooner.
    pub will_be_killed: bool,
    /// Lines `KEY: VALUE`, stronger than those of the configuration with the same key.
    pub added: String,
}

impl Settings {
    /// TaskManagers that there should be.
    pub fn task_managers(&self) -> usize {
        if self.will_be_killed { 2 } else { 1 }
    }

    /// Where its processes log.
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Where checkpoints are.
    pub fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoints")
    }

    /// Where its processes have their working files.
    pub fn working_files(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    /// Everything that was found to help, and nothing that was found to hurt; see `benches/flink/README.md`.
    /// `shipped` is the configuration that comes with Flink.
    ///
    /// # Errors
    /// It is not as expected.
    pub fn configuration(&self, shipped: &str, rpc_port: u16, rest_port: u16) -> Outcome<String> {
        // Java 17 needs what the distribution opens; it stands on the one line of `all:`.
        let opens = shipped
            .lines()
            .find_map(|line| line.trim().strip_prefix("all: "))
            .ok_or("no env.java.opts.all in Flink's own configuration")?;
        let Settings {
            slots,
            interval_ms,
            is_bounded,
            will_be_killed,
            ..
        } = *self;
        let own = format!(
            "\
jobmanager.rpc.address: localhost
jobmanager.rpc.port: {rpc_port}
jobmanager.bind-host: localhost
jobmanager.memory.process.size: 1g
rest.address: localhost
rest.bind-address: localhost
rest.port: {rest_port}
taskmanager.bind-host: localhost
taskmanager.host: localhost
taskmanager.memory.process.size: 8g
taskmanager.memory.managed.size: 3g
taskmanager.numberOfTaskSlots: {slots}
parallelism.default: {slots}
io.tmp.dirs: {working_files}
env.java.opts.all: {opens} -XX:+UseParallelGC
env.log.dir: {logs}
pipeline.object-reuse: true
execution.buffer-timeout.interval: {buffer_timeout_ms} ms
execution.checkpointing.interval: {interval_ms} ms
execution.checkpointing.incremental: true
execution.checkpointing.dir: file://{checkpoints}
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
            working_files = self.working_files().display(),
            logs = self.logs().display(),
            checkpoints = self.checkpoints().display(),
            // What is to be fresh must not wait in a buffer.
            buffer_timeout_ms = if is_bounded { 100 } else { 10 },
            heartbeat_ms = if will_be_killed { 500 } else { 1000 },
            heartbeat_timeout_ms = if will_be_killed { 2500 } else { 6000 },
        );
        Ok(joined(&own, &self.added))
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
