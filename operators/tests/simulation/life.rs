//! One life of the job: it claims, recovers, reads and commits, on threads that take turns.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use strandline_operators::clock::Clock;
use strandline_operators::context::{Context, WorkerContext};
use strandline_operators::control::control;
use strandline_operators::credit::Budget;
use strandline_operators::dedup::expiry::{Retention, first_live_bucket};
use strandline_operators::dedup::read_back::{ReadBack, gather_ids, missing};
use strandline_operators::dedup::recover::recover;
use strandline_operators::dedup::shares::IdsByShare;
use strandline_operators::failpoint::{Failpoint, reached};
use strandline_operators::flow::{DedupState, Ports, bronze};
use strandline_operators::io::{IdStore, StateMarker, Table};
use strandline_operators::job::JobSettings;
use strandline_operators::landing::behind::SecondariesBehind;
use strandline_operators::landing::claim::{Claimant, claim};
use strandline_operators::landing::committer::{Committer, Secondary};
use strandline_operators::landing::confirmed::Confirmed;
use strandline_operators::landing::pending::{Marks, roll_forward};
use strandline_operators::landing::table::VersionedTable;
use strandline_operators::landing::trouble::CommitTrouble;
use strandline_operators::observed::Observed;
use strandline_operators::partitions::WorkerPartitions;
use strandline_operators::positions::{Position, decide, worker_of};
use strandline_operators::progress::Progress;
use strandline_operators::time::{Epoch, EventTime, IngestTime};
use strandline_operators::wake::{Mailbox, Signal};
use strandline_operators::{Error, Result};
use timely::WorkerConfig;
use timely::communication::{WorkerGuards, initialize_from};
use timely::dataflow::ProbeHandle;
use timely::worker::Worker;

use crate::baton::{Said, Seat, Thread, first_turn, give_way, next_turn};
use crate::broker::TOPIC;
use crate::host::{SimHost, may_give_way};
use crate::log::{SimLetters, SimLog, SimTopics};
use crate::stores::{SimFiles, SimPending, SimStore};
use crate::tables::SimTable;
use crate::world::{Mutation, PRIMARY, SECONDARIES, World};

/// Memory of a worker's filters: small, so that they say "maybe" wrongly now and then.
const FILTER_BYTES: u64 = 1 << 12;

/// What a life's threads share with the scheduler.
pub struct Life {
    pub number: usize,
    pub workers: usize,
    world: World,
    settings: Arc<JobSettings>,
    pub failure: Arc<Mutex<Option<Error>>>,
    prepared: Arc<Mutex<Option<Prepared>>>,
}

/// What the first thread of a life leaves to its workers.
struct Prepared {
    progress: Progress,
    positions: Vec<Position>,
    observed: Arc<Observed>,
    table: Option<Box<dyn Table>>,
    dedup: Vec<Option<DedupState>>,
}

impl Life {
    pub fn new(world: &World, number: usize, workers: usize, settings: &JobSettings) -> Life {
        Life {
            number,
            workers,
            world: world.clone(),
            settings: Arc::new(settings.clone()),
            failure: Arc::default(),
            prepared: Arc::default(),
        }
    }

    /// The thread that claims and recovers.
    pub fn starter(&self) -> Thread {
        let host = SimHost {
            world: self.world.clone(),
            life: self.number,
        };
        let (settings, workers) = (Arc::clone(&self.settings), self.workers);
        let (prepared, failure) = (Arc::clone(&self.prepared), Arc::clone(&self.failure));
        Thread::spawn("start".to_owned(), move || {
            may_give_way();
            if !first_turn() {
                return;
            }
            match prepare(&host, &settings, workers) {
                Ok(made) => *prepared.lock().expect("lock") = Some(made),
                Err(error) => *failure.lock().expect("lock") = Some(error),
            }
        })
    }

    /// The workers, once the starter has ended without a failure, and what joins them when it is dropped.
    pub fn workers(&self) -> (Vec<Thread>, WorkerGuards<()>) {
        let config = match self.workers {
            1 => timely::CommunicationConfig::Thread,
            n => timely::CommunicationConfig::Process(n),
        };
        let (allocators, others) = config.try_build().expect("allocators");
        let (threads, seats): (Vec<Thread>, Vec<Option<Seat>>) = (0..self.workers)
            .map(|index| Thread::seat(format!("worker {index}")))
            .map(|(thread, seat)| (thread, Some(seat)))
            .unzip();
        let seats = Mutex::new(seats);
        let (world, settings) = (self.world.clone(), Arc::clone(&self.settings));
        let (prepared, failure) = (Arc::clone(&self.prepared), Arc::clone(&self.failure));
        let life = self.number;
        let guards = initialize_from(allocators, others, move |allocator| {
            let index = allocator.index();
            let seat = seats.lock().expect("lock")[index].take();
            // Without a timer, so that no real time decides when an operator runs.
            let worker = Worker::new(WorkerConfig::default(), allocator, None);
            seat.expect("one seat a worker").run(|| {
                let mut worker = worker;
                if !first_turn() {
                    return;
                }
                let context = {
                    let mut prepared = prepared.lock().expect("lock");
                    let prepared = prepared.as_mut().expect("a life that is prepared");
                    let world = world.clone();
                    let host = SimHost { world, life };
                    build(&mut worker, host, &settings, prepared, Arc::clone(&failure))
                };
                if !work(&mut worker, &context) {
                    for dataflow in worker.installed_dataflows() {
                        worker.drop_dataflow(dataflow);
                    }
                }
            });
        });
        (threads, guards.expect("threads"))
    }
}

/// Turns until everything has drained; false when killed before.
fn work(worker: &mut Worker, context: &Context) -> bool {
    loop {
        worker.step();
        context.finished.set(context.durable.done());
        if !worker.has_dataflows() {
            return true;
        }
        if !next_turn(Said::Worked) {
            return false;
        }
    }
}

/// Claims a generation, rolls forward what is pending, and brings the state up to the table.
fn prepare(host: &SimHost, settings: &JobSettings, workers: usize) -> Result<Prepared> {
    let world = &host.world;
    let mut primary = SimTable::open(world, host.life, PRIMARY);
    give_way(Said::Worked);
    let static_name = |name: &str| {
        let known = SECONDARIES.into_iter().find(|known| *known == name);
        known.expect("one of the job's tables")
    };
    let open = |name: &str| SimTable::open(world, host.life, static_name(name));
    let mut secondaries: Vec<Secondary<SimTable>> = settings
        .secondary_tables()
        .into_iter()
        .map(|secondary| Secondary {
            index: secondary.index,
            route: secondary.route.map(str::to_owned),
            name: secondary.name.to_owned(),
            table: open(secondary.name),
        })
        .collect();
    let versions = secondaries.iter().map(|s| s.table.version());
    let marks = Marks::read(versions, &settings.name)?;
    let claimant = Claimant {
        job: &settings.name,
        fingerprint: &settings.fingerprint(),
        new_hash_seed: 42,
        options: Default::default(),
    };
    let mut positions = Vec::new();
    let progress = claim(host, &mut primary, &marks, claimant, &mut |progress| {
        positions = positions_of(host, settings, progress)?;
        Ok(())
    })?;
    world.lock().claimed(host.life, progress.generation());
    let pending_files = SimPending {
        world: world.clone(),
        life: host.life,
    };
    let mut open_again = |name: &str| Ok(open(name));
    roll_forward(host, &pending_files, &marks, &mut open_again, &progress)?;
    for secondary in &mut secondaries {
        secondary.table.reload()?;
    }
    let dedup = open_state(host, settings, &progress, workers)?;
    world.note(|| {
        format!(
            "life {}: generation {} on {workers} workers, after epoch {:?}",
            host.life,
            progress.generation(),
            progress.epoch
        )
    });
    let committer = Committer::new(
        Arc::new(host.clone()),
        primary,
        secondaries,
        Box::new(pending_files),
        progress.clone(),
        SecondariesBehind::default(),
    );
    let observed = Arc::new(Observed::new());
    let topics = SimTopics {
        world: world.clone(),
        life: host.life,
    };
    let table = Confirmed::new(
        Arc::new(host.clone()),
        Box::new(topics),
        &progress,
        Arc::clone(&observed),
        CommitTrouble::default(),
        Box::new(committer),
    );
    Ok(Prepared {
        progress,
        positions,
        observed,
        table: Some(Box::new(table)),
        dedup,
    })
}

/// As the engine does: what the broker says is held against the progress that was read before.
fn positions_of(
    host: &SimHost,
    settings: &JobSettings,
    progress: &mut Progress,
) -> Result<Vec<Position>> {
    let mut world = host.world.lock();
    let (topic, facts) = world.describe_topic(host.life, settings.on_gap, progress);
    let mut positions = decide(
        None,
        std::slice::from_ref(&topic),
        &facts,
        progress,
        &settings.starting_offsets,
        settings.on_gap,
    )?;
    if world.mutation == Some(Mutation::LossNotCounted) {
        for position in &mut positions {
            position.assigned.start = position.read_from;
        }
    }
    let known = progress.topics.entry(topic.name).or_default();
    known.topic_id = topic.id;
    for position in &positions {
        progress.begin(&position.assigned.source, position.assigned.start);
    }
    Ok(positions)
}

/// As the engine does: a store that the table vouches for is kept, what is missing is read back.
fn open_state(
    host: &SimHost,
    settings: &JobSettings,
    progress: &Progress,
    workers: usize,
) -> Result<Vec<Option<DedupState>>> {
    let world = &host.world;
    let retention = Retention::of(settings).expect("deduplicates");
    let stores: Vec<Arc<dyn IdStore>> = (0..workers)
        .map(|worker| {
            let mut world_state = world.lock();
            // Another number of workers has other shares.
            world_state.stores.retain(|(of, _), _| *of == workers);
            let store = world_state.stores.entry((workers, worker)).or_default();
            if let Some(marker) = store.marker()
                && !progress.vouches_for(marker.generation, marker.epoch)
            {
                *store = Arc::default();
            }
            let store = Arc::clone(store);
            drop(world_state);
            Arc::new(SimStore {
                world: world.clone(),
                store,
            }) as Arc<dyn IdStore>
        })
        .collect();
    let complete = stores.iter().map(|store| store.marker().map(|m| m.epoch));
    let wanted = missing(complete, progress, retention);
    let mut shares = IdsByShare::new(0..workers, workers);
    if let Some(wanted) = wanted {
        read_back(host, wanted, progress, retention, &mut shares)?;
    }
    let up_to = progress.epoch.map(|epoch| StateMarker {
        generation: epoch.generation(),
        epoch,
    });
    stores
        .into_iter()
        .enumerate()
        .map(|(worker, store)| {
            let judge = recover(
                &*store,
                worker,
                FILTER_BYTES,
                retention.ttl_hours(),
                progress.watermark.map(first_live_bucket),
                shares.take(worker, 0).map(Ok),
                up_to,
            )?;
            Ok(Some(DedupState {
                store,
                judge,
                hash_seed: progress.hash_seed,
                metrics: Arc::default(),
            }))
        })
        .collect()
}

fn read_back(
    host: &SimHost,
    wanted: ReadBack,
    progress: &Progress,
    retention: Retention,
    shares: &mut IdsByShare,
) -> Result<()> {
    reached(host, Failpoint::Rebuild)?;
    let mut rows = host.world.lock().rows(PRIMARY);
    rows.retain(|row| {
        let alive = |after: EventTime| {
            row.event_time > after.0 || row.watermark.is_some_and(|w| w > after.0)
        };
        wanted
            .epoch_above
            .is_none_or(|epoch| row.epoch > epoch.0 as i64)
            && wanted.alive_after.is_none_or(alive)
    });
    let times = |of: &dyn Fn(&crate::world::Row) -> Option<i64>| -> ArrayRef {
        let times: TimestampMicrosecondArray = rows.iter().map(of).collect();
        Arc::new(times.with_timezone("+00:00"))
    };
    let ids: StringArray = rows.iter().map(|row| Some(row.id.as_str())).collect();
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(ids)),
        ("event_time", times(&|row| Some(row.event_time))),
        ("watermark", times(&|row| row.watermark)),
    ];
    let rows = RecordBatch::try_from_iter_with_nullable(
        columns.map(|(name, column)| (name, column, true)),
    )
    .map_err(|e| Error::internal(e.to_string()))?;
    gather_ids(&rows, wanted, progress, retention, shares)
}

fn build(
    worker: &mut Worker,
    host: SimHost,
    settings: &Arc<JobSettings>,
    prepared: &mut Prepared,
    failure: Arc<Mutex<Option<Error>>>,
) -> Context {
    let (index, peers) = (worker.index(), worker.peers());
    let (world, life) = (host.world.clone(), host.life);
    let progress = &prepared.progress;
    let start = IngestTime {
        epoch: Epoch::first_of(progress.generation()),
        watermark: progress.watermark.map_or(0, |w| w.to_coordinate()),
    };
    let clock = (index == 0).then(|| {
        let until_caught_up = true;
        RefCell::new(Clock::new(
            settings.commit,
            start,
            peers,
            until_caught_up,
            world.now(),
        ))
    });
    let context: Context = Rc::new(WorkerContext {
        host: Arc::new(host),
        worker: index as u32,
        peers: peers as u32,
        start,
        budget: Budget::new(1 << 16),
        on_failure: Arc::new(move |error| {
            failure.lock().expect("lock").get_or_insert(error);
        }),
        observed: Arc::clone(&prepared.observed),
        stop: Arc::new(AtomicBool::new(false)),
        durable: ProbeHandle::new(),
        partitions: RefCell::new(WorkerPartitions::new(settings.watermark)),
        latency: RefCell::default(),
        ticks: Mailbox::default(),
        report: Mailbox::default(),
        clock,
        finished: Signal::default(),
        settings: Arc::clone(settings),
    });
    let own: Vec<Position> = prepared
        .positions
        .iter()
        .filter(|p| worker_of(0, p.assigned.source.partition, peers) == index)
        .cloned()
        .collect();
    let topic_id = progress.topics.get(TOPIC).and_then(|t| t.topic_id.clone());
    let log = SimLog::new(world.clone(), life, settings.on_gap, topic_id, &own);
    let ports = Ports {
        log: Box::new(log),
        files: Arc::new(SimFiles {
            world: world.clone(),
            life,
            settings: (**settings).clone(),
        }),
        table: if index == 0 {
            prepared.table.take()
        } else {
            None
        },
        schemas: None,
        columns: None,
        dead_letter_topic: Some(Box::new(SimLetters {
            world,
            unflushed: Vec::new(),
        })),
        dedup: prepared.dedup[index].take(),
    };
    control(worker, &context);
    bronze(worker, &context, ports).expect("a job that fits");
    context
}
