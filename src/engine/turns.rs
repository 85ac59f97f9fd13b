//! Whether the workers of this process turn: a worker that is stuck in an operator stops the whole
//! cluster without a word, because every frontier waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use strandline_operators::context::OnFailure;
use strandline_operators::{Error, Result};

use super::silence::Silence;

/// How long one turn of a worker may take. No operator blocks a worker on I/O, and the longest step
/// measured is tens of milliseconds; a machine that swaps is a thousand times slower and no more.
const TURN_LIMIT: Duration = Duration::from_secs(60);
/// How often the workers are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// The turns of the workers of one process.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Vec<Worker>>);

#[derive(Debug, Default)]
struct Worker {
    turns: AtomicU64,
    in_its_loop: AtomicBool,
}

impl Turns {
    /// None yet, of so many workers.
    pub fn new(workers: usize) -> Turns {
        Turns(Arc::new((0..workers).map(|_| Worker::default()).collect()))
    }

    /// The worker, by its index in this process, begins another turn of its loop.
    pub fn turn(&self, worker: usize) {
        if let Some(worker) = self.0.get(worker) {
            worker.turns.fetch_add(1, Ordering::Relaxed);
            worker.in_its_loop.store(true, Ordering::Relaxed);
        }
    }

    /// The worker has left its loop.
    pub fn done(&self, worker: usize) {
        if let Some(worker) = self.0.get(worker) {
            worker.in_its_loop.store(false, Ordering::Relaxed);
        }
    }

    /// Watches them until the value is dropped; `on_failure` is called for one that hangs.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn watch(&self, job: &str, on_failure: OnFailure) -> Result<TurnsWatch> {
        let watch = TurnsWatch(Arc::default());
        let done = Arc::clone(&watch.0);
        let (turns, job) = (self.clone(), job.to_owned());
        std::thread::Builder::new()
            .name("turns".to_owned())
            .spawn(move || {
                let mut stuck = Stuck::new(&turns, Instant::now());
                while !done.load(Ordering::Relaxed) {
                    std::thread::sleep(LOOK_INTERVAL);
                    if let Some(worker) = stuck.look(&turns, Instant::now()) {
                        on_failure(
                            Error::internal(format!(
                                "worker {worker} of this process hangs: it has been in one step for {} s",
                                TURN_LIMIT.as_secs()
                            ))
                            .hint("an operator blocks or loops; the job starts again from the table")
                            .context(format!("job {job}")),
                        );
                        return;
                    }
                }
            })
            .map_err(|e| Error::internal(format!("cannot start the thread that watches the workers: {e}")))?;
        Ok(watch)
    }
}

/// Ends the watch when dropped.
#[derive(Debug)]
pub struct TurnsWatch(Arc<AtomicBool>);

impl Drop for TurnsWatch {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What was last seen of each worker.
struct Stuck(Vec<(u64, Silence)>);

impl Stuck {
    fn new(turns: &Turns, now: Instant) -> Stuck {
        let silence = Silence::new(now, TURN_LIMIT);
        Stuck(turns.0.iter().map(|_| (0, silence.clone())).collect())
    }

    /// The first worker that has been in one turn for too long.
    fn look(&mut self, turns: &Turns, now: Instant) -> Option<usize> {
        let mut stuck = None;
        for (index, (worker, (seen, silence))) in turns.0.iter().zip(&mut self.0).enumerate() {
            let count = worker.turns.load(Ordering::Relaxed);
            let moves = count != *seen || !worker.in_its_loop.load(Ordering::Relaxed);
            *seen = count;
            if silence.is_too_long(now, moves) {
                stuck.get_or_insert(index);
            }
        }
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks for so many seconds while worker 0 turns; who hangs at the end.
    fn look(stuck: &mut Stuck, turns: &Turns, from: Instant, seconds: u64) -> Option<usize> {
        let mut found = None;
        for i in 1..=seconds * 4 {
            turns.turn(0);
            found = stuck.look(turns, from + LOOK_INTERVAL * i as u32);
        }
        found
    }

    #[test]
    fn a_worker_that_stays_in_one_step_is_found() {
        let (turns, start) = (Turns::new(2), Instant::now());
        let mut stuck = Stuck::new(&turns, start);
        turns.turn(1);
        assert_eq!(look(&mut stuck, &turns, start, 60), None);
        let later = start + Duration::from_secs(60);
        assert_eq!(look(&mut stuck, &turns, later, 1), Some(1));
    }

    #[test]
    fn a_worker_that_has_not_begun_or_has_ended_does_not_hang() {
        let (turns, start) = (Turns::new(3), Instant::now());
        let mut stuck = Stuck::new(&turns, start);
        turns.turn(2);
        turns.done(2);
        assert_eq!(look(&mut stuck, &turns, start, 600), None);
    }
}
