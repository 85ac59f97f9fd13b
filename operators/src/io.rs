//! The ports: what the dataflow asks of the outside, shaped by what its operators need.
//!
//! Every method may block except those of [`Log`], which runs on a timely worker; the operators call the
//! others from threads of their own, and those threads never touch a capability.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::credit::Budget;
use crate::error::Result;
use crate::progress::EpochCommit;
use crate::record::{DeadLetter, RawBatch, TopicPartition};
use crate::schema::AddedColumn;
use crate::time::{Epoch, EventTime};

/// What one poll of the log gave.
#[derive(Debug)]
pub enum Polled {
    /// Records of one partition.
    Batch(RawBatch),
    /// Every record up to `next` has been read and there is no further one now. Offsets between the last
    /// record and `next` are gaps.
    EndOfPartition {
        /// The partition.
        source: TopicPartition,
        /// The offset that the next record will have or exceed.
        next: i64,
    },
    /// Nothing is waiting.
    Nothing,
}

/// A partition that a [`Log`] reads, and where it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedPartition {
    /// The partition.
    pub source: TopicPartition,
    /// The offset that is read first.
    pub start: i64,
    /// The partition's end when the job started: `--until-caught-up` reads up to here.
    pub end_at_start: i64,
    /// The largest event time accepted before the start, from the table's progress.
    pub max_event_time: Option<EventTime>,
}

/// The Kafka log as one worker reads it. Never blocks.
pub trait Log {
    /// The partitions that this worker reads. Grows when partitions are added while running.
    fn partitions(&self) -> &[AssignedPartition];

    /// Takes the next batch, of at most `max_records` records, from the partitions in turn.
    ///
    /// # Errors
    /// A fatal state of the log: authentication, topic gone, offset no longer held. Passing errors
    /// (a broker down) are retried inside and told to the log's own diagnosis.
    fn poll(&mut self, max_records: usize, budget: &Budget) -> Result<Polled>;

    /// The ends of the partitions as last heard of, without asking the broker; for the lag.
    fn end_offsets(&self) -> Vec<(TopicPartition, i64)>;

    /// Tells the group, for people and lag tools, that everything before these offsets is durable.
    fn commit_group_offsets(&mut self, offsets: &[(TopicPartition, i64)]);
}

/// Kafka's ids of topics. One instance in the whole cluster, used from one thread. Blocks.
pub trait Topics: Send {
    /// The ids that topics of these names have, as a broker that is asked after the call has heard: `None` for one that
    /// has none, and one that it does not know is left out.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`](crate::ErrorKind::Unreachable) when nobody answers, which the caller waits out;
    /// what waiting does not mend.
    fn ids(&mut self, names: &[&str]) -> Result<BTreeMap<String, Option<String>>>;
}

/// What a schema is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaKind {
    /// Avro.
    Avro,
    /// JSON Schema.
    Json,
    /// Protocol Buffers.
    Protobuf,
}

impl SchemaKind {
    /// Its name, for a person.
    pub fn name(self) -> &'static str {
        match self {
            SchemaKind::Avro => "Avro",
            SchemaKind::Json => "JSON Schema",
            SchemaKind::Protobuf => "Protobuf",
        }
    }
}

/// A schema as the registry holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredSchema {
    /// What it is written in.
    pub kind: SchemaKind,
    /// Its text.
    pub text: String,
    /// The schemas that it refers to, however far: each before those that refer to it.
    pub references: Vec<ReferencedSchema>,
}

/// A schema that another one refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferencedSchema {
    /// What the other one calls it: in Protobuf the file that it imports.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What the registry says of a schema id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaAnswer {
    /// It knows the schema.
    Known(Arc<RegisteredSchema>),
    /// It does not, and says why. What it cannot say because it is not reachable is never this.
    Denied(String),
}

/// The schema registry as one worker asks it. Never blocks: answers come later.
pub trait Schemas {
    /// Asks for a schema. Each id that was asked for is answered once, however long the registry is away.
    fn ask(&mut self, id: u32);

    /// The next answer, if there is one.
    ///
    /// # Errors
    /// What waiting does not mend: credentials that the registry refuses.
    fn answer(&mut self) -> Result<Option<(u32, SchemaAnswer)>>;

    /// Asks for `wake` to be called, from any thread, when there is an answer.
    fn on_answer(&mut self, wake: Arc<dyn Fn() + Send + Sync>);
}

/// A data file that is closed and durable, but not yet in any snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenFile {
    /// Which of the job's tables.
    pub table: TableIndex,
    /// The file's description, in the table connector's own encoding.
    pub description: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A table of the job: 0 is the primary, whose commit is the commit point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableIndex(pub u16);

impl TableIndex {
    /// The primary table.
    pub const PRIMARY: TableIndex = TableIndex(0);
    /// The dead-letter table.
    pub const DEAD_LETTERS: TableIndex = TableIndex(1);

    /// The table of the route with this place among the job's routes.
    pub fn of_route(place: usize) -> TableIndex {
        // No job has 65,000 routes.
        TableIndex(u16::try_from(place).map_or(u16::MAX, |place| place.saturating_add(2)))
    }
}

/// What a data file belongs to. Writers are keyed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey {
    /// The table.
    pub table: TableIndex,
    /// The partition value: days since 1970-01-01.
    pub day: i32,
    /// The epoch.
    pub epoch: Epoch,
    /// The worker that writes it.
    pub worker: u32,
}

/// The store of data files.
pub trait Files: Send + Sync {
    /// The Arrow schema of a table's batches. It may come to have more columns; a batch may have fewer.
    fn schema(&self, table: TableIndex) -> SchemaRef;

    /// Opens a new data file for batches of these columns.
    fn open(&self, key: FileKey, columns: &SchemaRef) -> Result<Box<dyn DataFileWriter>>;
}

/// The columns of the job's tables, as the fields of new schemas are added to them. Blocks; used from several
/// threads.
pub trait TableColumns: Send + Sync {
    /// Adds columns that the tables lack, and returns those of the given names that they have now, as they are
    /// in the tables: perhaps of another type, because somebody was quicker. One that cannot be had is not returned.
    /// After it, [`Files`] takes batches with them.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused) when a newer generation holds the tables, or a column
    /// would be one too many; a catalog that cannot be reached.
    fn add(&self, columns: &[AddedColumn]) -> Result<Vec<AddedColumn>>;
}

/// One open data file. Dropped without [`DataFileWriter::close`], it leaves at most an orphan file.
pub trait DataFileWriter: Send {
    /// Appends rows; they are encoded before this returns.
    fn write(&mut self, rows: &RecordBatch) -> Result<()>;

    /// Bytes written and buffered so far.
    fn bytes(&self) -> u64;

    /// Finishes the file and makes it durable.
    fn close(self: Box<Self>) -> Result<WrittenFile>;
}

/// A commit that took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The primary table's snapshot; `None` when the epoch had nothing to say and nothing was committed.
    pub snapshot_id: Option<i64>,
    /// Whether a secondary table lacks rows of this epoch or of earlier ones.
    pub is_behind: bool,
}

/// The commit point. One instance in the whole cluster, used from one thread.
pub trait Table: Send {
    /// Commits an epoch: primary first, then the secondaries. Returns only when the primary is durable; an
    /// ambiguous result is resolved inside, by reading the table again. A secondary that cannot be reached, or
    /// does not answer soon, gets its rows later.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused) when a newer generation holds the table.
    fn commit(&mut self, epoch: &EpochCommit) -> Result<Committed>;

    /// Tries the secondaries that lack something, if it is time to; whether one still does.
    ///
    /// # Errors
    /// A secondary that no waiting mends.
    fn catch_up(&mut self) -> Result<bool>;

    /// Gives every secondary what it lacks. Nothing is committed after it.
    ///
    /// # Errors
    /// A secondary that still cannot be committed to. The next start sees to it.
    fn settle(&mut self) -> Result<()>;
}

/// The dead-letter topic. At least once: an epoch commits only after [`DeadLetterTopic::flush`].
pub trait DeadLetterTopic: Send {
    /// Queues dead letters for the topic.
    fn send(&mut self, letters: &[DeadLetter]) -> Result<()>;

    /// Returns when every letter sent before is acknowledged by the broker.
    fn flush(&mut self) -> Result<()>;
}

/// An id, as the state store keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StoredId {
    /// Hour since 1970 in which it expires; at least 1, because bucket 0 holds identity and marker.
    pub bucket: u32,
    /// The hash of the id.
    pub hash: u128,
}

/// Up to where a state store is an index over the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateMarker {
    /// The generation that wrote it.
    pub generation: u32,
    /// Ids of all epochs up to this one are in the store.
    pub epoch: Epoch,
}

/// Ids by bucket.
pub type IdsByBucket = BTreeMap<u32, Vec<u128>>;

/// A part of what a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// The ids, ascending in each bucket.
    pub ids: IdsByBucket,
    /// Where to go on; `None` at the end.
    pub next: Option<StoredId>,
}

/// The ids of committed epochs, of one worker's share. Blocking; used from two threads at once, one that
/// looks up and one that adds and expires.
pub trait IdStore: Send + Sync {
    /// The marker, `None` when nothing is known to be complete.
    fn marker(&self) -> Option<StateMarker>;

    /// For each key, whether the store holds it. `held` is cleared first.
    fn contains(&self, keys: &[StoredId], held: &mut Vec<bool>) -> Result<()>;

    /// Adds ids and sets the marker, in one atomic step. The ids of each bucket are ascending and
    /// distinct. `None` leaves the marker as it is.
    fn ingest(&self, ids: &IdsByBucket, marker: Option<StateMarker>) -> Result<()>;

    /// Drops every bucket below `bucket`, without reading it.
    fn expire_below(&self, bucket: u32) -> Result<()>;

    /// The buckets that hold ids, ascending; without reading the ids.
    fn buckets(&self) -> Result<Vec<u32>>;

    /// The ids from `from` on in ascending order, at most `at_most` of them (at least one).
    fn scan(&self, from: StoredId, at_most: usize) -> Result<Scanned>;
}
