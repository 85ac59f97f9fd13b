//! A service of the stack: starting it, waiting until it answers, stopping it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::process::{POLL_INTERVAL, Process};
use super::{kafka, ports, registry, rest, s3};
use crate::Result;
use crate::command::say;
use crate::places;

/// How long a service may take until it answers. Kafka takes 2 s, on a busy machine 6 s, and 12 s after a
/// kill; a machine that compiles besides gets several times that.
const READY_DEADLINE: Duration = Duration::from_secs(90);
/// How often other ports are tried when somebody takes one between our choice and the service's start.
const PORT_ATTEMPTS: u32 = 3;
/// Lines of the log that an error shows.
const LOG_TAIL_LINES: usize = 15;

/// One of the real services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Apache Kafka, one node that is broker and controller.
    Kafka,
    /// A second broker of that cluster, for tests of replicated topics: it can be killed while the controller
    /// lives. Only on request.
    Kafka2,
    /// Another Kafka, with SASL, TLS and access rights. Only on request.
    KafkaSecured,
    /// Apache Iceberg's REST catalog server.
    Rest,
    /// Apicurio's schema registry. Only on request.
    SchemaRegistry,
    /// An object store that speaks S3. Only on request.
    S3,
    /// The REST catalog server with its warehouse in that object store. Only on request.
    RestS3,
}

impl Service {
    /// All of them, in the order they are started.
    pub const ALL: [Service; 7] = [
        Service::Kafka,
        Service::Kafka2,
        Service::KafkaSecured,
        Service::Rest,
        Service::SchemaRegistry,
        Service::S3,
        Service::RestS3,
    ];

    /// Those that a stack has unless it is asked for others.
    pub const USUAL: [Service; 2] = [Service::Kafka, Service::Rest];

    /// Its name on the command line, and of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Service::Kafka => "kafka",
            Service::Kafka2 => "kafka2",
            Service::KafkaSecured => "kafka-secured",
            Service::Rest => "rest",
            Service::SchemaRegistry => "schema-registry",
            Service::S3 => "s3",
            Service::RestS3 => "rest-s3",
        }
    }

    /// Where clients find it.
    pub fn address(self, ports: &[u16]) -> String {
        let port = ports.first().copied().unwrap_or_default();
        match self {
            Service::Kafka | Service::Kafka2 | Service::KafkaSecured => {
                format!("127.0.0.1:{port}")
            }
            Service::Rest | Service::RestS3 | Service::S3 => format!("http://127.0.0.1:{port}"),
            Service::SchemaRegistry => registry::address(port),
        }
    }

    /// How many ports it listens on.
    fn ports(self) -> usize {
        match self {
            Service::KafkaSecured => 5,
            _ => 2,
        }
    }

    /// Its own folder in the stack's.
    pub fn folder(self, stack: &Path) -> PathBuf {
        stack.join(self.name())
    }

    fn log(self, stack: &Path) -> PathBuf {
        self.folder(stack).join("log")
    }

    /// Writes its configuration and gives the command that starts it.
    fn command(self, stack: &Path, ports: &[u16]) -> Result<Command> {
        let folder = self.folder(stack);
        match self {
            Service::Kafka => kafka::command(&folder, &kafka::first_node(ports)?),
            Service::Kafka2 => {
                let first = Process::of(&Service::Kafka.folder(stack))
                    .ok_or("kafka2 joins kafka, which was never started here")?;
                kafka::command(&folder, &kafka::second_node(ports, &first.ports)?)
            }
            Service::KafkaSecured => kafka::command(&folder, &kafka::secured_node(ports)?),
            Service::Rest => rest::command(&folder, ports, &rest::Warehouse::folder(&folder)),
            Service::RestS3 => {
                let store = Process::of(&Service::S3.folder(stack))
                    .ok_or("rest-s3 keeps its tables in s3, which was never started here")?;
                let warehouse = rest::Warehouse::bucket(&Service::S3.address(&store.ports));
                rest::command(&folder, ports, &warehouse)
            }
            Service::S3 => s3::command(&folder, ports),
            Service::SchemaRegistry => registry::command(&folder, ports),
        }
    }

    /// Makes one real request; the error is what was found instead of an answer.
    fn ask(self, ports: &[u16]) -> Result {
        match self {
            Service::Kafka | Service::KafkaSecured => kafka::ask(ports, 1),
            Service::Kafka2 => kafka::ask(ports, 2),
            Service::Rest | Service::RestS3 => rest::ask(ports),
            Service::S3 => s3::ask(ports),
            Service::SchemaRegistry => registry::ask(ports),
        }
    }

    /// Starts it and returns once it answers. Data and ports of an earlier start are used again.
    pub fn start(self, stack: &Path) -> Result {
        let folder = self.folder(stack);
        places::create_folder(&folder)?;
        let earlier = Process::of(&folder);
        if earlier.as_ref().is_some_and(Process::is_alive) {
            return Ok(());
        }
        let mut attempt = 1;
        loop {
            let ports = match &earlier {
                Some(process) => process.ports.clone(),
                None => ports::free(self.ports())?,
            };
            // A log of this start only, so that its tail is about this start.
            let _ = fs::rename(self.log(stack), folder.join("log.previous"));
            let Err(failure) = self.start_on(&ports, stack) else {
                return Ok(());
            };
            let taken = log_tail(&self.log(stack), usize::MAX).contains("Address already in use");
            if !taken || earlier.is_some() || attempt == PORT_ATTEMPTS {
                return Err(failure);
            }
            attempt += 1;
        }
    }

    fn start_on(self, ports: &[u16], stack: &Path) -> Result {
        let folder = self.folder(stack);
        let log = self.log(stack);
        let mut command = self.command(stack, ports)?;
        let open = || OpenOptions::new().create(true).append(true).open(&log);
        let output: std::io::Result<(File, File)> = open().and_then(|out| Ok((out, open()?)));
        let (out, err) = output.map_err(|e| format!("cannot write `{}`: {e}", log.display()))?;
        // A group of its own: Ctrl-C in the terminal is for the one who waits, not for the broker.
        let spawned = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn();
        let mut child = spawned.map_err(|e| format!("cannot start {}: {e}", self.name()))?;
        let process = Process::started(child.id(), ports)?;
        process.remember(&folder)?;
        let begin = Instant::now();
        loop {
            let found = match self.ask(ports) {
                Ok(()) => {
                    let address = self.address(ports);
                    say(format!(
                        "{} answers at {address} after {:.1} s",
                        self.name(),
                        begin.elapsed().as_secs_f32()
                    ));
                    return Ok(());
                }
                Err(found) => found,
            };
            let ended = child
                .try_wait()
                .map_err(|e| format!("cannot wait for {}: {e}", self.name()))?;
            let problem = match ended {
                Some(status) => format!("it ended with {status}"),
                None if begin.elapsed() > READY_DEADLINE => {
                    process.kill()?;
                    format!(
                        "after {} s it did not answer: {found}",
                        READY_DEADLINE.as_secs()
                    )
                }
                None => {
                    std::thread::sleep(POLL_INTERVAL);
                    continue;
                }
            };
            let address = self.address(ports);
            let tail = log_tail(&log, LOG_TAIL_LINES);
            return Err(format!(
                "cannot start {} at {address}: {problem}\n  log: {}\n{tail}",
                self.name(),
                log.display()
            ));
        }
    }

    /// Stops it in good order. Nothing happens when it does not run.
    pub fn stop(self, stack: &Path) -> Result {
        Process::of(&self.folder(stack)).map_or(Ok(()), |process| process.stop())
    }

    /// Kills it. Nothing happens when it does not run.
    pub fn kill(self, stack: &Path) -> Result {
        Process::of(&self.folder(stack)).map_or(Ok(()), |process| process.kill())
    }
}

fn log_tail(log: &Path, lines: usize) -> String {
    let text = fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..]
        .iter()
        .map(|line| format!("    {line}\n"))
        .collect()
}
