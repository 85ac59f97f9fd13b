//! Fakes of the ports, for runs of the whole dataflow without a connector.

#![allow(dead_code, unused_imports, reason = "each test uses its own part")]

mod topic;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use strandline_operators::clock::Clock;
use strandline_operators::context::{Context, WorkerContext};
use strandline_operators::control::control;
use strandline_operators::credit::Budget;
use strandline_operators::dedup::expiry::Retention;
use strandline_operators::dedup::hash::hash_string;
use strandline_operators::dedup::memory_store::MemoryIdStore;
use strandline_operators::dedup::recover::recover;
use strandline_operators::dedup::shares::IdsByShare;
use strandline_operators::flow::{DedupState, Ports, bronze};
use strandline_operators::io::{
    AssignedPartition, Committed, DataFileWriter, DeadLetterTopic, FileKey, Files, Log, Polled,
    StoredId, Table, TableColumns, TableIndex, WrittenFile,
};
use strandline_operators::job::JobSettings;
use strandline_operators::observed::Observed;
use strandline_operators::partitions::WorkerPartitions;
use strandline_operators::progress::{EpochCommit, Progress};
use strandline_operators::record::{DeadLetter, RawBatch, RawRecord, Span, TopicPartition};
use strandline_operators::schema::{AddedColumn, bronze_schema, dead_letter_schema};
use strandline_operators::time::{Epoch, EventTime, IngestTime};
use strandline_operators::wake::{Mailbox, Signal};
use strandline_operators::{Error, Result};
use timely::dataflow::ProbeHandle;

pub use topic::{Expected, Record, Seeded, Topic, generate, judge};

pub struct FakeLog {
    assigned: Vec<AssignedPartition>,
    waiting: Vec<(TopicPartition, i64, VecDeque<Record>, i64, bool)>,
    turn: usize,
    batch_records: usize,
}

impl FakeLog {
    pub fn new(
        topic: &Topic,
        progress: &Progress,
        worker: usize,
        peers: usize,
        batch_records: usize,
    ) -> FakeLog {
        let (mut assigned, mut waiting) = (Vec::new(), Vec::new());
        for (partition, (records, end)) in topic.partitions.iter().enumerate() {
            if partition % peers != worker {
                continue;
            }
            let source = TopicPartition::new("t", partition as i32);
            let known = progress.partition(&source);
            let start = known.map_or(0, |p| p.next);
            let max_event_time = known.and_then(|p| p.max_event_time);
            assigned.push(AssignedPartition {
                source: source.clone(),
                start,
                end_at_start: *end,
                max_event_time,
            });
            let rest: VecDeque<Record> = records
                .iter()
                .filter(|r| r.offset >= start)
                .cloned()
                .collect();
            waiting.push((source, start, rest, *end, false));
        }
        FakeLog {
            assigned,
            waiting,
            turn: worker,
            batch_records,
        }
    }
}

impl Log for FakeLog {
    fn partitions(&self) -> &[AssignedPartition] {
        &self.assigned
    }

    fn poll(&mut self, max_records: usize, budget: &Budget) -> Result<Polled> {
        if !budget.has_room() {
            return Ok(Polled::Nothing);
        }
        for _ in 0..self.waiting.len() {
            self.turn += 1;
            let place = self.turn % self.waiting.len();
            let (source, start, records, end, said) = &mut self.waiting[place];
            if records.is_empty() {
                if !*said {
                    *said = true;
                    return Ok(Polled::EndOfPartition {
                        source: source.clone(),
                        next: *end,
                    });
                }
                continue;
            }
            let take = records.len().min(self.batch_records).min(max_records);
            let mut arena = Vec::new();
            let mut raw = Vec::new();
            for record in records.drain(..take) {
                let value = record.value.map(|value| {
                    let span = Span {
                        start: arena.len() as u32,
                        end: (arena.len() + value.len()) as u32,
                    };
                    arena.extend(value);
                    span
                });
                raw.push(RawRecord {
                    offset: record.offset,
                    timestamp: Some(record.timestamp),
                    key: None,
                    value,
                });
            }
            let next = raw.last().map_or(*start, |r| r.offset + 1);
            let batch = RawBatch {
                source: source.clone(),
                start: std::mem::replace(start, next),
                next,
                leader_epoch: None,
                received_at: EventTime::now(),
                headers: None,
                credit: budget.take(arena.len() as u64),
                arena: Bytes::from(arena),
                records: raw,
            };
            return Ok(Polled::Batch(batch));
        }
        Ok(Polled::Nothing)
    }

    fn end_offsets(&self) -> Vec<(TopicPartition, i64)> {
        self.waiting
            .iter()
            .map(|(source, _, _, end, _)| (source.clone(), *end))
            .collect()
    }

    fn commit_group_offsets(&mut self, _offsets: &[(TopicPartition, i64)]) {}
}

/// A row of the fake table: partition, offset, id, late.
pub type Row = (i32, i64, String, bool);

/// Everything that is durable.
#[derive(Debug)]
pub struct Store {
    pub progress: Progress,
    pub commits: Vec<EpochCommit>,
    pub letters: Vec<DeadLetter>,
    pub flushed: usize,
}

impl Store {
    pub fn new(settings: &JobSettings) -> Arc<Mutex<Store>> {
        let progress = Progress::new(&settings.name, "uuid", 42, &settings.fingerprint());
        Arc::new(Mutex::new(Store {
            progress,
            commits: Vec::new(),
            letters: Vec::new(),
            flushed: 0,
        }))
    }

    /// The landed rows, in the order of commits.
    pub fn rows(&self) -> Vec<Row> {
        self.rows_of(TableIndex::PRIMARY)
    }

    /// The rows of one table, in the order of commits.
    pub fn rows_of(&self, table: TableIndex) -> Vec<Row> {
        let files = self.commits.iter().flat_map(|c| &c.files);
        let of_table = files.filter(|f| f.table == table);
        of_table
            .flat_map(|f| serde_json::from_str::<Vec<Row>>(&f.description).expect("rows"))
            .collect()
    }
}

/// The columns that tables are given while a run goes on, and the texts that rows have in them.
#[derive(Debug, Default)]
pub struct FakeColumns {
    /// In the order in which they were added.
    pub added: Mutex<Vec<AddedColumn>>,
    /// By partition and offset; of the primary table.
    pub texts: Mutex<BTreeMap<(i32, i64), String>>,
}

impl FakeColumns {
    fn note_texts(&self, rows: &RecordBatch) {
        let column = |name: &str| rows.column_by_name(name).expect("column");
        let partitions = column("kafka_partition").as_primitive::<Int32Type>();
        let offsets = column("kafka_offset").as_primitive::<Int64Type>();
        let added = self.added.lock().expect("lock");
        let mut noted = self.texts.lock().expect("lock");
        for column in added.iter() {
            let array = rows.column_by_name(&column.name);
            let Some(texts) = array.and_then(|array| array.as_string_opt::<i32>()) else {
                continue;
            };
            for row in (0..rows.num_rows()).filter(|&row| texts.is_valid(row)) {
                let place = (partitions.value(row), offsets.value(row));
                noted.insert(place, texts.value(row).to_owned());
            }
        }
    }
}

impl TableColumns for FakeColumns {
    fn add(&self, columns: &[AddedColumn]) -> Result<Vec<AddedColumn>> {
        let mut added = self.added.lock().expect("lock");
        for column in columns {
            if !added.iter().any(|there| there.name == column.name) {
                added.push(column.clone());
            }
        }
        let is_asked =
            |there: &&AddedColumn| columns.iter().any(|column| column.name == there.name);
        Ok(added.iter().filter(is_asked).cloned().collect())
    }
}

pub struct FakeFiles {
    settings: JobSettings,
    columns: Option<Arc<FakeColumns>>,
}

impl Files for FakeFiles {
    fn schema(&self, table: TableIndex) -> SchemaRef {
        match table {
            TableIndex::DEAD_LETTERS => dead_letter_schema(),
            _ => {
                let mut settings = self.settings.clone();
                if let Some(columns) = &self.columns {
                    settings.add_columns(&columns.added.lock().expect("lock"));
                }
                bronze_schema(&settings.columns)
            }
        }
    }

    fn open(&self, key: FileKey, _columns: &SchemaRef) -> Result<Box<dyn DataFileWriter>> {
        Ok(Box::new(FakeFile {
            key,
            rows: Vec::new(),
            count: 0,
            columns: self.columns.clone(),
        }))
    }
}

struct FakeFile {
    key: FileKey,
    rows: Vec<Row>,
    count: u64,
    columns: Option<Arc<FakeColumns>>,
}

impl DataFileWriter for FakeFile {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.count += rows.num_rows() as u64;
        if self.key.table == TableIndex::DEAD_LETTERS {
            return Ok(());
        }
        if let Some(columns) = &self.columns
            && self.key.table == TableIndex::PRIMARY
        {
            columns.note_texts(rows);
        }
        let column = |name: &str| rows.column_by_name(name).expect("column");
        let ids = column("event_id").as_string::<i32>();
        let late = column("is_late_arrival").as_boolean();
        let partitions = column("kafka_partition").as_primitive::<Int32Type>();
        let offsets = column("kafka_offset").as_primitive::<Int64Type>();
        assert_eq!(column("ingest_epoch").null_count(), 0);
        for i in 0..rows.num_rows() {
            self.rows.push((
                partitions.value(i),
                offsets.value(i),
                ids.value(i).to_owned(),
                late.value(i),
            ));
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.count
    }

    fn close(self: Box<Self>) -> Result<WrittenFile> {
        let description = serde_json::to_string(&self.rows).expect("json");
        Ok(WrittenFile {
            table: self.key.table,
            description,
            rows: self.count,
            bytes: 1,
        })
    }
}

pub struct FakeTable {
    store: Arc<Mutex<Store>>,
    /// The commit at which it fails, if any.
    fail_at: Option<usize>,
}

impl Table for FakeTable {
    fn commit(&mut self, epoch: &EpochCommit) -> Result<Committed> {
        let mut store = self.store.lock().expect("lock");
        if self.fail_at == Some(store.commits.len()) {
            return Err(Error::unreachable("the catalog is away"));
        }
        for (source, delta) in &epoch.partitions {
            let flushed: BTreeSet<i64> = store.letters[..store.flushed]
                .iter()
                .filter(|l| l.source == *source && (delta.start..delta.next).contains(&l.offset))
                .map(|l| l.offset)
                .collect();
            if flushed.len() as u64 != delta.account.dead_letters {
                return Err(Error::internal(
                    "an epoch was committed before its dead letters were flushed",
                ));
            }
        }
        store.progress.advance(epoch)?;
        store.commits.push(epoch.clone());
        Ok(Committed {
            snapshot_id: Some(1),
            is_behind: false,
        })
    }

    fn catch_up(&mut self) -> Result<bool> {
        Ok(false)
    }

    fn settle(&mut self) -> Result<()> {
        Ok(())
    }
}

struct FakeLetters {
    store: Arc<Mutex<Store>>,
}

impl DeadLetterTopic for FakeLetters {
    fn send(&mut self, letters: &[DeadLetter]) -> Result<()> {
        self.store
            .lock()
            .expect("lock")
            .letters
            .extend_from_slice(letters);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let mut store = self.store.lock().expect("lock");
        store.flushed = store.letters.len();
        Ok(())
    }
}

/// How a run is set up.
#[derive(Clone)]
pub struct Setup {
    pub settings: JobSettings,
    pub topic: Topic,
    pub workers: usize,
    pub batch_records: usize,
    pub fail_at: Option<usize>,
    /// What adds columns, when the job's columns follow its schemas.
    pub columns: Option<Arc<FakeColumns>>,
}

/// Runs the job until it has caught up, or until it fails. Returns the failure.
pub fn run(setup: Setup, store: &Arc<Mutex<Store>>) -> Option<Error> {
    let progress = {
        let mut store = store.lock().expect("lock");
        store.progress.claim();
        store.flushed = store.letters.len();
        store.progress.clone()
    };
    let failure: Arc<Mutex<Option<Error>>> = Arc::default();
    let (failed, store) = (Arc::clone(&failure), Arc::clone(store));
    let config = match setup.workers {
        1 => timely::Config::thread(),
        n => timely::Config::process(n),
    };
    let guards = timely::execute(config, move |worker| {
        let (index, peers) = (worker.index(), worker.peers());
        let settings = Arc::new(setup.settings.clone());
        let start = IngestTime {
            epoch: Epoch::first_of(progress.generation()),
            watermark: progress.watermark.map_or(0, |w| w.to_coordinate()),
        };
        let clock = (index == 0).then(|| {
            RefCell::new(Clock::new(
                settings.commit,
                start,
                peers,
                true,
                Instant::now(),
            ))
        });
        let failed = Arc::clone(&failed);
        let on_failure = Arc::clone(&failed);
        let context: Context = Rc::new(WorkerContext {
            host: Arc::new(strandline_operators::host::Machine),
            worker: index as u32,
            peers: peers as u32,
            start,
            budget: Budget::new(1 << 20),
            on_failure: Arc::new(move |error| {
                on_failure.lock().expect("lock").get_or_insert(error);
            }),
            observed: Arc::new(Observed::new()),
            stop: Arc::new(AtomicBool::new(false)),
            durable: ProbeHandle::new(),
            partitions: RefCell::new(WorkerPartitions::new(settings.watermark)),
            latency: RefCell::default(),
            ticks: Mailbox::default(),
            report: Mailbox::default(),
            clock,
            finished: Signal::default(),
            settings: Arc::clone(&settings),
        });
        let ports = Ports {
            log: Box::new(FakeLog::new(
                &setup.topic,
                &progress,
                index,
                peers,
                setup.batch_records,
            )),
            files: Arc::new(FakeFiles {
                settings: (*settings).clone(),
                columns: setup.columns.clone(),
            }),
            table: (index == 0).then(|| -> Box<dyn Table> {
                Box::new(FakeTable {
                    store: Arc::clone(&store),
                    fail_at: setup.fail_at,
                })
            }),
            schemas: None,
            columns: setup
                .columns
                .clone()
                .map(|columns| -> Arc<dyn TableColumns> { columns }),
            dead_letter_topic: Some(Box::new(FakeLetters {
                store: Arc::clone(&store),
            })),
            dedup: dedup(&setup, &store.lock().expect("lock"), index),
        };
        control(worker, &context);
        bronze(worker, &context, ports).expect("a job that fits");
        let deadline = Instant::now() + Duration::from_secs(60);
        while !context.durable.done() && failed.lock().expect("lock").is_none() {
            assert!(
                Instant::now() < deadline,
                "waited 60 s for the run to drain"
            );
            worker.step_or_park(Some(Duration::from_millis(1)));
        }
        context.finished.set(true);
        if failed.lock().expect("lock").is_some() {
            // The process would have ended; here the dataflows are thrown away instead.
            for dataflow in worker.installed_dataflows() {
                worker.drop_dataflow(dataflow);
            }
        }
    })
    .expect("workers");
    for result in guards.join() {
        result.expect("worker");
    }
    let mut failure = failure.lock().expect("lock");
    failure.take()
}

/// Deduplication state as a restart on an empty disk has it: read back from the fake table.
pub fn dedup(setup: &Setup, store: &Store, worker: usize) -> Option<DedupState> {
    let retention = Retention::of(&setup.settings)?;
    let mut shares = IdsByShare::new(worker..worker + 1, setup.workers);
    for (_, _, id, _) in store.rows() {
        shares.push(StoredId {
            bucket: u32::MAX,
            hash: hash_string(&id, store.progress.hash_seed),
        });
    }
    let state = Arc::new(MemoryIdStore::default());
    let judge = recover(
        &*state,
        worker,
        1 << 20,
        retention.ttl_hours(),
        None,
        shares.take(0, 0).map(Ok),
        None,
    )
    .expect("recover");
    Some(DedupState {
        store: state,
        judge,
        hash_seed: store.progress.hash_seed,
        metrics: Arc::default(),
    })
}
