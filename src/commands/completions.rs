//! `completions SHELL`: completions of the command line for a shell.

use clap::CommandFactory;
use strandline_operators::Result;

use crate::cli::arguments::CompletionsArgs;
use crate::cli::typed::Typed;
use crate::cli::{Context, output};

/// Prints them, for the name that this program was started by.
///
/// # Errors
/// Stdout cannot be written.
pub fn run(_: &Context, args: &CompletionsArgs) -> Result<()> {
    let name = std::env::args_os().next().map(std::path::PathBuf::from);
    let name = name
        .as_deref()
        .and_then(|path| path.file_stem())
        .and_then(|stem| stem.to_str())
        .unwrap_or("strandline");
    // Into memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Typed::command(), name, &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
