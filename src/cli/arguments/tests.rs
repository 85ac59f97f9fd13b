//! Command lines, and what they ask for.

use super::*;
use crate::cli::typed::Typed;
use clap::{CommandFactory, Parser};
use strandline_operators::Result;

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

#[test]
fn help_and_runbook_name_every_argument_of_an_offsets_reset() {
    let runbook = include_str!("../../../docs/runbook.md");
    let (_, part) = runbook
        .split_once("\n## Reading again, or passing over\n")
        .expect("a part on offsets");
    let part = part.split("\n## ").next().unwrap_or_default();
    let command = Typed::command();
    let reset = command
        .find_subcommand("offsets")
        .and_then(|offsets| offsets.find_subcommand("reset"))
        .expect("a command");
    let mut named = 0;
    for argument in reset.get_arguments() {
        assert!(argument.get_help().is_some(), "{argument} has no help");
        if let Some(long) = argument.get_long().filter(|long| *long != "json") {
            assert!(part.contains(&format!("--{long}")), "--{long}");
            named += 1;
        }
    }
    assert!(named >= 3, "{named}");
}
