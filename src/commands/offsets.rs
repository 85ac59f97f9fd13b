//! `offsets show|reset JOB`: where a job stands in its topics, and setting that on purpose.
//!
//! What counts is the table: its progress says where the job goes on. The consumer group follows it, for Kafka's
//! own tools.

use std::collections::BTreeMap;

use serde::Serialize;
use strandline_operators::job::{JobSettings, StartingOffsets};
use strandline_operators::numbers::grouped_signed;
use strandline_operators::positions::{self, PartitionFacts, TopicMetadata};
use strandline_operators::progress::{OffsetReset, Progress};
use strandline_operators::record::TopicPartition;
use strandline_operators::{Error, Result};

use crate::cli::Context;
use crate::cli::arguments::{OffsetsArgs, ResetArgs, ResetTo};
use crate::cli::output::{print, print_json, table};
use crate::commands::run::{catalog_settings, kafka_settings};
use crate::connectors::iceberg::IcebergConnector;
use crate::connectors::kafka::metadata::Cluster;
use crate::engine::lock;

/// Where the job stands in one partition.
#[derive(Clone, Debug, Serialize)]
struct Standing {
    topic: String,
    partition: i32,
    /// The oldest offset that the broker holds.
    begin: i64,
    /// The end, as a `read_committed` reader sees it.
    end: i64,
    /// The offset that follows what is committed in the table; `null` when it knows nothing of the partition.
    committed: Option<i64>,
    /// Where the consumer group stands.
    group: Option<i64>,
    /// From what is committed to the end.
    lag: Option<i64>,
    /// The last reset.
    #[serde(skip_serializing_if = "Option::is_none")]
    reset: Option<OffsetReset>,
}

/// What a reset does to one partition.
#[derive(Clone, Debug, Serialize)]
struct Change {
    topic: String,
    partition: i32,
    from: Option<i64>,
    to: i64,
}

/// Runs the command.
///
/// # Errors
/// Kafka or the catalog cannot be reached; for a reset also: the job runs, has never run, or an offset is not held
/// by the broker.
pub fn run(context: &Context, args: &OffsetsArgs) -> Result<()> {
    context.job_with_tables(&args.job)?;
    let config = context.config_for(&args.job, &[])?;
    let settings = config.engine.job(&args.job)?;
    // Before anything is asked: whoever resets should hear of it at once.
    let dir = config.engine.job_dir(&args.job);
    let command = format!("offsets reset {}", args.job);
    let execute = args.reset.as_ref().is_some_and(|reset| reset.execute);
    let _locks = execute
        .then(|| -> Result<_> {
            let launch = lock::take(&dir, lock::LAUNCH, &command)?;
            Ok((launch, lock::take(&dir, lock::RUN, &command)?))
        })
        .transpose()?;
    let kafka = Cluster::connect(&kafka_settings(&config))?;
    let topics = settings
        .topics
        .iter()
        .map(|topic| kafka.topic(topic))
        .collect::<Result<Vec<_>>>()?;
    let iceberg = IcebergConnector::open(&catalog_settings(&config))?;
    match &args.reset {
        None => show(settings, &kafka, &topics, &iceberg, args.json),
        Some(reset) => {
            let facts = facts(settings, &kafka, &topics, reset)?;
            let asked = Asked {
                settings,
                kafka: &kafka,
                topics: &topics,
                reset,
                json: args.json,
            };
            asked.carry_out(&iceberg, &facts)
        }
    }
}

fn show(
    settings: &JobSettings,
    kafka: &Cluster,
    topics: &[TopicMetadata],
    iceberg: &IcebergConnector,
    json: bool,
) -> Result<()> {
    let found = iceberg.inspect(&settings.table)?;
    let progress = found.and_then(|facts| facts.progress.get(&settings.name).cloned());
    let facts = kafka.facts(topics, &settings.group_id, &StartingOffsets::Group)?;
    let standings: Vec<Standing> = facts
        .iter()
        .map(|fact| {
            let known = progress.as_ref().and_then(|p| p.partition(&fact.source));
            Standing {
                topic: fact.source.topic.to_string(),
                partition: fact.source.partition,
                begin: fact.log_start,
                end: fact.end,
                committed: known.map(|at| at.next),
                group: fact.group,
                lag: known.map(|at| fact.end - at.next),
                reset: known.and_then(|at| at.reset.clone()),
            }
        })
        .collect();
    if json {
        return print_json(&serde_json::json!({
            "job": settings.name,
            "table": settings.table,
            "group_id": settings.group_id,
            "offsets": standings,
        }));
    }
    print(&text(settings, &standings))
}

fn text(settings: &JobSettings, standings: &[Standing]) -> String {
    let head = [
        "TOPIC",
        "PARTITION",
        "BEGIN",
        "END",
        "COMMITTED",
        "GROUP",
        "LAG",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let offset = |offset: Option<i64>| offset.map_or("-".to_owned(), grouped_signed);
    for standing in standings {
        rows.push(vec![
            standing.topic.clone(),
            standing.partition.to_string(),
            grouped_signed(standing.begin),
            grouped_signed(standing.end),
            offset(standing.committed),
            offset(standing.group),
            offset(standing.lag),
        ]);
    }
    let mut text = table(&rows);
    for standing in standings {
        if let Some(reset) = &standing.reset {
            text.push_str(&format!(
                "{}[{}] was reset from {} to {} at {} by {}\n",
                standing.topic,
                standing.partition,
                grouped_signed(reset.from),
                grouped_signed(reset.to),
                reset.at,
                reset.by
            ));
        }
    }
    text.push_str(&format!(
        "committed in table {}; the group is {}\n",
        settings.table, settings.group_id
    ));
    text
}

fn facts(
    settings: &JobSettings,
    kafka: &Cluster,
    topics: &[TopicMetadata],
    reset: &ResetArgs,
) -> Result<Vec<PartitionFacts>> {
    // What has to be looked up besides begin and end.
    let besides = match reset.to {
        ResetTo::Group => StartingOffsets::Group,
        ResetTo::Timestamp(ms) => StartingOffsets::Timestamp(ms),
        _ => StartingOffsets::Earliest,
    };
    let mut facts = kafka.facts(topics, &settings.group_id, &besides)?;
    for (topic, partition) in &reset.only {
        let is_it = |fact: &PartitionFacts| {
            *fact.source.topic == **topic && partition.is_none_or(|p| p == fact.source.partition)
        };
        if !facts.iter().any(is_it) {
            let name = match partition {
                Some(partition) => format!("{topic}[{partition}]"),
                None => topic.clone(),
            };
            return Err(Error::configuration(format!(
                "`--only` names {name}, which the job does not read"
            ))
            .hint(format!("it reads {}", settings.topics.join(", "))));
        }
    }
    facts.retain(|fact| {
        let names = |(topic, partition): &(String, Option<i32>)| {
            **topic == *fact.source.topic && partition.is_none_or(|p| p == fact.source.partition)
        };
        reset.only.is_empty() || reset.only.iter().any(names)
    });
    Ok(facts)
}

/// Where a partition is to be.
fn target(fact: &PartitionFacts, to: ResetTo) -> Result<i64> {
    let source = &fact.source;
    match to {
        ResetTo::Earliest => Ok(fact.log_start),
        ResetTo::Latest => Ok(fact.end),
        ResetTo::Timestamp(_) => Ok(fact.at_timestamp.unwrap_or(fact.end)),
        ResetTo::Group | ResetTo::Offset(_) => {
            let offset = match to {
                ResetTo::Offset(offset) => Some(offset),
                _ => fact.group,
            };
            let offset = offset.ok_or_else(|| {
                Error::configuration(format!("the consumer group has no position in {source}"))
                    .hint("leave it out with `--only`, or name another place")
            })?;
            if (fact.log_start..=fact.end).contains(&offset) {
                return Ok(offset);
            }
            Err(Error::configuration(format!(
                "cannot reset {source} to {}: the broker holds {} to {}",
                grouped_signed(offset),
                grouped_signed(fact.log_start),
                grouped_signed(fact.end)
            ))
            .hint("use an offset in that range, `earliest` or `latest`"))
        }
    }
}

/// A reset that was asked for.
struct Asked<'a> {
    settings: &'a JobSettings,
    kafka: &'a Cluster,
    topics: &'a [TopicMetadata],
    reset: &'a ResetArgs,
    json: bool,
}

impl Asked<'_> {
    fn carry_out(&self, iceberg: &IcebergConnector, facts: &[PartitionFacts]) -> Result<()> {
        let settings = self.settings;
        let targets = facts
            .iter()
            .map(|fact| Ok((fact.source.clone(), target(fact, self.reset.to)?)))
            .collect::<Result<BTreeMap<TopicPartition, i64>>>()?;
        let changes = |progress: Option<&Progress>| -> Vec<Change> {
            let change = |(source, &to): (&TopicPartition, &i64)| Change {
                topic: source.topic.to_string(),
                partition: source.partition,
                from: progress.and_then(|p| p.partition(source)).map(|at| at.next),
                to,
            };
            let all = targets.iter().map(change);
            all.filter(|change| change.from != Some(change.to))
                .collect()
        };
        if !self.reset.execute {
            let found = iceberg.inspect(&settings.table)?;
            let progress = found.and_then(|facts| facts.progress.get(&settings.name).cloned());
            return self.tell(&changes(progress.as_ref()), None);
        }
        let by = lock::this_process();
        let mut made = Vec::new();
        let progress = iceberg.reset_offsets(settings, &mut |progress| {
            positions::check_same(self.kafka.id(), self.topics, progress)?;
            made = changes(Some(&*progress));
            for change in &made {
                let source = TopicPartition::new(change.topic.as_str(), change.partition);
                progress.reset(&source, change.to, &by.since, &by.to_string());
            }
            progress.claimed_by = Some(by.clone());
            Ok(())
        })?;
        self.tell(&made, Some(progress.generation()))?;
        // The table says where the job goes on, and it says so now. The group is for people who look at lag.
        if let Err(error) = self.kafka.set_group_offsets(&targets, &settings.group_id) {
            tracing::warn!(
                group = settings.group_id,
                "the offsets are reset, but the consumer group still shows the former ones: {error}"
            );
        }
        Ok(())
    }

    /// Prints what was done, or without a generation what would be.
    fn tell(&self, changes: &[Change], generation: Option<u32>) -> Result<()> {
        let settings = self.settings;
        if self.json {
            return print_json(&serde_json::json!({
                "job": settings.name,
                "table": settings.table,
                "group_id": settings.group_id,
                "executed": generation.is_some(),
                "generation": generation,
                "changes": changes,
            }));
        }
        let mut text = String::new();
        let (mut back, mut ahead) = (0, 0);
        for change in changes {
            let from = change.from.map_or("nowhere".to_owned(), grouped_signed);
            let by = change.from.map_or(0, |from| change.to - from);
            back -= by.min(0);
            ahead += by.max(0);
            text.push_str(&format!(
                "{}[{}]: from {from} to {}\n",
                change.topic,
                change.partition,
                grouped_signed(change.to)
            ));
        }
        if changes.is_empty() {
            text.push_str("every partition is there already\n");
        }
        if ahead > 0 {
            text.push_str(&format!(
                "{} offsets are passed over and never land\n",
                grouped_signed(ahead)
            ));
        }
        if back > 0 {
            let fate = match &settings.dedup {
                Some(dedup) => format!(
                    "those whose `{}` is still remembered are duplicates, older ones land again",
                    dedup.key
                ),
                None => "all of them land again: the job does not deduplicate".to_owned(),
            };
            text.push_str(&format!(
                "{} offsets are read again: {fate}\n",
                grouped_signed(back)
            ));
        }
        text.push_str(&match generation {
            Some(generation) => format!(
                "recorded in table {} as generation {generation}; a process that still runs the job elsewhere is refused\n",
                settings.table
            ),
            None => "nothing is changed yet: add `--execute`\n".to_owned(),
        });
        print(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(log_start: i64, end: i64) -> PartitionFacts {
        PartitionFacts {
            source: TopicPartition::new("t", 0),
            log_start,
            end,
            group: None,
            at_timestamp: None,
        }
    }

    #[test]
    fn a_reset_goes_only_where_the_broker_has_records() {
        let at = |to| target(&fact(10, 20), to);
        let is_at = |to, offset| assert_eq!(at(to).expect("held"), offset);
        is_at(ResetTo::Earliest, 10);
        is_at(ResetTo::Latest, 20);
        is_at(ResetTo::Offset(20), 20);
        is_at(ResetTo::Timestamp(5), 20);
        let error = at(ResetTo::Offset(9)).expect_err("retention has passed it");
        assert!(error.message().contains("holds 10 to 20"), "{error}");
        at(ResetTo::Offset(21)).expect_err("not written yet");
        let error = at(ResetTo::Group).expect_err("it has no position");
        assert!(error.message().contains("t[0]"), "{error}");
        let known = PartitionFacts {
            group: Some(12),
            at_timestamp: Some(15),
            ..fact(10, 20)
        };
        assert_eq!(target(&known, ResetTo::Group).expect("held"), 12);
        assert_eq!(target(&known, ResetTo::Timestamp(5)).expect("held"), 15);
    }
}
