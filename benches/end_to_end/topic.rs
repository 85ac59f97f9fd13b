//! The input: topics, filled at once with seeded events or steadily with fresh ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use strandline::connectors::kafka::client::KafkaSettings;
use strandline::generator::GeneratorConfig;
use strandline::generator::producer::produce;
use strandline_operators::time::EventTime;

use crate::Outcome;
use crate::options::DUPLICATES;
use crate::workload::Workload;

/// Partitions of every topic.
pub const PARTITIONS: i32 = 6;
/// All ids of a filled topic stay remembered: they lie within this much simulated time.
const SPAN_S: i64 = 20 * 3600;
/// How long acknowledgements may take at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a producer waits for room, or for the next event to be due.
const WAIT: Duration = Duration::from_millis(1);

/// Over how many partitions events are spread.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// Partitions of the topic.
    pub partitions: i32,
    /// The first so many of them get events; the others stay empty.
    pub busy: i32,
}

impl Spread {
    /// What every scenario has that is not about partitions.
    pub const USUAL: Spread = Spread {
        partitions: PARTITIONS,
        busy: PARTITIONS,
    };
}

/// What a filled topic holds.
#[derive(Clone, Debug)]
pub struct Filled {
    /// Its name.
    pub topic: String,
    /// Records in it.
    pub records: u64,
    /// Distinct event ids: the rows that must be in the table, and no others.
    pub ids: u64,
    /// What the values of their rows add up to, where that is compared.
    pub contents: Option<String>,
    /// Mean size of keys and values together, in bytes.
    pub mean_bytes: u64,
}

/// Creates a topic.
///
/// # Errors
/// The broker cannot be reached or says no.
pub fn create(servers: &str, name: &str, partitions: i32) -> Outcome {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .create()?;
    // Seeded events are timestamped in a past that retention by time would delete.
    let topic =
        NewTopic::new(name, partitions, TopicReplication::Fixed(1)).set("retention.ms", "-1");
    for created in futures::executor::block_on(admin.create_topics([&topic], &AdminOptions::new()))?
    {
        created.map_err(|(name, e)| format!("cannot create topic {name}: {e}"))?;
    }
    Ok(())
}

/// Deletes a topic: a drain's fills gigabytes.
///
/// # Errors
/// The broker cannot be reached or says no.
pub fn delete(servers: &str, name: &str) -> Outcome {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .create()?;
    for deleted in futures::executor::block_on(admin.delete_topics(&[name], &AdminOptions::new()))?
    {
        deleted.map_err(|(name, e)| format!("cannot delete topic {name}: {e}"))?;
    }
    Ok(())
}

/// Creates a topic and fills it with events of which `ids` are no copies: one in ten is a copy, one in a hundred
/// is late, none is malformed or too late, so that every engine must land exactly `ids` rows.
///
/// # Errors
/// The broker does not take them.
pub fn fill(
    servers: &str,
    name: &str,
    workload: &Workload,
    ids: u64,
    seed: u64,
    spread: Spread,
) -> Outcome<Filled> {
    create(servers, name, spread.partitions)?;
    let config = GeneratorConfig {
        seed,
        events: (ids as f64 / (1.0 - DUPLICATES)) as u64,
        partitions: spread.busy,
        duplicates: DUPLICATES,
        too_late: 0.0,
        malformed: 0.0,
        ..GeneratorConfig::default()
    }
    .within(SPAN_S);
    let expected = strandline::generator::expected_account(&config);
    let settings = KafkaSettings::new(servers.to_owned());
    let contents = workload.contents(&config)?;
    let mut generator = workload.generator(config);
    let started = Instant::now();
    let produced = produce(&settings, name, &mut generator, None, &|| true)?;
    let mean_bytes = produced.bytes / produced.records.max(1);
    eprintln!(
        "filled {name}: {} records of {mean_bytes} bytes, {:.0}/s",
        produced.records,
        produced.records as f64 / started.elapsed().as_secs_f64()
    );
    Ok(Filled {
        topic: name.to_owned(),
        records: produced.records,
        ids: expected.landed,
        contents,
        mean_bytes,
    })
}

/// The value of an event that happens now, of a number that no other event of its topic has.
pub type Fresh = fn(u64) -> Vec<u8>;

/// A thread that sends events at a rate, each timestamped when it is sent, with ids that no one else uses.
pub struct Load {
    thread: JoinHandle<Result<u64, String>>,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
}

impl Load {
    /// Starts it; ends after `limit` events, or when it is told to.
    pub fn start(servers: &str, topic: &str, fresh: Fresh, rate: u64, limit: u64) -> Load {
        let (servers, topic) = (servers.to_owned(), topic.to_owned());
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || {
            send_steadily(&servers, &topic, fresh, rate, limit, &stopped, &counted)
                .map_err(|e| e.to_string())
        });
        Load { thread, stop, sent }
    }

    /// Events sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until all `limit` events are acknowledged; returns how many.
    ///
    /// # Errors
    /// What the producer failed with.
    pub fn wait(self) -> Outcome<u64> {
        Ok(self.thread.join().map_err(|_| "the producer panicked")??)
    }

    /// Ends it now; returns how many events were acknowledged.
    ///
    /// # Errors
    /// What the producer failed with.
    pub fn stop(self) -> Outcome<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.wait()
    }
}

fn send_steadily(
    servers: &str,
    topic: &str,
    fresh: Fresh,
    rate: u64,
    limit: u64,
    stop: &AtomicBool,
    count: &AtomicU64,
) -> Outcome<u64> {
    // Idempotent: a record that is sent twice would count as a duplicate of the engine's.
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .set("acks", "all")
        .create()?;
    let started = Instant::now();
    let mut sent = 0;
    while sent < limit && !stop.load(Ordering::Relaxed) {
        let due = ((started.elapsed().as_secs_f64() * rate as f64) as u64).min(limit);
        while sent < due {
            let value = fresh(sent);
            let record = BaseRecord::<(), Vec<u8>>::to(topic)
                .partition((sent % PARTITIONS as u64) as i32)
                .timestamp(EventTime::now().0 / 1000)
                .payload(&value);
            match producer.send(record) {
                Ok(()) => sent += 1,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    producer.poll(WAIT);
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
        count.store(sent, Ordering::Relaxed);
        producer.poll(Duration::ZERO);
        // Not a poll that waits: the library's spins through the last millisecond, half of a core here.
        std::thread::sleep(WAIT);
    }
    producer.flush(FLUSH_TIMEOUT)?;
    Ok(sent)
}
