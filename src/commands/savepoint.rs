//! `savepoint JOB`: tags every table of the job at one point.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use strandline_operators::Result;
use strandline_operators::job::JobSettings;
use strandline_operators::numbers::grouped;

use super::run::catalog_settings;
use crate::cli::arguments::SavepointArgs;
use crate::cli::{Context, output};
use crate::connectors::iceberg::{
    CatalogSettings, IcebergConnector, Savepoint, validate_savepoint_name,
};
use crate::http::SavepointAction;

/// Makes the savepoint and says where it stands. The job may run meanwhile, here or elsewhere.
///
/// # Errors
/// A name that is in use, a job that has not run yet, a catalog that is away.
pub fn run(context: &Context, args: &SavepointArgs) -> Result<()> {
    context.job_with_tables(&args.job)?;
    let config = context.config_for(&args.job, &args.set)?;
    let settings = config.engine.job(&args.job)?;
    let savepoint = make(&catalog_settings(&config), settings, args.name.clone())?;
    if args.json {
        output::print_json(&document(&args.job, &savepoint))
    } else {
        output::print(&text(&args.job, &savepoint))
    }
}

fn make(
    catalog: &CatalogSettings,
    settings: &JobSettings,
    name: Option<String>,
) -> Result<Savepoint> {
    let name = name.unwrap_or_else(|| chrono::Utc::now().format("%Y%m%dT%H%M%SZ").to_string());
    validate_savepoint_name(&name)?;
    IcebergConnector::open(catalog)?.savepoint(settings, &name)
}

/// How a running job makes savepoints of itself: beside its workers, through the catalog.
pub(crate) fn action(catalog: &CatalogSettings, settings: &JobSettings) -> SavepointAction {
    let (catalog, settings) = (catalog.clone(), settings.clone());
    Arc::new(move |name| {
        let savepoint = make(&catalog, &settings, name)?;
        Ok(document(&settings.name, &savepoint))
    })
}

fn document(job: &str, savepoint: &Savepoint) -> serde_json::Value {
    let progress = &savepoint.progress;
    let tables = std::iter::once(&savepoint.primary).chain(&savepoint.secondaries);
    let offsets: BTreeMap<&str, BTreeMap<i32, i64>> = progress
        .topics
        .iter()
        .map(|(topic, of)| {
            let next = of.partitions.iter().map(|(&p, at)| (p, at.next));
            (topic.as_str(), next.collect())
        })
        .collect();
    json!({
        "job": job,
        "savepoint": savepoint.name,
        "created": savepoint.created,
        "generation": progress.generation(),
        "epoch": progress.epoch.map(|epoch| epoch.0),
        "watermark": progress.watermark.map(|watermark| watermark.to_string()),
        "account": progress.account(),
        "offsets": offsets,
        "tables": tables
            .map(|table| json!({
                "name": table.name,
                "tag": savepoint.name,
                "snapshot_id": table.snapshot_id,
                "rows": table.rows,
            }))
            .collect::<Vec<_>>(),
    })
}

fn text(job: &str, savepoint: &Savepoint) -> String {
    let name = &savepoint.name;
    let mut text = format!("savepoint {name} of {job}\n");
    for table in std::iter::once(&savepoint.primary).chain(&savepoint.secondaries) {
        text.push_str(&format!(
            "  table {}: snapshot {}, {} rows, tagged `{name}`\n",
            table.name,
            table.snapshot_id,
            grouped(table.rows)
        ));
    }
    text.push_str(&format!(
        "  go on from it: strandline run {job} --from-savepoint {name}\n"
    ));
    text
}
