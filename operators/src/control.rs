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
use crate::wake::Alarm;

/// How often the clock looks while an epoch is due that it may not close yet: a part of the commit interval, within
/// these bounds.
const LOOKS_IN_AN_INTERVAL: u32 = 50;
const LOOK_MIN: Duration = Duration::from_millis(1);
const LOOK_MAX: Duration = Duration::from_millis(10);

/// The longest time between two looks of the clock; a report wakes it too.
const PATIENCE: Duration = Duration::from_millis(250);

/// When the clock is to look again.
fn look_in(due_in: Option<Duration>, interval: Duration) -> Duration {
    match due_in {
        None => PATIENCE,
        Some(Duration::ZERO) => (interval / LOOKS_IN_AN_INTERVAL).clamp(LOOK_MIN, LOOK_MAX),
        Some(due_in) => due_in.clamp(LOOK_MIN, PATIENCE),
    }
}

/// Builds the control dataflow of this worker.
pub fn control(worker: &mut Worker, context: &Context) {
    worker.dataflow::<u64, _, _>(|scope| {
        let reports: StreamVec<u64, Report> = source::<
            _,
            CapacityContainerBuilder<Vec<Report>>,
            _,
            _,
        >(scope, "Report", |capability, info| {
            let wake = || scope.activator_for(Rc::clone(&info.address));
            context.report.read_by(wake());
            context.finished.heard_by(wake());
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
                let report = context.report.take();
                if report.is_some() && report != last {
                    if let Some(report) = report.clone() {
                        output.session(capability).give(report);
                    }
                    last = report;
                }
            }
        });
        let ticks = reports.unary::<CapacityContainerBuilder<Vec<Tick>>, _, _, _>(
            Exchange::new(|_: &Report| 0),
            "Clock",
            |capability, info| {
                let mut alarm = Alarm::of(scope, &info.address);
                let wake = scope.activator_for(Rc::clone(&info.address));
                context.finished.heard_by(wake);
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
                    let now = context.host.now();
                    if let Some(tick) = clock.tick(now, |epoch| context.is_durable(epoch)) {
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
                    let interval = context.settings.commit.interval;
                    alarm.ring_within(look_in(clock.due_in(now), interval));
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
                            context.ticks.put(|waiting| waiting.extend(ticks.drain(..)));
                        });
                    }
                },
            );
    });
}
