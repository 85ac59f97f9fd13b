//! The producer: the generator's events at a steady rate, through every death of the broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use strandline::generator::{GeneratedRecord, Generator, GeneratorConfig};

use super::options::Options;
use crate::support::Topic;

/// Partitions of the topic.
pub const PARTITIONS: i32 = 6;
/// All ids that are preloaded stay remembered: they lie within this much simulated time.
const PRELOAD_SPAN_S: i64 = 16 * 3600;
/// The last records may wait for a broker that is just starting.
const FLUSH_DEADLINE: Duration = Duration::from_secs(180);
/// How long the producer serves acknowledgements when nothing is due.
const WAIT: Duration = Duration::from_millis(5);
/// Records between two looks at the clock.
const BURST: u64 = 256;

/// A producer that runs until it is told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    rate: Arc<AtomicU64>,
    delivered: Arc<AtomicU64>,
    thread: JoinHandle<u64>,
}

impl Load {
    /// Starts to produce what every engine gets in a run; returns also how many records are sent at once.
    pub fn of(options: &Options, topic: &Topic) -> (Load, u64) {
        let mut config = GeneratorConfig {
            seed: options.seed,
            partitions: PARTITIONS,
            events: options.ids.max(1),
            ..GeneratorConfig::default()
        }
        .within(PRELOAD_SPAN_S);
        // One in ten is a duplicate.
        let at_once = options.ids + options.ids / 8;
        config.events = u64::MAX;
        (Load::start(topic, config, at_once), at_once)
    }

    /// Starts to produce. The first `at_once` records are sent as fast as the broker takes them, the rest
    /// once [`Load::go_on`] says how fast.
    pub fn start(topic: &Topic, config: GeneratorConfig, at_once: u64) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let rate = Arc::new(AtomicU64::new(0));
        let delivered = Arc::new(AtomicU64::new(0));
        let producer: BaseProducer<Deliveries> = ClientConfig::new()
            .set("bootstrap.servers", &topic.bootstrap_servers)
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("batch.size", "1000000")
            .set("queue.buffering.max.messages", "200000")
            // A record waits for the broker for ever: what was sent is in the log, once.
            .set("message.timeout.ms", "0")
            .set("reconnect.backoff.max.ms", "500")
            .set("log_level", "2")
            .create_with_context(Deliveries(Arc::clone(&delivered)))
            .expect("a Kafka producer");
        let run = Run {
            producer,
            topic: topic.name.clone(),
            stop: Arc::clone(&stop),
            rate: Arc::clone(&rate),
        };
        let thread = std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || run.produce(Generator::new(config), at_once))
            .expect("a thread");
        Load {
            stop,
            rate,
            delivered,
            thread,
        }
    }

    /// Records that the broker has acknowledged.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// From now on, so many a second; 0 for a rest.
    pub fn go_on(&self, rate: u64) {
        self.rate.store(rate, Ordering::Relaxed);
    }

    /// Stops, and returns how many records the broker has.
    pub fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.thread.join().expect("the producer panicked");
        let delivered = self.delivered.load(Ordering::Relaxed);
        assert_eq!(sent, delivered, "records that the broker did not take");
        sent
    }
}

struct Run {
    producer: BaseProducer<Deliveries>,
    topic: String,
    stop: Arc<AtomicBool>,
    rate: Arc<AtomicU64>,
}

impl Run {
    fn produce(&self, mut generator: Generator, at_once: u64) -> u64 {
        let mut record = GeneratedRecord::empty();
        let mut sent = 0;
        while sent < at_once && !self.stop.load(Ordering::Relaxed) && generator.fill(&mut record) {
            self.send(&record);
            sent += 1;
        }
        let mut since: Option<(Instant, u64)> = None;
        while !self.stop.load(Ordering::Relaxed) {
            let rate = self.rate.load(Ordering::Relaxed);
            if rate == 0 {
                since = None;
                self.producer.poll(WAIT);
                continue;
            }
            let (begin, before) = *since.get_or_insert((Instant::now(), sent));
            let due = before + (begin.elapsed().as_secs_f64() * rate as f64) as u64;
            for _ in 0..due.saturating_sub(sent).min(BURST) {
                assert!(generator.fill(&mut record), "the generator has an end");
                self.send(&record);
                sent += 1;
            }
            if due <= sent {
                self.producer.poll(WAIT);
            } else {
                self.producer.poll(Duration::ZERO);
            }
        }
        self.producer.flush(FLUSH_DEADLINE).expect("flush");
        sent
    }

    fn send(&self, record: &GeneratedRecord) {
        loop {
            let mut message = BaseRecord::<[u8], [u8]>::to(&self.topic)
                .partition(record.partition)
                .timestamp(record.timestamp_ms);
            message.key = record.key.as_deref();
            message.payload = record.value.as_deref();
            match self.producer.send(message) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    self.producer.poll(WAIT);
                }
                Err((error, _)) => panic!("cannot produce to `{}`: {error}", self.topic),
            }
        }
    }
}

/// Counts what the broker took, and says what it did not.
struct Deliveries(Arc<AtomicU64>);

impl ClientContext for Deliveries {
    // The broker's deaths are ours.
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => eprintln!("not delivered: {error}"),
        }
    }
}
