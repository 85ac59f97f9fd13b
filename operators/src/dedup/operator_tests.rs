//! The operators on 1, 2 and 4 workers, against an oracle that knows nothing of how they work.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use timely::dataflow::ProbeHandle;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::{Capability, Concat, Inspect, Probe};
use timely::worker::Worker;

use super::JudgedBatch;
use super::admission::owner_of;
use super::judge::Judge;
use super::memory_store::MemoryIdStore;
use super::operator::{DedupConfig, Deduplicate};
use super::recover::recover;
use super::shares::IdsByShare;
use super::testing::{GatedStore, TestInput, event_batch, random_hash, retention};
use crate::error::Error;
use crate::io::{IdStore, IdsByBucket, StateMarker, StoredId};
use crate::record::EventBatch;
use crate::time::{Epoch, EventTime, IngestTime};

const DEADLINE: Duration = Duration::from_secs(60);
const HOUR: i64 = 3_600_000_000;
const FILTER_BYTES: u64 = 1 << 14;
const GENERATION: u32 = 3;

/// xorshift64*: the tests print the seed they start it with.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }
}

fn epoch(n: u64) -> Epoch {
    Epoch(Epoch::first_of(GENERATION).0 + n)
}

fn at(n: u64) -> IngestTime {
    IngestTime {
        epoch: epoch(n),
        watermark: EventTime(100 * HOUR).to_coordinate(),
    }
}

fn config(store: Arc<dyn IdStore>, judge: Judge, durable: &ProbeHandle<IngestTime>) -> DedupConfig {
    DedupConfig {
        host: Arc::new(crate::host::Machine),
        retention: retention(),
        generation: GENERATION,
        store,
        judge,
        durable: durable.clone(),
        metrics: Arc::default(),
        on_failure: Arc::new(|error| panic!("{error}")),
    }
}

/// Steps until `done`, or fails saying what was waited for.
fn step_until(worker: &mut Worker, what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} for {what}");
        worker.step_or_park(Some(Duration::from_millis(5)));
    }
}

/// A stand-in for the commit: keeps each epoch until `committed` has reached it.
fn commit<'scope>(
    judged: timely::dataflow::Stream<'scope, IngestTime, Vec<JudgedBatch>>,
    committed: Rc<Cell<Epoch>>,
) -> timely::dataflow::Stream<'scope, IngestTime, Vec<JudgedBatch>> {
    judged.unary_frontier(Pipeline, "Commit", move |_, _| {
        let mut held: BTreeMap<Epoch, Capability<IngestTime>> = BTreeMap::new();
        move |(input, _frontier), output| {
            input.for_each(|capability, batches| {
                held.entry(capability.time().epoch)
                    .or_insert_with(|| capability.retain(0));
                output.session(&capability).give_container(batches);
            });
            held.retain(|&epoch, _| epoch > committed.get());
        }
    })
}

/// A row of the input: which id, event time.
type Row = (u64, i64);

/// What one worker reads in one epoch.
fn rows_of(seed: u64, worker: usize, epoch: u64) -> Vec<Vec<Row>> {
    let mut random = Random(seed ^ (worker as u64 + 1) << 32 ^ (epoch + 1) << 48);
    (0..random.below(5))
        .map(|_| {
            (0..random.below(60))
                // One row in eight is too late, and not to be remembered.
                .map(|_| {
                    (
                        random.below(500),
                        if random.below(8) == 0 {
                            90 * HOUR
                        } else {
                            100 * HOUR
                        },
                    )
                })
                .collect()
        })
        .collect()
}

/// A verdict as it came out: (epoch, worker, id, lands, duplicate).
type Outcome = (Epoch, usize, u64, bool, bool);

#[derive(Default)]
struct Results {
    outcomes: Vec<Outcome>,
}

fn run(workers: usize, seed: u64, epochs: u64, flush_at: usize) {
    println!("workers {workers}, seed {seed}");
    let stores: Arc<Vec<Arc<MemoryIdStore>>> =
        Arc::new((0..workers).map(|_| Arc::default()).collect());
    let results = Arc::new(Mutex::new(Results::default()));
    // The table holds these before the start.
    let before: Vec<StoredId> = (0..500)
        .step_by(7)
        .map(|id| StoredId {
            bucket: 110,
            hash: random_hash(id),
        })
        .collect();

    let (all_stores, all_results, table) =
        (Arc::clone(&stores), Arc::clone(&results), before.clone());
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let (index, peers) = (worker.index(), worker.peers());
        let store = Arc::clone(&all_stores[index]);
        let up_to = StateMarker {
            generation: GENERATION,
            epoch: Epoch(epoch(0).0 - 1),
        };
        let mut shares = IdsByShare::new(index..index + 1, peers);
        table.iter().for_each(|&id| shares.push(id));
        let judge = recover(
            &*store,
            index,
            FILTER_BYTES,
            24,
            Some(100),
            shares.take(0, 0).map(Ok),
            Some(up_to),
        )
        .expect("recover")
        .flush_at(flush_at);
        let durable = ProbeHandle::new();
        let committed = Rc::new(Cell::new(Epoch(0)));
        let results = Arc::clone(&all_results);
        let config = config(store, judge, &durable);
        let metrics = Arc::clone(&config.metrics);
        let mut input = worker.dataflow::<IngestTime, _, _>(|scope| {
            let (input, batches) = TestInput::new(scope);
            let judged = batches
                .deduplicate(config)
                .unary(Pipeline, "Look", move |_, _| {
                    move |input, output| {
                        input.for_each(|capability, batches| {
                            let mut results = results.lock().expect("results");
                            for JudgedBatch { events, duplicates } in batches.iter() {
                                assert_eq!(
                                    duplicates.len(),
                                    events.hashes.len(),
                                    "one verdict a row"
                                );
                                for ((&row, &time), &duplicate) in events
                                    .rows
                                    .iter()
                                    .zip(&events.event_times)
                                    .zip(duplicates.iter())
                                {
                                    let id = events.raw.records[row as usize].offset as u64;
                                    let lands = time.0 == 100 * HOUR;
                                    results.outcomes.push((
                                        capability.time().epoch,
                                        index,
                                        id,
                                        lands,
                                        duplicate,
                                    ));
                                }
                            }
                            output.session(&capability).give_container(batches);
                        });
                    }
                });
            commit(judged, Rc::clone(&committed)).probe_with(&durable);
            input
        });
        let mut random = Random(seed + index as u64);
        for n in 0..epochs {
            input.advance_to(at(n));
            for rows in rows_of(seed, index, n) {
                let mut events = event_batch(
                    rows.iter()
                        .map(|&(id, time)| (random_hash(id), time, Some(100 * HOUR))),
                );
                // The offset stands for the id, so that a verdict can be told apart from its hash.
                events.raw.records = rows
                    .iter()
                    .map(|&(id, _)| crate::record::RawRecord {
                        offset: id as i64,
                        timestamp: None,
                        key: None,
                        value: None,
                    })
                    .collect();
                input.send(events);
                if random.below(3) == 0 {
                    worker.step();
                }
            }
            // Commits run a few epochs behind.
            committed.set(Epoch(epoch(n).0 - random.below(4)).max(committed.get()));
            for _ in 0..random.below(4) {
                worker.step();
            }
        }
        input.close();
        committed.set(Epoch(u64::MAX));
        let deadline = Instant::now() + DEADLINE;
        while worker.step_or_park(Some(Duration::from_millis(5))) {
            assert!(
                Instant::now() < deadline,
                "waited {DEADLINE:?} for the drain"
            );
        }
        assert!(metrics.answers().store > 0, "no question reached the store");
    })
    .expect("execute");
    for result in guards.join() {
        result.expect("worker");
    }

    let results = results.lock().expect("results");
    check_order(workers, seed, epochs, &results.outcomes);
    let landed = check_verdicts(&before, &results.outcomes);
    for (worker, store) in stores.iter().enumerate() {
        let expected: BTreeMap<u128, Epoch> = landed
            .iter()
            .filter(|(hash, _)| owner_of(**hash, workers) == worker)
            .map(|(&hash, &epoch)| (hash, epoch))
            .collect();
        let held: BTreeSet<u128> = store.ids().iter().map(|id| id.hash).collect();
        assert_eq!(store.ids().len(), held.len(), "an id is stored once");
        assert_eq!(
            held,
            expected.keys().copied().collect(),
            "worker {worker} stores what landed and is its own"
        );
        assert_eq!(
            store.marker().map(|m| m.epoch),
            expected.values().max().copied()
        );
        assert_eq!(store.marker().map(|m| m.generation), Some(GENERATION));
    }
}

/// Every row comes out once, in the order and the epoch it went in.
fn check_order(workers: usize, seed: u64, epochs: u64, outcomes: &[Outcome]) {
    for worker in 0..workers {
        let read: Vec<(Epoch, u64)> = (0..epochs)
            .flat_map(|n| {
                rows_of(seed, worker, n)
                    .into_iter()
                    .flatten()
                    .map(move |(id, _)| (epoch(n), id))
            })
            .collect();
        let judged: Vec<(Epoch, u64)> = outcomes
            .iter()
            .filter(|o| o.1 == worker)
            .map(|&(epoch, _, id, ..)| (epoch, id))
            .collect();
        assert_eq!(judged, read, "rows of worker {worker}");
    }
}

/// The oracle. Returns what the stores should hold: hashes, and the epoch each landed in.
fn check_verdicts(before: &[StoredId], outcomes: &[Outcome]) -> HashMap<u128, Epoch> {
    let mut known: HashMap<u128, Epoch> = before
        .iter()
        .map(|id| (id.hash, Epoch(epoch(0).0 - 1)))
        .collect();
    let mut by_epoch: BTreeMap<Epoch, BTreeMap<u64, Vec<(bool, bool)>>> = BTreeMap::new();
    for &(epoch, _, id, lands, duplicate) in outcomes {
        by_epoch
            .entry(epoch)
            .or_default()
            .entry(id)
            .or_default()
            .push((lands, duplicate));
    }
    for (epoch, ids) in by_epoch {
        for (id, copies) in ids {
            if known.contains_key(&random_hash(id)) {
                assert!(
                    copies.iter().all(|c| c.1),
                    "id {id} had landed before {epoch}: {copies:?}"
                );
                continue;
            }
            let landed = copies
                .iter()
                .filter(|&&(lands, duplicate)| lands && !duplicate)
                .count();
            if copies.iter().any(|c| c.0) {
                assert_eq!(landed, 1, "id {id} lands once in {epoch}: {copies:?}");
                known.insert(random_hash(id), epoch);
            } else {
                assert!(
                    copies.iter().all(|c| !c.1),
                    "id {id} never landed by {epoch}: {copies:?}"
                );
            }
        }
    }
    known
}

#[test]
fn verdicts_and_stores_are_right_on_one_worker() {
    (1..=20).for_each(|seed| run(1, seed, 25, if seed % 2 == 0 { 40 } else { 1 << 20 }));
}

#[test]
fn verdicts_and_stores_are_right_on_two_workers() {
    (101..=120).for_each(|seed| run(2, seed, 25, if seed % 2 == 0 { 40 } else { 1 << 20 }));
}

#[test]
fn verdicts_and_stores_are_right_on_four_workers() {
    (201..=215).for_each(|seed| run(4, seed, 20, if seed % 2 == 0 { 20 } else { 1 << 20 }));
}

fn one(id: u64) -> EventBatch {
    event_batch([(random_hash(id), 100 * HOUR, Some(100 * HOUR))])
}

/// Collects (epoch, duplicate) of single-row batches.
type Seen = Rc<std::cell::RefCell<Vec<(Epoch, bool)>>>;

#[test]
fn a_copy_in_a_later_epoch_waits_for_the_earlier_one() {
    timely::execute_directly(|worker| {
        let durable = ProbeHandle::new();
        let seen = Seen::default();
        let config = config(
            Arc::new(MemoryIdStore::default()),
            Judge::new(FILTER_BYTES, 24),
            &durable,
        );
        let look = Rc::clone(&seen);
        let (mut early, mut late) = worker.dataflow::<IngestTime, _, _>(|scope| {
            let (early, first) = TestInput::new(scope);
            let (late, second) = TestInput::new(scope);
            first
                .concat(second)
                .deduplicate(config)
                .inspect_time(move |time, judged| {
                    look.borrow_mut().push((time.epoch, judged.duplicates[0]))
                })
                .probe_with(&durable);
            (early, late)
        });
        early.advance_to(at(1));
        late.advance_to(at(2));
        late.send(one(7));
        (0..100).for_each(|_| _ = worker.step());
        assert_eq!(*seen.borrow(), [], "epoch 1 may still bring a copy");
        early.send(one(7));
        early.close();
        late.close();
        step_until(worker, "both verdicts", || seen.borrow().len() == 2);
        let mut verdicts = seen.borrow().clone();
        verdicts.sort_unstable();
        assert_eq!(verdicts, [(epoch(1), false), (epoch(2), true)]);
    });
}

#[test]
fn an_aborted_epoch_leaves_nothing_behind() {
    let store = Arc::new(MemoryIdStore::default());
    for life in 0..2 {
        let shared: Arc<dyn IdStore> = Arc::clone(&store) as _;
        let kept = Arc::clone(&store);
        timely::execute_directly(move |worker| {
            let durable = ProbeHandle::new();
            let committed = Rc::new(Cell::new(Epoch(0)));
            let seen = Seen::default();
            let config = config(shared, Judge::new(FILTER_BYTES, 24).flush_at(1), &durable);
            let dataflow = worker.next_dataflow_index();
            let (look, commits) = (Rc::clone(&seen), Rc::clone(&committed));
            let mut input = worker.dataflow::<IngestTime, _, _>(|scope| {
                let (input, batches) = TestInput::new(scope);
                let judged = batches
                    .deduplicate(config)
                    .inspect_time(move |time, judged| {
                        look.borrow_mut().push((time.epoch, judged.duplicates[0]))
                    });
                commit(judged, commits).probe_with(&durable);
                input
            });
            input.advance_to(at(1));
            input.send(one(1));
            input.advance_to(at(2));
            step_until(worker, "the verdict", || seen.borrow().len() == 1);
            assert_eq!(
                *seen.borrow(),
                [(epoch(1), false)],
                "its first landing was never committed"
            );
            if life == 0 {
                // Killed before the commit; the flush threshold of 1 would have written anything durable.
                (0..100).for_each(|_| _ = worker.step());
                assert_eq!(kept.ids(), []);
                worker.drop_dataflow(dataflow);
            } else {
                committed.set(epoch(1));
                input.advance_to(at(3));
                input.send(one(2));
                step_until(worker, "the flush of epoch 1", || kept.ids().len() == 1);
                assert_eq!(
                    kept.marker(),
                    Some(StateMarker {
                        generation: GENERATION,
                        epoch: epoch(1)
                    })
                );
                worker.drop_dataflow(dataflow);
            }
        });
    }
}

#[test]
fn a_slow_store_does_not_hold_the_worker_and_copies_in_flight_land_once() {
    let store = Arc::new(GatedStore::default());
    let known = StoredId {
        bucket: 124,
        hash: random_hash(1),
    };
    let judge = recover(
        &*store,
        0,
        FILTER_BYTES,
        24,
        Some(100),
        [Ok(IdsByBucket::from([(known.bucket, vec![known.hash])]))],
        None,
    )
    .expect("recover");
    timely::execute_directly(move |worker| {
        let durable = ProbeHandle::new();
        let seen = Seen::default();
        let config = config(Arc::clone(&store) as _, judge, &durable);
        let look = Rc::clone(&seen);
        let mut input = worker.dataflow::<IngestTime, _, _>(|scope| {
            let (input, batches) = TestInput::new(scope);
            batches
                .deduplicate(config)
                .inspect_time(move |time, judged| {
                    look.borrow_mut().push((time.epoch, judged.duplicates[0]))
                })
                .probe_with(&durable);
            input
        });
        input.advance_to(at(1));
        input.send(one(1));
        input.send(one(1));
        input.advance_to(at(2));
        input.send(one(1));
        input.send(one(2));
        // Each step returns although the store does not.
        (0..100).for_each(|_| _ = worker.step());
        assert_eq!(
            *seen.borrow(),
            [],
            "batches leave in order, and the first waits for the store"
        );
        assert!(
            durable.less_equal(&at(1)),
            "an epoch with an open question is not complete"
        );
        store.open();
        step_until(worker, "four verdicts", || seen.borrow().len() == 4);
        assert_eq!(
            *seen.borrow(),
            [
                (epoch(1), true),
                (epoch(1), true),
                (epoch(2), true),
                (epoch(2), false)
            ]
        );
        input.close();
    });
}

#[test]
fn filters_are_refilled_behind_the_running_job() {
    let store = Arc::new(MemoryIdStore::default());
    let ids = 1000..1500u64;
    let mut hashes: Vec<u128> = ids.clone().map(random_hash).collect();
    hashes.sort_unstable();
    let marker = StateMarker {
        generation: GENERATION,
        epoch: Epoch(epoch(0).0 - 1),
    };
    store
        .ingest(&IdsByBucket::from([(124, hashes)]), Some(marker))
        .expect("ingest");
    let judge = recover(&*store, 0, FILTER_BYTES, 24, Some(100), [], None).expect("recover");
    assert_eq!(judge.entries(), 0, "nothing is read before the start");
    timely::execute_directly(move |worker| {
        let durable = ProbeHandle::new();
        let seen = Seen::default();
        let config = config(store, judge, &durable);
        let metrics = Arc::clone(&config.metrics);
        let look = Rc::clone(&seen);
        let mut input = worker.dataflow::<IngestTime, _, _>(|scope| {
            let (input, batches) = TestInput::new(scope);
            batches
                .deduplicate(config)
                .inspect_time(move |time, judged| {
                    look.borrow_mut().push((time.epoch, judged.duplicates[0]))
                })
                .probe_with(&durable);
            input
        });
        input.advance_to(at(1));
        input.send(one(1000));
        input.send(one(1));
        input.advance_to(at(2));
        step_until(worker, "two verdicts", || seen.borrow().len() == 2);
        assert_eq!(*seen.borrow(), [(epoch(1), true), (epoch(1), false)]);
        step_until(worker, "the ids of the store", || metrics.entries() >= 500);
        let asked = metrics.answers().store;
        input.send(one(2));
        input.send(one(1001));
        input.advance_to(at(3));
        step_until(worker, "four verdicts", || seen.borrow().len() == 4);
        assert_eq!(seen.borrow()[2..], [(epoch(2), false), (epoch(2), true)]);
        assert_eq!(
            metrics.answers().store,
            asked + 1,
            "only about the known one"
        );
        input.close();
    });
}

#[test]
fn a_store_that_fails_is_told_once_and_no_epoch_completes() {
    let store = Arc::new(MemoryIdStore::default());
    let known = StoredId {
        bucket: 124,
        hash: random_hash(1),
    };
    let judge = recover(
        &*store,
        0,
        FILTER_BYTES,
        24,
        Some(100),
        [Ok(IdsByBucket::from([(known.bucket, vec![known.hash])]))],
        None,
    )
    .expect("recover");
    store.fail(Error::unreachable("cannot read `state`: disk gone"));
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    timely::execute_directly(move |worker| {
        let durable = ProbeHandle::new();
        let mut config = config(store, judge, &durable);
        let tell = Arc::clone(&count);
        config.on_failure = Arc::new(move |error| {
            assert_eq!(error.message(), "cannot read `state`: disk gone");
            tell.fetch_add(1, Ordering::SeqCst);
        });
        let dataflow = worker.next_dataflow_index();
        let mut input = worker.dataflow::<IngestTime, _, _>(|scope| {
            let (input, batches) = TestInput::new(scope);
            batches.deduplicate(config).probe_with(&durable);
            input
        });
        input.advance_to(at(1));
        input.send(one(1));
        input.advance_to(at(2));
        input.send(one(2));
        input.close();
        step_until(worker, "the failure", || count.load(Ordering::SeqCst) > 0);
        (0..1000).for_each(|_| _ = worker.step());
        assert!(
            durable.less_equal(&at(1)),
            "a failure must not look like the end of an epoch"
        );
        worker.drop_dataflow(dataflow);
    });
    assert_eq!(told.load(Ordering::SeqCst), 1);
}
