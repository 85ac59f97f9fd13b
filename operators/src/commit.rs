//! Commit: an epoch's data files and account into the table, in order, once.
//!
//! | | |
//! |---|---|
//! | in | [`WrittenFile`]s, [`Accounted`] ranges, and the frontier of acknowledged dead letters |
//! | out | nothing but a frontier: the durable frontier |
//! | exchange | everything to worker 0 |
//! | state | epochs that are not durable: at most the open ones and `MAX_CLOSED_EPOCHS` |
//! | frontier | one capability, on worker 0, at the oldest epoch that is not durable |
//! | errors | a commit that is refused or stays impossible ends the job; a secondary that cannot be reached is tried again |
//! | metrics | commits, the committed account |
//!
//! An epoch is committed when all three inputs have passed it and the clock says that it closed it. The
//! second condition is not redundant: whatever else could make a frontier advance is a failure, and must
//! not look like the end of the input.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::order::PartialOrder;
use timely::progress::frontier::MutableAntichain;

use crate::background::Background;
use crate::context::Context;
use crate::error::Result;
use crate::io::{Committed, Table, WrittenFile};
use crate::progress::EpochCommit;
use crate::route::Accounted;
use crate::time::{Epoch, IngestTime};

/// What the committer is asked for.
enum Order {
    Commit(EpochCommit),
    /// There is nothing to commit, and a secondary lacks something.
    CatchUp,
    /// Everything is committed; the secondaries are to get what they lack.
    Settle,
}

/// What is done.
enum Done {
    /// A commit, and where the table stands.
    Committed(EpochCommit, Committed),
    /// Secondaries were tried; whether one still lacks something.
    Tried { is_behind: bool },
    /// No table lacks anything any more.
    Settled,
}

/// How often secondaries that lack something are tried while there is nothing to commit. How long each is left alone
/// after a failure is the table's own.
const CATCH_UP_INTERVAL: Duration = Duration::from_secs(1);

/// What has arrived of the epochs that are not durable. No timely in sight.
#[derive(Debug, Default)]
pub struct Gathering {
    epochs: BTreeMap<Epoch, EpochCommit>,
}

impl Gathering {
    fn entry(&mut self, epoch: Epoch) -> &mut EpochCommit {
        self.epochs.entry(epoch).or_insert_with(|| EpochCommit {
            epoch,
            watermark: None,
            partitions: BTreeMap::new(),
            files: Vec::new(),
        })
    }

    /// Takes in a data file.
    pub fn file(&mut self, epoch: Epoch, file: WrittenFile) {
        self.entry(epoch).files.push(file);
    }

    /// Takes in what became of a range of offsets.
    ///
    /// # Errors
    /// Ranges of a partition that are not adjacent.
    pub fn accounted(&mut self, epoch: Epoch, accounted: Accounted) -> Result<()> {
        let Accounted { source, delta } = accounted;
        match self.entry(epoch).partitions.entry(source) {
            std::collections::btree_map::Entry::Occupied(mut known) => {
                let source = known.key().clone();
                known
                    .get_mut()
                    .extend(delta)
                    .map_err(|e| e.context(format!("{source}, epoch {epoch}")))
            }
            std::collections::btree_map::Entry::Vacant(new) => {
                new.insert(delta);
                Ok(())
            }
        }
    }

    /// Takes out everything of an epoch.
    pub fn take(&mut self, epoch: Epoch) -> EpochCommit {
        self.entry(epoch);
        self.epochs.remove(&epoch).unwrap_or_else(|| EpochCommit {
            epoch,
            watermark: None,
            partitions: BTreeMap::new(),
            files: Vec::new(),
        })
    }
}

/// Commits epochs.
pub trait CommitEpochs<'scope> {
    /// Commits epochs through `table` (given on worker 0) and lets the context's probe follow the durable
    /// frontier.
    fn commit_epochs(
        self,
        accounted: StreamVec<'scope, IngestTime, Accounted>,
        acknowledged: StreamVec<'scope, IngestTime, ()>,
        table: Option<Box<dyn Table>>,
        context: &Context,
    );
}

impl<'scope> CommitEpochs<'scope> for StreamVec<'scope, IngestTime, WrittenFile> {
    fn commit_epochs(
        self,
        accounted: StreamVec<'scope, IngestTime, Accounted>,
        acknowledged: StreamVec<'scope, IngestTime, ()>,
        table: Option<Box<dyn Table>>,
        context: &Context,
    ) {
        let context = Rc::clone(context);
        let scope = self.scope();
        let mut builder = OperatorBuilder::new("Commit".to_owned(), scope);
        let address = builder.operator_info().address;
        // No connection from the inputs to the output: the one capability alone says what is durable.
        let mut files = builder.new_input_connection(self, Exchange::new(|_: &WrittenFile| 0), []);
        let mut accounted =
            builder.new_input_connection(accounted, Exchange::new(|_: &Accounted| 0), []);
        let mut acknowledged = builder.new_input_connection(acknowledged, Pipeline, []);
        let (output, stream) = builder.new_output_connection::<Vec<()>, _>([]);
        let _output = OutputBuilder::<_, CapacityContainerBuilder<Vec<()>>>::from(output);
        let wake = scope.worker().sync_activator_for(address.to_vec());
        let again = scope.worker().activator_for(Rc::clone(&address));
        let durable = context.durable.clone();
        builder.build(move |mut capabilities| {
            let mut capability = capabilities.pop().filter(|_| table.is_some());
            if let Some(capability) = capability.as_mut() {
                capability.downgrade(&context.start);
            }
            let is_committer = table.is_some();
            let mut thread = table.and_then(|mut table| {
                let serve = move |order: Order| -> Result<Option<Done>> {
                    let done = match order {
                        Order::Commit(epoch) => {
                            let committed = table.commit(&epoch)?;
                            Done::Committed(epoch, committed)
                        }
                        Order::CatchUp => Done::Tried {
                            is_behind: table.catch_up()?,
                        },
                        Order::Settle => table.settle().map(|()| Done::Settled)?,
                    };
                    Ok(Some(done))
                };
                let name = "commit".to_owned();
                let thread = Background::start(&*context.host, name, None, wake, serve);
                thread.map_err(|error| context.fail(error)).ok()
            });
            let mut failed = is_committer && thread.is_none();
            let mut gathering = Gathering::default();
            // The first epoch that has not been handed to the committer, and the last that has.
            let mut next = context.start.epoch;
            let mut in_flight: Option<(Epoch, u64)> = None;
            // Since when a secondary lacks something and nobody tries it.
            let mut behind_since: Option<Instant> = None;
            let mut is_settling = false;
            move |frontiers| {
                let mut fail = |error| {
                    failed = true;
                    context.fail(error);
                };
                files.for_each(|time, files: &mut Vec<WrittenFile>| {
                    for file in files.drain(..) {
                        gathering.file(time.epoch, file);
                    }
                });
                accounted.for_each(|time, ranges: &mut Vec<Accounted>| {
                    for range in ranges.drain(..) {
                        if let Err(error) = gathering.accounted(time.epoch, range) {
                            fail(error);
                        }
                    }
                });
                acknowledged.for_each(|_time, _nothing| {});
                let (Some(clock), Some(held), false) =
                    (context.clock.as_ref(), capability.as_mut(), failed)
                else {
                    return;
                };
                while let Some(answer) = thread.as_mut().and_then(Background::answer) {
                    match answer {
                        // Everything that the clock closed is durable, in every table.
                        Ok(Done::Settled) => {
                            capability = None;
                            return;
                        }
                        Ok(Done::Tried { is_behind }) => {
                            behind_since = is_behind.then(|| context.host.now());
                        }
                        Ok(Done::Committed(commit, committed)) => {
                            behind_since = committed.is_behind.then(|| context.host.now());
                            let watermark = in_flight
                                .take()
                                .map_or(held.time().watermark, |(_, watermark)| watermark);
                            held.downgrade(&IngestTime {
                                epoch: commit.epoch.next(),
                                watermark,
                            });
                            context.observed.committed(
                                &commit,
                                &committed,
                                context.host.now(),
                                context.host.wall_clock(),
                            );
                        }
                        Err(error) => {
                            failed = true;
                            context.observed.commit_failed();
                            context.fail(error);
                            return;
                        }
                    }
                }
                if in_flight.is_none() && has_passed(frontiers, next) {
                    let closed = clock.borrow().closed_with(next);
                    if let Some(watermark) = closed {
                        let mut commit = gathering.take(next);
                        commit.watermark = watermark;
                        let coordinate = watermark.map_or(0, |w| w.to_coordinate());
                        context.observed.committing(next, context.host.now());
                        in_flight = Some((next, coordinate.max(held.time().watermark)));
                        next = next.next();
                        if let Some(thread) = &thread {
                            // The queue has no bound of its own, and is never closed.
                            let _ = thread.order(Order::Commit(commit));
                        }
                    } else if frontiers.iter().all(|f| f.frontier().is_empty())
                        && next > context.start.epoch
                        && !is_settling
                        && let Some(thread) = &thread
                    {
                        is_settling = true;
                        let _ = thread.order(Order::Settle);
                    }
                }
                if let (Some(since), None, false) = (behind_since, in_flight, is_settling) {
                    let waited = context.host.now().duration_since(since);
                    if waited < CATCH_UP_INTERVAL {
                        again.activate_after(CATCH_UP_INTERVAL - waited);
                    } else if let Some(thread) = &thread {
                        behind_since = None;
                        let _ = thread.order(Order::CatchUp);
                    }
                }
            }
        });
        stream.probe_with(&durable);
    }
}

fn has_passed(frontiers: &[MutableAntichain<IngestTime>], epoch: Epoch) -> bool {
    let end = IngestTime::end_of(epoch);
    frontiers
        .iter()
        .all(|frontier| !frontier.frontier().iter().any(|time| time.less_equal(&end)))
}
