//! What each command is asked to do: the typed arguments, checked together.

use std::path::PathBuf;

use clap_complete::Shell;
use strandline_operators::{Error, Result};

use super::typed::{
    TypedCommand, TypedConfigAction, TypedFromSavepoint, TypedOffsetsAction, TypedRun,
};
use crate::connectors::iceberg::{FromSavepoint, validate_savepoint_name};

/// A command and its arguments.
#[derive(Debug)]
pub enum Command {
    /// `demo`
    Demo(DemoArgs),
    /// `list`
    List(ListArgs),
    /// `run`
    Run(RunArgs),
    /// `launch`
    Launch(LaunchArgs),
    /// `status`
    Status(StatusArgs),
    /// `top`
    Top(StopArgs),
    /// `stop`
    Stop(StopArgs),
    /// `cancel`
    Cancel(StopArgs),
    /// `savepoint`
    Savepoint(SavepointArgs),
    /// `offsets`
    Offsets(OffsetsArgs),
    /// `check`
    Check(CheckArgs),
    /// `peek`
    Peek(PeekArgs),
    /// `audit`
    Audit(AuditArgs),
    /// `plan`
    Plan(PlanArgs),
    /// `config`
    Config(ConfigArgs),
    /// `completions`
    Completions(CompletionsArgs),
}

/// What `demo` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoArgs {
    /// Events to generate.
    pub events: u64,
    /// The generator's seed.
    pub seed: u64,
    /// Where catalog, warehouse and state are kept; `None` for a temporary folder.
    pub dir: Option<PathBuf>,
    /// Worker threads, at least 1.
    pub workers: usize,
    /// Whether to keep producing, with the UI up.
    pub serve: bool,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `list` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListArgs {
    /// Whether to print JSON.
    pub json: bool,
}

/// What `run` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunArgs {
    /// The job's name, as typed.
    pub job: String,
    /// Worker threads of this process, at least 1.
    pub workers: usize,
    /// Whether to end when every partition has reached the end it had at the start.
    pub until_caught_up: bool,
    /// Whether a change of what the deduplication state means is accepted.
    pub accept_new_fingerprint: bool,
    /// The savepoint to go on from.
    pub from_savepoint: Option<FromSavepoint>,
    /// Overrides, `KEY=VALUE`.
    pub set: Vec<String>,
    /// Which process this is.
    pub cluster: Cluster,
    /// Whether `launch` has started it.
    pub supervised: bool,
    /// Whether to print JSON.
    pub json: bool,
}

/// Which process of how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Processes there are, at least 1.
    pub processes: usize,
    /// This one, below `processes`.
    pub process: usize,
    /// `host:port` of every process, one a line.
    pub hostfile: Option<PathBuf>,
}

/// What `launch` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchArgs {
    /// The job's name, as typed.
    pub job: String,
    /// Processes, at least 1.
    pub processes: usize,
    /// Worker threads of each process, at least 1.
    pub workers: usize,
    /// Whether to end when every partition has reached the end it had at the start.
    pub until_caught_up: bool,
    /// Whether a change of what the deduplication state means is accepted.
    pub accept_new_fingerprint: bool,
    /// The savepoint to go on from.
    pub from_savepoint: Option<FromSavepoint>,
    /// Overrides, `KEY=VALUE`.
    pub set: Vec<String>,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `status` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusArgs {
    /// The job's name, as typed; `None` for all jobs.
    pub job: Option<String>,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `stop`, `cancel` and `top` are asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopArgs {
    /// The job's name, as typed.
    pub job: String,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `savepoint` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavepointArgs {
    /// The job's name, as typed.
    pub job: String,
    /// The savepoint's name; `None` for the time.
    pub name: Option<String>,
    /// Overrides, `KEY=VALUE`.
    pub set: Vec<String>,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `offsets` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetsArgs {
    /// The job's name, as typed.
    pub job: String,
    /// The reset; `None` to show.
    pub reset: Option<ResetArgs>,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `offsets reset` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetArgs {
    /// Where to.
    pub to: ResetTo,
    /// Only these topics, or partitions of them; all when there are none.
    pub only: Vec<(String, Option<i32>)>,
    /// Whether to do it.
    pub execute: bool,
}

/// Where offsets are set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetTo {
    /// The oldest record that the broker holds.
    Earliest,
    /// The end.
    Latest,
    /// Where the consumer group stands.
    Group,
    /// This offset.
    Offset(i64),
    /// The first record with this timestamp or a later one, in milliseconds since 1970.
    Timestamp(i64),
}

/// What `check` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckArgs {
    /// The job's name, as typed.
    pub job: String,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `peek` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeekArgs {
    /// What is read.
    pub source: PeekSource,
    /// How many records.
    pub number: u64,
    /// Where to start.
    pub from: PeekFrom,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `peek` reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeekSource {
    /// The topics of a job, decoded into its columns.
    Job(String),
    /// A topic.
    Topic(String),
}

/// Where `peek` starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeekFrom {
    /// With the oldest record.
    Earliest,
    /// With the last `number` records.
    Latest,
    /// At this offset of every partition.
    Offset(i64),
}

/// What `audit` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditArgs {
    /// The job's name, as typed.
    pub job: String,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `plan` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanArgs {
    /// The job's name, as typed.
    pub job: String,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `config` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigArgs {
    /// What to do.
    pub action: ConfigAction,
    /// Whether to print JSON.
    pub json: bool,
}

/// The parts of `config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigAction {
    /// Validate.
    Check,
    /// Print what is in force.
    Show,
    /// Print the JSON Schema.
    Schema,
}

/// What `completions` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletionsArgs {
    /// The shell.
    pub shell: Shell,
}

impl Command {
    /// Checks what was typed, as far as clap has not.
    ///
    /// # Errors
    /// Arguments that contradict each other or that nothing can be made of.
    pub fn from_typed(typed: TypedCommand) -> Result<Command> {
        Ok(match typed {
            TypedCommand::Demo(t) => Command::Demo(DemoArgs {
                events: t.events,
                seed: t.seed,
                dir: t.dir,
                workers: t.workers as usize,
                serve: t.serve,
                json: t.json,
            }),
            TypedCommand::List(t) => Command::List(ListArgs { json: t.json }),
            TypedCommand::Run(t) => Command::Run(run_args(t)?),
            TypedCommand::Launch(t) => Command::Launch(LaunchArgs {
                job: t.job,
                processes: t.processes as usize,
                workers: t.workers as usize,
                until_caught_up: t.until_caught_up,
                accept_new_fingerprint: t.accept_new_fingerprint,
                from_savepoint: from_savepoint(t.savepoint)?,
                set: t.set,
                json: t.json,
            }),
            TypedCommand::Status(t) => Command::Status(StatusArgs {
                job: t.job,
                json: t.json,
            }),
            TypedCommand::Top(t) => Command::Top(StopArgs {
                job: t.job,
                json: t.json,
            }),
            TypedCommand::Stop(t) => Command::Stop(StopArgs {
                job: t.job,
                json: t.json,
            }),
            TypedCommand::Cancel(t) => Command::Cancel(StopArgs {
                job: t.job,
                json: t.json,
            }),
            TypedCommand::Savepoint(t) => {
                if let Some(name) = &t.name {
                    validate_savepoint_name(name)?;
                }
                Command::Savepoint(SavepointArgs {
                    job: t.job,
                    name: t.name,
                    set: t.set,
                    json: t.json,
                })
            }
            TypedCommand::Offsets(t) => Command::Offsets(offsets_args(t.action)?),
            TypedCommand::Check(t) => Command::Check(CheckArgs {
                job: t.job,
                json: t.json,
            }),
            TypedCommand::Peek(t) => {
                let source = match (t.job, t.topic) {
                    (_, Some(topic)) => PeekSource::Topic(topic),
                    (Some(job), None) => PeekSource::Job(job),
                    (None, None) => {
                        return Err(Error::configuration("`peek` needs a job or `--topic T`"));
                    }
                };
                Command::Peek(PeekArgs {
                    source,
                    number: t.number,
                    from: peek_from(&t.from)?,
                    json: t.json,
                })
            }
            TypedCommand::Audit(t) => Command::Audit(AuditArgs {
                job: t.job,
                json: t.json,
            }),
            TypedCommand::Plan(t) => Command::Plan(PlanArgs {
                job: t.job,
                json: t.json,
            }),
            TypedCommand::Config(t) => Command::Config(match t.action {
                TypedConfigAction::Check(t) => ConfigArgs {
                    action: ConfigAction::Check,
                    json: t.json,
                },
                TypedConfigAction::Show(t) => ConfigArgs {
                    action: ConfigAction::Show,
                    json: t.json,
                },
                TypedConfigAction::Schema(t) => ConfigArgs {
                    action: ConfigAction::Schema,
                    json: t.json,
                },
            }),
            TypedCommand::Completions(t) => {
                Command::Completions(CompletionsArgs { shell: t.shell })
            }
        })
    }
}

fn run_args(t: TypedRun) -> Result<RunArgs> {
    // clap has seen to it that `-n` and `-p` come together.
    let (processes, process) = (t.processes.unwrap_or(1), t.process.unwrap_or(0));
    if process >= processes {
        return Err(Error::configuration(format!(
            "`-p {process}` is none of `-n {processes}` processes"
        ))
        .hint(format!(
            "processes count from 0: the last is `-p {}`",
            processes - 1
        )));
    }
    let cluster = Cluster {
        processes: processes as usize,
        process: process as usize,
        hostfile: t.hostfile,
    };
    Ok(RunArgs {
        job: t.job,
        workers: t.workers as usize,
        until_caught_up: t.until_caught_up,
        accept_new_fingerprint: t.accept_new_fingerprint,
        from_savepoint: from_savepoint(t.savepoint)?,
        set: t.set,
        cluster,
        supervised: t.supervised,
        json: t.json,
    })
}

fn offsets_args(action: TypedOffsetsAction) -> Result<OffsetsArgs> {
    let t = match action {
        TypedOffsetsAction::Show(t) => {
            return Ok(OffsetsArgs {
                job: t.job,
                reset: None,
                json: t.json,
            });
        }
        TypedOffsetsAction::Reset(t) => t,
    };
    let only = |text: &String| {
        let partition = |(topic, partition): (&str, &str)| {
            let partition = partition.parse().ok().filter(|p: &i32| *p >= 0)?;
            Some((topic.to_owned(), Some(partition)))
        };
        match text.rsplit_once(':') {
            // No topic has a colon in its name.
            Some(parts) => partition(parts).ok_or_else(|| {
                Error::configuration(format!("`--only {text}` names no partition"))
                    .hint("write `--only TOPIC:PARTITION` or `--only TOPIC`")
            }),
            None => Ok((text.clone(), None)),
        }
    };
    Ok(OffsetsArgs {
        job: t.job,
        reset: Some(ResetArgs {
            to: reset_to(&t.to)?,
            only: t.only.iter().map(only).collect::<Result<_>>()?,
            execute: t.execute,
        }),
        json: t.json,
    })
}

fn reset_to(text: &str) -> Result<ResetTo> {
    let time = || chrono::DateTime::parse_from_rfc3339(text).ok();
    match text {
        "earliest" => Ok(ResetTo::Earliest),
        "latest" => Ok(ResetTo::Latest),
        "group" => Ok(ResetTo::Group),
        _ => match (text.parse::<i64>(), time()) {
            (Ok(offset), _) if offset >= 0 => Ok(ResetTo::Offset(offset)),
            (_, Some(time)) => Ok(ResetTo::Timestamp(time.timestamp_millis())),
            _ => Err(Error::configuration(format!("cannot reset to `{text}`")).hint(
                "write `earliest`, `latest`, `group`, an offset, or a time such as `2026-01-31T12:00:00Z`",
            )),
        },
    }
}

fn from_savepoint(t: TypedFromSavepoint) -> Result<Option<FromSavepoint>> {
    let Some(name) = t.from_savepoint else {
        return Ok(None);
    };
    validate_savepoint_name(&name)?;
    Ok(Some(FromSavepoint {
        name,
        table: t.savepoint_table,
        // Asked for by hand, it is a request of its own: whoever asks twice goes back twice.
        id: t
            .savepoint_request
            .unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string()),
    }))
}

fn peek_from(text: &str) -> Result<PeekFrom> {
    match text {
        "earliest" => Ok(PeekFrom::Earliest),
        "latest" => Ok(PeekFrom::Latest),
        _ => match text.parse::<i64>() {
            Ok(offset) if offset >= 0 => Ok(PeekFrom::Offset(offset)),
            _ => Err(
                Error::configuration(format!("`--from {text}` is no place in a topic"))
                    .hint("it must be `earliest`, `latest`, or an offset such as `0` or `1700`"),
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::typed::Typed;
    use clap::{CommandFactory, Parser};

    fn command(line: &str) -> Result<Command, String> {
        let words = std::iter::once("strandline").chain(line.split_whitespace());
        let typed = Typed::try_parse_from(words).map_err(|e| e.to_string())?;
        Command::from_typed(typed.command).map_err(|e| e.to_string())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Typed::command().debug_assert();
    }

    #[test]
    fn run_takes_its_place_in_a_cluster() {
        let Ok(Command::Run(args)) =
            command("run orders -w 2 -n 3 -p 1 --hostfile hosts --set a=b --set c=d")
        else {
            panic!("not a run");
        };
        assert_eq!(args.workers, 2);
        assert_eq!(
            args.cluster,
            Cluster {
                processes: 3,
                process: 1,
                hostfile: Some("hosts".into())
            }
        );
        assert_eq!(args.set, ["a=b", "c=d"]);
        let error = command("run orders -n 2 -p 2").expect_err("out of range");
        assert_eq!(
            error,
            "`-p 2` is none of `-n 2` processes\n  hint: processes count from 0: the last is `-p 1`"
        );
        for line in [
            "run orders -n 2",
            "run orders -p 0",
            "run orders -w 0",
            "run",
            "launch orders -n 0",
        ] {
            assert!(command(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_savepoint_is_gone_on_from_once_a_request() {
        let request = |line: &str| match command(line) {
            Ok(Command::Run(args)) => args.from_savepoint,
            Ok(Command::Launch(args)) => args.from_savepoint,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(request("run orders"), None);
        let line = "launch orders --from-savepoint a --savepoint-table bronze.old";
        let first = request(line).expect("a request");
        let second = request(line).expect("a request");
        assert_eq!(
            (&*first.name, first.table.as_deref()),
            ("a", Some("bronze.old"))
        );
        assert_ne!(first.id, second.id);
        let again = request("run orders --from-savepoint a --savepoint-request 7");
        assert_eq!(again.map(|again| again.id).as_deref(), Some("7"));
        for line in [
            "run orders --savepoint-table bronze.old",
            "run orders --from-savepoint a/b",
            "savepoint orders --name main",
            "savepoint",
        ] {
            assert!(command(line).is_err(), "{line}");
        }
    }

    #[test]
    fn peek_reads_a_job_or_a_topic() {
        let Ok(Command::Peek(args)) = command("peek --topic t -n 3 --from 17 --json") else {
            panic!("not a peek")
        };
        assert_eq!(
            args,
            PeekArgs {
                source: PeekSource::Topic("t".into()),
                number: 3,
                from: PeekFrom::Offset(17),
                json: true
            }
        );
        let Ok(Command::Peek(args)) = command("peek orders") else {
            panic!("not a peek")
        };
        assert_eq!(
            args,
            PeekArgs {
                source: PeekSource::Job("orders".into()),
                number: 10,
                from: PeekFrom::Earliest,
                json: false
            }
        );
        for line in [
            "peek",
            "peek orders --topic t",
            "peek orders --from -1",
            "peek orders --from middle",
        ] {
            assert!(command(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_configuration_may_be_named_before_or_after_the_command() {
        for line in ["-c a.yaml list", "list -c a.yaml"] {
            let words = std::iter::once("strandline").chain(line.split_whitespace());
            let typed = Typed::try_parse_from(words).expect(line);
            assert_eq!(typed.config, Some("a.yaml".into()));
        }
    }
}
