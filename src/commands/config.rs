//! `config check|show|schema`: validates the configuration, prints what is in force, or its JSON Schema.

use serde_json::json;
use strandline_operators::Result;

use crate::cli::arguments::{ConfigAction, ConfigArgs};
use crate::cli::{Context, output};
use crate::config::json_schema_for;

/// Does one of the three.
///
/// # Errors
/// Every problem of the configuration, each with file, line and column.
pub fn run(context: &Context, args: &ConfigArgs) -> Result<()> {
    match args.action {
        ConfigAction::Check => check(context, args.json),
        ConfigAction::Show => show(context, args.json),
        ConfigAction::Schema => {
            let jobs: Vec<&str> = context.jobs().iter().map(|j| j.name).collect();
            output::print_json(&json_schema_for(&jobs))
        }
    }
}

fn check(context: &Context, json: bool) -> Result<()> {
    let draft = context.draft(None, &[])?;
    let file = draft.file.clone();
    let config = draft.require()?;
    if json {
        return output::print_json(
            &json!({ "file": file, "ok": true, "jobs": config.engine.jobs.keys().collect::<Vec<_>>() }),
        );
    }
    let file = file.map_or_else(String::new, |f| format!("{}: ", f.display()));
    output::print(&format!("{file}ok, {} job(s)\n", config.engine.jobs.len()))
}

fn show(context: &Context, json: bool) -> Result<()> {
    let draft = context.draft(None, &[])?;
    draft.clone().require()?;
    if json {
        output::print_json(&draft.to_json())
    } else {
        output::print(&draft.to_yaml())
    }
}
