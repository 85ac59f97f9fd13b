//! The timely operators around the judge.
//!
//! ```text
//! batches --> [admit] --batches, same worker--------------------------> [reunite] --> judged batches
//!                |                                                          ^
//!                +--admissions, to the owner--> [judge] --verdicts, back----+
//! ```

use std::rc::Rc;
use std::sync::Arc;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{ProbeHandle, Stream};

use super::JudgedBatch;
use super::admission::{Admissions, Verdicts, admissions_of};
use super::expiry::Retention;
use super::judge::Judge;
use super::metrics::DedupMetrics;
use super::owner::Owner;
use super::reunite::{Reunite, SentBatch};
use super::store_threads::{OnFailure, StoreThreads};
use crate::failpoint::{Failpoint, reached};
use crate::host::Host;
use crate::io::IdStore;
use crate::record::EventBatch;
use crate::time::IngestTime;

/// What one worker's deduplication works with.
pub struct DedupConfig {
    /// Clocks and threads.
    pub host: Arc<dyn Host>,
    /// How long ids are remembered, and which.
    pub retention: Retention,
    /// The generation that this life of the job has claimed; it stands in the store's marker.
    pub generation: u32,
    /// The worker's store.
    pub store: Arc<dyn IdStore>,
    /// The judge over that store, from [`recover`](super::recover::recover).
    pub judge: Judge,
    /// The durable frontier: attached, in the same dataflow, to what follows the commit. An epoch is
    /// durable when no element of it is less or equal to the epoch's end. Nothing needs to activate the
    /// operator when it moves.
    pub durable: ProbeHandle<IngestTime>,
    /// Where the operator counts. One instance a process.
    pub metrics: Arc<DedupMetrics>,
    /// Told once of what failed. Deduplication then stands still, holding its capabilities.
    pub on_failure: OnFailure,
}

/// Deduplication of a stream of batches.
pub trait Deduplicate<'scope> {
    /// Judges every row: a duplicate, or the first record of its id. Batches stay on their worker and leave
    /// in the order they came.
    ///
    /// When the input has ended and every epoch is durable, what is in memory is written to the store, and
    /// only then does the dataflow end.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use strandline_operators::dedup::operator::{DedupConfig, Deduplicate};
    /// use strandline_operators::dedup::{expiry::Retention, judge::Judge, memory_store::MemoryIdStore};
    /// use strandline_operators::job::{Job, TooLate};
    /// use strandline_operators::record::EventBatch;
    /// use strandline_operators::time::{Epoch, IngestTime};
    /// use timely::dataflow::operators::vec::unordered_input::UnorderedInput;
    /// use timely::dataflow::operators::{Inspect, Probe};
    ///
    /// timely::execute_directly(|worker| {
    ///     let retention = Retention {
    ///         ttl: Job::BRONZE.dedup.expect("deduplicates").ttl,
    ///         allowed_lateness: Job::BRONZE.lateness.allowed,
    ///         too_late: TooLate::DeadLetter,
    ///     };
    ///     let durable = timely::dataflow::ProbeHandle::new();
    ///     let config = DedupConfig {
    ///         host: Arc::new(strandline_operators::host::Machine),
    ///         retention,
    ///         generation: 1,
    ///         store: Arc::new(MemoryIdStore::default()),
    ///         judge: Judge::new(1 << 20, retention.ttl_hours()),
    ///         durable: durable.clone(),
    ///         metrics: Arc::default(),
    ///         on_failure: Arc::new(|error| panic!("{error}")),
    ///     };
    ///     let (_handle, mut capability) = worker.dataflow::<IngestTime, _, _>(|scope| {
    ///         let (input, batches) = scope.new_unordered_input::<EventBatch>();
    ///         batches
    ///             .deduplicate(config)
    ///             .inspect(|judged| assert_eq!(judged.duplicates.len(), judged.events.hashes.len()))
    ///             .probe_with(&durable);
    ///         input
    ///     });
    ///     capability.downgrade(&IngestTime { epoch: Epoch::first_of(1), watermark: 0 });
    /// });
    /// ```
    fn deduplicate(self, config: DedupConfig) -> Stream<'scope, IngestTime, Vec<JudgedBatch>>;
}

impl<'scope> Deduplicate<'scope> for Stream<'scope, IngestTime, Vec<EventBatch>> {
    fn deduplicate(self, config: DedupConfig) -> Stream<'scope, IngestTime, Vec<JudgedBatch>> {
        let on_failure = Arc::clone(&config.on_failure);
        let host = Arc::clone(&config.host);
        let (batches, admissions) = admit(self, config.retention, host, Arc::clone(&on_failure));
        let verdicts = judge(admissions, config);
        reunite(batches, verdicts, on_failure)
    }
}

/// A stream at [`IngestTime`], of `D`.
type IngestStream<'scope, D> = Stream<'scope, IngestTime, Vec<D>>;

fn admit<'scope>(
    batches: IngestStream<'scope, EventBatch>,
    retention: Retention,
    host: Arc<dyn Host>,
    on_failure: OnFailure,
) -> (
    IngestStream<'scope, SentBatch>,
    IngestStream<'scope, Admissions>,
) {
    let scope = batches.scope();
    let (worker, workers) = (scope.index() as u32, scope.peers());
    let mut builder = OperatorBuilder::new("DedupAdmit".to_owned(), scope);
    let mut input = builder.new_input(batches, Pipeline);
    let (sent, sent_stream) = builder.new_output();
    let (admitted, admitted_stream) = builder.new_output();
    let mut sent = OutputBuilder::<_, CapacityContainerBuilder<Vec<SentBatch>>>::from(sent);
    let mut admitted =
        OutputBuilder::<_, CapacityContainerBuilder<Vec<Admissions>>>::from(admitted);
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut number = 0;
        let mut failed = None;
        move |_frontiers| {
            let (mut sent, mut admitted) = (sent.activate(), admitted.activate());
            input.for_each(|capability, batches| {
                if failed.is_some() {
                    return;
                }
                if let Err(error) = reached(&*host, Failpoint::Exchange) {
                    failed = Some((capability.retain(0), capability.retain(1)));
                    on_failure(error);
                    return;
                }
                for events in batches.drain(..) {
                    let mut admissions =
                        admissions_of(&events, &retention, worker, workers, number);
                    let owners = admissions.len();
                    // The batch first: it must be there when its verdicts come.
                    sent.session(&capability)
                        .give_container(&mut vec![SentBatch {
                            number,
                            events,
                            owners,
                        }]);
                    if owners > 0 {
                        admitted
                            .session(&capability)
                            .give_container(&mut admissions);
                    }
                    number += 1;
                }
            });
        }
    });
    (sent_stream, admitted_stream)
}

fn judge<'scope>(
    admissions: IngestStream<'scope, Admissions>,
    config: DedupConfig,
) -> IngestStream<'scope, Verdicts> {
    let scope = admissions.scope();
    let mut builder = OperatorBuilder::new("DedupJudge".to_owned(), scope);
    let address = builder.operator_info().address;
    let activator = scope.activator_for(Rc::clone(&address));
    // Taken here, on the worker's own thread: it captures the current one.
    let wake = scope.worker().sync_activator_for(address.to_vec());
    let DedupConfig {
        host,
        generation,
        store,
        judge,
        durable,
        metrics,
        on_failure,
        ..
    } = config;
    let owner = StoreThreads::start(
        &host,
        store,
        scope.index(),
        generation,
        wake,
        Arc::clone(&on_failure),
    )
    .map(|threads| Owner::new(host, judge, threads, activator, metrics, durable));
    let mut owner = owner.map_err(|error| on_failure(error)).ok();

    let mut input = builder.new_input(
        admissions,
        Exchange::new(|a: &Admissions| u64::from(a.owner)),
    );
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Verdicts>>>::from(output);
    builder.build_reschedule(move |capabilities| {
        // Without threads nothing is ever judged, and no frontier may move because of it.
        let held = if owner.is_some() {
            Vec::new()
        } else {
            capabilities
        };
        move |frontiers| {
            let is_incomplete = true;
            let Some(owner) = owner.as_mut().filter(|owner| !owner.has_failed()) else {
                let _ = &held;
                return is_incomplete;
            };
            input.for_each(|capability, admissions| {
                let capability = capability.retain(0);
                for admissions in admissions.drain(..) {
                    owner.admit(capability.clone(), admissions);
                }
            });
            let mut output = output.activate();
            let is_done = owner.work(&frontiers[0], |capability, verdicts| {
                output
                    .session(capability)
                    .give_container(&mut vec![verdicts]);
            });
            !is_done
        }
    });
    stream
}

fn reunite<'scope>(
    batches: IngestStream<'scope, SentBatch>,
    verdicts: IngestStream<'scope, Verdicts>,
    on_failure: OnFailure,
) -> IngestStream<'scope, JudgedBatch> {
    let scope = batches.scope();
    let mut reunite = Reunite::new(scope.peers());
    let mut builder = OperatorBuilder::new("DedupReunite".to_owned(), scope);
    let mut batches = builder.new_input(batches, Pipeline);
    let mut verdicts =
        builder.new_input(verdicts, Exchange::new(|v: &Verdicts| u64::from(v.origin)));
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<JudgedBatch>>>::from(output);
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut failed = false;
        move |_frontiers| {
            if failed {
                // What is held and what is unread keeps the frontier where it is.
                return;
            }
            batches.for_each(|capability, batches| {
                let capability = capability.retain(0);
                for sent in batches.drain(..) {
                    reunite.batch(capability.clone(), sent);
                }
            });
            verdicts.for_each(|_, verdicts| verdicts.drain(..).for_each(|v| reunite.verdicts(v)));
            let mut output = output.activate();
            while let Some(judged) = reunite.next() {
                match judged {
                    Ok((capability, judged)) => output
                        .session(&capability)
                        .give_container(&mut vec![judged]),
                    Err(error) => {
                        on_failure(error);
                        failed = true;
                        return;
                    }
                }
            }
        }
    });
    stream
}
