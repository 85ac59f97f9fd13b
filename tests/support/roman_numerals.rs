//! The job `roman-numerals` in a folder of the test's own, on the shared services.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::run::{Finished, Running};
use super::{Stack, Topic, judge_in, stack, unique, wait_until};

/// The kinds of catalog that a job can be run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Catalog {
    /// SQLite in the test's folder.
    Sql,
    /// The shared REST server; tables in a namespace of the test's own.
    Rest,
}

/// The job with its topics, tables and configuration, and none of them anyone else's.
pub struct RomanNumerals {
    folder: TempDir,
    stack: Stack,
    catalog: Catalog,
    /// The topic it reads.
    pub topic: Topic,
    /// The topic of its dead letters.
    pub dead_letters: Topic,
    /// Its table.
    pub table: String,
    /// The table of its dead letters.
    pub dead_letter_table: String,
    /// Further variables in the environment of the program.
    pub environment: Vec<(String, String)>,
    /// Further variables in the environment of the judge.
    pub judges_environment: Vec<(String, String)>,
}

impl RomanNumerals {
    /// On the shared services, with this many partitions. `settings` are further lines of the job's
    /// configuration, not indented, as `commit: { interval: 200ms }`.
    #[track_caller]
    pub fn new(catalog: Catalog, partitions: i32, settings: &str) -> RomanNumerals {
        RomanNumerals::on(&stack(), catalog, partitions, settings)
    }

    /// On the services of a stack.
    #[track_caller]
    pub fn on(stack: &Stack, catalog: Catalog, partitions: i32, settings: &str) -> RomanNumerals {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let name = unique("roman-numeral-events");
        let topic = Topic::create(&stack.bootstrap_servers, &name, partitions);
        let dead_letters = Topic::create(&stack.bootstrap_servers, &format!("{name}-dlq"), 1);
        let namespace = name.replace('-', "_");
        let job = RomanNumerals {
            folder,
            stack: stack.clone(),
            catalog,
            topic,
            dead_letters,
            table: format!("{namespace}.conversion_events"),
            dead_letter_table: format!("{namespace}.conversion_events_dead_letters"),
            environment: Vec::new(),
            judges_environment: Vec::new(),
        };
        fs::write(
            job.path().join("strandline.yaml"),
            job.configuration(settings),
        )
        .expect("write the configuration");
        job
    }

    fn configuration(&self, settings: &str) -> String {
        let folder = self.path().display();
        let catalog = match self.catalog {
            Catalog::Sql => {
                format!(
                    "type: sql\n  uri: sqlite://{folder}/catalog.db\n  warehouse: {folder}/warehouse"
                )
            }
            Catalog::Rest => {
                format!(
                    "type: rest\n  uri: {}\n  warehouse: {}",
                    self.stack.rest_uri, self.stack.rest_warehouse
                )
            }
        };
        let settings: String = settings
            .lines()
            .map(|line| format!("    {line}\n"))
            .collect();
        format!(
            "\
kafka:
  bootstrap_servers: {}
catalog:
  {catalog}
state_dir: {folder}/state
http: \"off\"
jobs:
  roman-numerals:
    topics: [{}]
    table: {}
    dead_letters: {{ topic: {}, table: {} }}
{settings}",
            self.stack.bootstrap_servers,
            self.topic.name,
            self.table,
            self.dead_letters.name,
            self.dead_letter_table,
        )
    }

    /// The test's folder: `strandline.yaml`, `state`, with an SQL catalog also `catalog.db` and `warehouse`.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Has the job read another topic than the one that was created for it.
    #[track_caller]
    pub fn read(&mut self, topic: &Topic) {
        let topics = |name: &str| format!("topics: [{name}]");
        self.reconfigure(&topics(&self.topic.name), &topics(&topic.name));
        self.topic = topic.clone();
    }

    /// Adds a line at the top level of the configuration.
    #[track_caller]
    pub fn configure(&self, line: &str) {
        self.rewrite(|text| format!("{text}{line}\n"));
    }

    /// Replaces text of the configuration.
    #[track_caller]
    pub fn reconfigure(&self, from: &str, to: &str) {
        self.rewrite(|text| {
            assert!(
                text.contains(from),
                "the configuration has no `{from}`: {text}"
            );
            text.replace(from, to)
        });
    }

    fn rewrite(&self, change: impl FnOnce(&str) -> String) {
        let file = self.path().join("strandline.yaml");
        let text = fs::read_to_string(&file).expect("read the configuration");
        fs::write(&file, change(&text)).expect("write the configuration");
    }

    /// Deletes the state folder, as if the job were moved to another machine.
    pub fn delete_state(&self) {
        match fs::remove_dir_all(self.path().join("state")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                panic!("cannot delete the state: {error}")
            }
            _ => {}
        }
    }

    /// Starts `strandline ARGS`.
    #[track_caller]
    pub fn spawn(&self, args: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strandline"));
        command
            .args(args)
            .env_remove("STRANDLINE_CONFIG")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        Running::spawn(command, self.path())
    }

    /// Runs `strandline ARGS` to its end.
    #[track_caller]
    pub fn run(&self, args: &[&str], deadline: Duration) -> Finished {
        self.spawn(args).wait(deadline)
    }

    /// Runs `strandline run roman-numerals --until-caught-up --json MORE`, asserts that it ends well, and
    /// returns what it printed.
    #[track_caller]
    pub fn run_until_caught_up(&self, more: &[&str], deadline: Duration) -> Value {
        let args = [
            &["run", "roman-numerals", "--until-caught-up", "--json"],
            more,
        ]
        .concat();
        self.run(&args, deadline).expect_exit(0).json()
    }

    /// The account that the table holds, all runs together; `None` before the first commit.
    #[track_caller]
    pub fn audit(&self, deadline: Duration) -> Option<Value> {
        // While the job runs, the dead-letter table may lag: that is for the audit at the end.
        let audit = self.run(&["audit", "roman-numerals", "--json"], deadline);
        serde_json::from_str(&audit.stdout).ok()
    }

    /// Asserts that `audit` proves the account, and returns what it printed.
    #[track_caller]
    pub fn expect_audit(&self, deadline: Duration) -> Value {
        let args = ["audit", "roman-numerals", "--json"];
        self.run(&args, deadline).expect_exit(0).json()
    }

    /// Waits until the table's account says that this many records were consumed. Panics when the job that
    /// should do it has ended.
    #[track_caller]
    pub fn wait_until_consumed(&self, running: &mut Running, records: u64, deadline: Duration) {
        wait_until(&format!("{records} records consumed"), deadline, || {
            assert!(running.is_running(), "it ended: {}", running.stderr());
            let audit = self.audit(deadline)?;
            (audit["account"]["consumed"].as_u64()? >= records).then_some(())
        });
    }

    /// Has the judge compare topic, table and dead letters (in table and topic); panics when it finds
    /// anything wrong. `more` are further arguments of `judge.py events`. Returns its report.
    #[track_caller]
    pub fn judge(&self, more: &[&str]) -> Value {
        let mut args = self.judge_arguments("events");
        args.extend(more.iter().map(|&arg| arg.to_owned()));
        judge_in(&self.judges_environment, &args)
    }

    /// The judge's command line for a mode that compares topic, table and dead letters.
    pub fn judge_arguments(&self, mode: &str) -> Vec<String> {
        let mut args = self.judge_table(mode);
        for (option, value) in [
            ("--topic", &self.topic.name),
            ("--bootstrap", &self.stack.bootstrap_servers),
            ("--dead-letters", &self.dead_letter_table),
            ("--dead-letter-topic", &self.dead_letters.name),
        ] {
            args.extend([option.to_owned(), value.clone()]);
        }
        args
    }

    /// As [`RomanNumerals::judge`], and the account that the run printed must be the judge's too. Only for
    /// the account of one run over the whole topic.
    #[track_caller]
    pub fn judge_with_account(&self, printed: &Value) -> Value {
        let file = self.path().join(unique("account"));
        fs::write(&file, printed.to_string()).expect("write the account");
        self.judge(&["--account", &file.to_string_lossy()])
    }

    /// Has the judge compare what the tags of a savepoint hold with the records before its offsets; `made` is
    /// what `savepoint --json` printed.
    #[track_caller]
    pub fn judge_savepoint(&self, made: &Value) -> Value {
        let file = self.path().join(unique("savepoint"));
        fs::write(&file, made.to_string()).expect("write the savepoint");
        let file = file.to_string_lossy().into_owned();
        let mut args = self.judge_table("events");
        for (option, value) in [
            ("--topic", &self.topic.name),
            ("--bootstrap", &self.stack.bootstrap_servers),
            ("--dead-letters", &self.dead_letter_table),
            ("--savepoint", &file),
            ("--account", &file),
        ] {
            args.extend([option.to_owned(), value.clone()]);
        }
        judge_in(&self.judges_environment, &args)
    }

    /// Has DuckDB and PyIceberg read the table; panics when they disagree. Returns the report.
    #[track_caller]
    pub fn judge_readers(&self) -> Value {
        judge_in(&self.judges_environment, &self.judge_table("readers"))
    }

    fn judge_table(&self, mode: &str) -> Vec<String> {
        let mut args = vec![mode.to_owned()];
        args.extend(self.table_for_python(&self.table));
        args
    }

    /// The arguments by which a program of `tests/judge` finds a table of the job.
    pub fn table_for_python(&self, table: &str) -> Vec<String> {
        let catalog = match self.catalog {
            Catalog::Sql => [
                "--catalog-uri".to_owned(),
                format!("sqlite://{}/catalog.db", self.path().display()),
            ],
            Catalog::Rest => ["--rest".to_owned(), self.stack.rest_uri.clone()],
        };
        let table = ["--table".to_owned(), table.to_owned()];
        catalog.into_iter().chain(table).collect()
    }
}
