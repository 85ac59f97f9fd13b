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
//! | metrics | none of its own |
//!
//! Encoding runs on a thread of its own for each worker. Its queue is bounded by the credits that the
//! rows carry: they are given back when the rows are encoded, and without room the source does not read.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::{Capability, Operator};
use timely::order::PartialOrder;
use timely::scheduling::SyncActivator;

use crate::context::Context;
use crate::error::{Error, Result};
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

enum Reply {
    Closed {
        epoch: Epoch,
        files: Vec<WrittenFile>,
    },
    Failed(Error),
}

/// The encoder of one worker: open files and what is closed of each epoch. No timely in sight.
pub struct Encoder {
    files: Arc<dyn Files>,
    worker: u32,
    open: HashMap<FileKey, Box<dyn DataFileWriter>>,
    closed: BTreeMap<Epoch, Vec<WrittenFile>>,
}

impl Encoder {
    /// An encoder for `worker`, with no file open.
    pub fn new(files: Arc<dyn Files>, worker: u32) -> Encoder {
        Encoder {
            files,
            worker,
            open: HashMap::new(),
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
        if !self.open.contains_key(&key) {
            if self.open.len() >= MAX_OPEN_FILES {
                self.close_largest()?;
            }
            self.open.insert(key, self.files.open(key)?);
        }
        match self.open.get_mut(&key) {
            Some(file) => file.write(&landing.rows),
            None => Err(Error::internal("a file that was just opened is gone")),
        }
    }

    fn close_largest(&mut self) -> Result<()> {
        let largest = self
            .open
            .iter()
            .max_by_key(|(_, file)| file.bytes())
            .map(|(key, _)| *key);
        match largest {
            Some(key) => self.close_file(key),
            None => Ok(()),
        }
    }

    fn close_file(&mut self, key: FileKey) -> Result<()> {
        if let Some(file) = self.open.remove(&key) {
            let written = file.close()?;
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

fn encode(
    commands: &Receiver<Command>,
    replies: &Sender<Reply>,
    wake: &SyncActivator,
    mut encoder: Encoder,
) {
    for command in commands {
        let reply = match command {
            Command::Write { epoch, landing } => {
                encoder.write(epoch, &landing).err().map(Reply::Failed)
            }
            Command::Close { epoch } => Some(match encoder.close(epoch) {
                Ok(files) => Reply::Closed { epoch, files },
                Err(error) => Reply::Failed(error),
            }),
        };
        if let Some(reply) = reply {
            let failed = matches!(reply, Reply::Failed(_));
            if replies.send(reply).is_err() || wake.activate().is_err() || failed {
                return;
            }
        }
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
                let (commands, queue) = unbounded();
                let (answers, replies) = unbounded();
                let encoder = Encoder::new(files, context.worker);
                let spawned = thread::Builder::new()
                    .name(format!("write-{}", context.worker))
                    .spawn(move || encode(&queue, &answers, &wake, encoder));
                let mut failed = false;
                if let Err(error) = spawned {
                    failed = true;
                    context.fail(Error::internal(format!(
                        "cannot start the thread that writes files: {error}"
                    )));
                }
                // Epochs with rows, each with the capability that holds it; `true` once it is closing.
                let mut epochs: BTreeMap<Epoch, (Capability<IngestTime>, bool)> = BTreeMap::new();
                move |(input, frontier), output| {
                    input.for_each(|time, landings: &mut Vec<Landing>| {
                        let epoch = time.epoch;
                        epochs
                            .entry(epoch)
                            .or_insert_with(|| (time.retain(0), false));
                        for landing in landings.drain(..) {
                            // A send fails only after the thread reported why it ended.
                            let _ = commands.send(Command::Write { epoch, landing });
                        }
                    });
                    if failed {
                        return;
                    }
                    for (&epoch, (_, closing)) in &mut epochs {
                        let end = IngestTime::end_of(epoch);
                        if !*closing
                            && !frontier.frontier().iter().any(|time| time.less_equal(&end))
                        {
                            *closing = true;
                            let _ = commands.send(Command::Close { epoch });
                        }
                    }
                    for reply in replies.try_iter() {
                        match reply {
                            Reply::Closed { epoch, files } => {
                                if let Some((capability, _)) = epochs.remove(&epoch) {
                                    output.session(&capability).give_iterator(files.into_iter());
                                }
                            }
                            Reply::Failed(error) => {
                                failed = true;
                                context.fail(error);
                                return;
                            }
                        }
                    }
                }
            },
        )
    }
}
