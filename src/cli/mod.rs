//! The command line: what was typed ([`typed`]), what each command is asked to do ([`arguments`]), what
//! they share ([`context`]), how they answer ([`output`]), and the terminal that one of them has for itself ([`screen`]).

pub mod arguments;
pub mod context;
pub mod output;
pub mod screen;
pub mod typed;

use std::ffi::OsString;

use clap::Parser;
use strandline_operators::Result;
use strandline_operators::job::Job;

use crate::commands;
use arguments::Command;
pub use context::Context;

/// Does what the command line says, prints an error if there is one, and gives the exit status.
pub fn run(jobs: &'static [Job], arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let typed = match typed::Typed::try_parse_from(arguments) {
        Ok(typed) => typed,
        Err(error) => {
            // Help on stdout (0), usage on stderr (2). A reader that went away is no error.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let context = Context::new(jobs, typed.config.clone());
    match start(&context, typed) {
        Ok(()) => context.status(),
        Err(error) => {
            output::print_error(&error);
            error.kind().exit_code()
        }
    }
}

fn start(context: &Context, typed: typed::Typed) -> Result<()> {
    crate::logging::start()?;
    crate::validate(context.jobs())?;
    dispatch(context, &Command::from_typed(typed.command)?)
}

fn dispatch(context: &Context, command: &Command) -> Result<()> {
    match command {
        Command::Demo(args) => commands::demo::run(context, args),
        Command::List(args) => commands::list::run(context, args),
        Command::Run(args) => commands::run::run(context, args),
        Command::Launch(args) => commands::launch::run(context, args),
        Command::Status(args) => commands::status::run(context, args),
        Command::Stop(args) => commands::stop::stop(context, args),
        Command::Cancel(args) => commands::stop::cancel(context, args),
        Command::Top(args) => commands::top::run(context, args),
        Command::Savepoint(args) => commands::savepoint::run(context, args),
        Command::Offsets(args) => commands::offsets::run(context, args),
        Command::Check(args) => commands::check::run(context, args),
        Command::Peek(args) => commands::peek::run(context, args),
        Command::Audit(args) => commands::audit::run(context, args),
        Command::Plan(args) => commands::plan::run(context, args),
        Command::Config(args) => commands::config::run(context, args),
        Command::Completions(args) => commands::completions::run(context, args),
    }
}
