//! The scheduler: whose turn it is, who dies, who sleeps and wakes after its successor has taken over.

use std::fmt::{Display, Formatter};
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use strandline_operators::ErrorKind;
use strandline_operators::job::{Job, JobSettings, OnGap, Route};
use strandline_operators::landing::table::Append;
use strandline_operators::schema::{Column, ColumnType};

use timely::communication::WorkerGuards;

use crate::baton::{Said, Thread};
use crate::broker::{Broker, TOPIC, source};
use crate::life::Life;
use crate::topic;
use crate::verdict::verdict;
use crate::world::{
    EVEN, InFlight, KAFKA, LETTERS, Mishaps, Mutation, PRIMARY, SECONDARIES, State, THIRD, World,
};

const JOB: Job = Job {
    name: "test",
    topics: &[TOPIC],
    columns: &[
        Column::required("event_id", ColumnType::String),
        Column::required("event_time", ColumnType::Timestamptz),
        Column::optional("input_value", ColumnType::Int),
    ],
    table: PRIMARY,
    routes: &[
        Route {
            name: "even",
            table: EVEN,
            takes: |row| row.integer("input_value").is_some_and(|n| n % 2 == 0),
        },
        Route {
            name: "third",
            table: THIRD,
            takes: |row| row.integer("input_value").is_some_and(|n| n % 3 == 0),
        },
    ],
    dead_letter_topic: Some("t-dlq"),
    dead_letter_table: Some(LETTERS),
    ..Job::BRONZE
};

/// Turns after which a simulation counts as stuck.
const TURNS_MAX: u64 = 400_000;

/// Turns that a life may still take after it has failed: its processes do not end at one moment.
const DYING_TURNS: u64 = 60;

/// Turns of a zombie that wakes up at the very end.
const LAST_TURNS: u64 = 600;

/// How long it takes at most until a life follows on one that has ended, in milliseconds.
const RESTART_MS_MAX: u64 = 1_000;

fn settings(on_gap: OnGap) -> JobSettings {
    let mut settings = JOB.settings();
    settings.on_gap = on_gap;
    settings.commit.interval = Duration::from_millis(20);
    settings.commit.max_bytes = 2_000;
    settings
}

/// What one seed led to.
pub struct Outcome {
    pub trace: Vec<String>,
    pub result: Result<Summary, String>,
}

/// What happened in a simulation that held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub turns: u64,
    pub lives: u64,
    pub zombies: u64,
    pub commits: u64,
    pub rows: u64,
    pub routed: u64,
    pub mishaps: Mishaps,
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Summary) {
        self.turns += other.turns;
        self.lives += other.lives;
        self.zombies += other.zombies;
        self.commits += other.commits;
        self.rows += other.rows;
        self.routed += other.routed;
        let (mishaps, others) = (&mut self.mishaps, other.mishaps);
        mishaps.lost += others.lost;
        mishaps.refusals += others.refusals;
        mishaps.of_stores += others.of_stores;
        mishaps.slow_calls += others.slow_calls;
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Mishaps {
            lost,
            refusals,
            of_stores,
            slow_calls,
        } = self.mishaps;
        write!(
            f,
            "{} turns, {} lives, {} stopped and woken, {} commits, {} rows, {} routed; {lost} offsets lost to \
             retention, {refusals} refusals that had to be, {of_stores} faults of stores of files, {slow_calls} \
             slow calls to stores",
            self.turns, self.lives, self.zombies, self.commits, self.rows, self.routed
        )
    }
}

struct Running {
    life: Life,
    threads: Vec<Member>,
    /// Joins timely's threads: after those above were told to end.
    _guards: Option<WorkerGuards<()>>,
    started: bool,
    paused: bool,
    /// The turn in which what is left of it dies.
    dies_at: Option<u64>,
}

struct Member {
    thread: Thread,
    idle: bool,
    sleeps_until: Option<Instant>,
}

impl From<Thread> for Member {
    fn from(thread: Thread) -> Member {
        Member {
            thread,
            idle: false,
            sleeps_until: None,
        }
    }
}

struct Simulation {
    world: World,
    lives: Vec<Running>,
    /// Of the newest life.
    workers: usize,
    summary: Summary,
}

/// Runs one seed.
pub fn run(seed: u64, mutation: Option<Mutation>) -> Outcome {
    let partitions = 1 + (seed % 4) as usize;
    let mut broker = Broker::new(topic::make(seed, partitions), seed);
    broker.reads_uncommitted = mutation == Some(Mutation::UncommittedRead);
    let faults = 2 + (seed % 9) as u32;
    let mut simulation = Simulation {
        world: World::new(seed, broker, faults, mutation),
        lives: Vec::new(),
        workers: 2,
        summary: Summary::default(),
    };
    let result = simulation.run().map(|()| simulation.summary);
    simulation.lives.clear();
    let trace = std::mem::take(&mut simulation.world.lock().trace);
    Outcome { trace, result }
}

impl Simulation {
    fn run(&mut self) -> Result<(), String> {
        self.start_life();
        loop {
            let turn = {
                let mut world = self.world.lock();
                world.turn += 1;
                if let Some(broken) = world.violation.take() {
                    return Err(broken);
                }
                world.turn
            };
            if turn > TURNS_MAX {
                return Err(format!("stuck: nothing ended in {TURNS_MAX} turns"));
            }
            self.summary.turns = turn;
            self.outside();
            self.take_a_turn()?;
            self.mourn(turn)?;
            self.misfortune(turn);
            if self.is_newest_done() {
                if self.is_over() {
                    self.wake_the_dead()?;
                    return self.finish();
                }
                self.start_life();
            }
        }
    }

    fn start_life(&mut self) {
        if self.world.below(3) == 0 {
            self.workers = 1 + self.world.below(3) as usize;
        }
        let workers = self.workers;
        if self.world.below(6) == 0 {
            self.world.note(|| "local disks are lost".to_owned());
            self.world.lock().stores.clear();
        }
        let settings = settings(self.world.lock().on_gap);
        let life = Life::new(&self.world, self.summary.lives as usize, workers, &settings);
        let mut starter = Member::from(life.starter());
        if self.world.below(2) == 0 {
            let delay = Duration::from_millis(self.world.below(RESTART_MS_MAX));
            starter.sleeps_until = Some(self.world.now() + delay);
        }
        self.summary.lives += 1;
        self.lives.push(Running {
            threads: vec![starter],
            life,
            _guards: None,
            started: false,
            paused: false,
            dies_at: None,
        });
    }

    /// What happens by itself: time passes, records are produced, late commits arrive.
    fn outside(&mut self) {
        let by = self.world.below(3_000);
        self.world.advance(Duration::from_micros(by));
        let mut world = self.world.lock();
        if world.seeded.below(6) == 0 {
            let partition = world.any_partition();
            let more = world.seeded.below(12) as usize;
            world.broker.produce(partition, more);
        }
        if world.retentions_left > 0 && world.seeded.below(800) == 0 {
            world.retentions_left -= 1;
            let partition = world.any_partition();
            world.retention_passes(partition);
        }
        let is_known = |world: &State| world.progress().is_some_and(|p| p.knows(TOPIC));
        if world.replacements_left > 0 && world.seeded.below(600) == 0 && is_known(&world) {
            world.replacements_left -= 1;
            world.replace_topic();
        }
        if !world.late_data_files.is_empty() && world.seeded.below(60) == 0 {
            let (path, rows) = world.late_data_files.swap_remove(0);
            world.note(format!("{path} is stored late"));
            world.data_files.insert(path, rows);
        }
        if world.seeded.below(1_500) == 0 {
            let how_long = Duration::from_millis(world.seeded.below(8_000));
            world.note(format!("the stores are slow for {how_long:?}"));
            world.is_slow_for(how_long);
        }
        if !world.in_flight.is_empty() && world.seeded.below(60) == 0 {
            let waiting = world.in_flight.len() as u64;
            let at = world.seeded.below(waiting) as usize;
            let commit = world.in_flight.swap_remove(at);
            world.note(format!(
                "a late commit of {} arrives: snapshot {}",
                commit.table, commit.snapshot_id
            ));
            world.apply(commit);
        }
        if world.seeded.below(700) == 0 {
            let table = SECONDARIES[world.seeded.below(SECONDARIES.len() as u64) as usize];
            let how_long = Duration::from_millis(world.seeded.below(4_000));
            world.note(format!("{table} is away for {how_long:?}"));
            world.is_away_for(table, how_long);
        }
        if world.seeded.below(2_000) == 0 {
            let how_long = Duration::from_millis(world.seeded.below(20_000));
            world.note(format!("no broker can be reached for {how_long:?}"));
            world.is_away_for(KAFKA, how_long);
        }
        if world.seeded.below(2_000) == 0 {
            let hours = world.seeded.below(9) as i64 - 4;
            world.wall_micros += hours * 3_600_000_000;
            world.note(format!("the time of day jumps by {hours} h"));
        }
        if world.seeded.below(500) == 0 {
            drop(world);
            self.world
                .note(|| "the machine stands still for six minutes".to_owned());
            // Longer than ids stay in memory, and than partitions count as busy.
            self.world.advance(Duration::from_secs(360));
        } else if world.seeded.below(1_500) == 0 {
            let (id, head) = (world.new_id(), world.tables[PRIMARY].head);
            world.note("another writer appends".to_owned());
            world.apply(InFlight {
                life: None,
                table: PRIMARY,
                head,
                snapshot_id: id,
                append: Append::default(),
            });
        }
    }

    /// Gives the turn to one thread.
    fn take_a_turn(&mut self) -> Result<(), String> {
        let now = self.world.now();
        let mut candidates = Vec::new();
        let mut wakes: Option<Instant> = None;
        for (l, life) in self.lives.iter().enumerate().filter(|(_, l)| !l.paused) {
            for (t, member) in life.threads.iter().enumerate() {
                match member.sleeps_until.filter(|until| *until > now) {
                    Some(until) => wakes = Some(wakes.map_or(until, |w| w.min(until))),
                    None => candidates.push((l, t, member.idle)),
                }
            }
        }
        if candidates.is_empty() {
            if let Some(until) = wakes {
                self.world.advance(until - now);
            }
            return Ok(());
        }
        // One that found nothing to do is asked less often.
        let mut chosen = candidates[self.world.below(candidates.len() as u64) as usize];
        for _ in 0..2 {
            if chosen.2 {
                chosen = candidates[self.world.below(candidates.len() as u64) as usize];
            }
        }
        let (l, t, _) = chosen;
        let running = &mut self.lives[l];
        let member = &mut running.threads[t];
        let said = member.thread.turn();
        member.idle = said == Said::Idle;
        match said {
            Said::Worked | Said::Idle => member.sleeps_until = None,
            Said::Sleeps(how_long) => member.sleeps_until = Some(now + how_long),
            Said::Ended => {
                let ended = running.threads.remove(t);
                let failed = running.life.failure.lock().expect("lock").is_some();
                if ended.thread.name == "start" && !failed {
                    running.started = true;
                    let (workers, guards) = running.life.workers();
                    running._guards = Some(guards);
                    running
                        .threads
                        .extend(workers.into_iter().map(Member::from));
                }
            }
            Said::Panicked(what) => {
                return Err(format!(
                    "life {}: {}: panic: {what}",
                    running.life.number, member.thread.name
                ));
            }
        }
        let newborn = std::mem::take(&mut self.world.lock().newborn);
        for (life, thread) in newborn {
            if let Some(running) = self.lives.iter_mut().find(|l| l.life.number == life) {
                running.threads.push(thread.into());
            }
        }
        Ok(())
    }

    /// Ends lives that have failed, a little later than they did.
    fn mourn(&mut self, turn: u64) -> Result<(), String> {
        for running in &mut self.lives {
            if running.dies_at.is_none()
                && let Some(error) = &*running.life.failure.lock().expect("lock")
            {
                let number = running.life.number;
                let message = error.message();
                self.world
                    .note(|| format!("life {number} fails: {message}"));
                running.dies_at = Some(turn + self.world.below(DYING_TURNS));
                let unexpected = match error.kind() {
                    ErrorKind::Refused => {
                        let mut world = self.world.lock();
                        !world.refuses_rightly(number, message) && world.is_in_force(number)
                    }
                    ErrorKind::Internal | ErrorKind::Configuration => true,
                    ErrorKind::Unreachable => false,
                };
                if unexpected {
                    return Err(format!("life {number}: {error}"));
                }
            }
        }
        self.lives
            .retain(|l| l.dies_at.is_none_or(|dies_at| dies_at > turn));
        if std::mem::take(&mut self.world.lock().is_all_stopped) {
            self.lives.clear();
        }
        Ok(())
    }

    /// Kills, halves and pauses lives.
    fn misfortune(&mut self, turn: u64) {
        let Some(place) = self.lives.len().checked_sub(1) else {
            return;
        };
        let newest = self.summary.lives as usize - 1;
        let running = &mut self.lives[place];
        if running.life.number != newest || running.paused || running.dies_at.is_some() {
            return;
        }
        if self
            .world
            .fault(1200, || format!("life {newest} is killed"))
        {
            self.lives.remove(place);
        } else if self
            .world
            .fault(2000, || format!("half of life {newest} is killed"))
        {
            let keep = self.world.below(2);
            let mut number = 0;
            running.threads.retain(|_| {
                number += 1;
                number % 2 == keep
            });
            running.dies_at = Some(turn + 1 + self.world.below(DYING_TURNS));
        } else if self
            .world
            .fault(1500, || format!("life {newest} is stopped"))
        {
            running.paused = true;
            self.summary.zombies += 1;
        }
        let sleeper = self.lives.iter().position(|l| l.paused);
        if let Some(sleeper) = sleeper
            && self.world.below(800) == 0
        {
            let number = self.lives[sleeper].life.number;
            self.world.note(|| format!("life {number} wakes up"));
            self.lives[sleeper].paused = false;
        }
    }

    /// Whether the newest life has ended, or will: then another one starts.
    fn is_newest_done(&self) -> bool {
        let newest = self.summary.lives as usize - 1;
        let newest = self.lives.iter().find(|l| l.life.number == newest);
        newest.is_none_or(|l| l.paused || l.dies_at.is_some() || l.threads.is_empty())
    }

    /// Whether everything was produced, and the newest life has drained.
    fn is_over(&mut self) -> bool {
        let newest = self.summary.lives as usize - 1;
        let drained = self
            .lives
            .iter()
            .any(|l| l.life.number == newest && l.started && !l.paused && l.dies_at.is_none());
        self.lives.retain(|l| !l.threads.is_empty());
        let world = self.world.lock();
        let Some(progress) = world.progress() else {
            return false;
        };
        let has_read = |partition: usize| {
            let known = progress.partition(&source(partition));
            known.is_some_and(|known| known.next == world.broker.end(partition))
        };
        drained && world.broker.is_all_produced() && (0..world.broker.partitions()).all(has_read)
    }

    /// Lets those wake up that were stopped, and what is under way arrive: nothing may come of it.
    fn wake_the_dead(&mut self) -> Result<(), String> {
        for running in &mut self.lives {
            running.paused = false;
        }
        for _ in 0..LAST_TURNS {
            self.outside();
            self.take_a_turn()?;
            for running in &self.lives {
                if let Some(error) = &*running.life.failure.lock().expect("lock")
                    && matches!(error.kind(), ErrorKind::Internal | ErrorKind::Configuration)
                {
                    return Err(format!("life {}: {error}", running.life.number));
                }
            }
        }
        let mut world = self.world.lock();
        while let Some(commit) = world.in_flight.pop() {
            world.apply(commit);
        }
        world.violation.take().map_or(Ok(()), Err)
    }

    /// Holds what has landed against the oracle.
    fn finish(&mut self) -> Result<(), String> {
        let world = self.world.lock();
        self.summary.commits = world.commits;
        self.summary.mishaps = world.mishaps;
        let held = verdict(&world)?;
        self.summary.rows = held.rows as u64;
        self.summary.routed = held.routed as u64;
        Ok(())
    }
}
