//! What a generation starts from: decided by process 0, told to all processes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strandline_operators::account::Account;
use strandline_operators::io::AssignedPartition;
use strandline_operators::job::Format;
use strandline_operators::landing::claim::ClaimOptions;
use strandline_operators::positions::{self, Position, TopicMetadata};
use strandline_operators::progress::Progress;
use strandline_operators::time::{Epoch, IngestTime};
use strandline_operators::{Error, Result};

use crate::connectors::iceberg::{IcebergConnector, JobTables, TablesDescription};
use crate::connectors::kafka::discovery::{
    Discovered, Known, KnownTopic, Looking, Workers, discover,
};
use crate::connectors::kafka::metadata::Cluster as KafkaCluster;
use crate::connectors::schema_registry::SchemaRegistry;
use crate::engine::{JobRun, lock, recognise};

/// Everything that a process must know to work in this generation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StartingPoint {
    /// What the table said when the generation was claimed.
    pub progress: Progress,
    /// The partitions of all workers.
    pub partitions: Vec<StartingPosition>,
    /// How the records of each topic are encoded: recognised, when the settings leave it open.
    pub formats: BTreeMap<String, Format>,
    /// The tables, so that files can be written without asking the catalog again.
    pub tables: TablesDescription,
}

/// A partition, and where it starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StartingPosition {
    /// As the source sees it.
    pub assigned: AssignedPartition,
    /// The first offset asked for.
    pub read_from: i64,
    /// The leader epoch of the record before it, when the table knows it.
    pub leader_epoch: Option<i32>,
    /// The worker that reads it.
    pub worker: usize,
}

impl StartingPoint {
    /// The generation claimed.
    pub fn generation(&self) -> u32 {
        self.progress.generation()
    }

    /// The time at which every source starts.
    pub fn time(&self) -> IngestTime {
        IngestTime {
            epoch: Epoch::first_of(self.generation()),
            watermark: self.progress.watermark.map_or(0, |w| w.to_coordinate()),
        }
    }

    /// The account up to here.
    pub fn account(&self) -> Account {
        self.progress.account()
    }

    /// What a worker reads.
    pub fn positions_of(&self, worker: usize) -> Vec<Position> {
        let own = self.partitions.iter().filter(|p| p.worker == worker);
        own.map(|p| Position {
            assigned: p.assigned.clone(),
            read_from: p.read_from,
            leader_epoch: p.leader_epoch,
            reason: String::new(),
        })
        .collect()
    }

    /// Starts to look for what changes about the topics; gives each worker of this process its end.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn discover(&self, run: &JobRun) -> Result<(Vec<Discovered>, Looking)> {
        let settings = &run.settings;
        let topics = settings.topics.iter().map(|name| KnownTopic {
            name: name.clone(),
            id: self
                .progress
                .topics
                .get(name)
                .and_then(|t| t.topic_id.clone()),
            partitions: self
                .partitions
                .iter()
                .map(|p| &p.assigned.source)
                .filter(|source| *source.topic == **name)
                .map(|source| source.partition)
                .collect(),
        });
        let known = Known {
            cluster_id: self.progress.cluster_id.clone(),
            topics: topics.collect(),
        };
        let first = run.shape.process * run.shape.workers;
        let workers = Workers {
            local: first..first + run.shape.workers,
            peers: run.shape.peers(),
        };
        discover(
            &run.kafka,
            &settings.name,
            known,
            settings.on_gap,
            settings.partition_discovery_interval,
            workers,
        )
    }
}

/// Whether this process, which was told where to start, sees the Kafka and the catalog of process 0: the
/// settings may be equal, and a name lead elsewhere from here.
///
/// # Errors
/// Configuration when it does not; or what cannot be reached.
pub fn agree(run: &JobRun, iceberg: &IcebergConnector, start: &StartingPoint) -> Result<()> {
    let elsewhere = |what: String| {
        Error::configuration(what)
            .hint("use the same `kafka` and `catalog` for every process, by names that mean the same everywhere")
            .context(format!("process {}", run.shape.process))
            .context(format!("job {}", run.settings.name))
    };
    let progress = &start.progress;
    let kafka = KafkaCluster::connect(&run.kafka)?;
    if let Some(id) = progress
        .cluster_id
        .as_deref()
        .filter(|&id| id != kafka.id())
    {
        return Err(elsewhere(format!(
            "this process reads another Kafka than process 0: cluster `{}`, there `{id}`",
            kafka.id()
        )));
    }
    let table = &run.settings.table;
    let facts = iceberg.inspect(table)?;
    let seen = facts
        .as_ref()
        .and_then(|facts| facts.progress.get(&run.settings.name))
        .map(|found| found.table_uuid.as_str());
    if seen != Some(&progress.table_uuid) {
        return Err(elsewhere(format!(
            "this process sees another catalog than process 0: table `{table}` has UUID {}, there {}",
            seen.unwrap_or("none"),
            progress.table_uuid
        )));
    }
    Ok(())
}

/// Looks at Kafka, claims a generation in the table, and decides where reading starts. In this order: an
/// unreachable broker costs no generation, and a refusal to go on from the committed positions neither. Returns
/// the client too, for whoever asks Kafka before a commit.
///
/// # Errors
/// Whatever is missing outside, or refuses to be gone on with.
pub fn prepare(
    run: &JobRun,
    iceberg: &IcebergConnector,
    registry: Option<&SchemaRegistry>,
) -> Result<(StartingPoint, JobTables, KafkaCluster)> {
    let settings = &run.settings;
    let kafka = KafkaCluster::connect(&run.kafka)?;
    let topics = settings
        .topics
        .iter()
        .map(|topic| kafka.topic(topic))
        .collect::<Result<Vec<_>>>()?;
    // Before the claim as well: a topic whose format cannot be told costs no generation.
    let formats = recognised(run, registry)?;
    let options = ClaimOptions {
        accept_new_fingerprint: run.accept_new_fingerprint,
    };
    let mut positions = Vec::new();
    let mut examine = |progress: &mut Progress| {
        // After the progress was read: a generation that still runs may commit up to the very end, and an
        // end from before that would look like a truncated log.
        let facts = kafka.facts(&topics, &settings.group_id, &settings.starting_offsets)?;
        positions = positions::decide(
            Some(kafka.id()),
            &topics,
            &facts,
            progress,
            &settings.starting_offsets,
            settings.on_gap,
        )?;
        progress.cluster_id = Some(kafka.id().to_owned());
        progress.claimed_by = Some(lock::this_process());
        for topic in topics.iter().filter(|topic| topic.id.is_some()) {
            progress
                .topics
                .entry(topic.name.clone())
                .or_default()
                .topic_id
                .clone_from(&topic.id);
        }
        // Where a partition starts is decided once and claimed with the generation: deciding again after
        // a crash would move `latest` past records that were read but not committed.
        for position in &positions {
            progress.begin(&position.assigned.source, position.assigned.start);
        }
        Ok(())
    };
    if let Some(from) = &run.from_savepoint {
        iceberg.restore(settings, options, from, &mut examine)?;
    }
    let tables = iceberg.prepare(settings, options, &mut examine)?;
    let start = StartingPoint {
        progress: tables.progress().clone(),
        partitions: assign(run, &topics, positions)?,
        formats,
        tables: tables.description().clone(),
    };
    Ok((start, tables, kafka))
}

/// The format of each topic's records, told from them when the settings leave it open; says so in the log.
fn recognised(run: &JobRun, registry: Option<&SchemaRegistry>) -> Result<BTreeMap<String, Format>> {
    let (recognised, said) = recognise::with_formats(&run.settings, &run.kafka, registry)?;
    for line in said {
        tracing::info!(job = run.settings.name, "{line}");
    }
    Ok(recognised.formats_by_topic())
}

/// The same for a job without tables: nothing is known, and nothing will be.
///
/// # Errors
/// No topic is named; whatever is missing outside.
pub fn prepare_without_tables(
    run: &JobRun,
    registry: Option<&SchemaRegistry>,
) -> Result<StartingPoint> {
    let settings = &run.settings;
    if settings.topics.is_empty() {
        return Err(Error::configuration(format!(
            "job `{}` is told no topic to read",
            settings.name
        ))
        .hint(format!(
            "add `--set topics=[TOPIC]`, or `topics` to `jobs.{}` in the configuration",
            settings.name
        )));
    }
    let kafka = KafkaCluster::connect(&run.kafka)?;
    let topics = settings
        .topics
        .iter()
        .map(|topic| kafka.topic(topic))
        .collect::<Result<Vec<_>>>()?;
    let formats = recognised(run, registry)?;
    let mut progress = Progress::new(&settings.name, "", 0, &settings.fingerprint());
    let facts = kafka.facts(&topics, &settings.group_id, &settings.starting_offsets)?;
    let positions = positions::decide(
        Some(kafka.id()),
        &topics,
        &facts,
        &progress,
        &settings.starting_offsets,
        settings.on_gap,
    )?;
    progress.cluster_id = Some(kafka.id().to_owned());
    for topic in &topics {
        let known = progress.topics.entry(topic.name.clone()).or_default();
        known.topic_id.clone_from(&topic.id);
    }
    for position in &positions {
        progress.begin(&position.assigned.source, position.assigned.start);
    }
    let generation = progress.claim();
    Ok(StartingPoint {
        progress,
        partitions: assign(run, &topics, positions)?,
        formats,
        tables: TablesDescription {
            job: settings.name.clone(),
            generation,
            primary_uuid: String::new(),
            tables: Vec::new(),
            added: Vec::new(),
        },
    })
}

/// Gives each partition to a worker, and says where it is read from and why.
fn assign(
    run: &JobRun,
    topics: &[TopicMetadata],
    positions: Vec<Position>,
) -> Result<Vec<StartingPosition>> {
    let peers = run.shape.peers();
    let mut partitions = Vec::with_capacity(positions.len());
    for position in positions {
        let source = &position.assigned.source;
        let topic = topics
            .iter()
            .position(|t| t.name == *source.topic)
            .ok_or_else(|| {
                Error::internal(format!(
                    "the broker described a topic nobody asked for: `{}`",
                    source.topic
                ))
            })?;
        let worker = positions::worker_of(topic, source.partition, peers);
        tracing::info!(
            job = run.settings.name,
            topic = %source.topic,
            partition = source.partition,
            offset = position.read_from,
            worker,
            "{}",
            position.reason
        );
        partitions.push(StartingPosition {
            assigned: position.assigned,
            read_from: position.read_from,
            leader_epoch: position.leader_epoch,
            worker,
        });
    }
    Ok(partitions)
}
