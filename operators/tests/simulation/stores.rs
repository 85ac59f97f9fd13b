//! The stores of data files, of pending files and of ids: slow at times, and answers get lost.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::SchemaRef;
use strandline_operators::io::{
    DataFileWriter, FileKey, Files, IdStore, IdsByBucket, Scanned, StateMarker, StoredId,
    TableIndex, WrittenFile,
};
use strandline_operators::job::JobSettings;
use strandline_operators::landing::pending::Pending;
use strandline_operators::landing::table::PendingFiles;
use strandline_operators::schema::{bronze_schema, dead_letter_schema};
use strandline_operators::{Error, Result};

use crate::baton::{Said, give_way};
use crate::world::{Mutation, Row, World};

/// Calls to a store of files that go wrong: one in so many.
const STORE_ODDS: u64 = 30;

/// Calls to a store that take long: one in so many, and while the stores are slow.
const SLOW_ODDS: u64 = 60;
const SLOW_ODDS_WHILE_SLOW: u64 = 2;

/// How long such a call takes at most, in milliseconds.
const SLOW_MS_MAX: u64 = 900;

/// Lets time pass in a call to a store, now and then; whether it did. No call is made on a worker, which may not
/// wait.
fn take_time(world: &World) -> bool {
    let mut state = world.lock();
    let odds = match state.is_slow() {
        true => SLOW_ODDS_WHILE_SLOW,
        false => SLOW_ODDS,
    };
    if state.seeded.below(odds) > 0 {
        return false;
    }
    let how_long = Duration::from_millis(1 + state.seeded.below(SLOW_MS_MAX));
    state.mishaps.slow_calls += 1;
    drop(state);
    give_way(Said::Sleeps(how_long));
    true
}

/// Whether a call to a store of files goes wrong.
fn goes_wrong(world: &World, what: impl FnOnce() -> String) -> bool {
    let fault = world.fault(STORE_ODDS, what);
    if fault {
        world.lock().mishaps.of_stores += 1;
    }
    fault
}

/// The store of data files: a file's description is its path.
pub struct SimFiles {
    pub world: World,
    pub life: usize,
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
        take_time(&self.world);
        Ok(Box::new(SimFile {
            world: self.world.clone(),
            life: self.life,
            key,
            rows: Vec::new(),
        }))
    }
}

struct SimFile {
    world: World,
    life: usize,
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
        take_time(&self.world);
        let path = format!("data-{}", self.world.lock().new_id());
        let written = WrittenFile {
            table: self.key.table,
            description: path.clone(),
            rows: self.rows.len() as u64,
            bytes: 1,
        };
        let (life, world) = (self.life, &self.world);
        if !goes_wrong(world, || format!("life {life}: the answer to {path}")) {
            world.lock().data_files.insert(path, self.rows);
            take_time(world);
            return Ok(written);
        }
        let mut state = world.lock();
        let kind = state.seeded.below(4);
        let kinds = [
            "is that it failed",
            "is lost, half stored",
            "is lost, stored",
            "is lost, stored later",
        ];
        state.note(format!("        {}", kinds[kind as usize]));
        let mut rows = self.rows;
        match kind {
            0 => {}
            1 => {
                rows.truncate(rows.len() / 2);
                state.data_files.insert(path.clone(), rows);
            }
            2 => {
                state.data_files.insert(path.clone(), rows);
            }
            _ => state.late_data_files.push((path.clone(), rows)),
        }
        match state.mutation {
            Some(Mutation::StoreNotAsked) => Ok(written),
            _ => Err(Error::unreachable(format!(
                "nobody says that {path} is stored"
            ))),
        }
    }
}

/// The store of pending files.
pub struct SimPending {
    pub world: World,
    pub life: usize,
}

impl PendingFiles for SimPending {
    fn write(&self, pending: &Pending) -> Result<String> {
        take_time(&self.world);
        let place = format!("pending-{}", self.world.lock().new_id());
        let fault = goes_wrong(&self.world, || {
            format!("life {}: the answer to {place}", self.life)
        });
        let mut world = self.world.lock();
        if !fault || world.seeded.below(2) == 0 {
            world.pending_files.insert(place.clone(), pending.clone());
        }
        match fault {
            true => Err(Error::unreachable(format!(
                "nobody says that {place} is stored"
            ))),
            false => Ok(place),
        }
    }

    fn read(&self, place: &str) -> Result<Option<Pending>> {
        take_time(&self.world);
        let what = || format!("life {}: {place} cannot be read", self.life);
        if goes_wrong(&self.world, what) {
            return Err(Error::unreachable(format!("{place} cannot be read")));
        }
        let world = self.world.lock();
        let pending = world.pending_files.get(place).cloned();
        Ok(pending.map(|pending| match world.mutation {
            Some(Mutation::PendingIgnored) => Pending::new(&pending.job, pending.epoch),
            _ => pending,
        }))
    }

    fn delete(&self, place: &str) {
        let what = || format!("life {}: {place} is not deleted", self.life);
        if !goes_wrong(&self.world, what) {
            self.world.lock().pending_files.remove(place);
        }
    }
}

/// The ids of one worker's share. Its marker may be told to lie, and its look-ups to be cut short.
pub struct SimStore {
    pub world: World,
    pub store: Arc<dyn IdStore>,
}

impl IdStore for SimStore {
    fn marker(&self) -> Option<StateMarker> {
        self.store.marker()
    }

    fn contains(&self, keys: &[StoredId], held: &mut Vec<bool>) -> Result<()> {
        let took_long = take_time(&self.world);
        self.store.contains(keys, held)?;
        if took_long && self.world.lock().mutation == Some(Mutation::SlowLookupsGivenUp) {
            held.fill(false);
        }
        Ok(())
    }

    fn ingest(&self, ids: &IdsByBucket, marker: Option<StateMarker>) -> Result<()> {
        take_time(&self.world);
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
        take_time(&self.world);
        self.store.scan(from, at_most)
    }
}
