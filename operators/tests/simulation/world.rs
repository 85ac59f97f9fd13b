//! Everything outside of the engine: topic, tables, local disks, time, and what goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use strandline_operators::dedup::memory_store::MemoryIdStore;
use strandline_operators::io::{TableIndex, WrittenFile};
use strandline_operators::job::OnGap;
use strandline_operators::landing::pending::Pending;
use strandline_operators::landing::table::Append;
use strandline_operators::progress::Progress;
use strandline_operators::record::DeadLetter;

use crate::baton::Thread;
use crate::broker::{Broker, is_of_other_topic, source};
use crate::fakes::Seeded;
use crate::reading::Grounds;
use crate::topic::SPREAD_ID;

pub const PRIMARY: &str = "bronze.test";
pub const LETTERS: &str = "bronze.test_dead_letters";
pub const EVEN: &str = "bronze.test_even";
pub const THIRD: &str = "bronze.test_third";
/// What is away when no broker can be reached.
pub const KAFKA: &str = "kafka";
pub const SECONDARIES: [&str; 3] = [LETTERS, EVEN, THIRD];

/// A rule of the engine that is taken away, to see that the simulation notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The table accepts a commit on a version that it was not made for.
    FenceOff,
    /// Whoever claims does not roll the pending file forward.
    PendingIgnored,
    /// Owners judge epochs in any order.
    DedupOrderRelaxed,
    /// The state's marker says more than the state holds.
    MarkerEarly,
    /// An epoch commits without waiting for its dead letters.
    LettersNotFlushed,
    /// A data file counts as stored, whatever the store has said.
    StoreNotAsked,
    /// A look-up that takes long counts as one that has found nothing.
    SlowLookupsGivenUp,
    /// Reading begins behind what retention has taken, and the account says nothing of it.
    LossNotCounted,
    /// Nobody looks whether it is still the same topic.
    TopicIdIgnored,
    /// Nobody looks before a commit.
    CommitNotConfirmed,
    /// Readers see what transactions have not committed.
    UncommittedRead,
}

/// A row of a table.
#[derive(Clone, Debug)]
pub struct Row {
    pub partition: i32,
    pub offset: i64,
    pub id: String,
    pub late: bool,
    pub event_time: i64,
    pub watermark: Option<i64>,
    pub epoch: i64,
}

#[derive(Clone, Debug)]
pub struct Snapshot {
    pub parent: Option<i64>,
    pub sequence: i64,
    pub summary: BTreeMap<String, String>,
}

/// One version of a table.
#[derive(Clone, Debug)]
pub struct TableState {
    pub name: String,
    pub head: Option<i64>,
    pub sequence: i64,
    pub snapshots: BTreeMap<i64, Snapshot>,
    pub properties: BTreeMap<String, String>,
    pub files: Vec<WrittenFile>,
}

/// A commit that the network still carries.
pub struct InFlight {
    /// Who made it; `None` for another writer.
    pub life: Option<usize>,
    pub table: &'static str,
    pub head: Option<i64>,
    pub snapshot_id: i64,
    pub append: Append,
}

/// How often things went wrong that the engine must cope with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mishaps {
    /// Offsets that retention took before they were read.
    pub lost: u64,
    /// Lives that refused to go on, and had to.
    pub refusals: u64,
    /// Answers of the stores of files that were lost, or failures.
    pub of_stores: u64,
    /// Calls to a store that took long.
    pub slow_calls: u64,
}

pub struct State {
    pub seeded: Seeded,
    pub mutation: Option<Mutation>,
    /// Things that may still go wrong.
    pub faults_left: u32,
    pub trace: Vec<String>,
    pub turn: u64,
    /// A guarantee that was broken.
    pub violation: Option<String>,
    elapsed: Duration,
    pub wall_micros: i64,
    pub broker: Broker,
    /// Times that retention may still pass, and that the topic may be replaced.
    pub retentions_left: u32,
    pub replacements_left: u32,
    /// What the job's settings say of records that retention took.
    pub on_gap: OnGap,
    /// Lives that must still refuse the other topic before the operator gives back the right one.
    pub refusals_left: u64,
    /// That the operator has stopped every life: the id of a topic comes back only by hand, and whoever has read the
    /// other one meanwhile must not find it again.
    pub is_all_stopped: bool,
    /// Where the broker's logs began when a life asked, by partition.
    pub log_starts: BTreeMap<usize, Vec<i64>>,
    pub grounds: BTreeMap<usize, Grounds>,
    /// By partition, the ranges of offsets that were lost to the job.
    pub lost: Vec<Vec<(i64, i64)>>,
    /// Partitions of which something was lost after a life had begun to read them.
    pub lost_while_read: BTreeSet<i32>,
    /// By partition, the offsets of records whose ids have copies anywhere, and the number of the id.
    spread: BTreeMap<i32, Vec<(i64, usize)>>,
    pub tables: BTreeMap<&'static str, Arc<TableState>>,
    pub in_flight: Vec<InFlight>,
    /// The store of data files, by path, and what is still on its way there.
    pub data_files: BTreeMap<String, Vec<Row>>,
    pub late_data_files: Vec<(String, Vec<Row>)>,
    /// Until when the stores of files and ids are slow.
    slow_until: Duration,
    pub mishaps: Mishaps,
    /// Secondary tables, or Kafka, that cannot be reached, and until when.
    away: BTreeMap<&'static str, Duration>,
    pub pending_files: BTreeMap<String, Pending>,
    next_id: i64,
    /// Local disks, by the number of workers and the worker.
    pub stores: BTreeMap<(usize, usize), Arc<MemoryIdStore>>,
    /// What the dead-letter topic holds.
    pub letters: Vec<DeadLetter>,
    /// The generation that each life has claimed.
    pub generations: BTreeMap<usize, u32>,
    landed: BTreeSet<(i32, i64)>,
    ids: BTreeSet<String>,
    /// Threads that were started since the scheduler looked.
    pub newborn: Vec<(usize, Thread)>,
    pub commits: u64,
}

/// Shared by every thread of a simulation; only the one whose turn it is looks.
#[derive(Clone)]
pub struct World {
    state: Arc<Mutex<State>>,
    began: Instant,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}

impl World {
    pub fn new(seed: u64, broker: Broker, faults: u32, mutation: Option<Mutation>) -> World {
        let tables = [PRIMARY, LETTERS, EVEN, THIRD].map(|name| {
            let state = TableState {
                name: name.to_owned(),
                head: None,
                sequence: 0,
                snapshots: BTreeMap::new(),
                properties: BTreeMap::new(),
                files: Vec::new(),
            };
            (name, Arc::new(state))
        });
        let state = State {
            seeded: Seeded::new(seed),
            mutation,
            faults_left: faults,
            trace: Vec::new(),
            turn: 0,
            violation: None,
            elapsed: Duration::ZERO,
            wall_micros: 1_800_000_000_000_000,
            retentions_left: (seed % 3) as u32,
            replacements_left: u32::from(seed.is_multiple_of(4)),
            on_gap: match seed % 5 {
                0 | 1 => OnGap::Record,
                _ => OnGap::Stop,
            },
            refusals_left: 1 + seed % 3,
            is_all_stopped: false,
            log_starts: BTreeMap::new(),
            grounds: BTreeMap::new(),
            lost: vec![Vec::new(); broker.partitions()],
            lost_while_read: BTreeSet::new(),
            spread: broker.ids_with(SPREAD_ID),
            broker,
            tables: tables.into(),
            in_flight: Vec::new(),
            data_files: BTreeMap::new(),
            late_data_files: Vec::new(),
            slow_until: Duration::ZERO,
            mishaps: Mishaps::default(),
            away: BTreeMap::new(),
            pending_files: BTreeMap::new(),
            next_id: 0,
            stores: BTreeMap::new(),
            letters: Vec::new(),
            generations: BTreeMap::new(),
            landed: BTreeSet::new(),
            ids: BTreeSet::new(),
            newborn: Vec::new(),
            commits: 0,
        };
        World {
            state: Arc::new(Mutex::new(state)),
            began: Instant::now(),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|p| p.into_inner())
    }

    pub fn now(&self) -> Instant {
        self.began + self.lock().elapsed
    }

    pub fn advance(&self, by: Duration) {
        self.lock().elapsed += by;
    }

    /// A number below `bound`, decided by the seed.
    pub fn below(&self, bound: u64) -> u64 {
        self.lock().seeded.below(bound)
    }

    pub fn note(&self, what: impl FnOnce() -> String) {
        self.lock().note(what());
    }

    /// Whether something goes wrong here, one time in `odds` as long as faults are left.
    pub fn fault(&self, odds: u64, what: impl FnOnce() -> String) -> bool {
        let mut state = self.lock();
        let fault = state.faults_left > 0 && state.seeded.below(odds) == 0;
        if fault {
            state.faults_left -= 1;
            state.note(format!("FAULT {}", what()));
        }
        fault
    }
}

impl State {
    pub fn note(&mut self, what: String) {
        let turn = self.turn;
        self.trace.push(format!("{turn:>7} {what}"));
    }

    pub fn new_id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    /// From now on a table, or Kafka, cannot be reached for a time.
    pub fn is_away_for(&mut self, table: &'static str, how_long: Duration) {
        self.away.insert(table, self.elapsed + how_long);
    }

    /// Whether a table, or Kafka, cannot be reached now.
    pub fn is_away(&self, table: &str) -> bool {
        self.away
            .get(table)
            .is_some_and(|until| self.elapsed < *until)
    }

    /// From now on the stores of files and ids are slow for a time.
    pub fn is_slow_for(&mut self, how_long: Duration) {
        self.slow_until = self.elapsed + how_long;
    }

    pub fn is_slow(&self) -> bool {
        self.elapsed < self.slow_until
    }

    /// A guarantee is broken.
    pub fn break_off(&mut self, what: String) {
        self.note(format!("VIOLATION {what}"));
        self.violation.get_or_insert(what);
    }

    /// Whether nobody has claimed after this life: then nothing may refuse it. A life that has not claimed
    /// yet has no one before it either.
    pub fn is_in_force(&self, life: usize) -> bool {
        let Some(own) = self.generations.get(&life) else {
            return true;
        };
        self.progress().is_some_and(|p| p.generation() == *own)
    }

    /// What the primary table says.
    pub fn progress(&self) -> Option<Progress> {
        let properties = &self.tables[PRIMARY].properties;
        let json = properties.get(&Progress::property("test"))?;
        Some(Progress::parse(json).expect("progress"))
    }

    /// What a catalog does: the commit, if the table is still at the version that it was made for.
    pub fn apply(&mut self, commit: InFlight) -> bool {
        let (table, snapshot_id) = (commit.table, commit.snapshot_id);
        let mut state = (*self.tables[table]).clone();
        if state.head != commit.head && self.mutation != Some(Mutation::FenceOff) {
            self.note(format!("{table}: snapshot {snapshot_id} refused"));
            return false;
        }
        if table == PRIMARY {
            self.note_losses(&commit);
        }
        let append = commit.append;
        state.sequence += 1;
        state.snapshots.insert(
            snapshot_id,
            Snapshot {
                parent: state.head,
                sequence: state.sequence,
                summary: append.summary,
            },
        );
        state.head = Some(snapshot_id);
        state.properties.extend(append.properties);
        let rows: u64 = append.files.iter().map(|f| f.rows).sum();
        self.note(format!(
            "{table}: snapshot {snapshot_id} committed, {rows} rows"
        ));
        for file in &append.files {
            self.check(table, file);
        }
        state.files.extend(append.files);
        self.tables.insert(table, Arc::new(state));
        if table == PRIMARY {
            self.check_prefix();
        }
        self.commits += 1;
        true
    }

    /// Every file is there; no row is landed twice, and no id.
    fn check(&mut self, table: &str, file: &WrittenFile) {
        let Some(rows) = self.data_files.get(&file.description) else {
            let path = &file.description;
            return self.break_off(format!("{table} refers to {path}, which is not stored"));
        };
        if file.table != TableIndex::PRIMARY {
            return;
        }
        for row in rows.clone() {
            let place = (row.partition, row.offset);
            let broken = if is_of_other_topic(&row.id) {
                Some(format!("{place:?} landed from another topic"))
            } else if table != PRIMARY {
                Some(format!("{place:?} landed in {table}"))
            } else if !self.landed.insert(place) {
                Some(format!("{place:?} landed twice"))
            } else if !self.ids.insert(row.id.clone()) {
                Some(format!("id {} landed twice, now from {place:?}", row.id))
            } else {
                None
            };
            if let Some(broken) = broken {
                self.break_off(broken);
            }
        }
    }

    /// Every snapshot is complete by itself: of the records before its offsets, every id has landed.
    fn check_prefix(&mut self) {
        let Some(progress) = self.progress() else {
            return;
        };
        let missing = self.spread.iter().find_map(|(&partition, copies)| {
            let next = progress.partition(&source(partition as usize))?.next;
            let is_missing = |(offset, n): &&(i64, usize)| {
                !self.ids.contains(&format!("{SPREAD_ID}{n}")) && !self.is_lost(partition, *offset)
            };
            let mut before = copies.iter().filter(|(offset, _)| *offset < next);
            before.find(is_missing)
        });
        if let Some((offset, n)) = missing.copied() {
            self.break_off(format!(
                "the snapshot of epoch {:?} lacks {SPREAD_ID}{n}, consumed at offset {offset}",
                progress.epoch
            ));
        }
    }

    /// Every row of a table.
    pub fn rows(&self, table: &str) -> Vec<Row> {
        let files = self.tables[table].files.iter();
        let rows = files.filter_map(|file| self.data_files.get(&file.description));
        rows.flatten().cloned().collect()
    }
}
