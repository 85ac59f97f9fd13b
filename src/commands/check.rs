//! `check JOB`: the doctor. Looks at everything a run needs, in the order a run needs it, and touches
//! nothing that a run would: no generation, no group offsets, no table.

mod sample;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use strandline_operators::job::{JobSettings, Sink};
use strandline_operators::numbers::grouped;
use strandline_operators::positions::{self, PartitionFacts, TopicMetadata};
use strandline_operators::progress::Progress;
use strandline_operators::{Error, Result};

use crate::cli::Context;
use crate::cli::arguments::CheckArgs;
use crate::cli::output::{print, print_json};
use crate::commands::peek;
use crate::commands::run::{catalog_settings, kafka_settings};
use crate::config::{Config, without_password};
use crate::connectors::iceberg::IcebergConnector;
use crate::connectors::kafka::client::KafkaSettings;
use crate::connectors::kafka::metadata::Cluster;
use crate::connectors::schema_registry::SchemaRegistry;
use crate::engine::lock;

/// How a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// A run would start, but somebody should look.
    Warn,
    /// A run would not start.
    Fail,
}

/// One line of the doctor.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// How it is.
    pub status: Verdict,
    /// What was looked at.
    pub what: String,
    /// What was found, with the next step where there is one.
    pub found: String,
}

#[derive(Default)]
struct Findings {
    lines: Vec<Finding>,
    worst: Option<Error>,
}

impl Findings {
    fn add(&mut self, status: Verdict, what: &str, found: impl Into<String>) {
        self.lines.push(Finding {
            status,
            what: what.to_owned(),
            found: found.into(),
        });
    }

    /// Keeps what came out, or the failure as a finding.
    fn look<T>(&mut self, what: &str, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(Verdict::Fail, what, error.to_string());
                self.worst.get_or_insert(error);
                None
            }
        }
    }
}

/// Runs the command.
///
/// # Errors
/// The first thing that would keep a run from starting, after all findings have been printed.
pub fn run(context: &Context, args: &CheckArgs) -> Result<()> {
    let config = context.config_for(&args.job, &[])?;
    let mut findings = Findings::default();
    findings.add(Verdict::Ok, "configuration", "valid");
    let Some(settings) = config.engine.jobs.get(&args.job) else {
        return Err(Error::internal(format!(
            "the configuration has no settings for job `{}`",
            args.job
        )));
    };
    // `None` when the tables could not be read, `Some(None)` when they hold no progress.
    let progress = match settings.sink {
        Sink::Tables => {
            let iceberg = IcebergConnector::open(&catalog_settings(&config));
            let iceberg = findings.look("catalog", iceberg);
            iceberg.and_then(|iceberg| check_tables(&mut findings, &iceberg, settings))
        }
        Sink::Terminal => {
            findings.add(Verdict::Ok, "terminal", "its records go to standard output");
            Some(None)
        }
    };
    let kafka = kafka_settings(&config);
    let registry = check_registry(&mut findings, &config, settings);
    check_kafka(
        &mut findings,
        &kafka,
        settings,
        progress.as_ref(),
        registry.as_ref(),
    );
    check_state_dir(&mut findings, &config.engine.state_dir);

    if args.json {
        print_json(&findings.lines)?;
    } else {
        let mut text = String::new();
        for Finding {
            status,
            what,
            found,
        } in &findings.lines
        {
            let status = match status {
                Verdict::Ok => "ok  ",
                Verdict::Warn => "warn",
                Verdict::Fail => "fail",
            };
            text.push_str(&format!(
                "{status}  {what}: {}\n",
                found.replace('\n', "\n      ")
            ));
        }
        print(&text)?;
    }
    match findings.worst {
        None => Ok(()),
        Some(error) => Err(
            Error::new(error.kind(), format!("job {} would not start", args.job))
                .hint("the lines that begin with `fail` say why, and what to do"),
        ),
    }
}

fn check_tables(
    findings: &mut Findings,
    iceberg: &IcebergConnector,
    settings: &JobSettings,
) -> Option<Option<Progress>> {
    findings.add(Verdict::Ok, "catalog", "answers");
    let mut are_read = true;
    let secondaries = settings.secondary_tables();
    let secondaries = secondaries.iter().map(|secondary| {
        let what = match secondary.route {
            Some(_) => "route's table",
            None => "dead-letter table",
        };
        (what, secondary.name)
    });
    for (what, name) in std::iter::once(("table", settings.table.as_str())).chain(secondaries) {
        match findings.look(what, iceberg.inspect(name)) {
            Some(Some(facts)) => {
                findings.add(
                    Verdict::Ok,
                    what,
                    format!(
                        "`{name}` holds {} rows in {} files",
                        grouped(facts.rows),
                        grouped(facts.files)
                    ),
                );
            }
            Some(None) => findings.add(
                Verdict::Ok,
                what,
                format!("`{name}` does not exist yet and will be created"),
            ),
            None => are_read = false,
        }
    }
    match findings.look("warehouse", iceberg.probe_warehouse(&settings.table)) {
        Some(Some(place)) => findings.add(
            Verdict::Ok,
            "warehouse",
            format!("a file was written to `{place}`, read and deleted"),
        ),
        Some(None) => findings.add(
            Verdict::Warn,
            "warehouse",
            "known to the catalog server only; tried once the table exists",
        ),
        None => {}
    }
    if !are_read {
        return None;
    }
    let progress = findings.look("progress", iceberg.examine(settings))?;
    let found = match &progress {
        None => "none of this job: it begins anew".to_owned(),
        Some(progress) => format!(
            "generation {}, {} records consumed",
            progress.generation(),
            grouped(progress.account().consumed)
        ),
    };
    findings.add(Verdict::Ok, "progress", found);
    Some(progress)
}

/// Whether the schema registry takes our credentials; that it answers is seen when the sample is decoded.
fn check_registry(
    findings: &mut Findings,
    config: &Config,
    settings: &JobSettings,
) -> Option<SchemaRegistry> {
    let registry = findings.look("schema registry", peek::registry_of(config, settings))??;
    let url = config
        .schema_registry
        .as_ref()
        .map(|r| without_password(&r.url));
    match registry.greet() {
        Ok(()) => findings.add(
            Verdict::Ok,
            "schema registry",
            format!("`{}` answers", url.unwrap_or_default()),
        ),
        // A run would start, and wait for it.
        Err(error) => findings.add(Verdict::Warn, "schema registry", error.to_string()),
    }
    Some(registry)
}

fn check_kafka(
    findings: &mut Findings,
    kafka: &KafkaSettings,
    settings: &JobSettings,
    progress: Option<&Option<Progress>>,
    registry: Option<&SchemaRegistry>,
) {
    let Some(cluster) = findings.look("broker", Cluster::connect(kafka)) else {
        return;
    };
    findings.add(
        Verdict::Ok,
        "broker",
        format!(
            "`{}` answered, cluster id {}",
            kafka.bootstrap_servers,
            cluster.id()
        ),
    );
    let mut topics = Vec::new();
    for name in &settings.topics {
        let Some(topic) = findings.look("topic", cluster.topic(name)) else {
            continue;
        };
        findings.add(
            Verdict::Ok,
            "topic",
            format!("`{name}` has {} partitions", topic.partitions.len()),
        );
        topics.push(topic);
    }
    if let Some(name) = &settings.dead_letter_topic {
        match findings.look("dead-letter topic", cluster.has_topic(name)) {
            Some(true) => {
                findings.add(Verdict::Ok, "dead-letter topic", format!("`{name}` exists"))
            }
            Some(false) => findings.add(
                Verdict::Ok,
                "dead-letter topic",
                format!("`{name}` does not exist yet and will be created"),
            ),
            None => {}
        }
    }
    if topics.len() < settings.topics.len() {
        return;
    }
    let facts = cluster.facts(&topics, &settings.group_id, &settings.starting_offsets);
    // A broker that does not answer this, such as one at an address that leads nowhere, would not answer the other
    // questions either, and each of them would wait for as long.
    let Some(facts) = findings.look("offsets", facts) else {
        return;
    };
    let starts = match progress {
        Some(progress) => check_positions(
            findings,
            &cluster,
            &topics,
            &facts,
            settings,
            progress.as_ref(),
        ),
        None => {
            findings.add(
                Verdict::Warn,
                "start",
                "unknown: where reading starts is in the table, which could not be read",
            );
            Starts::default()
        }
    };
    check_group(findings, &cluster, &topics, &settings.group_id);
    sample::check(findings, kafka, &starts, &topics, settings, registry);
}

/// Whether the group may be used, and is ours alone. Its offsets are for people: a job reads on from its table.
fn check_group(findings: &mut Findings, cluster: &Cluster, topics: &[TopicMetadata], group: &str) {
    let sources: Vec<_> = topics.iter().flat_map(TopicMetadata::sources).collect();
    let members = cluster.group_offsets(&sources, group);
    match members.and_then(|_| cluster.group_members(group)) {
        Ok(members) if members.is_empty() => findings.add(
            Verdict::Ok,
            "group",
            format!("no other consumer holds `{group}`"),
        ),
        Ok(members) => findings.add(
            Verdict::Warn,
            "group",
            format!(
                "another consumer holds `{group}`: {}; our offsets are refused as long as it runs, and lag tools show its own\n  hint: set `group_id` to a name of the job's own",
                members.join(", ")
            ),
        ),
        // A run would start, and its lag would not be seen from outside.
        Err(error) => findings.add(Verdict::Warn, "group", error.to_string()),
    }
}

/// Whether a run could keep its state: the folder is made, and a file in it is written and deleted.
fn check_state_dir(findings: &mut Findings, dir: &Path) {
    let probe = dir.join(format!("probe-{}", uuid::Uuid::new_v4().simple()));
    let written = std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(&probe, b"probe"))
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(|e| lock::cannot_use(dir, &e));
    if findings.look("state directory", written).is_some() {
        findings.add(
            Verdict::Ok,
            "state directory",
            format!("`{}` can be written", dir.display()),
        );
    }
}

/// Where there is something to read, by topic and partition.
type Starts = BTreeMap<String, BTreeMap<i32, i64>>;

/// Where reading would start.
fn check_positions(
    findings: &mut Findings,
    cluster: &Cluster,
    topics: &[TopicMetadata],
    facts: &[PartitionFacts],
    settings: &JobSettings,
    progress: Option<&Progress>,
) -> Starts {
    let mut starts = Starts::default();
    let unknown = Progress::new(&settings.name, "", 0, "");
    let decided = positions::decide(
        Some(cluster.id()),
        topics,
        facts,
        progress.unwrap_or(&unknown),
        &settings.starting_offsets,
        settings.on_gap,
    );
    let Some(decided) = findings.look("start", decided) else {
        return starts;
    };
    let mut waiting = 0;
    for position in decided {
        let behind = (position.assigned.end_at_start - position.read_from).max(0) as u64;
        waiting += behind;
        if behind > 0 {
            let source = &position.assigned.source;
            let of_topic = starts.entry(source.topic.to_string()).or_default();
            of_topic.insert(source.partition, position.read_from);
        }
        findings.add(
            Verdict::Ok,
            "start",
            format!("{}; {} to read", position.reason, grouped(behind)),
        );
    }
    if waiting == 0 {
        let past = match settings.sink {
            Sink::Tables => {
                "what is there already is read by a table that is new to it with `starting_offsets: earliest`, and by this one after `strandline offsets reset`"
            }
            Sink::Terminal => "`starting_offsets: earliest` reads what is there already",
        };
        findings.add(
            Verdict::Warn,
            "start",
            format!(
                "there is nothing to read: every partition starts at its end\n  hint: see that the producer writes to these topics; {past}"
            ),
        );
    }
    starts
}
