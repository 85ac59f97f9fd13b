//! Dead letters: to the topic, at least once, and as rows to the dead-letter table.
//!
//! | | |
//! |---|---|
//! | in | dead letters |
//! | out | their rows ([`Landing`]), and a stream that carries only a frontier: an epoch has passed it when the broker acknowledged its letters |
//! | exchange | none |
//! | state | epochs whose letters are not acknowledged |
//! | frontier | the second output holds an epoch until its letters are acknowledged |
//! | errors | a topic that cannot be written ends the job: the epoch is not committed, nothing is lost |
//! | metrics | the account counts them |
//!
//! The topic is flushed before the primary commits, so a letter may stand in the topic twice after a
//! crash, but never not at all; readers know a letter by its source coordinates.
//!
//! Letters hold the credit of the batch they come from until they are sent and their rows encoded, so the
//! queue to the delivery thread is bounded by the memory budget.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use arrow_array::RecordBatch;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::order::PartialOrder;

use crate::background::Background;
use crate::context::Context;
use crate::error::Result;
use crate::failpoint::{Failpoint, reached};
use crate::host::Host;
use crate::io::{DeadLetterTopic, TableIndex};
use crate::record::DeadLetter;
use crate::route::{Landing, Letters, day_of};
use crate::time::{Epoch, IngestTime};

/// Makes the rows of the dead-letter table.
pub type LetterRows = Box<dyn Fn(&[DeadLetter], Epoch) -> Result<RecordBatch>>;

enum Command {
    Send(Letters),
    Flush(Epoch),
}

fn serve(
    host: &dyn Host,
    topic: &mut dyn DeadLetterTopic,
    command: Command,
) -> Result<Option<Epoch>> {
    reached(
        host,
        match command {
            Command::Send(_) => Failpoint::LettersSend,
            Command::Flush(_) => Failpoint::LettersFlush,
        },
    )?;
    match command {
        // The batch's credit is given back here: what the topic itself holds is bounded by its client.
        Command::Send(letters) => topic.send(&letters.letters).map(|()| None),
        Command::Flush(epoch) => topic.flush().map(|()| Some(epoch)),
    }
}

/// Delivers dead letters.
pub trait DeliverDeadLetters<'scope> {
    /// To `topic`, and as rows made by `rows`; either may be absent.
    #[allow(
        clippy::type_complexity,
        reason = "two streams, each with its own consumer"
    )]
    fn deliver_dead_letters(
        self,
        topic: Option<Box<dyn DeadLetterTopic>>,
        rows: Option<LetterRows>,
        context: &Context,
    ) -> (
        StreamVec<'scope, IngestTime, Landing>,
        StreamVec<'scope, IngestTime, ()>,
    );
}

impl<'scope> DeliverDeadLetters<'scope> for StreamVec<'scope, IngestTime, Letters> {
    fn deliver_dead_letters(
        self,
        topic: Option<Box<dyn DeadLetterTopic>>,
        rows: Option<LetterRows>,
        context: &Context,
    ) -> (
        StreamVec<'scope, IngestTime, Landing>,
        StreamVec<'scope, IngestTime, ()>,
    ) {
        let context = Rc::clone(context);
        let scope = self.scope();
        let mut builder = OperatorBuilder::new("DeadLetters".to_owned(), scope);
        let address = builder.operator_info().address;
        let mut input = builder.new_input(self, Pipeline);
        let (landing, landing_stream) = builder.new_output::<Vec<Landing>>();
        let (_acknowledged, acknowledged_stream) = builder.new_output::<Vec<()>>();
        let mut landing = OutputBuilder::<_, CapacityContainerBuilder<Vec<Landing>>>::from(landing);
        let wake = scope.worker().sync_activator_for(address.to_vec());
        builder.build(move |_capabilities| {
            let has_topic = topic.is_some();
            let mut thread = topic.and_then(|mut topic| {
                let name = format!("dead-letters-{}", context.worker);
                let host = Arc::clone(&context.host);
                let serve = move |command| serve(&*host, &mut *topic, command);
                let thread = Background::start(&*context.host, name, None, wake, serve);
                thread.map_err(|error| context.fail(error)).ok()
            });
            let mut failed = has_topic && thread.is_none();
            // Epochs with letters not yet acknowledged; `true` once the flush was asked for.
            let mut epochs: BTreeMap<Epoch, (Capability<IngestTime>, bool)> = BTreeMap::new();
            move |frontiers| {
                let mut landing = landing.activate();
                input.for_each(|time, batches: &mut Vec<Letters>| {
                    let epoch = time.epoch;
                    for letters in batches.drain(..) {
                        context
                            .observed
                            .dead_letters(&letters.letters, &context.settings);
                        if let Some(rows) = &rows {
                            match rows(&letters.letters, epoch) {
                                Ok(rows) => {
                                    let day = letters
                                        .letters
                                        .first()
                                        .map_or(0, |letter| day_of(letter.failed_at));
                                    let table = TableIndex::DEAD_LETTERS;
                                    landing.session(&time).give(Landing {
                                        table,
                                        day,
                                        rows,
                                        credit: Some(Arc::clone(&letters.credit)),
                                    });
                                }
                                Err(error) => {
                                    failed = true;
                                    epochs
                                        .entry(epoch)
                                        .or_insert_with(|| (time.retain(1), false));
                                    context.fail(error);
                                    return;
                                }
                            }
                        }
                        if has_topic {
                            epochs
                                .entry(epoch)
                                .or_insert_with(|| (time.retain(1), false));
                        }
                        if let Some(thread) = &thread {
                            // The queue has no bound of its own, and is never closed.
                            let _ = thread.order(Command::Send(letters));
                        }
                    }
                });
                if failed {
                    return;
                }
                if let Some(thread) = &thread {
                    for (&epoch, (_, flushing)) in &mut epochs {
                        let end = IngestTime::end_of(epoch);
                        if !*flushing
                            && !frontiers[0]
                                .frontier()
                                .iter()
                                .any(|time| time.less_equal(&end))
                        {
                            *flushing = true;
                            let _ = thread.order(Command::Flush(epoch));
                        }
                    }
                }
                while let Some(answer) = thread.as_mut().and_then(Background::answer) {
                    match answer {
                        Ok(epoch) => {
                            epochs.remove(&epoch);
                        }
                        Err(error) => {
                            failed = true;
                            thread = None;
                            context.fail(error);
                        }
                    }
                }
            }
        });
        (landing_stream, acknowledged_stream)
    }
}
