//! `config check|show|schema`: validates the configuration, prints what is in force, or its JSON Schema.

use serde_json::json;
use strandline_operators::{Error, Result, decode};

use crate::cli::arguments::{ConfigAction, ConfigArgs};
use crate::cli::{Context, output};
use crate::commands::run::{catalog_settings, kafka_settings, registry_settings};
use crate::config::{Config, json_schema_for};
use crate::http::tls_server_config;

/// Does one of the three.
///
/// # Errors
/// Every problem of the configuration, each with file, line and column.
pub fn run(context: &Context, args: &ConfigArgs) -> Result<()> {
    match args.action {
        ConfigAction::Check => check(context, args),
        ConfigAction::Show => show(context, args),
        ConfigAction::Schema => {
            let jobs: Vec<&str> = context.jobs().iter().map(|j| j.name).collect();
            output::print_json(&json_schema_for(&jobs))
        }
    }
}

fn check(context: &Context, args: &ConfigArgs) -> Result<()> {
    let draft = context.draft(None, &args.set)?;
    let file = draft.file.clone();
    let config = draft.require()?;
    let others = check_for_run(&config)?;
    if args.json {
        let cannot_run: Vec<_> = others
            .iter()
            .map(|(job, why)| json!({ "job": job, "why": why.to_string() }))
            .collect();
        return output::print_json(
            &json!({ "file": file, "ok": true, "jobs": config.engine.jobs.keys().collect::<Vec<_>>(), "cannot_run": cannot_run }),
        );
    }
    let file = file.map_or_else(String::new, |f| format!("{}: ", f.display()));
    let mut text = format!("{file}ok, {} job(s)\n", config.engine.jobs.len());
    for (_, why) in others {
        text.push_str(&format!("note: not with this configuration: {why}\n"));
    }
    output::print(&text)
}

/// Everything that a run refuses before it reaches for anything outside. Returns the jobs that cannot run
/// although the configuration is right: it says nothing of them.
fn check_for_run(config: &Config) -> Result<Vec<(&str, Error)>> {
    kafka_settings(config).validate()?;
    catalog_settings(config).validate()?;
    if let Some(registry) = &config.schema_registry {
        registry_settings(registry).validate()?;
    }
    if let Some(tls) = &config.engine.http_tls {
        tls_server_config(tls)?;
    }
    let mut others = Vec::new();
    for (name, settings) in &config.engine.jobs {
        // What its topics have is told from their records, which are outside.
        if settings.leaves_format_open() {
            continue;
        }
        let has_registry = config.schema_registry.is_some() && settings.has_schema_ids();
        let Err(error) = decode::decoder(settings, has_registry) else {
            continue;
        };
        let is_meant = config.engine.settings.iter().any(|setting| {
            let path: Vec<&str> = setting.path.iter().map(String::as_str).collect();
            matches!(path.as_slice(), ["jobs", job, ..] if job == name) && setting.origin.is_said()
        });
        if is_meant {
            return Err(error);
        }
        others.push((name.as_str(), error));
    }
    Ok(others)
}

fn show(context: &Context, args: &ConfigArgs) -> Result<()> {
    let draft = context.draft(None, &args.set)?;
    draft.clone().require()?;
    if args.json {
        output::print_json(&draft.to_json())
    } else {
        output::print(&draft.to_yaml())
    }
}
