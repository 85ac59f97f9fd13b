//! Route: verdicts into rows of the job's tables, dead letters and the account.
//!
//! | | |
//! |---|---|
//! | in | [`JudgedBatch`]es |
//! | out | rows of the primary table and of the routes' ([`Landing`]), dead letters, and what became of each record ([`Accounted`]) |
//! | exchange | none |
//! | state | none: a pure function of the batch and of its columns in the tables |
//! | frontier | passed on as it is |
//! | errors | a defect (columns that do not fit) ends the job |
//! | metrics | the account, records judged, the age of what lands |
//!
//! Order of verdicts: failures of decoding came first, then a known id is a duplicate however late it is,
//! then the too late are sorted out, then the late are flagged. Nothing after this may reject a record:
//! every row that lands is in the primary table, and in those of the routes that take it.

mod router;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::sync::atomic::Ordering;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::context::Context;
use crate::dedup::JudgedBatch;
use crate::io::TableIndex;
use crate::time::IngestTime;

pub use router::{Accounted, Landing, Letters, Routed, Router, by_day, day_of};

/// Routes judged batches.
pub trait Route<'scope> {
    /// What lands, what cannot, and the account.
    #[allow(
        clippy::type_complexity,
        reason = "three streams, each with its own consumer"
    )]
    fn route(
        self,
        router: Router,
        context: &Context,
    ) -> (
        StreamVec<'scope, IngestTime, Landing>,
        StreamVec<'scope, IngestTime, Letters>,
        StreamVec<'scope, IngestTime, Accounted>,
    );
}

impl<'scope> Route<'scope> for StreamVec<'scope, IngestTime, JudgedBatch> {
    fn route(
        self,
        mut router: Router,
        context: &Context,
    ) -> (
        StreamVec<'scope, IngestTime, Landing>,
        StreamVec<'scope, IngestTime, Letters>,
        StreamVec<'scope, IngestTime, Accounted>,
    ) {
        let context = Rc::clone(context);
        let mut builder = OperatorBuilder::new("Route".to_owned(), self.scope());
        let mut input = builder.new_input(self, Pipeline);
        let (landing, landing_stream) = builder.new_output::<Vec<Landing>>();
        let (letters, letters_stream) = builder.new_output::<Vec<Letters>>();
        let (accounted, accounted_stream) = builder.new_output::<Vec<Accounted>>();
        let mut landing = OutputBuilder::<_, CapacityContainerBuilder<Vec<Landing>>>::from(landing);
        let mut letters = OutputBuilder::<_, CapacityContainerBuilder<Vec<Letters>>>::from(letters);
        let mut accounted =
            OutputBuilder::<_, CapacityContainerBuilder<Vec<Accounted>>>::from(accounted);
        builder.build(move |_capabilities| {
            let mut failed = None;
            move |_frontiers| {
                let (mut landing, mut letters, mut accounted) =
                    (landing.activate(), letters.activate(), accounted.activate());
                input.for_each(|time, batches: &mut Vec<JudgedBatch>| {
                    for batch in batches.drain(..) {
                        if failed.is_some() {
                            return;
                        }
                        match router.route(batch, time.epoch) {
                            Ok(routed) => {
                                let judged = &context.observed.records_judged;
                                let records = routed.accounted.delta.account.consumed;
                                judged.fetch_add(records, Ordering::Relaxed);
                                let now = context.host.wall_clock();
                                let primary =
                                    |landing: &&Landing| landing.table == TableIndex::PRIMARY;
                                for landing in routed.landing.iter().filter(primary) {
                                    let timestamps = router.timestamps(landing);
                                    let mut latency = context.latency.borrow_mut();
                                    latency.routed(time.epoch, now, timestamps);
                                }
                                landing
                                    .session(&time)
                                    .give_iterator(routed.landing.into_iter());
                                if let Some(dead) = routed.dead_letters {
                                    letters.session(&time).give(dead);
                                }
                                accounted.session(&time).give(routed.accounted);
                            }
                            Err(error) => {
                                failed = Some((time.retain(0), time.retain(1), time.retain(2)));
                                context.fail(error);
                            }
                        }
                    }
                });
            }
        });
        (landing_stream, letters_stream, accounted_stream)
    }
}
