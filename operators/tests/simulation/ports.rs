//! The ports of one life of the job, into the simulated world.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use strandline_operators::credit::Budget;
use strandline_operators::failpoint::{Failpoint, Rule};
use strandline_operators::host::{Host, Step, Task};
use strandline_operators::io::{
    AssignedPartition, DataFileWriter, DeadLetterTopic, FileKey, Files, IdStore, IdsByBucket, Log,
    Polled, Scanned, StateMarker, StoredId, TableIndex, WrittenFile,
};
use strandline_operators::job::JobSettings;
use strandline_operators::record::{DeadLetter, RawBatch, RawRecord, Span, TopicPartition};
use strandline_operators::schema::{bronze_schema, dead_letter_schema};
use strandline_operators::time::EventTime;
use strandline_operators::{Error, Result};

use crate::baton::{Said, Thread, first_turn, give_way, next_turn};
use crate::world::{Mutation, Row, World};

/// Errors at failpoints: one in so many passages.
const FAILPOINT_ODDS: u64 = 4000;

/// The machine of one life.
#[derive(Clone, Debug)]
pub struct SimHost {
    pub world: World,
    pub life: usize,
}

thread_local! {
    /// Whether the thread may end in the middle of something. A worker may not: timely is around it.
    static MAY_GIVE_WAY: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Says that this thread is none of timely's.
pub fn may_give_way() {
    MAY_GIVE_WAY.set(true);
}

impl Host for SimHost {
    fn now(&self) -> Instant {
        self.world.now()
    }

    fn wall_clock(&self) -> EventTime {
        EventTime(self.world.lock().wall_micros)
    }

    fn sleep(&self, duration: Duration) {
        give_way(Said::Sleeps(duration));
    }

    fn start(&self, name: String, mut task: Box<dyn Task>) -> Result<()> {
        let thread = Thread::spawn(name, move || {
            may_give_way();
            if !first_turn() {
                return;
            }
            loop {
                match task.step(false) {
                    Step::Worked => give_way(Said::Worked),
                    Step::Idle => give_way(Said::Idle),
                    Step::Ended => return,
                }
            }
        });
        self.world.lock().newborn.push((self.life, thread));
        Ok(())
    }

    fn reached(&self, point: Failpoint) -> Result<()> {
        if MAY_GIVE_WAY.get() {
            if self.world.below(2) == 0 {
                give_way(Said::Worked);
            }
        } else if self.world.below(6) == 0 {
            // One that is killed here finishes its step: nothing leaves it any more.
            next_turn(Said::Worked);
        }
        let what = || format!("life {}: error at {}", self.life, point.name());
        match self.world.fault(FAILPOINT_ODDS, what) {
            true => Err(Error::unreachable(format!("fault at {}", point.name()))),
            false => Ok(()),
        }
    }

    fn in_force(&self, rule: Rule) -> bool {
        match rule {
            Rule::EpochsInOrder => self.world.lock().mutation != Some(Mutation::DedupOrderRelaxed),
        }
    }
}

struct Reading {
    assigned: AssignedPartition,
    next: i64,
    /// The end that was told of.
    told: Option<i64>,
}

/// The topic, as one worker reads it.
pub struct SimLog {
    world: World,
    assigned: Vec<AssignedPartition>,
    reading: Vec<Reading>,
}

impl SimLog {
    pub fn new(world: World, assigned: Vec<AssignedPartition>) -> SimLog {
        let reading = assigned
            .iter()
            .map(|assigned| Reading {
                next: assigned.start,
                assigned: assigned.clone(),
                told: None,
            })
            .collect();
        SimLog {
            world,
            assigned,
            reading,
        }
    }
}

impl Log for SimLog {
    fn partitions(&self) -> &[AssignedPartition] {
        &self.assigned
    }

    fn poll(&mut self, max_records: usize, budget: &Budget) -> Result<Polled> {
        let mut world = self.world.lock();
        if !budget.has_room() || self.reading.is_empty() || world.seeded.below(4) == 0 {
            return Ok(Polled::Nothing);
        }
        let place = world.seeded.below(self.reading.len() as u64) as usize;
        let reading = &mut self.reading[place];
        let partition = reading.assigned.source.partition as usize;
        let most = (1 + world.seeded.below(24) as usize).min(max_records);
        let produced = world.produced[partition];
        let records: Vec<_> = world.topic.partitions[partition].0[..produced]
            .iter()
            .filter(|r| r.offset >= reading.next)
            .take(most)
            .cloned()
            .collect();
        let Some(last) = records.last() else {
            let end = world.end(partition);
            if reading.told == Some(end) {
                return Ok(Polled::Nothing);
            }
            reading.told = Some(end);
            reading.next = end;
            return Ok(Polled::EndOfPartition {
                source: reading.assigned.source.clone(),
                next: end,
            });
        };
        let next = last.offset + 1;
        let mut arena = Vec::new();
        let records = records
            .into_iter()
            .map(|record| {
                let value = record.value.map(|value| {
                    let start = arena.len() as u32;
                    arena.extend(value);
                    let end = arena.len() as u32;
                    Span { start, end }
                });
                RawRecord {
                    offset: record.offset,
                    timestamp: Some(record.timestamp),
                    key: None,
                    value,
                }
            })
            .collect();
        Ok(Polled::Batch(RawBatch {
            source: reading.assigned.source.clone(),
            start: std::mem::replace(&mut reading.next, next),
            next,
            leader_epoch: None,
            received_at: EventTime(world.wall_micros),
            headers: None,
            credit: budget.take(arena.len() as u64),
            arena: Bytes::from(arena),
            records,
        }))
    }

    fn end_offsets(&self) -> Vec<(TopicPartition, i64)> {
        let world = self.world.lock();
        let end = |r: &Reading| world.end(r.assigned.source.partition as usize);
        self.reading
            .iter()
            .map(|r| (r.assigned.source.clone(), end(r)))
            .collect()
    }

    fn commit_group_offsets(&mut self, _offsets: &[(TopicPartition, i64)]) {}
}

/// The store of data files: a file's description is its rows.
pub struct SimFiles {
    pub settings: JobSettings,
}

impl Files for SimFiles {
    fn schema(&self, table: TableIndex) -> SchemaRef {
        match table {
            TableIndex::DEAD_LETTERS => dead_letter_schema(),
            _ => bronze_schema(&self.settings.columns),
        }
    }

    fn open(&self, key: FileKey, _columns: &SchemaRef) -> Result<Box<dyn DataFileWriter>> {
        Ok(Box::new(SimFile {
            key,
            rows: Vec::new(),
        }))
    }
}

struct SimFile {
    key: FileKey,
    rows: Vec<Row>,
}

impl DataFileWriter for SimFile {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let column = |name: &str| rows.column_by_name(name).expect("column");
        let partitions = column("kafka_partition").as_primitive::<Int32Type>();
        let offsets = column("kafka_offset").as_primitive::<Int64Type>();
        let primary = self.key.table == TableIndex::PRIMARY;
        for i in 0..rows.num_rows() {
            let mut row = Row {
                partition: partitions.value(i),
                offset: offsets.value(i),
                id: String::new(),
                late: false,
                event_time: 0,
                watermark: None,
                epoch: self.key.epoch.0 as i64,
            };
            if primary {
                let time = |name| column(name).as_primitive::<TimestampMicrosecondType>();
                let watermarks = time("ingest_watermark");
                row.id = column("event_id").as_string::<i32>().value(i).to_owned();
                row.late = column("is_late_arrival").as_boolean().value(i);
                row.event_time = time("event_time").value(i);
                row.watermark = watermarks.is_valid(i).then(|| watermarks.value(i));
                let epochs = column("ingest_epoch").as_primitive::<Int64Type>();
                assert_eq!(epochs.value(i), row.epoch, "the epoch of a row");
            }
            self.rows.push(row);
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.rows.len() as u64
    }

    fn close(self: Box<Self>) -> Result<WrittenFile> {
        Ok(WrittenFile {
            table: self.key.table,
            description: serde_json::to_string(&self.rows).expect("json"),
            rows: self.rows.len() as u64,
            bytes: 1,
        })
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

/// A store whose marker may be told to lie.
pub struct SimStore {
    pub world: World,
    pub store: Arc<dyn IdStore>,
}

impl IdStore for SimStore {
    fn marker(&self) -> Option<StateMarker> {
        self.store.marker()
    }

    fn contains(&self, keys: &[StoredId], held: &mut Vec<bool>) -> Result<()> {
        self.store.contains(keys, held)
    }

    fn ingest(&self, ids: &IdsByBucket, marker: Option<StateMarker>) -> Result<()> {
        let early = self.world.lock().mutation == Some(Mutation::MarkerEarly);
        let marker = marker.map(|marker| match early {
            true => StateMarker {
                epoch: marker.epoch.next(),
                ..marker
            },
            false => marker,
        });
        self.store.ingest(ids, marker)
    }

    fn expire_below(&self, bucket: u32) -> Result<()> {
        self.store.expire_below(bucket)
    }

    fn buckets(&self) -> Result<Vec<u32>> {
        self.store.buckets()
    }

    fn scan(&self, from: StoredId, at_most: usize) -> Result<Scanned> {
        self.store.scan(from, at_most)
    }
}
