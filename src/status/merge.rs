//! The facts of a job's processes, as facts of the job.

use std::collections::BTreeMap;

use super::facts::{OperatorCounts, PartitionFacts, ProcessFacts, Stage};

/// The facts of all processes together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Merged {
    /// Process 0, which commits; absent before it has said anything.
    pub first: ProcessFacts,
    /// The stage of the one that is least far.
    pub stage: Stage,
    pub operators: OperatorCounts,
    /// How many workers there are, of the processes that have told of theirs.
    pub workers: usize,
    pub partitions: Vec<PartitionFacts>,
    pub latency: strandline_operators::observed::histogram::Distribution,
    pub letters: BTreeMap<String, u64>,
    pub dedup_entries: u64,
    pub dedup_answers: BTreeMap<String, u64>,
    pub memory: BTreeMap<String, u64>,
    pub complaint: Option<String>,
    pub has_lost_brokers: bool,
    pub group_trouble: Option<String>,
    /// Batches that wait for a schema; those of a process that only its peers tell of count as one.
    pub held_back: u64,
    pub registry_trouble: Option<String>,
    pub store_trouble: Option<String>,
}

impl Merged {
    /// What still holds of it when its processes have ended: the table's account, and how far it is in the topics.
    pub fn left_behind(&self) -> Merged {
        let first = ProcessFacts {
            account_before: self.first.account_before,
            account: self.first.account,
            watermark: self.first.watermark,
            ..ProcessFacts::default()
        };
        let partitions = self
            .partitions
            .iter()
            .cloned()
            .map(|partition| PartitionFacts {
                worker: None,
                ..partition
            });
        Merged {
            first,
            partitions: partitions.collect(),
            ..Merged::default()
        }
    }
}

/// Puts them together.
pub(crate) fn merge(processes: &BTreeMap<usize, ProcessFacts>) -> Merged {
    let mut merged = Merged {
        first: processes.get(&0).cloned().unwrap_or_default(),
        stage: processes
            .values()
            .map(|facts| facts.stage)
            .min()
            .unwrap_or_default(),
        ..Merged::default()
    };
    let mut partitions: BTreeMap<(String, i32), PartitionFacts> = BTreeMap::new();
    for facts in processes.values() {
        let (sum, of) = (&mut merged.operators, &facts.operators);
        sum.read += of.read;
        sum.bytes += of.bytes;
        sum.decoded += of.decoded;
        sum.judged += of.judged;
        sum.routed += of.routed;
        sum.encoded += of.encoded;
        sum.waited_for_memory_us += of.waited_for_memory_us;
        sum.waited_for_commit_us += of.waited_for_commit_us;
        merged.workers += facts.workers.len();
        merged.latency.add(&facts.latency);
        merged.dedup_entries += facts.dedup_entries;
        add(&mut merged.letters, &facts.letters);
        add(&mut merged.dedup_answers, &facts.dedup_answers);
        add(&mut merged.memory, &facts.memory);
        merged.complaint = merged.complaint.take().or(facts.complaint.clone());
        merged.has_lost_brokers |= facts.has_lost_brokers;
        let refused = facts.group_trouble.as_ref();
        merged.group_trouble = merged.group_trouble.take().or(refused.cloned());
        merged.held_back += facts.held_back;
        let trouble = facts.registry_trouble.as_ref();
        merged.registry_trouble = merged.registry_trouble.take().or(trouble.cloned());
        let trouble = facts.store_trouble.as_ref();
        merged.store_trouble = merged.store_trouble.take().or(trouble.cloned());
        for partition in &facts.partitions {
            let key = (partition.topic.clone(), partition.partition);
            let known = partitions.entry(key).or_default();
            known.topic.clone_from(&partition.topic);
            known.partition = partition.partition;
            known.start = known.start.or(partition.start);
            known.committed = known.committed.or(partition.committed);
            if partition.worker.is_some() {
                let PartitionFacts {
                    start, committed, ..
                } = *known;
                *known = PartitionFacts {
                    start,
                    committed,
                    ..partition.clone()
                };
            }
        }
    }
    merged.held_back = merged.held_back.max(merged.first.peers_held_back as u64);
    merged.partitions = partitions.into_values().collect();
    merged
}

fn add(sum: &mut BTreeMap<String, u64>, of: &BTreeMap<String, u64>) {
    for (key, count) in of {
        *sum.entry(key.clone()).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_joined_of_what_each_process_knows() {
        let known = PartitionFacts {
            topic: "t".to_owned(),
            partition: 3,
            ..PartitionFacts::default()
        };
        let committer = ProcessFacts {
            partitions: vec![PartitionFacts {
                start: Some(5),
                committed: Some(70),
                ..known.clone()
            }],
            stage: Stage::Running,
            ..ProcessFacts::default()
        };
        let reader = ProcessFacts {
            process: 1,
            partitions: vec![PartitionFacts {
                next: Some(90),
                end: Some(100),
                worker: Some(1),
                ..known.clone()
            }],
            dedup_entries: 7,
            held_back: 3,
            registry_trouble: Some("refused".to_owned()),
            store_trouble: Some("no answer".to_owned()),
            ..ProcessFacts::default()
        };
        for order in [[0, 1], [1, 0]] {
            let facts = order.map(|process| match process {
                0 => (0, committer.clone()),
                _ => (1, reader.clone()),
            });
            let merged = merge(&facts.into());
            let partition = PartitionFacts {
                start: Some(5),
                committed: Some(70),
                next: Some(90),
                end: Some(100),
                worker: Some(1),
                ..known.clone()
            };
            assert_eq!(merged.partitions, [partition]);
            assert_eq!(merged.stage, Stage::Starting, "one of them is");
            assert_eq!(merged.dedup_entries, 7);
            assert_eq!(merged.held_back, 3);
            assert_eq!(merged.registry_trouble.as_deref(), Some("refused"));
            assert_eq!(merged.store_trouble.as_deref(), Some("no answer"));
        }
    }
}
