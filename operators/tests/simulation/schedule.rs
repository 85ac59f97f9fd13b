//! The scheduler: whose turn it is, who dies, who sleeps and wakes after its successor has taken over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::{Duration, Instant};

use strandline_operators::ErrorKind;
use strandline_operators::account::Account;
use strandline_operators::job::{Job, JobSettings, Route};
use strandline_operators::landing::table::Append;
use strandline_operators::schema::{Column, ColumnType};

use timely::communication::WorkerGuards;

use crate::baton::{Said, Thread};
use crate::fakes::{Expected, Record, Seeded, Topic, generate};
use crate::life::Life;
use crate::world::{EVEN, InFlight, LETTERS, Mutation, PRIMARY, SECONDARIES, Spread, THIRD, World};

const JOB: Job = Job {
    name: "test",
    topics: &["t"],
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

/// Ids that have copies in any partition.
const SPREAD_IDS: usize = 25;

fn settings() -> JobSettings {
    let mut settings = JOB.settings();
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
    pub lives: usize,
    pub zombies: usize,
    pub commits: u64,
    pub rows: usize,
    pub routed: usize,
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
    expected: Expected,
    /// How many copies each id has that lies in several partitions.
    copies: Vec<usize>,
    lives: Vec<Running>,
    /// Of the newest life.
    workers: usize,
    summary: Summary,
}

/// Runs one seed.
pub fn run(seed: u64, mutation: Option<Mutation>) -> Outcome {
    let partitions = 1 + (seed % 4) as usize;
    let (mut topic, mut expected) = generate(seed, partitions, 150);
    let spread = add_copies(&mut topic, &mut expected, seed);
    let mut copies = vec![0; SPREAD_IDS];
    spread.iter().flatten().for_each(|(_, n)| copies[*n] += 1);
    let faults = 2 + (seed % 9) as u32;
    let mut simulation = Simulation {
        world: World::new(seed, topic, spread, faults, mutation),
        expected,
        copies,
        lives: Vec::new(),
        workers: 2,
        summary: Summary::default(),
    };
    let result = simulation.run().map(|()| simulation.summary);
    simulation.lives.clear();
    let trace = std::mem::take(&mut simulation.world.lock().trace);
    Outcome { trace, result }
}

/// Ids whose copies lie in several partitions, strewn over the topic: which of them lands depends on the
/// order of events, that exactly one does not. Their event time is one that the partition has seen, so
/// that they move no watermark. Returns, by partition, the offsets of the copies and the numbers of their ids.
fn add_copies(topic: &mut Topic, expected: &mut Expected, seed: u64) -> Spread {
    let mut seeded = Seeded::new(seed ^ 0x00C0_FFEE);
    let mut copies = [0; SPREAD_IDS];
    let mut spread = vec![Vec::new(); topic.partitions.len()];
    let mut landed = BTreeMap::new();
    for (partition, (records, end)) in topic.partitions.iter_mut().enumerate() {
        let mut with_copies = Vec::new();
        let (mut added, mut latest) = (0, None);
        for mut record in std::mem::take(records) {
            let place = (partition as i32, record.offset);
            record.offset += added;
            let offset = record.offset;
            let timestamp = record.timestamp;
            if let Some(row) = expected.landed.remove(&place) {
                landed.insert((partition as i32, offset), row);
            }
            latest = latest.max(accepted_time(&record));
            with_copies.push(record);
            let Some(time) = latest.filter(|_| seeded.below(3) == 0) else {
                continue;
            };
            added += 1;
            let n = seeded.below(SPREAD_IDS as u64) as usize;
            copies[n] += 1;
            spread[partition].push((offset + 1, n));
            let value = format!(r#"{{"event_id":"x-{n}","event_time":{time},"input_value":1}}"#);
            with_copies.push(Record {
                offset: offset + 1,
                timestamp,
                value: Some(value.into_bytes()),
            });
        }
        *records = with_copies;
        *end += added;
    }
    expected.landed = landed;
    let duplicates: usize = copies
        .iter()
        .map(|count: &usize| count.saturating_sub(1))
        .sum();
    expected.duplicates += duplicates as u64;
    spread
}

/// The event time of a record that moves its partition's watermark.
fn accepted_time(record: &Record) -> Option<i64> {
    let value: serde_json::Value = serde_json::from_slice(record.value.as_ref()?).ok()?;
    let latest = record.timestamp.0 / 1000 + 3_600_000;
    let time = value["event_time"]
        .as_i64()
        .filter(|time| *time <= latest)?;
    (value["event_id"] != "").then_some(time)
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
                    return self.check();
                }
                self.start_life();
            }
        }
    }

    fn start_life(&mut self) {
        if self.world.below(2) == 0 {
            self.workers = 1 + self.world.below(3) as usize;
        }
        let workers = self.workers;
        if self.world.below(6) == 0 {
            self.world.note(|| "local disks are lost".to_owned());
            self.world.lock().stores.clear();
        }
        let life = Life::new(&self.world, self.summary.lives, workers, &settings());
        self.summary.lives += 1;
        self.lives.push(Running {
            threads: vec![life.starter().into()],
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
            let partitions = world.produced.len() as u64;
            let partition = world.seeded.below(partitions) as usize;
            let more = world.seeded.below(12) as usize;
            let all = world.topic.partitions[partition].0.len();
            world.produced[partition] = (world.produced[partition] + more).min(all);
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
            let hours = world.seeded.below(9) as i64 - 4;
            world.wall_micros += hours * 3_600_000_000;
            world.note(format!("the time of day jumps by {hours} h"));
        }
        if world.seeded.below(900) == 0 {
            drop(world);
            self.world
                .note(|| "the machine stands still for six minutes".to_owned());
            // Longer than ids stay in memory, and than partitions count as busy.
            self.world.advance(Duration::from_secs(360));
        } else if world.seeded.below(1_500) == 0 {
            let (id, head) = (world.new_id(), world.tables[PRIMARY].head);
            world.note("another writer appends".to_owned());
            world.apply(InFlight {
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
                    ErrorKind::Refused => self.world.lock().is_in_force(number),
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
        Ok(())
    }

    /// Kills, halves and pauses lives.
    fn misfortune(&mut self, turn: u64) {
        let Some(place) = self.lives.len().checked_sub(1) else {
            return;
        };
        let newest = self.summary.lives - 1;
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
        let newest = self.summary.lives - 1;
        let newest = self.lives.iter().find(|l| l.life.number == newest);
        newest.is_none_or(|l| l.paused || l.dies_at.is_some() || l.threads.is_empty())
    }

    /// Whether everything was produced, and the newest life has drained.
    fn is_over(&mut self) -> bool {
        let newest = self.summary.lives - 1;
        let drained = self
            .lives
            .iter()
            .any(|l| l.life.number == newest && l.started && !l.paused && l.dies_at.is_none());
        self.lives.retain(|l| !l.threads.is_empty());
        let world = self.world.lock();
        let ends: Vec<i64> = (0..world.produced.len()).map(|p| world.end(p)).collect();
        let Some(progress) = world.progress() else {
            return false;
        };
        let reached = progress.topics["t"]
            .partitions
            .values()
            .map(|p| p.next)
            .eq(ends);
        drained && world.is_all_produced() && reached
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
    fn check(&mut self) -> Result<(), String> {
        let world = self.world.lock();
        let mut wrong = String::new();
        let rows = world.rows(PRIMARY);
        self.summary.rows = rows.len();
        self.summary.commits = world.commits;
        let mut seen = vec![0; self.copies.len()];
        let mut places = BTreeSet::new();
        for row in &rows {
            places.insert((row.partition, row.offset));
            if let Some(n) = row.id.strip_prefix("x-") {
                seen[n.parse::<usize>().expect("a number")] += 1;
                continue;
            }
            let place = (row.partition, row.offset);
            match self.expected.landed.get(&place) {
                Some((id, late)) if *id == row.id && *late == row.late => {}
                other => {
                    let _ = write!(wrong, "\n  {row:?}, expected {other:?}");
                }
            }
        }
        for (place, (id, _)) in &self.expected.landed {
            if !places.contains(place) {
                let _ = write!(wrong, "\n  {place:?} {id} is lost");
            }
        }
        let wanted = |n: usize| usize::from(self.copies[n] > 0);
        for (n, &count) in seen
            .iter()
            .enumerate()
            .filter(|(n, count)| **count != wanted(*n))
        {
            let _ = write!(
                wrong,
                "\n  {count} of {} copies of x-{n} landed",
                self.copies[n]
            );
        }
        let letters = world.rows(LETTERS);
        let in_table: BTreeSet<(i32, i64)> = letters
            .iter()
            .map(|row| (row.partition, row.offset))
            .collect();
        let in_topic: BTreeSet<(i32, i64)> = world
            .letters
            .iter()
            .map(|letter| (letter.source.partition, letter.offset))
            .collect();
        let expected = self.expected.dead_letters as usize;
        if (letters.len(), in_table.len()) != (expected, expected) {
            let (rows, distinct) = (letters.len(), in_table.len());
            let _ = write!(
                wrong,
                "\n  {rows} dead letters, {distinct} distinct, in the table, expected {expected}"
            );
        }
        for (table, divisor) in [(EVEN, 2), (THIRD, 3)] {
            let routed = world.rows(table);
            let places: Vec<(i32, i64)> = routed.iter().map(|r| (r.partition, r.offset)).collect();
            let mut sorted = places.clone();
            sorted.sort_unstable();
            let landed = rows.iter().map(|row| (row.partition, row.offset));
            let mut expected: Vec<(i32, i64)> = landed
                .filter(|place| world.input_value(*place).is_some_and(|n| n % divisor == 0))
                .collect();
            expected.sort_unstable();
            if sorted != expected {
                let _ = write!(
                    wrong,
                    "\n  {table} has {} rows, expected {}: {sorted:?}, expected {expected:?}",
                    sorted.len(),
                    expected.len()
                );
            }
            let name = if divisor == 2 { "even" } else { "third" };
            let counted = world.progress().map_or(0, |p| p.rows_of(Some(name)));
            if counted != expected.len() as u64 {
                let _ = write!(wrong, "\n  the progress counts {counted} rows in {table}");
            }
            self.summary.routed += expected.len();
        }
        if in_topic != in_table {
            let _ = write!(
                wrong,
                "\n  the dead-letter topic has other letters than the table"
            );
        }
        let account = world
            .progress()
            .map_or_else(Account::default, |p| p.account());
        let sums = (
            account.landed,
            account.duplicates,
            account.dead_letters,
            account.gaps,
        );
        let oracle = (
            rows.len() as u64,
            self.expected.duplicates,
            self.expected.dead_letters,
            self.expected.gaps,
        );
        if !account.is_balanced() || sums != oracle {
            let _ = write!(wrong, "\n  the account {account:?}, expected {oracle:?}");
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(wrong),
        }
    }
}
