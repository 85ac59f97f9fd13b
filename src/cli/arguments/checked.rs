//! The typed arguments, checked together.

use strandline_operators::{Error, Result};

use super::{
    AuditArgs, CheckArgs, Cluster, Command, CompletionsArgs, ConfigAction, ConfigArgs, DemoArgs,
    LaunchArgs, ListArgs, OffsetsArgs, PeekArgs, PeekFrom, PeekSource, PlanArgs, ResetArgs,
    ResetTo, RunArgs, SavepointArgs, StatusArgs, StopArgs,
};
use crate::cli::typed::{
    TypedCommand, TypedConfigAction, TypedFromSavepoint, TypedOffsetsAction, TypedRun,
};
use crate::connectors::iceberg::{FromSavepoint, validate_savepoint_name};

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
                set: t.set,
                json: t.json,
            }),
            TypedCommand::Config(t) => Command::Config(match t.action {
                TypedConfigAction::Check(t) => ConfigArgs {
                    action: ConfigAction::Check,
                    set: t.set,
                    json: t.json,
                },
                TypedConfigAction::Show(t) => ConfigArgs {
                    action: ConfigAction::Show,
                    set: t.set,
                    json: t.json,
                },
                TypedConfigAction::Schema(t) => ConfigArgs {
                    action: ConfigAction::Schema,
                    set: Vec::new(),
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
