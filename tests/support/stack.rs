//! The real services that `cargo xtask test` started, and stacks of a test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Where the real services are.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Kafka's bootstrap servers; empty when this stack has no Kafka.
    pub bootstrap_servers: String,
    /// The REST catalog's address; empty when this stack has none.
    pub rest_uri: String,
    /// The REST catalog's warehouse.
    pub rest_warehouse: String,
    /// The schema registry's address; empty when this stack has none.
    pub registry_url: String,
}

/// The stack that all tests share. A test must not stop its services.
#[track_caller]
pub fn stack() -> Stack {
    Stack::read(&PathBuf::from(variable("STRANDLINE_STACK")))
}

/// What `cargo xtask test` hands to the tests.
#[track_caller]
pub fn variable(name: &str) -> String {
    match std::env::var(name) {
        Ok(value) => value,
        Err(_) => panic!(
            "{name} is not set: this test needs the real services, run it through `cargo xtask test`"
        ),
    }
}

impl Stack {
    fn read(description: &Path) -> Stack {
        let text = fs::read_to_string(description)
            .unwrap_or_else(|e| panic!("cannot read `{}`: {e}", description.display()));
        let json: Value = serde_json::from_str(&text).expect("the stack's description is JSON");
        let text =
            |service: &str, key: &str| json[service][key].as_str().unwrap_or_default().to_owned();
        Stack {
            bootstrap_servers: text("kafka", "bootstrap_servers"),
            rest_uri: text("rest", "uri"),
            rest_warehouse: text("rest", "warehouse"),
            registry_url: text("schema-registry", "url"),
        }
    }
}

/// A stack that one test has for itself, so that it may stop and kill services. Ends with the value.
pub struct OwnStack {
    path: PathBuf,
    /// Of a stack that was started here, and ends here.
    folder: Option<tempfile::TempDir>,
}

impl OwnStack {
    /// Starts services: `["kafka"]`, `["kafka", "rest"]`, `["kafka", "kafka2"]` for two brokers,
    /// `["kafka", "schema-registry"]`.
    #[track_caller]
    pub fn up(services: &[&str]) -> OwnStack {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let stack = OwnStack {
            path: folder.path().to_owned(),
            folder: Some(folder),
        };
        stack.control(&["up", "--only", &services.join(",")]);
        stack
    }

    /// The stack of `STRANDLINE_STACK`, by a program that has it for itself. Goes on after the value.
    #[track_caller]
    pub fn given() -> OwnStack {
        let description = PathBuf::from(variable("STRANDLINE_STACK"));
        let path = description.parent().expect("the stack's folder");
        OwnStack {
            path: path.to_owned(),
            folder: None,
        }
    }

    /// Where its services are now.
    pub fn description(&self) -> Stack {
        Stack::read(&self.path.join("stack.json"))
    }

    /// A fact about a service, as `stack.json` has it.
    #[track_caller]
    pub fn fact(&self, service: &str, key: &str) -> String {
        let text = fs::read_to_string(self.path.join("stack.json")).expect("the description");
        let json: Value = serde_json::from_str(&text).expect("the description is JSON");
        let fact = json[service][key].as_str();
        fact.unwrap_or_else(|| panic!("{service} has no {key}"))
            .to_owned()
    }

    /// The process id of a service that runs.
    pub fn pid(&self, service: &str) -> u32 {
        let text = fs::read_to_string(self.path.join("stack.json")).expect("the description");
        let json: Value = serde_json::from_str(&text).expect("the description is JSON");
        let pid = json[service]["pid"].as_u64().expect("the service runs");
        u32::try_from(pid).expect("a process id")
    }

    /// Stops a service in good order.
    #[track_caller]
    pub fn stop(&self, service: &str) {
        self.control(&[service, "stop"]);
    }

    /// Kills a service (-9). Kafka then takes 12 s to start.
    #[track_caller]
    pub fn kill(&self, service: &str) {
        self.control(&[service, "kill"]);
    }

    /// Starts a stopped service on its data and port; returns once it answers.
    #[track_caller]
    pub fn start(&self, service: &str) {
        self.control(&[service, "start"]);
    }

    /// Throws a partition's log away, while Kafka is stopped.
    #[track_caller]
    pub fn lose_log(&self, topic: &str, partition: i32) {
        let log = self.path.join(format!("kafka/data/{topic}-{partition}"));
        fs::remove_dir_all(&log)
            .unwrap_or_else(|e| panic!("cannot delete `{}`: {e}", log.display()));
    }

    #[track_caller]
    fn control(&self, args: &[&str]) {
        let output = self.command(args).output().expect("run xtask");
        assert!(
            output.status.success(),
            "xtask stack {args:?}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(variable("STRANDLINE_XTASK"));
        command.arg("stack").args(args).arg("--dir").arg(&self.path);
        command
    }
}

impl Drop for OwnStack {
    fn drop(&mut self) {
        if self.folder.is_none() {
            return;
        }
        // Not asserted: a test that has failed already should be heard, not this.
        if let Err(error) = self.command(&["down"]).output() {
            eprintln!("cannot stop the stack in {}: {error}", self.path.display());
        }
    }
}
