//! The control dataflow: reports to the clock on worker 0, its ticks to every worker.
//!
//! It is a dataflow of its own because a tick that reached the source as an input of the job's dataflow
//! would hold the watermark back. Its messages carry no event time; its one timestamp never moves.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::operators::vec::Broadcast;
use timely::worker::Worker;

use crate::clock::{Report, Tick};
use crate::context::Context;

/// How often a worker reports and the clock looks, at most: a fraction of the commit interval.
fn cadence(interval: Duration) -> Duration {
    (interval / 50).clamp(Duration::from_millis(1), Duration::from_millis(10))
}

/// Builds the control dataflow of this worker.
pub fn control(worker: &mut Worker, context: &Context) {
    let cadence = cadence(context.settings.commit.interval);
    worker.dataflow::<u64, _, _>(|scope| {
        let reports: StreamVec<u64, Report> = source::<
            _,
            CapacityContainerBuilder<Vec<Report>>,
            _,
            _,
        >(scope, "Report", |capability, info| {
            let activator = scope.activator_for(Rc::clone(&info.address));
            let context = Rc::clone(context);
            let mut capability: Option<Capability<u64>> = Some(capability);
            let mut last: Option<Report> = None;
            move |output| {
                if context.finished.get() {
                    capability = None;
                }
                let Some(capability) = capability.as_ref() else {
                    return;
                };
                let report = context.report.borrow_mut().take();
                if report.is_some() && report != last {
                    if let Some(report) = report.clone() {
                        output.session(capability).give(report);
                    }
                    last = report;
                }
                activator.activate_after(cadence);
            }
        });
        let ticks = reports.unary::<CapacityContainerBuilder<Vec<Tick>>, _, _, _>(
            Exchange::new(|_: &Report| 0),
            "Clock",
            |capability, info| {
                let activator = scope.activator_for(Rc::clone(&info.address));
                let context = Rc::clone(context);
                let mut capability = context.clock.is_some().then_some(capability);
                move |input, output| {
                    let Some(clock) = context.clock.as_ref() else {
                        input.for_each(|_time, _reports| {});
                        return;
                    };
                    let mut clock = clock.borrow_mut();
                    input.for_each(|_time, reports: &mut Vec<Report>| {
                        for report in reports.drain(..) {
                            clock.report(report);
                        }
                    });
                    if context.finished.get() {
                        capability = None;
                    }
                    let Some(capability) = capability.as_ref() else {
                        return;
                    };
                    if let Some(tick) =
                        clock.tick(context.host.now(), |epoch| context.is_durable(epoch))
                    {
                        output.session(capability).give(tick);
                    }
                    let stops = clock.is_asked_to_stop();
                    context.observed.stops.store(stops, Ordering::Relaxed);
                    context.observed.lag.store(clock.lag(), Ordering::Relaxed);
                    context
                        .observed
                        .waits
                        .store(clock.waits(), Ordering::Relaxed);
                    context
                        .observed
                        .open_epoch
                        .store(clock.epoch().0, Ordering::Relaxed);
                    context.observed.announce_watermark(clock.watermark());
                    activator.activate_after(cadence);
                }
            },
        );
        let context = Rc::clone(context);
        ticks
            .broadcast()
            .unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(
                Pipeline,
                "Follow",
                |_capability, _info| {
                    move |input, _output| {
                        input.for_each(|_time, ticks: &mut Vec<Tick>| {
                            context.ticks.borrow_mut().extend(ticks.drain(..));
                        });
                    }
                },
            );
    });
}
