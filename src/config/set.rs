//! `--set KEY=VALUE`: a setting on the command line, checked like one in the file.

use std::sync::Arc;

use strandline_operators::{Error, Result};

use super::nearest;
use super::origin::Place;
use super::tree::{self, Node};

/// The keys at the top of the file.
const TOP_KEYS: [&str; 10] = [
    "kafka",
    "schema_registry",
    "catalog",
    "state_dir",
    "http",
    "http_token",
    "http_ssl_certificate_location",
    "http_ssl_key_location",
    "restart",
    "jobs",
];

/// The keys of a job.
const JOB_KEYS: [&str; 22] = [
    "topics",
    "group_id",
    "starting_offsets",
    "format",
    "avro_schema",
    "json_fail_invalid_schema",
    "peek",
    "debezium",
    "csv",
    "table",
    "routes",
    "dead_letters",
    "event_time",
    "watermark",
    "lateness",
    "dedup",
    "commit",
    "schema_evolution",
    "on_gap",
    "partition_discovery_interval",
    "memory",
    "max_record_bytes",
];

/// Puts one `KEY=VALUE` into the tree. A key of a job, such as `commit.interval`, is one of `job`.
pub(crate) fn apply(
    root: &mut Node,
    argument: &str,
    job: Option<&str>,
    jobs: &[&str],
) -> Result<()> {
    let Some((key, value)) = argument
        .split_once('=')
        .map(|(key, value)| (key.trim(), value))
    else {
        return Err(
            Error::configuration(format!("`--set {argument}` has no `=`"))
                .hint("write `--set commit.interval=250ms`"),
        );
    };
    let place = Place::Set(Arc::from(key));
    let node = tree::parse(
        value,
        &|_, _| place.clone(),
        &format!("the value of `--set {key}`"),
    )?;
    // An empty value is empty text, not an empty document.
    root.put(&path(key, job, jobs)?, node);
    Ok(())
}

/// The path of keys that a dotted key means. The names under `properties` have dots themselves.
fn path<'a>(key: &'a str, job: Option<&'a str>, jobs: &[&str]) -> Result<Vec<&'a str>> {
    let mut path: Vec<&str> = Vec::new();
    let first = key.split('.').next().unwrap_or_default();
    if JOB_KEYS.contains(&first) {
        let Some(job) = job else {
            let example = jobs.first().unwrap_or(&"JOB");
            return Err(
                Error::configuration(format!("`--set {key}` does not say which job"))
                    .hint(format!("write `--set jobs.{example}.{key}=...`")),
            );
        };
        path.extend(["jobs", job]);
    } else if !TOP_KEYS.contains(&first) {
        let known = TOP_KEYS.into_iter().chain(
            if job.is_some() { &JOB_KEYS[..] } else { &[] }
                .iter()
                .copied(),
        );
        return Err(
            Error::configuration(format!("unknown key `{first}` in `--set {key}`"))
                .hint(nearest::hint(first, "the keys", known)),
        );
    }
    for prefix in ["kafka.properties.", "catalog.properties."] {
        if let Some(name) = key.strip_prefix(prefix) {
            path.extend(prefix.trim_end_matches('.').split('.'));
            path.push(name);
            return Ok(path);
        }
    }
    path.extend(key.split('.'));
    if path.iter().any(|part| part.is_empty()) {
        return Err(Error::configuration(format!(
            "`--set {key}` has an empty part in its key"
        )));
    }
    Ok(path)
}
