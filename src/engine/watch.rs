//! Watching a run: its summary while it goes on, and an end to a run that hangs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use strandline_operators::context::OnFailure;
use strandline_operators::observed::Observed;
use strandline_operators::{Error, Result};

use crate::connectors::kafka::client::Diagnosis;
use crate::engine::heartbeat::PeersHeldBack;
use crate::engine::outage::{Outage, Turn};
use crate::engine::silence::Silence;
use crate::engine::summary::Summary;

/// How often the watch looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Records read but nothing durable for this long, and for the commit interval of the job, means a run that hangs: timely
/// notices neither a stopped peer nor an operator that waits forever.
const HANG_TIMEOUT: Duration = Duration::from_secs(120);

/// A thread that watches a run until it is dropped.
pub struct Watch {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts to watch a job that commits every `interval`. Prints to stderr: a line that changes on a terminal, else a
    /// log line now and then.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(
        job: &str,
        interval: Duration,
        observed: Arc<Observed>,
        causes: Causes,
        peers_held_back: PeersHeldBack,
        on_failure: OnFailure,
    ) -> Result<Watch> {
        let done = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&done);
        let job = job.to_owned();
        let thread = std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || {
                watch(
                    &job,
                    HANG_TIMEOUT + interval,
                    &observed,
                    &causes,
                    &peers_held_back,
                    &on_failure,
                    &flag,
                )
            })
            .map_err(|e| Error::internal(format!("cannot start the thread that watches: {e}")))?;
        Ok(Watch {
            done,
            thread: Some(thread),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A watch that panicked has nothing to add to how the run ends.
            let _ = thread.join();
        }
    }
}

/// What the clients of the process' workers report and retry by themselves.
pub type Causes = Arc<Mutex<Vec<Arc<Diagnosis>>>>;

/// The last thing that any of the clients complained of.
fn cause(causes: &Causes) -> String {
    let causes = causes
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    causes
        .iter()
        .find_map(|diagnosis| diagnosis.last())
        .unwrap_or_else(|| {
            "the broker reports no error; commits may be slow, or the memory for records is in use"
                .to_owned()
        })
}

/// How often clients have lost all brokers.
fn losses(causes: &Causes) -> u64 {
    let causes = causes
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    causes.iter().map(|diagnosis| diagnosis.losses()).sum()
}

fn watch(
    job: &str,
    hang_timeout: Duration,
    observed: &Observed,
    causes: &Causes,
    peers_held_back: &PeersHeldBack,
    on_failure: &OnFailure,
    done: &AtomicBool,
) {
    let mut outage = Outage::new(Instant::now());
    let mut summary = Summary::new(job, Instant::now());
    // Since durable progress last moved, or nothing waited to become durable.
    let mut hang = Silence::new(Instant::now(), hang_timeout);
    let mut durable = None;
    while !done.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK_INTERVAL);
        let now = Instant::now();
        let read = observed.records_read.load(Ordering::Relaxed);
        let view = observed.committed_view();
        match outage.look(now, losses(causes), read) {
            Some(Turn::Lost) => tracing::warn!(
                job,
                "no Kafka broker can be reached; the job waits, and goes on by itself: {}",
                cause(causes)
            ),
            Some(Turn::Back(after)) => {
                tracing::info!(job, "records come in again, after {} s", after.as_secs());
            }
            None => {}
        }
        // What waits for the schema registry, here or in another process, or for Kafka, is no hang; that they are
        // away is said aloud.
        let is_held_back = observed.held_back.load(Ordering::Relaxed) > 0
            || peers_held_back.count() > 0
            || observed.awaits_kafka.load(Ordering::Relaxed);
        let moves =
            durable != view.epoch || !observed.waits.load(Ordering::Relaxed) || is_held_back;
        durable = view.epoch;
        // In time in which we ourselves ran: a process that was stopped and wakes up as a zombie must get to
        // its next commit, which tells it so. Ended for hanging, it would be started again and take the
        // table back from its successor.
        if hang.is_too_long(now, moves) {
            on_failure(
                Error::internal(format!(
                    "records were read, but no epoch has become durable for {} s",
                    hang_timeout.as_secs()
                ))
                .hint("a peer or the catalog hangs; the job starts again from the table")
                .context(format!("job {job}")),
            );
            return;
        }
        summary.look(now, observed, &view);
    }
    summary.end(Instant::now(), observed);
}
