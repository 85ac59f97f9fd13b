//! The figures of the main job on a real broker: CPU, memory and rate of a drain, and freshness.
//!
//! `cargo xtask bench [drain|freshness] [--events N] [--workers W] [--seconds S] [--rate R]`. Prints what
//! was measured in this run, on this machine; nothing is compared with a number in this file.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;
use strandline::connectors::iceberg::{CatalogKind, CatalogSettings, IcebergConnector};
use strandline::connectors::kafka::client::KafkaSettings;
use strandline::generator::producer::produce;
use strandline::generator::{Generator, GeneratorConfig};
use strandline_operators::arrow_array::Array;
use strandline_operators::arrow_array::cast::AsArray;
use strandline_operators::arrow_array::types::{Int64Type, TimestampMicrosecondType};
use strandline_operators::time::EventTime;

const PARTITIONS: i32 = 6;
const TABLE: &str = "bronze.conversion_events";
/// How often the process is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(20);
/// Clock ticks in a second, as Linux counts CPU time in /proc (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let number = |name: &str, default: u64| -> Outcome<u64> {
        match args.iter().position(|a| a == name) {
            Some(at) => Ok(args
                .get(at + 1)
                .ok_or(format!("{name} needs a number"))?
                .parse()?),
            None => Ok(default),
        }
    };
    let bench = Bench::new()?;
    match args.first().map(String::as_str) {
        Some("freshness") => bench.freshness(
            number("--rate", 5000)?,
            number("--seconds", 30)?,
            number("--workers", 2)?,
        ),
        Some("drain") | None => {
            bench.drain(number("--events", 10_000_000)?, number("--workers", 2)?)
        }
        Some(other) => Err(format!("there is no scenario `{other}`: drain or freshness").into()),
    }
}

struct Bench {
    bootstrap_servers: String,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Outcome<Bench> {
        let path =
            std::env::var("STRANDLINE_STACK").map_err(|_| "run through `cargo xtask bench`")?;
        let stack: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
        let bootstrap_servers = stack["kafka"]["bootstrap_servers"]
            .as_str()
            .ok_or("no broker in the stack")?
            .to_owned();
        Ok(Bench {
            bootstrap_servers,
            folder: tempfile::tempdir()?,
        })
    }

    fn create_topic(&self, name: &str, partitions: i32) -> Outcome {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap_servers)
            .create()?;
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for created in
            futures::executor::block_on(admin.create_topics([&topic], &AdminOptions::new()))?
        {
            created.map_err(|(name, e)| format!("cannot create topic {name}: {e}"))?;
        }
        Ok(())
    }

    fn configure(&self, topic: &str) -> Outcome<PathBuf> {
        let folder = self.folder.path().display();
        let text = format!(
            "kafka: {{ bootstrap_servers: \"{}\" }}\n\
             catalog: {{ type: sql, uri: \"sqlite://{folder}/catalog.db\", warehouse: \"{folder}/warehouse\" }}\n\
             state_dir: {folder}/state\nhttp: \"off\"\n\
             jobs: {{ roman-numerals: {{ topics: [{topic}], dead_letters: {{ topic: {topic}-dlq }}, commit: {{ interval: 1s }} }} }}\n",
            self.bootstrap_servers
        );
        let path = self.folder.path().join("strandline.yaml");
        std::fs::write(&path, text)?;
        Ok(path)
    }

    fn start(&self, config: &Path, workers: u64, more: &[&str]) -> Outcome<Child> {
        Ok(Command::new(env!("CARGO_BIN_EXE_strandline"))
            .arg("-c")
            .arg(config)
            .args([
                "run",
                "roman-numerals",
                "--json",
                "-w",
                &workers.to_string(),
            ])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(self.folder.path().join("log"))?)
            .spawn()?)
    }

    fn catalog(&self) -> CatalogSettings {
        let folder = self.folder.path().display();
        CatalogSettings {
            kind: CatalogKind::Sql,
            uri: format!("sqlite://{folder}/catalog.db"),
            warehouse: format!("{folder}/warehouse"),
            properties: Default::default(),
        }
    }

    /// Reads `events` records that are all there already, and lands them.
    fn drain(&self, events: u64, workers: u64) -> Outcome {
        let topic = "bench-drain";
        self.create_topic(topic, PARTITIONS)?;
        let settings = KafkaSettings::new(self.bootstrap_servers.clone());
        let config = GeneratorConfig {
            events,
            partitions: PARTITIONS,
            ..GeneratorConfig::default()
        }
        .within(20 * 3600);
        let started = Instant::now();
        let produced = produce(&settings, topic, &mut Generator::new(config), None, &|| {
            true
        })?;
        let mean = produced.bytes / produced.records.max(1);
        let rate = produced.records as f64 / started.elapsed().as_secs_f64();
        eprintln!(
            "produced {} records of {mean} bytes, {rate:.0}/s",
            produced.records
        );

        let started = Instant::now();
        let mut child = self.start(&self.configure(topic)?, workers, &["--until-caught-up"])?;
        let used = watch(&mut child)?;
        let wall = started.elapsed().as_secs_f64();
        let report = self.report(&mut child, &[0])?;
        let account = &report["account"];
        if account["consumed"] != events || account["landed"] != report["tables"][0]["rows"] {
            return Err(format!("the run is not what it should be: {report}").into());
        }
        println!("drain of {events} events of {mean} bytes, {workers} workers, commits a second");
        println!("  account               {account}");
        println!(
            "  wall                  {wall:.2} s, {:.0} events/s",
            events as f64 / wall
        );
        println!(
            "  CPU of the process    {:.2} us/event ({:.1} s)",
            used.cpu_seconds * 1e6 / events as f64,
            used.cpu_seconds
        );
        println!(
            "  peak RSS              {:.0} MiB",
            used.peak_rss_bytes as f64 / (1 << 20) as f64
        );
        Ok(())
    }

    /// Produces `rate` events a second for a while, and measures for each the time from its broker
    /// timestamp to the moment at which a reader of the catalog first sees the commit that holds it.
    fn freshness(&self, rate: u64, seconds: u64, workers: u64) -> Outcome {
        let topic = "bench-freshness";
        self.create_topic(topic, PARTITIONS)?;
        let mut child = self.start(&self.configure(topic)?, workers, &[])?;
        self.wait_until_claimed(&mut child)?;
        let servers = self.bootstrap_servers.clone();
        let producer = std::thread::spawn(move || {
            produce_steadily(&servers, topic, rate, seconds).map_err(|e| e.to_string())
        });
        let seen = self.observe(&mut child, rate * seconds)?;
        let produced = producer.join().map_err(|_| "the producer panicked")??;
        Command::new("kill").arg(child.id().to_string()).status()?;
        let used = watch(&mut child)?;
        let report = self.report(&mut child, &[143])?;
        let mut latencies_ms = self.latencies(&seen)?;
        latencies_ms.sort_by(f64::total_cmp);
        if latencies_ms.len() as u64 != produced {
            return Err(format!(
                "{produced} events were produced, {} are in the table: {report}",
                latencies_ms.len()
            )
            .into());
        }
        let at = |q: f64| latencies_ms[((latencies_ms.len() - 1) as f64 * q) as usize];
        println!(
            "freshness of {produced} events at {rate}/s, {workers} workers, commits a second, {} commits",
            seen.len()
        );
        println!(
            "  broker timestamp to visible commit: p50 {:.0} ms, p99 {:.0} ms, p99.9 {:.0} ms, max {:.0} ms",
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0)
        );
        println!(
            "  CPU of the process    {:.2} us/event, peak RSS {:.0} MiB",
            used.cpu_seconds * 1e6 / produced as f64,
            used.peak_rss_bytes as f64 / (1 << 20) as f64
        );
        Ok(())
    }

    /// Start-up is not freshness: waits until the run has claimed the table, and then for it to read.
    fn wait_until_claimed(&self, child: &mut Child) -> Outcome {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if Instant::now() > deadline || child.try_wait()?.is_some() {
                return Err("the run did not start".into());
            }
            std::thread::sleep(Duration::from_millis(100));
            if !self.folder.path().join("catalog.db").exists() {
                continue;
            }
            let facts = IcebergConnector::open(&self.catalog())?.inspect(TABLE);
            if facts.is_ok_and(|f| f.is_some_and(|f| !f.snapshots.is_empty())) {
                // From the claim to the first look at the partitions.
                std::thread::sleep(Duration::from_secs(2));
                return Ok(());
            }
        }
    }

    /// When a reader of the catalog first saw each epoch, until all `events` have landed.
    fn observe(&self, child: &mut Child, events: u64) -> Outcome<BTreeMap<i64, i64>> {
        let mut seen = BTreeMap::new();
        let deadline = Instant::now() + Duration::from_secs(600);
        let mut reader = None;
        loop {
            if Instant::now() > deadline || child.try_wait()?.is_some() {
                let log = std::fs::read_to_string(self.folder.path().join("log"))?;
                return Err(format!("the run ended or took too long:\n{log}").into());
            }
            std::thread::sleep(Duration::from_millis(5));
            if reader.is_none() && self.folder.path().join("catalog.db").exists() {
                reader = Some(IcebergConnector::open(&self.catalog())?);
            }
            let Some(facts) = reader
                .as_ref()
                .and_then(|r| r.inspect(TABLE).ok().flatten())
            else {
                continue;
            };
            let now = EventTime::now().0;
            for snapshot in &facts.snapshots {
                if let Some(epoch) = snapshot.summary.get("strandline.epoch") {
                    seen.entry(epoch.parse()?).or_insert(now);
                }
            }
            if facts.rows >= events {
                return Ok(seen);
            }
        }
    }

    fn latencies(&self, seen: &BTreeMap<i64, i64>) -> Outcome<Vec<f64>> {
        let mut latencies_ms = Vec::new();
        let reader = IcebergConnector::open(&self.catalog())?;
        reader.scan(
            TABLE,
            Some(&["kafka_timestamp", "ingest_epoch"]),
            &mut |batch| {
                let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
                let epochs = batch.column(1).as_primitive::<Int64Type>();
                for row in 0..batch.num_rows() {
                    if let (true, Some(visible)) =
                        (times.is_valid(row), seen.get(&epochs.value(row)))
                    {
                        latencies_ms.push((visible - times.value(row)) as f64 / 1000.0);
                    }
                }
                Ok(())
            },
        )?;
        Ok(latencies_ms)
    }

    fn report(&self, child: &mut Child, expected: &[i32]) -> Outcome<Value> {
        let status = child.wait()?;
        if !status.code().is_some_and(|code| expected.contains(&code)) {
            let log = std::fs::read_to_string(self.folder.path().join("log"))?;
            return Err(format!("the run ended with {status}:\n{log}").into());
        }
        let mut text = String::new();
        child
            .stdout
            .take()
            .ok_or("no output")?
            .read_to_string(&mut text)?;
        Ok(serde_json::from_str(&text)?)
    }
}

/// Events whose event time and broker timestamp are the moment of producing.
fn produce_steadily(servers: &str, topic: &str, rate: u64, seconds: u64) -> Outcome<u64> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("linger.ms", "5")
        .set("acks", "all")
        .create()?;
    let started = Instant::now();
    let mut sent = 0;
    while sent < rate * seconds {
        let due = ((started.elapsed().as_secs_f64() * rate as f64) as u64).min(rate * seconds);
        while sent < due {
            let value = format!(
                "{{\"event_id\":\"fresh-{sent:012}\",\"event_type\":\"conversion\",\"event_time\":{},\"user_id\":\"user-{:05}\",\"session_id\":\"{sent:012x}\",\"input_value\":{},\"roman_numeral\":\"MCMXCIV\",\"response_time_ms\":12.5,\"source\":\"bench\"}}",
                EventTime::now().0 / 1000,
                sent % 50_000,
                sent % 3999 + 1
            );
            let record = BaseRecord::<(), String>::to(topic)
                .partition((sent % PARTITIONS as u64) as i32)
                .payload(&value);
            producer.send(record).map_err(|(e, _)| e)?;
            sent += 1;
        }
        producer.poll(Duration::from_millis(2));
    }
    producer.flush(Duration::from_secs(30))?;
    Ok(sent)
}

struct Used {
    cpu_seconds: f64,
    peak_rss_bytes: u64,
}

/// Samples a process until it ends. The last sample misses at most one interval.
fn watch(child: &mut Child) -> Outcome<Used> {
    let mut used = Used {
        cpu_seconds: 0.0,
        peak_rss_bytes: 0,
    };
    loop {
        if let (Ok(stat), Ok(status)) = (
            std::fs::read_to_string(format!("/proc/{}/stat", child.id())),
            std::fs::read_to_string(format!("/proc/{}/status", child.id())),
        ) {
            // After the name in parentheses: state is field 3, utime and stime are 14 and 15.
            let fields: Vec<&str> = stat
                .rsplit(')')
                .next()
                .unwrap_or("")
                .split_whitespace()
                .collect();
            let ticks = |at: usize| {
                fields
                    .get(at)
                    .and_then(|f| f.parse::<f64>().ok())
                    .unwrap_or(0.0)
            };
            used.cpu_seconds = used
                .cpu_seconds
                .max((ticks(11) + ticks(12)) / TICKS_PER_SECOND);
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = peak
                .and_then(|p| p.split_whitespace().next())
                .and_then(|p| p.parse::<u64>().ok())
                .unwrap_or(0);
            used.peak_rss_bytes = used.peak_rss_bytes.max(kib << 10);
        }
        if child.try_wait()?.is_some() {
            return Ok(used);
        }
        std::thread::sleep(SAMPLE_INTERVAL);
    }
}
