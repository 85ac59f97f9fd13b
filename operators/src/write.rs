//! Write: rows into Parquet data files, encoded off the workers.
//!
//! | | |
//! |---|---|
//! | in | [`Landing`]s: rows of one table and one day |
//! | out | [`WrittenFile`]s, closed and durable but in no snapshot yet, at their epoch |
//! | exchange | none |
//! | state | open files, keyed by (table, day, epoch), at most `MAX_OPEN_FILES` a worker |
//! | frontier | holds an epoch from its first row until its files are closed |
//! | errors | a store of files that fails ends the job |
//! | metrics | rows handed to the encoder, rows encoded |
//!
//! Encoding runs on a thread of its own for each worker. Its queue is bounded by the credits that the
//! rows carry: they are given back when the rows are encoded, and without room the source does not read.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_schema::SchemaRef;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::{Capability, Operator};
use timely::order::PartialOrder;

use crate::background::Background;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::failpoint::{Failpoint, reached};
use crate::host::Host;
use crate::io::{DataFileWriter, FileKey, Files, WrittenFile};
use crate::route::Landing;
use crate::time::{Epoch, IngestTime};

/// Files open at a time on one worker. Beyond it the largest is closed early and its key gets another
/// file: rows that are spread over a thousand days cost small files, not memory.
pub const MAX_OPEN_FILES: usize = 32;

enum Command {
    Write { epoch: Epoch, landing: Landing },
    Close { epoch: Epoch },
}

impl Command {
    /// Rows that it encodes.
    fn rows(&self) -> u64 {
        match self {
            Command::Write { landing, .. } => landing.rows.num_rows() as u64,
            Command::Close { .. } => 0,
        }
    }
}

/// An epoch, and its files.
type Closed = (Epoch, Vec<WrittenFile>);

/// A file, and the columns that it was opened for.
struct OpenFile {
    columns: SchemaRef,
    writer: Box<dyn DataFileWriter>,
}

/// The encoder of one worker: open files and what is closed of each epoch. No timely in sight.
pub struct Encoder {
    host: Arc<dyn Host>,
    files: Arc<dyn Files>,
    worker: u32,
    open: BTreeMap<FileKey, OpenFile>,
    closed: BTreeMap<Epoch, Vec<WrittenFile>>,
}

impl Encoder {
    /// An encoder for `worker`, with no file open.
    pub fn new(host: Arc<dyn Host>, files: Arc<dyn Files>, worker: u32) -> Encoder {
        Encoder {
            host,
            files,
            worker,
            open: BTreeMap::new(),
            closed: BTreeMap::new(),
        }
    }

    /// Encodes rows into the file of their table, day and epoch.
    ///
    /// # Errors
    /// Whatever the store of files says.
    pub fn write(&mut self, epoch: Epoch, landing: &Landing) -> Result<()> {
        let key = FileKey {
            table: landing.table,
            day: landing.day,
            epoch,
            worker: self.worker,
        };
        let columns = landing.rows.schema_ref();
        // Columns were added since: the rows before them stay in a file of their own.
        let is_other =
            |open: &OpenFile| !Arc::ptr_eq(&open.columns, columns) && open.columns != *columns;
        if self.open.get(&key).is_some_and(is_other) {
            self.close_file(key)?;
        }
        if !self.open.contains_key(&key) {
            reached(&*self.host, Failpoint::FileOpen)?;
            if self.open.len() >= MAX_OPEN_FILES {
                self.close_largest()?;
            }
            let open = OpenFile {
                columns: Arc::clone(columns),
                writer: self.files.open(key, columns)?,
            };
            self.open.insert(key, open);
        }
        reached(&*self.host, Failpoint::FileWrite)?;
        match self.open.get_mut(&key) {
            Some(open) => open.writer.write(&landing.rows),
            None => Err(Error::internal("a file that was just opened is gone")),
        }
    }

    fn close_largest(&mut self) -> Result<()> {
        let largest = self
            .open
            .iter()
            .max_by_key(|(_, open)| open.writer.bytes())
            .map(|(key, _)| *key);
        match largest {
            Some(key) => self.close_file(key),
            None => Ok(()),
        }
    }

    fn close_file(&mut self, key: FileKey) -> Result<()> {
        if let Some(open) = self.open.remove(&key) {
            reached(&*self.host, Failpoint::FileClose)?;
            let written = open.writer.close()?;
            reached(&*self.host, Failpoint::FileClosed)?;
            self.closed.entry(key.epoch).or_default().push(written);
        }
        Ok(())
    }

    /// Closes every file of an epoch and returns them all.
    ///
    /// # Errors
    /// Whatever the store of files says.
    pub fn close(&mut self, epoch: Epoch) -> Result<Vec<WrittenFile>> {
        let mut keys: Vec<FileKey> = self
            .open
            .keys()
            .filter(|key| key.epoch == epoch)
            .copied()
            .collect();
        keys.sort_unstable();
        for key in keys {
            self.close_file(key)?;
        }
        Ok(self.closed.remove(&epoch).unwrap_or_default())
    }
}

impl Encoder {
    /// Carries out one command; the files of an epoch that it closed.
    fn serve(&mut self, command: Command) -> Result<Option<Closed>> {
        match command {
            Command::Write { epoch, landing } => self.write(epoch, &landing).map(|()| None),
            Command::Close { epoch } => self.close(epoch).map(|files| Some((epoch, files))),
        }
    }
}

/// Orders what there is always room for. Without a thread the job has failed, and its rows are held back.
fn order(thread: &Option<Background<Command, Closed>>, command: Command) {
    if let Some(thread) = thread {
        // The queue has no bound of its own, and is never closed.
        let _ = thread.order(command);
    }
}

/// Writes rows into data files.
pub trait WriteFiles<'scope> {
    /// Writes rows through `files`; an epoch's files come out once all of its rows are in.
    fn write_files(
        self,
        files: Arc<dyn Files>,
        context: &Context,
    ) -> StreamVec<'scope, IngestTime, WrittenFile>;
}

impl<'scope> WriteFiles<'scope> for StreamVec<'scope, IngestTime, Landing> {
    fn write_files(
        self,
        files: Arc<dyn Files>,
        context: &Context,
    ) -> StreamVec<'scope, IngestTime, WrittenFile> {
        let context = Rc::clone(context);
        let scope = self.scope();
        self.unary_frontier::<CapacityContainerBuilder<Vec<WrittenFile>>, _, _, _>(
            Pipeline,
            "Write",
            move |_capability, info| {
                let wake = scope.worker().sync_activator_for(info.address.to_vec());
                let mut encoder = Encoder::new(Arc::clone(&context.host), files, context.worker);
                let name = format!("write-{}", context.worker);
                let observed = Arc::clone(&context.observed);
                let serve = move |command: Command| {
                    let rows = command.rows();
                    let served = encoder.serve(command);
                    observed.rows_encoded.fetch_add(rows, Ordering::Relaxed);
                    served
                };
                let thread = Background::start(&*context.host, name, None, wake, serve);
                let mut thread = thread.map_err(|error| context.fail(error)).ok();
                // Epochs with rows, each with the capability that holds it; `true` once it is closing.
                let mut epochs: BTreeMap<Epoch, (Capability<IngestTime>, bool)> = BTreeMap::new();
                move |(input, frontier), output| {
                    input.for_each(|time, landings: &mut Vec<Landing>| {
                        let epoch = time.epoch;
                        epochs
                            .entry(epoch)
                            .or_insert_with(|| (time.retain(0), false));
                        for landing in landings.drain(..) {
                            let rows = landing.rows.num_rows() as u64;
                            let routed = &context.observed.rows_routed;
                            routed.fetch_add(rows, Ordering::Relaxed);
                            order(&thread, Command::Write { epoch, landing });
                        }
                    });
                    for (&epoch, (_, closing)) in &mut epochs {
                        let end = IngestTime::end_of(epoch);
                        if thread.is_some()
                            && !*closing
                            && !frontier.frontier().iter().any(|time| time.less_equal(&end))
                        {
                            *closing = true;
                            order(&thread, Command::Close { epoch });
                        }
                    }
                    while let Some(answer) = thread.as_mut().and_then(Background::answer) {
                        match answer {
                            Ok((epoch, files)) => {
                                if let Some((capability, _)) = epochs.remove(&epoch) {
                                    output.session(&capability).give_iterator(files.into_iter());
                                }
                            }
                            Err(error) => {
                                thread = None;
                                context.fail(error);
                            }
                        }
                    }
                }
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, Int64Array, RecordBatch};
    use arrow_schema::Schema;

    use super::*;
    use crate::host::Machine;
    use crate::io::{DataFileWriter, TableIndex};

    struct Store;

    /// Takes rows of the columns that it was opened for, as a Parquet file does.
    struct OneFile {
        key: FileKey,
        columns: SchemaRef,
        rows: u64,
    }

    impl Files for Store {
        fn schema(&self, _table: TableIndex) -> SchemaRef {
            Arc::new(Schema::empty())
        }

        fn open(&self, key: FileKey, columns: &SchemaRef) -> Result<Box<dyn DataFileWriter>> {
            Ok(Box::new(OneFile {
                key,
                columns: Arc::clone(columns),
                rows: 0,
            }))
        }
    }

    impl DataFileWriter for OneFile {
        fn write(&mut self, rows: &RecordBatch) -> Result<()> {
            assert_eq!(self.columns, rows.schema(), "a file has one set of columns");
            self.rows += rows.num_rows() as u64;
            Ok(())
        }

        fn bytes(&self) -> u64 {
            self.rows
        }

        fn close(self: Box<Self>) -> Result<WrittenFile> {
            Ok(WrittenFile {
                table: self.key.table,
                description: String::new(),
                rows: self.rows,
                bytes: self.rows,
            })
        }
    }

    fn landing(columns: &[&str]) -> Landing {
        let column = |name: &&str| -> (String, ArrayRef) {
            ((*name).to_owned(), Arc::new(Int64Array::from(vec![1])))
        };
        Landing {
            table: TableIndex::PRIMARY,
            day: 1,
            rows: RecordBatch::try_from_iter(columns.iter().map(column)).expect("a batch"),
            credit: None,
        }
    }

    #[test]
    fn rows_with_a_column_more_begin_a_file_and_those_before_them_keep_theirs() {
        let mut encoder = Encoder::new(Arc::new(Machine), Arc::new(Store), 0);
        let epoch = Epoch::first_of(1);
        for columns in [&["a"][..], &["a"], &["a", "b"], &["a", "b"], &["a", "b"]] {
            encoder.write(epoch, &landing(columns)).expect("rows");
        }
        let files = encoder.close(epoch).expect("files");
        assert_eq!(files.iter().map(|f| f.rows).collect::<Vec<_>>(), [2, 3]);
    }
}
