//! `savepoint JOB`: tags every table of the job at one point.

use std::collections::BTreeMap;

use serde_json::json;
use strandline_operators::Result;

use super::run::catalog_settings;
use crate::cli::arguments::SavepointArgs;
use crate::cli::{Context, output};
use crate::connectors::iceberg::{IcebergConnector, Savepoint};
use crate::engine::report::grouped;

/// Makes the savepoint and says where it stands. The job may run meanwhile, here or elsewhere.
///
/// # Errors
/// A name that is in use, a job that has not run yet, a catalog that is away.
pub fn run(context: &Context, args: &SavepointArgs) -> Result<()> {
    let config = context.config_for(&args.job, &args.set)?;
    let settings = config.engine.job(&args.job)?;
    let name = args
        .name
        .clone()
        .unwrap_or_else(|| chrono::Utc::now().format("%Y%m%dT%H%M%SZ").to_string());
    let iceberg = IcebergConnector::open(&catalog_settings(&config))?;
    let savepoint = iceberg.savepoint(settings, &name)?;
    if args.json {
        output::print_json(&document(&args.job, &savepoint))
    } else {
        output::print(&text(&args.job, &savepoint))
    }
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
