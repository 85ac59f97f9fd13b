//! Events of the generator in a job's topic.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use strandline::connectors::kafka::client::KafkaSettings;
use strandline::generator::producer::produce;
use strandline::generator::{Generator, GeneratorConfig};
use strandline_operators::time::EventTime;

use super::RomanNumerals;

/// Produces events whose clock begins where that of `before` earlier ones ended, with ids of their own for
/// every seed.
#[track_caller]
pub fn load(job: &RomanNumerals, partitions: i32, before: u64, events: u64, seed: u64) {
    let settings = KafkaSettings::new(job.topic.bootstrap_servers.clone());
    let defaults = GeneratorConfig::default();
    let config = GeneratorConfig {
        seed,
        events,
        partitions,
        start: defaults.start.plus(before as i64 * defaults.step_us),
        ..defaults
    };
    let mut generator = Generator::new(config);
    let produced = produce(&settings, &job.topic.name, &mut generator, None, &|| true);
    assert_eq!(produced.expect("produce").records, events);
}

/// The clock between two records of a [`Steady`] load: 200 records a second.
const STEP: Duration = Duration::from_millis(5);

/// Records that keep coming, timestamped now, until the value is dropped. One in fifty cannot land.
pub struct Steady {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Steady {
    /// Begins to produce.
    #[track_caller]
    pub fn begin(job: &RomanNumerals, partitions: i32, seed: u64) -> Steady {
        let settings = KafkaSettings::new(job.topic.bootstrap_servers.clone());
        let topic = job.topic.name.clone();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock after 1970");
        let config = GeneratorConfig {
            seed,
            events: u64::MAX,
            partitions,
            malformed: 0.02,
            start: EventTime(now.as_micros() as i64),
            step_us: STEP.as_micros() as i64,
            ..GeneratorConfig::default()
        };
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut generator = Generator::new(config);
            let (begin, sent) = (Instant::now(), Cell::new(0));
            let goes_on = || {
                sent.set(sent.get() + 1);
                std::thread::sleep((STEP * sent.get()).saturating_sub(begin.elapsed()));
                !flag.load(Ordering::Relaxed)
            };
            produce(&settings, &topic, &mut generator, None, &goes_on).expect("produce");
        });
        Steady {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("the steady load ended before its time");
        }
    }
}
