//! The topic as one worker of a life reads it, and the topic of its dead letters.

use std::collections::BTreeMap;

use bytes::Bytes;
use strandline_operators::credit::Budget;
use strandline_operators::io::{AssignedPartition, DeadLetterTopic, Log, Polled, Topics};
use strandline_operators::job::OnGap;
use strandline_operators::positions::Position;
use strandline_operators::record::{DeadLetter, RawBatch, RawRecord, Span, TopicPartition};
use strandline_operators::time::EventTime;
use strandline_operators::{Error, Result};

use crate::broker::TOPIC_ID;
use crate::fakes::Record;
use crate::reading::Grounds;
use crate::world::{KAFKA, Mutation, World};

/// Polls that find an offset gone that retention took: one in so many. The others read what the client has fetched
/// before.
const GONE_ODDS: u64 = 6;

/// Polls that hear of it that another topic has the name: one in so many. The others read on in the new log, as
/// clients do.
const HEARS_ODDS: u64 = 60;

/// Questions for the topic's id that nobody answers: one in so many.
const UNANSWERED_ODDS: u64 = 20;

/// Questions for the id of another topic that are answered with that there is none: one in so many.
const UNKNOWN_ODDS: u64 = 8;

struct Reading {
    source: TopicPartition,
    /// The offset that comes next in the account.
    next: i64,
    /// What the broker is asked for first.
    read_from: i64,
    /// The end that was told of.
    told: Option<i64>,
}

/// The topic, as one worker reads it.
pub struct SimLog {
    world: World,
    life: usize,
    on_gap: OnGap,
    /// Of the topic that the positions are of.
    topic_id: Option<String>,
    assigned: Vec<AssignedPartition>,
    reading: Vec<Reading>,
}

impl SimLog {
    pub fn new(
        world: World,
        life: usize,
        on_gap: OnGap,
        topic_id: Option<String>,
        positions: &[Position],
    ) -> SimLog {
        let reading = positions.iter().map(|position| Reading {
            source: position.assigned.source.clone(),
            next: position.assigned.start,
            read_from: position.read_from,
            told: None,
        });
        SimLog {
            reading: reading.collect(),
            assigned: positions.iter().map(|p| p.assigned.clone()).collect(),
            world,
            life,
            on_gap,
            topic_id,
        }
    }
}

impl Log for SimLog {
    fn partitions(&self) -> &[AssignedPartition] {
        &self.assigned
    }

    fn poll(&mut self, max_records: usize, budget: &Budget) -> Result<Polled> {
        let mut world = self.world.lock();
        let is_away = world.is_away(KAFKA);
        if is_away || !budget.has_room() || self.reading.is_empty() || world.seeded.below(4) == 0 {
            return Ok(Polled::Nothing);
        }
        let place = world.seeded.below(self.reading.len() as u64) as usize;
        let reading = &mut self.reading[place];
        let partition = reading.source.partition as usize;
        let from = reading.next.max(reading.read_from);
        if Some(world.broker.topic_id()) != self.topic_id.as_deref()
            && world.mutation != Some(Mutation::TopicIdIgnored)
            && (from > world.broker.end(partition) || world.seeded.below(HEARS_ODDS) == 0)
        {
            world.grounds.insert(self.life, Grounds::OtherTopic);
            return Err(Error::refused("the topic was deleted and created again"));
        }
        if from < world.broker.log_start(partition) && world.seeded.below(GONE_ODDS) == 0 {
            let gone = format!("offset {from} of {} is not on the broker", reading.source);
            return Err(match self.on_gap {
                OnGap::Record => Error::unreachable(gone),
                OnGap::Stop => {
                    world.grounds.insert(self.life, Grounds::Lost);
                    Error::refused(gone)
                }
            });
        }
        let most = (1 + world.seeded.below(24) as usize).min(max_records);
        let records = world.broker.fetch(partition, from, most);
        let Some(last) = records.last() else {
            let end = world.broker.end(partition);
            if reading.told == Some(end) || end < reading.next {
                return Ok(Polled::Nothing);
            }
            reading.told = Some(end);
            reading.next = end;
            return Ok(Polled::EndOfPartition {
                source: reading.source.clone(),
                next: end,
            });
        };
        let next = last.offset + 1;
        let (arena, records) = pack(records);
        Ok(Polled::Batch(RawBatch {
            source: reading.source.clone(),
            start: std::mem::replace(&mut reading.next, next),
            next,
            leader_epoch: None,
            received_at: EventTime(world.wall_micros),
            headers: None,
            credit: budget.take(arena.len() as u64),
            arena,
            records,
        }))
    }

    fn end_offsets(&self) -> Vec<(TopicPartition, i64)> {
        let world = self.world.lock();
        let end = |r: &Reading| world.broker.end(r.source.partition as usize);
        self.reading
            .iter()
            .map(|r| (r.source.clone(), end(r)))
            .collect()
    }

    fn commit_group_offsets(&mut self, _offsets: &[(TopicPartition, i64)]) {}
}

/// Records as a batch has them.
fn pack(records: Vec<Record>) -> (Bytes, Vec<RawRecord>) {
    let mut arena = Vec::new();
    let mut raw = Vec::with_capacity(records.len());
    for record in records {
        let value = record.value.map(|value| {
            let start = arena.len() as u32;
            arena.extend(value);
            let end = arena.len() as u32;
            Span { start, end }
        });
        raw.push(RawRecord {
            offset: record.offset,
            timestamp: Some(record.timestamp),
            key: None,
            value,
        });
    }
    (Bytes::from(arena), raw)
}

/// Who asks for the topic's id before a commit. Not everybody is answered.
pub struct SimTopics {
    pub world: World,
    pub life: usize,
}

impl Topics for SimTopics {
    fn ids(&mut self, names: &[&str]) -> Result<BTreeMap<String, Option<String>>> {
        let mut world = self.world.lock();
        if world.is_away(KAFKA) || world.seeded.below(UNANSWERED_ODDS) == 0 {
            return Err(Error::unreachable("no broker answers"));
        }
        // Not every broker knows a topic that was just created.
        if world.broker.topic_id() != TOPIC_ID && world.seeded.below(UNKNOWN_ODDS) == 0 {
            return Ok(BTreeMap::new());
        }
        let id = match world.mutation {
            Some(Mutation::TopicIdIgnored | Mutation::CommitNotConfirmed) => TOPIC_ID,
            _ => world.broker.topic_id(),
        };
        if id != TOPIC_ID {
            world.grounds.insert(self.life, Grounds::OtherTopic);
        }
        let told = |name: &&str| ((*name).to_owned(), Some(id.to_owned()));
        Ok(names.iter().map(told).collect())
    }
}

/// The dead-letter topic. What is not flushed when its process dies may never arrive.
pub struct SimLetters {
    pub world: World,
    pub unflushed: Vec<DeadLetter>,
}

impl DeadLetterTopic for SimLetters {
    fn send(&mut self, letters: &[DeadLetter]) -> Result<()> {
        self.unflushed.extend_from_slice(letters);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let mut world = self.world.lock();
        if world.mutation != Some(Mutation::LettersNotFlushed) {
            world.letters.append(&mut self.unflushed);
        }
        Ok(())
    }
}
